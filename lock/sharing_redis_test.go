//go:build !memory

package lock_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

func TestReadersAndWritersOfTwoProcessesOnRedis(t *testing.T) {
	t.Parallel()
	here, _, ns := onRedis(t, "lock")
	there := process(t, redistest.URL(t))
	var readers, writers, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		m := lock.NewRWMutex([]lock.Backend{here, there}[i%2], ns, "name", lock.Config{})
		wg.Go(func() {
			for range 25 {
				if rand.N(3) == 0 {
					assert.NoError(t, m.Do(context.Background(), func(context.Context) error {
						assert.EqualValues(t, 1, writers.Add(1))
						assert.Zero(t, readers.Load())
						writers.Add(-1)
						return nil
					}))
					continue
				}
				assert.NoError(t, m.RDo(context.Background(), func(context.Context) error {
					most.Store(max(most.Load(), readers.Add(1)))
					assert.Zero(t, writers.Load())
					<-time.After(time.Millisecond)
					readers.Add(-1)
					return nil
				}))
			}
		})
	}
	wg.Wait()
	require.Greater(t, most.Load(), int64(1), "readers have shared the lock")
	state, err := lock.NewRWMutex(here, ns, "name", lock.Config{}).State(t.Context())
	require.NoError(t, err)
	require.Equal(t, lock.State{Name: "name"}, state)
}

func TestAWriterIsNotStarvedOnRedis(t *testing.T) {
	t.Parallel()
	here, _, ns := onRedis(t, "lock")
	m := lock.NewRWMutex(here, ns, "name", lock.Config{})
	readers := lock.NewRWMutex(process(t, redistest.URL(t)), ns, "name", lock.Config{})
	first, err := readers.RLock(t.Context())
	require.NoError(t, err)
	written := make(chan *lock.Held, 1)
	go func() {
		held, err := m.Lock(context.Background())
		assert.NoError(t, err)
		written <- held
	}()
	waiting := func(n int) {
		eventually(t, "more in line", func() bool {
			s, err := m.State(t.Context())
			return err == nil && s.Waiting == n
		})
	}
	waiting(1)
	var late sync.WaitGroup
	var entered atomic.Int64
	for range 4 {
		late.Go(func() {
			held, err := readers.RLock(context.Background())
			assert.NoError(t, err)
			entered.Add(1)
			unlock(t, held)
		})
	}
	waiting(5)
	unlock(t, first)
	writer := <-written
	require.Zero(t, entered.Load())
	require.NoError(t, m.Downgrade(t.Context(), writer))
	late.Wait()
	require.True(t, writer.Valid())
	_, err = m.TryLock(t.Context())
	require.ErrorIs(t, err, lock.ErrLocked)
	unlock(t, writer)
	unlock(t, hold(t, m))
}

func TestPythonSeesThatANameIsShared(t *testing.T) {
	t.Parallel()
	be, python, ns := onRedis(t, "lock")
	m := lock.NewRWMutex(be, ns, "name", lock.Config{NoRenewal: true, TTL: time.Hour})
	held, err := m.RLock(t.Context())
	require.NoError(t, err)
	python.says(backend.SharedToken, "GET", ns.Lock("name"))
	python.says("nil", "SET", ns.Lock("name"), "1", "NX", "EX", "120")
	unlock(t, held)
	python.says("OK", "SET", ns.Lock("name"), "1", "NX", "EX", "120")
	_, err = m.TryRLock(t.Context())
	require.ErrorIs(t, err, lock.ErrLocked)
	python.says("1", "DEL", ns.Lock("name"))

	// A plain DEL throws all readers out; one that comes later is none of them.
	held, err = m.RLock(t.Context())
	require.NoError(t, err)
	python.says("1", "DEL", ns.Lock("name"))
	next, err := m.RLock(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
	state, err := m.State(t.Context())
	require.NoError(t, err)
	require.Len(t, state.Holders, 1)
	unlock(t, next)
}

func TestUnitsOfTwoProcessesOnRedis(t *testing.T) {
	t.Parallel()
	here, _, ns := onRedis(t, "lock")
	there := process(t, redistest.URL(t))
	const limit = 5
	var used atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		sem := lock.NewSemaphore([]lock.Backend{here, there}[i%2], ns, "seats", limit, lock.Config{})
		wg.Go(func() {
			for range 20 {
				n := 1 + rand.N(limit)
				assert.NoError(t, sem.Do(context.Background(), n, func(context.Context) error {
					assert.LessOrEqual(t, used.Add(int64(n)), int64(limit))
					used.Add(-int64(n))
					return nil
				}))
			}
		})
	}
	wg.Wait()
	state, err := lock.NewSemaphore(here, ns, "seats", limit, lock.Config{}).State(t.Context())
	require.NoError(t, err)
	require.Equal(t, lock.State{Name: "seats", Limit: limit}, state)

	_, err = lock.NewSemaphore(there, ns, "seats", 9, lock.Config{}).TryAcquire(t.Context(), 1)
	var differs *backend.LimitError
	require.ErrorAs(t, err, &differs)
	require.Equal(t, backend.LimitError{Name: "seats", Asked: 9, Stored: limit}, *differs)
}

func TestUnitsOfADeadProcessComeBackOnRedis(t *testing.T) {
	t.Parallel()
	here, _, ns := onRedis(t, "lock")
	there, proxy := between(t)
	dead := lock.NewSemaphore(there, ns, "seats", 3, lock.Config{TTL: time.Second})
	living := lock.NewSemaphore(here, ns, "seats", 3, lock.Config{TTL: time.Minute})
	one, err := living.TryAcquire(t.Context(), 1)
	require.NoError(t, err)
	two, err := dead.Acquire(t.Context(), 2)
	for errors.Is(err, lock.ErrExpired) { // on a slow machine it may be over before it has come
		two, err = dead.Acquire(t.Context(), 2)
	}
	require.NoError(t, err)
	proxy.Drop(redistest.Requests | redistest.Replies)

	next, err := living.Acquire(t.Context(), 2)
	require.NoError(t, err)
	require.False(t, two.Valid())
	require.True(t, one.Valid())
	proxy.Resume()
	proxy.Cut()
	require.ErrorIs(t, two.Unlock(t.Context()), lock.ErrNotHeld)
	unlock(t, one)
	unlock(t, next)
}
