package memory

import (
	"math/bits"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// find gives a task as it stands, or nil.
func (ts *tasks) find(id string, now instant) *task {
	t := ts.byID[id]
	if t == nil || !ts.settle(t, now) {
		return nil
	}
	return t
}

// settle makes everything happen to t that time has brought about, and reports whether it is still there.
func (ts *tasks) settle(t *task, now instant) bool {
	switch t.state {
	case backend.TaskScheduled:
		switch {
		case t.deadline <= now:
			ts.expire(t)
		case t.at <= now:
			ts.catchUp(t.queue, now, patience) // those that were due before it
			if t.state == backend.TaskScheduled {
				ts.enqueue(t, now)
			}
		}
	case backend.TaskWaiting:
		if t.deadline <= now {
			ts.expire(t)
		}
	case backend.TaskRunning:
		if t.at <= now {
			ts.lapse(t, now)
		}
	}
	if t.state.Final() && t.at <= now {
		ts.forget(t)
		return false
	}
	return true
}

// patience is how many tasks of a queue one step settles.
const patience = 100

// catchUp settles what is due or has lapsed in a queue, in order of time, but no more than limit tasks. It gives how many
// more there might have been.
func (ts *tasks) catchUp(q *queue, now instant, limit int) int {
	for ; limit > 0; limit-- {
		a := &q.scheduled
		if q.running.next() < a.next() {
			a = &q.running
		}
		if a.next() > now {
			break
		}
		switch t := a.slots[0].t; {
		case t.state == backend.TaskRunning:
			ts.lapse(t, now)
		case t.deadline <= now:
			ts.expire(t)
		default:
			ts.enqueue(t, now)
		}
	}
	return limit
}

// lapse ends an attempt whose lease ran out.
func (ts *tasks) lapse(t *task, now instant) {
	died := t.at
	if died >= t.deadline {
		ts.expire(t)
		return
	}
	t.deaths++
	t.reported, t.holder = 0, nil
	switch {
	case t.deaths >= t.maxDeaths:
		ts.bury(t, backend.ReasonDeaths, died, now)
	case t.deadline <= now:
		ts.expire(t)
	default:
		ts.requeue(t, now)
		ts.tell(t, now)
	}
}

// enqueue puts t to the end of its class.
func (ts *tasks) enqueue(t *task, now instant) {
	ts.detach(t)
	t.state = backend.TaskWaiting
	t.queue.lanes[t.class].push(t)
	ts.call(t.queue, now)
}

// requeue puts t to the front of its class.
func (ts *tasks) requeue(t *task, now instant) {
	ts.detach(t)
	t.state = backend.TaskWaiting
	t.queue.lanes[t.class].pushFront(t)
	ts.call(t.queue, now)
}

// schedule has t wait until it is due.
func (ts *tasks) schedule(t *task, due, now instant) {
	ts.detach(t)
	t.state, t.at = backend.TaskScheduled, due
	t.queue.scheduled.set(t, min(due, t.deadline))
	ts.alert(t, min(due, t.deadline))
	if t.slot == 1 {
		ts.mind(t.queue, now)
	}
}

// expire ends t because its time is over.
func (ts *tasks) expire(t *task) {
	if t.attempts == 0 && !t.queue.listenedAt(t.deadline) {
		t.reason = backend.ReasonNoListener
	}
	ts.finish(t, backend.TaskExpired, t.deadline)
}

// bury makes t dead.
func (ts *tasks) bury(t *task, why backend.TaskReason, at, now instant) {
	ts.detach(t)
	t.state, t.reason, t.holder, t.progress = backend.TaskDead, why, nil, nil
	t.at = at.after(t.graveyard)
	q := t.queue
	q.dead.push(t)
	q.graves.set(t, t.at)
	ts.tellEnd(t, at)
	ts.sweepGraves(q, now)
}

// finish ends t otherwise.
func (ts *tasks) finish(t *task, state backend.TaskState, at instant) {
	ts.detach(t)
	t.state, t.holder = state, nil
	t.payload, t.meta, t.progress = nil, nil, nil
	t.at = at.after(t.retention)
	t.queue.totals[state]++
	i := bucket(t.retention)
	ts.ended[i].push(t)
	ts.filled |= 1 << i
	ts.tellEnd(t, at)
}

// detach takes t out of the list or the agenda of its state.
func (ts *tasks) detach(t *task) {
	t.leave()
	if t.slot == 0 {
		return
	}
	switch t.state {
	case backend.TaskScheduled:
		t.queue.scheduled.remove(t)
	case backend.TaskRunning:
		t.queue.running.remove(t)
	case backend.TaskDead:
		t.queue.graves.remove(t)
	}
}

// forget removes a task in a final state.
func (ts *tasks) forget(t *task) {
	ts.detach(t)
	delete(ts.byID, t.id)
}

// buckets is how many lists of ended tasks there are. In one list are those that are kept for about as long, within a
// factor of two, in the order in which they ended. So the first is never kept in vain for longer than it was kept for.
const buckets = 64

func bucket(retention time.Duration) int { return bits.Len64(uint64(retention)) }

// sweep forgets tasks that were kept for long enough: some more than one new task, so that a task costs the same in the
// long run.
func (ts *tasks) sweep(now instant) {
	for left := ts.filled; left != 0; left &= left - 1 {
		i := bits.TrailingZeros64(left)
		l := &ts.ended[i]
		for n := 0; n < 2 && l.head != nil && l.head.at <= now; n++ {
			ts.forget(l.head)
		}
		if l.head == nil {
			ts.filled &^= 1 << i
		}
	}
}

// sweepGraves does the same for dead tasks.
func (ts *tasks) sweepGraves(q *queue, now instant) {
	for n := 0; n < 2 && q.graves.next() <= now; n++ {
		ts.forget(q.graves.slots[0].t)
	}
}
