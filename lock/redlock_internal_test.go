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
