package rueidis

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestTaskCallsAreShared counts the calls that many callers at once need.
func TestTaskCallsAreShared(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newWatchRoom(t, s.URL())
	b := r.process(s.URL())
	r.submits(b) // with it, the script is known
	before := r.scripts()
	s.Pause()
	const callers = 1024
	done := make(chan error, callers)
	for i := range callers {
		go func() {
			_, err := b.Submit(t.Context(), backend.SubmitRequest{
				Namespace: r.ns, Queue: "q", ID: fmt.Sprint(i), Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 1,
			})
			done <- err
		}()
	}
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	until(t, "that two calls are under way, and all others wait", func() bool {
		sp.taskComb.mu.Lock()
		defer sp.taskComb.mu.Unlock()
		return sp.taskComb.flying == maxFlying && len(sp.taskComb.waiting) >= callers-maxFlying*maxBatch
	})
	s.Resume()
	for range callers {
		require.NoError(t, <-done)
	}
	require.LessOrEqual(t, r.scripts()-before, callers/maxBatch+8)
	require.Equal(t, callers+1, r.counts(b).Waiting)
}

// TestBatchesAreBoundedByBytes: what is large does not travel with everything else.
func TestBatchesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	var c combiner
	for _, weight := range []int{1 << 20, 1 << 20, 3 << 20, 64 << 20, 1, 1, 4 << 20} {
		c.waiting = append(c.waiting, &part{submit: new(submitOp), weight: weight})
	}
	var sizes []int
	for len(c.waiting) > 0 {
		sizes = append(sizes, len(c.next()))
	}
	require.Equal(t, []int{2, 1, 1, 2, 1}, sizes)
}

// TestLargeTasks: batches of large payloads and results are cut, and nothing is lost on the way.
func TestLargeTasks(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	const tasks, size = 12, 1 << 20
	payload := func(i int) []byte { return bytes.Repeat([]byte{byte(i), 0xff, '"', '\n'}, size/4) }
	together(tasks, func(i int) {
		r.submits(b, func(req *backend.SubmitRequest) {
			req.ID, req.Payload, req.Meta = fmt.Sprint(i), payload(i), payload(i+1)
		})
	})
	var req backend.ReportRequest
	for len(req.Items) < tasks {
		fetch := r.listener("l", 100)
		got, err := b.Fetch(t.Context(), fetch)
		require.NoError(t, err)
		require.NotEmpty(t, got.Tasks)
		require.LessOrEqual(t, len(got.Tasks), 3, "of two megabytes each")
		if !got.Idle {
			assert.Zero(t, got.Next)
		}
		for _, g := range got.Tasks {
			var i int
			_, err := fmt.Sscan(g.Task.ID, &i)
			require.NoError(t, err)
			require.True(t, bytes.Equal(payload(i), g.Task.Payload) && bytes.Equal(payload(i+1), g.Task.Meta))
			req.Items = append(req.Items, backend.TaskReport{
				ID: g.Task.ID, Token: g.Token, Kind: backend.ReportDone, Data: payload(i + 2),
			})
		}
	}
	req.Namespace = r.ns
	said, err := b.Report(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, slices.Repeat([]bool{true}, tasks), said.Accepted)
	for i := range tasks {
		got := r.task(b, fmt.Sprint(i))
		require.Equal(t, backend.TaskDone, got.State)
		require.True(t, bytes.Equal(payload(i+2), got.Result))
	}
}

// TestTheLongWayOfTasks: what taskfast.lua does the other script does, too.
func TestTheLongWayOfTasks(t *testing.T) {
	t.Parallel()
	roles := []string{"submit", "fetch", "report", "task-lease", "watch", "task-expiry", "task-edit", "tasks", "wake"}
	for _, c := range backendtest.Cases() {
		if !slices.Contains(roles, c.Role) {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			c.Check(t, open(t, func(o *options) { o.roundabout = true }))
		})
	}
}

// TestListenersOfDeadProcesses are not in the way: who lives is woken in their place.
func TestListenersOfDeadProcesses(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]Option{"": func(*options) {}, "the long way": func(o *options) { o.roundabout = true }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWatchRoom(t, redistest.URL(t))
			gone, lives, other := r.process(r.url, opt), r.process(r.url, opt), r.process(r.url, opt)
			for i := range 3 {
				_, err := gone.Fetch(t.Context(), r.listener(fmt.Sprint("gone", i), 1))
				require.NoError(t, err)
			}
			got, err := lives.Fetch(t.Context(), r.listener("lives", 1))
			require.NoError(t, err)
			require.True(t, got.Idle)
			require.NoError(t, gone.Close())
			until(t, "the server knows that it is gone", func() bool {
				return r.number("PUBLISH", r.ns.WakeChannel(gone.process), "") == 0
			})
			r.submits(other)
			<-got.Wake
			r.fetches(lives, 1)
		})
	}
}

// TestForeignTasksInTheWay: what somebody else put into a lane is dead, and everything else is served.
func TestForeignTasksInTheWay(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	lane := r.ns.TaskQueue("q")
	r.do("SET", r.ns.Task("text"), "x")
	r.do("HSET", r.ns.Task("torn"), "s", "w", "q", "q")
	r.do("SET", r.ns.TaskResult("python"), "\x80\x04\x95")
	r.submits(b, named("first"))
	r.do("RPUSH", lane, "text", "torn", "python", "nothing", "first")
	r.submits(b, named("last"))
	got := r.fetches(b, 2)
	assert.Equal(t, []string{"first", "last"}, []string{got[0].Task.ID, got[1].Task.ID})
	dead, err := b.Tasks(t.Context(), backend.TasksRequest{Namespace: r.ns, Queue: "q", State: backend.TaskDead})
	require.NoError(t, err)
	var ids []string
	for _, info := range dead.Tasks {
		ids = append(ids, info.ID)
		assert.Equal(t, backend.TaskDead, info.State)
		assert.Equal(t, backend.ReasonForeign, info.Reason)
	}
	assert.ElementsMatch(t, []string{"text", "torn", "python"}, ids)
	stats := r.counts(b)
	assert.Equal(t, []int{0, 2, 3}, []int{stats.Waiting, stats.Running, stats.Dead})
}

// TestLanesDoNotGrow: what has expired in a long lane that nobody listens to is taken off by those who submit.
func TestLanesDoNotGrow(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	const tasks = 200
	lane := r.ns.TaskQueue("q")
	together(tasks, func(i int) { r.submits(b, named(fmt.Sprint(i))) })
	for i := range tasks {
		r.do("HSET", r.ns.Task(fmt.Sprint(i)), "x", "1")
	}
	i := tasks
	until(t, "the lane is short", func() bool {
		r.submits(b, named(fmt.Sprint(i)))
		i++
		return r.number("LLEN", lane) <= i-tasks+100
	})
	until(t, "all live ones wait", func() bool { // what is left of the others is passed over
		got, err := b.Fetch(t.Context(), r.listener("l", 1000))
		require.NoError(t, err)
		for _, g := range got.Tasks {
			require.Len(t, g.Task.ID, 3)
		}
		return r.counts(b).Running == i-tasks
	})
	assert.EqualValues(t, tasks, r.counts(b).Expired)
}
