package integration

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

// TestOneIDIsOneRun has five processes ask ten times each for the same job under the same id, all at once: it is done
// once, and all get the result. Another job under that id is a conflict.
func TestOneIDIsOneRun(t *testing.T) {
	t.Parallel()
	const processes, times = 5, 10
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	q := newJobs(open(t, url), ns, task.ServerConfig{LeaseTTL: time.Minute})
	var runs atomic.Int32
	listenUntil(t, q, func(_ context.Context, t *task.Task[job]) (product, error) {
		runs.Add(1)
		return product{N: t.Params().N, Fence: t.Fence()}, nil
	})
	all := make([]*process, processes)
	for i := range all {
		all[i] = start(t, "ask", askArgs{URL: url, Namespace: ns, ID: "one", Times: times, Job: job{N: 7}})
		var ready askReport
		all[i].hear(&ready)
	}
	for _, p := range all {
		p.say("go")
	}
	results := make(map[product]int)
	for _, p := range all {
		for range times {
			var r askReport
			p.hear(&r)
			require.Empty(t, r.Problem)
			results[r.Product]++
		}
	}
	assert.Len(t, results, 1)
	assert.EqualValues(t, 1, runs.Load())
	for got, n := range results {
		assert.Equal(t, 7, got.N)
		assert.Equal(t, processes*times, n)
	}

	var other askReport
	ask(t, askArgs{URL: url, Namespace: ns, ID: "one", Times: 1, Job: job{N: 8}}).hear(&other)
	assert.True(t, other.Conflict, other.Problem)
	_, err := insist(ctx, func() (product, error) { return q.Query(ctx, job{N: 8}, task.ID("one")) })
	require.ErrorIs(t, err, task.ErrConflict)
	assert.EqualValues(t, 1, runs.Load())
}

// TestWaiterThatDiesGetsItsResult kills the processes of those who wait for a job, before it is done. Whoever begins
// anew under its id gets the result: while it runs, and when it is done.
func TestWaiterThatDiesGetsItsResult(t *testing.T) {
	t.Parallel()
	url, ns := redistest.URL(t), newNamespace(t)
	q := newJobs(open(t, url), ns, task.ServerConfig{LeaseTTL: time.Minute})
	var runs atomic.Int32
	begun, end := make(chan struct{}, 10), make(chan struct{})
	listenUntil(t, q, func(_ context.Context, t *task.Task[job]) (product, error) {
		runs.Add(1)
		begun <- struct{}{}
		<-end
		return product{N: t.Params().N}, nil
	})
	args := askArgs{URL: url, Namespace: ns, ID: "mine", Times: 1, Job: job{N: 7}}
	first := ask(t, args)
	<-begun
	first.kill()
	joins := ask(t, args)
	args.Wait = true
	waits, dies := ask(t, args), ask(t, args)
	dies.kill()
	assert.Equal(t, task.Running, stateOf(t, q.Handle("mine")).State)
	close(end)
	for _, p := range []*process{joins, waits, ask(t, args)} {
		var r askReport
		p.hear(&r)
		assert.Equal(t, askReport{Product: product{N: 7}}, r)
	}
	assert.EqualValues(t, 1, runs.Load())
}
