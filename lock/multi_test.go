package lock_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

func TestAMultiHoldsAllNamesOrNone(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	names := []string{"b", "a", "c"}
	multi := lock.NewMulti(s, ns, names, lock.Config{})
	names[0] = "changed"
	require.Equal(t, []string{"b", "a", "c"}, multi.Names())

	var held *lock.Held
	require.Equal(t, 1, s.counting(func() { held = hold(t, multi) }))
	require.Equal(t, []string{"b", "a", "c"}, held.Names())
	require.Equal(t, "b", held.Name())
	states, err := multi.State(t.Context())
	require.NoError(t, err)
	for i, state := range states {
		require.Equal(t, multi.Names()[i], state.Name)
		require.True(t, state.Locked)
		require.Equal(t, held.Token(), state.Holders[0].Token)
	}
	owned, err := held.Owned(t.Context())
	require.NoError(t, err)
	require.True(t, owned)
	single := lock.NewMutex(s, ns, "a", lock.Config{})
	_, err = single.TryLock(t.Context())
	require.ErrorIs(t, err, lock.ErrLocked)
	require.Equal(t, 1, s.counting(func() { unlock(t, held) }))
	for _, name := range multi.Names() {
		require.False(t, s.state(t, name).Locked)
	}

	one := hold(t, single)
	require.Greater(t, one.Fence(), held.Fence())
	_, err = multi.TryLock(t.Context())
	require.ErrorIs(t, err, lock.ErrLocked)
	require.EqualError(t, err, `try lock "b" and 2 more: locked`)
	require.False(t, s.state(t, "b").Locked)
	require.False(t, s.state(t, "c").Locked)
	unlock(t, one)
}

func TestAMultiWaitsWithoutHoldingSome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		a, b := lock.NewMutex(s, ns, "a", lock.Config{}), lock.NewMutex(s, ns, "b", lock.Config{})
		heldA, heldB := hold(t, a), hold(t, b)
		got := make(chan *lock.Held)
		go func() {
			h, _ := lock.NewMulti(s, ns, []string{"a", "b"}, lock.Config{}).Lock(t.Context())
			got <- h
		}()
		synctest.Wait()
		unlock(t, heldA)
		<-time.After(time.Minute)
		require.False(t, s.state(t, "a").Locked)
		require.Equal(t, 1, s.state(t, "a").Waiting)
		_, err := a.TryLock(t.Context())
		require.ErrorIs(t, err, lock.ErrLocked, "nobody overtakes")
		unlock(t, heldB)
		both := <-got
		require.Equal(t, both.Token(), s.state(t, "a").Owner)
		require.Equal(t, both.Token(), s.state(t, "b").Owner)
		<-time.After(time.Hour)
		require.True(t, both.Valid())
		unlock(t, both)
		unlock(t, hold(t, a))
	})
}

func TestMultisThatOverlapDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	accounts := []string{"a", "b", "c", "d"}
	var (
		inside [4]atomic.Int32
		wg     sync.WaitGroup
	)
	for i := range 4 {
		for j := range 4 {
			if i == j {
				continue
			}
			wg.Go(func() {
				m := lock.NewMulti(s, ns, []string{accounts[i], accounts[j]}, lock.Config{})
				for range 10 {
					err := m.Do(context.Background(), func(context.Context) error {
						if inside[i].Add(1) != 1 || inside[j].Add(1) != 1 {
							t.Error("two at once")
						}
						inside[i].Add(-1)
						inside[j].Add(-1)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, name := range accounts {
		require.False(t, s.state(t, name).Locked)
	}
}

func TestWhenOneOfSeveralIsLostAllAre(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		held := hold(t, lock.NewMulti(s, ns, []string{"a", "b"}, lock.Config{TTL: ttl}))
		s.free(t, "b")
		owned, err := held.Owned(t.Context())
		require.NoError(t, err)
		require.False(t, owned)
		<-held.Context().Done()
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
		synctest.Wait()
		require.False(t, s.state(t, "a").Locked, "the rest is given back")
		require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
	})
}

func TestAWaitForSeveralThatIsCancelledLeavesAllLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		b := hold(t, lock.NewMutex(s, ns, "b", lock.Config{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := lock.NewMulti(s, ns, []string{"a", "b"}, lock.Config{}).Lock(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, name := range []string{"a", "b"} {
			require.Zero(t, s.state(t, name).Waiting)
		}
		unlock(t, hold(t, lock.NewMutex(s, ns, "a", lock.Config{})))
		unlock(t, b)
	})
}

func TestAMultiThatIsHeldServesForEachOfItsNames(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	held := hold(t, lock.NewMulti(s, ns, []string{"a", "b", "c"}, lock.Config{}))
	ctx := lock.WithHeld(t.Context(), held)
	require.Zero(t, s.counting(func() {
		one := holdWith(ctx, t, lock.NewMutex(s, ns, "b", lock.Config{}))
		two := holdWith(ctx, t, lock.NewMulti(s, ns, []string{"c", "a"}, lock.Config{}))
		_, err := lock.NewMulti(s, ns, []string{"c", "d"}, lock.Config{}).TryLock(ctx)
		require.ErrorIs(t, err, backend.ErrInvalid, "it might wait for itself")
		unlock(t, two)
		unlock(t, one)
	}))
	d := hold(t, lock.NewMutex(s, ns, "d", lock.Config{}))
	require.Zero(t, s.counting(func() {
		_, err := lock.NewMulti(s, ns, []string{"c", "d"}, lock.Config{}).TryLock(lock.WithHeld(ctx, d))
		require.ErrorIs(t, err, backend.ErrInvalid, "not all by one")
		unlock(t, holdWith(lock.WithHeld(ctx, d), t, lock.NewMutex(s, ns, "c", lock.Config{})))
	}))
	unlock(t, d)
	unlock(t, held)
}

func TestDoOfAMulti(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	require.ErrorIs(t, lock.NewMulti(s, ns, []string{"a", "b"}, lock.Config{}).Do(t.Context(),
		func(ctx context.Context) error {
			require.True(t, s.state(t, "a").Locked)
			require.Equal(t, []string{"a", "b"}, lock.HeldFrom(ctx).Names())
			return errOops
		}), errOops)
	require.False(t, s.state(t, "a").Locked)
}
