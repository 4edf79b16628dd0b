package memory

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Get looks at values; see [backend.Values].
func (b *Backend) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return nil, fail("get", req.Namespace, err)
	}
	defer s.mu.Unlock()
	return s.values(req.Kind, req.Names, now), nil
}

// values looks at values.
func (s *space) values(kind backend.Kind, names []string, now instant) []backend.Value {
	values := make([]backend.Value, len(names))
	for i, name := range names {
		if value, end, ok := s.value(kind, name, now); ok {
			values[i] = backend.Value{Exists: true, Value: value, TTL: now.left(end)}
		}
	}
	return values
}

// Set writes values under their conditions; see [backend.Values].
func (b *Backend) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.SetReply{}, fail("set", req.Namespace, err)
	}
	defer s.mu.Unlock()
	reply, err := s.setValues(now, &req)
	if err != nil {
		return backend.SetReply{}, fail("set", req.Namespace, err)
	}
	return reply, nil
}

func (s *space) setValues(now instant, req *backend.SetRequest) (backend.SetReply, error) {
	reply, all := backend.SetReply{Set: make([]bool, len(req.Items))}, true
	if req.Fence {
		reply.Fences = make([]int64, len(req.Items))
	}
	view := view{space: s, kind: req.Kind, now: now}
	if len(req.Items) > 1 {
		view.written = make(map[string]string, len(req.Items))
	}
	for i := range req.Items {
		it := &req.Items[i]
		ok, err := view.holds(it.Name, it.Cond, it.Operand)
		if err != nil {
			return reply, err
		}
		reply.Set[i] = ok
		all = all && ok
		if ok && view.written != nil {
			view.written[it.Name] = it.Value
		}
	}
	if !all && !req.Each {
		clear(reply.Set)
		return reply, nil
	}
	for i := range req.Items {
		if !reply.Set[i] {
			continue
		}
		it := &req.Items[i]
		s.put(req.Kind, it.Name, it.Value, now.after(it.TTL), now)
		if req.Fence {
			reply.Fences[i] = s.nextFence(now)
		}
	}
	s.finish(now)
	return reply, nil
}

// Delete removes values under their conditions; see [backend.Values].
func (b *Backend) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.DeleteReply{}, fail("delete", req.Namespace, err)
	}
	defer s.mu.Unlock()
	reply, err := s.deleteValues(now, &req)
	if err != nil {
		return backend.DeleteReply{}, fail("delete", req.Namespace, err)
	}
	return reply, nil
}

func (s *space) deleteValues(now instant, req *backend.DeleteRequest) (backend.DeleteReply, error) {
	reply, all := backend.DeleteReply{Deleted: make([]bool, len(req.Items))}, true
	view := view{space: s, kind: req.Kind, now: now}
	for i := range req.Items {
		it := &req.Items[i]
		ok, err := view.holds(it.Name, it.Cond, it.Operand)
		if err != nil {
			return reply, err
		}
		reply.Deleted[i] = ok
		all = all && ok
	}
	if !all && !req.Each {
		clear(reply.Deleted)
		return reply, nil
	}
	for i := range req.Items {
		reply.Deleted[i] = reply.Deleted[i] && s.remove(req.Kind, req.Items[i].Name, now)
	}
	s.serve(now)
	return reply, nil
}

// value finds a value that has not run out.
func (s *space) value(kind backend.Kind, name string, now instant) (value string, end instant, ok bool) {
	if kind == backend.KindBinding {
		b := s.bindings[name]
		return b.member, b.end, b.end > now
	}
	if e := s.entries[name]; e != nil {
		return e.token, e.end, e.end > now
	}
	return "", 0, false
}

// put writes a value.
func (s *space) put(kind backend.Kind, name, value string, end, now instant) {
	if kind == backend.KindBinding {
		s.bind(name, value, end, now)
		return
	}
	s.lock(s.entry(name), value, end)
	s.sweep(now)
}

// bind writes a binding.
func (s *space) bind(name, member string, end, now instant) {
	s.bindings[name] = binding{member, end}
	s.sweepBindings(now)
}

// remove removes a value and tells whether there was one.
func (s *space) remove(kind backend.Kind, name string, now instant) bool {
	if kind == backend.KindBinding {
		b := s.bindings[name]
		delete(s.bindings, name)
		return b.end > now
	}
	e := s.entries[name]
	if e == nil || !e.locked(now) {
		return false
	}
	s.removeLock(e, now)
	return true
}

// view is what the conditions of one request see: the values as they are and, where a name comes twice, as the items
// before would have written them. Nothing is written before all conditions have been looked at, because one of them
// can turn out to compare what is no number.
type view struct {
	space   *space
	kind    backend.Kind
	now     instant
	written map[string]string
}

// holds reports whether a condition is satisfied.
func (v *view) holds(name string, cond backend.Condition, operand string) (bool, error) {
	value, _, exists := v.space.value(v.kind, name, v.now)
	if written, ok := v.written[name]; ok {
		value, exists = written, true
	}
	switch {
	case cond == backend.Always:
		return true, nil
	case cond == backend.IfEqual:
		return exists && value == operand, nil
	case !exists:
		return true, nil
	case cond == backend.IfAbsent:
		return false, nil
	case cond == backend.IfAbsentOrEqual:
		return value == operand, nil
	}
	stored, ok := backend.ParseNumber(value)
	if !ok {
		return false, backend.ErrNotNumber
	}
	given, _ := backend.ParseNumber(operand) // Validate has read it
	return cond.Holds(given, stored), nil
}
