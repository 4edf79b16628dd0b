package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

// alone asks for names, each of them alone.
func alone(names ...string) []backend.LockItem {
	items := make([]backend.LockItem, len(names))
	for i, name := range names {
		items[i].Name = name
	}
	return items
}

// units asks for units of a name; limit 0 is none.
func units(name string, n, limit int) []backend.LockItem {
	return []backend.LockItem{{Name: name, Units: n, Limit: limit}}
}

func (r rig) lockAs(req backend.LockRequest) []backend.Grant {
	r.t.Helper()
	req.Namespace = ns
	if req.TTL == 0 {
		req.TTL = time.Minute
	}
	reply, err := r.Lock(r.t.Context(), req)
	require.NoError(r.t, err)
	return reply.Grants
}

// has takes names, which it must get.
func (r rig) has(token string, ttl time.Duration, items []backend.LockItem) {
	r.t.Helper()
	require.Len(r.t, r.lockAs(backend.LockRequest{Token: token, TTL: ttl, Items: items}), len(items))
}

func (r rig) lets(token string, names ...string) []bool {
	r.t.Helper()
	req := backend.UnlockRequest{Namespace: ns}
	for _, name := range names {
		req.Items = append(req.Items, backend.Held{Member: name, Token: token})
	}
	reply, err := r.Unlock(r.t.Context(), req)
	require.NoError(r.t, err)
	return reply.Unlocked
}

func (r rig) prolong(token, name string, ttl time.Duration) bool {
	r.t.Helper()
	reply, err := r.RenewLocks(r.t.Context(), backend.RenewRequest{
		Namespace: ns, Items: []backend.Renewal{{Member: name, Token: token, TTL: ttl}},
	})
	require.NoError(r.t, err)
	return reply.Renewed[0]
}

func (r rig) holds(name string) backend.LockState {
	r.t.Helper()
	states, err := r.Holders(r.t.Context(), backend.HoldersRequest{Namespace: ns, Names: []string{name}})
	require.NoError(r.t, err)
	return states[0]
}

func TestLockOnAMemberIsRemovedWithoutPuttingTheMemberBack(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		require.Equal(t, "a", r.take("t"))
		require.Equal(t, []bool{true}, r.lets("t", "a"))
		require.Equal(t, []string{"b"}, r.free())
		r.has("t", time.Minute, units("a", 1, 0))
		require.Equal(t, []bool{true}, r.lets("t", "a"))
		require.Equal(t, []string{"b"}, r.free())
		require.Equal(t, backend.CollectReply{Freed: 1}, r.collect(10))
		require.Equal(t, []string{"b", "a"}, r.free())

		require.Equal(t, "b", r.take("t"))
		r.has("l", time.Minute, units("a", 2, 0))
		w := r.wait("w", 1, 0)
		require.Nil(t, r.handed(w))
		require.Equal(t, []bool{true}, r.lets("l", "a"))
		require.Equal(t, []string{"a"}, r.handed(w), "who waits for a member has it at once")
	})
}

func TestPoolDoesNotKnowTokensOfThoseWhoShareAName(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.has("t", time.Minute, units("a", 1, 0))
		require.False(t, r.renew("a", backend.SharedToken, time.Hour))
		require.False(t, r.giveBack("a", backend.SharedToken))
		require.Equal(t, time.Minute, r.holds("a").TTL)
		require.Equal(t, []bool{true}, r.force(backend.NoExpiry, "a"))
		require.Equal(t, backend.LockState{}, r.holds("a"))
	})
}

func TestWaitForReplicasOfMemoryIsInVain(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		safe := backend.Durability{Replicas: 2, Timeout: time.Hour}
		req := backend.LockRequest{Namespace: ns, Token: "t", TTL: time.Minute, Items: units("a", 1, 3), Durability: safe}
		reply, err := r.Lock(t.Context(), req)
		require.ErrorIs(t, err, backend.ErrUnsupported)
		var few *backend.ReplicasError
		require.ErrorAs(t, err, &few)
		require.Equal(t, backend.ReplicasError{Want: 2}, *few)
		require.Empty(t, reply.Grants)
		require.Equal(t, backend.LockState{}, r.holds("a"), "not even its limit has changed")

		r.has("t", time.Minute, alone("a"))
		reply, err = r.Lock(t.Context(), req)
		require.NoError(t, err, "what is not granted need not reach anybody")
		require.Empty(t, reply.Grants)
		_, err = r.RenewLocks(t.Context(), backend.RenewRequest{
			Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: time.Hour}}, Durability: safe,
		})
		require.ErrorIs(t, err, backend.ErrReplicas)
		require.Equal(t, time.Hour, r.holds("a").TTL, "it is renewed all the same")
	})
}

func TestLocksRefuseWhatIsInvalidOrTooLate(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		lock := backend.LockRequest{Namespace: ns, Token: "t", TTL: time.Minute, Items: alone("a")}
		r.has("0", time.Hour, alone("a"))
		r.waits("t", alone("a"))
		_, err := r.Enter(t.Context(), backend.EnterRequest{Lock: lock})
		require.ErrorIs(t, err, backend.ErrInvalid, "it waits already")
		_, err = r.RenewLocks(t.Context(), backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
			{Member: "a", Token: "0", TTL: time.Minute, NewToken: "1"},
		}})
		require.ErrorIs(t, err, backend.ErrInvalid)
		_, err = r.Set(t.Context(), backend.SetRequest{Namespace: ns, Items: []backend.SetItem{
			{Name: "b", Value: backend.SharedToken, TTL: time.Minute},
		}})
		require.ErrorIs(t, err, backend.ErrInvalid)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		calls := func(ctx context.Context) map[string]error {
			errs := map[string]error{}
			_, errs["lock"] = r.Lock(ctx, lock)
			_, errs["enter"] = r.Enter(ctx, backend.EnterRequest{Lock: lock})
			_, errs["leave"] = r.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: "t", Names: []string{"a"}})
			_, errs["queue"] = r.Queue(ctx, backend.QueueRequest{Namespace: ns, Name: "a"})
			_, errs["unlock"] = r.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: "a", Token: "0"}}})
			_, errs["renew locks"] = r.RenewLocks(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
				{Member: "a", Token: "0", TTL: time.Minute},
			}})
			errs["set limit"] = r.SetLimit(ctx, backend.LimitRequest{Namespace: ns, Name: "a", Limit: 1})
			_, errs["holders"] = r.Holders(ctx, backend.HoldersRequest{Namespace: ns, Names: []string{"a"}})
			return errs
		}
		for op, err := range calls(ctx) {
			require.ErrorIs(t, err, context.Canceled, op)
			require.ErrorContains(t, err, op+" "+ns.Base())
		}
		require.Equal(t, backend.LockState{Locked: true, Owner: "0", TTL: time.Hour, Waiting: 1}, r.holds("a"))
		require.NoError(t, r.Close())
		for op, err := range calls(t.Context()) {
			require.ErrorIs(t, err, backend.ErrClosed, op)
		}
	})
}

func TestNoGoroutineForLocks(t *testing.T) {
	b := memory.New()
	r := rig{b, t}
	before := runtime.NumGoroutine()
	for i := range 1000 {
		r.has("t", time.Hour, alone(fmt.Sprint(i)))
		r.waits(fmt.Sprint("w", i), alone(fmt.Sprint(i)))
	}
	// That timer may just have gone off.
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before, "a thousand wait on one timer")
	require.NoError(t, b.Close())
}

func TestLockAllocatesNextToNothing(t *testing.T) {
	for name, c := range map[string]struct {
		item backend.LockItem
		most float64
	}{
		"alone":              {backend.LockItem{Name: "report"}, 2},
		"in units":           {backend.LockItem{Name: "report", Units: 2, Limit: 10}, 5},
		"with others":        {backend.LockItem{Name: "shared", Units: 1}, 2},
		"of a pool's member": {backend.LockItem{Name: "member"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := memory.New()
			r := rig{b, t}
			r.extend("member")
			for i := range 100 {
				r.has(fmt.Sprint(i), time.Hour, units("shared", 1, 0))
			}
			ctx := t.Context()
			allocated := testing.AllocsPerRun(1000, func() {
				lock, err := b.Lock(ctx, backend.LockRequest{Namespace: ns, Token: "t", TTL: time.Minute, Items: []backend.LockItem{c.item}})
				if err != nil || len(lock.Grants) != 1 {
					t.Fatal(lock, err)
				}
				back, err := b.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: c.item.Name, Token: "t"}}})
				if err != nil || !back.Unlocked[0] {
					t.Fatal(back, err)
				}
			})
			require.LessOrEqual(t, allocated, c.most+2, "beside the two requests")
			require.NoError(t, b.Close())
		})
	}
}
