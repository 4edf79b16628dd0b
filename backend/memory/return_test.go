package memory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func TestOnlyTheHolderGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		r.take("t")
		require.False(t, r.giveBack("a", "other"))
		require.False(t, r.giveBack("b", "t"))
		require.False(t, r.giveBack("none", "t"))
		require.True(t, r.giveBack("a", "t"))
		require.False(t, r.giveBack("a", "t"), "twice")
		require.Equal(t, []string{"b", "a"}, r.free(), "at the tail")
		require.False(t, r.value(backend.KindLock, "a").Exists)
	})
}

func TestLapsedLeaseCannotBeGivenBackNorRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("t")
		pass(time.Minute)
		require.False(t, r.renew("a", "t", time.Minute))
		require.False(t, r.giveBack("a", "t"))
		require.Equal(t, []string{"a"}, r.free(), "whoever looks finds the deadline")
		require.Equal(t, "a", r.take("next"))
		require.False(t, r.giveBack("a", "t"))
		require.True(t, r.giveBack("a", "next"))
	})
}

func TestDuplicatesInOneReturnCountOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("t")
		reply, err := r.Return(t.Context(), backend.ReturnRequest{
			Namespace: ns, Items: []backend.Held{{Member: "a", Token: "t"}, {Member: "a", Token: "t"}},
		})
		require.NoError(t, err)
		require.Equal(t, []bool{true, false}, reply.Returned)
	})
}

func TestReturnOfAMemberWhoseMembershipEndedDropsIt(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		_, err := r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"a"}, TTL: time.Second})
		require.NoError(t, err)
		r.take("t")
		pass(time.Second)
		require.True(t, r.giveBack("a", "t"))
		require.Zero(t, r.inspect().Total)
	})
}

func TestReturnOfARemovedMemberOnlyUnlocks(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("t")
		_, err := r.Shrink(t.Context(), backend.ShrinkRequest{Namespace: ns, Members: []string{"a"}})
		require.NoError(t, err)
		require.True(t, r.value(backend.KindLock, "a").Exists, "locks stay")
		require.True(t, r.renew("a", "t", time.Hour))
		require.True(t, r.giveBack("a", "t"))
		require.False(t, r.value(backend.KindLock, "a").Exists)
		require.Zero(t, r.inspect().Total)
	})
}

func TestForcedReturnAsksForNoToken(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c", "d")
		r.take("t")
		r.lock("b", backend.NoExpiry) // free and locked
		r.lock("stranger", time.Hour)
		require.Equal(t, []bool{true, true, false, true, false, false},
			r.force(time.Minute, "a", "b", "c", "stranger", "none", "a"))
		require.Equal(t, []string{"b", "c", "d", "a"}, r.free(), "what was free stays in its place")
		require.False(t, r.giveBack("a", "t"))
		a, _ := r.member("a")
		b, _ := r.member("b")
		c, _ := r.member("c")
		require.Equal(t, time.Now().Add(time.Minute).Unix(), a.Expiry.Unix())
		require.Equal(t, a.Expiry, b.Expiry)
		require.Zero(t, c.Expiry, "it had no lock")
	})
}

func TestRenewalOfALockThatIsNoLeaseSetsItsTTL(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.lock("report", time.Second)
		require.False(t, r.renew("report", "2", time.Hour))
		require.True(t, r.renew("report", "1", time.Hour))
		require.Equal(t, time.Hour, r.value(backend.KindLock, "report").TTL)
		require.True(t, r.renew("report", "1", backend.NoExpiry))
		require.Equal(t, backend.NoExpiry, r.value(backend.KindLock, "report").TTL)
	})
}

func TestLocksEndExactlyAtTheirTTLInMilliseconds(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.lock("report", 1500*time.Microsecond+time.Millisecond)
		pass(3*time.Millisecond - time.Nanosecond)
		require.True(t, r.value(backend.KindLock, "report").Exists)
		require.Equal(t, time.Nanosecond, r.value(backend.KindLock, "report").TTL)
		pass(time.Nanosecond)
		require.Equal(t, backend.Value{}, r.value(backend.KindLock, "report"))
	})
}
