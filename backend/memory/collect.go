package memory

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Collect looks at some members and puts right what it finds; see [backend.Pools].
func (b *Backend) Collect(ctx context.Context, req backend.CollectRequest) (backend.CollectReply, error) {
	s, now, err := b.openPool(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.CollectReply{}, fail("collect", req.Namespace, err)
	}
	defer s.mu.Unlock()
	freed, dropped := s.lapse(now)
	reply := s.collect(now, req.Count)
	reply.Freed += freed
	reply.Dropped += dropped
	s.serve(now)
	return reply, nil
}

// collect visits n members, going round, each once at most.
func (s *space) collect(now instant, n int) (reply backend.CollectReply) {
	o := &s.members
	o.tidy()
	i := 0
	if n < o.len() {
		i = o.find(o.collected)
	} else {
		n = o.len()
	}
	for n > 0 {
		if i == len(o.places) {
			i = 0
		}
		e := o.places[i].e
		i++
		if e == nil {
			continue
		}
		n--
		switch {
		case s.expired(e, now):
			s.drop(e, now)
			reply.Dropped++
		case e.locked(now):
			if s.isFree(e) {
				s.allocate(e)
				s.watch(e)
				reply.Locked++
			}
		case !s.isFree(e):
			s.giveBack(e, now)
			reply.Freed++
		}
	}
	o.collected = 0
	if i < len(o.places) {
		o.collected = o.places[i].seq
	}
	return reply
}
