package integration

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

const (
	lapseMembers = 100_000
	lapseRounds  = 7
	lapseTTL     = 300 * time.Millisecond
)

// exhausted is a pool with 100,000 members, of which all but one are leased for long, on a server of its own.
func exhausted(t *testing.T) (keys *Keys, cli *redisCLI) {
	t.Helper()
	server := redistest.Start(t)
	keys = newPool(t, open(t, server.URL()), pool.Config[pool.None]{Namespace: newNamespace(t), TTL: time.Hour})
	ctx := context.Background()
	require.NoError(t, keys.Extend(ctx, members(lapseMembers)))
	for taken := 0; taken < lapseMembers-1; {
		leases, err := keys.MallocN(ctx, min(lapseMembers-1-taken, backend.MaxTake))
		require.NoError(t, err)
		taken += len(leases)
	}
	return keys, raw(t, server.URL())
}

// lapsing takes the last member for a moment, and tells when the server ends that lease, by its clock, which is this
// machine's.
func lapsing(t *testing.T, keys *Keys) (l *Lease, end time.Time) {
	t.Helper()
	l, err := keys.MallocKey(context.Background(), pool.TTL(lapseTTL), pool.NoRenewal())
	for isLate(err) { // on a busy machine
		l, err = keys.MallocKey(context.Background(), pool.TTL(lapseTTL), pool.NoRenewal())
	}
	require.NoError(t, err)
	return l, grantedAt(l.Fence()).Truncate(time.Millisecond).Add(lapseTTL)
}

// TestOneOfManyLapses has one of 100,000 leases run out in an exhausted pool.
func TestOneOfManyLapses(t *testing.T) {
	t.Parallel()
	done := busily(t)
	keys, cli := exhausted(t)
	done()
	t.Run("and the next Malloc gets it at once", func(t *testing.T) { takesWhatLapses(t, keys, cli) })
	t.Run("and the first in line gets it within 50 ms", func(t *testing.T) { isHandedWhatLapses(t, keys, cli) })
}

func takesWhatLapses(t *testing.T, keys *Keys, cli *redisCLI) {
	ctx, ns := context.Background(), keys.Namespace()
	var took []time.Duration
	for range lapseRounds {
		l, end := lapsing(t, keys)
		early, err := keys.MallocKey(ctx)
		if err == nil { // a busy machine
			require.False(t, grantedAt(early.Fence()).Before(end), "granted before the deadline")
			require.NoError(t, early.Release(ctx))
			continue
		}
		require.ErrorIs(t, err, pool.ErrExhausted)
		eventually(t, patience, "it runs out", func() bool { return cli.int(t, "EXISTS", ns.Lock(l.Key())) == 0 })
		pause(ctx, time.Until(end))

		began := time.Now()
		next, err := keys.MallocKey(ctx, pool.NoRenewal())
		took = append(took, time.Since(began))
		require.NoError(t, err)
		assert.Equal(t, l.Key(), next.Key())
		assert.ErrorIs(t, l.Release(ctx), pool.ErrNotHeld)
		assert.True(t, next.Valid())
		require.NoError(t, next.Release(ctx))
	}
	t.Logf("%d leases, %d lapsed one by one; the next Malloc took %v (median), %v at most", lapseMembers, lapseRounds,
		quantile(took, 0.5), quantile(took, 1))
}

func isHandedWhatLapses(t *testing.T, keys *Keys, cli *redisCLI) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var granted, told, beyond []time.Duration
	for range lapseRounds {
		l, end := lapsing(t, keys)
		late := lateness(cli, end)
		next, err := keys.AcquireKey(ctx)
		now := time.Now()
		require.NoError(t, err)
		assert.Equal(t, l.Key(), next.Key())
		assert.False(t, l.Valid())
		assert.Greater(t, next.Fence(), l.Fence())
		granted, told = append(granted, grantedAt(next.Fence()).Sub(end)), append(told, now.Sub(end))
		beyond = append(beyond, excess(now.Sub(end), late))
		require.NoError(t, next.Release(ctx))
	}
	assert.GreaterOrEqual(t, quantile(granted, 0), time.Duration(0), "granted before the deadline")
	assert.LessOrEqual(t, quantile(beyond, 0.5), 50*time.Millisecond)
	t.Logf("%d leases, %d lapsed one by one: granted %v (median) and %v (at most) after the deadline, returned after %v and %v",
		lapseMembers, lapseRounds, quantile(granted, 0.5), quantile(granted, 1), quantile(told, 0.5), quantile(told, 1))
}

// deadline is when the server ends a lease, by its clock, which is this machine's.
func deadline(t *testing.T, be backend.Pools, ns backend.Namespace, key string) time.Time {
	t.Helper()
	seen, err := be.Inspect(context.Background(), backend.InspectRequest{Namespace: ns, Only: []string{key}})
	require.NoError(t, err)
	require.Len(t, seen.Members, 1)
	require.False(t, seen.Members[0].Deadline.IsZero())
	return seen.Members[0].Deadline
}

// TestFirstInLineGetsWhatAKilledProcessHeld kills processes that renew their leases, while others wait for those.
func TestFirstInLineGetsWhatAKilledProcessHeld(t *testing.T) {
	t.Parallel()
	url, ctx := redistest.URL(t), context.Background()
	be, cli := open(t, url), raw(t, url)
	const ttl = 6 * time.Second
	var mu sync.Mutex
	var told, beyond []time.Duration
	t.Run("", func(t *testing.T) {
		for range 5 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				ns := newNamespace(t)
				keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: time.Minute})
				require.NoError(t, keys.Extend(ctx, members(1)))
				p := start(t, "holder", holderArgs{url, ns, ttl})
				var held holderReport
				p.hear(&held)
				first := deadline(t, be, ns, held.Key)
				got := begin(func() ([]*Lease, error) { return one(keys.AcquireKey(ctx)) })
				eventually(t, patience, "it is renewed", func() bool { return deadline(t, be, ns, held.Key).After(first) })
				assert.Empty(t, got, "handed over while its holder lives")
				p.kill()
				end := deadline(t, be, ns, held.Key)
				late := lateness(cli, end)
				next := <-got
				now := time.Now()
				require.NoError(t, next.err)
				assert.Greater(t, next.got[0].Fence(), held.Fence)
				require.NoError(t, next.got[0].Release(ctx))
				mu.Lock()
				defer mu.Unlock()
				told, beyond = append(told, now.Sub(end)), append(beyond, excess(now.Sub(end), late))
			})
		}
	})
	assert.LessOrEqual(t, quantile(beyond, 0.5), 50*time.Millisecond)
	t.Logf("%d processes killed: the first in line returns %v (median), %v (at most) after the deadline", len(told),
		quantile(told, 0.5), quantile(told, 1))
}
