package lock_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// queue has n wait for l, one after the other, and tells who was granted it, each as soon as it was. Each unlocks at once.
func queue(t *testing.T, l locker, n int, opts func(i int) []lock.Option) (granted <-chan int) {
	order := make(chan int, n)
	for i := range n {
		go func() {
			held, err := l.Lock(t.Context(), opts(i)...)
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			if err := held.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
	}
	return order
}

func TestThoseWhoWaitAreServedInTheOrderOfTheirArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{})
		held := hold(t, m)
		order := queue(t, m, 20, func(int) []lock.Option { return nil })
		before := s.calls.Load()
		begin := time.Now()
		unlock(t, held)
		for i := range 20 {
			require.Equal(t, i, <-order)
		}
		require.Equal(t, begin, time.Now(), "nobody polls")
		synctest.Wait()
		require.LessOrEqual(t, s.calls.Load()-before, int64(1+20*2), "nobody tries twice")
	})
}

func TestThoseOfHigherPriorityComeFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		low := lock.NewMutex(s, ns, "name", lock.Config{Priority: -5})
		held := hold(t, low)
		order := queue(t, low, 4, func(i int) []lock.Option {
			return [][]lock.Option{nil, {lock.Priority(0)}, {lock.Priority(3)}, nil}[i]
		})
		unlock(t, held)
		require.Equal(t, []int{2, 1, 0, 3}, []int{<-order, <-order, <-order, <-order})
	})
}

func TestWhoDoesNotWaitDoesNotOvertake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{})
		held := hold(t, m)
		got := make(chan *lock.Held)
		go func() {
			h, _ := m.Lock(t.Context())
			got <- h
		}()
		synctest.Wait()
		unlock(t, held)
		_, err := m.TryLock(t.Context())
		require.ErrorIs(t, err, lock.ErrLocked)
		next := <-got
		require.Greater(t, next.Fence(), held.Fence())
		unlock(t, next)
		unlock(t, hold(t, m))
	})
}

func TestWhatWasHandedOverIsHeldAtOnceAndHasItsFullTTLSoon(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{time.Second, time.Minute, time.Hour} {
		t.Run(ttl.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				m := lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl, NoRenewal: true})
				held := hold(t, m)
				got := make(chan *lock.Held)
				go func() {
					h, _ := m.Lock(t.Context())
					got <- h
				}()
				synctest.Wait()
				unlock(t, held)
				next := <-got
				require.True(t, next.Valid())
				synctest.Wait()
				require.Equal(t, ttl, s.state(t, "name").TTL)
				require.WithinDuration(t, time.Now().Add(ttl), next.Deadline(), ttl/50)
				begin := time.Now()
				<-next.Context().Done()
				require.WithinDuration(t, begin.Add(ttl), time.Now(), ttl/50)
			})
		})
	}
}

func TestAWaitEndsWithItsContextAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		opts []lock.Option
		is   []error
	}{
		"deadline": {
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Minute)
			},
			is: []error{context.DeadlineExceeded},
		},
		"cancelled": {
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Minute, cancel)
				return ctx, cancel
			},
			is: []error{context.Canceled},
		},
		"MaxWait": {
			ctx:  context.WithCancel,
			opts: []lock.Option{lock.MaxWait(time.Minute)},
			is:   []error{lock.ErrLocked},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				var seen events
				m := lock.NewMutex(s, ns, "name", lock.Config{Observer: &seen})
				held := hold(t, m)
				ctx, cancel := end.ctx(t.Context())
				defer cancel()
				begin := time.Now()
				_, err := m.Lock(ctx, end.opts...)
				for _, is := range end.is {
					require.ErrorIs(t, err, is)
				}
				require.ErrorContains(t, err, `lock "name": `)
				require.Equal(t, time.Minute, time.Since(begin))
				require.Zero(t, s.state(t, "name").Waiting)
				cancelled := seen.of(backend.EventCancelled)
				require.Len(t, cancelled, 1)
				require.Equal(t, time.Minute, cancelled[0].Duration)
				require.Equal(t, "name", cancelled[0].Member)
				unlock(t, held)
				require.False(t, s.state(t, "name").Locked)
			})
		})
	}
}

func TestMaxWaitDoesNotBoundWhatIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{MaxWait: time.Second})
		held := hold(t, m)
		time.AfterFunc(time.Second/2, func() { _ = held.Unlock(context.Background()) })
		next, err := m.Lock(t.Context())
		require.NoError(t, err)
		<-time.After(time.Hour)
		require.True(t, next.Valid())
		require.NoError(t, next.Context().Err())
		unlock(t, next)
	})
}

// Whatever step an acquisition is cancelled at, in the end nobody holds and nobody waits.
func TestACancelledAcquisitionLeavesNothingHeld(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{0, 1} { // with replicas each step has a call of its own
		for step := range 6 {
			t.Run(fmt.Sprint("replicas ", replicas, " step ", step), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { cancelAt(t, step, replicas) })
			})
		}
	}
}

func cancelAt(t *testing.T, step, replicas int) {
	s := &replicated{store: newStore(t), replicas: replicas}
	m := lock.NewMutex(s, ns, "name", lock.Config{Replicas: replicas})
	held := hold(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	s.on(func(called context.Context, op string) error {
		if op == "unlock" || op == "leave" {
			return nil
		}
		if n++; n-1 == step {
			cancel()
		}
		return called.Err()
	})
	done := make(chan error)
	go func() {
		h, err := m.Lock(ctx)
		if err == nil {
			err = h.Unlock(ctx)
		}
		done <- err
	}()
	synctest.Wait()
	unlock(t, held)
	select {
	case err := <-done:
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
	case <-time.After(time.Second):
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
	s.on(nil)
	<-time.After(time.Second)
	require.False(t, s.state(t, "name").Locked)
	require.Zero(t, s.state(t, "name").Waiting)
	unlock(t, hold(t, m))
}

func TestAnEndedContextSendsNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Zero(t, s.counting(func() {
		_, err := lock.NewMutex(s, ns, "name", lock.Config{}).Lock(ctx)
		require.ErrorIs(t, err, context.Canceled)
		_, err = lock.NewMutex(s, ns, "name", lock.Config{}).TryLock(ctx)
		require.ErrorIs(t, err, context.Canceled)
	}))
}

func TestAWaitThatFailsTellsWhy(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	s.fail("enter", backend.ErrPermission)
	_, err := m.Lock(t.Context())
	require.ErrorIs(t, err, backend.ErrPermission)
	s.fail("lock", backend.ErrPermission)
	_, err = m.TryLock(t.Context())
	require.ErrorIs(t, err, backend.ErrPermission)
}

func TestAWaitEndsWhenTheBackendIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{})
		held := hold(t, m)
		done := make(chan error)
		go func() {
			_, err := m.Lock(t.Context())
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, backend.ErrClosed)
		_, err := m.TryLock(t.Context())
		require.ErrorIs(t, err, backend.ErrClosed)
		require.ErrorIs(t, held.Unlock(t.Context()), backend.ErrClosed)
	})
}

func TestADelByHandWakesTheFirstInLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{TTL: time.Hour})
		hold(t, m)
		got := make(chan *lock.Held)
		go func() {
			h, _ := m.Lock(t.Context())
			got <- h
		}()
		synctest.Wait()
		begin := time.Now()
		_, err := s.Delete(t.Context(), backend.DeleteRequest{
			Namespace: ns, Kind: backend.KindLock, Items: []backend.DeleteItem{{Name: "name"}},
		})
		require.NoError(t, err)
		next := <-got
		require.LessOrEqual(t, time.Since(begin), 250*time.Millisecond)
		unlock(t, next)
	})
}
