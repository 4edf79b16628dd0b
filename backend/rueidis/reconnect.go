package rueidis

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// reachability is whether the server can be reached, as far as calls and the subscription have shown, and who wants to
// know when it can be again.
type reachability struct {
	down atomic.Bool

	mu        sync.Mutex
	last      int
	listeners map[int]func()
}

// reach notes how a call ended: with an answer, be it an error, or without one. A server that is still loading its data
// is as good as none; one that is about to give a slot away is not.
func (b *Backend) reach(err error) {
	if err == nil || rueidis.IsRedisNil(err) || moving(err) || !errors.Is(b.classify(err), backend.ErrUnavailable) {
		b.worked()
		return
	}
	b.broke()
}

// broke notes that the server could not be reached, or was away for a moment.
func (b *Backend) broke() { b.waits.reached.down.Store(true) }

// worked notes that the server has answered. If it had been away, everybody who wants to know is told. It does not
// block.
func (b *Backend) worked() {
	r := &b.waits.reached
	if !r.down.Load() || !r.down.CompareAndSwap(true, false) {
		return
	}
	b.start(func() {
		d := &b.waits.debts
		d.mu.Lock()
		d.rouse()
		d.mu.Unlock()
		b.recheckLines()
		r.mu.Lock()
		listeners := make([]func(), 0, len(r.listeners))
		for _, f := range r.listeners {
			listeners = append(listeners, f)
		}
		r.mu.Unlock()
		for _, f := range listeners {
			f()
		}
	})
}

// recheckLines has all lines ask for all waiters, and asks for all tasks that are watched.
func (b *Backend) recheckLines() {
	for _, sp := range b.allSpaces() {
		sp.tasks.check()
		for _, l := range sp.lines() {
			l.check()
		}
	}
}

// OnReconnect implements [backend.Reconnector]. The connection for messages shows at once when the server was away, also
// while nobody calls.
func (b *Backend) OnReconnect(f func()) (stop func()) {
	r := &b.waits.reached
	r.mu.Lock()
	r.last++
	id := r.last
	if r.listeners == nil {
		r.listeners = make(map[int]func())
	}
	r.listeners[id] = f
	r.mu.Unlock()

	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.listeners, id)
	}
}
