package memory

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// tasks is the task queues of a namespace. All its methods want space.mu held.
type tasks struct {
	space *space
	clock *clock

	byID      map[string]*task
	queues    map[string]*queue
	listeners map[string]*listener
	swept     int // how many listeners were left after they were last looked through

	ended  [buckets]taskList // tasks in a final state other than dead, by how long they are kept
	filled uint64            // which of them are not empty

	alarms agenda      // of tasks that are watched; an alarm may come too early, but not too late
	timer  *time.Timer // of the alarms; it is left to fire when nobody watches any more
	wakeAt instant     // when it fires

	queue *queue // that was asked for last
}

func newTasks(s *space) *tasks {
	return &tasks{
		space: s, clock: s.clock, wakeAt: never, alarms: agenda{alarm: true},
		byID: make(map[string]*task), queues: make(map[string]*queue), listeners: make(map[string]*listener),
	}
}

// queue is one list of tasks, and who listens to it.
type queue struct {
	name   string
	paused bool

	lanes     [lanes]taskList // those that wait, by class
	scheduled agenda          // by when they are due
	running   agenda          // by when their leases end
	dead      taskList        // in the order in which they died
	graves    agenda          // the same, by when they are forgotten

	posts []*post  // of those who listen
	idle  postList // and are to be woken
	woken int      // that have been woken for a task and have not called since
	heard instant  // when the last of those who do not listen any more was alive

	totals [backend.TaskDead]int64 // of those that have ended
}

const lanes = 3

// waiting counts the tasks in the lanes.
func (q *queue) waiting() int {
	n := 0
	for i := range q.lanes {
		n += q.lanes[i].n
	}
	return n
}

// next is when something happens to a task of the queue that nobody watches.
func (q *queue) next() instant { return min(q.scheduled.next(), q.running.next()) }

// task is one task that has not been forgotten.
type task struct {
	id     string
	queue  *queue
	digest string

	state    backend.TaskState
	reason   backend.TaskReason
	class    backend.TaskClass
	reported backend.ReportKind // how the last attempt ended, if it was by a report

	attempts, deaths, maxDeaths int32

	payload, meta           []byte
	result, error, progress []byte

	token  string    // of the last lease; empty: nobody has taken it yet
	holder *listener // while it runs

	submitted, deadline           instant
	at                            instant // when it is due, its lease ends, or its final state is forgotten
	timeout, retention, graveyard time.Duration

	list        *taskList // it waits in, is dead in, or is kept in
	prev, next  *task
	seq         int64 // place in it
	slot, alarm int32 // places in the agenda of its state and in tasks.alarms, from 1; 0: none

	watchers *watcher
}

// openTasks is open for what works on the task queues. The caller unlocks the space.
func (b *Backend) openTasks(ctx context.Context, ns backend.Namespace, invalid error) (*tasks, instant, error) {
	s, now, err := b.open(ctx, ns, invalid)
	if err != nil {
		return nil, 0, err
	}
	if s.tasks == nil {
		s.tasks = newTasks(s)
	}
	return s.tasks, now, nil
}

// unlock ends a step.
func (ts *tasks) unlock() { ts.space.mu.Unlock() }

// queueOf gives the queue of a name, a new one if need be.
func (ts *tasks) queueOf(name string) *queue {
	if q := ts.queue; q != nil && q.name == name {
		return q
	}
	q := ts.queues[name]
	if q == nil {
		q = &queue{name: name}
		ts.queues[name] = q
	}
	ts.queue = q
	return q
}

// info describes a task.
func (ts *tasks) info(t *task, now instant, payload bool) backend.TaskInfo {
	info := backend.TaskInfo{
		ID: t.id, Queue: t.queue.name, State: t.state, Reason: t.reason, Class: t.class,
		Attempts: int(t.attempts), Deaths: int(t.deaths),
		Submitted: ts.clock.time(t.submitted), Deadline: ts.clock.time(t.deadline),
		Result: t.result, Error: t.error,
	}
	if !t.state.Final() {
		info.Remaining, info.Progress = time.Duration(t.deadline-now), t.progress
	}
	if t.state == backend.TaskScheduled {
		info.Due = ts.clock.time(t.at)
	}
	if payload {
		info.Payload, info.Meta = t.payload, t.meta
	}
	return info
}
