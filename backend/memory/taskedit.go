package memory

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// EditTasks cancels, removes or revives tasks, or pauses or resumes a queue; see [backend.Queues].
func (b *Backend) EditTasks(ctx context.Context, req backend.TaskEdit) (backend.TaskEditReply, error) {
	ts, now, err := b.openTasks(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.TaskEditReply{}, fail("edit tasks", req.Namespace, err)
	}
	defer ts.unlock()
	reply := backend.TaskEditReply{Edited: make([]bool, len(req.IDs))}
	switch req.Action {
	case backend.QueuePause:
		ts.queueOf(req.Queue).paused = true
	case backend.QueueResume:
		ts.resume(ts.queueOf(req.Queue), now)
	}
	for i, id := range req.IDs {
		if t := ts.find(id, now); t != nil {
			reply.Edited[i] = ts.edit(t, req.Action, now)
		}
	}
	return reply, nil
}

// edit does what it can to one task, and tells whether it was something.
func (ts *tasks) edit(t *task, action backend.TaskAction, now instant) bool {
	final := t.state.Final()
	switch {
	case action == backend.TasksCancel && !final:
		if t.holder != nil {
			t.holder.lose(backend.Held{Member: t.id, Token: t.token})
		}
		ts.finish(t, backend.TaskCancelled, now)
	case action == backend.TasksRemove && final:
		ts.forget(t)
	case action == backend.TasksRevive && t.state == backend.TaskDead:
		t.attempts, t.deaths, t.reason, t.token, t.reported = 0, 0, backend.ReasonNone, "", 0
		t.deadline = now.after(t.timeout)
		ts.enqueue(t, now)
	default:
		return false
	}
	return true
}

// lose tells a listener of a lease that was taken away, if there is room.
func (l *listener) lose(h backend.Held) {
	select {
	case l.lost <- h:
	default:
	}
}

// resume ends the pause of a queue, and wakes somebody for each task that waits.
func (ts *tasks) resume(q *queue, now instant) {
	if !q.paused {
		return
	}
	q.paused = false
	for n := q.waiting(); n > 0 && q.idle.head != nil; n-- {
		ts.call(q, now)
	}
}
