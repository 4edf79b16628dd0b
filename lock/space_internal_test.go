package lock

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

// kept is how many spaces are kept for a backend.
func kept(be Backend) (n int) {
	spaces.Lock()
	defer spaces.Unlock()
	for key := range spaces.byKey {
		if key.be == be {
			n++
		}
	}
	return n
}

var somewhere = backend.Namespace{Prefix: "test", Suffix: "space"}

func TestNothingIsKeptOfLocksThatNobodyHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		for range 10 { // short-lived ones share what they need
			held, err := NewMutex(be, somewhere, "name", Config{}).Lock(t.Context())
			require.NoError(t, err)
			require.NoError(t, held.Unlock(t.Context()))
		}
		require.Equal(t, 1, kept(be))
		<-time.After(2*linger + time.Second)
		require.Zero(t, kept(be))

		m := NewMutex(be, somewhere, "name", Config{})
		held, err := m.Lock(t.Context())
		require.NoError(t, err)
		waiting, cancel := context.WithCancel(t.Context())
		go func() { _, _ = m.Lock(waiting) }()
		<-time.After(time.Hour)
		require.Equal(t, 1, kept(be))
		require.True(t, held.Valid())
		require.NoError(t, held.Unlock(t.Context())) // the other one has it now
		<-time.After(time.Hour)
		require.Equal(t, 1, kept(be))
		cancel()
		_, err = be.Unlock(t.Context(), backend.UnlockRequest{
			Namespace: somewhere, Force: true, Items: []backend.Held{{Member: "name"}},
		})
		require.NoError(t, err)
		<-time.After(time.Minute)
		require.Zero(t, kept(be), "what was lost and never unlocked is not kept either")

		held, err = m.Lock(t.Context())
		require.NoError(t, err)
		<-time.After(time.Hour)
		require.True(t, held.Valid(), "a mutex outlives what was kept for it")
		require.NoError(t, held.Unlock(t.Context()))
	})
}

// What is used now and then need not be made anew each time.
func TestWhatIsUsedNowAndThenIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		m := NewMutex(be, somewhere, "name", Config{})
		var first *space
		for range 100 {
			held, err := m.Lock(t.Context())
			require.NoError(t, err)
			require.NoError(t, held.Unlock(t.Context()))
			if first == nil {
				first = m.space.Load()
			}
			require.NotNil(t, first)
			require.Same(t, first, m.space.Load())
			<-time.After(linger / 2)
		}
		<-time.After(2*linger + time.Second)
		require.Zero(t, kept(be))
		<-first.leases.Closed()
	})
}

func TestASpaceIsKeptForWhatMayHaveToBeUndone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		m := NewMutex(be, somewhere, "name", Config{})
		s := m.join()
		s.leave()
		begin := s.leases.Now()
		until := func() time.Duration { return time.Duration(s.until.Load() - int64(begin)) }
		s.keep(time.Minute)
		require.Equal(t, time.Minute, until())
		s.keep(time.Second)
		require.Equal(t, time.Minute, until(), "it is not kept for less")
		require.False(t, s.close())
		for _, ttl := range []time.Duration{backend.NoExpiry, 2 * maxKeep} {
			s.keep(ttl)
			require.Equal(t, maxKeep, until())
		}
		<-time.After(maxKeep - linger)
		require.Equal(t, 1, kept(be))
		<-time.After(3 * linger)
		require.Zero(t, kept(be))
		require.False(t, s.join())

		s = m.join()
		s.leave()
		require.True(t, s.close())
		require.False(t, s.close(), "it is")
	})
}

// Who enters a lock again in the moment in which it is lost has a handle that has ended.
func TestAHandleOnWhatHasEndedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{false, true} { // that it is lost, before somebody looks
		synctest.Test(t, func(t *testing.T) {
			be := memory.New()
			defer be.Close()
			outer, err := NewMutex(be, somewhere, "name", Config{TTL: time.Second, NoRenewal: true}).Lock(t.Context())
			require.NoError(t, err)
			early := outer.grip.join(t.Context())
			require.NoError(t, early.Context().Err())
			if !told {
				outer.grip.mu.Lock()
				outer.grip.inner = nil // as if it was not told yet
				outer.grip.mu.Unlock()
			}
			<-time.After(time.Second)
			late := outer.grip.join(t.Context())
			<-late.Context().Done()
			require.ErrorIs(t, early.Context().Err(), context.Canceled)
			for _, h := range []*Held{early, late} {
				require.ErrorIs(t, context.Cause(h.Context()), ErrExpired)
				require.ErrorIs(t, h.Unlock(t.Context()), ErrExpired)
			}
			require.ErrorIs(t, outer.Unlock(t.Context()), ErrExpired)
		})
	}
}

func TestWhatIsInUseIsNotClosed(t *testing.T) {
	t.Parallel()
	be := memory.New()
	defer be.Close()
	m := NewMutex(be, somewhere, "name", Config{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if s := m.space.Load(); s != nil {
					s.close()
				}
			}
		}
	})
	for range 2000 {
		held, err := m.Lock(t.Context())
		require.NoError(t, err)
		require.NoError(t, held.Context().Err())
		require.NoError(t, held.Unlock(t.Context()))
	}
	close(stop)
	wg.Wait()
}
