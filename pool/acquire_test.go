package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/pool"
)

// acquire waits in the background and reports the label when it has a lease.
func acquire(t *testing.T, p *pool.Allocator[*thing], label string, order chan<- string, opts ...pool.Option) {
	t.Helper()
	go func() {
		l, err := p.AcquireKey(t.Context(), opts...)
		if err != nil {
			order <- label + ": " + err.Error()
			return
		}
		order <- label
		<-time.After(time.Second)
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
}

func TestWaitersAreServedByPriorityThenByArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p, q := open(t, s, pool.Config[*thing]{}, "a"), open(t, s, pool.Config[*thing]{})
		l := malloc(t, p)
		order := make(chan string, 10)
		acquire(t, p, "1", order)
		acquire(t, q, "2", order)
		acquire(t, p, "first", order, pool.Priority(5))
		acquire(t, q, "last", order, pool.Priority(-5), pool.Token("last"))
		acquire(t, p, "3", order)
		n, err := p.Waiting(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5, n)
		at, err := p.Position(t.Context(), "last")
		require.NoError(t, err)
		require.Equal(t, 5, at)
		require.NoError(t, l.Release(t.Context()))
		for _, want := range []string{"first", "1", "2", "3", "last"} {
			require.Equal(t, want, <-order)
		}
		<-time.After(2 * time.Second) // for the last release
	})
}

func TestMallocDoesNotOvertakeThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{}, "a", "b")
		l := malloc(t, p)
		both := make(chan error, 1)
		go func() {
			leases, err := p.AcquireN(t.Context(), 2)
			if err == nil {
				err = errors.Join(leases[0].Release(t.Context()), leases[1].Release(t.Context()))
			}
			both <- err
		}()
		synctest.Wait()
		_, err := p.MallocKey(t.Context())
		require.ErrorIs(t, err, pool.ErrExhausted)
		require.NoError(t, l.Release(t.Context()))
		require.NoError(t, <-both)
		require.Equal(t, 2, snapshot(t, p).Count(pool.Free))
	})
}

func TestAnExhaustedPoolIsServedWhenALeaseRunsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{NoRenewal: true, TTL: time.Minute}, "a")
		malloc(t, p)
		begin := time.Now()
		l, err := p.AcquireKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(begin))
		require.True(t, l.Valid())
		synctest.Wait() // for the renewal that turns what was handed over into a lease with its full TTL
		require.WithinDuration(t, time.Now().Add(time.Minute), l.Deadline(), time.Second)
	})
}

func TestMaxWaitEndsTheWaitAndNotTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{}, "a")
		l := malloc(t, p)
		begin := time.Now()
		_, err := p.AcquireKey(t.Context(), pool.MaxWait(time.Minute))
		require.ErrorIs(t, err, pool.ErrExhausted)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(begin))
		require.Zero(t, snapshot(t, p).Waiting)
		require.NoError(t, l.Release(t.Context()))
		l, err = p.AcquireKey(t.Context(), pool.MaxWait(time.Minute))
		require.NoError(t, err)
		<-time.After(time.Hour)
		require.NoError(t, l.Context().Err())
	})
}

func TestCloseEndsTheWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p, q := open(t, s, pool.Config[*thing]{}, "a"), open(t, s, pool.Config[*thing]{})
		malloc(t, q)
		failed := make(chan error, 1)
		go func() {
			_, err := p.AcquireKey(t.Context())
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, p.Close())
		require.ErrorIs(t, <-failed, backend.ErrClosed)
		require.Zero(t, snapshot(t, q).Waiting)
	})
}

func TestSixtyFourWaitersOnFourMembersNeedOneTryEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{}, keys(4)...)
		entered := 0
		var mu sync.Mutex
		s.on(func(_ context.Context, op string) error {
			mu.Lock()
			defer mu.Unlock()
			if op == "enter" {
				entered++
			}
			return nil
		})
		const each = 20
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range each {
					l, err := p.AcquireKey(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					<-time.After(rand.N(time.Second))
					if err := l.Release(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, entered, 64*each*105/100)
		require.Equal(t, 4, snapshot(t, p).Count(pool.Free))
	})
}

func TestCancelledAcquisitionsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t)
			p := open(t, s, pool.Config[*thing]{Shared: shared, TTL: long}, keys(5)...)
			s.on(func(ctx context.Context, _ string) error {
				if rand.N(4) > 0 {
					return nil
				}
				select {
				case <-time.After(rand.N(2 * time.Millisecond)):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			var wg sync.WaitGroup
			for range 250 {
				wg.Go(func() {
					for range 20 {
						ctx, cancel := context.WithTimeout(t.Context(), rand.N(20*time.Millisecond))
						var leases []*pool.Lease[*thing]
						var err error
						opts := []pool.Option{pool.Priority(rand.N(3))}
						if rand.N(10) == 0 {
							opts = append(opts, pool.MaxWait(time.Millisecond))
						}
						switch rand.N(5) {
						case 0:
							leases, err = p.AcquireN(ctx, 1+rand.N(3), opts...)
						case 1:
							leases, err = p.MallocN(ctx, 1+rand.N(3))
						default:
							var l *pool.Lease[*thing]
							if l, err = p.AcquireKey(ctx, opts...); err == nil {
								leases = append(leases, l)
							}
						}
						for _, l := range leases {
							if err := l.Release(ctx); err != nil {
								t.Error(err)
							}
						}
						if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, pool.ErrExhausted) {
							t.Error(err)
						}
						cancel()
					}
				})
			}
			wg.Wait()
			s.on(nil)
			after := snapshot(t, p)
			require.Zero(t, after.Waiting)
			require.Equal(t, 5, after.Count(pool.Free))
		})
	}
}

func TestWhatIsHandedOverIsUsedWithoutAnotherRoundTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{ClaimTTL: 10 * time.Second}, "a", "b")
		held := []*pool.Lease[*thing]{malloc(t, p), malloc(t, p)}
		renewing := make(chan struct{})
		s.on(func(_ context.Context, op string) error {
			if op == "renew" {
				<-renewing
			}
			return nil
		})
		begin := time.Now()
		got := make(chan *pool.Lease[*thing], 2)
		go func() {
			leases, err := p.AcquireN(t.Context(), 2)
			if err != nil {
				t.Error(err)
			}
			for _, l := range leases {
				got <- l
			}
		}()
		synctest.Wait()
		for _, l := range held {
			require.NoError(t, l.Release(t.Context()))
		}
		for range held {
			l := <-got
			require.True(t, l.Valid())
			require.Equal(t, begin.Add(10*time.Second-200*time.Millisecond), l.Deadline(), "that of the claim")
			got <- l
		}
		close(renewing)
		synctest.Wait()
		require.Equal(t, begin, time.Now())
		<-time.After(time.Hour)
		for range held {
			l := <-got
			require.True(t, l.Valid())
			require.NoError(t, l.Release(t.Context()))
		}
	})
}

func TestAWaiterWhoseObjectCannotBeConfiguredGivesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := newStore(t), new(events)
		p := open(t, s, pool.Config[*thing]{Observer: seen}, "a")
		l := malloc(t, p)
		failed := make(chan error)
		go func() {
			_, err := p.Acquire(t.Context(), &thing{configure: func(string) error { return errors.Join(errOops, pool.ErrExpired) }})
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, l.Release(t.Context()))
		require.ErrorIs(t, <-failed, errOops)
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
		require.Empty(t, seen.of(backend.EventCancelled), "it did not give up waiting")
	})
}
