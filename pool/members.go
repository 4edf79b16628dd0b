package pool

import (
	"context"
	"iter"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// EditOption changes how members are added or given back.
type EditOption struct {
	memberTTL time.Duration
}

// MemberTTL is how long the members stay in the pool from now on, in whole seconds, rounded up; then they are dropped
// when somebody comes across them. backend.NoExpiry, the default: until they are removed.
func MemberTTL(d time.Duration) EditOption { return EditOption{memberTTL: d} }

func memberTTL(opts []EditOption) time.Duration {
	ttl := backend.NoExpiry
	for _, o := range opts {
		ttl = o.memberTTL
	}
	return ttl
}

// Extend adds members at the end of the free list, in their order. Those that are members already only get the new
// [MemberTTL]. A lock left over from an earlier life of a new member is removed. One round trip for each
// backend.BatchLimit keys; a single invalid key changes nothing.
func (a *Allocator[T]) Extend(ctx context.Context, keys []string, opts ...EditOption) error {
	return a.do("extend", func() error {
		_, err := a.be.Extend(ctx, a.edit(keys, opts))
		return err
	})
}

// Assign makes the keys the only members: others are removed as by Shrink, new ones are added as by Extend, and those
// that stay keep their state and their expiry. It goes by backend.BatchLimit keys; a long list is added first, then the
// others are removed.
func (a *Allocator[T]) Assign(ctx context.Context, keys []string, opts ...EditOption) error {
	return a.do("assign", func() error {
		_, err := a.be.Assign(ctx, a.edit(keys, opts))
		return err
	})
}

// Shrink removes members, free or not. Leases on them go on, and end in nothing. One round trip for each
// backend.BatchLimit keys.
func (a *Allocator[T]) Shrink(ctx context.Context, keys []string) error {
	return a.do("shrink", func() error {
		_, err := a.be.Shrink(ctx, backend.ShrinkRequest{Namespace: a.cfg.Namespace, Members: keys})
		return err
	})
}

// Clear removes all members, as Shrink does.
func (a *Allocator[T]) Clear(ctx context.Context) error {
	return a.do("clear", func() error {
		_, err := a.be.Assign(ctx, a.edit(nil, nil))
		return err
	})
}

func (a *Allocator[T]) edit(keys []string, opts []EditOption) backend.ExtendRequest {
	return backend.ExtendRequest{Namespace: a.cfg.Namespace, Members: keys, TTL: memberTTL(opts)}
}

// FreeKeys gives back members whoever holds them, and tells how many there were to give back. It is the
// administrator's way: their leases are lost, which the holders learn with the next renewal. [MemberTTL] becomes the
// new expiry of the members. One round trip for each backend.BatchLimit keys.
func (a *Allocator[T]) FreeKeys(ctx context.Context, keys []string, opts ...EditOption) (freed int, err error) {
	err = a.do("free", func() error {
		if err := checkKeys(keys); err != nil {
			return err
		}
		for len(keys) > 0 {
			n := min(len(keys), backend.BatchLimit)
			items := make([]backend.Held, n)
			for i, k := range keys[:n] {
				items[i].Member = k
			}
			keys = keys[n:]
			reply, err := a.be.Return(ctx, backend.ReturnRequest{
				Namespace: a.cfg.Namespace, Items: items, Force: true, MemberTTL: memberTTL(opts),
			})
			if err != nil {
				return err
			}
			for _, returned := range reply.Returned {
				if returned {
					freed++
				}
			}
		}
		return nil
	})
	return freed, err
}

// checkKeys looks at all keys before the first of several calls is made.
func checkKeys(keys []string) error {
	for _, k := range keys {
		if err := backend.ValidateMember(k); err != nil {
			return err
		}
	}
	return nil
}

// Keys lists all members, free or not, in no order, by pages of backend.BatchLimit. A pool that changes meanwhile may
// show a member twice; one that is in it from beginning to end is shown at least once. The sequence ends with the first
// error.
func (a *Allocator[T]) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		req := backend.InspectRequest{Namespace: a.cfg.Namespace, Limit: backend.BatchLimit}
		for {
			var page backend.InspectReply
			if err := a.do("list", func() (err error) {
				page, err = a.be.Inspect(ctx, req)
				return err
			}); err != nil {
				yield("", err)
				return
			}
			for i := range page.Members {
				if !yield(page.Members[i].Name, nil) {
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

// Len is how many members the pool has, free or not. One round trip.
func (a *Allocator[T]) Len(ctx context.Context) (int, error) {
	n := 0
	err := a.do("count", func() error {
		reply, err := a.be.Inspect(ctx, backend.InspectRequest{Namespace: a.cfg.Namespace, CountOnly: true})
		n = reply.Total
		return err
	})
	return n, err
}

// Contains reports whether all the keys are members, free or not. One round trip for each backend.BatchLimit keys.
func (a *Allocator[T]) Contains(ctx context.Context, keys ...string) (bool, error) {
	all := true
	err := a.do("look up", func() error {
		if err := checkKeys(keys); err != nil {
			return err
		}
		for len(keys) > 0 && all {
			n := min(len(keys), backend.BatchLimit)
			reply, err := a.be.Inspect(ctx, backend.InspectRequest{Namespace: a.cfg.Namespace, Only: keys[:n]})
			if err != nil {
				return err
			}
			found := make(map[string]bool, n)
			for i := range reply.Members {
				found[reply.Members[i].Name] = true
			}
			for _, k := range keys[:n] {
				all = all && found[k]
			}
			keys = keys[n:]
		}
		return nil
	})
	return all && err == nil, err
}

// GC looks at about n members, 1 to backend.BatchLimit, going on where the last collection in any process stopped: an
// allocated one without a lock is free again, an expired one is dropped, a free one with a lock is marked as taken.
// Leases that ran out need no collection; it is for what happened to the keys behind the pool's back. One round trip.
func (a *Allocator[T]) GC(ctx context.Context, n int) (backend.CollectReply, error) {
	var reply backend.CollectReply
	err := a.do("collect", func() (err error) {
		reply, err = a.be.Collect(ctx, backend.CollectRequest{Namespace: a.cfg.Namespace, Count: n})
		return err
	})
	if found := reply.Freed + reply.Dropped; err == nil && found > 0 {
		a.observe(backend.Event{Kind: backend.EventCollected, Namespace: a.cfg.Namespace, Count: found})
	}
	return reply, err
}

// Waiting is how many requests wait in line, in all processes. One round trip.
func (a *Allocator[T]) Waiting(ctx context.Context) (int, error) {
	reply, err := a.queue(ctx, "")
	return reply.Length, err
}

// Position is the place in line of the request that was made with the option [Token]: 1 is next, 0 means that it does
// not wait. One round trip.
func (a *Allocator[T]) Position(ctx context.Context, token string) (int, error) {
	if err := backend.ValidateToken(token); err != nil {
		return 0, a.fail("look at line", err)
	}
	reply, err := a.queue(ctx, token)
	return reply.Position, err
}

func (a *Allocator[T]) queue(ctx context.Context, token string) (reply backend.QueueReply, err error) {
	err = a.do("look at line", func() (err error) {
		reply, err = a.be.Queue(ctx, backend.QueueRequest{Namespace: a.cfg.Namespace, Token: token})
		return err
	})
	return reply, err
}

// do does something on an open pool.
func (a *Allocator[T]) do(op string, f func() error) error {
	if a.closed.Load() {
		return a.fail(op, backend.ErrClosed)
	}
	return a.fail(op, f())
}
