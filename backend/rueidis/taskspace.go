package rueidis

import (
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// taskSpace is what the backend knows of those of its own who watch tasks of a namespace, and of its listeners. Messages
// for them arrive as those for lines do; see push.go.
type taskSpace struct {
	sp *space

	mu        sync.Mutex
	closed    bool
	watched   map[string]*watched  // by the id of the task
	listeners map[string]*listener // by the name that the listener gave itself
	lapses    uint64               // how often messages may have been lost

	// For the goroutine that asks, see taskask.go.
	asking   bool
	wake     chan struct{} // has room for one
	recheck  bool          // ask for everything
	some     bool          // ask for those that are to be asked for at once
	round    uint64        // of looking at the tasks
	deadline time.Time     // no task's time is over before; zero: there is none
}

// watched is a task that somebody of our own watches.
type watched struct {
	id       string
	watches  []*watching
	one      [1]*watching // room for the first of them
	begun    bool         // the server knows that we watch
	mark     string       // with which it is asked for, see taskwatch.lua
	since    int64        // server's time in ms when it was known last not to have ended; 0: never
	deadline time.Time    // when its time is over, by our clock
	asked    time.Time
	round    uint64      // the last one in which it was asked for
	again    bool        // to be asked for at once
	ended    *taskAnswer // what a message has told, if that was before the server's answer
	known    backend.TaskInfo
	told     uint64 // how often a message has told of it
	lapses   uint64 // of the space, when the first watch was expected
}

// watching is one watch.
type watching struct {
	*watched
	progress bool
	changes  chan backend.TaskChange // has room for one
}

// expectWatch makes a watch known, before anything is sent: the message may be faster than the reply. Either began
// follows, or forget. After Close the watch has been told of that.
func (ts *taskSpace) expectWatch(id string, progress bool) *watching {
	w := &watching{progress: progress, changes: make(chan backend.TaskChange, 1)}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	x := ts.watched[id]
	if x == nil {
		x = &watched{id: id, lapses: ts.lapses}
		x.watches = x.one[:0]
	}
	w.watched = x
	if ts.closed {
		w.tell(backend.TaskChange{Task: backend.TaskInfo{ID: id}, Err: backend.ErrClosed})
		return w
	}
	if ts.watched == nil {
		ts.watched = make(map[string]*watched)
	}
	ts.watched[id] = x
	x.watches = append(x.watches, w)
	return w
}

// forget ends a watch.
func (ts *taskSpace) forget(w *watching) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	x := w.watched
	for i, other := range x.watches {
		if other == w {
			last := len(x.watches) - 1
			x.watches[i], x.watches[last] = x.watches[last], nil
			x.watches = x.watches[:last]
			break
		}
	}
	if len(x.watches) == 0 && ts.watched[x.id] == x {
		delete(ts.watched, x.id)
	}
}

// began notes that the server has registered the watch of a task that stands like this and has not ended. Of one that was
// just made, info need have no more than Remaining. It gives what the caller gets.
func (ts *taskSpace) began(w *watching, info backend.TaskInfo) *backend.Watching {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if x := w.watched; ts.watched[x.id] == x {
		x.begun = true
		if w.progress && x.mark == markNone {
			x.mark = markProgress
		}
		x.asked = time.Now()
		x.again = x.again || x.lapses != ts.lapses
		ts.stands(x, info)
		if x.ended != nil {
			ts.end(x, x.ended)
		}
		ts.tend()
		if x.again {
			ts.askSoon(x)
		}
	}
	return &backend.Watching{Changes: w.changes, Stop: func() { ts.forget(w) }}
}

// stands notes how a task stands that has not ended. The caller holds the mutex.
func (ts *taskSpace) stands(x *watched, info backend.TaskInfo) {
	x.known = info
	if !info.Deadline.IsZero() {
		x.since = max(x.since, info.Deadline.Add(-info.Remaining).UnixMilli())
	}
	ts.remains(x, info.Remaining)
}

// remains notes how long a task has until its time is over. The caller holds the mutex.
func (ts *taskSpace) remains(x *watched, left time.Duration) {
	x.deadline = time.Now().Add(left + time.Millisecond)
	if ts.deadline.IsZero() || x.deadline.Before(ts.deadline) {
		ts.deadline = x.deadline
		if left < taskBeat { // else the goroutine looks before
			ts.rouse()
		}
	}
}

// end tells those who watch x that it has ended, unless what says so is older than their watch: then it speaks of a task
// that had the id before, or was revived meanwhile. The caller holds the mutex.
func (ts *taskSpace) end(x *watched, a *taskAnswer) {
	if !x.begun {
		x.ended = a
		return
	}
	x.ended = nil
	if a.finished < x.since {
		ts.askSoon(x)
		return
	}
	ts.finish(x, backend.TaskChange{Task: a.info})
}

// askSoon has the server asked for x at once. The caller holds the mutex.
func (ts *taskSpace) askSoon(x *watched) {
	x.again, ts.some = true, true
	ts.rouse()
}

// finish tells those who watch x the last there is. The caller holds the mutex.
func (ts *taskSpace) finish(x *watched, c backend.TaskChange) {
	for _, w := range x.watches {
		w.tell(c)
	}
	x.watches = nil
	delete(ts.watched, x.id)
}

// goes tells those who want to know how a task stands that has not ended, if that is news. The caller holds the mutex.
func (ts *taskSpace) goes(x *watched, info backend.TaskInfo) {
	news := !sameTask(&x.known, &info)
	ts.stands(x, info)
	for _, w := range x.watches {
		if news && w.progress {
			w.tell(backend.TaskChange{Task: info})
		}
	}
}

// tell puts a change where it is looked for, instead of one that nobody has looked at. The caller holds the mutex.
func (w *watching) tell(c backend.TaskChange) {
	for {
		select {
		case w.changes <- c:
			return
		default:
		}
		select {
		case unseen := <-w.changes:
			c.Replace(&unseen)
		default:
		}
	}
}

// sameTask reports whether there is nothing new.
func sameTask(a, b *backend.TaskInfo) bool {
	return a.State == b.State && a.Attempts == b.Attempts && a.Deaths == b.Deaths && a.Due.Equal(b.Due) &&
		string(a.Progress) == string(b.Progress) && string(a.Error) == string(b.Error)
}

// check has the server asked for everything that is watched, and all listeners look, because messages may have been lost.
func (ts *taskSpace) check() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.lapses++
	ts.wakeAll()
	if len(ts.watched) > 0 {
		ts.recheck = true
		ts.tend()
		ts.rouse()
	}
}

// unheard is told that there is no subscription.
func (ts *taskSpace) unheard() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.lapses++
	ts.tend()
	ts.rouse()
}

// close ends all watches and the waits of all listeners.
func (ts *taskSpace) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
	for id, x := range ts.watched {
		ts.finish(x, backend.TaskChange{Task: backend.TaskInfo{ID: id}, Err: backend.ErrClosed})
	}
	for _, l := range ts.listeners {
		close(l.wake)
	}
	clear(ts.listeners)
}
