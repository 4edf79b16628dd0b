package memory

import (
	"context"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Inspect looks at the pool and changes nothing; see [backend.Pools]. Members come in the order in which they joined,
// or in that of the request.
func (b *Backend) Inspect(ctx context.Context, req backend.InspectRequest) (backend.InspectReply, error) {
	err := req.Validate()
	from := uint64(0)
	if err == nil && req.Cursor != "" {
		if from, err = strconv.ParseUint(req.Cursor, 10, 64); err != nil {
			err = &backend.InvalidError{Field: "cursor", Value: strconv.Quote(req.Cursor), Reason: "came from no reply"}
		}
	}
	s, now, err := b.openPool(ctx, req.Namespace, err)
	if err != nil {
		return backend.InspectReply{}, fail("inspect", req.Namespace, err)
	}
	defer s.mu.Unlock()
	reply := backend.InspectReply{
		Head: nameOf(s.free.head), Tail: nameOf(s.free.tail),
		Total: s.members.len(), Waiting: s.line.n,
	}
	switch {
	case req.CountOnly:
	case len(req.Only) > 0:
		for _, name := range req.Only {
			if e := s.entries[name]; e != nil && e.member {
				reply.Members = append(reply.Members, s.state(e, now))
			}
		}
	default:
		reply.Members, reply.Cursor = s.states(from, req.Limit, now)
	}
	return reply, nil
}

// states describes up to limit members, or all, from a number on.
func (s *space) states(from uint64, limit int, now instant) (states []backend.MemberState, cursor string) {
	if limit == 0 {
		from, limit = 0, s.members.len()
	}
	states = make([]backend.MemberState, 0, min(limit, s.members.len()))
	places := s.members.places
	for i := s.members.find(from); i < len(places); i++ {
		if places[i].e == nil {
			continue
		}
		if len(states) == limit {
			return states, strconv.FormatUint(places[i].seq, 10)
		}
		states = append(states, s.state(places[i].e, now))
	}
	return states, ""
}

// state describes one member.
func (s *space) state(e *entry, now instant) backend.MemberState {
	m := backend.MemberState{Name: e.name, Prev: backend.Allocated, Next: backend.Allocated}
	if s.isFree(e) {
		m.Prev, m.Next = nameOf(e.prev), nameOf(e.next)
	}
	if e.expiry != noExpiry {
		m.Expiry = time.Unix(e.expiry, 0)
	}
	if e.locked(now) {
		m.Locked, m.Owner, m.TTL = true, e.token, now.left(e.end)
	}
	if e.leased && e.deadline != never {
		m.Deadline = s.clock.time(e.deadline)
	}
	return m
}

// nameOf names a neighbour; there is none at the ends.
func nameOf(e *entry) string {
	if e == nil {
		return ""
	}
	return e.name
}
