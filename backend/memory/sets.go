package memory

import (
	"context"
	"maps"

	"github.com/redisallocator/redisallocator/backend"
)

// openSet is open for what works on the set of a namespace, which on Redis is the same key as its pool.
func (b *Backend) openSet(ctx context.Context, ns backend.Namespace, invalid error) (*space, instant, error) {
	s, now, err := b.open(ctx, ns, invalid)
	if err == nil && s.members.len() > 0 {
		s.mu.Unlock()
		err = backend.ErrWrongType
	}
	return s, now, err
}

// Add makes names members; see [backend.Sets].
func (b *Backend) Add(ctx context.Context, req backend.SetEdit) (int, error) {
	s, _, err := b.openSet(ctx, req.Namespace, req.Validate())
	if err != nil {
		return 0, fail("add", req.Namespace, err)
	}
	defer s.mu.Unlock()
	before := len(s.set)
	for _, name := range req.Names {
		s.set[name] = struct{}{}
	}
	return len(s.set) - before, nil
}

// Remove ends the membership of names; see [backend.Sets].
func (b *Backend) Remove(ctx context.Context, req backend.SetEdit) (int, error) {
	s, _, err := b.openSet(ctx, req.Namespace, req.Validate())
	if err != nil {
		return 0, fail("remove", req.Namespace, err)
	}
	defer s.mu.Unlock()
	before := len(s.set)
	for _, name := range req.Names {
		delete(s.set, name)
	}
	return before - len(s.set), nil
}

// Replace makes names the only members; see [backend.Sets].
func (b *Backend) Replace(ctx context.Context, req backend.SetEdit) error {
	s, _, err := b.openSet(ctx, req.Namespace, req.Validate())
	if err != nil {
		return fail("replace", req.Namespace, err)
	}
	defer s.mu.Unlock()
	s.set = make(map[string]struct{}, len(req.Names))
	for _, name := range req.Names {
		s.set[name] = struct{}{}
	}
	return nil
}

// Members lists members; see [backend.Sets]. They come in alphabetical order, or in that of the request.
func (b *Backend) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	s, now, err := b.openSet(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.MembersReply{}, fail("members", req.Namespace, err)
	}
	defer s.mu.Unlock()
	reply := backend.MembersReply{Total: len(s.set)}
	if len(req.Among) > 0 {
		for _, name := range req.Among {
			if _, ok := s.set[name]; ok {
				reply.Names = append(reply.Names, name)
			}
		}
	} else {
		limit := req.Limit
		if limit == 0 {
			limit = backend.BatchLimit
		}
		reply.Names, reply.Cursor = page(maps.Keys(s.set), req.Cursor, limit)
	}
	if req.Locks {
		reply.Locks = s.values(backend.KindLock, reply.Names, now)
	}
	return reply, nil
}
