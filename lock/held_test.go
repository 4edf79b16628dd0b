package lock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	ttl    = 10 * time.Second
	margin = ttl / 50
)

func TestALockIsRenewedUntilItIsUnlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl})
		held := hold(t, m)
		ctx := held.Context()
		for range 100 {
			<-time.After(time.Minute)
			require.NoError(t, ctx.Err())
			require.True(t, held.Valid())
			require.LessOrEqual(t, s.state(t, "name").TTL, ttl)
		}
		unlock(t, held)
		require.ErrorIs(t, context.Cause(ctx), lock.ErrReleased)
		calls := s.calls.Load()
		<-time.After(time.Hour)
		require.Equal(t, calls, s.calls.Load(), "what was unlocked is not renewed")
	})
}

func TestALockThatIsNotRenewedEndsBeforeTheStoreLetsAnyoneElseIn(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]struct {
		cfg  lock.Config
		opts []lock.Option
	}{
		"by configuration": {cfg: lock.Config{TTL: ttl, NoRenewal: true}},
		"by options":       {opts: []lock.Option{lock.NoRenewal(), lock.TTL(ttl)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				m := lock.NewMutex(s, ns, "name", opts.cfg)
				begin := time.Now()
				held := hold(t, m, opts.opts...)
				next := make(chan *lock.Held)
				go func() {
					h, _ := lock.NewMutex(s, ns, "name", lock.Config{}).Lock(t.Context())
					next <- h
				}()
				require.Equal(t, begin.Add(ttl-margin), held.Deadline())
				<-held.Context().Done()
				require.Equal(t, ttl-margin, time.Since(begin))
				require.ErrorIs(t, context.Cause(held.Context()), lock.ErrExpired)
				require.ErrorIs(t, held.Err(), lock.ErrExpired)
				require.False(t, held.Valid())

				other := <-next
				require.GreaterOrEqual(t, time.Since(begin), ttl)
				require.LessOrEqual(t, time.Since(begin), ttl+250*time.Millisecond)
				err := held.Unlock(t.Context())
				require.ErrorIs(t, err, lock.ErrNotHeld)
				require.ErrorIs(t, err, lock.ErrExpired)
				require.True(t, other.Valid())
				require.Equal(t, other.Token(), s.state(t, "name").Owner, "nothing of anybody else's is changed")
				unlock(t, other)
			})
		})
	}
}

func TestALockThatCannotBeRenewedEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var seen events
		m := lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl, Observer: &seen})
		held := hold(t, m)
		s.on(func(ctx context.Context, _ string) error { // a black hole
			<-ctx.Done()
			return backend.ErrUnavailable
		})
		begin := time.Now()
		<-held.Context().Done()
		require.Equal(t, ttl-margin, time.Since(begin))
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrExpired)
		<-time.After(margin)
		require.False(t, s.state(t, "name").Locked)
		require.Len(t, seen.of(backend.EventLost), 1)
		require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
		s.on(nil)
		<-time.After(time.Minute)
	})
}

func TestALockThatWasTakenAwayIsKnownToBeLost(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(t *testing.T, s *store){
		"forced": func(t *testing.T, s *store) { s.free(t, "name") },
		"DEL": func(t *testing.T, s *store) {
			_, err := s.Delete(t.Context(), backend.DeleteRequest{
				Namespace: ns, Kind: backend.KindLock, Items: []backend.DeleteItem{{Name: "name"}},
			})
			require.NoError(t, err)
		},
		"SET": func(t *testing.T, s *store) {
			_, err := s.Set(t.Context(), backend.SetRequest{
				Namespace: ns, Kind: backend.KindLock,
				Items: []backend.SetItem{{Name: "name", Value: "1", TTL: time.Hour}},
			})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl}))
				begin := time.Now()
				take(t, s)
				owned, err := held.Owned(t.Context())
				require.NoError(t, err)
				require.False(t, owned)
				require.True(t, held.Valid(), "nobody has told yet")
				<-held.Context().Done()
				require.LessOrEqual(t, time.Since(begin), ttl/3)
				require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
				require.ErrorIs(t, held.Err(), lock.ErrLost)
				before := s.state(t, "name")
				err = held.Unlock(t.Context())
				require.ErrorIs(t, err, lock.ErrNotHeld)
				require.ErrorIs(t, err, lock.ErrLost)
				require.Equal(t, before, s.state(t, "name"))
				require.Equal(t, err, held.Unlock(t.Context()))
			})
		})
	}
}

func TestWhatIsUnlockedIsLostIfItWasTakenAway(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var seen events
	held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{Observer: &seen}))
	s.free(t, "name")
	other := hold(t, lock.NewMutex(s, ns, "name", lock.Config{}))
	err := held.Unlock(t.Context())
	require.ErrorIs(t, err, lock.ErrNotHeld)
	require.ErrorIs(t, err, lock.ErrLost)
	require.Equal(t, other.Token(), s.state(t, "name").Owner)
	require.Len(t, seen.of(backend.EventLost), 1)
	require.Empty(t, seen.of(backend.EventReleased))
	unlock(t, other)
}

func TestUnlockWorksWhenItsContextIsOver(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	held := holdWith(ctx, t, lock.NewMutex(s, ns, "name", lock.Config{}))
	cancel()
	require.ErrorIs(t, held.Context().Err(), context.Canceled)
	require.True(t, held.Valid(), "it is held until it is unlocked")
	require.Equal(t, 1, s.counting(func() {
		require.NoError(t, held.Unlock(ctx))
		require.NoError(t, held.Unlock(ctx))
	}))
	require.False(t, s.state(t, "name").Locked)
}

func TestAnUnlockThatFailsGoesOnInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var seen events
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: time.Hour, Observer: &seen}))
		s.fail("unlock", backend.ErrUnavailable)
		err := held.Unlock(t.Context())
		require.ErrorIs(t, err, backend.ErrUnavailable)
		require.Equal(t, err, held.Unlock(t.Context()))
		require.ErrorIs(t, held.Err(), lock.ErrReleased)
		<-time.After(20 * time.Minute) // longer than anything idle is kept
		require.True(t, s.state(t, "name").Locked)
		require.Empty(t, seen.of(backend.EventReleased))
		s.on(nil)
		<-time.After(time.Second)
		require.False(t, s.state(t, "name").Locked)
		require.Len(t, seen.of(backend.EventReleased), 1)
	})
}

func TestARenewalWhoseAnswerWasLostIsUndoneByUnlock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: 5 * time.Minute}))
		s.answer(func(op string) error {
			if op == "renew" {
				return backend.ErrUnavailable
			}
			return nil
		})
		<-held.Context().Done()
		require.ErrorIs(t, held.Err(), lock.ErrExpired)
		<-time.After(time.Minute)
		require.True(t, s.state(t, "name").Locked)
		require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrExpired)
		<-time.After(time.Second)
		require.False(t, s.state(t, "name").Locked)
	})
}

func TestExtendAddsToWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl, NoRenewal: true}))
		<-time.After(4 * time.Second)
		require.Equal(t, 1, s.counting(func() { require.NoError(t, held.Extend(t.Context(), 3*time.Second)) }))
		require.Equal(t, 9*time.Second, s.state(t, "name").TTL)
		require.Equal(t, time.Now().Add(9*time.Second*49/50), held.Deadline())
		for range 10 {
			require.NoError(t, held.Extend(t.Context(), time.Second))
		}
		require.Equal(t, 19*time.Second, s.state(t, "name").TTL)

		require.NoError(t, held.SetTTL(t.Context(), time.Second))
		require.Equal(t, time.Second, s.state(t, "name").TTL)
		require.NoError(t, held.Reacquire(t.Context()))
		require.Equal(t, ttl, s.state(t, "name").TTL)
		require.NoError(t, held.SetTTL(t.Context(), backend.NoExpiry))
		require.Equal(t, backend.NoExpiry, s.state(t, "name").TTL)
		require.Zero(t, held.Deadline())
		require.NoError(t, held.Extend(t.Context(), time.Second))
		require.Equal(t, backend.NoExpiry, s.state(t, "name").TTL, "what never runs out stays so")
		require.NoError(t, held.SetTTL(t.Context(), time.Minute))
		require.NoError(t, held.Extend(t.Context(), 1<<63-1))
		require.True(t, held.Valid())
		require.NoError(t, held.Reacquire(t.Context()))
		<-held.Context().Done()

		for op, change := range map[string]func() error{
			"extend":    func() error { return held.Extend(t.Context(), time.Second) },
			"set ttl":   func() error { return held.SetTTL(t.Context(), time.Second) },
			"reacquire": func() error { return held.Reacquire(t.Context()) },
		} {
			require.Zero(t, s.counting(func() {
				err := change()
				require.ErrorIs(t, err, lock.ErrNotHeld)
				require.ErrorIs(t, err, lock.ErrExpired)
				require.ErrorContains(t, err, op+` "name": `)
			}))
		}
	})
}

func TestTogetherExtensionsAddUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl, NoRenewal: true}))
		s.on(func(context.Context, string) error {
			<-time.After(10 * time.Millisecond)
			return nil
		})
		done := make(chan error)
		for range 10 {
			go func() { done <- held.Extend(t.Context(), time.Minute) }()
		}
		for range 10 {
			require.NoError(t, <-done)
		}
		require.Greater(t, s.state(t, "name").TTL, 10*time.Minute)
		unlock(t, held)
	})
}

func TestAnExtensionStaysWhenTheLockIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl}))
		require.NoError(t, held.Extend(t.Context(), time.Minute))
		<-time.After(time.Hour)
		require.Greater(t, s.state(t, "name").TTL, 40*time.Second)
		unlock(t, held)
	})
}

func TestAnExtensionWithoutAnAnswerLeavesTheEarlierEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl, NoRenewal: true}))
		s.fail("renew", backend.ErrUnavailable)
		before := held.Deadline()
		require.ErrorIs(t, held.Extend(t.Context(), time.Minute), backend.ErrUnavailable)
		require.Equal(t, before, held.Deadline())
		unlock(t, held)
	})
}

func TestWhatIsUnlockedCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{}))
	unlock(t, held)
	require.Zero(t, s.counting(func() {
		for _, err := range []error{
			held.Extend(t.Context(), time.Second), held.SetTTL(t.Context(), time.Second), held.Reacquire(t.Context()),
		} {
			require.ErrorIs(t, err, lock.ErrNotHeld)
			require.ErrorIs(t, err, lock.ErrReleased)
		}
		owned, err := held.Owned(t.Context())
		require.NoError(t, err)
		require.False(t, owned)
	}))
}

func TestOwnedAsksTheStore(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{}))
	owned, err := held.Owned(t.Context())
	require.NoError(t, err)
	require.True(t, owned)
	s.fail("holders", errOops)
	_, err = held.Owned(t.Context())
	require.EqualError(t, err, `owned "name": oops`)
	s.on(nil)
	unlock(t, held)
}

func TestALockWithoutEndStaysUntilItIsUnlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: backend.NoExpiry}))
		require.Zero(t, held.Deadline())
		require.Zero(t, s.counting(func() { <-time.After(10 * time.Hour) }), "it is not renewed")
		require.True(t, held.Valid())
		require.Equal(t, backend.NoExpiry, s.state(t, "name").TTL)
		unlock(t, held)
		require.False(t, s.state(t, "name").Locked)
	})
}

func TestTheContextOfWhatIsHeldDerivesFromThatOfTheCall(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	type key struct{}
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
	held := holdWith(ctx, t, m)
	require.Equal(t, "value", held.Context().Value(key{}))
	cancel(errOops)
	<-held.Context().Done()
	require.ErrorIs(t, context.Cause(held.Context()), errOops)
	unlock(t, held)
}

func TestAnUnlockOfTheLastLockOfAllGoesOnInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for wait := 20 * time.Second; wait < 40*time.Second; wait += 2 * time.Second {
			s := newStore(t)
			held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: time.Minute}))
			<-time.After(wait)
			s.on(func(ctx context.Context, op string) error {
				if op == "unlock" {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			})
			err := held.Unlock(t.Context())
			require.ErrorIs(t, err, backend.ErrUnavailable)
			require.ErrorContains(t, err, "in the background")
			s.on(nil)
			<-time.After(10 * time.Second)
			require.False(t, s.state(t, "name").Locked, "long before its end")
		}
	})
}

func TestALaterEndThatTheStoreMayHaveIsUndoneByUnlock(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{time.Hour, backend.NoExpiry} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t)
			held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: time.Minute, NoRenewal: true}))
			s.answer(func(string) error { return backend.ErrUnavailable })
			require.ErrorIs(t, held.SetTTL(t.Context(), ttl), backend.ErrUnavailable)
			s.answer(nil)
			<-time.After(10 * time.Minute)
			require.True(t, s.state(t, "name").Locked)
			require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrExpired)
			<-time.After(time.Second)
			require.False(t, s.state(t, "name").Locked)
		})
	}
}
