package backendtest_test

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// mine gives what a token holds, alone or shared.
func (v *value) mine(token string) *value {
	switch {
	case v == nil:
		return nil
	case v.holders != nil:
		return v.holders[token]
	case v.text == token:
		return v
	}
	return nil
}

func (s *mapStore) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	if err := s.begin(ctx, &req); err != nil {
		return backend.LockReply{}, err
	}
	defer s.mu.Unlock()
	if req.Durability.Replicas > 0 {
		return backend.LockReply{}, backend.ErrUnsupported
	}
	for _, it := range req.Items {
		if ok, err := s.grants(&req, it); !ok || err != nil {
			return backend.LockReply{}, err
		}
	}
	var reply backend.LockReply
	for _, it := range req.Items {
		s.grant(&req, it)
		s.fence++
		reply.Grants = append(reply.Grants, backend.Grant{Member: it.Name, Token: req.Token, Fence: s.fence, TTL: req.TTL})
	}
	return reply, nil
}

// grants reports whether a name can be had.
func (s *mapStore) grants(req *backend.LockRequest, it backend.LockItem) (bool, error) {
	key := req.Namespace.Lock(it.Name)
	v, limit := s.find(key), s.limits[key]
	shared := v != nil && v.holders != nil
	if it.Units > 0 && it.Limit != limit && (limit > 0 || shared) && (v == nil || shared) {
		return false, &backend.LimitError{Name: it.Name, Asked: it.Limit, Stored: limit}
	}
	mine := v.mine(req.Token)
	switch {
	case req.Downgrade:
		return mine != nil && !shared, nil
	case mine != nil:
		return req.Again && mine.units == it.Units, nil
	case it.Units == 0:
		return v == nil, nil
	}
	return v == nil || shared && (limit == 0 || v.units+it.Units <= limit), nil
}

// grant gives what can be had.
func (s *mapStore) grant(req *backend.LockRequest, it backend.LockItem) {
	key := req.Namespace.Lock(it.Name)
	v := s.find(key)
	mine := v.mine(req.Token)
	switch {
	case mine != nil && !req.Downgrade:
		mine.again++
		mine.end = max(mine.end, s.after(req.TTL))
		return
	case it.Units == 0:
		s.values[key] = &value{text: req.Token, end: s.after(req.TTL)}
		return
	case v == nil || req.Downgrade:
		v = &value{text: backend.SharedToken, end: never, holders: make(map[string]*value)}
		s.values[key] = v
	}
	h := &value{text: req.Token, end: s.after(req.TTL), units: it.Units}
	if mine != nil {
		h.again = mine.again
	}
	v.holders[req.Token] = h
	if it.Limit > 0 {
		s.limits[key] = it.Limit
	}
}

func (s *mapStore) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	if err := s.begin(ctx, &req); err != nil {
		return backend.UnlockReply{}, err
	}
	defer s.mu.Unlock()
	var reply backend.UnlockReply
	for _, it := range req.Items {
		key := req.Namespace.Lock(it.Member)
		v := s.find(key)
		mine := v.mine(it.Token)
		switch {
		case !req.Force && mine != nil && mine.again > 0:
			mine.again--
		case !req.Force && mine != nil && v.holders != nil:
			delete(v.holders, it.Token)
		case req.Force || mine != nil:
			delete(s.values, key)
		}
		reply.Unlocked = append(reply.Unlocked, mine != nil || req.Force && v != nil)
	}
	return reply, nil
}

func (s *mapStore) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	if err := s.begin(ctx, &req); err != nil {
		return backend.RenewReply{}, err
	}
	defer s.mu.Unlock()
	if req.Durability.Replicas > 0 {
		return backend.RenewReply{}, backend.ErrUnsupported
	}
	var reply backend.RenewReply
	for _, it := range req.Items {
		mine := s.find(req.Namespace.Lock(it.Member)).mine(it.Token)
		if mine != nil {
			end := s.after(it.TTL)
			if mine.again > 0 {
				end = max(end, mine.end)
			}
			mine.end = end
		}
		reply.Renewed = append(reply.Renewed, mine != nil)
	}
	return reply, nil
}

func (s *mapStore) SetLimit(ctx context.Context, req backend.LimitRequest) error {
	if err := s.begin(ctx, &req); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.limits[req.Namespace.Lock(req.Name)] = req.Limit
	return nil
}

func (s *mapStore) Holders(ctx context.Context, req backend.HoldersRequest) ([]backend.LockState, error) {
	if err := s.begin(ctx, &req); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	states := make([]backend.LockState, len(req.Names))
	for i, name := range req.Names {
		key := req.Namespace.Lock(name)
		st := &states[i]
		st.Limit = s.limits[key]
		v := s.find(key)
		if v == nil {
			continue
		}
		st.Locked, st.TTL, st.Units = true, s.left(v.end), v.units
		if v.holders == nil {
			st.Owner = v.text
		}
		for _, h := range slices.SortedFunc(maps.Values(v.holders), func(a, b *value) int { return cmp.Compare(a.end, b.end) }) {
			st.Holders = append(st.Holders, backend.LockHolder{Token: h.text, Units: h.units, TTL: s.left(h.end)})
		}
	}
	return states, nil
}
