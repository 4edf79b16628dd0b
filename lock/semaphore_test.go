package lock_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// units has a semaphore acquire n units, as arrivals want it.
func units(s *lock.Semaphore, n int) func(context.Context, ...lock.Option) (*lock.Held, error) {
	return func(ctx context.Context, opts ...lock.Option) (*lock.Held, error) { return s.Acquire(ctx, n, opts...) }
}

func TestUnitsAreHeldUpToTheLimit(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	sem := lock.NewSemaphore(s, ns, "seats", 5, lock.Config{Info: "editor"})
	require.Equal(t, "seats", sem.Name())
	require.Equal(t, 5, sem.Limit())
	three, err := sem.TryAcquire(t.Context(), 3)
	require.NoError(t, err)
	require.Equal(t, 3, three.Units())
	_, err = sem.TryAcquire(t.Context(), 3)
	require.ErrorIs(t, err, lock.ErrLocked)
	two, err := sem.TryAcquire(t.Context(), 2)
	require.NoError(t, err)
	_, err = sem.TryAcquire(t.Context(), 1)
	require.ErrorIs(t, err, lock.ErrLocked)

	state, err := sem.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, 5, state.Units)
	require.Equal(t, 5, state.Limit)
	require.Len(t, state.Holders, 2)
	require.Equal(t, "editor", state.Holders[0].Info)
	_, err = lock.NewMutex(s, ns, "seats", lock.Config{}).TryLock(t.Context())
	require.ErrorIs(t, err, lock.ErrLocked, "nobody has it alone meanwhile")

	require.Less(t, three.Fence(), two.Fence())
	unlock(t, three)
	three, err = sem.TryAcquire(t.Context(), 3)
	require.NoError(t, err)
	unlock(t, two)
	unlock(t, three)
	require.False(t, s.state(t, "seats").Locked)
	require.NoError(t, sem.Do(t.Context(), 5, func(ctx context.Context) error {
		require.Equal(t, 5, lock.HeldFrom(ctx).Units())
		return ctx.Err()
	}))
	require.False(t, s.state(t, "seats").Locked)
}

func TestManyUnitsAreNotOvertakenByFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		sem := lock.NewSemaphore(s, ns, "seats", 4, lock.Config{})
		var a arrivals
		a.enter(t, "first", units(sem, 3))
		require.Equal(t, []string{"first"}, a.seen())
		a.enter(t, "many", units(sem, 4))
		a.enter(t, "few", units(sem, 1))
		a.enter(t, "more", units(sem, 2))
		require.Empty(t, a.seen())
		_, err := sem.TryAcquire(t.Context(), 1)
		require.ErrorIs(t, err, lock.ErrLocked)
		a.unlock(t, "first")
		require.Equal(t, []string{"many"}, a.seen())
		a.unlock(t, "many")
		require.ElementsMatch(t, []string{"few", "more"}, a.seen())
		a.unlock(t, "few", "more")
		a.wg.Wait()
	})
}

func TestUnitsOfTheDeadComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		sem := lock.NewSemaphore(s, ns, "seats", 3, lock.Config{TTL: 10 * time.Second})
		living, err := sem.TryAcquire(t.Context(), 1)
		require.NoError(t, err)
		dead, err := sem.TryAcquire(t.Context(), 2, lock.NoRenewal())
		require.NoError(t, err)
		begin := time.Now()
		next, err := sem.Acquire(t.Context(), 2)
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, time.Since(begin).Truncate(10*time.Millisecond))
		require.ErrorIs(t, dead.Unlock(t.Context()), lock.ErrNotHeld)
		<-time.After(time.Hour)
		require.True(t, living.Valid())
		require.True(t, next.Valid())
		require.Equal(t, 3, s.state(t, "seats").Units)
		unlock(t, living)
		unlock(t, next)
	})
}

func TestALimitThatDiffersIsAnErrorThatShowsBoth(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	three := lock.NewSemaphore(s, ns, "seats", 3, lock.Config{})
	five := lock.NewSemaphore(s, ns, "seats", 5, lock.Config{})
	held, err := three.TryAcquire(t.Context(), 1)
	require.NoError(t, err)
	unlock(t, held)

	for _, f := range []func(context.Context, int, ...lock.Option) (*lock.Held, error){five.TryAcquire, five.Acquire} {
		_, err = f(t.Context(), 1)
		require.ErrorIs(t, err, backend.ErrLimit)
		var differs *backend.LimitError
		require.True(t, errors.As(err, &differs))
		require.Equal(t, backend.LimitError{Name: "seats", Asked: 5, Stored: 3}, *differs)
	}
	_, err = lock.NewRWMutex(s, ns, "seats", lock.Config{}).TryRLock(t.Context())
	require.ErrorIs(t, err, backend.ErrLimit)

	require.NoError(t, five.Resize(t.Context(), 5))
	held, err = five.TryAcquire(t.Context(), 5)
	require.NoError(t, err)
	unlock(t, held)
	_, err = three.TryAcquire(t.Context(), 1)
	require.ErrorIs(t, err, backend.ErrLimit)
}

func TestResizeServesThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		sem := lock.NewSemaphore(s, ns, "seats", 2, lock.Config{})
		var a arrivals
		a.enter(t, "two", units(sem, 2))
		a.enter(t, "one", units(sem, 1))
		require.Equal(t, []string{"two"}, a.seen())
		require.NoError(t, sem.Resize(t.Context(), 3))
		require.Equal(t, 3, sem.Limit())
		require.Equal(t, []string{"one"}, a.seen())

		require.NoError(t, sem.Resize(t.Context(), 1))
		state, err := sem.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, state.Limit)
		require.Equal(t, 3, state.Units, "what is held stays")
		a.unlock(t, "two")
		_, err = sem.TryAcquire(t.Context(), 1)
		require.ErrorIs(t, err, lock.ErrLocked)
		a.unlock(t, "one")
		held, err := sem.TryAcquire(t.Context(), 1)
		require.NoError(t, err)
		unlock(t, held)
	})
}

func TestASemaphoreRefuses(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	sem := lock.NewSemaphore(s, ns, "seats", 3, lock.Config{})
	ctx := t.Context()
	require.Zero(t, s.counting(func() {
		for _, n := range []int{0, -1, 4, backend.MaxUnits + 1} {
			_, err := sem.TryAcquire(ctx, n)
			require.ErrorIs(t, err, backend.ErrInvalid)
			_, err = sem.Acquire(ctx, n)
			require.ErrorIs(t, err, backend.ErrInvalid)
			require.ErrorIs(t, sem.Do(ctx, n, func(context.Context) error { panic("called") }), backend.ErrInvalid)
		}
		for _, limit := range []int{0, -1, backend.MaxUnits + 1} {
			require.ErrorIs(t, sem.Resize(ctx, limit), backend.ErrInvalid)
			_, err := lock.NewSemaphore(s, ns, "seats", limit, lock.Config{}).TryAcquire(ctx, 1)
			require.ErrorIs(t, err, backend.ErrInvalid)
		}
		for _, name := range []string{"", "a\x00b"} {
			bad := lock.NewSemaphore(s, ns, name, 3, lock.Config{})
			_, err := bad.TryAcquire(ctx, 1)
			require.ErrorIs(t, err, backend.ErrInvalid)
			_, err = bad.State(ctx)
			require.ErrorIs(t, err, backend.ErrInvalid)
			require.ErrorIs(t, bad.Resize(ctx, 2), backend.ErrInvalid)
		}
	}))
	require.Equal(t, 3, sem.Limit())
}

func TestUnitsAreNeverMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		const limit = 7
		sem := lock.NewSemaphore(s, ns, "seats", limit, lock.Config{})
		var used atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for j := range 30 {
					n := 1 + (i*j)%limit
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i+j)%5)*time.Second)
					held, err := sem.Acquire(ctx, n)
					cancel()
					if err != nil {
						require.ErrorIs(t, err, context.DeadlineExceeded)
						continue
					}
					require.LessOrEqual(t, used.Add(int64(n)), int64(limit))
					<-time.After(time.Duration(1+j%4) * 100 * time.Millisecond)
					used.Add(-int64(n))
					unlock(t, held)
				}
			})
		}
		wg.Wait()
		require.False(t, s.state(t, "seats").Locked)
		require.Zero(t, s.state(t, "seats").Waiting)
	})
}

func TestUnitsThatAreHeldAreEnteredAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	sem := lock.NewSemaphore(s, ns, "name", 3, lock.Config{})
	require.NoError(t, sem.Do(t.Context(), 2, func(ctx context.Context) error {
		for n := range 2 {
			inner, err := sem.Acquire(ctx, n+1)
			require.NoError(t, err)
			require.Equal(t, 2, inner.Units(), "it is a handle on those")
			require.Equal(t, 2, s.state(t, "name").Units, "no further ones are taken")
			unlock(t, inner)
		}
		_, err := sem.TryAcquire(ctx, 3)
		require.ErrorIs(t, err, lock.ErrUpgrade)
		other, err := sem.TryAcquire(t.Context(), 1)
		require.NoError(t, err)
		unlock(t, other)
		return nil
	}))
	require.False(t, s.state(t, "name").Locked)
}

// slowLimit has the answer to SetLimit take its time.
type slowLimit struct {
	*store

	takes time.Duration
}

func (s *slowLimit) SetLimit(ctx context.Context, req backend.LimitRequest) error {
	err := s.store.SetLimit(ctx, req)
	<-time.After(s.takes)
	return err
}

// Who acquires while the answer to a Resize is on its way is not told of a limit that differs.
func TestUnitsAreAcquiredDuringAResize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := lock.NewSemaphore(&slowLimit{newStore(t), time.Second}, ns, "seats", 2, lock.Config{})
		held, err := s.Acquire(t.Context(), 2)
		require.NoError(t, err)
		var resizing sync.WaitGroup
		resizing.Go(func() { assert.NoError(t, s.Resize(t.Context(), 3)) })
		synctest.Wait()
		more, err := s.TryAcquire(t.Context(), 1)
		require.NoError(t, err)
		resizing.Wait()

		resizing.Go(func() { assert.NoError(t, s.Resize(t.Context(), 1)) })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = s.TryAcquire(short, 1)
		require.ErrorIs(t, err, backend.ErrLimit, "who does not wait for the answer")
		require.ErrorIs(t, s.Resize(short, 5), context.DeadlineExceeded)
		_, err = s.TryAcquire(t.Context(), 2)
		require.ErrorIs(t, err, backend.ErrLimit, "who wants more than there are now")
		_, err = s.TryAcquire(t.Context(), 1)
		require.ErrorIs(t, err, lock.ErrLocked)
		resizing.Wait()
		unlock(t, held)
		unlock(t, more)
	})
}

// The one of two that comes later counts, in the store and here.
func TestTheLastResizeCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &slowLimit{newStore(t), time.Second}
		s := lock.NewSemaphore(slow, ns, "seats", 1, lock.Config{})
		var resizing sync.WaitGroup
		resizing.Go(func() { assert.NoError(t, s.Resize(t.Context(), 2)) })
		synctest.Wait()
		slow.takes = 0
		require.NoError(t, s.Resize(t.Context(), 3))
		resizing.Wait()
		require.Equal(t, 3, s.Limit())
		state, err := s.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, state.Limit)
	})
}
