package policy

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"weak"
)

// AutoClose closes an object that was left open: when an allocation comes under the same unique id (the member's key,
// or "key:objectID" for objects that have an id), the object that this process allocated before under that id is
// closed, unless its lease was given back, which closes it anyhow. That happens when a lease ran out, or was lost, and
// its holder did not release it. Closing the pool closes all that are still known.
//
// It holds on to nothing: a lease that was given back, or that nobody refers to any more, is forgotten.
//
// In shared mode several users have the same member at once, so that objects need an id of their own there, one for
// each user. Without one, each allocation closes the previous user's object under their feet.
//
// An object that is allocated again itself stays open, and so do objects of a type that cannot be compared, because
// nobody knows which they are. What goes wrong while closing is logged and is not the new allocation's error. Without a
// round trip.
func AutoClose[T any]() Middleware[T] {
	return func(next Policy[T]) Policy[T] {
		return checkedPart(next, &autoClose[T]{next: next, known: make(map[string]weak.Pointer[openLease[T]])})
	}
}

type autoClose[T any] struct {
	next Policy[T]

	mu    sync.Mutex
	inUse bool
	known map[string]weak.Pointer[openLease[T]]
}

// openLease is kept alive by the lease itself, through AfterRelease.
type openLease[T any] struct {
	lease Lease[T]
}

// forgotten names an entry whose lease is gone.
type forgotten[T any] struct {
	id   string
	open weak.Pointer[openLease[T]]
}

func (a *autoClose[T]) Unwrap() Policy[T] { return a.next }

func (a *autoClose[T]) Allocate(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error) {
	leases, err := a.next.Allocate(ctx, p, req)
	if err != nil || !req.HasObject {
		return leases, err
	}
	for _, lease := range leases {
		before := a.remember(lease)
		if before == nil || same(before.Object(), lease.Object()) {
			continue
		}
		if before.Key() != lease.Key() { // it was lost, and is being refreshed: its object is for another member now
			continue
		}
		if err := guard(func() error { return before.Close(ctx) }); err != nil {
			p.Logger().WarnContext(ctx, "object of an earlier lease is not closed",
				append([]any{"namespace", p.Namespace().String(), "member", before.Key()}, logError(err)...)...)
		}
	}
	return leases, nil
}

// remember gives the lease that was known under the same id before.
func (a *autoClose[T]) remember(lease Lease[T]) (before Lease[T]) {
	open := &openLease[T]{lease: lease}
	entry := forgotten[T]{id: lease.UniqueID(), open: weak.Make(open)}
	runtime.AddCleanup(open, a.forget, entry)

	a.mu.Lock()
	if old := a.known[entry.id].Value(); old != nil {
		before = old.lease
	}
	a.known[entry.id] = entry.open
	a.mu.Unlock()

	lease.AfterRelease(func() {
		a.forget(entry)
		runtime.KeepAlive(open)
	})
	return before
}

func (a *autoClose[T]) forget(entry forgotten[T]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[entry.id] == entry.open {
		delete(a.known, entry.id)
	}
}

// Initialize refuses a second pool: unique ids are those of one.
func (a *autoClose[T]) Initialize(context.Context, Pool[T]) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inUse {
		return ErrInUse
	}
	a.inUse = true
	return nil
}

// Finalize closes what is known, and gives the errors of all.
func (a *autoClose[T]) Finalize(ctx context.Context) error {
	a.mu.Lock()
	known := a.known
	a.known = make(map[string]weak.Pointer[openLease[T]])
	a.inUse = false
	a.mu.Unlock()
	var errs []error
	for _, w := range known {
		if open := w.Value(); open != nil {
			errs = append(errs, guard(func() error { return open.lease.Close(ctx) }))
		}
	}
	return errors.Join(errs...)
}

// same reports whether two leases have one object, configured anew. That must stay open; its lease may even be the one
// that is being refreshed, and closing it would wait for ourselves.
func same[T any](a, b T) (yes bool) {
	defer func() {
		if recover() != nil { // they cannot be compared
			yes = true
		}
	}()
	return any(a) == any(b)
}
