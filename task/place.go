package task

import (
	"context"
	"slices"
)

// places is who runs and who waits for that. It is guarded by the server's mutex.
type places struct {
	all       int // so many handlers may run at once
	running   int // handlers
	stuck     int // of those, go on although they should have ended long ago
	parked    int // attempts that gave up their places
	reporting int // attempts whose handlers have ended, and whose ends are being told
	promised  int // places that the Fetch under way may fill

	waiting []*waiter // for a place again, in their order
}

// waiter is a parked attempt that wants to go on.
type waiter struct {
	a     *attempt
	ready chan struct{} // closed when it has its place
}

// free is how many handlers more may run now. So many as there are places may be telling how they ended besides.
func (p *places) free() int {
	return max(p.all-p.running-p.promised-max(p.reporting-p.all, 0), 0)
}

// room is how many tasks of q may be begun now.
func (s *Server) room(q *served) int {
	if q.parked >= q.cfg.MaxParked {
		return 0
	}
	return min(s.free(q), fetchLimit)
}

// free is how many handlers of q more may run now.
func (s *Server) free(q *served) int {
	return min(s.places.free(), max(q.cfg.Concurrency-q.running-q.promised, 0))
}

// enter gives n tasks of q a place.
func (s *Server) enter(q *served, n int) {
	s.places.running += n
	q.running += n
}

// leave takes n places from tasks of q.
func (s *Server) leave(q *served, n int) { s.enter(q, -n) }

// freed is called when there may be places free: those that wait come first, then the dispatcher.
func (s *Server) freed() {
	p := &s.places
	if len(p.waiting) > 0 {
		rest := p.waiting[:0]
		for _, w := range p.waiting {
			if s.free(w.a.queue) <= 0 {
				rest = append(rest, w)
				continue
			}
			s.unpark(w.a)
			close(w.ready)
		}
		clear(p.waiting[len(rest):])
		p.waiting = rest
	}
	if s.phase > serving || p.promised == 0 && s.stale() {
		s.wake()
	}
}

// stale reports whether the store believes something else than is so about whether there is room.
func (s *Server) stale() bool {
	for _, q := range s.queues {
		if q.idle != (s.room(q) > 0) {
			return true
		}
	}
	return false
}

// wake has the dispatcher look again.
func (s *Server) wake() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// park gives up the place of an attempt. It reports false if it keeps it, because as many are parked as may be.
func (a *attempt) park() bool {
	s, q := a.server, a.queue
	s.mu.Lock()
	if s.phase != serving {
		s.mu.Unlock()
		a.end(ErrDrained)
		return false
	}
	defer s.mu.Unlock()
	if a.parked || q.parked >= q.cfg.MaxParked {
		return false
	}
	a.parked = true
	s.leave(q, 1)
	q.parked++
	s.places.parked++
	s.freed()
	return true
}

func (s *Server) unpark(a *attempt) {
	a.parked = false
	s.enter(a.queue, 1)
	a.queue.parked--
	s.places.parked--
}

// resume waits until a parked attempt has a place again.
func (a *attempt) resume() error {
	s := a.server
	w := &waiter{a: a, ready: make(chan struct{})}
	s.mu.Lock()
	s.places.waiting = append(s.places.waiting, w)
	s.freed()
	s.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-a.Done():
		return context.Cause(a)
	}
}

// seize gives a parked attempt a place although there may be none: it is about to end.
func (a *attempt) seize() {
	s := a.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seize(a)
}

func (s *Server) seize(a *attempt) {
	if !a.parked {
		return
	}
	s.places.waiting = slices.DeleteFunc(s.places.waiting, func(w *waiter) bool { return w.a == a })
	s.unpark(a)
}
