package memory

import (
	"container/heap"

	"github.com/redisallocator/redisallocator/backend"
)

// enterNames is Enter for names.
func (s *space) enterNames(req *backend.EnterRequest, now instant) (backend.EnterReply, error) {
	if s.lockWaiters[req.Lock.Token] != nil {
		return backend.EnterReply{}, waitsAlready(req.Lock.Token)
	}
	if err := s.checkLimits(&req.Lock); err != nil {
		return backend.EnterReply{}, err
	}
	s.catchUp(now)
	if grants, _ := s.lockNames(now, &req.Lock, req.Priority); grants != nil {
		s.sweep(now)
		s.finish(now)
		return backend.EnterReply{Grants: grants}, nil
	}
	w := newWaiter(req, len(req.Lock.Items), now)
	s.lockWaiters[req.Lock.Token] = w
	for i := range w.spots {
		e := s.entry(w.req.Lock.Items[i].Name)
		if e.line == nil {
			e.line = &line{e: e}
		}
		e.line.join(w, &w.spots[i])
		s.stir(e.line)
	}
	s.finish(now)
	return backend.EnterReply{Handover: w.handover}, nil
}

// leaveNames is Leave for names.
func (s *space) leaveNames(req *backend.LeaveRequest, now instant) (reply backend.LeaveReply) {
	s.catchUp(now)
	if w := s.lockWaiters[req.Token]; w != nil { // then it has been handed nothing
		s.quitNames(w)
		reply.Waiting = true
	} else {
		for _, name := range req.Names {
			if e := s.entries[name]; e != nil && e.locked(now) && s.unclaim(e, req.Token, now) {
				reply.Returned++
			}
		}
	}
	s.serve(now)
	return reply
}

// unclaim gives a name back, if it was handed over to the token and has not been renewed.
func (s *space) unclaim(e *entry, token string, now instant) bool {
	if e.shared == nil {
		if e.claim == 0 || e.token != token {
			return false
		}
		s.removeLock(e, now)
		return true
	}
	h := e.shared.find(token, now)
	if h == nil || !h.claim {
		return false
	}
	s.part(e, h, now)
	return true
}

// quitNames takes w out of all its lines, so that they have to be served.
func (s *space) quitNames(w *waiter) {
	for i := range w.spots {
		s.stir(w.spots[i].line)
		w.spots[i].remove()
	}
	delete(s.lockWaiters, w.req.Lock.Token)
}

// stir notes that a line of a name, if there is one, has to be served, because its name or who is first has changed.
func (s *space) stir(l *line) {
	if l != nil && !l.stirred {
		l.stirred = true
		s.stirred = append(s.stirred, l)
	}
}

// catchUp makes everything happen that time has brought about for those who wait for names.
func (s *space) catchUp(now instant) {
	if len(s.wakes) > 0 && s.wakes[0].at <= now {
		s.lapseNames(now)
		s.finish(now)
	}
}

// lapseNames stirs the lines of the names of which something has ended.
func (s *space) lapseNames(now instant) {
	for len(s.wakes) > 0 && s.wakes[0].at <= now {
		s.stir(heap.Pop(&s.wakes).(*line))
	}
}

// serveNames lets those in who are first in their stirred lines, as far as it goes. Who has got in, or has left, makes
// others first in all lines in which he was, and these are stirred, too.
func (s *space) serveNames(now instant) {
	for i := 0; i < len(s.stirred); i++ {
		l := s.stirred[i]
		l.stirred = false
		for p := l.first(); p != nil && s.admit(p.waiter, now); {
			p = l.first()
		}
		s.watchName(l, now)
	}
	clear(s.stirred)
	s.stirred = s.stirred[:0]
}

// admit lets w in if it is its turn and all can be had, or ends its wait if that cannot be any more.
func (s *space) admit(w *waiter, now instant) bool {
	for i := range w.spots {
		if p := &w.spots[i]; p.line.first() != p {
			return false
		}
	}
	if err := s.checkRoom(&w.req.Lock); err != nil {
		s.quitNames(w)
		w.handover <- backend.Handover{Err: fail("enter", s.ns, err)}
		return true
	}
	grants, _ := s.lockNames(now, &w.req.Lock, backend.MaxPriority+1) // fails for replicas alone, which do not wait
	if grants == nil {
		return false
	}
	s.claimNames(grants, now)
	s.quitNames(w)
	w.handover <- backend.Handover{Grants: grants, Since: s.clock.time(now)}
	return true
}

// checkRoom refuses to wait for more units than a limit that was lowered meanwhile allows.
func (s *space) checkRoom(req *backend.LockRequest) error {
	for i := range req.Items {
		it := &req.Items[i]
		if limit := s.limits[it.Name]; limit != 0 && limit < it.Units {
			return &backend.LimitError{Name: it.Name, Asked: it.Limit, Stored: limit}
		}
	}
	return nil
}

// claimNames notes that what was granted was handed over, and not yet renewed.
func (s *space) claimNames(grants []backend.Grant, now instant) {
	for i := range grants {
		g := &grants[i]
		if e := s.entries[g.Member]; e.shared == nil {
			e.claim = g.Fence
		} else {
			e.shared.find(g.Token, now).claim = true
		}
	}
}

// watchName makes sure that a line is served when something of its name ends. A line that has become empty goes.
func (s *space) watchName(l *line, now instant) {
	at, e := never, l.e
	switch {
	case l.n == 0:
		e.line = nil
		if !e.member && !e.locked(now) {
			s.forget(e)
		}
	case e.locked(now) && e.shared != nil:
		e.shared.lapse(now)
		at = e.shared.byEnd[0].end
	case e.locked(now):
		at = e.end
	}
	switch {
	case at == never && l.wake != 0:
		heap.Remove(&s.wakes, l.wake-1)
	case at == never:
	case l.wake != 0:
		l.at = at
		heap.Fix(&s.wakes, l.wake-1)
	default:
		l.at = at
		heap.Push(&s.wakes, l)
	}
}

// wakes is a heap, for package heap, of the lines whose names can come free by the mere passing of time, soonest first.
type wakes []*line

func (h wakes) Len() int           { return len(h) }
func (h wakes) Less(i, j int) bool { return h[i].at < h[j].at }

func (h wakes) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].wake, h[j].wake = i+1, j+1
}

func (h *wakes) Push(l any) {
	*h = append(*h, l.(*line))
	l.(*line).wake = len(*h)
}

func (h *wakes) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.wake = 0
	return l
}
