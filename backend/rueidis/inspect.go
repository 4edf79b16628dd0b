package rueidis

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// Inspect implements [backend.Pools]: one round trip.
func (b *Backend) Inspect(ctx context.Context, req backend.InspectRequest) (backend.InspectReply, error) {
	sp, err := b.ready(ctx, "inspect", req.Namespace, req.Validate())
	if err != nil {
		return backend.InspectReply{}, err
	}
	argv := []string{sp.head[0]}
	switch {
	case len(req.Only) > 0:
		argv = append(append(argv, "only"), req.Only...)
	case req.CountOnly:
		argv = append(argv, "count")
	case req.Limit > 0:
		cursor, err := pageCursor(req.Cursor)
		if err != nil {
			return backend.InspectReply{}, b.fail(ctx, "inspect", sp.ns, err)
		}
		argv = append(argv, "page", cursor, itoa(req.Limit))
	default:
		argv = append(argv, "all")
	}
	keys := []string{sp.keys[0], sp.keys[1], sp.keys[2], sp.keys[3], sp.keys[5]}
	reply, err := b.exec(ctx, "inspect", sp.ns, inspectScript, with(keys, sp.none...), argv)
	if err != nil {
		return backend.InspectReply{}, err
	}
	got, err := decodeInspect(&reply)
	return got, b.fail(ctx, "inspect", sp.ns, err)
}

func decodeInspect(m *rueidis.RedisMessage) (reply backend.InspectReply, err error) {
	list, err := m.ToArray()
	if err != nil || len(list) < 6 {
		return reply, unexpected("inspect", m)
	}
	var total, waiting, now int64
	for i, to := range []any{&reply.Head, &reply.Tail, &reply.Cursor, &total, &waiting, &now} {
		if err := into(&list[i], to); err != nil {
			return backend.InspectReply{}, unexpected("inspect", m)
		}
	}
	reply.Total, reply.Waiting = int(total), int(waiting)
	list = list[6:]
	reply.Members = make([]backend.MemberState, len(list))
	for i := range list {
		if err := decodeMember(&reply.Members[i], &list[i]); err != nil {
			return backend.InspectReply{}, err
		}
	}
	return reply, nil
}

// into reads a message into a string or a number.
func into(m *rueidis.RedisMessage, to any) (err error) {
	switch to := to.(type) {
	case *string:
		*to, err = m.ToString()
	case *int64:
		*to, err = m.AsInt64()
	}
	return err
}

// forever is the least score of a lease without end in the index of leases, see constants.lua.
const forever = 1e15

// decodeMember reads {name, prev, next, expiry, owner or nil, PTTL, deadline or nil}.
func decodeMember(state *backend.MemberState, m *rueidis.RedisMessage) error {
	list, err := m.ToArray()
	if err != nil || len(list) != 7 {
		return unexpected("inspect", m)
	}
	var expiry string
	var left int64
	for i, to := range map[int]any{0: &state.Name, 1: &state.Prev, 2: &state.Next, 3: &expiry, 5: &left} {
		if err := into(&list[i], to); err != nil {
			return unexpected("inspect", m)
		}
	}
	if s, err := strconv.ParseFloat(expiry, 64); err == nil && s > 0 && s < forever {
		state.Expiry = time.Unix(int64(s), 0)
	}
	if !list[4].IsNil() {
		if err := into(&list[4], &state.Owner); err != nil {
			return unexpected("inspect", m)
		}
		state.Locked = true
		state.TTL = remaining(left)
	}
	if !list[6].IsNil() {
		score, err := list[6].AsFloat64()
		if err != nil {
			return unexpected("inspect", m)
		}
		if score < forever {
			state.Deadline = time.UnixMilli(int64(score))
		}
	}
	return nil
}

// remaining reads what PTTL answers.
func remaining(ms int64) time.Duration {
	switch {
	case ms == -1:
		return backend.NoExpiry
	case ms < 0:
		return 0
	case ms > math.MaxInt64/int64(time.Millisecond): // the longest duration, rounded up
		return math.MaxInt64
	default:
		return time.Duration(ms) * time.Millisecond
	}
}
