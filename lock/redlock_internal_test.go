package lock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

func TestARedlockForgetsWhatIsNotHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		r, err := NewRedlock([]RedlockBackend{be}, somewhere, RedlockConfig{NoRenewal: true})
		require.NoError(t, err)
		defer r.Close()
		held, err := r.Lock(t.Context(), "unlocked")
		require.NoError(t, err)
		_, err = r.Lock(t.Context(), "left to run out")
		require.NoError(t, err)
		known := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.held)
		}
		require.Equal(t, 2, known())
		require.NoError(t, held.Unlock(t.Context()))
		require.Equal(t, 1, known())
		<-time.After(DefaultTTL)
		require.Zero(t, known())
	})
}

// A lock that has been granted when Close is called is none.
func TestALockThatComesWithClose(t *testing.T) {
	t.Parallel()
	be := memory.New()
	defer be.Close()
	r, err := NewRedlock([]RedlockBackend{be}, somewhere, RedlockConfig{})
	require.NoError(t, err)
	now := time.Now()
	h := newRedlockHeld(t.Context(), newRedlockClaim(r, "name"), now)
	r.Close()
	require.ErrorIs(t, r.hold(h, now), backend.ErrClosed)
	require.False(t, h.Valid())
	require.ErrorIs(t, context.Cause(h.Context()), backend.ErrClosed)
}

// Neither is one that comes when it would have ended.
func TestALockThatComesTooLate(t *testing.T) {
	t.Parallel()
	be := memory.New()
	defer be.Close()
	r, err := NewRedlock([]RedlockBackend{be}, somewhere, RedlockConfig{})
	require.NoError(t, err)
	defer r.Close()
	now := time.Now()
	h := newRedlockHeld(t.Context(), newRedlockClaim(r, "name"), now)
	require.ErrorIs(t, r.hold(h, now.Add(-DefaultTTL)), ErrExpired)
	require.Empty(t, r.held)
	require.ErrorIs(t, context.Cause(h.Context()), ErrExpired)
}

// What has ended is known to have at the first look, also if no timer has fired yet.
func TestARedlockReadsTheClock(t *testing.T) {
	t.Parallel()
	for name, look := range map[string]func(h *RedlockHeld) error{
		"err":     (*RedlockHeld).Err,
		"context": func(h *RedlockHeld) error { _ = h.Context().Err(); return context.Cause(h.Context()) },
		"unlock":  func(h *RedlockHeld) error { return h.Unlock(context.Background()) },
		"extend":  func(h *RedlockHeld) error { return h.Extend(context.Background()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			be := memory.New()
			defer be.Close()
			ends := 0
			r, err := NewRedlock([]RedlockBackend{be}, somewhere, RedlockConfig{
				NoRenewal: true,
				Observer: backend.ObserverFunc(func(e backend.Event) {
					if e.Kind == backend.EventLost {
						ends++
					}
				}),
			})
			require.NoError(t, err)
			defer r.Close()
			h, err := r.Lock(t.Context(), "name")
			require.NoError(t, err)
			require.True(t, h.expiry.Stop())
			<-time.After(DefaultTTL)
			require.ErrorIs(t, look(h), ErrExpired, name)
			h.end(ErrLost)
			require.ErrorIs(t, h.Err(), ErrExpired, "the first end counts")
			require.Equal(t, 1, ends)
		})
	}
}
