package integration

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

// mortal is the TTL of leases whose ends are waited for. It leaves a busy machine the time to fetch what it is granted.
const mortal = 4 * time.Second

// submitted puts a job into the queue.
func submitted(tb testing.TB, q *jobs, j job, options ...task.Option) *task.Handle[product] {
	tb.Helper()
	options = append(options, task.ID(backend.NewToken())) // so that it can be sent again
	h, err := insist(context.Background(), func() (*task.Handle[product], error) {
		return q.Submit(context.Background(), j, options...)
	})
	require.NoError(tb, err)
	return h
}

// waited gives the end of a task.
func waited(tb testing.TB, h *task.Handle[product]) (product, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return insist(ctx, func() (product, error) { return h.Wait(ctx) })
}

// stateOf tells how a task stands.
func stateOf(tb testing.TB, h *task.Handle[product]) task.Status {
	tb.Helper()
	s, err := insist(context.Background(), func() (task.Status, error) { return h.State(context.Background()) })
	require.NoError(tb, err)
	return s
}

// TestWorkerThatIsKilledUsesUpNoRetry kills the process of the first attempt, has the second one fail, and allows for one
// retry: the third one is still to be.
func TestWorkerThatIsKilledUsesUpNoRetry(t *testing.T) {
	t.Parallel()
	url, ns := redistest.URL(t), newNamespace(t)
	q := newJobs(open(t, url), ns, task.ServerConfig{})
	h := submitted(t, q, job{N: 7, Plan: []deed{stubborn, fails, works}}, task.Retries(1))
	first := start(t, "tasks", taskArgs{URL: url, Namespace: ns, LeaseTTL: mortal, Concurrency: 1})
	var begun attempt
	first.hear(&begun)
	assert.Equal(t, 1, begun.Attempt)
	first.kill()
	start(t, "tasks", taskArgs{URL: url, Namespace: ns, LeaseTTL: time.Minute, Concurrency: 1})
	got, err := waited(t, h)
	require.NoError(t, err)
	assert.Equal(t, 7, got.N)
	assert.Equal(t, 3, got.Attempt)
	assert.Greater(t, got.Fence, begun.Fence)
	s := stateOf(t, h)
	assert.Equal(t, task.Done, s.State)
	assert.Equal(t, 1, s.Deaths)
}

// TestTaskThatKillsItsWorkersIsDead kills the processes of two attempts, which is all that the task may have, however many
// retries there are.
func TestTaskThatKillsItsWorkersIsDead(t *testing.T) {
	t.Parallel()
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	q := newJobs(open(t, url), ns, task.ServerConfig{})
	h := submitted(t, q, job{Plan: []deed{stubborn}}, task.Retries(100), task.MaxDeaths(2))
	waiting := begin(func() (product, error) { return waited(t, h) })
	for i := range 2 {
		p := start(t, "tasks", taskArgs{URL: url, Namespace: ns, LeaseTTL: mortal, Concurrency: 1})
		var begun attempt
		p.hear(&begun)
		assert.Equal(t, i+1, begun.Attempt)
		p.kill()
	}
	err := await(t, waiting).err
	require.ErrorIs(t, err, task.ErrDead)
	require.ErrorIs(t, err, &task.Error{Code: task.CodeDeaths})
	s := stateOf(t, h)
	assert.Equal(t, []int{2, 2}, []int{s.Attempts, s.Deaths})
	n := 0
	for d, err := range q.Dead(ctx) {
		require.NoError(t, err)
		assert.Equal(t, h.ID(), d.ID)
		assert.Equal(t, []deed{stubborn}, d.Params.Plan)
		n++
	}
	assert.Equal(t, 1, n)
}

// TestWorkerThatComesBackIsRefused stops a process until another one has begun its task. What it reports then, by itself
// or by force, is refused, also when the task is done.
func TestWorkerThatComesBackIsRefused(t *testing.T) {
	t.Parallel()
	url, ns := redistest.URL(t), newNamespace(t)
	be := open(t, url)
	q := newJobs(be, ns, task.ServerConfig{})
	h := submitted(t, q, job{N: 7, Plan: []deed{stubborn}})
	refused := func(a attempt) {
		t.Helper()
		for _, kind := range []backend.ReportKind{
			backend.ReportDone, backend.ReportFailed, backend.ReportRetry, backend.ReportDead, backend.ReportReturn, backend.ReportProgress,
		} {
			reply, err := insist(context.Background(), func() (backend.ReportReply, error) {
				return be.Report(context.Background(), backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{
					{ID: a.ID, Token: a.Token, Kind: kind, Data: []byte("{}")},
				}})
			})
			require.NoError(t, err)
			assert.Equal(t, []bool{false}, reply.Accepted)
		}
	}

	var first, over, second attempt
	stopped := start(t, "tasks", taskArgs{URL: url, Namespace: ns, LeaseTTL: mortal, Concurrency: 1})
	stopped.hear(&first)
	require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGSTOP))
	other := start(t, "tasks", taskArgs{URL: url, Namespace: ns, LeaseTTL: time.Minute, Concurrency: 1})
	other.hear(&second)
	assert.Greater(t, second.Attempt, first.Attempt)
	assert.Greater(t, second.Fence, first.Fence)

	stopped.say("go") // it returns a result
	require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGCONT))
	stopped.hear(&over)
	assert.Contains(t, over.Cause, task.ErrLost.Error())
	refused(first)
	assert.Equal(t, task.Running, stateOf(t, h).State)
	other.say("go")
	got, err := waited(t, h)
	require.NoError(t, err)
	assert.Equal(t, product{N: 7, Attempt: second.Attempt, Fence: second.Fence, By: other.cmd.Process.Pid}, got)
	refused(first)
	assert.Equal(t, task.Done, stateOf(t, h).State)
}
