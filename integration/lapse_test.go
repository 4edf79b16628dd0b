package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

const (
	lapseMembers = 100_000
	lapseRounds  = 10
	lapseTTL     = 300 * time.Millisecond
)

// exhausted is a pool with 100,000 members, of which all but one are leased for long.
func exhausted(t *testing.T) (be *rueidis.Backend, keys *Keys) {
	t.Helper()
	be = open(t, redistest.URL(t))
	keys = newPool(t, be, pool.Config[pool.None]{Namespace: newNamespace(t), TTL: time.Hour})
	ctx := context.Background()
	require.NoError(t, keys.Extend(ctx, members(lapseMembers)))
	for taken := 0; taken < lapseMembers-1; {
		leases, err := keys.MallocN(ctx, min(lapseMembers-1-taken, backend.MaxTake))
		require.NoError(t, err)
		taken += len(leases)
	}
	return be, keys
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

// TestOneOfManyLapses has one of 100,000 leases run out in an exhausted pool.
func TestOneOfManyLapses(t *testing.T) {
	be, keys := exhausted(t)
	t.Run("and the next Malloc gets it at once", func(t *testing.T) { takesWhatLapses(t, be, keys) })
	t.Run("and the first in line gets it within 50 ms", func(t *testing.T) { isHandedWhatLapses(t, be, keys) })
}

func takesWhatLapses(t *testing.T, be *rueidis.Backend, keys *Keys) {
	ctx, ns := context.Background(), keys.Namespace()
	cli := raw(t, redistest.URL(t))
	var took []time.Duration
	for range lapseRounds {
		l, err := keys.MallocKey(ctx, pool.TTL(lapseTTL), pool.NoRenewal())
		require.NoError(t, err)
		_, err = keys.MallocKey(ctx)
		require.ErrorIs(t, err, pool.ErrExhausted)
		end := deadline(t, be, ns, l.Key())
		pause(ctx, time.Until(end)+2*time.Millisecond)
		require.Zero(t, cli.int(t, "EXISTS", ns.Lock(l.Key())))

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

func isHandedWhatLapses(t *testing.T, be *rueidis.Backend, keys *Keys) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	ns := keys.Namespace()
	var granted, told []time.Duration
	for range lapseRounds {
		l, err := keys.MallocKey(ctx, pool.TTL(lapseTTL), pool.NoRenewal())
		require.NoError(t, err)
		end := deadline(t, be, ns, l.Key())
		next, err := keys.AcquireKey(ctx)
		now := time.Now()
		require.NoError(t, err)
		assert.Equal(t, l.Key(), next.Key())
		assert.False(t, l.Valid())
		assert.Greater(t, next.Fence(), l.Fence())
		granted = append(granted, grantedAt(next.Fence()).Sub(end))
		told = append(told, now.Sub(end))
		require.NoError(t, next.Release(ctx))
	}
	assert.GreaterOrEqual(t, quantile(granted, 0), time.Duration(0), "granted before the deadline")
	// The machine may be busy for a moment, but not for half of the rounds.
	assert.LessOrEqual(t, quantile(told, 0.5), 50*time.Millisecond)
	assert.LessOrEqual(t, quantile(told, 1), 5*time.Second)
	t.Logf("%d leases, %d lapsed one by one: granted %v (median) and %v (at most) after the deadline, returned after %v and %v",
		lapseMembers, lapseRounds, quantile(granted, 0.5), quantile(granted, 1), quantile(told, 0.5), quantile(told, 1))
}

// TestFirstInLineGetsWhatAKilledProcessHeld kills a process that renews its lease, while another waits.
func TestFirstInLineGetsWhatAKilledProcessHeld(t *testing.T) {
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	be := open(t, url)
	const ttl = 600 * time.Millisecond
	keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: ttl})
	require.NoError(t, keys.Extend(ctx, members(1)))
	var told []time.Duration
	for range 3 {
		p := start(t, "holder", holderArgs{url, ns, ttl})
		var held holderReport
		p.hear(&held)
		got := begin(func() ([]*Lease, error) { return one(keys.AcquireKey(ctx)) })
		pause(ctx, ttl) // a renewal or two
		assert.Empty(t, got, "handed over while its holder lives")
		p.kill()
		end := deadline(t, be, ns, held.Key)
		next := <-got
		now := time.Now()
		require.NoError(t, next.err)
		assert.Greater(t, next.leases[0].Fence(), held.Fence)
		told = append(told, now.Sub(end))
		require.NoError(t, next.leases[0].Release(ctx))
	}
	assert.LessOrEqual(t, quantile(told, 0.5), 50*time.Millisecond)
	t.Logf("%d processes killed: the first in line returns %v (median), %v (at most) after the deadline", len(told),
		quantile(told, 0.5), quantile(told, 1))
}
