//go:build !memory

package lock_test

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// between gives a backend whose connection to the shared server can be broken.
func between(t testing.TB) (*rueidis.Backend, *redistest.Proxy) {
	t.Helper()
	u, err := url.Parse(redistest.URL(t))
	require.NoError(t, err)
	proxy := redistest.NewProxy(t, u.Host)
	u.Host = proxy.Addr()
	return process(t, u.String()), proxy
}

func TestAMutexOnRedis(t *testing.T) {
	t.Parallel()
	be, cli, ns := onRedis(t, "lock")
	ctx := t.Context()
	const ttl = 4 * time.Second
	m := lock.NewMutex(be, ns, "name", lock.Config{Info: "nightly report", TTL: ttl})
	held := hold(t, m)
	cli.says(held.Token(), "GET", ns.Lock("name"))
	h, ok := lock.ParseHolder(cli.do("GET", ns.Lock("name")))
	require.True(t, ok)
	require.Equal(t, "nightly report", h.Info)
	_, err := m.TryLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
	state, err := m.State(ctx)
	require.NoError(t, err)
	require.Equal(t, held.Token(), state.Holders[0].Token)
	owned, err := held.Owned(ctx)
	require.NoError(t, err)
	require.True(t, owned)
	require.NoError(t, held.Extend(ctx, time.Minute))
	left, err := strconv.Atoi(cli.do("PTTL", ns.Lock("name")))
	require.NoError(t, err)
	require.Greater(t, left, 60_000)
	require.NoError(t, held.Reacquire(ctx))

	// Longer than its TTL, it is renewed; then it is taken away.
	select {
	case <-held.Context().Done():
		t.Fatal(context.Cause(held.Context()))
	case <-time.After(ttl + ttl/4):
	}
	cli.says("1", "DEL", ns.Lock("name"))
	select {
	case <-held.Context().Done():
	case <-time.After(patience):
		t.Fatal("a lost lock was not noticed")
	}
	require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
	cli.says("OK", "SET", ns.Lock("name"), "1", "EX", "100")
	require.ErrorIs(t, held.Unlock(ctx), lock.ErrNotHeld)
	cli.says("1", "GET", ns.Lock("name"))
}

func TestAMutexIsHandedOverBetweenProcesses(t *testing.T) {
	t.Parallel()
	here, _, ns := onRedis(t, "lock")
	there := process(t, redistest.URL(t))
	held := hold(t, lock.NewMutex(here, ns, "name", lock.Config{}))
	const n = 8
	order := make(chan int, n)
	var wg sync.WaitGroup
	for i := range n {
		m := lock.NewMutex([]lock.Backend{here, there}[i%2], ns, "name", lock.Config{})
		wg.Go(func() {
			err := m.Do(context.Background(), func(context.Context) error {
				order <- i
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		eventually(t, "one more in line", func() bool {
			s, err := m.State(t.Context())
			return err == nil && s.Waiting == i+1
		})
	}
	unlock(t, held)
	for i := range n {
		require.Equal(t, i, <-order)
	}
	wg.Wait()
}

func TestADelByHandWakesTheFirstInLineOnRedis(t *testing.T) {
	t.Parallel()
	be, cli, ns := onRedis(t, "lock")
	m := lock.NewMutex(be, ns, "name", lock.Config{TTL: time.Hour, NoRenewal: true})
	first := hold(t, m)
	got := make(chan *lock.Held, 1)
	go func() {
		h, err := m.Lock(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- h
	}()
	eventually(t, "a waiter", func() bool {
		s, err := m.State(t.Context())
		return err == nil && s.Waiting == 1
	})
	cli.says("1", "DEL", ns.Lock("name"))
	select {
	case next := <-got:
		require.ErrorIs(t, first.Unlock(t.Context()), lock.ErrNotHeld)
		unlock(t, next)
	case <-time.After(patience):
		t.Fatal("nobody was woken")
	}
}

func TestAMultiOnRedis(t *testing.T) {
	t.Parallel()
	be, cli, ns := onRedis(t, "lock")
	multi := lock.NewMulti(be, ns, []string{"a", "b"}, lock.Config{})
	held := hold(t, multi)
	cli.says(held.Token()+" "+held.Token(), "MGET", ns.Lock("a"), ns.Lock("b"))
	got := make(chan error, 1)
	go func() {
		got <- lock.NewMulti(be, ns, []string{"b", "c"}, lock.Config{}).Do(context.Background(),
			func(context.Context) error { return nil })
	}()
	eventually(t, "a waiter", func() bool {
		s, err := multi.State(t.Context())
		return err == nil && s[1].Waiting == 1
	})
	unlock(t, held)
	require.NoError(t, <-got)
	cli.says("0", "EXISTS", ns.Lock("a"), ns.Lock("b"), ns.Lock("c"))
}

func TestTheSameTokenIsCountedOnRedis(t *testing.T) {
	t.Parallel()
	here, cli, ns := onRedis(t, "lock")
	there := process(t, redistest.URL(t))
	first := hold(t, lock.NewMutex(here, ns, "name", lock.Config{}))
	second := hold(t, lock.NewMutex(there, ns, "name", lock.Config{}), lock.Token(first.Token()))
	unlock(t, first)
	cli.says(second.Token(), "GET", ns.Lock("name"))
	unlock(t, second)
	cli.says("0", "EXISTS", ns.Lock("name"))
}

// The connection falls silent right after the lock was granted: its holder's context has ended before somebody else gets it.
func TestNoTwoHoldersWhenTheConnectionFallsSilent(t *testing.T) {
	t.Parallel()
	be, proxy := between(t)
	ns := backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "lock"}
	other := lock.NewMutex(process(t, redistest.URL(t)), ns, "name", lock.Config{})
	held := hold(t, lock.NewMutex(be, ns, "name", lock.Config{TTL: 600 * time.Millisecond}))
	proxy.Drop(redistest.Requests | redistest.Replies)
	next, err := other.Lock(t.Context())
	require.NoError(t, err)
	require.False(t, held.Valid())
	<-held.Context().Done()
	require.ErrorIs(t, context.Cause(held.Context()), lock.ErrExpired)
	require.Greater(t, next.Fence(), held.Fence())
	proxy.Resume()
	proxy.Cut()
	require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
	require.True(t, next.Valid())
	unlock(t, next)
}

// Whatever is lost of an acquisition, the request or the answer, nothing stays held when it fails.
func TestNothingStaysHeldWhenAnAcquisitionIsCut(t *testing.T) {
	t.Parallel()
	for _, wait := range []bool{false, true} {
		for _, lost := range []string{"request", "reply"} {
			t.Run(fmt.Sprintf("wait %v, %s lost", wait, lost), func(t *testing.T) {
				t.Parallel()
				be, proxy := between(t)
				ns := backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "lock"}
				m := lock.NewMutex(be, ns, "name", lock.Config{TTL: time.Minute})
				unlock(t, hold(t, m)) // scripts are loaded
				if lost == "request" {
					proxy.CutRequest(redistest.Nth(1, "EVALSHA"))
				} else {
					proxy.CutReply(redistest.Nth(1, "EVALSHA"))
				}
				get := m.TryLock
				if wait {
					get = m.Lock
				}
				if held, err := get(t.Context()); err == nil {
					unlock(t, held)
				} else {
					require.ErrorIs(t, err, backend.ErrUnavailable)
				}
				looker := lock.NewMutex(process(t, redistest.URL(t)), ns, "name", lock.Config{})
				eventually(t, "a free lock and an empty line", func() bool {
					s, err := looker.State(t.Context())
					return err == nil && !s.Locked && s.Waiting == 0
				})
			})
		}
	}
}

func TestAnUnlockThatIsCutIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"request", "reply"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			be, proxy := between(t)
			ns := backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "lock"}
			m := lock.NewMutex(be, ns, "name", lock.Config{TTL: time.Minute})
			held := hold(t, m)
			if lost == "request" {
				proxy.CutRequest(redistest.Nth(1, "EVALSHA"))
			} else {
				proxy.CutReply(redistest.Nth(1, "EVALSHA"))
			}
			if err := held.Unlock(t.Context()); err != nil {
				require.ErrorIs(t, err, backend.ErrUnavailable)
			}
			looker := lock.NewMutex(process(t, redistest.URL(t)), ns, "name", lock.Config{})
			eventually(t, "a free lock", func() bool {
				locked, err := looker.Locked(t.Context())
				return err == nil && !locked
			})
		})
	}
}

func TestTooFewReplicasUndoAnAcquisitionOnRedis(t *testing.T) {
	t.Parallel()
	be, cli, ns := onRedis(t, "lock")
	m := lock.NewMutex(be, ns, "name", lock.Config{Replicas: 1, ReplicaTimeout: 20 * time.Millisecond})
	for _, get := range []func(context.Context, ...lock.Option) (*lock.Held, error){m.TryLock, m.Lock} {
		_, err := get(t.Context())
		require.ErrorIs(t, err, backend.ErrReplicas)
	}
	held := hold(t, lock.NewMutex(be, ns, "name", lock.Config{}))
	done := make(chan error, 1)
	go func() {
		_, err := m.Lock(context.Background())
		done <- err
	}()
	eventually(t, "a waiter", func() bool {
		s, err := m.State(t.Context())
		return err == nil && s.Waiting == 1
	})
	unlock(t, held)
	require.ErrorIs(t, <-done, backend.ErrReplicas)
	cli.says("0", "EXISTS", ns.Lock("name"))
}
