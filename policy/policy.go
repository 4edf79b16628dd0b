// Package policy decides how a pool hands out its members and how it is filled.
//
// A [Policy] turns one [Request] into leases. Policies are built from parts, each a [Middleware] around the next:
//
//	policy.Chain(
//		policy.Refresh[*Proxy](updater, policy.RefreshConfig{Interval: 5 * time.Minute}),
//		policy.CheckBeforeUse[*Proxy](policy.HealthConfig{Quarantine: time.Hour, Attempts: 3}),
//		policy.Collect[*Proxy](5),
//	)
//
// [Default] is one such chain, with the values of the Python library. Users write their own parts with plain
// functions; they see a [Pool], which is a narrow view of the allocator, and never the allocator itself.
package policy

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Request is one allocation on its way through a policy. A policy that passes it on may change it.
type Request[T any] struct {
	// Object is what will be configured with the member. HasObject is false for allocations by key alone.
	Object    T
	HasObject bool
	Params    any

	TTL       time.Duration // of the lease
	NoRenewal bool          // the lease is not renewed in the background
	Count     int           // how many members, all or none; 1 or more. Above 1 there is no object
	Token     string        // of the owner; empty: a new one

	// Name is the soft binding to use, empty for none; BindingTTL is how long it lasts from now on.
	Name       string
	BindingTTL time.Duration

	// Prefer lists members to try first, in this order; with Only, no others.
	Prefer []string
	Only   bool

	// Quarantined, with Only and one member in Prefer, also takes that member while it is kept back (its lock has
	// a token of backend.QuarantineToken), so that it can be looked at again. In exclusive mode the lease takes
	// the quarantine's place, in one step, so that nobody gets the member in between; such a lease has no fence.
	// In shared mode the quarantine stands until the lease's SetHealthy. A member that somebody else has leased
	// is ErrExhausted, as ever.
	Quarantined bool

	// Collect is how many members are looked at by the collector in the same step.
	Collect int

	// Wait says that the request waits in line, with Priority, until its context ends or, if MaxWait is positive,
	// for that long; then it fails with [ErrExhausted].
	Wait     bool
	Priority int
	MaxWait  time.Duration
}

// Lease is what a policy sees of a lease. All leases come from [Pool.Allocate].
type Lease[T any] interface {
	Key() string
	Object() T
	UniqueID() string

	// Open, Close and CheckHealth call the object's method of that name, if it has one.
	Open(ctx context.Context) error
	Close(ctx context.Context) error
	CheckHealth(ctx context.Context) error

	// SetHealthy lifts the quarantine of the member, if there is one, and binds the request's name.
	SetHealthy(ctx context.Context) error

	// SetUnhealthy keeps the member back for d; Release then does not put it back.
	SetUnhealthy(ctx context.Context, d time.Duration) error
	Release(ctx context.Context) error

	// AfterRelease has f called once when the lease is given back by Release, whatever that answers; at once if
	// it has been. A lease that is only lost does not call f. f must be quick and must not call the lease.
	AfterRelease(f func())
}

// Pool is what a policy sees of the allocator that asks it.
type Pool[T any] interface {
	Namespace() backend.Namespace
	Shared() bool

	// Allocate grants the request, waiting if it says so. It gives Count leases or an error: pool.ErrExhausted
	// (which is [ErrExhausted]) if there are not that many free members.
	Allocate(ctx context.Context, req Request[T]) ([]Lease[T], error)

	// Members and their edits, as on the allocator.
	Keys(ctx context.Context) iter.Seq2[string, error]
	Extend(ctx context.Context, keys []string, ttl time.Duration) error
	Assign(ctx context.Context, keys []string, ttl time.Duration) error

	// TryLock takes a lock of the pool's namespace for ttl if nobody has it, and tells whether it did.
	TryLock(ctx context.Context, name string, ttl time.Duration) (bool, error)

	Logger() *slog.Logger
	Observe(backend.Event)
}

// Policy decides how one request becomes leases. Implementations are safe for concurrent use.
type Policy[T any] interface {
	Allocate(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error)
}

// Func makes a Policy of a function.
type Func[T any] func(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error)

// Allocate calls f.
func (f Func[T]) Allocate(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error) {
	return f(ctx, p, req)
}

// Middleware puts a part in front of the next policy.
type Middleware[T any] func(next Policy[T]) Policy[T]

// Initializer is a policy that prepares itself. The allocator calls Initialize once, when it is made, outermost part
// first; an error fails pool.New.
type Initializer[T any] interface {
	Initialize(ctx context.Context, p Pool[T]) error
}

// Finalizer is a policy that has to put something away. The allocator calls Finalize once, from Close, innermost
// part first.
type Finalizer interface {
	Finalize(ctx context.Context) error
}

// Wrapper is a policy around another one. Hooks of the inner parts are found through it, as errors.Unwrap finds
// inner errors: a hand-written part that wraps and does not have this method hides the hooks behind it.
type Wrapper[T any] interface {
	Unwrap() Policy[T]
}

// Direct is the end of every chain: it asks the pool, without further ado.
func Direct[T any]() Policy[T] { return &direct[T]{} }
