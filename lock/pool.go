package lock

import (
	"context"
	"fmt"
	"iter"

	"github.com/redisallocator/redisallocator/backend"
)

// PoolBackend is what a [Pool] needs of a backend. Every backend.Backend has it.
type PoolBackend interface {
	KeysBackend
	backend.Sets
}

// Pool is a set of names that are locked one by one: Python's RedisLockPool (with suffix "lock-pool" there) and
// ThreadLockPool, on the same keys. It knows its members and how they stand. To take any member that is free, in turn
// and under a lease, use package pool, which must have a namespace of its own.
//
// It is safe for concurrent use and holds nothing that must be closed. Members are UTF-8 without NUL, not empty;
// what is not gets a backend.InvalidError before anything is sent. A list of more than backend.BatchLimit members is
// sent in slices, each of them one step.
type Pool struct {
	be   PoolBackend
	keys *Keys
}

// NewPool gives the pool of a namespace. It sends nothing. What is wrong with its arguments is said by each call.
func NewPool(be PoolBackend, ns backend.Namespace) *Pool {
	return &Pool{be: be, keys: NewKeys(be, ns)}
}

// Locks are the locks of the namespace, with which members are locked and unlocked: those of a [Mutex] with the name of
// a member are the same. They know nothing of the membership.
func (p *Pool) Locks() *Keys { return p.keys }

// Extend makes the names members and tells how many were not. One round trip.
func (p *Pool) Extend(ctx context.Context, names []string) (added int, err error) {
	req := backend.SetEdit{Namespace: p.keys.ns, Names: names}
	if err := p.keys.check(req.Validate()); err != nil {
		return 0, fmt.Errorf("extend pool: %w", err)
	}
	if added, err = p.be.Add(ctx, req); err != nil {
		return added, fmt.Errorf("extend pool: %w", err)
	}
	return added, nil
}

// Shrink ends the membership of names and tells how many were members. Their locks stay. One round trip.
func (p *Pool) Shrink(ctx context.Context, names []string) (removed int, err error) {
	req := backend.SetEdit{Namespace: p.keys.ns, Names: names}
	if err := p.keys.check(req.Validate()); err != nil {
		return 0, fmt.Errorf("shrink pool: %w", err)
	}
	if removed, err = p.be.Remove(ctx, req); err != nil {
		return removed, fmt.Errorf("shrink pool: %w", err)
	}
	return removed, nil
}

// Assign makes the names the only members. The locks of those that were members stay. One round trip.
func (p *Pool) Assign(ctx context.Context, names []string) error {
	req := backend.SetEdit{Namespace: p.keys.ns, Names: names}
	err := p.keys.check(req.Validate())
	if err == nil {
		err = p.be.Replace(ctx, req)
	}
	if err != nil {
		return fmt.Errorf("assign pool: %w", err)
	}
	return nil
}

// Clear ends the membership of all. Their locks stay. One round trip.
func (p *Pool) Clear(ctx context.Context) error { return p.Assign(ctx, nil) }

// Keys lists the members, each once, in no order: one round trip for each backend.BatchLimit of them. Who is a member
// from the first to the last page is listed. The sequence ends with the first error.
func (p *Pool) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for s, err := range p.walk(ctx, false) {
			if !yield(s.Name, err) {
				return
			}
		}
	}
}

// States lists the members and how each of them stands, as [Pool.Keys] does: in one step for each page, so that up to
// backend.BatchLimit members are seen as they were at one moment. A member whose lock is no string is locked and has no
// value.
func (p *Pool) States(ctx context.Context) iter.Seq2[KeyState, error] { return p.walk(ctx, true) }

// Counts tells how many members are locked and how many are free: one round trip for each backend.BatchLimit of them.
// Python's health_check.
func (p *Pool) Counts(ctx context.Context) (locked, free int, err error) {
	for s, err := range p.walk(ctx, true) {
		switch {
		case err != nil:
			return 0, 0, err
		case s.Locked:
			locked++
		default:
			free++
		}
	}
	return locked, free, nil
}

// Len tells how many members there are. One round trip.
func (p *Pool) Len(ctx context.Context) (int, error) {
	reply, err := p.members(ctx, backend.MembersRequest{Limit: 1})
	return reply.Total, err
}

// Contains reports whether name is a member. One round trip.
func (p *Pool) Contains(ctx context.Context, name string) (bool, error) {
	reply, err := p.members(ctx, backend.MembersRequest{Among: []string{name}})
	return len(reply.Names) == 1, err
}

// walk lists the members, with the state of their locks if that is wanted.
func (p *Pool) walk(ctx context.Context, locks bool) iter.Seq2[KeyState, error] {
	return func(yield func(KeyState, error) bool) {
		listed := make(map[string]struct{}) // pages may overlap
		req := backend.MembersRequest{Locks: locks}
		for {
			page, err := p.members(ctx, req)
			if err != nil {
				yield(KeyState{}, err)
				return
			}
			for i, name := range page.Names {
				if _, twice := listed[name]; twice {
					continue
				}
				listed[name] = struct{}{}
				s := KeyState{Name: name}
				if locks {
					s = keyState(name, page.Locks[i])
				}
				if !yield(s, nil) {
					return
				}
			}
			if page.Cursor == "" {
				return
			}
			req.Cursor = page.Cursor
		}
	}
}

func (p *Pool) members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	req.Namespace = p.keys.ns
	err := p.keys.check(req.Validate())
	var reply backend.MembersReply
	if err == nil {
		reply, err = p.be.Members(ctx, req)
	}
	if err == nil && req.Locks && len(reply.Locks) != len(reply.Names) {
		err = fmt.Errorf("backend tells of %d locks of %d members", len(reply.Locks), len(reply.Names))
	}
	if err != nil {
		return backend.MembersReply{}, fmt.Errorf("look at pool: %w", err)
	}
	return reply, nil
}
