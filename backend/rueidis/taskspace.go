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

	// For the goroutine that asks, see taskask.go.
	asking  bool
	wake    chan struct{} // has room for one
	recheck bool          // something may have been lost: ask for everything
	next    time.Time     // no task's time is over before
}

// watched is a task that somebody of our own watches.
type watched struct {
	id       string
	watches  []*watching
	since    int64     // server's time in ms when it was known last not to have ended; 0: never
	deadline time.Time // when its time is over, by our clock; zero: not known
	known    backend.TaskInfo
	told     uint64 // how often a message has told of it
	again    bool   // to be asked for at once
}

// watching is one watch.
type watching struct {
	*watched
	progress bool
	changes  chan backend.TaskChange // has room for one
}

// listener is who fetches tasks.
type listener struct {
	wake chan struct{}     // has room for one; closed by Close
	lost chan backend.Held // has room for lostRoom
}

// lostRoom is how many leases a listener can have lost without having looked.
const lostRoom = 64

// expectWatch makes a watch known, before anything is sent: the message may be faster than the reply. Either began
// follows, or forget. After Close the watch has been told of that.
func (ts *taskSpace) expectWatch(id string, progress bool) *watching {
	w := &watching{progress: progress, changes: make(chan backend.TaskChange, 1)}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		w.watched = &watched{id: id}
		w.changes <- backend.TaskChange{Task: backend.TaskInfo{ID: id}, Err: backend.ErrClosed}
		return w
	}
	x := ts.watched[id]
	if x == nil {
		x = &watched{id: id}
		if ts.watched == nil {
			ts.watched = make(map[string]*watched)
		}
		ts.watched[id] = x
	}
	w.watched = x
	x.watches = append(x.watches, w)
	return w
}

// forget ends a watch that nobody has been told of, or nobody needs any more.
func (ts *taskSpace) forget(w *watching) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.drop(w)
}

// drop is forget for those who hold the mutex.
func (ts *taskSpace) drop(w *watching) {
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

// began notes that the server has registered the watch of a task that stands like this, which must not be final, and was asked for at
// sent; of one that was just made, info has Remaining alone. It gives what the caller gets.
func (ts *taskSpace) began(w *watching, info backend.TaskInfo, sent time.Time) *backend.Watching {
	return &backend.Watching{Changes: w.changes, Stop: func() { ts.forget(w) }}
}

// listener gives the channels of a listener, which are the same until it leaves. After Close wake is closed.
func (ts *taskSpace) listener(name string) *listener {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	l := ts.listeners[name]
	if l != nil {
		return l
	}
	l = &listener{wake: make(chan struct{}, 1), lost: make(chan backend.Held, lostRoom)}
	if ts.closed {
		close(l.wake)
		return l
	}
	if ts.listeners == nil {
		ts.listeners = make(map[string]*listener)
	}
	ts.listeners[name] = l
	return l
}

// leave forgets a listener.
func (ts *taskSpace) leave(name string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.listeners, name)
}
