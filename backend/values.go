package backend

import (
	"context"
	"time"
)

// Values are keys with a value and an expiry. The value of a lock is its owner's token.
type Values interface {
	// Get looks at values. The reply has one entry for each name, in their order.
	Get(ctx context.Context, req GetRequest) ([]Value, error)

	// Set writes values under their conditions: all of them or, if one condition fails, none; with Each set,
	// each for itself.
	Set(ctx context.Context, req SetRequest) (SetReply, error)

	// Delete removes values under their conditions, all or none, or each for itself. A value that does not
	// exist cannot be IfEqual, satisfies every other condition, and is not counted as removed. Removing the
	// lock of a pool's member does not put the member back: that is for [Pools.Return] or, later,
	// [Pools.Collect]. Nor does it serve those who wait for a name: that is for [Locks.Unlock]; the first in
	// line finds out by itself.
	Delete(ctx context.Context, req DeleteRequest) (DeleteReply, error)

	// Scan lists the names of one kind, page by page. A name that exists from the first to the last page is
	// listed at least once. On Redis it walks the whole database; it is for administrators.
	Scan(ctx context.Context, req ScanRequest) (ScanReply, error)
}

// Kind tells families of names apart: each has its own keys.
type Kind uint8

// The kinds of values.
const (
	KindLock    Kind = iota // "<base>:<name>"
	KindBinding             // "<base>-cache:bind:<name>"
	kinds
)

func (k Kind) check() error {
	if k >= kinds {
		return invalid("kind", itoa(int(k)), "is unknown")
	}
	return nil
}

// Prefix is what names of this kind are appended to in the store.
func (k Kind) Prefix(n Namespace) string {
	if k == KindBinding {
		return n.BindingPrefix()
	}
	return n.LockPrefix()
}

// Condition decides whether a value is written or removed. Numeric conditions compare the given operand with the
// stored value, in that order: IfGreater is satisfied when operand > stored. They compare with [Tolerance]
// where equality takes part, are satisfied by a missing value, and fail with [ErrNotNumber] on a stored value
// that is no number.
type Condition uint8

// The conditions.
const (
	Always          Condition = iota
	IfAbsent                  // there is no value
	IfEqual                   // there is one, and it equals the operand byte for byte
	IfAbsentOrEqual           // either of these
	IfGreater                 // operand > stored
	IfGreaterOrEqual
	IfLess
	IfLessOrEqual
	IfNumEqual
	IfNumNotEqual
	conditions
)

// Numeric reports whether the condition compares numbers.
func (c Condition) Numeric() bool { return c >= IfGreater && c < conditions }

// GetRequest names the values to look at.
type GetRequest struct {
	Namespace Namespace
	Kind      Kind
	Names     []string
}

// Value is one value as it was seen.
type Value struct {
	Exists bool
	Value  string
	TTL    time.Duration // what is left: NoExpiry if it never runs out, 0 if it does not exist
}

// SetItem is one value to write.
type SetItem struct {
	Name    string
	Value   string        // of a lock: not SharedToken
	TTL     time.Duration // positive, or NoExpiry
	Cond    Condition
	Operand string // what Cond compares with
}

// SetRequest writes values.
type SetRequest struct {
	Namespace Namespace
	Kind      Kind
	Items     []SetItem
	Each      bool // each item for itself, instead of all or none
	Fence     bool // draw a fencing number for each value written
}

// SetReply has an entry for each item.
type SetReply struct {
	Set    []bool
	Fences []int64 // only with Fence: 0 for what was not written
}

// DeleteItem is one value to remove.
type DeleteItem struct {
	Name    string
	Cond    Condition
	Operand string
}

// DeleteRequest removes values.
type DeleteRequest struct {
	Namespace Namespace
	Kind      Kind
	Items     []DeleteItem
	Each      bool
}

// DeleteReply has an entry for each item: whether there was a value that has been removed.
type DeleteReply struct {
	Deleted []bool
}

// ScanRequest asks for one page of names. An empty cursor starts, Limit is a hint (0: 100).
type ScanRequest struct {
	Namespace Namespace
	Kind      Kind
	Cursor    string
	Limit     int
}

// ScanReply is one page. An empty cursor says that it was the last.
type ScanReply struct {
	Names  []string
	Cursor string
}

// Validate checks the request; see [InvalidError].
func (r *GetRequest) Validate() error {
	return first(r.Namespace.Validate(), r.Kind.check(), checkBatch("names", len(r.Names)), checkNames(r.Names))
}

// Validate checks the request; see [InvalidError].
func (r *SetRequest) Validate() error {
	if err := first(r.Namespace.Validate(), r.Kind.check(), checkBatch("items", len(r.Items))); err != nil {
		return err
	}
	for i := range r.Items {
		it := &r.Items[i]
		if err := first(ValidateName(it.Name), checkValue(it.Value), ValidateTTL("ttl", it.TTL),
			it.Cond.check(it.Operand)); err != nil {
			return err
		}
		if r.Kind == KindLock && it.Value == SharedToken {
			return invalid("value", it.Value, "is reserved")
		}
	}
	return nil
}

// Validate checks the request; see [InvalidError].
func (r *DeleteRequest) Validate() error {
	if err := first(r.Namespace.Validate(), r.Kind.check(), checkBatch("items", len(r.Items))); err != nil {
		return err
	}
	for i := range r.Items {
		if err := first(ValidateName(r.Items[i].Name), r.Items[i].Cond.check(r.Items[i].Operand)); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the request; see [InvalidError].
func (r *ScanRequest) Validate() error {
	return first(r.Namespace.Validate(), r.Kind.check(), checkCount("limit", r.Limit, 0, BatchLimit))
}
