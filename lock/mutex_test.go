package lock_test

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/lock"
)

func TestOneAtATimeHoldsAMutex(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	locked, err := m.Locked(t.Context())
	require.NoError(t, err)
	require.False(t, locked)

	var first *lock.Held
	require.Equal(t, 1, s.counting(func() { first = hold(t, m) }))
	require.True(t, first.Valid())
	require.NoError(t, first.Err())
	require.Equal(t, "name", first.Name())
	require.Equal(t, []string{"name"}, first.Names())
	require.Equal(t, s.state(t, "name").Owner, first.Token())
	require.WithinDuration(t, time.Now().Add(lock.DefaultTTL-200*time.Millisecond), first.Deadline(), time.Second)

	for _, other := range []*lock.Mutex{m, lock.NewMutex(s, ns, "name", lock.Config{})} {
		_, err = other.TryLock(t.Context())
		require.ErrorIs(t, err, lock.ErrLocked)
		require.EqualError(t, err, `try lock "name": locked`)
	}
	locked, err = m.Locked(t.Context())
	require.NoError(t, err)
	require.True(t, locked)
	unlock(t, hold(t, lock.NewMutex(s, ns, "other", lock.Config{})))

	require.Equal(t, 1, s.counting(func() { unlock(t, first) }))
	require.False(t, first.Valid())
	require.ErrorIs(t, first.Err(), lock.ErrReleased)
	second := hold(t, m)
	require.Greater(t, second.Fence(), first.Fence())
	require.NotEqual(t, first.Token(), second.Token())
	unlock(t, second)
}

func TestDoLocksRunsAndUnlocks(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	var inside context.Context
	require.NoError(t, m.Do(t.Context(), func(ctx context.Context) error {
		inside = ctx
		require.NoError(t, ctx.Err())
		require.True(t, s.state(t, "name").Locked)
		require.Equal(t, s.state(t, "name").Owner, lock.HeldFrom(ctx).Token())
		return m.Do(ctx, func(ctx context.Context) error { return ctx.Err() })
	}))
	require.False(t, s.state(t, "name").Locked)
	require.ErrorIs(t, context.Cause(inside), lock.ErrReleased)
	require.Nil(t, lock.HeldFrom(t.Context()))

	require.Same(t, errOops, m.Do(t.Context(), func(context.Context) error { return errOops }))
	require.Panics(t, func() { _ = m.Do(t.Context(), func(context.Context) error { panic("oops") }) })
	require.False(t, s.state(t, "name").Locked)

	err := m.Do(t.Context(), func(context.Context) error {
		s.free(t, "name")
		return errOops
	})
	require.ErrorIs(t, err, errOops)
	require.ErrorIs(t, err, lock.ErrNotHeld)
	require.ErrorIs(t, err, lock.ErrLost)

	defer unlock(t, hold(t, m))
	ran := false
	err = m.Do(t.Context(), func(context.Context) error {
		ran = true
		return nil
	}, lock.MaxWait(time.Millisecond))
	require.ErrorIs(t, err, lock.ErrLocked)
	require.False(t, ran)
}

func TestTheContextOfDoDerivesFromItsCallers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	type key struct{}
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
	require.NoError(t, lock.NewMutex(s, ns, "name", lock.Config{}).Do(ctx, func(ctx context.Context) error {
		require.Equal(t, "value", ctx.Value(key{}))
		cancel(errOops)
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), errOops)
		return nil
	}))
	require.False(t, s.state(t, "name").Locked)
}

func TestStateTellsWhoHoldsAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{Info: "nightly report", NoRenewal: true})
		state, err := m.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, lock.State{Name: "name"}, state)

		held := hold(t, m)
		since := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 2 {
			go func() { _, _ = m.Lock(ctx) }()
		}
		<-time.After(time.Second)
		state, err = m.State(t.Context())
		require.NoError(t, err)
		require.True(t, state.Locked)
		require.Equal(t, 2, state.Waiting)
		require.Equal(t, lock.DefaultTTL-time.Second, state.TTL)
		require.Len(t, state.Holders, 1)
		h := state.Holders[0]
		require.Equal(t, held.Token(), h.Token)
		require.Equal(t, os.Getpid(), h.PID)
		require.Equal(t, "nightly report", h.Info)
		require.True(t, since.Equal(h.Since), h.Since)
		require.Equal(t, state.TTL, h.TTL)
		require.Zero(t, h.Units)

		cancel()
		synctest.Wait()
		unlock(t, held)
		_, err = s.Set(t.Context(), backend.SetRequest{
			Namespace: ns, Kind: backend.KindLock,
			Items: []backend.SetItem{{Name: "name", Value: "1", TTL: backend.NoExpiry}},
		})
		require.NoError(t, err)
		state, err = m.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, lock.State{
			Name: "name", Locked: true, TTL: backend.NoExpiry,
			Holders: []lock.Holder{{Token: "1", TTL: backend.NoExpiry}},
		}, state, "what Python wrote")
		s.fail("holders", errOops)
		_, err = m.State(t.Context())
		require.ErrorIs(t, err, errOops)
		_, err = m.Locked(t.Context())
		require.EqualError(t, err, `state "name": oops`)
	})
}

func TestManyGoroutinesExcludeEachOther(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	var (
		wg     sync.WaitGroup
		inside atomic.Int32
		fence  int64
		n      int
	)
	for range 32 {
		wg.Go(func() {
			for range 20 {
				held, err := m.Lock(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two at once")
				}
				if held.Fence() <= fence {
					t.Error("a fence that did not grow")
				}
				fence = held.Fence()
				n++
				inside.Add(-1)
				if err := held.Unlock(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 640, n)
	require.False(t, s.state(t, "name").Locked)
	require.Zero(t, s.state(t, "name").Waiting)
}

func TestAGrantWhoseAnswerComesTooLateIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var told events
		m := lock.NewMutex(s, ns, "name", lock.Config{TTL: time.Minute, Observer: &told})
		require.Equal(t, "name", m.Name())
		s.answer(func(op string) error {
			if op == "lock" { // as if the process had been stopped
				<-time.After(time.Minute - lease.Margin(time.Minute))
			}
			return nil
		})
		_, err := m.TryLock(t.Context())
		require.ErrorIs(t, err, lock.ErrExpired)
		require.False(t, s.state(t, "name").Locked)
		require.Empty(t, told.of(backend.EventGranted))
		require.Empty(t, told.of(backend.EventLost))
		s.answer(nil)
		unlock(t, hold(t, m))
	})
}
