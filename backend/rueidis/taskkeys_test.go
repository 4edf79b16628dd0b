package rueidis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// furnishTasks makes what taskMethods expect: tasks in every state, some of which time has something to change about, and
// a listener that is idle.
func (r watchRoom) furnishTasks(b *Backend) {
	r.Helper()
	idle := r.listener("idle", 1)
	_, err := b.Fetch(r.Context(), idle)
	require.NoError(r, err)
	take := func(ids ...string) {
		r.Helper()
		for _, id := range ids {
			r.submits(b, named(id))
		}
		req := r.listener("busy", len(ids))
		req.Token = "holder"
		got, err := b.Fetch(r.Context(), req)
		require.NoError(r, err)
		require.Len(r, got.Tasks, len(ids))
	}
	report := func(id string, kind backend.ReportKind) {
		r.Helper()
		r.reports(b, kind, "data", backend.TaskGrant{Task: backend.TaskInfo{ID: id}, Token: "holder"})
	}
	take("done", "dead", "dead2", "running", "lapsed")
	report("done", backend.ReportDone)
	report("dead", backend.ReportDead)
	report("dead2", backend.ReportDead)
	later := func(r *backend.SubmitRequest) { r.Delay = time.Minute }
	r.submits(b, named("scheduled"), later)
	r.submits(b, named("due"), later)
	r.submits(b, named("waiting"))
	r.submits(b, named("high"), func(r *backend.SubmitRequest) { r.Class = backend.ClassHigh })
	r.submits(b, named("low"), func(r *backend.SubmitRequest) { r.Class = backend.ClassLow })
	r.submits(b, named("over"))
	r.submits(b, named("ghost"))
	r.edits(b, backend.TasksCancel, "ghost")
	r.do("HSET", r.ns.Task("over"), "x", "1")
	r.do("HSET", r.ns.Task("due"), "a", "1")
	r.do("ZADD", r.ns.TaskSchedule("q"), "1", "due")
	r.do("HSET", r.ns.Task("lapsed"), "z", "1")
	r.do("ZADD", r.ns.TaskLeases("q"), "1", "lapsed")
}

// saved gives what makes all keys of the room again.
func (r watchRoom) saved() (commands [][]string) {
	r.Helper()
	keys, err := r.do("KEYS", escapeGlob(r.ns.Prefix)+"*").AsStrSlice()
	require.NoError(r, err)
	for _, key := range keys {
		value, err := r.do("DUMP", key).ToString()
		require.NoError(r, err)
		commands = append(commands, []string{"RESTORE", key, strconv.Itoa(max(r.number("PTTL", key), 0)), value})
	}
	return commands
}

// restore makes the keys of the room those that were saved.
func (r watchRoom) restore(saved [][]string) {
	r.Helper()
	keys, err := r.do("KEYS", escapeGlob(r.ns.Prefix)+"*").AsStrSlice()
	require.NoError(r, err)
	for _, reply := range r.all(append([][]string{append([]string{"DEL", "nothing"}, keys...)}, saved...)...) {
		require.NoError(r, reply.Error())
	}
}

// taskMethods are the methods for tasks in all their forms, each of which changes or reads something.
func taskMethods() []method {
	type call = func(context.Context, *Backend, backend.Namespace) error
	submit := func(change func(*backend.SubmitRequest)) call {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			req := backend.SubmitRequest{
				Namespace: ns, Queue: "q", ID: "new", Payload: []byte("p"), Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 3,
			}
			change(&req)
			_, err := b.Submit(ctx, req)
			return err
		}
	}
	fetch := func(change func(*backend.FetchRequest)) call {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			req := watchRoom{&room{ns: ns}}.listener("new", 2)
			req.Lanes = append(req.Lanes, backend.FetchLane{Class: backend.ClassHigh, Max: 1}, backend.FetchLane{Class: backend.ClassLow, Max: 1})
			change(&req)
			_, err := b.Fetch(ctx, req)
			return err
		}
	}
	report := func(id string, kind backend.ReportKind, after time.Duration) call {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Report(ctx, backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{
				{ID: id, Token: "holder", Kind: kind, After: after, Data: []byte("data")},
			}})
			return err
		}
	}
	edit := func(e backend.TaskEdit) call {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			e.Namespace = ns
			_, err := b.EditTasks(ctx, e)
			return err
		}
	}
	watch := func(id string, progress bool) call {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			got, err := b.Watch(ctx, backend.WatchRequest{Namespace: ns, ID: id, Progress: progress})
			if got.Watching != nil {
				got.Watching.Stop()
			}
			return err
		}
	}
	tasks := func(req backend.TasksRequest) call {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			req.Namespace, req.Payload = ns, true
			_, err := b.Tasks(ctx, req)
			return err
		}
	}
	ids := func(ids ...string) call { return tasks(backend.TasksRequest{IDs: ids}) }
	list := func(s backend.TaskState) call { return tasks(backend.TasksRequest{Queue: "q", State: s}) }
	return []method{
		{"Submit", submit(func(*backend.SubmitRequest) {})},
		{"Submit low", submit(func(r *backend.SubmitRequest) { r.Class, r.Meta = backend.ClassLow, []byte("m") })},
		{"Submit later", submit(func(r *backend.SubmitRequest) { r.Delay = time.Second })},
		{"Submit if listened", submit(func(r *backend.SubmitRequest) { r.IfListened, r.Forget = true, []string{"done"} })},
		{"Submit to join", submit(func(r *backend.SubmitRequest) { r.ID = "over" })},
		{"Submit to join what is due", submit(func(r *backend.SubmitRequest) { r.ID = "due" })},
		{"Submit to join what is done", submit(func(r *backend.SubmitRequest) { r.ID = "done" })},
		{"Fetch", fetch(func(*backend.FetchRequest) {})},
		{"Fetch all", fetch(func(r *backend.FetchRequest) { r.Max, r.Queues[0].Room, r.Lanes[0].Max = 9, 9, 9 })},
		{"Fetch nothing", fetch(func(r *backend.FetchRequest) { r.Max = 0 })},
		{"Fetch of several", fetch(func(r *backend.FetchRequest) { r.Queues = append(r.Queues, backend.FetchQueue{Name: "p", Room: 1}) })},
		{"Fetch and leave", fetch(func(r *backend.FetchRequest) { r.Listener, r.Leave = "idle", true })},
		{"Report progress", report("running", backend.ReportProgress, 0)},
		{"Report done", report("running", backend.ReportDone, 0)},
		{"Report failed", report("running", backend.ReportFailed, 0)},
		{"Report retry", report("running", backend.ReportRetry, 0)},
		{"Report retry later", report("running", backend.ReportRetry, time.Second)},
		{"Report dead", report("running", backend.ReportDead, 0)},
		{"Report return", report("running", backend.ReportReturn, 0)},
		{"Report too late", report("lapsed", backend.ReportDone, 0)},
		{"RenewTasks", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.RenewTasks(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
				{Member: "running", Token: "holder", TTL: time.Minute}, {Member: "lapsed", Token: "holder", TTL: time.Minute},
			}})
			return err
		}},
		{"Watch", watch("waiting", false)},
		{"Watch progress", watch("running", true)},
		{"Watch what is over", watch("over", false)},
		{"Watch what is due", watch("due", true)},
		{"Watch what is lapsed", watch("lapsed", false)},
		{"Watch what is done", watch("done", false)},
		{"Cancel", edit(backend.TaskEdit{Action: backend.TasksCancel, IDs: []string{"waiting", "high", "running", "scheduled", "lapsed"}})},
		{"Remove", edit(backend.TaskEdit{Action: backend.TasksRemove, IDs: []string{"done", "dead", "over"}})},
		{"Revive", edit(backend.TaskEdit{Action: backend.TasksRevive, IDs: []string{"dead", "done", "dead2"}})},
		{"Pause", edit(backend.TaskEdit{Action: backend.QueuePause, Queue: "q"})},
		{"Resume", edit(backend.TaskEdit{Action: backend.QueueResume, Queue: "q"})},
		{"Tasks", ids("waiting", "running", "scheduled", "done", "dead", "nobody")},
		{"Tasks that are due", ids("due", "over", "lapsed")},
		{"List scheduled", list(backend.TaskScheduled)},
		{"List waiting", list(backend.TaskWaiting)},
		{"List running", list(backend.TaskRunning)},
		{"List dead", list(backend.TaskDead)},
		{"Stats", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Stats(ctx, backend.StatsRequest{Namespace: ns, Queue: "q"})
			return err
		}},
	}
}

// TestWrongTypeOfTasks puts a value of a wrong type under each key and makes all calls: each either has nothing to do with
// the key, or fails with ErrWrongType and changes nothing.
func TestWrongTypeOfTasks(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	r := newWatchRoom(t, url)
	b := r.process(url)
	ns := &r.ns
	for _, key := range []struct {
		name  string
		of    func() string
		fails []string // some that have to
	}{
		{"lane", func() string { return ns.TaskQueue("q") }, []string{"Submit", "Fetch", "Report retry", "Revive", "List waiting", "Stats"}},
		{"high lane", func() string { return ns.TaskLane("q", backend.ClassHigh) }, []string{"Fetch", "List waiting", "Stats"}},
		{"low lane", func() string { return ns.TaskLane("q", backend.ClassLow) }, []string{"Submit low", "Fetch", "List waiting", "Stats"}},
		{"schedule", func() string { return ns.TaskSchedule("q") }, []string{"Submit later", "Fetch", "List scheduled", "Stats", "Watch what is due"}},
		{"leases", func() string { return ns.TaskLeases("q") }, []string{"Fetch", "Report done", "RenewTasks", "List running", "Stats", "Cancel"}},
		{"graveyard", func() string { return ns.TaskGraveyard("q") }, []string{"Report dead", "List dead", "Remove", "Revive", "Stats"}},
		{"listeners", func() string { return ns.TaskListeners("q") }, []string{"Fetch", "Stats", "Submit"}},
		{"idle", func() string { return ns.TaskIdle("q") }, []string{"Fetch", "Submit", "Report return"}},
		{"totals", func() string { return ns.TaskTotals("q") }, []string{"Report done", "Cancel", "Stats", "Watch what is over"}},
		{"ghosts", func() string { return ns.TaskGhosts("q") }, []string{"Fetch", "Cancel", "Stats"}},
		{"paused", func() string { return ns.TasksPaused() }, []string{"Submit", "Fetch", "Pause", "Stats"}},
		{"fence", func() string { return ns.Fence() }, []string{"Fetch"}},
		{"task", func() string { return ns.Task("running") }, nil}, // is foreign
		{"result", func() string { return ns.TaskResult("done") }, nil},
		{"idlers", func() string { return ns.TaskIdlers() }, nil},
		{"listening mark", func() string { return ns.TaskListen("q") }, nil},
	} {
		t.Run(key.name, func(t *testing.T) {
			kind := "list"
			if strings.HasSuffix(key.name, "lane") {
				kind = "hash"
			}
			r.furnishTasks(b)
			r.do("DEL", key.of())
			spoil[kind](r.room, key.of())
			spoilt := r.saved()
			failed := map[string]bool{}
			for _, m := range taskMethods() {
				r.restore(spoilt)
				before := r.dump()
				err := m.do(t.Context(), b, *ns)
				if err == nil {
					continue
				}
				failed[m.name] = true
				want := backend.ErrWrongType
				if key.name == "result" && m.name == "Submit to join what is done" {
					want = backend.ErrConflict
				}
				assert.ErrorIs(t, err, want, "%s of %s", m.name, key.name)
				assert.Equal(t, before, r.dump(), "%s of %s, a %s", m.name, key.name, kind)
			}
			for _, name := range key.fails {
				assert.True(t, failed[name], "%s succeeds without %s, a %s", name, key.name, kind)
			}
			r.restore(nil)
		})
	}
}

// taskDamage is what stands in the keys of a queue that cannot have been written there.
var taskDamage = []struct {
	name string
	do   func(r watchRoom)
}{
	{"a state of text", func(r watchRoom) { r.do("HSET", r.ns.Task("running"), "s", "going") }},
	{"no state", func(r watchRoom) { r.do("HDEL", r.ns.Task("waiting"), "s") }},
	{"no queue", func(r watchRoom) { r.do("HDEL", r.ns.Task("waiting"), "q") }},
	{"another queue", func(r watchRoom) { r.do("HSET", r.ns.Task("waiting"), "q", "other") }},
	{"an empty queue", func(r watchRoom) { r.do("HSET", r.ns.Task("waiting"), "q", "") }},
	{"a class that there is not", func(r watchRoom) { r.do("HSET", r.ns.Task("low"), "k", "1 1000 1000 3 7 ") }},
	{"half a class", func(r watchRoom) { r.do("HSET", r.ns.Task("low"), "k", "1 1000 1000 3 0.5 ") }},
	{"half a life", func(r watchRoom) { r.do("HSET", r.ns.Task("low"), "k", "1 1000") }},
	{"times of text", func(r watchRoom) {
		r.do("HSET", r.ns.Task("running"), "x", "soon", "z", "later", "k", "once 1000 1000 3 0 ")
	}},
	{"endless times", func(r watchRoom) {
		r.do("HSET", r.ns.Task("running"), "x", "inf", "z", "inf", "k", "inf inf inf inf 0 ")
		r.do("HSET", r.ns.Task("due"), "a", "-inf")
		r.do("HSET", r.ns.Task("waiting"), "x", "nan")
	}},
	{"times beyond all", func(r watchRoom) {
		r.do("HSET", r.ns.Task("waiting"), "x", "1e300", "k", "-1e300 1e300 1e300 1e300 0 ")
	}},
	{"fractions", func(r watchRoom) {
		r.do("HSET", r.ns.Task("waiting"), "x", "99999999999999.5", "n", "0.5", "y", "-0.5")
	}},
	{"counts of text", func(r watchRoom) { r.do("HSET", r.ns.Task("lapsed"), "n", "many", "y", "some") }},
	{"endless counts", func(r watchRoom) { r.do("HSET", r.ns.Task("lapsed"), "n", "inf", "y", "-inf") }},
	{"a life of text", func(r watchRoom) {
		for _, id := range []string{"running", "lapsed", "dead", "over", "waiting"} {
			r.do("HSET", r.ns.Task(id), "k", "long")
		}
	}},
	{"an endless life", func(r watchRoom) {
		for _, id := range []string{"running", "lapsed", "dead", "over", "waiting"} {
			r.do("HSET", r.ns.Task(id), "k", "1 99999999999999999999999 99999999999999999999999 99999999999999999999 0 ")
		}
	}},
	{"an error of text", func(r watchRoom) {
		for _, id := range []string{"running", "lapsed", "dead", "over", "waiting"} {
			r.do("HSET", r.ns.Task(id), "e", "text")
		}
	}},
	{"those who watch of text", func(r watchRoom) {
		r.do("HSET", r.ns.Task("running"), "w", "+ +  a+b \x00 ++")
		r.do("HSET", r.ns.Task("waiting"), "w", "x")
	}},
	{"a listener of text", func(r watchRoom) { r.do("HSET", r.ns.Task("running"), "l", "text") }},
	{"no listener", func(r watchRoom) { r.do("HDEL", r.ns.Task("running"), "l", "u", "z") }},
	{"a timeout of text", func(r watchRoom) { r.do("HSET", r.ns.Task("dead"), "o", "text") }},
	{"an endless timeout", func(r watchRoom) { r.do("HSET", r.ns.Task("dead"), "o", "inf") }},
	{"a result of text", func(r watchRoom) { r.do("SET", r.ns.TaskResult("done"), "text") }},
	{"half a result", func(r watchRoom) { r.do("SET", r.ns.TaskResult("done"), `{"state":"done","queue`) }},
	{"a result of numbers", func(r watchRoom) { r.do("SET", r.ns.TaskResult("done"), `{"state":"done","queue":7}`) }},
	{"tasks of nobody", func(r watchRoom) {
		r.do("ZADD", r.ns.TaskSchedule("q"), "1", "nobody", "2", "", "-inf", "x")
		r.do("ZADD", r.ns.TaskLeases("q"), "1", "nobody", "2", "", "-inf", "x")
		r.do("ZADD", r.ns.TaskGraveyard("q"), "1e15", "nobody", "inf", "", "1e15", "done", "1e15", "waiting")
		r.do("LPUSH", r.ns.TaskQueue("q"), "nobody", "", "done", "dead", "running")
	}},
	{"ids twice", func(r watchRoom) { r.do("LPUSH", r.ns.TaskQueue("q"), "waiting", "waiting", "waiting", "high") }},
	{"endless leases", func(r watchRoom) { r.do("ZADD", r.ns.TaskLeases("q"), "inf", "running", "-inf", "lapsed") }},
	{"totals of text", func(r watchRoom) {
		r.do("HSET", r.ns.TaskTotals("q"), "done", "x", "failed", "", "cancelled", "1.5", "expired", "99999999999999999999")
	}},
	{"ghosts of text", func(r watchRoom) { r.do("HSET", r.ns.TaskGhosts("q"), "", "x", "0ghost", "y", "0waiting", "z") }},
	{"too many ghosts", func(r watchRoom) { r.do("HSET", r.ns.TaskGhosts("q"), "", "99", "1high", "7") }},
	{"negative ghosts", func(r watchRoom) { r.do("HSET", r.ns.TaskGhosts("q"), "", "-99", "1high", "-7") }},
	{"listeners of text", func(r watchRoom) {
		r.do("ZADD", r.ns.TaskListeners("q"), "inf", "text", "inf", "", "1e15", "a,b")
		r.do("ZADD", r.ns.TaskIdle("q"), "-inf", "text", "1", "", "2", " ", "3", "a,b", "4", "a,")
	}},
	{"idlers of text", func(r watchRoom) {
		r.do("ZADD", r.ns.TaskListeners("q"), "1e15", "a,b")
		r.do("ZADD", r.ns.TaskIdle("q"), "-inf", "a,b")
		r.do("HSET", r.ns.TaskIdlers(), "a,b", "text\x00\x00\x00more")
	}},
	{"a mark of Python's", func(r watchRoom) { r.do("SET", r.ns.TaskListen("q"), "1", "EX", "100") }},
	{"a fence of text", func(r watchRoom) { r.do("SET", r.ns.Fence(), "tall") }},
	{"an endless fence", func(r watchRoom) { r.do("SET", r.ns.Fence(), "inf") }},
}

// TestGarbageOfTasks makes all calls with each kind of damage: none is aborted, and the queue serves whoever comes then.
func TestGarbageOfTasks(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	for _, d := range taskDamage {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r := newWatchRoom(t, url)
			b := r.process(url)
			r.furnishTasks(b)
			d.do(r)
			damaged := r.saved()
			for _, m := range taskMethods() {
				r.restore(damaged)
				if err := m.do(t.Context(), b, r.ns); err != nil { // what has become foreign is another task
					assert.ErrorIs(t, err, backend.ErrConflict, m.name)
				}
				r.serves(b, m.name)
			}
		})
	}
}

// serves looks at everything, drains the queue, and has a task done.
func (r watchRoom) serves(b *Backend, after string) {
	r.Helper()
	for _, m := range taskMethods() {
		if m.name == "Tasks" || m.name == "Tasks that are due" || m.name == "Stats" || m.name[:4] == "List" || m.name == "Resume" {
			assert.NoError(r, m.do(r.Context(), b, r.ns), "%s after %s", m.name, after)
		}
	}
	r.submits(b, named("last"), func(r *backend.SubmitRequest) { r.Class = backend.ClassLow })
	req := r.listener("drain", backend.BatchLimit)
	req.Lanes = nil
	for class := range backend.TaskClass(3) {
		req.Lanes = append(req.Lanes, backend.FetchLane{Class: class, Max: backend.BatchLimit})
	}
	served := false
	for i := 0; i < 10 && !served; i++ {
		req.Token = backend.NewToken()
		got, err := b.Fetch(r.Context(), req)
		if !assert.NoError(r, err, "Fetch after %s", after) {
			return
		}
		for _, g := range got.Tasks {
			if g.Task.ID == "last" {
				r.reports(b, backend.ReportDone, "result", g)
				served = true
			}
		}
	}
	assert.True(r, served, "after %s", after)
	assert.Equal(r, "result", string(r.task(b, "last").Result), fmt.Sprint("after ", after))
}
