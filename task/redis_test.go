//go:build !memory

package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

// patience is for what takes no time at all unless the machine is very busy.
const patience = time.Minute

// process is what one process would have: a backend of its own.
func process(t *testing.T) task.Backend {
	t.Helper()
	be, err := rueidis.Open(t.Context(), redistest.URL(t))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, be.Close()) })
	return be
}

// onRedis gives a namespace and two processes: one that submits, and one that works.
func onRedis(t *testing.T) (space backend.Namespace, submitter, worker task.Backend) {
	t.Helper()
	t.Parallel()
	return backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "task"}, process(t), process(t)
}

// background runs a server until the test ends, or until what it gives is called.
func background(t *testing.T, run func(ctx context.Context) error) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	t.Cleanup(end)
	return end
}

func eventually(t *testing.T, what func() bool) {
	t.Helper()
	require.Eventually(t, what, patience, 5*time.Millisecond)
}

func TestQueriesBetweenProcesses(t *testing.T) {
	space, submitter, worker := onRedis(t)
	asking := task.NewQueue[int, string](submitter, space, "q", task.Config{Retries: 3, Backoff: backoffOf(time.Millisecond)})
	working := task.NewQueue[int, string](worker, space, "q", task.Config{Backoff: backoffOf(time.Millisecond)})
	background(t, func(ctx context.Context) error {
		return working.Listen(ctx, func(_ context.Context, t *task.Task[int]) (string, error) {
			switch n := t.Params(); {
			case n%50 == 1 && t.Attempt() < 3:
				return "", errOops
			case n%50 == 2:
				panic("ouch")
			case n%50 == 3:
				return "", task.Final(&task.Error{Code: "three"})
			default:
				return fmt.Sprint(n), nil
			}
		})
	})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			got, err := asking.Query(t.Context(), i)
			switch i % 50 {
			case 2:
				assert.ErrorIs(t, err, task.ErrDead)
				assert.ErrorIs(t, err, &task.Error{Code: task.CodePanic})
			case 3:
				assert.ErrorIs(t, err, &task.Error{Code: "three"})
				assert.NotErrorIs(t, err, task.ErrDead)
			default:
				assert.NoError(t, err)
				assert.Equal(t, fmt.Sprint(i), got)
			}
		})
	}
	wg.Wait()
	stats, err := asking.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 4, stats.Dead)
	assert.EqualValues(t, 192, stats.Done)
	assert.EqualValues(t, 4, stats.Failed)
	assert.Equal(t, 1, stats.Listeners)
}

func TestHandlersAreToldOfCancels(t *testing.T) {
	space, submitter, worker := onRedis(t)
	asking := task.NewQueue[int, int](submitter, space, "q", task.Config{})
	working := task.NewQueue[int, int](worker, space, "q", task.Config{})
	began, ended := make(chan struct{}), make(chan error, 1)
	background(t, func(ctx context.Context) error {
		return working.Listen(ctx, func(ctx context.Context, t *task.Task[int]) (int, error) {
			close(began)
			n, err := untilItEnds(ctx, t)
			ended <- err
			return n, err
		})
	})
	h, err := asking.Submit(t.Context(), 1)
	require.NoError(t, err)
	<-began
	require.NoError(t, h.Cancel(t.Context()))
	why := <-ended
	assert.True(t, errIs(why, task.ErrCancelled) || errIs(why, task.ErrLost), why)
	_, err = h.Wait(t.Context())
	require.ErrorIs(t, err, task.ErrCancelled)
}

func TestTasksOutliveTheirWorkers(t *testing.T) {
	space, submitter, worker := onRedis(t)
	asking := task.NewQueue[int, int](submitter, space, "q", task.Config{})
	h, err := asking.Submit(t.Context(), 1)
	require.NoError(t, err)

	// This one dies: it takes the task and says nothing more.
	reply, err := worker.Fetch(t.Context(), backend.FetchRequest{
		Namespace: space, Listener: backend.NewToken(), Token: backend.NewToken(), TTL: 500 * time.Millisecond, Mark: time.Second, Max: 1,
		Queues: []backend.FetchQueue{{Name: "q", Room: 1}}, Lanes: []backend.FetchLane{{Max: 1}},
	})
	require.NoError(t, err)
	require.Len(t, reply.Tasks, 1)

	fence := make(chan int64, 1)
	working := task.NewQueue[int, int](process(t), space, "q", task.Config{})
	background(t, func(ctx context.Context) error {
		return working.Listen(ctx, func(_ context.Context, t *task.Task[int]) (int, error) {
			fence <- t.Fence()
			return t.Attempt(), nil
		})
	})
	got, err := h.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, got)
	assert.Greater(t, <-fence, reply.Tasks[0].Fence)
	s, err := h.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, s.Deaths)
}

func TestADrainOnRedis(t *testing.T) {
	space, submitter, worker := onRedis(t)
	asking := task.NewQueue[string, string](submitter, space, "q", task.Config{})
	var log syncedLog
	working := task.NewQueue[string, string](worker, space, "q", task.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	began, goOn := make(chan struct{}, 2), make(chan struct{})
	s := task.NewServer(worker, space, task.ServerConfig{Drain: 100 * time.Millisecond})
	require.NoError(t, task.Serve(s, working, func(ctx context.Context, t *task.Task[string]) (string, error) {
		began <- struct{}{}
		if t.Params() == "stuck" {
			<-goOn
		} else {
			<-ctx.Done()
		}
		return "", context.Cause(ctx)
	}, task.ServeConfig{}))
	end := background(t, s.Run)
	var handles []*task.Handle[string]
	for _, params := range []string{"obeys", "stuck"} {
		h, err := asking.Submit(t.Context(), params)
		require.NoError(t, err)
		handles = append(handles, h)
		<-began
	}
	end()
	for _, h := range handles {
		st, err := h.State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Waiting, st.State, log.String())
		assert.Zero(t, st.Attempts)
	}
	assert.Equal(t, 1, s.Stats().Stuck)
	close(goOn)
	eventually(t, func() bool { return s.Stats() == task.ServerStats{} })
	stats, err := asking.Stats(t.Context())
	require.NoError(t, err)
	assert.Zero(t, stats.Listeners)
}

// syncedLog is a log that is written and read at once.
type syncedLog struct {
	mu   sync.Mutex
	text []byte
}

func (l *syncedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *syncedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func TestProgressOnRedis(t *testing.T) {
	space, submitter, worker := onRedis(t)
	asking := task.NewQueue[int, int](submitter, space, "q", task.Config{})
	working := task.NewQueue[int, int](worker, space, "q", task.Config{})
	seen := make(chan struct{})
	background(t, func(ctx context.Context) error {
		return working.Listen(ctx, func(_ context.Context, t *task.Task[int]) (int, error) {
			if err := t.Progress(1, 2, "half"); err != nil {
				return 0, err
			}
			<-seen
			return 0, t.Progress(2, 2, "all")
		})
	})
	h, err := asking.Submit(t.Context(), 1)
	require.NoError(t, err)
	var all []task.Progress
	for p, err := range h.Progress(t.Context()) {
		require.NoError(t, err)
		if all = append(all, p); len(all) == 1 {
			close(seen)
		}
	}
	assert.Equal(t, task.Progress{Current: 1, Total: 2, Message: "half"}, all[0])
}

// Many processes listen and submit, and each task is done once.
func TestManyServersOnRedis(t *testing.T) {
	space, _, _ := onRedis(t)
	const servers, tasks = 3, 300
	var done [tasks]atomic.Int32
	var submitters []*task.Queue[int, int]
	for range servers {
		be := process(t)
		q := task.NewQueue[int, int](be, space, "q", task.Config{Server: task.ServerConfig{Concurrency: 4, LeaseTTL: patience}})
		submitters = append(submitters, q)
		background(t, func(ctx context.Context) error {
			return q.Listen(ctx, func(_ context.Context, t *task.Task[int]) (int, error) {
				done[t.Params()].Add(1)
				return t.Params(), nil
			})
		})
	}
	var wg sync.WaitGroup
	for i := range tasks {
		wg.Go(func() {
			got, err := submitters[i%servers].Query(t.Context(), i)
			assert.NoError(t, err)
			assert.Equal(t, i, got)
		})
	}
	wg.Wait()
	for i := range done {
		assert.EqualValues(t, 1, done[i].Load())
	}
}
