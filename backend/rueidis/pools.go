package rueidis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// slice is the number of members of one call where a list is longer than can be one step anyway. It is smaller than
// backend.BatchLimit, so that loading a large pool holds up others for some tenths of a millisecond.
const slice = 100

// unique gives the names without repetitions, in the order of their first occurrence.
func unique(names []string) []string {
	seen := make(map[string]struct{}, len(names))
	for i, name := range names {
		if _, ok := seen[name]; ok {
			once := append(make([]string, 0, len(names)), names[:i]...)
			for _, name := range names[i:] {
				if _, ok := seen[name]; !ok {
					seen[name] = struct{}{}
					once = append(once, name)
				}
			}
			return once
		}
		seen[name] = struct{}{}
	}
	return names
}

// inSlices gives the steps in which a list is carried out: one, if it can be one.
func inSlices(list []string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		if len(list) <= backend.BatchLimit {
			yield(list)
			return
		}
		for len(list) > 0 {
			n := min(slice, len(list))
			if !yield(list[:n:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// ready checks a request and gives its namespace.
func (b *Backend) ready(ctx context.Context, op string, ns backend.Namespace, invalid error) (*space, error) {
	if invalid != nil {
		return nil, b.fail(context.WithoutCancel(ctx), op, ns, invalid)
	}
	sp, err := b.space(ns)
	if err != nil {
		return nil, b.fail(context.WithoutCancel(ctx), op, ns, err)
	}
	return sp, nil
}

// Extend implements [backend.Pools]: one round trip for each slice.
func (b *Backend) Extend(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	sp, err := b.ready(ctx, "extend", req.Namespace, req.Validate())
	if err != nil {
		return backend.EditReply{}, err
	}
	return sp.extend(ctx, req.Members, req.TTL)
}

func (sp *space) extend(ctx context.Context, members []string, ttl time.Duration) (reply backend.EditReply, err error) {
	if len(members) == 0 {
		return reply, sp.b.fail(ctx, "extend", sp.ns, ctx.Err())
	}
	seconds := seconds(ttl)
	for members := range inSlices(members) {
		counts, err := sp.counts(ctx, "extend", extendScript, 1, append([]string{seconds, newExpiry}, unique(members)...)...)
		if err != nil {
			return reply, err
		}
		reply.Added += counts[0]
	}
	return reply, nil
}

// Shrink implements [backend.Pools]: one round trip for each slice.
func (b *Backend) Shrink(ctx context.Context, req backend.ShrinkRequest) (backend.EditReply, error) {
	sp, err := b.ready(ctx, "shrink", req.Namespace, req.Validate())
	if err != nil {
		return backend.EditReply{}, err
	}
	return sp.shrink(ctx, req.Members)
}

func (sp *space) shrink(ctx context.Context, members []string) (reply backend.EditReply, err error) {
	if len(members) == 0 {
		return reply, sp.b.fail(ctx, "shrink", sp.ns, ctx.Err())
	}
	for members := range inSlices(members) {
		counts, err := sp.counts(ctx, "shrink", shrinkScript, 1, members...)
		if err != nil {
			return reply, err
		}
		reply.Removed += counts[0]
	}
	return reply, nil
}

// Assign implements [backend.Pools]: one round trip, unless the list or the pool is larger than
// [backend.BatchLimit].
func (b *Backend) Assign(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	sp, err := b.ready(ctx, "assign", req.Namespace, req.Validate())
	if err != nil {
		return backend.EditReply{}, err
	}
	if len(req.Members) <= backend.BatchLimit {
		args := append([]string{seconds(req.TTL), itoa(backend.BatchLimit)}, req.Members...)
		counts, err := sp.counts(ctx, "assign", assignScript, 2, args...)
		if err != nil {
			return backend.EditReply{}, err
		}
		if counts[0] >= 0 {
			return backend.EditReply{Added: counts[0], Removed: counts[1]}, nil
		}
	}
	return sp.assign(ctx, req.Members, req.TTL)
}

// assign adds what is new and then walks the pool to remove what is not in the list.
func (sp *space) assign(ctx context.Context, members []string, ttl time.Duration) (reply backend.EditReply, err error) {
	stays := make(map[string]struct{}, len(members))
	for _, m := range members {
		stays[m] = struct{}{}
	}
	seconds := seconds(ttl)
	for members := range inSlices(members) {
		counts, err := sp.counts(ctx, "assign", extendScript, 1, append([]string{seconds, keepExpiry}, unique(members)...)...)
		if err != nil {
			return reply, err
		}
		reply.Added += counts[0]
	}
	for cursor := "0"; ; {
		page, next, err := sp.walk(ctx, "assign", "HSCAN", cursor, slice)
		if err != nil {
			return reply, err
		}
		var goes []string
		for i := 0; i < len(page); i += 2 {
			if _, ok := stays[page[i]]; !ok {
				goes = append(goes, page[i])
			}
		}
		if len(goes) > 0 {
			removed, err := sp.shrink(ctx, goes)
			if err != nil {
				return reply, err
			}
			reply.Removed += removed.Removed
		}
		if cursor = next; cursor == "0" {
			return reply, nil
		}
	}
}

// What extend.lua does to those that are members already.
const (
	newExpiry  = "0"
	keepExpiry = "1"
)

// seconds gives the lifetime of a membership as the scripts take it: whole seconds, rounded up.
func seconds(ttl time.Duration) string {
	if ttl == backend.NoExpiry {
		return "-1"
	}
	return strconv.FormatInt((backend.Millis(ttl)+999)/1000, 10)
}

// counts runs a script that answers with n integers.
func (sp *space) counts(ctx context.Context, op string, script *rueidis.Lua, n int, args ...string) ([]int, error) {
	reply, err := sp.run(ctx, op, script, args...)
	if err != nil {
		return nil, err
	}
	list, err := reply.AsIntSlice()
	if err != nil || len(list) != n {
		return nil, sp.b.fail(ctx, op, sp.ns, unexpected(op, &reply))
	}
	counts := make([]int, len(list))
	for i, c := range list {
		counts[i] = int(c)
	}
	return counts, nil
}
