package integration

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

// TestListenerThatIsKilledIsGone kills the only listener of a queue. When its mark is over, which is not long, Auto has
// jobs done in this process, and nobody who insists on another one gets anything, until there is one.
func TestListenerThatIsKilledIsGone(t *testing.T) {
	t.Parallel()
	const mark = 2 * time.Second
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	cli := raw(t, url)
	q := newJobs(open(t, url), ns, task.ServerConfig{}).WithLocal(func(_ context.Context, t *task.Task[job]) (product, error) {
		return product{N: t.Params().N, By: os.Getpid()}, nil
	})
	auto := func() int {
		got, err := insist(ctx, func() (product, error) { return q.Query(ctx, job{N: 7}, task.Auto, task.Timeout(patience)) })
		require.NoError(t, err)
		assert.Equal(t, 7, got.N)
		return got.By
	}
	listeners := func() int {
		s, err := insist(ctx, func() (task.Stats, error) { return q.Stats(ctx) })
		require.NoError(t, err)
		return s.Listeners
	}
	assert.Equal(t, os.Getpid(), auto(), "nobody has ever listened")

	listen := func() *process {
		p := start(t, "tasks", taskArgs{URL: url, Namespace: ns, LeaseTTL: mortal, Mark: mark, Concurrency: 2})
		eventually(t, patience, "it is heard of", func() bool { return auto() == p.cmd.Process.Pid })
		return p
	}
	p := listen()
	eventually(t, patience, "nothing but its mark tells of it", func() bool {
		s, err := insist(ctx, func() (task.Stats, error) { return q.Stats(ctx) })
		require.NoError(t, err)
		return s.Waiting+s.Running == 0
	})
	p.kill()
	killed := time.Now()
	assert.LessOrEqual(t, cli.int(t, "PTTL", ns.TaskListen("jobs")), mark.Milliseconds())
	eventually(t, patience, "its mark is over", func() bool {
		return listeners() == 0 && cli.int(t, "EXISTS", ns.TaskListen("jobs")) == 0
	})
	took := time.Since(killed)
	assert.Equal(t, os.Getpid(), auto(), "at once")

	const timeout = 300 * time.Millisecond
	began := time.Now()
	_, err := insist(ctx, func() (product, error) { return q.Query(ctx, job{}, task.Remote, task.Timeout(timeout)) })
	require.ErrorIs(t, err, task.ErrExpired)
	require.ErrorIs(t, err, task.ErrNoListener)
	assert.GreaterOrEqual(t, time.Since(began), timeout)
	listen()
	t.Logf("gone %v after it was killed, with a mark of %v", took.Round(time.Millisecond), mark)
}

// TestListenerThatEndsIsGoneAtOnce has the only listener of a queue end as it should.
func TestListenerThatEndsIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	q := newJobs(open(t, url), ns, task.ServerConfig{Mark: time.Hour})
	end := listenUntil(t, q, (&hand{}).do)
	_, err := insist(ctx, func() (product, error) { return q.Query(ctx, job{}, task.Timeout(patience)) })
	require.NoError(t, err)
	end()
	local := q.WithLocal(func(context.Context, *task.Task[job]) (product, error) { return product{N: 7}, nil })
	got, err := insist(ctx, func() (product, error) { return local.Query(ctx, job{}, task.Auto) })
	require.NoError(t, err)
	assert.Equal(t, 7, got.N)
}

// TestDelayedTaskStartsSoon submits jobs that are due later, to a queue that is idle. None begins before its time, and
// most begin soon after it.
func TestDelayedTaskStartsSoon(t *testing.T) {
	t.Parallel()
	const n, delay = 20, 150 * time.Millisecond
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	q, cli := newJobs(open(t, url), ns, task.ServerConfig{}), raw(t, url)
	began := make(chan time.Duration, 1)
	listenUntil(t, newJobs(open(t, url), ns, task.ServerConfig{}), func(_ context.Context, t *task.Task[job]) (product, error) {
		began <- time.Since(t.SubmittedAt()) - delay
		return product{}, nil
	})
	var took, slack []time.Duration
	for range n {
		late := lateness(cli, time.Now().Add(delay))
		h := submitted(t, q, job{}, task.Delay(delay))
		_, err := waited(t, h)
		require.NoError(t, err)
		d := <-began
		assert.GreaterOrEqual(t, d, -time.Millisecond, "before its time") // times of tasks are milliseconds
		took, slack = append(took, d), append(slack, excess(d, late))
	}
	require.NoError(t, ctx.Err())
	assert.Less(t, quantile(slack, 0.5), 250*time.Millisecond, "%v", took)
	t.Logf("begun after %v (median), %v (at most)", quantile(took, 0.5), quantile(took, 1))
}

// TestRestartWithoutDataLosesTasks has a server lose everything: those who wait learn that their tasks are lost, handlers
// learn that theirs are not theirs any more, long before a renewal is due, and the queue goes on.
func TestRestartWithoutDataLosesTasks(t *testing.T) {
	t.Parallel()
	const running, waiting = 20, 20
	server := redistest.Start(t)
	ns, ctx := newNamespace(t), context.Background()
	q := newJobs(open(t, server.URL()), ns, task.ServerConfig{})
	began, causes := make(chan struct{}, running), make(chan error, running)
	workers := newJobs(open(t, server.URL()), ns, task.ServerConfig{Concurrency: running, LeaseTTL: 10 * time.Minute, Mark: 10 * time.Minute})
	listenUntil(t, workers, func(ctx context.Context, t *task.Task[job]) (product, error) {
		if t.Params().Plan == nil {
			return product{N: t.Params().N}, nil
		}
		began <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return product{}, context.Cause(ctx)
	})
	var ends []<-chan outcome[product]
	for i := range running + waiting {
		h := submitted(t, q, job{Plan: []deed{endless}})
		ends = append(ends, begin(func() (product, error) { return waited(t, h) }))
		if i < running {
			<-began
		}
	}
	scheduled := submitted(t, q, job{}, task.Delay(30*time.Minute))
	ends = append(ends, begin(func() (product, error) { return waited(t, scheduled) }))

	server.Restart()
	restarted := time.Now()
	for _, end := range ends {
		require.ErrorIs(t, await(t, end).err, task.ErrLost)
	}
	told := time.Since(restarted)
	for range running {
		select {
		case cause := <-causes:
			require.ErrorIs(t, cause, task.ErrLost)
		case <-time.After(patience):
			require.FailNow(t, "a handler goes on")
		}
	}
	ended := time.Since(restarted)
	got, err := insist(ctx, func() (product, error) { return q.Query(ctx, job{N: 7}, task.Timeout(patience)) })
	require.NoError(t, err)
	assert.Equal(t, 7, got.N)
	err = scheduled.Cancel(ctx)
	require.True(t, errors.Is(err, task.ErrEnded) || errors.Is(err, backend.ErrUnavailable), err)
	t.Logf("all who waited knew %v after the restart, all handlers after %v, a new task was done after %v", told, ended, time.Since(restarted))
}
