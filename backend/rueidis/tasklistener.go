package rueidis

import "github.com/redisallocator/redisallocator/backend"

// listener is who fetches tasks.
type listener struct {
	wake chan struct{}     // has room for one; closed by Close
	lost chan backend.Held // has room for lostRoom
}

// lostRoom is how many leases a listener can have lost without having looked.
const lostRoom = 64

// listener gives the channels of a listener, which are the same until it leaves. After Close wake is closed.
func (ts *taskSpace) listener(name string) *listener {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	l := ts.listeners[name]
	if l == nil {
		l = &listener{wake: make(chan struct{}, 1), lost: make(chan backend.Held, lostRoom)}
		if ts.closed {
			close(l.wake)
			return l
		}
		if ts.listeners == nil {
			ts.listeners = make(map[string]*listener)
		}
		ts.listeners[name] = l
		ts.tend()
	}
	return l
}

// leave forgets a listener.
func (ts *taskSpace) leave(name string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.listeners, name)
}

// rouse has the listener look. The caller holds the mutex of the space.
func (l *listener) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// loses tells the listener of a lease that was taken away. The caller holds the mutex of the space.
func (l *listener) loses(id, token string) {
	select {
	case l.lost <- backend.Held{Member: id, Token: token}:
	default:
	}
}

// wakeAll has all listeners look. The caller holds the mutex.
func (ts *taskSpace) wakeAll() {
	for _, l := range ts.listeners {
		l.rouse()
	}
}
