package memory

import (
	"context"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// Extend adds members; see [backend.Pools].
func (b *Backend) Extend(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	reply, err := b.extend(ctx, &req, true)
	if err != nil {
		return reply, fail("extend", req.Namespace, err)
	}
	return reply, nil
}

// extend adds members slice by slice, so that others get their turn while a long list is added.
func (b *Backend) extend(ctx context.Context, req *backend.ExtendRequest, touch bool) (backend.EditReply, error) {
	var reply backend.EditReply
	err := req.Validate()
	for rest := req.Members; ; {
		s, now, err := b.openPool(ctx, req.Namespace, err)
		if err != nil {
			return reply, err
		}
		n := min(len(rest), backend.BatchLimit)
		reply.Added += s.extend(rest[:n], s.expiryAfter(now, req.TTL), now, touch)
		s.serve(now)
		s.mu.Unlock()
		if rest = rest[n:]; len(rest) == 0 {
			return reply, nil
		}
	}
}

// extend adds members to the pool. Those that are there already get the new expiry if touch is set.
func (s *space) extend(members []string, expiry int64, now instant, touch bool) (added int) {
	for _, name := range members {
		e := s.entry(name)
		if e.member {
			if touch {
				e.expiry = expiry
			}
			continue
		}
		s.unlock(e)
		s.endLease(e)
		e.member, e.expiry = true, expiry
		s.members.add(e)
		s.free.push(e)
		added++
	}
	return added
}

// Shrink removes members; see [backend.Pools].
func (b *Backend) Shrink(ctx context.Context, req backend.ShrinkRequest) (backend.EditReply, error) {
	var reply backend.EditReply
	err := req.Validate()
	for rest := req.Members; ; {
		s, now, err := b.openPool(ctx, req.Namespace, err)
		if err != nil {
			return reply, fail("shrink", req.Namespace, err)
		}
		n := min(len(rest), backend.BatchLimit)
		for _, name := range rest[:n] {
			if e := s.entries[name]; e != nil && e.member {
				s.drop(e, now)
				reply.Removed++
			}
		}
		s.mu.Unlock()
		if rest = rest[n:]; len(rest) == 0 {
			return reply, nil
		}
	}
}

// Assign makes the members the only ones; see [backend.Pools].
func (b *Backend) Assign(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	s, now, err := b.openPool(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.EditReply{}, fail("assign", req.Namespace, err)
	}
	if len(req.Members) <= backend.BatchLimit && s.members.len() <= backend.BatchLimit {
		defer s.mu.Unlock()
		var reply backend.EditReply
		reply.Removed, _ = s.keep(nameSet(req.Members), 0, s.members.last, now)
		reply.Added = s.extend(req.Members, s.expiryAfter(now, req.TTL), now, false)
		s.serve(now)
		return reply, nil
	}
	last := s.members.last // who joins later is none of ours
	s.mu.Unlock()
	reply, err := b.assignSliced(ctx, &req, last)
	if err != nil {
		return reply, fail("assign", req.Namespace, err)
	}
	return reply, nil
}

// assignSliced first extends and then shrinks the pool, letting go of it in between.
func (b *Backend) assignSliced(ctx context.Context, req *backend.ExtendRequest, last uint64) (backend.EditReply, error) {
	reply, err := b.extend(ctx, req, false)
	if err != nil {
		return reply, err
	}
	names := nameSet(req.Members)
	for seq := uint64(1); seq <= last; {
		s, now, err := b.openPool(ctx, req.Namespace, nil)
		if err != nil {
			return reply, err
		}
		var removed int
		removed, seq = s.keep(names, seq, last, now)
		reply.Removed += removed
		s.mu.Unlock()
	}
	return reply, nil
}

// keep looks at a slice of the members numbered from first to last, removes those that are not among the names, and
// tells with which number the next slice begins.
func (s *space) keep(names map[string]struct{}, first, last uint64, now instant) (removed int, next uint64) {
	s.members.tidy()
	places := s.members.places[s.members.find(first):]
	places = places[:min(len(places), backend.BatchLimit)]
	next = last + 1
	for i := range places {
		p := &places[i]
		if p.seq > last {
			return removed, next
		}
		if p.e == nil {
			continue
		}
		if _, ok := names[p.e.name]; !ok {
			s.drop(p.e, now)
			removed++
		}
	}
	if len(places) == backend.BatchLimit {
		next = places[len(places)-1].seq + 1
	}
	return removed, next
}

func nameSet(names []string) map[string]struct{} {
	set := make(map[string]struct{}, len(names))
	for name := range slices.Values(names) {
		set[name] = struct{}{}
	}
	return set
}
