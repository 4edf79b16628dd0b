package memory

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/redisallocator/redisallocator/backend"
)

// Enter takes at once or joins the line; see [backend.Lines].
func (b *Backend) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	s, now, err := b.openLine(ctx, req.Space(), req.ForLocks(), req.Validate())
	if err != nil {
		return backend.EnterReply{}, fail("enter", req.Space(), err)
	}
	defer s.mu.Unlock()
	var reply backend.EnterReply
	if req.ForLocks() {
		reply, err = s.enterNames(&req, now)
	} else {
		reply, err = s.enter(&req, now)
	}
	if err != nil {
		return backend.EnterReply{}, fail("enter", req.Space(), err)
	}
	return reply, nil
}

// openLine is open for what works on the lines of names or on that of the pool.
func (b *Backend) openLine(ctx context.Context, ns backend.Namespace, names bool, invalid error) (*space, instant, error) {
	if names {
		return b.open(ctx, ns, invalid)
	}
	return b.openPool(ctx, ns, invalid)
}

// enter is Enter for members of the pool.
func (s *space) enter(req *backend.EnterRequest, now instant) (backend.EnterReply, error) {
	if s.waiters[req.Take.Token] != nil {
		return backend.EnterReply{}, waitsAlready(req.Take.Token)
	}
	s.lapse(now)
	if req.Take.Collect > 0 {
		s.collect(now, req.Take.Collect)
	}
	s.serve(now)
	if !s.line.blocks(req.Priority) {
		if grants := s.grant(now, &req.Take); grants != nil {
			s.finish(now)
			return backend.EnterReply{Grants: grants}, nil
		}
	}
	w := newWaiter(req, 1, now)
	s.waiters[req.Take.Token] = w
	s.line.join(w, &w.spots[0])
	for s.orphans.head != nil {
		s.putBack(s.orphans.head, now)
	}
	s.serve(now)
	return backend.EnterReply{Handover: w.handover}, nil
}

func waitsAlready(token string) error {
	return &backend.InvalidError{Field: "token", Value: strconv.Quote(token), Reason: "waits already"}
}

// Leave takes a request out of its lines and gives back what was handed over to it; see [backend.Lines].
func (b *Backend) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	names := len(req.Names) > 0
	s, now, err := b.openLine(ctx, req.Namespace, names, req.Validate())
	if err != nil {
		return backend.LeaveReply{}, fail("leave", req.Namespace, err)
	}
	defer s.mu.Unlock()
	if names {
		return s.leaveNames(&req, now), nil
	}
	return s.leave(&req, now), nil
}

// leave is Leave for members of the pool.
func (s *space) leave(req *backend.LeaveRequest, now instant) (reply backend.LeaveReply) {
	s.lapse(now)
	if w := s.waiters[req.Token]; w != nil { // then it has been handed nothing
		s.quit(w)
		reply.Waiting = true
	} else {
		reply.Returned = s.undo(req.Token, now)
	}
	s.serve(now)
	return reply
}

// quit takes w out of the pool's line.
func (s *space) quit(w *waiter) {
	w.spots[0].remove()
	delete(s.waiters, w.req.Take.Token)
}

// undo gives back what was handed over to a token and has not been renewed, also if it has left the pool since. It looks
// at everything: to leave after a hand-over is rare, and no other step shall pay for it.
func (s *space) undo(token string, now instant) int {
	var claimed []*entry
	for _, e := range s.entries {
		if e.claim != 0 && e.heldBy(token) && e.locked(now) {
			claimed = append(claimed, e)
		}
	}
	slices.SortFunc(claimed, func(a, b *entry) int { return cmp.Compare(a.claim, b.claim) })
	for _, e := range claimed {
		s.giveBack(e, now)
	}
	return len(claimed)
}

// Queue looks at a line; see [backend.Lines].
func (b *Backend) Queue(ctx context.Context, req backend.QueueRequest) (backend.QueueReply, error) {
	s, _, err := b.openLine(ctx, req.Namespace, req.Name != "", req.Validate())
	if err != nil {
		return backend.QueueReply{}, fail("queue", req.Namespace, err)
	}
	defer s.mu.Unlock()
	if req.Name == "" {
		return s.queue(&s.line, s.waiters[req.Token], req.Limit), nil
	}
	if e := s.entries[req.Name]; e != nil && e.line != nil {
		return s.queue(e.line, s.lockWaiters[req.Token], req.Limit), nil
	}
	return backend.QueueReply{}, nil
}
