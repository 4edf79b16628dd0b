package memory

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/redisallocator/redisallocator/backend"
)

// Lock takes all names, or none; see [backend.Locks]. There are no replicas: what asks for some is undone, with an error
// that is also [backend.ErrUnsupported].
func (b *Backend) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.LockReply{}, fail("lock", req.Namespace, err)
	}
	var reply backend.LockReply
	if err = s.checkLimits(&req); err == nil {
		const nobody = -backend.MaxPriority - 1 // is overtaken
		s.catchUp(now)
		reply.Grants, err = s.lockNames(now, &req, nobody)
		s.sweep(now)
		s.finish(now)
	}
	s.mu.Unlock()
	if err != nil {
		err = fail("lock", req.Namespace, err)
	}
	return reply, err
}

// Unlock gives names back; see [backend.Locks].
func (b *Backend) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.UnlockReply{}, fail("unlock", req.Namespace, err)
	}
	s.catchUp(now)
	reply := backend.UnlockReply{Unlocked: cut(&s.bools, len(req.Items))}
	for i := range req.Items {
		e := s.find(req.Items[i].Member)
		switch {
		case e == nil || !e.locked(now):
		case req.Force:
			s.removeLock(e, now)
			reply.Unlocked[i] = true
		default:
			reply.Unlocked[i] = s.unlockName(e, req.Items[i].Token, now)
		}
	}
	s.serve(now)
	s.mu.Unlock()
	return reply, nil
}

// unlockName gives a locked name back once, if it is the token's.
func (s *space) unlockName(e *entry, token string, now instant) bool {
	if e.shared == nil {
		switch {
		case e.token != token:
			return false
		case e.again > 0:
			e.again--
		default:
			s.removeLock(e, now)
		}
		return true
	}
	h := e.shared.find(token, now)
	switch {
	case h == nil:
		return false
	case h.again > 0:
		h.again--
	default:
		s.part(e, h, now)
	}
	return true
}

// RenewLocks sets the TTL of leases on names; see [backend.Locks], and Lock about replicas.
func (b *Backend) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	s, now, err := b.open(ctx, req.Namespace, cmp.Or(req.Validate(), sameTokens(req.Items)))
	if err != nil {
		return backend.RenewReply{}, fail("renew locks", req.Namespace, err)
	}
	s.catchUp(now)
	reply := backend.RenewReply{Renewed: cut(&s.bools, len(req.Items))}
	for i := range req.Items {
		it := &req.Items[i]
		e := s.find(it.Member)
		if e == nil || !e.locked(now) {
			continue
		}
		if e.shared != nil {
			h := e.shared.find(it.Token, now)
			if h != nil {
				s.moveShare(e, h, renewed(h.again, h.end, now.after(it.TTL)))
			}
			reply.Renewed[i] = h != nil
			continue
		}
		if e.token == it.Token {
			s.move(e, renewed(e.again, e.end, now.after(it.TTL)))
			reply.Renewed[i] = true
		}
	}
	s.finish(now)
	s.mu.Unlock()
	if err := replicated(req.Durability); err != nil {
		return reply, fail("renew locks", req.Namespace, err)
	}
	return reply, nil
}

// renewed is the end of a lease that is renewed until end: one that was granted again is not shortened.
func renewed(again int32, old, end instant) instant {
	if again > 0 {
		return max(old, end)
	}
	return end
}

// SetLimit sets the limit of a name; see [backend.Locks].
func (b *Backend) SetLimit(ctx context.Context, req backend.LimitRequest) error {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return fail("set limit", req.Namespace, err)
	}
	defer s.mu.Unlock()
	s.catchUp(now)
	if req.Limit == 0 {
		delete(s.limits, req.Name)
	} else {
		s.limits[req.Name] = req.Limit
	}
	if e := s.entries[req.Name]; e != nil {
		s.stir(e.line)
	}
	s.finish(now)
	return nil
}

// Holders looks at names; see [backend.Locks].
func (b *Backend) Holders(ctx context.Context, req backend.HoldersRequest) ([]backend.LockState, error) {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return nil, fail("holders", req.Namespace, err)
	}
	defer s.mu.Unlock()
	states := make([]backend.LockState, len(req.Names))
	for i, name := range req.Names {
		states[i] = s.lockState(name, now)
	}
	return states, nil
}

// lockState describes one name.
func (s *space) lockState(name string, now instant) backend.LockState {
	state := backend.LockState{Limit: s.limits[name]}
	e := s.entries[name]
	if e == nil {
		return state
	}
	if e.line != nil {
		state.Waiting = e.line.n
	}
	if !e.locked(now) {
		return state
	}
	state.Locked, state.TTL = true, now.left(e.end)
	if e.shared == nil {
		state.Owner = e.token
		return state
	}
	for _, h := range e.shared.byEnd {
		if h.end > now {
			state.Holders = append(state.Holders, backend.LockHolder{Token: h.token, Units: h.units, TTL: now.left(h.end)})
			state.Units += h.units
		}
	}
	return state
}

// replicated reports how many replicas are missing. There is none.
func replicated(d backend.Durability) error {
	if d.Replicas == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", backend.ErrUnsupported, &backend.ReplicasError{Want: d.Replicas})
}

// sameTokens refuses renewals with another token.
func sameTokens(items []backend.Renewal) error {
	for i := range items {
		if token := items[i].NewToken; token != "" {
			return &backend.InvalidError{Field: "new token", Value: strconv.Quote(token), Reason: "must be empty"}
		}
	}
	return nil
}
