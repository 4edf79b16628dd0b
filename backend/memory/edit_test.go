package memory_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func numbered(from, to int) []string {
	var names []string
	for i := from; i < to; i++ {
		names = append(names, "m"+strconv.Itoa(i))
	}
	return names
}

func TestExtendAddsAtTheTailAndTouchesWhatIsThere(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "a")
		require.Equal(t, []string{"a", "b"}, r.free())
		r.take("t")
		reply, err := r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"a", "b", "c"}, TTL: time.Hour})
		require.NoError(t, err)
		require.Equal(t, backend.EditReply{Added: 1}, reply)
		require.Equal(t, []string{"b", "c"}, r.free())
		a, _ := r.member("a")
		require.Equal(t, time.Now().Add(time.Hour).Unix(), a.Expiry.Unix())
		require.Equal(t, "t", a.Owner)
	})
}

func TestExtendRemovesALockLeftOverFromAnEarlierLife(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("t")
		reply, err := r.Shrink(t.Context(), backend.ShrinkRequest{Namespace: ns, Members: []string{"a", "a", "none"}})
		require.NoError(t, err)
		require.Equal(t, backend.EditReply{Removed: 1}, reply)
		r.extend("a")
		m, _ := r.member("a")
		require.False(t, m.Locked)
		require.Zero(t, m.Deadline)
		require.False(t, r.giveBack("a", "t"))
		pass(time.Minute)
		require.Equal(t, "a", r.take("u"))
		require.Empty(t, r.take("u"), "the old deadline frees nothing")
	})
}

func TestAssignMakesTheMembersTheOnlyOnes(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		r.take("t")
		reply, err := r.Assign(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"d", "a", "c"}, TTL: time.Hour})
		require.NoError(t, err)
		require.Equal(t, backend.EditReply{Added: 1, Removed: 1}, reply)
		require.Equal(t, []string{"c", "d"}, r.free())
		a, _ := r.member("a")
		require.Zero(t, a.Expiry, "what stays keeps its expiry")
		reply, err = r.Assign(t.Context(), backend.ExtendRequest{Namespace: ns, TTL: time.Hour})
		require.NoError(t, err)
		require.Equal(t, backend.EditReply{Removed: 3}, reply)
		require.Zero(t, r.inspect().Total)
	})
}

func TestLongListsAreAddedReplacedAndRemovedWhole(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		const n = 2*backend.BatchLimit + 500
		r.extend(numbered(0, n)...)
		require.Equal(t, numbered(0, n), r.free())
		reply, err := r.Assign(t.Context(), backend.ExtendRequest{Namespace: ns, Members: numbered(n/2, 2*n), TTL: backend.NoExpiry})
		require.NoError(t, err)
		require.Equal(t, backend.EditReply{Added: n, Removed: n / 2}, reply)
		require.Equal(t, numbered(n/2, 2*n), r.free())
		reply, err = r.Assign(t.Context(), backend.ExtendRequest{Namespace: ns, Members: numbered(0, 3), TTL: backend.NoExpiry})
		require.NoError(t, err)
		require.Equal(t, backend.EditReply{Added: 3, Removed: n/2 + n}, reply)
		require.Equal(t, numbered(0, 3), r.free())
		shrunk, err := r.Shrink(t.Context(), backend.ShrinkRequest{Namespace: ns, Members: numbered(0, n)})
		require.NoError(t, err)
		require.Equal(t, backend.EditReply{Removed: 3}, shrunk)
	})
}

func TestCollectPutsRightWhatNobodyTold(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("lost", "held", "locked", "free")
		_, err := r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"old"}, TTL: time.Second})
		require.NoError(t, err)
		r.takeAs(backend.TakeRequest{Token: "t", Count: 2, TTL: time.Hour})
		r.unlock("lost")
		r.lock("locked", time.Minute)
		pass(time.Second)
		require.Equal(t, backend.CollectReply{Freed: 1, Dropped: 1, Locked: 1}, r.collect(1000))
		require.Equal(t, []string{"free", "lost"}, r.free())
		require.Zero(t, r.collect(1000))
		pass(time.Minute)
		require.Equal(t, backend.CollectReply{Freed: 1}, r.collect(1000), "a lock from outside that ran out")
		require.Equal(t, []string{"free", "lost", "locked"}, r.free())
		lost, _ := r.member("lost")
		require.Zero(t, lost.Deadline)
	})
}

func TestCollectCountsWhatLapsed(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		_, err := r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"b"}, TTL: time.Second})
		require.NoError(t, err)
		r.takeAs(backend.TakeRequest{Token: "t", Count: 2})
		pass(time.Minute)
		require.Equal(t, backend.CollectReply{Freed: 1, Dropped: 1}, r.collect(1))
		require.Equal(t, []string{"a"}, r.free())
	})
}

func TestCollectGoesRoundInTheOrderInWhichMembersJoined(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c", "d", "e")
		_, err := r.Shrink(t.Context(), backend.ShrinkRequest{Namespace: ns, Members: []string{"b"}})
		require.NoError(t, err)
		r.extend("b", "a") // order: a c d e b
		r.takeAs(backend.TakeRequest{Token: "t", Count: 5})
		lose := func(names ...string) {
			for _, name := range names {
				require.True(t, r.unlock(name))
			}
		}
		lose("b", "a", "e", "c", "d")
		require.Equal(t, backend.CollectReply{Freed: 2}, r.collect(2))
		require.Equal(t, []string{"a", "c"}, r.free())
		require.Equal(t, backend.CollectReply{Freed: 2}, r.collect(2))
		require.Equal(t, backend.CollectReply{Freed: 1}, r.collect(2))
		require.Equal(t, []string{"a", "c", "d", "e", "b"}, r.free())
		r.takeAs(backend.TakeRequest{Token: "t", Count: 5})
		lose("a", "b", "c", "d", "e")
		require.Equal(t, backend.CollectReply{Freed: 5}, r.collect(1000), "all at once, from the first")
		require.Equal(t, []string{"a", "c", "d", "e", "b"}, r.free())
	})
}

func TestInspectPagesThroughThePool(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend(numbered(0, 10)...)
		r.take("t")
		var names []string
		cursor := ""
		for range 10 {
			reply, err := r.Inspect(t.Context(), backend.InspectRequest{Namespace: ns, Limit: 3, Cursor: cursor})
			require.NoError(t, err)
			require.LessOrEqual(t, len(reply.Members), 3)
			require.Equal(t, 10, reply.Total)
			for _, m := range reply.Members {
				names = append(names, m.Name)
			}
			if cursor = reply.Cursor; cursor == "" {
				break
			}
		}
		require.Equal(t, numbered(0, 10), names)

		only, err := r.Inspect(t.Context(), backend.InspectRequest{Namespace: ns, Only: []string{"m3", "none", "m0"}})
		require.NoError(t, err)
		require.Len(t, only.Members, 2)
		require.Equal(t, "m3", only.Members[0].Name)
		require.Equal(t, "t", only.Members[1].Owner)

		counts, err := r.Inspect(t.Context(), backend.InspectRequest{Namespace: ns, CountOnly: true})
		require.NoError(t, err)
		require.Equal(t, backend.InspectReply{Head: "m1", Tail: "m9", Total: 10}, counts)

		_, err = r.Inspect(t.Context(), backend.InspectRequest{Namespace: ns, Limit: 3, Cursor: "m3"})
		require.ErrorIs(t, err, backend.ErrInvalid)
	})
}
