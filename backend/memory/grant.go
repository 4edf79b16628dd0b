package memory

import "github.com/redisallocator/redisallocator/backend"

// lockNames grants all names of a request, or none. Those who wait with a lower priority than the given one are
// overtaken. What has to reach replicas fails where it would be granted, because there are none.
func (s *space) lockNames(now instant, req *backend.LockRequest, priority int) ([]backend.Grant, error) {
	var room [4]*entry
	names := room[:0]
	for i := range req.Items {
		e := s.find(req.Items[i].Name)
		if !s.obtainable(e, &req.Items[i], req, priority, now) {
			return nil, nil
		}
		names = append(names, e)
	}
	if err := replicated(req.Durability); err != nil {
		return nil, err
	}
	grants, end := cut(&s.grants, len(names)), now.after(req.TTL)
	for i, e := range names {
		it, g := &req.Items[i], &grants[i]
		if e == nil {
			e = s.newEntry(it.Name)
		}
		g.Member, g.Token, g.TTL, g.Fence = it.Name, req.Token, req.TTL, s.nextFence(now)
		if it.Units > 0 {
			s.share(e, it, req, end, g.Fence, now)
		} else {
			s.take(e, req.Token, end, now)
		}
	}
	return grants, nil
}

// obtainable reports whether a name, which has no entry yet if e is nil, can be granted.
func (s *space) obtainable(e *entry, it *backend.LockItem, req *backend.LockRequest, priority int, now instant) bool {
	if e == nil {
		return !req.Downgrade
	}
	held, open := e.locked(now), e.line == nil || !e.line.blocks(priority)
	switch {
	case req.Downgrade:
		return held && e.heldBy(req.Token)
	case !held:
		return open && s.room(it, 0)
	case it.Units == 0:
		return req.Again && e.heldBy(req.Token)
	case e.shared == nil:
		return false
	}
	if h := e.shared.find(req.Token, now); h != nil {
		return req.Again && h.units == it.Units
	}
	e.shared.lapse(now)
	return open && s.room(it, e.shared.units)
}

// room reports whether so many units of a name can be had together with those that are held. Who has waited may have
// come with another limit than the name has by now.
func (s *space) room(it *backend.LockItem, held int) bool {
	if it.Units == 0 {
		return true
	}
	limit := s.limits[it.Name]
	if limit == 0 {
		limit = it.Limit
	}
	return limit == 0 || held+it.Units <= limit
}

// take makes a name the token's alone, or once more.
func (s *space) take(e *entry, token string, end, now instant) {
	if e.locked(now) {
		e.again++
		s.move(e, max(e.end, end))
		return
	}
	s.lock(e, token, end)
	s.recent = e
}

// share gives the token units of a name, or once more those that it has.
func (s *space) share(e *entry, it *backend.LockItem, req *backend.LockRequest, end instant, fence int64, now instant) {
	hs, again := &holders{}, int32(0)
	switch {
	case req.Downgrade:
		if again = e.again; again > 0 {
			end = max(e.end, end)
		}
	case e.locked(now):
		hs = e.shared
		if h := hs.find(req.Token, now); h != nil {
			h.again++
			s.moveShare(e, h, max(h.end, end))
			return
		}
	}
	hs.add(&holder{token: req.Token, units: it.Units, end: end, again: again, fence: fence})
	s.lockShared(e, hs)
	if it.Limit > 0 && s.limits[it.Name] == 0 {
		s.limits[it.Name] = it.Limit
	}
}

// lockShared makes the lock of e that of its holders, who have changed.
func (s *space) lockShared(e *entry, hs *holders) {
	s.lock(e, backend.SharedToken, hs.last())
	e.shared = hs
}

// moveShare gives the lease of one holder another end.
func (s *space) moveShare(e *entry, h *holder, end instant) {
	hs := e.shared
	hs.move(h, end)
	h.claim = false
	s.lockShared(e, hs)
}

// part ends the lease of one holder.
func (s *space) part(e *entry, h *holder, now instant) {
	hs := e.shared
	hs.lapse(now)
	hs.remove(h)
	if len(hs.byEnd) == 0 {
		s.removeLock(e, now)
		return
	}
	s.lockShared(e, hs)
}

// checkLimits refuses a request that believes in another limit than the one that was set.
func (s *space) checkLimits(req *backend.LockRequest) error {
	for i := range req.Items {
		it := &req.Items[i]
		if it.Units == 0 {
			continue
		}
		if limit := s.limits[it.Name]; limit != 0 && limit != it.Limit {
			return &backend.LimitError{Name: it.Name, Asked: it.Limit, Stored: limit}
		}
	}
	return nil
}
