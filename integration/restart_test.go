package integration

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

type holderArgs struct {
	URL       string
	Namespace backend.Namespace
	TTL       time.Duration
}

type holderReport struct {
	Key   string
	Fence int64
	Cause string // why its lease has ended
}

// holderWorker holds one member, renews it and tells when and why its lease has ended.
func holderWorker(w *worker) error {
	var args holderArgs
	if err := w.read(&args); err != nil {
		return err
	}
	ctx := context.Background()
	be, err := connect(args.URL)
	if err != nil {
		return err
	}
	keys, err := pool.New(be, pool.Config[pool.None]{Namespace: args.Namespace, TTL: args.TTL})
	if err != nil {
		return err
	}
	l, err := keys.AcquireKey(ctx)
	if err != nil {
		return err
	}
	w.tell(holderReport{Key: l.Key(), Fence: l.Fence()})
	select {
	case <-l.Context().Done():
		w.tell(holderReport{Key: l.Key(), Fence: l.Fence(), Cause: context.Cause(l.Context()).Error()})
	case <-w.in:
		if err := l.Release(ctx); err != nil {
			return err
		}
		w.tell(holderReport{Key: l.Key()})
	}
	<-w.in
	return nil
}

// TestRestartWithData kills a server that has its data on disk and starts it again: leases stay valid and are renewed,
// also those of other processes, and clients go on by themselves.
func TestRestartWithData(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.AppendOnly())
	ns, ctx := newNamespace(t), context.Background()
	const ttl = 15 * time.Second
	be, other := open(t, server.URL()), open(t, server.URL())
	cfg := pool.Config[pool.None]{Namespace: ns, TTL: ttl}
	keys, others := newPool(t, be, cfg), newPool(t, other, cfg)
	const n = 50
	require.NoError(t, keys.Extend(ctx, members(n)))
	p := start(t, "holder", holderArgs{server.URL(), ns, ttl})
	var held holderReport
	p.hear(&held)
	leases, err := keys.MallocN(ctx, n-2)
	require.NoError(t, err)

	restarts := 3
	for range restarts {
		server.Restart()
		for _, l := range leases {
			require.True(t, l.Valid())
		}
		// Both go on by themselves, be it after an error on a connection that has not noticed yet.
		eventually(t, patience, "a client goes on", func() bool {
			l, err := others.MallocKey(ctx)
			if err == nil {
				err = l.Release(ctx)
			}
			if !isRefusal(err) && !errors.Is(err, backend.ErrUnavailable) { // a refusal: it is being given back
				require.NoError(t, err)
			}
			return err == nil
		})
		restarted := time.Now()
		eventually(t, ttl, "all leases are renewed", func() bool {
			for _, l := range leases {
				require.True(t, l.Valid(), "%v", context.Cause(l.Context()))
				if l.Deadline().Before(restarted.Add(ttl / 2)) {
					return false
				}
			}
			return true
		})
	}
	for _, l := range leases { // for longer than any of them lasts by itself
		held := l.Deadline()
		eventually(t, ttl, "it is renewed again", func() bool { return l.Deadline().After(held) })
	}
	seen := look(t, other, ns)
	assert.Empty(t, backend.CheckPool(seen, true))
	for _, l := range leases {
		assert.True(t, l.Valid())
		if err := l.Release(ctx); err != nil { // then it is done in the background
			assert.ErrorIs(t, err, backend.ErrUnavailable)
		}
	}
	var over holderReport
	assert.False(t, p.heard(&over), "the other process has lost its lease: %+v", over)
	p.say("release")
	p.hear(&over)
	assert.Empty(t, over.Cause)
	expectIdle(t, other, ns, patience)
	t.Logf("%d leases over %d restarts", n-1, restarts)
}

// TestRestartWithoutData has a server lose everything: every lease is asked about at reconnection, long before its
// renewal is due, and its holder learns that it is lost. Its fence is older than any later one.
func TestRestartWithoutData(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ns, ctx := newNamespace(t), context.Background()
	const ttl = 10 * time.Minute
	be := open(t, server.URL())
	keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: ttl})
	const n = 3000 // more than a batch
	require.NoError(t, keys.Extend(ctx, members(n)))
	p := start(t, "holder", holderArgs{server.URL(), ns, ttl})
	var held holderReport
	p.hear(&held)
	var leases []*Lease
	for len(leases) < n-1 {
		got, err := keys.MallocN(ctx, min(n-1-len(leases), backend.MaxTake))
		require.NoError(t, err)
		leases = append(leases, got...)
	}
	newest := held.Fence
	for _, l := range leases {
		newest = max(newest, l.Fence())
	}

	server.Restart()
	restarted := time.Now()
	deadline := time.NewTimer(patience) // no renewal is due before
	defer deadline.Stop()
	for i, l := range leases {
		select {
		case <-l.Context().Done():
		case <-deadline.C:
			require.FailNow(t, "still in good faith", "lease %d of %d", i, len(leases))
		}
		require.ErrorIs(t, context.Cause(l.Context()), pool.ErrLost)
		require.False(t, l.Valid())
	}
	ours := time.Since(restarted)
	var over holderReport
	p.hear(&over)
	assert.Equal(t, pool.ErrLost.Error(), over.Cause)
	t.Logf("%d leases lost after %v, that of another process after %v", len(leases), ours, time.Since(restarted))

	goingOn(t, func() error { return keys.Extend(ctx, members(10)) })
	var later []*Lease
	eventually(t, patience, "the pool is used again", func() bool {
		var err error
		later, err = keys.MallocN(ctx, 10)
		if !isRefusal(err) && !errors.Is(err, backend.ErrUnavailable) { // a refusal: it is being given back
			require.NoError(t, err)
		}
		return err == nil
	})
	for _, l := range later {
		assert.Greater(t, l.Fence(), newest)
	}
	for _, l := range leases {
		require.ErrorIs(t, l.Release(ctx), pool.ErrNotHeld)
	}
	for _, l := range later {
		assert.True(t, l.Valid())
		if err := l.Release(ctx); err != nil {
			assert.ErrorIs(t, err, backend.ErrUnavailable)
		}
	}
	expectIdle(t, be, ns, patience)
}

// TestWaitersSurviveARestart restarts the server while some wait: they keep their order, also when the server has lost
// the line.
func TestWaitersSurviveARestart(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		name := "without data"
		var options []redistest.Option
		if kept {
			name, options = "with data", []redistest.Option{redistest.AppendOnly()}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, options...)
			ns, ctx := newNamespace(t), context.Background()
			be, other := open(t, server.URL()), open(t, server.URL())
			cfg := pool.Config[pool.None]{Namespace: ns, TTL: time.Minute}
			keys, others := newPool(t, joining{be}, cfg), newPool(t, other, cfg)
			require.NoError(t, keys.Extend(ctx, members(1)))
			held, err := others.MallocKey(ctx)
			require.NoError(t, err)

			const n = 20
			var mu sync.Mutex
			var order, expected []int
			var waiters sync.WaitGroup
			for i := range n {
				var joined atomic.Bool
				waiters.Go(func() {
					l, err := keys.AcquireKey(context.WithValue(ctx, joinedKey{}, &joined))
					if assert.NoError(t, err) {
						mu.Lock()
						order, expected = append(order, i), append(expected, len(order))
						mu.Unlock()
						if err := l.Release(ctx); err != nil { // on a connection that has not noticed yet
							assert.ErrorIs(t, err, backend.ErrUnavailable)
						}
					}
				})
				eventually(t, patience, "it knows that it waits", joined.Load)
			}
			server.Restart()
			began := time.Now()
			if kept {
				if err := held.Release(ctx); err != nil { // then it is done as soon as it can be
					require.ErrorIs(t, err, backend.ErrUnavailable)
				}
			} else {
				eventually(t, patience, "the line stands again", func() bool {
					length, err := others.Waiting(ctx)
					return err == nil && length == n
				})
				assert.Error(t, held.Release(ctx))
				goingOn(t, func() error { return others.Extend(ctx, members(1)) })
			}
			waiters.Wait()
			assert.Len(t, order, n)
			assert.Equal(t, expected, order)
			expectIdle(t, other, ns, patience)
			t.Logf("%d waiters served %v after the restart", n, time.Since(began))
		})
	}
}
