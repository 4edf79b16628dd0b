package memory

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Submit puts a task into its queue; see [backend.Queues].
func (b *Backend) Submit(ctx context.Context, req backend.SubmitRequest) (backend.SubmitReply, error) {
	invalid := req.Validate()
	var fresh *task
	var w *watcher
	if invalid == nil { // before the lock, so that others hardly wait
		fresh = newTask(&req)
		if req.Watch {
			w = newWatcher(req.Progress)
		}
	}
	ts, now, err := b.openTasks(ctx, req.Namespace, invalid)
	if err != nil {
		return backend.SubmitReply{}, fail("submit", req.Namespace, err)
	}
	defer ts.unlock()
	reply := backend.SubmitReply{}
	t := ts.find(req.ID, now)
	switch {
	case t == nil && req.IfListened && !ts.listened(req.Queue, now):
		return reply, nil
	case t == nil:
		t = fresh
		ts.submit(t, &req, now)
		reply.Created = true
	case t.digest != fresh.digest:
		return reply, fail("submit", req.Namespace, backend.ErrConflict)
	default:
		reply.Joined, reply.Task = true, ts.info(t, now, false)
	}
	if w != nil && !t.state.Final() {
		reply.Watching = ts.watch(t, w)
	}
	for _, id := range req.Forget {
		if t := ts.byID[id]; t != nil && id != req.ID && t.state.Final() && t.state != backend.TaskDead {
			ts.forget(t)
		}
	}
	return reply, nil
}

// newTask gives the task of a request.
func newTask(req *backend.SubmitRequest) *task {
	t := &task{
		id: req.ID, digest: req.Digest(), class: req.Class, maxDeaths: int32(req.MaxDeaths),
		payload: some(req.Payload), meta: some(req.Meta),
		timeout: req.Timeout, retention: req.Retention, graveyard: req.Graveyard,
	}
	if t.graveyard == 0 {
		t.graveyard = t.retention
	}
	return t
}

// submit puts a new task into its queue.
func (ts *tasks) submit(t *task, req *backend.SubmitRequest, now instant) {
	q := ts.queueOf(req.Queue)
	ts.tidy(q, req.Class, now)
	t.queue, t.submitted, t.deadline = q, now, now.after(req.Timeout)
	ts.byID[t.id] = t
	if req.Delay > 0 {
		ts.schedule(t, now.after(req.Delay), now)
	} else {
		ts.enqueue(t, now)
	}
}

// tidy removes some of what nobody will look at if nobody listens.
func (ts *tasks) tidy(q *queue, class backend.TaskClass, now instant) {
	ts.sweep(now)
	ts.sweepGraves(q, now)
	const few, long = 2, 64
	if l := &q.lanes[class]; l.n > long {
		for n := 0; n < few && l.head.deadline <= now; n++ {
			ts.expire(l.head)
		}
	}
	if len(q.scheduled.slots) > long {
		ts.catchUp(q, now, few)
	}
}

// some makes no difference between nothing and something empty.
func some(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	return data
}
