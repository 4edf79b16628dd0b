package lock_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

func TestWithHeldTheLockIsEnteredAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	outer := hold(t, m)
	ctx := lock.WithHeld(t.Context(), outer)
	require.Same(t, outer, lock.HeldFrom(ctx))

	require.Zero(t, s.counting(func() {
		inner := holdWith(ctx, t, m)
		another, err := lock.NewMutex(s, ns, "name", lock.Config{}).Lock(lock.WithHeld(ctx, inner))
		require.NoError(t, err)
		for _, h := range []*lock.Held{inner, another} {
			require.Equal(t, outer.Token(), h.Token())
			require.Equal(t, outer.Fence(), h.Fence())
			require.True(t, h.Valid())
			unlock(t, h)
			unlock(t, h)
			require.False(t, h.Valid())
			require.ErrorIs(t, context.Cause(h.Context()), lock.ErrReleased)
			require.ErrorIs(t, h.Err(), lock.ErrReleased)
			require.ErrorIs(t, h.Extend(ctx, time.Second), lock.ErrReleased)
		}
	}))
	require.True(t, outer.Valid())
	require.NoError(t, outer.Context().Err())
	require.Equal(t, outer.Token(), s.state(t, "name").Owner)
	unlock(t, outer)
	require.False(t, s.state(t, "name").Locked)

	other := holdWith(ctx, t, m)
	require.Greater(t, other.Fence(), outer.Fence(), "what was given back counts for nothing")
	unlock(t, other)
}

func TestTheLastHandleGivesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{})
		outer := hold(t, m)
		inner := holdWith(lock.WithHeld(t.Context(), outer), t, m)
		outerCtx, innerCtx := outer.Context(), inner.Context()
		unlock(t, outer)
		<-outerCtx.Done()
		require.ErrorIs(t, context.Cause(outerCtx), lock.ErrReleased)
		require.False(t, outer.Valid())
		<-time.After(time.Hour)
		require.True(t, inner.Valid(), "it is renewed on")
		require.NoError(t, innerCtx.Err())
		require.Equal(t, inner.Token(), s.state(t, "name").Owner)
		_, err := m.TryLock(t.Context())
		require.ErrorIs(t, err, lock.ErrLocked)

		third := holdWith(lock.WithHeld(t.Context(), outer), t, m)
		unlock(t, inner)
		require.ErrorIs(t, context.Cause(innerCtx), lock.ErrReleased)
		require.True(t, s.state(t, "name").Locked)
		unlock(t, third)
		require.False(t, s.state(t, "name").Locked)
		unlock(t, hold(t, m))
	})
}

func TestWithoutWithHeldNobodyEntersAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	held := hold(t, m)
	for _, ctx := range []context.Context{t.Context(), held.Context(), lock.WithHeld(t.Context(), nil)} {
		_, err := m.TryLock(ctx)
		require.ErrorIs(t, err, lock.ErrLocked)
	}
	ctx := lock.WithHeld(t.Context(), held)
	other := newStore(t)
	for _, m := range []*lock.Mutex{
		lock.NewMutex(s, ns, "other", lock.Config{}),
		lock.NewMutex(s, backend.Namespace{Prefix: "x", Suffix: "lock"}, "name", lock.Config{}),
		lock.NewMutex(other, ns, "name", lock.Config{}),
	} {
		h := holdWith(ctx, t, m)
		require.NotEqual(t, held.Token(), h.Token())
		unlock(t, h)
	}
	_, err := m.TryLock(ctx, lock.Token("mine"))
	require.ErrorIs(t, err, lock.ErrLocked, "another token is another owner")
	unlock(t, holdWith(ctx, t, m, lock.Token(held.Token())))
	_, err = m.TryLock(ctx, lock.TTL(-5))
	require.ErrorIs(t, err, backend.ErrInvalid)
	unlock(t, held)
}

func TestAllHandlesEndWhenTheLockIsLost(t *testing.T) {
	t.Parallel()
	for _, unlockOuter := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t)
			m := lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl})
			outer := hold(t, m)
			ctx := lock.WithHeld(t.Context(), outer)
			early, inner, another := holdWith(ctx, t, m), holdWith(ctx, t, m), holdWith(ctx, t, m)
			unlock(t, early)
			if unlockOuter {
				unlock(t, outer)
			}
			s.free(t, "name")
			<-inner.Context().Done()
			<-another.Context().Done()
			require.ErrorIs(t, context.Cause(inner.Context()), lock.ErrLost)
			require.ErrorIs(t, context.Cause(another.Context()), lock.ErrLost)
			require.ErrorIs(t, inner.Err(), lock.ErrLost)
			fresh := holdWith(ctx, t, m)
			require.NotEqual(t, outer.Token(), fresh.Token(), "what was lost counts for nothing")
			for _, h := range []*lock.Held{inner, another} {
				err := h.Unlock(t.Context())
				require.ErrorIs(t, err, lock.ErrNotHeld)
				require.ErrorIs(t, err, lock.ErrLost)
			}
			require.True(t, s.state(t, "name").Locked)
			unlock(t, fresh)
		})
	}
}

func TestAnInnerContextEndsAtTheDeadlineAndWithItsParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl, NoRenewal: true})
		begin := time.Now()
		outer := hold(t, m)
		parent, cancel := context.WithCancelCause(lock.WithHeld(t.Context(), outer))
		early, late := holdWith(parent, t, m), holdWith(lock.WithHeld(t.Context(), outer), t, m)
		cancel(errOops)
		<-early.Context().Done()
		require.ErrorIs(t, context.Cause(early.Context()), errOops)
		require.True(t, early.Valid())
		require.NoError(t, late.Context().Err())
		<-late.Context().Done()
		require.GreaterOrEqual(t, time.Since(begin), ttl-margin)
		require.Less(t, time.Since(begin), ttl-margin/2)
		require.ErrorIs(t, context.Cause(late.Context()), lock.ErrExpired)
		require.ErrorIs(t, late.Context().Err(), context.Canceled)
		for _, h := range []*lock.Held{early, outer, late} {
			require.ErrorIs(t, h.Unlock(t.Context()), lock.ErrExpired)
		}
	})
}

func TestHandlesComeAndGo(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	for range 50 {
		outer := hold(t, m)
		ctx := lock.WithHeld(t.Context(), outer)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					inner, err := m.Lock(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					_ = inner.Context().Done()
					if err := inner.Unlock(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
		unlock(t, outer)
		wg.Wait()
		require.False(t, s.state(t, "name").Locked)
	}
}

func TestHandlesThatAreUnlockedTogetherAllWereHeld(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	for range 2000 {
		outer := hold(t, m)
		inner, err := m.Lock(lock.WithHeld(t.Context(), outer))
		require.NoError(t, err)
		var wg sync.WaitGroup
		for _, h := range []*lock.Held{inner, outer} {
			wg.Go(func() { assert.NoError(t, h.Unlock(t.Context())) })
		}
		wg.Wait()
		require.False(t, t.Failed())
	}
}

func TestTheSameTokenOnPurposeIsCounted(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first := hold(t, lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl}))
	there := lock.NewMutex(s, ns, "name", lock.Config{TTL: time.Hour}) // in another process
	second := hold(t, there, lock.Token(first.Token()))
	third, err := there.Lock(t.Context(), lock.Token(first.Token()))
	require.NoError(t, err)
	require.Greater(t, s.state(t, "name").TTL, 59*time.Minute)
	_, err = there.TryLock(t.Context(), lock.Token("other"))
	require.ErrorIs(t, err, lock.ErrLocked)
	for _, h := range []*lock.Held{first, third, second} {
		require.Equal(t, first.Token(), h.Token())
		require.True(t, s.state(t, "name").Locked)
		unlock(t, h)
		unlock(t, h) // does not count
	}
	require.False(t, s.state(t, "name").Locked)
}

func TestWhoWaitsWithAGivenTokenHasThatOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{})
		held := hold(t, m)
		got := make(chan *lock.Held)
		go func() {
			h, _ := m.Lock(t.Context(), lock.Token("mine"))
			got <- h
		}()
		synctest.Wait()
		reply, err := s.Queue(t.Context(), backend.QueueRequest{Namespace: ns, Name: "name", Token: "mine"})
		require.NoError(t, err)
		require.Equal(t, 1, reply.Position)
		unlock(t, held)
		next := <-got
		require.Equal(t, "mine", next.Token())
		require.Equal(t, "mine", s.state(t, "name").Owner)
		unlock(t, next)
	})
}

// TestWhoSharesATokenDoesNotUpgradeBecauseOfAnother: between the refusal and the look at the reason for it, somebody else gets
// the lock with the same token.
func TestWhoSharesATokenDoesNotUpgradeBecauseOfAnother(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	token := lock.Token("shared")
	stranger := hold(t, m)
	var first *lock.Held
	s.on(func(_ context.Context, op string) error {
		if op == "holders" && first == nil {
			unlock(t, stranger)
			first = hold(t, m, token)
		}
		return nil
	})
	second, err := m.TryLock(t.Context(), token)
	require.NoError(t, err)
	require.NotNil(t, first)
	unlock(t, first)
	require.True(t, s.state(t, "name").Locked, "it is held twice")
	unlock(t, second)
	require.False(t, s.state(t, "name").Locked)
}
