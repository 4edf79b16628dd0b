//go:build !memory

package lock_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// openRedlock is a client with connections of its own.
func openRedlock(t *testing.T, cfg lock.RedlockConfig, urls ...string) (*lock.Redlock, []*rueidis.Backend) {
	t.Helper()
	var servers []lock.RedlockBackend
	var backends []*rueidis.Backend
	for _, url := range urls {
		be := process(t, url)
		servers, backends = append(servers, be), append(backends, be)
	}
	r, err := lock.NewRedlock(servers, redNS, cfg)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r, backends
}

func startRedis(t *testing.T, n int, opts ...redistest.Option) (servers []*redistest.Server, urls []string) {
	t.Helper()
	for range n {
		s := redistest.Start(t, opts...)
		servers, urls = append(servers, s), append(urls, s.URL())
	}
	return servers, urls
}

func redisOwner(t *testing.T, be *rueidis.Backend, name string) string {
	t.Helper()
	for {
		states, err := be.Holders(t.Context(), backend.HoldersRequest{Namespace: redNS, Names: []string{name}})
		if errors.Is(err, backend.ErrUnavailable) && t.Context().Err() == nil {
			continue // on a connection from before a restart
		}
		require.NoError(t, err)
		return states[0].Owner
	}
}

// ample is enough for a server on a busy machine.
const ample = patience / 2

func TestARedlockOutlivesAMinorityOfRedisServers(t *testing.T) {
	t.Parallel()
	servers, urls := startRedis(t, 5)
	cfg := lock.RedlockConfig{TTL: time.Minute, ServerTimeout: ample}
	r, backends := openRedlock(t, cfg, urls...)
	held, err := r.TryLock(t.Context(), "a")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		for _, be := range backends {
			if redisOwner(t, be, "a") != held.Token() {
				return false
			}
		}
		return true
	}, patience, time.Millisecond)

	servers[0].Kill()
	servers[1].Kill()
	require.NoError(t, held.Extend(t.Context()))
	_, err = r.TryLock(t.Context(), "a")
	require.ErrorIs(t, err, lock.ErrLocked)
	require.NoError(t, held.Unlock(t.Context()))
	held, err = r.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, held.Unlock(t.Context()))

	servers[2].Kill()
	_, err = r.TryLock(t.Context(), "a")
	require.ErrorIs(t, err, lock.ErrNoQuorum)
	require.ErrorIs(t, err, backend.ErrUnavailable)
	var all *lock.RedlockError
	require.ErrorAs(t, err, &all)
	require.Len(t, all.Failed, 3)
	r.Close() // waits for what was granted after the failures
	for _, be := range backends[3:] {
		require.Empty(t, redisOwner(t, be, "a"), "what two had granted has been given back")
	}
}

func TestARedisServerThatHangsDelaysNobody(t *testing.T) {
	t.Parallel()
	_, urls := startRedis(t, 3)
	proxy := redistest.NewProxy(t, urls[0][len("redis://"):])
	urls[0] = proxy.URL()
	r, backends := openRedlock(t, lock.RedlockConfig{TTL: time.Minute, ServerTimeout: ample}, urls...)
	proxy.Hold(redistest.Both)
	begin := time.Now()
	held, err := r.TryLock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, held.Extend(t.Context()))
	require.NoError(t, held.Unlock(t.Context()))
	require.Less(t, time.Since(begin), ample)
	proxy.Resume()
	r.Close() // waits for what was held back, and has it given back
	require.Empty(t, redisOwner(t, backends[0], "a"))
}

func TestALateGrantOfRedisIsGivenBack(t *testing.T) {
	t.Parallel()
	servers, urls := startRedis(t, 3)
	proxy := redistest.NewProxy(t, urls[0][len("redis://"):])
	urls[0] = proxy.URL()
	r, backends := openRedlock(t, lock.RedlockConfig{TTL: time.Minute, ServerTimeout: time.Second}, urls...)
	servers[1].Kill()
	servers[2].Kill()
	proxy.Hold(redistest.Replies)
	_, err := r.TryLock(t.Context(), "a")
	require.ErrorIs(t, err, lock.ErrNoQuorum)
	proxy.Resume()
	require.Eventually(t, func() bool { return redisOwner(t, backends[0], "a") == "" }, patience, time.Millisecond)
}

func TestARedisServerThatLostItsDataIsNotLockedAgain(t *testing.T) {
	t.Parallel()
	servers, urls := startRedis(t, 3)
	r, backends := openRedlock(t, lock.RedlockConfig{TTL: time.Minute, ServerTimeout: ample, NoRenewal: true}, urls...)
	held, err := r.TryLock(t.Context(), "a")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return redisOwner(t, backends[0], "a") != "" }, patience, time.Millisecond)
	servers[0].Restart()
	require.Eventually(t, func() bool {
		require.NoError(t, held.Extend(t.Context()))
		errs := held.Errs()
		return len(errs) == 1 && errors.Is(errs[0], lock.ErrNotHeld)
	}, patience, 10*time.Millisecond)
	require.Empty(t, redisOwner(t, backends[0], "a"))
	_, err = r.TryLock(t.Context(), "a")
	require.ErrorIs(t, err, lock.ErrLocked)

	servers[1].Restart()
	var lost error
	require.Eventually(t, func() bool {
		lost = held.Extend(t.Context())
		return errors.Is(lost, lock.ErrNotHeld)
	}, patience, 10*time.Millisecond)
	require.ErrorIs(t, lost, lock.ErrLost)
	require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
	r.Close()
	require.Empty(t, redisOwner(t, backends[2], "a"), "what was left is given back")
}

func TestClientsOfARedlockExcludeEachOther(t *testing.T) {
	t.Parallel()
	_, urls := startRedis(t, 3)
	const each = 15
	var clients sync.WaitGroup
	// What the lock guards. Atomic for the race detector, which knows nothing of Redis, but incremented in two steps.
	var counter, inside atomic.Int64
	for i := range 2 {
		r, _ := openRedlock(t, lock.RedlockConfig{
			TTL: time.Minute, ServerTimeout: ample, Tries: lock.UntilDone, RetryDelay: 5 * time.Millisecond,
			Info: fmt.Sprintf("client %d", i),
		}, urls...)
		for range 2 {
			clients.Go(func() {
				for range each {
					err := r.Do(t.Context(), "a", func(context.Context) error {
						if n := inside.Add(1); n != 1 {
							t.Errorf("%d hold the lock", n)
						}
						counter.Store(counter.Load() + 1)
						inside.Add(-1)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	clients.Wait()
	require.EqualValues(t, 4*each, counter.Load())
}
