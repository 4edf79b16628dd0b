package memory

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Take allocates members, all that are asked for or none; see [backend.Pools].
func (b *Backend) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	s, now, err := b.openPool(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.TakeReply{}, fail("take", req.Namespace, err)
	}
	s.lapse(now)
	if req.Collect > 0 {
		s.collect(now, req.Collect)
	}
	s.serve(now)
	var reply backend.TakeReply
	if req.Only || s.line.n == 0 {
		reply.Grants = s.grant(now, &req)
		s.finish(now)
	}
	s.mu.Unlock()
	return reply, nil
}

// grant takes what a request asks for, or nothing.
func (s *space) grant(now instant, req *backend.TakeRequest) []backend.Grant {
	var room [4]*entry
	want := max(req.Count, 1)
	picks := room[:0]
	bound := s.bound(now, req)
	if bound != nil {
		picks = append(picks, bound)
		bound.picked = true
	}
	for i := 0; i < len(req.Prefer) && len(picks) < want; i++ {
		if e := s.usable(req.Prefer[i], now); e != nil && !e.picked {
			picks = append(picks, e)
			e.picked = true
		}
	}
	if !req.Only {
		for e := s.free.head; e != nil && len(picks) < want; {
			next := e.next
			switch {
			case s.expired(e, now):
				s.drop(e, now)
			case e.locked(now):
				s.allocate(e)
				s.watch(e)
			case !e.picked:
				picks = append(picks, e)
			}
			e = next
		}
	}
	for _, e := range picks {
		e.picked = false
	}
	if len(picks) < want {
		return nil
	}
	grants := cut(&s.grants, want)
	for i, e := range picks {
		g := &grants[i]
		g.Member, g.Token = e.name, req.Token
		if req.Shared {
			g.TTL = backend.NoExpiry
			if e != bound {
				s.release(e)
			}
			continue
		}
		g.TTL, g.Fence = req.TTL, s.nextFence(now)
		s.lease(e, req.Token, now.after(req.TTL))
	}
	if req.Binding != "" {
		s.bind(req.Binding, picks[0].name, now.after(req.BindingTTL), now)
	}
	return grants
}

// usable gives a member that can be taken out of turn, if it can. One that is expired is dropped.
func (s *space) usable(name string, now instant) *entry {
	e := s.entries[name]
	switch {
	case e == nil || !e.member:
		return nil
	case s.expired(e, now):
		s.drop(e, now)
		return nil
	case e.locked(now):
		return nil
	}
	return e
}

// bound gives the member that the request's binding points at, if it can be had. Otherwise the binding is dropped.
func (s *space) bound(now instant, req *backend.TakeRequest) *entry {
	if req.Binding == "" {
		return nil
	}
	b, ok := s.bindings[req.Binding]
	if !ok {
		return nil
	}
	if b.end > now {
		if e := s.usable(b.member, now); e != nil {
			return e
		}
	}
	delete(s.bindings, req.Binding)
	return nil
}

// lease makes a member somebody's until end.
func (s *space) lease(e *entry, token string, end instant) {
	s.allocate(e)
	s.recent = e
	s.own(e, token, end)
	e.leased, e.deadline = true, end
	s.watch(e)
}
