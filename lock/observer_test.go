package lock_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

func TestTheObserverIsToldWhatHappensToALock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var seen events
		m := lock.NewMutex(s, ns, "name", lock.Config{TTL: ttl, Observer: &seen})
		first := hold(t, m)
		time.AfterFunc(2*time.Second, func() { unlock(t, first) })
		_, err := m.TryLock(t.Context())
		require.ErrorIs(t, err, lock.ErrLocked)
		second, err := m.Lock(t.Context())
		require.NoError(t, err)
		<-time.After(time.Second)
		s.free(t, "name")
		<-second.Context().Done()
		require.Error(t, second.Unlock(t.Context()))
		synctest.Wait() // the loss is told of behind the end of the context

		seen.mu.Lock()
		defer seen.mu.Unlock()
		kinds := make([]backend.EventKind, 0, len(seen.all))
		for _, e := range seen.all {
			kinds = append(kinds, e.Kind)
			require.Equal(t, ns, e.Namespace)
			require.Equal(t, "name", e.Member)
			require.NotEmpty(t, e.Token)
		}
		require.ElementsMatch(t, []backend.EventKind{
			backend.EventGranted, backend.EventExhausted, backend.EventReleased, backend.EventGranted, backend.EventLost,
		}, kinds)
		for _, e := range seen.all {
			switch e.Kind {
			case backend.EventExhausted:
				require.ErrorIs(t, e.Err, lock.ErrLocked)
			case backend.EventReleased:
				require.Equal(t, first.Token(), e.Token)
				require.Equal(t, first.Fence(), e.Fence)
				require.Equal(t, 2*time.Second, e.Duration)
			case backend.EventGranted:
				if e.Token == second.Token() {
					require.Equal(t, second.Fence(), e.Fence)
					require.Equal(t, 2*time.Second, e.Duration)
				}
			case backend.EventLost:
				require.ErrorIs(t, e.Err, lock.ErrLost)
				require.Equal(t, second.Fence(), e.Fence)
				require.Positive(t, e.Duration)
			}
		}
	})
}

func TestTheObserverIsToldOfEachNameOfAMulti(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var seen events
	unlock(t, hold(t, lock.NewMulti(s, ns, []string{"a", "b"}, lock.Config{Observer: &seen})))
	for _, kind := range []backend.EventKind{backend.EventGranted, backend.EventReleased} {
		of := seen.of(kind)
		require.Len(t, of, 2)
		require.Equal(t, []string{"a", "b"}, []string{of[0].Member, of[1].Member})
		require.Equal(t, of[0].Token, of[1].Token)
	}
}

// writer is a bytes.Buffer for many.
type writer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Buffer.Write(p)
}

func TestAnObserverThatPanicsHarmsNobody(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var log writer
	m := lock.NewMutex(s, ns, "name", lock.Config{
		Observer: backend.ObserverFunc(func(backend.Event) { panic("oops") }),
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
	})
	unlock(t, hold(t, m))
	require.Contains(t, log.String(), "observer panicked")
	require.Contains(t, log.String(), "oops")
}

func TestALossIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var log writer
		held := hold(t, lock.NewMulti(s, ns, []string{"a", "b"}, lock.Config{
			TTL: ttl, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}))
		s.free(t, "a")
		<-held.Context().Done()
		synctest.Wait()
		require.Contains(t, log.String(), "lock ended without its holder")
		require.Contains(t, log.String(), `names="a b"`)
	})
}
