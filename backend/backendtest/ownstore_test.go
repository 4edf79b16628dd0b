package backendtest_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
)

// TestOwnStore checks a store of three roles that was written after their documentation alone, as anybody's own would be.
func TestOwnStore(t *testing.T) {
	backendtest.RunRoles(t, func(*testing.T) any { return newMapStore() })
}

// TestOwnStoreCases shows that the cases of the roles that are there are not left out.
func TestOwnStoreCases(t *testing.T) {
	t.Parallel()
	whole := make(map[string]int)
	for _, c := range backendtest.Cases() {
		if r := (&recorder{t: t}); c.CheckRoles(r, newMapStore()) == "" {
			assert.Empty(t, r.failures, c)
			whole[c.Role]++
		}
	}
	for role, least := range map[string]int{
		"values": 10, "conditions": 8, "sets": 5, "lock": 10, "units": 9, "again": 8, "unlock": 5, "renew-locks": 6, "lock-values": 5,
	} {
		assert.GreaterOrEqual(t, whole[role], least, role)
	}
	assert.Zero(t, whole["take"]+whole["fetch"]+whole["line"], "what needs other roles is left out")
}

// TestBrokenOwnStores shows that stores of some roles are found to be broken.
func TestBrokenOwnStores(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func() any{
		"forgets":     func() any { return forgetful{newMapStore()} },
		"generous":    func() any { return generous{newMapStore()} },
		"cannot stop": func() any { return endless{newMapStore()} },
	} {
		assert.True(t, slices.ContainsFunc(backendtest.Cases(), func(c backendtest.Case) bool {
			r := &recorder{t: t}
			return c.CheckRoles(r, store()) == "" && len(r.failures) > 0
		}), name)
	}
}

type forgetful struct{ *mapStore }

func (s forgetful) Add(context.Context, backend.SetEdit) (int, error) { return 0, nil }

type generous struct{ *mapStore }

func (s generous) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	req.Again = !req.Downgrade
	return s.mapStore.Lock(ctx, req)
}

type endless struct{ *mapStore }

func (endless) Close() error { return errors.New("it goes on") }

func newMapStore() *mapStore {
	return &mapStore{
		start: time.Now(), values: make(map[string]*value), sets: make(map[string]map[string]bool), limits: make(map[string]int),
	}
}

// mapStore is values, sets and locks in maps behind a mutex.
type mapStore struct {
	start  time.Time
	mu     sync.Mutex
	fence  int64
	values map[string]*value
	sets   map[string]map[string]bool
	limits map[string]int
}

// value is a value, a name that is held, or one of the holders of a shared one.
type value struct {
	text    string // or a holder's token
	end     time.Duration
	again   int // how often it has to be given back, beyond once
	units   int // of a holder
	holders map[string]*value
}

const never = time.Duration(math.MaxInt64)

func (s *mapStore) now() time.Duration { return time.Since(s.start) }

func (s *mapStore) after(ttl time.Duration) time.Duration {
	if now := s.now(); ttl != backend.NoExpiry && ttl < never-now {
		return now + ttl
	}
	return never
}

func (s *mapStore) left(end time.Duration) time.Duration {
	if end == never {
		return backend.NoExpiry
	}
	return end - s.now()
}

// begin begins a step.
func (s *mapStore) begin(ctx context.Context, req interface{ Validate() error }) error {
	if err := req.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return err
	}
	return nil
}

// find gives what there is under a key, without what has run out.
func (s *mapStore) find(key string) *value {
	v := s.values[key]
	if v == nil {
		return nil
	}
	if v.holders != nil {
		maps.DeleteFunc(v.holders, func(_ string, h *value) bool { return h.end <= s.now() })
		v.end, v.units = 0, 0
		for _, h := range v.holders {
			v.end, v.units = max(v.end, h.end), v.units+h.units
		}
	}
	if v.end <= s.now() {
		delete(s.values, key)
		return nil
	}
	return v
}

func (v *value) satisfies(c backend.Condition, operand string) (bool, error) {
	switch {
	case c == backend.Always:
		return true, nil
	case c == backend.IfEqual:
		return v != nil && v.text == operand, nil
	case v == nil:
		return true, nil
	case !c.Numeric():
		return c == backend.IfAbsentOrEqual && v.text == operand, nil
	}
	stored, ok := backend.ParseNumber(v.text)
	if !ok {
		return false, backend.ErrNotNumber
	}
	number, _ := backend.ParseNumber(operand)
	return c.Holds(number, stored), nil
}

func (s *mapStore) see(ns backend.Namespace, kind backend.Kind, names []string) []backend.Value {
	seen := make([]backend.Value, len(names))
	for i, name := range names {
		if v := s.find(kind.Prefix(ns) + name); v != nil {
			seen[i] = backend.Value{Exists: true, Value: v.text, TTL: s.left(v.end)}
		}
	}
	return seen
}

func (s *mapStore) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	if err := s.begin(ctx, &req); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return s.see(req.Namespace, req.Kind, req.Names), nil
}

func (s *mapStore) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	if err := s.begin(ctx, &req); err != nil {
		return backend.SetReply{}, err
	}
	defer s.mu.Unlock()
	var reply backend.SetReply
	before := maps.Clone(s.values)
	for _, it := range req.Items {
		key := req.Kind.Prefix(req.Namespace) + it.Name
		ok, err := s.find(key).satisfies(it.Cond, it.Operand)
		if err != nil || !ok && !req.Each {
			s.values = before
			none := backend.SetReply{Set: make([]bool, len(req.Items))}
			if req.Fence {
				none.Fences = make([]int64, len(req.Items))
			}
			return none, err
		}
		fence := int64(0)
		if ok {
			s.values[key] = &value{text: it.Value, end: s.after(it.TTL)}
			s.fence++
			fence = s.fence
		}
		reply.Set, reply.Fences = append(reply.Set, ok), append(reply.Fences, fence)
	}
	if !req.Fence {
		reply.Fences = nil
	}
	return reply, nil
}

func (s *mapStore) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	if err := s.begin(ctx, &req); err != nil {
		return backend.DeleteReply{}, err
	}
	defer s.mu.Unlock()
	var reply backend.DeleteReply
	before := maps.Clone(s.values)
	for _, it := range req.Items {
		key := req.Kind.Prefix(req.Namespace) + it.Name
		v := s.find(key)
		ok, err := v.satisfies(it.Cond, it.Operand)
		if err != nil || !ok && !req.Each {
			s.values = before
			return backend.DeleteReply{Deleted: make([]bool, len(req.Items))}, err
		}
		if ok {
			delete(s.values, key)
		}
		reply.Deleted = append(reply.Deleted, ok && v != nil)
	}
	return reply, nil
}

func (s *mapStore) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	if err := s.begin(ctx, &req); err != nil {
		return backend.ScanReply{}, err
	}
	defer s.mu.Unlock()
	var reply backend.ScanReply
	for key := range s.values {
		if name, ok := strings.CutPrefix(key, req.Kind.Prefix(req.Namespace)); ok && s.find(key) != nil {
			reply.Names = append(reply.Names, name)
		}
	}
	return reply, nil
}

func (s *mapStore) Add(ctx context.Context, req backend.SetEdit) (int, error) {
	return s.edit(ctx, &req, func(set map[string]bool, name string) { set[name] = true })
}

func (s *mapStore) Remove(ctx context.Context, req backend.SetEdit) (int, error) {
	return s.edit(ctx, &req, func(set map[string]bool, name string) { delete(set, name) })
}

func (s *mapStore) Replace(ctx context.Context, req backend.SetEdit) error {
	if err := s.begin(ctx, &req); err != nil {
		return err
	}
	defer s.mu.Unlock()
	set := make(map[string]bool)
	for _, name := range req.Names {
		set[name] = true
	}
	s.sets[req.Namespace.Pool()] = set
	return nil
}

// edit changes a set, name by name, and tells by how many it has become larger or smaller.
func (s *mapStore) edit(ctx context.Context, req *backend.SetEdit, change func(set map[string]bool, name string)) (int, error) {
	if err := s.begin(ctx, req); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	set := s.sets[req.Namespace.Pool()]
	if set == nil {
		set = make(map[string]bool)
		s.sets[req.Namespace.Pool()] = set
	}
	before := len(set)
	for _, name := range req.Names {
		change(set, name)
	}
	return max(len(set)-before, before-len(set)), nil
}

func (s *mapStore) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	if err := s.begin(ctx, &req); err != nil {
		return backend.MembersReply{}, err
	}
	defer s.mu.Unlock()
	set := s.sets[req.Namespace.Pool()]
	reply := backend.MembersReply{Total: len(set)}
	for name := range set {
		if len(req.Among) == 0 || slices.Contains(req.Among, name) {
			reply.Names = append(reply.Names, name)
		}
	}
	if req.Locks {
		reply.Locks = s.see(req.Namespace, backend.KindLock, reply.Names)
	}
	return reply, nil
}
