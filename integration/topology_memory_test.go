package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// TestTopologyMaxMemory fills a server that evicts nothing. What would need memory is refused with ErrUnavailable, by the
// server's own words, and has changed nothing. What gives something back works, and hands it to whoever waits; so do
// renewals. When there is memory again, everything goes on.
func TestTopologyMaxMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	slow := rueidis.CallTimeout(patience)
	be, other := open(t, server.URL(), slow), open(t, server.URL(), slow)
	ns, ctx := newNamespace(t), context.Background()
	const ttl = 5 * patience // nothing is renewed by itself while contents are compared
	cfg := pool.Config[pool.None]{Namespace: ns, TTL: ttl, ClaimTTL: ttl}
	keys, others := newPool(t, be, cfg), newPool(t, other, cfg)
	require.NoError(t, keys.Extend(ctx, members(4)))
	leases, err := keys.MallocN(ctx, 3)
	require.NoError(t, err)

	mutex := func(be lock.Backend, name string) *lock.Mutex {
		return lock.NewMutex(be, ns, name, lock.Config{TTL: ttl, ClaimTTL: ttl})
	}
	held, alone := holding(t, mutex(be, "name")), holding(t, mutex(be, "alone"))
	waiting := begin(func() (*lock.Held, error) { return mutex(other, "name").Lock(ctx) })
	expectInLine(t, other, ns, "name", 1)

	began := make(chan any, 10)
	h := &hand{in: make(chan string), tell: func(a any) { began <- a }}
	listenUntil(t, newJobs(be, ns, task.ServerConfig{Concurrency: 1, LeaseTTL: ttl}), h.do)
	asks := newJobs(other, ns, task.ServerConfig{})
	running, err := asks.Submit(ctx, job{N: 1, Plan: []deed{holds}})
	require.NoError(t, err)
	<-began

	server.Do("CONFIG", "SET", "maxmemory", "1")
	refuses := func(what string, err error) {
		t.Helper()
		require.ErrorIs(t, err, backend.ErrUnavailable, what)
		require.ErrorContains(t, err, "OOM", what)
	}
	before := contents(server, ns)
	refuses("take", taking(others))
	_, err = others.AcquireKey(ctx)
	refuses("take, ready to wait", err)
	refuses("extend", keys.Extend(ctx, members(5)))
	_, err = mutex(other, "another").TryLock(ctx)
	refuses("lock", err)
	_, err = mutex(other, "another").Lock(ctx)
	refuses("lock, ready to wait", err)
	_, err = lock.NewMulti(other, ns, []string{"a", "b"}, lock.Config{}).TryLock(ctx)
	refuses("several locks", err)
	_, err = lock.NewSemaphore(other, ns, "units", 3, lock.Config{}).TryAcquire(ctx, 1)
	refuses("units", err)
	_, err = asks.Submit(ctx, job{N: 2})
	refuses("submit", err)
	assert.Equal(t, before, contents(server, ns))
	assert.Empty(t, backend.CheckPool(look(t, other, ns), true))

	require.NoError(t, leases[0].Release(ctx))
	require.NoError(t, alone.Unlock(ctx))
	assert.Empty(t, backend.CheckPool(look(t, other, ns), true))
	require.NoError(t, held.Unlock(ctx))
	next := await(t, waiting)
	require.NoError(t, next.err)
	require.NoError(t, leases[1].Release(ctx))
	require.NoError(t, leases[2].Update(ctx, ttl))
	h.in <- "end"
	ended := await(t, begin(func() (product, error) {
		return insist(ctx, func() (product, error) { return running.Wait(ctx) }) // to wait for what has not ended takes memory
	}))
	require.NoError(t, ended.err)
	assert.Equal(t, 1, ended.got.N)
	refuses("take", taking(others))
	assert.Empty(t, backend.CheckPool(look(t, other, ns), true))

	server.Do("CONFIG", "SET", "maxmemory", "0")
	require.NoError(t, leases[2].Release(ctx))
	require.NoError(t, next.got.Unlock(ctx))
	expectIdle(t, other, ns, patience)
	for range 3 {
		l, err := others.AcquireKey(ctx)
		require.NoError(t, err)
		require.NoError(t, l.Release(ctx))
	}
	got, err := asks.Query(ctx, job{N: 3})
	require.NoError(t, err)
	assert.Equal(t, 3, got.N)
}

// taking tries to allocate a member, and gives it back.
func taking(keys *Keys) error {
	l, err := keys.MallocKey(context.Background())
	if err == nil {
		err = l.Release(context.Background())
	}
	return err
}

// contents gives all keys of a namespace and what is in them, but for what says who is alive.
func contents(server *redistest.Server, ns backend.Namespace) map[string]string {
	all := make(map[string]string)
	keys, _ := server.Do("KEYS", ns.Base()+"*").([]any)
	for _, key := range keys {
		name, _ := key.(string)
		if !strings.Contains(name, "processes") && !strings.Contains(name, "listen") {
			all[name] = fmt.Sprintf("%q", server.Do("DUMP", name))
		}
	}
	return all
}
