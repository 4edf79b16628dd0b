package lock

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// KeysBackend is what [Keys] needs of a backend. Every backend.Backend has it.
type KeysBackend interface {
	backend.Values
	backend.Locks
}

// Keys locks names the plain way: a name is locked while it has a value, the value says who has it or anything else, and
// whoever knows the name can unlock it. It is Python's RedisLock (with suffix "lock" there) and ThreadLock, on the same
// keys; the locks of [Mutex] and its like are the same names, too. Where Python's caller says nothing else, the value is "1"
// and the TTL 120 seconds.
//
// Nothing here is a handle, is renewed, waits or has a fence: that is what [Mutex] is for. Other than TryLock of a Mutex,
// Lock may get a name that has just become free before those who wait for it in line; they go on waiting.
//
// It is safe for concurrent use and holds nothing that must be closed. A TTL is at least a millisecond, or
// backend.NoExpiry. A value is UTF-8 that is not empty, and not backend.SharedToken. Whatever breaks that gets a
// backend.InvalidError before anything is sent. What is stored under a name and is no string gets
// backend.ErrWrongType.
type Keys struct {
	be  KeysBackend
	ns  backend.Namespace
	err error // what is wrong with all that; each call gives it
}

// NewKeys gives the names of a namespace. It sends nothing. What is wrong with its arguments is said by each call.
func NewKeys(be KeysBackend, ns backend.Namespace) *Keys {
	k := &Keys{be: be, ns: ns, err: ns.Validate()}
	if lease.IsNil(be) {
		k.err = errNilBackend
	}
	return k
}

// Lock gives name the value, unless it has one, and reports whether it did. It does not wait. One round trip.
func (k *Keys) Lock(ctx context.Context, name, value string, ttl time.Duration) (bool, error) {
	return k.set(ctx, "lock", backend.SetItem{Name: name, Value: value, TTL: ttl, Cond: backend.IfAbsent})
}

// RLock is Lock, but for a name that has the same value already: then it sets the TTL anew, and reports true. Python's
// rlock also says yes to that, but leaves the TTL as it is. One round trip.
func (k *Keys) RLock(ctx context.Context, name, value string, ttl time.Duration) (bool, error) {
	return k.set(ctx, "lock again", backend.SetItem{
		Name: name, Value: value, TTL: ttl, Cond: backend.IfAbsentOrEqual, Operand: value,
	})
}

// Update gives name the value, whatever it has. Who held the name, alone or shared, has lost it. One round trip.
func (k *Keys) Update(ctx context.Context, name, value string, ttl time.Duration) error {
	_, err := k.set(ctx, "update", backend.SetItem{Name: name, Value: value, TTL: ttl})
	return err
}

func (k *Keys) set(ctx context.Context, op string, item backend.SetItem) (bool, error) {
	req := backend.SetRequest{Namespace: k.ns, Kind: backend.KindLock, Items: []backend.SetItem{item}}
	err := k.check(req.Validate())
	if err == nil {
		err = backend.ValidateOwner(item.Value)
	}
	if err != nil {
		return false, fmt.Errorf("%s %.100q: %w", op, item.Name, err)
	}
	reply, err := k.be.Set(ctx, req)
	if err != nil {
		return false, fmt.Errorf("%s %.100q: %w", op, item.Name, err)
	}
	return len(reply.Set) == 1 && reply.Set[0], nil
}

// Unlock frees name, whoever has it, alone or shared, and reports whether anybody had. Whoever waits for it in line gets
// it in the same step. One round trip.
func (k *Keys) Unlock(ctx context.Context, name string) (bool, error) {
	req := backend.UnlockRequest{Namespace: k.ns, Items: []backend.Held{{Member: name}}, Force: true}
	if err := k.check(req.Validate()); err != nil {
		return false, fmt.Errorf("unlock %.100q: %w", name, err)
	}
	reply, err := k.be.Unlock(ctx, req)
	if err != nil {
		return false, fmt.Errorf("unlock %.100q: %w", name, err)
	}
	return len(reply.Unlocked) == 1 && reply.Unlocked[0], nil
}

// IsLocked reports whether anybody has name. One round trip.
func (k *Keys) IsLocked(ctx context.Context, name string) (bool, error) {
	s, err := k.State(ctx, name)
	return s.Locked, err
}

// Value gives the value of name; ok is false if it is free. One round trip.
func (k *Keys) Value(ctx context.Context, name string) (value string, ok bool, err error) {
	s, err := k.State(ctx, name)
	return s.Value, s.Locked, err
}

// TTL gives how long name stays locked: backend.NoExpiry if it is for ever, 0 if it is free. One round trip.
func (k *Keys) TTL(ctx context.Context, name string) (time.Duration, error) {
	s, err := k.State(ctx, name)
	return s.TTL, err
}

// Status says how available name is to somebody who could wait for threshold, which must not be negative; Python asks
// about 120 seconds. See [KeyState.Status]. One round trip.
func (k *Keys) Status(ctx context.Context, name string, threshold time.Duration) (Status, error) {
	if threshold < 0 {
		err := invalid("threshold", threshold.String(), "must not be negative")
		return StatusError, fmt.Errorf("look at %.100q: %w", name, err)
	}
	s, err := k.State(ctx, name)
	if err != nil {
		return StatusError, err
	}
	return s.Status(threshold), nil
}

// State looks at name. One round trip.
func (k *Keys) State(ctx context.Context, name string) (KeyState, error) {
	states, err := k.look(ctx, []string{name})
	if err != nil {
		return KeyState{}, fmt.Errorf("look at %.100q: %w", name, err)
	}
	return states[0], nil
}

// look gives the state of each name. There must not be more of them than backend.BatchLimit.
func (k *Keys) look(ctx context.Context, names []string) ([]KeyState, error) {
	req := backend.GetRequest{Namespace: k.ns, Kind: backend.KindLock, Names: names}
	if err := k.check(req.Validate()); err != nil {
		return nil, err
	}
	values, err := k.be.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	states := make([]KeyState, len(names))
	for i, name := range names {
		states[i] = keyState(name, values[i])
	}
	return states, nil
}

// Names lists the names that are locked, each once, in no order. On Redis it walks the whole database: it is for
// administrators. It remembers what it has listed. The sequence ends with the first error. One round trip for each page
// of the walk.
func (k *Keys) Names(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for names, err := range k.pages(ctx) {
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

// All is [Keys.Names] with the state of each. Two round trips for each page of the walk.
func (k *Keys) All(ctx context.Context) iter.Seq2[KeyState, error] {
	return func(yield func(KeyState, error) bool) {
		for names, err := range k.pages(ctx) {
			var states []KeyState
			if err == nil {
				if states, err = k.look(ctx, names); err != nil {
					err = fmt.Errorf("list locks: %w", err)
				}
			}
			if err != nil {
				yield(KeyState{}, err)
				return
			}
			for _, s := range states {
				if s.Locked && !yield(s, nil) {
					return
				}
			}
		}
	}
}

// pages walks the names, up to backend.BatchLimit at a time, never none.
func (k *Keys) pages(ctx context.Context) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		listed := make(map[string]struct{}) // pages may overlap
		req := backend.ScanRequest{Namespace: k.ns, Kind: backend.KindLock, Limit: backend.BatchLimit}
		for {
			err := k.check(req.Validate())
			var page backend.ScanReply
			if err == nil {
				page, err = k.be.Scan(ctx, req)
			}
			if err != nil {
				yield(nil, fmt.Errorf("list locks: %w", err))
				return
			}
			for names := fresh(listed, page.Names); len(names) > 0; {
				n := min(len(names), backend.BatchLimit)
				if !yield(names[:n], nil) {
					return
				}
				names = names[n:]
			}
			if page.Cursor == "" {
				return
			}
			req.Cursor = page.Cursor
		}
	}
}

// fresh gives those of the names that are not in listed, and puts them there.
func fresh(listed map[string]struct{}, names []string) []string {
	n := 0
	for _, name := range names {
		if _, twice := listed[name]; !twice {
			listed[name] = struct{}{}
			names[n] = name
			n++
		}
	}
	return names[:n]
}

// check gives what is wrong with the namespace or the backend, else what is wrong with the request.
func (k *Keys) check(request error) error {
	if k.err != nil {
		return k.err
	}
	return request
}
