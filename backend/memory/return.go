package memory

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Return gives members back; see [backend.Pools].
func (b *Backend) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	s, now, err := b.openPool(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.ReturnReply{}, fail("return", req.Namespace, err)
	}
	if !req.Force {
		s.lapse(now)
	}
	reply := backend.ReturnReply{Returned: cut(&s.bools, len(req.Items))}
	for i := range req.Items {
		e := s.find(req.Items[i].Member)
		if e == nil || !e.locked(now) || !req.Force && !e.heldBy(req.Items[i].Token) {
			continue
		}
		if req.Force && e.member {
			e.expiry = s.expiryAfter(now, req.MemberTTL)
		}
		s.giveBack(e, now)
		reply.Returned[i] = true
	}
	s.serve(now)
	s.mu.Unlock()
	return reply, nil
}

// giveBack ends the lock and the lease of e and puts it back, if it is an allocated member.
func (s *space) giveBack(e *entry, now instant) {
	s.unlock(e)
	s.endLease(e)
	switch {
	case !e.member:
		s.forget(e)
	case !s.isFree(e):
		s.putBack(e, now)
	}
}

// Renew sets the TTL of leases and of locks; see [backend.Pools].
func (b *Backend) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	s, now, err := b.openPool(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.RenewReply{}, fail("renew", req.Namespace, err)
	}
	s.lapse(now)
	reply := backend.RenewReply{Renewed: cut(&s.bools, len(req.Items))}
	for i := range req.Items {
		reply.Renewed[i] = s.renew(&req.Items[i], now)
	}
	s.serve(now)
	s.mu.Unlock()
	return reply, nil
}

func (s *space) renew(it *backend.Renewal, now instant) bool {
	e := s.entries[it.Member]
	if e == nil || !e.locked(now) || !e.heldBy(it.Token) {
		return false
	}
	s.move(e, now.after(it.TTL))
	if it.NewToken != "" {
		e.token = it.NewToken
	}
	if e.leased || it.NewToken != "" && e.member {
		e.leased, e.deadline = true, e.end
		s.watch(e)
	}
	return true
}
