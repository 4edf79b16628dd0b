package rueidis

import (
	"cmp"
	"context"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// Add implements [backend.Sets]: one round trip for each slice.
func (b *Backend) Add(ctx context.Context, req backend.SetEdit) (int, error) {
	sp, err := b.ready(ctx, "add", req.Namespace, req.Validate())
	if err != nil {
		return 0, err
	}
	return sp.edit(ctx, "add", "SADD", req.Names)
}

// Remove implements [backend.Sets]: one round trip for each slice.
func (b *Backend) Remove(ctx context.Context, req backend.SetEdit) (int, error) {
	sp, err := b.ready(ctx, "remove", req.Namespace, req.Validate())
	if err != nil {
		return 0, err
	}
	return sp.edit(ctx, "remove", "SREM", req.Names)
}

func (sp *space) edit(ctx context.Context, op, command string, names []string) (n int, err error) {
	if len(names) == 0 {
		return 0, sp.b.fail(ctx, op, sp.ns, ctx.Err())
	}
	for names := range inSlices(names) {
		c := sp.b.client
		reply, err := sp.do(ctx, op, func() rueidis.Completed {
			return c.B().Arbitrary(command).Keys(sp.keys[0]).Args(names...).Build()
		})
		if err != nil {
			return n, err
		}
		var changed int64
		if err := into(&reply, &changed); err != nil {
			return n, sp.b.fail(ctx, op, sp.ns, unexpected(op, &reply))
		}
		n += int(changed)
	}
	return n, nil
}

// Replace implements [backend.Sets]: one round trip, unless the list is longer than [backend.BatchLimit]; then
// what is new is added first, and what is not in the list removed afterwards.
func (b *Backend) Replace(ctx context.Context, req backend.SetEdit) error {
	sp, err := b.ready(ctx, "replace", req.Namespace, req.Validate())
	if err != nil {
		return err
	}
	if len(req.Names) <= backend.BatchLimit {
		_, err := b.exec(ctx, "replace", sp.ns, replaceScript, sp.keys[:1], req.Names)
		return err
	}
	if _, err := sp.edit(ctx, "replace", "SADD", req.Names); err != nil {
		return err
	}
	stays := make(map[string]struct{}, len(req.Names))
	for _, name := range req.Names {
		stays[name] = struct{}{}
	}
	for cursor := "0"; ; {
		page, next, err := sp.walk(ctx, "replace", "SSCAN", cursor, slice)
		if err != nil {
			return err
		}
		goes := page[:0]
		for _, name := range page {
			if _, ok := stays[name]; !ok {
				goes = append(goes, name)
			}
		}
		if len(goes) > 0 {
			if _, err := sp.edit(ctx, "replace", "SREM", goes); err != nil {
				return err
			}
		}
		if cursor = next; cursor == "0" {
			return nil
		}
	}
}

// Members implements [backend.Sets]: one round trip.
func (b *Backend) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	sp, err := b.ready(ctx, "members", req.Namespace, req.Validate())
	if err != nil {
		return backend.MembersReply{}, err
	}
	cursor, err := pageCursor(req.Cursor)
	if err != nil {
		return backend.MembersReply{}, b.fail(ctx, "members", sp.ns, err)
	}
	argv := make([]string, 0, 4+len(req.Among))
	argv = append(argv, sp.ns.LockPrefix(), flag(req.Locks), cursor, itoa(cmp.Or(req.Limit, backend.BatchLimit)))
	argv = append(argv, req.Among...)
	reply, err := b.exec(ctx, "members", sp.ns, membersScript, with(sp.keys[:1], sp.none...), argv)
	if err != nil {
		return backend.MembersReply{}, err
	}
	got, err := decodeMembers(&reply, req.Locks)
	if n := len(req.Among); err == nil && n > 0 && len(got.Names) > n {
		got, err = backend.MembersReply{}, unexpected("members", &reply)
	}
	return got, b.fail(ctx, "members", sp.ns, err)
}

// decodeMembers reads {cursor, total, name...}, or {cursor, total, name, value or nil, PTTL, ...}.
func decodeMembers(m *rueidis.RedisMessage, locks bool) (reply backend.MembersReply, err error) {
	list, err := m.ToArray()
	step := 1
	if locks {
		step = 3
	}
	if err != nil || len(list) < 2 || (len(list)-2)%step != 0 {
		return reply, unexpected("members", m)
	}
	var total int64
	if into(&list[0], &reply.Cursor) != nil || into(&list[1], &total) != nil {
		return backend.MembersReply{}, unexpected("members", m)
	}
	reply.Total = int(total)
	for list = list[2:]; len(list) > 0; list = list[step:] {
		var name string
		if into(&list[0], &name) != nil {
			return backend.MembersReply{}, unexpected("members", m)
		}
		reply.Names = append(reply.Names, name)
		if !locks {
			continue
		}
		lock, err := decodeLock(&list[1], &list[2])
		if err != nil {
			return backend.MembersReply{}, unexpected("members", m)
		}
		reply.Locks = append(reply.Locks, lock)
	}
	return reply, nil
}

// decodeLock reads the value of a lock, nil if it is no string, and what PTTL says of it.
func decodeLock(value, left *rueidis.RedisMessage) (lock backend.Value, err error) {
	var ms int64
	if err := into(left, &ms); err != nil {
		return lock, err
	}
	if !value.IsNil() {
		if err := into(value, &lock.Value); err != nil {
			return lock, err
		}
	} else if ms == -2 {
		return lock, nil
	}
	lock.Exists, lock.TTL = true, remaining(ms)
	return lock, nil
}

// walk gives one page of the pool or the set: HSCAN lists names and values in turns, SSCAN names.
func (sp *space) walk(ctx context.Context, op, command, cursor string, limit int) (page []string, next string, err error) {
	c := sp.b.client
	reply, err := sp.do(ctx, op, func() rueidis.Completed {
		return c.B().Arbitrary(command).Keys(sp.keys[0]).Args(cursor, "COUNT", itoa(limit)).Build()
	})
	if err != nil {
		return nil, "", err
	}
	page, next, err = decodePage(&reply)
	return page, next, sp.b.fail(ctx, op, sp.ns, err)
}

func decodePage(m *rueidis.RedisMessage) (page []string, next string, err error) {
	list, err := m.ToArray()
	if err != nil || len(list) != 2 {
		return nil, "", unexpected("page", m)
	}
	if err := into(&list[0], &next); err != nil {
		return nil, "", unexpected("page", m)
	}
	if page, err = list[1].AsStrSlice(); err != nil {
		return nil, "", unexpected("page", m)
	}
	return page, next, nil
}

// do sends one command. The error is complete.
func (sp *space) do(ctx context.Context, op string, command func() rueidis.Completed) (rueidis.RedisMessage, error) {
	reply, err := await(ctx, sp.b, func(ctx context.Context) (rueidis.RedisMessage, error) {
		return sp.b.client.Do(ctx, command()).ToMessage()
	})
	return reply, sp.b.fail(ctx, op, sp.ns, err)
}
