package memory_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

// waits joins the lines of names, in which it must have to wait.
func (r rig) waits(token string, items []backend.LockItem) <-chan backend.Handover {
	r.t.Helper()
	reply, err := r.Enter(r.t.Context(), backend.EnterRequest{
		Lock: backend.LockRequest{Namespace: ns, Token: token, TTL: time.Minute, Items: items},
	})
	require.NoError(r.t, err)
	require.Empty(r.t, reply.Grants)
	require.NotNil(r.t, reply.Handover)
	return reply.Handover
}

func (r rig) leaves(token string, names ...string) backend.LeaveReply {
	r.t.Helper()
	reply, err := r.Leave(r.t.Context(), backend.LeaveRequest{Namespace: ns, Token: token, Names: names})
	require.NoError(r.t, err)
	return reply
}

// after waits for a hand-over, which must come exactly then.
func (r rig) after(d time.Duration, ch <-chan backend.Handover) []backend.Grant {
	r.t.Helper()
	start := time.Now()
	h := <-ch
	require.NoError(r.t, h.Err)
	require.Equal(r.t, d, time.Since(start))
	require.True(r.t, h.Since.Equal(time.Now()), "it is sent when it is granted")
	for _, g := range h.Grants {
		require.Equal(r.t, backend.DefaultClaimTTL, g.TTL)
	}
	return h.Grants
}

func TestLineForANameIsServedExactlyWhenALeaseEnds(t *testing.T) {
	const ttl = 5*time.Hour + 7*time.Millisecond
	for name, c := range map[string]struct {
		holders []backend.LockItem // each of a token of its own, that ends an hour after the one before
		wants   []backend.LockItem
		at      time.Duration
	}{
		"held alone":            {alone("a"), alone("a"), ttl},
		"held alone, for units": {alone("a"), units("a", 3, 3), ttl},
		"several names":         {alone("a", "b", "c"), alone("c", "a"), ttl + 2*time.Hour},
		"one of several names":  {alone("a", "b", "c"), alone("free", "b"), ttl + time.Hour},
		"shared, for it alone":  {append(append(units("a", 1, 0), units("a", 2, 0)...), units("a", 1, 0)...), alone("a"), ttl + 2*time.Hour},
		"shared, for a unit":    {append(units("a", 2, 4), units("a", 2, 4)...), units("a", 1, 4), ttl},
		"shared, for three":     {append(append(units("a", 1, 4), units("a", 2, 4)...), units("a", 1, 4)...), units("a", 3, 4), ttl + time.Hour},
		"mixed":                 {append(alone("a"), units("b", 1, 0)...), append(alone("b"), units("a", 1, 0)...), ttl + time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r rig) {
				for i, it := range c.holders {
					r.has(fmt.Sprint(i), ttl+time.Duration(i)*time.Hour, []backend.LockItem{it})
				}
				grants := r.after(c.at, r.waits("w", c.wants))
				require.Len(t, grants, len(c.wants))
				require.True(t, r.prolong("w", c.wants[0].Name, time.Hour))
			})
		})
	}
}

func TestLineForANameFollowsWhatHappensToTheLease(t *testing.T) {
	for name, c := range map[string]struct {
		do func(r rig)
		at time.Duration
	}{
		"nothing":           {func(rig) {}, time.Hour},
		"renewed":           {func(r rig) { r.prolong("0", "a", 3*time.Hour) }, 3 * time.Hour},
		"renewed for less":  {func(r rig) { r.prolong("0", "a", time.Minute) }, time.Minute},
		"renewed for ever":  {func(r rig) { r.prolong("0", "a", backend.NoExpiry); r.lock("a", time.Second) }, time.Second},
		"renewed as a pool": {func(r rig) { r.renew("a", "0", time.Minute) }, time.Minute},
		"granted again": {func(r rig) {
			r.lockAs(backend.LockRequest{Token: "0", TTL: 2 * time.Hour, Items: alone("a"), Again: true})
		}, 2 * time.Hour},
		"written by hand":       {func(r rig) { r.lock("a", time.Second) }, time.Second},
		"written by hand, long": {func(r rig) { r.lock("a", 9*time.Hour) }, 9 * time.Hour},
		"removed by hand":       {func(r rig) { r.unlock("a") }, 0},
		"given back":            {func(r rig) { r.lets("0", "a") }, 0},
		"given back as a pool":  {func(r rig) { r.giveBack("a", "0") }, 0},
		"freed by force":        {func(r rig) { r.force(backend.NoExpiry, "a") }, 0},
		"taken out of a pool's way": {func(r rig) {
			r.extend("a") // clears a lock that was left over
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r rig) {
				r.has("0", time.Hour, alone("a"))
				w := r.waits("w", alone("a"))
				c.do(r)
				r.after(c.at, w)
				require.Equal(t, "w", r.holds("a").Owner)
			})
		})
	}
}

func TestClaimOfANameThatIsNotTakenUpPassesOn(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.has("0", time.Hour, alone("a", "b"))
		dead, alive := r.waits("dead", alone("b", "a")), r.waits("alive", units("a", 1, 0))
		last := r.waits("last", alone("a"))
		r.after(time.Hour, dead)
		r.after(backend.DefaultClaimTTL, alive)
		require.True(t, r.prolong("alive", "a", time.Hour), "the first renewal makes a lease of a claim")
		require.False(t, r.prolong("dead", "a", time.Hour))
		r.after(time.Hour, last)
	})
}

func TestLeaveGivesBackNamesThatWereHandedOverAndNotRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		all := append(alone("a", "b"), append(units("s", 1, 2), units("u", 1, 2)...)...)
		names := []string{"a", "b", "s", "u"}
		r.has("0", time.Hour, alone(names...))
		r.waits("w", all)
		next := r.waits("next", alone("b"))
		r.lets("0", names...)
		require.True(t, r.prolong("w", "a", time.Hour))
		require.True(t, r.prolong("w", "s", time.Hour))
		require.Equal(t, backend.LeaveReply{Returned: 2}, r.leaves("w", names...))
		require.Equal(t, "w", r.holds("a").Owner)
		require.Equal(t, 1, r.holds("s").Units)
		require.False(t, r.holds("u").Locked)
		r.after(0, next)
		require.Equal(t, backend.LeaveReply{}, r.leaves("w", names...))

		reply, err := r.Enter(t.Context(), backend.EnterRequest{
			Lock: backend.LockRequest{Namespace: ns, Token: "now", TTL: time.Minute, Items: append(alone("c"), units("d", 1, 0)...)},
		})
		require.NoError(t, err)
		require.Len(t, reply.Grants, 2)
		require.Equal(t, backend.LeaveReply{}, r.leaves("now", "c", "d"), "what was granted at once was not handed over")
		require.Equal(t, "now", r.holds("c").Owner)
		require.True(t, r.holds("d").Locked)
	})
}

func TestLowerLimitEndsAWaitForMore(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		limit := func(n int) {
			require.NoError(t, r.SetLimit(t.Context(), backend.LimitRequest{Namespace: ns, Name: "a", Limit: n}))
		}
		r.has("0", time.Hour, units("a", 3, 3))
		three, one := r.waits("three", units("a", 3, 3)), r.waits("one", units("a", 1, 3))
		limit(2)
		var low *backend.LimitError
		require.ErrorAs(t, (<-three).Err, &low)
		require.Equal(t, backend.LimitError{Name: "a", Asked: 3, Stored: 2}, *low)
		require.Nil(t, r.handed(one))
		r.lets("0", "a")
		require.Equal(t, []string{"a"}, r.handed(one))
	})
}

func TestCloseEndsWaitsForNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		r := rig{b, t}
		r.has("0", time.Hour, alone("a", "b"))
		w, x := r.waits("w", alone("a", "b")), r.waits("x", units("a", 1, 0)) // with a timer for the lease
		require.NoError(t, b.Close())
		require.ErrorIs(t, (<-w).Err, backend.ErrClosed)
		require.ErrorIs(t, (<-x).Err, backend.ErrClosed)
		pass(2 * time.Hour)
		require.Empty(t, w, "a wait ends once")
	})
}

func TestContendingGoroutinesHaveNamesInTurn(t *testing.T) {
	b := memory.New()
	const goroutines, rounds = 32, 50
	var mu [3]sync.RWMutex
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range rounds {
				// Two of three names, in any order, each alone or together with others.
				first, second := (g+i)%3, (g+2*i+1)%3
				if first == second {
					second = (first + 1) % 3
				}
				lock := backend.LockRequest{Namespace: ns, Token: backend.NewToken(), TTL: time.Minute, Items: []backend.LockItem{
					{Name: fmt.Sprint(first), Units: g % 2}, {Name: fmt.Sprint(second)},
				}}
				reply, err := b.Enter(t.Context(), backend.EnterRequest{Lock: lock, ClaimTTL: time.Hour})
				if err != nil {
					t.Error(err)
					return
				}
				if reply.Handover != nil {
					<-reply.Handover
				}
				if g%2 == 1 && !mu[first].TryRLock() || g%2 == 0 && !mu[first].TryLock() || !mu[second].TryLock() {
					t.Error("held by two at once")
					return
				}
				runtime.Gosched()
				mu[second].Unlock()
				if g%2 == 1 {
					mu[first].RUnlock()
				} else {
					mu[first].Unlock()
				}
				back, err := b.Unlock(t.Context(), backend.UnlockRequest{Namespace: ns, Items: []backend.Held{
					{Member: fmt.Sprint(second), Token: lock.Token}, {Member: fmt.Sprint(first), Token: lock.Token},
				}})
				if err != nil || !back.Unlocked[0] || !back.Unlocked[1] {
					t.Error(back, err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, b.Close())
}
