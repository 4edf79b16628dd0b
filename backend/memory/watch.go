package memory

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Watch tells how a task stands and what becomes of it; see [backend.Queues].
func (b *Backend) Watch(ctx context.Context, req backend.WatchRequest) (backend.WatchReply, error) {
	ts, now, err := b.openTasks(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.WatchReply{}, fail("watch", req.Namespace, err)
	}
	defer ts.unlock()
	t := ts.find(req.ID, now)
	if t == nil {
		return backend.WatchReply{Task: backend.TaskInfo{ID: req.ID}}, nil
	}
	reply := backend.WatchReply{Task: ts.info(t, now, false)}
	if !t.state.Final() {
		reply.Watching = ts.watch(t, newWatcher(req.Progress))
	}
	return reply, nil
}

// watcher is one watch of a task that has not ended.
type watcher struct {
	backend.Watching
	tasks      *tasks
	task       *task // nil: the watch is over
	progress   bool
	changes    chan backend.TaskChange
	prev, next *watcher
}

func newWatcher(progress bool) *watcher {
	w := &watcher{progress: progress, changes: make(chan backend.TaskChange, 1)}
	w.Changes, w.Stop = w.changes, w.stop
	return w
}

// watch begins a watch.
func (ts *tasks) watch(t *task, w *watcher) *backend.Watching {
	w.tasks, w.task, w.next = ts, t, t.watchers
	if w.next != nil {
		w.next.prev = w
	}
	t.watchers = w
	at := t.deadline
	if t.state != backend.TaskWaiting {
		at = min(at, t.at)
	}
	ts.alert(t, at)
	return &w.Watching
}

// stop ends a watch.
func (w *watcher) stop() {
	mu := &w.tasks.space.mu
	mu.Lock()
	defer mu.Unlock()
	t := w.task
	if t == nil {
		return
	}
	if w.prev == nil {
		t.watchers = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.task, w.prev, w.next = nil, nil, nil
	if t.watchers == nil {
		w.tasks.alarms.remove(t)
	}
}

// send puts a message in the place of the one before. Nobody else sends, so that there is room.
func (w *watcher) send(c *backend.TaskChange) {
	select {
	case w.changes <- *c:
		return
	default:
	}
	last := *c
	select {
	case unseen := <-w.changes:
		last.Replace(&unseen)
	default:
	}
	w.changes <- last
}

// tell tells those who watch the progress of t how it stands.
func (ts *tasks) tell(t *task, now instant) {
	var c *backend.TaskChange
	for w := t.watchers; w != nil; w = w.next {
		if !w.progress {
			continue
		}
		if c == nil {
			c = &backend.TaskChange{Task: ts.info(t, now, false)}
		}
		w.send(c)
	}
}

// tellEnd tells everybody who watches t that it has ended.
func (ts *tasks) tellEnd(t *task, now instant) {
	if t.watchers != nil {
		ts.dispel(t, &backend.TaskChange{Task: ts.info(t, now, false)})
		ts.alarms.remove(t)
	}
}

// dispel ends all watches of t with a message.
func (ts *tasks) dispel(t *task, c *backend.TaskChange) {
	for w := t.watchers; w != nil; {
		w.send(c)
		next := w.next
		w.task, w.prev, w.next = nil, nil, nil
		w = next
	}
	t.watchers = nil
}

// alert makes sure that t is looked at when something happens to it by itself, if somebody watches.
func (ts *tasks) alert(t *task, at instant) {
	if t.watchers != nil {
		ts.alarms.advance(t, at)
		ts.arm()
	}
}

// arm sets the timer to the first alarm, unless it fires before anyway.
func (ts *tasks) arm() {
	at := ts.alarms.next()
	if at >= ts.wakeAt {
		return
	}
	ts.wakeAt = at
	after, timers := time.Duration(at-ts.clock.now()), &ts.space.backend.timers
	switch {
	case ts.timer == nil:
		timers.Add(1)
		ts.timer = time.AfterFunc(after, ts.ring)
	case !ts.timer.Reset(after):
		timers.Add(1)
	}
}

// ring is what the timer runs.
func (ts *tasks) ring() {
	defer ts.space.backend.timers.Done()
	ts.space.mu.Lock()
	defer ts.unlock()
	if ts.space.closed {
		return
	}
	const batch = 1000 // one after the other, so that others hardly wait
	now := ts.clock.now()
	for n := 0; n < batch && ts.alarms.next() <= now; n++ {
		t := ts.alarms.slots[0].t
		ts.settle(t, now)
		if t.watchers == nil {
			continue
		}
		at := t.deadline
		if t.state != backend.TaskWaiting {
			at = min(at, t.at)
		}
		ts.alarms.set(t, at)
	}
	ts.wakeAt = never
	ts.arm()
}

// close ends all watches and wakes all listeners for good.
func (ts *tasks) close() {
	if ts.timer != nil && ts.timer.Stop() {
		ts.space.backend.timers.Done()
	}
	for _, slot := range ts.alarms.slots {
		ts.dispel(slot.t, &backend.TaskChange{Err: backend.ErrClosed})
	}
	ts.alarms.slots = nil
	for _, l := range ts.listeners {
		close(l.wake)
	}
}
