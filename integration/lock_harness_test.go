package integration

import (
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// scaled is how long a test goes on that could do so for ever: INTEGRATION_SECONDS, or d.
func scaled(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	if text := os.Getenv("INTEGRATION_SECONDS"); text != "" {
		seconds, err := strconv.Atoi(text)
		require.NoError(t, err)
		return time.Duration(seconds) * time.Second
	}
	return d
}

// lockLeftovers tells what keeps the locks of a namespace from being idle: each key that is there, but for the last
// fencing number, what runs out by itself and hinders nobody, and what the caller expects.
func lockLeftovers(tb testing.TB, cli *redisCLI, ns backend.Namespace, but ...string) []string {
	tb.Helper()
	reply := cli.must(tb, "KEYS", ns.Base()+"*")
	keys, err := reply.AsStrSlice()
	require.NoError(tb, err)
	return slices.DeleteFunc(keys, func(key string) bool {
		return slices.Contains(append(but, ns.Fence(), ns.LockProcesses(), ns.LockSequence()), key)
	})
}

// expectFree waits until nothing is held and nobody waits, only looking, and tells how long that took.
func expectFree(tb testing.TB, cli *redisCLI, ns backend.Namespace, within time.Duration, but ...string) time.Duration {
	tb.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		left := lockLeftovers(tb, cli, ns, but...)
		if len(left) == 0 {
			return time.Since(begin)
		}
		if ctx.Err() != nil {
			require.FailNow(tb, "something was left behind", "after %v: %q", within, left)
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// expectInLine waits until n wait for a name.
func expectInLine(tb testing.TB, lines backend.Lines, ns backend.Namespace, name string, n int) {
	tb.Helper()
	eventually(tb, patience, "a place in line", func() bool {
		seen, err := lines.Queue(context.Background(), backend.QueueRequest{Namespace: ns, Name: name})
		require.NoError(tb, err)
		return seen.Length == n
	})
}

// holding takes a lock that is free.
func holding(tb testing.TB, m interface {
	TryLock(context.Context, ...lock.Option) (*lock.Held, error)
}, options ...lock.Option,
) *lock.Held {
	tb.Helper()
	held, err := m.TryLock(context.Background(), options...)
	require.NoError(tb, err)
	return held
}

// whoHolds gives the value of a lock.
func whoHolds(tb testing.TB, cli *redisCLI, ns backend.Namespace, name string) string {
	tb.Helper()
	reply := cli.must(tb, "GET", ns.Lock(name))
	if reply.IsNil() {
		return ""
	}
	value, err := reply.ToString()
	require.NoError(tb, err)
	return value
}

// behind connects through a proxy of one's own.
func behind(tb testing.TB, url string, options ...rueidis.Option) (*rueidis.Backend, *redistest.Proxy) {
	tb.Helper()
	proxy := redistest.NewProxy(tb, address(url))
	be, err := connect(proxy.URL(), options...)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = be.Close() })
	return be, proxy
}
