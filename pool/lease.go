package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Lease is a member that was allocated, from its allocation until it is released. Its methods may be called
// concurrently. It must be released, also if it was lost.
type Lease[T Allocatable] struct {
	a      *Allocator[T]
	hold   atomic.Pointer[lease.Hold] // changes with Refresh
	object T
	more   atomic.Pointer[more[T]]

	mu       sync.Mutex // for what changes the lease
	released bool

	using sync.Mutex // while the object is opened or closed, and nothing else
	state objectState

	hasObject bool
	noRenewal bool
	traits    traits

	first lease.Hold
}

// more is what few leases have. Programs make a lot of leases, and most are short.
type more[T Allocatable] struct {
	params     any
	name       string
	bindingTTL time.Duration

	heir atomic.Pointer[Lease[T]] // of one that a policy got for a Refresh: the one that was refreshed

	// The rest is guarded by the lease's mutex.
	result error    // of the release
	after  []func() // to be called after it
	kept   string   // in shared mode, the token under which the member is kept back
}

// extra gives what l has more, and makes room for it if needed.
func (l *Lease[T]) extra() *more[T] {
	if m := l.more.Load(); m != nil {
		return m
	}
	l.more.CompareAndSwap(nil, new(more[T]))
	return l.more.Load()
}

// heir is who has what a policy got for a Refresh.
func (l *Lease[T]) heir() *Lease[T] {
	if m := l.more.Load(); m != nil {
		return m.heir.Load()
	}
	return nil
}

type objectState uint8

const (
	configured objectState = iota
	opened
	shut
)

// Key is the member.
func (l *Lease[T]) Key() string { return l.hold.Load().Key() }

// Object is what was configured with the member; the zero value if the allocation had none.
func (l *Lease[T]) Object() T { return l.object }

// Params are what the object was configured with.
func (l *Lease[T]) Params() any {
	if m := l.more.Load(); m != nil {
		return m.params
	}
	return nil
}

// Name is the soft binding that was used, "" for none.
func (l *Lease[T]) Name() string {
	if m := l.more.Load(); m != nil {
		return m.name
	}
	return ""
}

// UniqueID is the key, or "key:id" for an object that is an [Identifier].
func (l *Lease[T]) UniqueID() string {
	if l.traits&identifies != 0 {
		if id, err := idOf(l.object); err == nil && id != "" {
			return l.Key() + ":" + id
		}
	}
	return l.Key()
}

// Token is the owner's token, which stands in the member's lock.
func (l *Lease[T]) Token() string { return l.hold.Load().Token() }

// Fence is larger than that of every earlier lease in this pool. It is 0 in shared mode, and for a lease that took
// over a quarantined member.
func (l *Lease[T]) Fence() int64 { return l.hold.Load().Fence() }

// Deadline is when the lease ends unless it is renewed: somewhat before its TTL is over in the store. Once it has
// ended, it is when it did or would have. It is zero for what has no end: in shared mode, and with backend.NoExpiry.
func (l *Lease[T]) Deadline() time.Time { return l.hold.Load().Deadline() }

// Valid reports whether the lease is held, as far as can be known without asking the store. It reads the clock, so
// that a process that was stopped knows at its first look.
func (l *Lease[T]) Valid() bool { return l.hold.Load().Valid() }

// Context derives from the context of the allocation and ends with the lease, at its deadline at the latest, or with
// that context. context.Cause tells why: [ErrLost], [ErrExpired], [ErrReleased], an error that matches
// backend.ErrClosed after [Allocator.Close], or what ended the allocation's context. Its Err reads the clock itself; its
// Deadline is that of the allocation's context, because the lease's moves as it is renewed.
//
// After Refresh there is a new one; the old one has ended with ErrReleased.
func (l *Lease[T]) Context() context.Context { return l.hold.Load().Context() }

// Update sets the TTL, from now on: at least a millisecond, or backend.NoExpiry. It fails with [ErrNotHeld] if the
// lease has ended. If the store gave no answer, the lease goes on with the earlier of both ends. One round trip; in
// shared mode there is nothing to do.
func (l *Lease[T]) Update(ctx context.Context, ttl time.Duration) error {
	if err := backend.ValidateTTL("ttl", ttl); err != nil {
		return l.fail("update", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return l.fail("update", errReleased)
	}
	return l.fail("update", l.hold.Load().Update(ctx, ttl))
}

// Release closes the object, ends the lease and gives the member back, one round trip. It takes values from ctx, but
// not its end, and waits no longer than the lease lasts, nor than some 5 seconds, besides what closing the object takes.
// The object is closed even if giving back fails.
//
// A lease that has ended gets [ErrNotHeld]; nothing of anybody else's is changed. If the store cannot be asked the
// error matches backend.ErrUnavailable, and giving back is tried on in the background until the lease has run out. A
// member that is kept back (see SetUnhealthy) stays so, and in shared mode nothing changes in the pool. Release again
// does nothing and gives the same.
func (l *Lease[T]) Release(ctx context.Context) error {
	if heir := l.heir(); heir != nil {
		return heir.Release(ctx)
	}
	l.mu.Lock()
	if l.released {
		defer l.mu.Unlock()
		return l.result()
	}
	l.released = true
	h := l.hold.Load()
	var closing error
	if l.traits&(closes|closesIO) != 0 {
		h.Retire() // whoever works with the object stops first
		closing = l.closeObject(ctx)
	}
	err := h.Release(ctx)
	result := l.fail("release", join(err, closing))
	if result != nil {
		l.extra().result = result
	}
	after := l.takeAfter()
	l.mu.Unlock()

	if err == nil {
		l.a.returned(h)
	}
	for _, f := range after {
		l.call(f)
	}
	return result
}

// result is that of the release.
func (l *Lease[T]) result() error {
	if m := l.more.Load(); m != nil {
		return m.result
	}
	return nil
}

// takeAfter gives the functions to call after the release, once.
func (l *Lease[T]) takeAfter() (after []func()) {
	if m := l.more.Load(); m != nil {
		after, m.after = m.after, nil
	}
	return after
}

// AfterRelease has f called once when the lease is given back, by Release or because Refresh took another member,
// whatever came of it; at once if it has been. A lease that is only lost does not call f. f must be quick and must not
// call the lease.
func (l *Lease[T]) AfterRelease(f func()) {
	l.mu.Lock()
	released := l.released
	if !released {
		m := l.extra()
		m.after = append(m.after, f)
	}
	l.mu.Unlock()
	if released {
		l.call(f)
	}
}

func (l *Lease[T]) call(f func()) {
	var err error
	defer func() {
		if err != nil {
			l.a.cfg.Logger.Error("after release", "member", l.Key(), "error", err)
		}
	}()
	defer caught("after release", &err)
	f()
}

// errReleased is what a released lease answers.
var errReleased = fmt.Errorf("%w: %w", ErrNotHeld, ErrReleased)

// fail says what was attempted, and with which member.
func (l *Lease[T]) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %.100q: %w", op, l.Key(), err)
}

// join is errors.Join that leaves a single error as it is.
func join(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return errors.Join(a, b)
}
