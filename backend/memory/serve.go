package memory

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// serve hands what is free in the pool to those who wait, from the front, up to the first whose request cannot be met:
// he stays first, and nobody overtakes him. Every step that may have freed a member ends with it.
func (s *space) serve(now instant) {
	for p := s.line.first(); p != nil; p = s.line.first() {
		w := p.waiter
		grants := s.grant(now, &w.req.Take)
		if grants == nil {
			break
		}
		for i := range grants {
			if g := &grants[i]; g.Fence != 0 {
				s.entries[g.Member].claim = g.Fence
			}
		}
		s.quit(w)
		w.handover <- backend.Handover{Grants: grants, Since: s.clock.time(now)}
	}
	s.finish(now)
}

// finish does what has to follow a change of a lock. Every step that may have changed one ends with it.
func (s *space) finish(now instant) {
	if len(s.stirred) > 0 {
		s.serveNames(now)
	}
	s.arm(now)
}

// arm sets the timer to the next moment at which something can come free by itself, if anybody waits for it.
func (s *space) arm(now instant) {
	at := never
	if s.line.n > 0 && len(s.index.slots) > 0 {
		at = s.index.slots[0].at
	}
	if len(s.wakes) > 0 {
		at = min(at, s.wakes[0].at)
	}
	if at == never {
		if s.timer != nil {
			s.disarm()
		}
		return
	}
	if s.timer != nil && s.wakeAt <= at {
		return
	}
	s.disarm()
	s.backend.timers.Add(1)
	s.wakeAt = at
	s.timer = time.AfterFunc(time.Duration(at-now), s.wake)
}

// disarm stops the timer. If its function is running already, that will find nothing to do.
func (s *space) disarm() {
	if s.timer != nil && s.timer.Stop() {
		s.backend.timers.Done()
	}
	s.timer = nil
}

// wake is what the timer runs.
func (s *space) wake() {
	defer s.backend.timers.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := s.clock.now()
	if s.wakeAt <= now {
		s.timer = nil // it has fired, or will right now
	}
	s.lapse(now)
	s.lapseNames(now)
	s.serve(now)
}

// close ends all waits.
func (s *space) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.disarm()
	for _, waiters := range []map[string]*waiter{s.waiters, s.lockWaiters} {
		for _, w := range waiters {
			w.handover <- backend.Handover{Err: backend.ErrClosed}
		}
	}
	if s.tasks != nil {
		s.tasks.close()
	}
}
