package rueidis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestLockWithoutAnswer: what a lost Lock was granted is free again as soon as the connection is back.
func TestLockWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for what, items := range map[string][]backend.LockItem{
			"one": {item("a")}, "several": {item("a"), {Name: "s", Units: 2, Limit: 3}}, "units": {reading("s")},
		} {
			for _, ttl := range []time.Duration{time.Hour, backend.NoExpiry} {
				t.Run(fmt.Sprint(at, " ", what, " ", ttl), func(t *testing.T) {
					t.Parallel()
					r, proxy, b, _ := locksBehindProxy(t)
					fired := cut(proxy, callFor("lost"))
					req := r.asks("lost", items...)
					req.TTL = ttl
					_, err := b.Lock(t.Context(), req)
					require.ErrorIs(t, err, backend.ErrUnavailable)
					<-fired
					assert.Less(t, until(t, "the names are free", func() bool { return r.left() == "" }), soon)
				})
			}
		}
	}
}

// TestLockAgainWithoutAnswer: whether or not the lost call was counted, afterwards it is not.
func TestLockAgainWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for what, items := range map[string][]backend.LockItem{
			"alone": {item("a")}, "units": {reading("s")}, "both": {item("a"), {Name: "s", Units: 2, Limit: 3}},
		} {
			for _, before := range []int{0, 1, 2} {
				t.Run(fmt.Sprint(at, " ", what, " after ", before), func(t *testing.T) {
					t.Parallel()
					r, proxy, b, other := locksBehindProxy(t)
					req := r.asks("token", items...)
					req.Again = true
					for range before {
						r.lock(other, req)
					}
					fired := cut(proxy, callFor("token"))
					_, err := b.Lock(t.Context(), req)
					require.ErrorIs(t, err, backend.ErrUnavailable)
					<-fired
					until(t, "that all is settled", func() bool { return b.owes() == 0 })
					back := backend.UnlockRequest{Namespace: r.ns}
					for _, it := range items {
						back.Items = append(back.Items, backend.Held{Member: it.Name, Token: "token"})
					}
					for i := range before + 1 {
						got, err := other.Unlock(t.Context(), back)
						require.NoError(t, err)
						for _, unlocked := range got.Unlocked {
							require.Equal(t, i < before, unlocked, "after %d", i)
						}
					}
					require.Empty(t, r.left())
				})
			}
		}
	}
}

// owes is the number of requests that are not settled yet.
func (b *Backend) owes() int {
	d := &b.waits.debts
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.working {
		return max(d.n, 1)
	}
	return d.n
}

// TestDowngradeWithoutAnswer: the names stay with their owner, one way or the other.
func TestDowngradeWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := locksBehindProxy(t)
			r.lock(other, r.asks("token", item("a")))
			req := r.asks("token", reading("a"))
			req.Downgrade = true
			fired := cut(proxy, callFor("token"))
			_, err := b.Lock(t.Context(), req)
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			until(t, "that all is settled", func() bool { return b.owes() == 0 })
			got, err := other.Unlock(t.Context(), backend.UnlockRequest{Namespace: r.ns, Items: []backend.Held{{Member: "a", Token: "token"}}})
			require.NoError(t, err)
			require.Equal(t, []bool{true}, got.Unlocked)
			require.Empty(t, r.left())
		})
	}
}

// TestUnlockAndRenewWithoutAnswer: both can be asked for again.
func TestUnlockAndRenewWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := locksBehindProxy(t)
			req := r.asks("token", item("a"), reading("s"))
			req.TTL = time.Minute
			grants := r.lock(other, req)
			renewal := backend.RenewRequest{Namespace: r.ns, Items: []backend.Renewal{
				{Member: "a", Token: "token", TTL: time.Hour}, {Member: "s", Token: "token", TTL: time.Hour},
			}}
			fired := cut(proxy, callFor("token"))
			_, err := b.RenewLocks(t.Context(), renewal)
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			require.True(t, r.extend(b, grants...))
			fired = cut(proxy, callFor("token"))
			_, err = b.Unlock(t.Context(), backend.UnlockRequest{Namespace: r.ns, Items: []backend.Held{{Member: "a", Token: "token"}}})
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			r.unlock(b, grants[1])
			r.patiently("unlock", func() error {
				_, err := b.Unlock(context.Background(), backend.UnlockRequest{Namespace: r.ns, Items: []backend.Held{{Member: "a", Token: "token"}}})
				return err
			})
			require.Empty(t, r.left())
		})
	}
}

// TestCancelledLocksLeaveNothing: many calls whose context ends at any moment, on a connection that is cut again and again.
func TestCancelledLocksLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, cutting := range []bool{false, true} {
		t.Run(fmt.Sprintf("cutting %v", cutting), func(t *testing.T) {
			r, proxy, b, _ := locksBehindProxy(t)
			stop := cutAgainAndAgain(proxy, cutting)
			together(32, func(i int) {
				for range 10 {
					ctx, cancel := context.WithTimeout(context.Background(), rand.N(4*time.Millisecond))
					req := r.asks(backend.NewToken(), item(fmt.Sprint("n", i%8)))
					switch i % 4 {
					case 1:
						req.Items = append(req.Items, backend.LockItem{Name: "s", Units: 1 + i%2, Limit: 5})
					case 2:
						req.Again = true
					}
					got, err := b.Lock(ctx, req)
					cancel()
					for err == nil && len(got.Grants) > 0 {
						back := backend.UnlockRequest{Namespace: r.ns}
						for _, g := range got.Grants {
							back.Items = append(back.Items, backend.Held{Member: g.Member, Token: g.Token})
						}
						if _, failed := b.Unlock(context.Background(), back); failed == nil {
							break
						}
					}
				}
			})
			stop()
			r.clear()
		})
	}
}

// TestRestartTakesLocksAway: a server that has lost its data knows no holders, and fences grow all the same.
func TestRestartTakesLocksAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newLockRoom(t, s.URL())
	b := r.process(s.URL())
	first := r.lock(b, r.asks("token", item("a"), reading("s")))
	s.Restart()
	r.back(b)
	renewal := backend.RenewRequest{Namespace: r.ns, Items: []backend.Renewal{
		{Member: "a", Token: "token", TTL: time.Hour}, {Member: "s", Token: "token", TTL: time.Hour},
	}}
	r.patiently("renew", func() error {
		got, err := b.RenewLocks(t.Context(), renewal)
		if err == nil {
			assert.Equal(t, []bool{false, false}, got.Renewed)
		}
		return err
	})
	until(t, "a renewal brings nothing back", func() bool { return r.left() == "" })
	second := r.lock(b, r.asks("other", item("a"), reading("s")))
	require.Greater(t, second[0].Fence, first[1].Fence)
	got, err := b.Unlock(t.Context(), backend.UnlockRequest{Namespace: r.ns, Items: []backend.Held{{Member: "a", Token: "token"}, {Member: "s", Token: "token"}}})
	require.NoError(t, err)
	require.Equal(t, []bool{false, false}, got.Unlocked)
}
