package backendtest

import (
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// The verbs of tasks. Cases work with the queue "q" where they name none.

const theQueue = "q"

// allClasses are lanes in the usual order.
var allClasses = []backend.TaskClass{backend.ClassHigh, backend.ClassNormal, backend.ClassLow}

// filledSubmit fills what a request leaves open.
func (r *room) filledSubmit(req backend.SubmitRequest) backend.SubmitRequest {
	req.Namespace = r.ns
	if req.Queue == "" {
		req.Queue = theQueue
	}
	if req.Timeout == 0 {
		req.Timeout = long
	}
	if req.Retention == 0 {
		req.Retention = long
	}
	if req.MaxDeaths == 0 {
		req.MaxDeaths = 3
	}
	return req
}

// submit submits, and expects the reply to agree with itself.
func (r *room) submit(req backend.SubmitRequest) backend.SubmitReply {
	r.tb.Helper()
	got, err := r.be.Submit(r.ctx, r.filledSubmit(req))
	r.ok(err, "Submit "+req.ID)
	if got.Created && got.Joined {
		r.Errorf("Submit of %s created a task and joined one", req.ID)
	}
	if (got.Created || got.Joined && !got.Task.State.Final()) != (got.Watching != nil) && req.Watch {
		r.Fatalf("Submit of %s, with Watch, created: %v, joined: %v, %v, and watching: %v",
			req.ID, got.Created, got.Joined, got.Task.State, got.Watching != nil)
	}
	if got.Watching != nil && !req.Watch {
		r.Errorf("Submit of %s watches without having been asked to", req.ID)
	}
	return got
}

// creates submits what must become a new task.
func (r *room) creates(req backend.SubmitRequest) backend.SubmitReply {
	r.tb.Helper()
	got := r.submit(req)
	if !got.Created {
		r.Fatalf("Submit of %s has not created a task, but joined one: %v, %+v", req.ID, got.Joined, got.Task)
	}
	return got
}

// puts submits tasks of which nothing is special.
func (r *room) puts(ids ...string) {
	r.tb.Helper()
	for _, id := range ids {
		r.creates(backend.SubmitRequest{ID: id, Payload: []byte("payload of " + id)})
	}
}

// joins submits what must be there, and gives how it stands.
func (r *room) joins(req backend.SubmitRequest) backend.TaskInfo {
	r.tb.Helper()
	got := r.submit(req)
	if !got.Joined {
		r.Fatalf("Submit of %s has not joined a task, but created one: %v", req.ID, got.Created)
	}
	return got.Task
}

// conflicts expects that a request is refused because another task has its id.
func (r *room) conflicts(req backend.SubmitRequest) {
	r.tb.Helper()
	got, err := r.be.Submit(r.ctx, r.filledSubmit(req))
	r.fails("Submit of another task under the id "+req.ID, err, backend.ErrConflict)
	if got.Created || got.Joined || got.Watching != nil {
		r.Errorf("Submit of another task under the id %s gives %+v", req.ID, got)
	}
}

// looks gives how tasks stand, with payloads.
func (r *room) looks(ids ...string) []backend.TaskInfo {
	r.tb.Helper()
	got, err := r.be.Tasks(r.ctx, backend.TasksRequest{Namespace: r.ns, IDs: ids, Payload: true})
	r.ok(err, "Tasks")
	if len(got.Tasks) != len(ids) {
		r.Fatalf("Tasks of %d ids gave %d", len(ids), len(got.Tasks))
	}
	if got.Cursor != "" {
		r.Errorf("Tasks of ids gave the cursor %q", got.Cursor)
	}
	return got.Tasks
}

func (r *room) task(id string) backend.TaskInfo {
	r.tb.Helper()
	return r.looks(id)[0]
}

// are expects tasks to be in a state.
func (r *room) are(want backend.TaskState, ids ...string) {
	r.tb.Helper()
	for i, t := range r.looks(ids...) {
		if t.State != want {
			r.Errorf("task %s is %v, want %v: %+v", ids[i], t.State, want, t)
		}
	}
}

// becomes looks until a task is in a state, and gives how it stands then.
func (r *room) becomes(want backend.TaskState, id string) backend.TaskInfo {
	r.tb.Helper()
	var t backend.TaskInfo
	r.eventually(fmt.Sprintf("that %s is %v", id, want), func() bool {
		t = r.task(id)
		return t.State == want
	})
	return t
}

// dies looks until a task has had so many deaths.
func (r *room) dies(id string, deaths int) backend.TaskInfo {
	r.tb.Helper()
	var t backend.TaskInfo
	r.eventually(fmt.Sprintf("that %s has had %d deaths", id, deaths), func() bool {
		t = r.task(id)
		return t.Deaths >= deaths
	})
	r.equal("the deaths of "+id, t.Deaths, deaths)
	return t
}

// seen is the moment, by the server's clock, at which a task that is not in a final state was looked at.
func seen(t *backend.TaskInfo) time.Time { return t.Deadline.Add(-t.Remaining) }

// notBefore expects a moment of the server's clock not to come before another one.
func (r *room) notBefore(what string, got, want time.Time) {
	r.tb.Helper()
	if got.Before(want.Add(-rounding)) {
		r.Errorf("%s: at %v, %v too early", what, got, want.Sub(got))
	}
}

// now is the server's clock.
func (r *room) now() time.Time {
	r.tb.Helper()
	const clock = "backendtest-clock"
	req := backend.SubmitRequest{ID: clock, Queue: clock, Timeout: 2 * long}
	_, err := r.be.Submit(r.ctx, r.filledSubmit(req))
	r.ok(err, "Submit")
	t := r.task(clock)
	return seen(&t)
}

// stats counts a queue.
func (r *room) stats(queue string) backend.QueueStats {
	r.tb.Helper()
	got, err := r.be.Stats(r.ctx, backend.StatsRequest{Namespace: r.ns, Queue: queue})
	r.ok(err, "Stats")
	return got
}

// counts expects the numbers of the queue, but for its age and its listeners.
func (r *room) counts(want backend.QueueStats) {
	r.tb.Helper()
	got := r.stats(theQueue)
	want.Oldest, want.Listeners = got.Oldest, got.Listeners
	r.equal("the numbers of the queue", got, want)
}

// lists gives the ids of all tasks of a queue that are in a state, page by page.
func (r *room) lists(queue string, state backend.TaskState, limit int) []string {
	r.tb.Helper()
	var ids []string
	req := backend.TasksRequest{Namespace: r.ns, Queue: queue, State: state, Limit: limit}
	for page := range 100_000 {
		got, err := r.be.Tasks(r.ctx, req)
		r.ok(err, "Tasks")
		for i := range got.Tasks {
			t := &got.Tasks[i]
			if t.State != state || t.Queue != queue {
				r.Errorf("page %d of %v tasks of %s has one of %s that is %v", page, state, queue, t.Queue, t.State)
			}
			ids = append(ids, t.ID)
		}
		if got.Cursor == "" {
			return ids
		}
		req.Cursor = got.Cursor
	}
	r.Fatalf("the pages of Tasks do not end")
	return nil
}

// edits does something to tasks, and gives for which of them it could.
func (r *room) edits(action backend.TaskAction, ids ...string) []bool {
	r.tb.Helper()
	got, err := r.be.EditTasks(r.ctx, backend.TaskEdit{Namespace: r.ns, Action: action, IDs: ids})
	r.ok(err, "EditTasks")
	if len(got.Edited) != len(ids) {
		r.Fatalf("EditTasks of %d ids answered for %d", len(ids), len(got.Edited))
	}
	return got.Edited
}

// cancels cancels tasks, all of which must have been there to be cancelled.
func (r *room) cancels(ids ...string) {
	r.tb.Helper()
	for i, ok := range r.edits(backend.TasksCancel, ids...) {
		r.yes("cancelled "+ids[i], ok)
	}
}

// pauses pauses a queue, or resumes it.
func (r *room) pauses(queue string, pause bool) {
	r.tb.Helper()
	action := backend.QueueResume
	if pause {
		action = backend.QueuePause
	}
	_, err := r.be.EditTasks(r.ctx, backend.TaskEdit{Namespace: r.ns, Action: action, Queue: queue})
	r.ok(err, "EditTasks")
}

// The verbs of those who work on tasks.

// about is a report on a task that was granted.
func about(g *backend.TaskGrant, kind backend.ReportKind, data string) backend.TaskReport {
	return backend.TaskReport{ID: g.Task.ID, Token: g.Token, Kind: kind, Data: []byte(data)}
}

// again is a report that the attempt has failed, and that the task is due again.
func again(g *backend.TaskGrant, after time.Duration, data string) backend.TaskReport {
	it := about(g, backend.ReportRetry, data)
	it.After = after
	return it
}

func (r *room) reports(items ...backend.TaskReport) []bool {
	r.tb.Helper()
	got, err := r.be.Report(r.ctx, backend.ReportRequest{Namespace: r.ns, Items: items})
	r.ok(err, "Report")
	if len(got.Accepted) != len(items) {
		r.Fatalf("Report of %d items answered for %d", len(items), len(got.Accepted))
	}
	return got.Accepted
}

// says reports on tasks, and expects that to be accepted.
func (r *room) says(items ...backend.TaskReport) {
	r.tb.Helper()
	for i, ok := range r.reports(items...) {
		if !ok {
			r.Errorf("report %d on %s was not accepted: its task is %+v", items[i].Kind, items[i].ID, r.task(items[i].ID))
		}
	}
}

// saysInVain expects that reports are not accepted.
func (r *room) saysInVain(items ...backend.TaskReport) {
	r.tb.Helper()
	for i, ok := range r.reports(items...) {
		if ok {
			r.Errorf("report %d on %s was accepted: its task is %+v", items[i].Kind, items[i].ID, r.task(items[i].ID))
		}
	}
}

// prolongsTasks renews leases on tasks.
func (r *room) prolongsTasks(items ...backend.Renewal) []bool {
	r.tb.Helper()
	got, err := r.be.RenewTasks(r.ctx, backend.RenewRequest{Namespace: r.ns, Items: items})
	r.ok(err, "RenewTasks")
	if len(got.Renewed) != len(items) {
		r.Fatalf("RenewTasks of %d items answered for %d", len(items), len(got.Renewed))
	}
	return got.Renewed
}

// prolongsTask renews one lease on a task.
func (r *room) prolongsTask(g *backend.TaskGrant, ttl time.Duration) bool {
	r.tb.Helper()
	return r.prolongsTasks(backend.Renewal{Member: g.Task.ID, Token: g.Token, TTL: ttl})[0]
}

// runs submits a task and takes it.
func (r *room) runs(req backend.SubmitRequest, ttl time.Duration) backend.TaskGrant {
	r.tb.Helper()
	if req.Queue == "" {
		req.Queue = theQueue
	}
	r.creates(req)
	return r.fetches(req.Queue, ttl, req.ID)[0]
}

// starts submits a task of which nothing is special, and takes it.
func (r *room) starts(id string) backend.TaskGrant {
	r.tb.Helper()
	r.puts(id)
	return r.fetches(theQueue, long, id)[0]
}

// fetches takes as many tasks of a queue as are named, and expects them to be those, in this order. The listener leaves.
func (r *room) fetches(queue string, ttl time.Duration, want ...string) []backend.TaskGrant {
	r.tb.Helper()
	l := r.listener(queue)
	l.ttl = ttl
	got := l.gets(len(want), want...)
	l.leaves()
	return got
}

// drains takes all tasks of the queue, and expects them to be these, in this order.
func (r *room) drains(want ...string) []backend.TaskGrant {
	r.tb.Helper()
	l := r.listener(theQueue)
	got := l.gets(backend.BatchLimit, want...)
	l.leaves()
	return got
}
