package pool

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/policy"
)

// hookTimeout bounds the hooks of a policy in New and in Close.
const hookTimeout = 30 * time.Second

// Allocator hands out the members of one pool. Make it with [New]; its methods may be called concurrently.
type Allocator[T Allocatable] struct {
	be     Backend
	cfg    Config[T]
	leases *lease.Group

	traits  traits
	dynamic bool // T is an interface: each object has traits of its own

	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// New makes an allocator for the pool of cfg.Namespace. It sends nothing itself, but the hooks of the policy may; they
// are given 30 seconds. It does not own the backend.
func New[T Allocatable](be Backend, cfg Config[T]) (*Allocator[T], error) {
	if lease.IsNil(be) {
		return nil, invalid("backend", "nil", "must not be nil")
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	t := reflect.TypeFor[T]()
	a := &Allocator[T]{be: be, cfg: cfg, traits: traitsOf(t), dynamic: t.Kind() == reflect.Interface}
	a.leases = lease.Keep(be, lease.Config{
		Namespace: cfg.Namespace, Logger: cfg.Logger, OnLost: a.lost, OnReturned: a.returned,
	})
	if cfg.Policy != nil {
		ctx, cancel := context.WithTimeout(context.Background(), hookTimeout)
		defer cancel()
		if err := policy.Initialize(ctx, cfg.Policy, a.view()); err != nil {
			a.closed.Store(true)
			a.leases.Close()
			return nil, a.fail("open pool", err)
		}
	}
	return a, nil
}

// Close ends the use of the pool in this process; the pool itself stays. Waits end with an error that matches
// backend.ErrClosed. Leases are not given back: they are not renewed any more, their contexts end, and their members
// are free when the TTL is over, or at once for who still calls [Lease.Release]. Then the policy's hooks are called,
// for 30 seconds at most, whose errors Close gives. Close again gives the same.
func (a *Allocator[T]) Close() error {
	a.closeOnce.Do(func() {
		a.closed.Store(true)
		a.leases.Close()
		if a.cfg.Policy != nil {
			ctx, cancel := context.WithTimeout(context.Background(), hookTimeout)
			defer cancel()
			a.closeErr = a.fail("close pool", policy.Finalize(ctx, a.cfg.Policy))
		}
	})
	return a.closeErr
}

// Namespace is that of the pool.
func (a *Allocator[T]) Namespace() backend.Namespace { return a.cfg.Namespace }

// Shared reports whether members go round instead of being locked.
func (a *Allocator[T]) Shared() bool { return a.cfg.Shared }

// Malloc allocates a member for obj, without waiting: one round trip without a policy. It fails with [ErrExhausted] if
// none is free, or if somebody waits for one. When ctx ends meanwhile nothing is held.
//
// The lease must be released. Its context derives from ctx.
func (a *Allocator[T]) Malloc(ctx context.Context, obj T, opts ...Option) (*Lease[T], error) {
	req := policy.Request[T]{Object: obj, HasObject: true, Count: 1}
	return a.one(ctx, "malloc", &req, opts)
}

// MallocKey is Malloc without an object.
func (a *Allocator[T]) MallocKey(ctx context.Context, opts ...Option) (*Lease[T], error) {
	req := policy.Request[T]{Count: 1}
	return a.one(ctx, "malloc", &req, opts)
}

// MallocN allocates n members in one step, or none: 1 to backend.MaxTake. Each has a lease of its own, without an
// object.
func (a *Allocator[T]) MallocN(ctx context.Context, n int, opts ...Option) ([]*Lease[T], error) {
	req := policy.Request[T]{Count: n}
	return a.several(ctx, "malloc", &req, opts)
}

// Acquire is Malloc that waits: first those of higher [Priority], then first come first served, across all
// processes, until ctx ends or [MaxWait] is over. It takes one round trip, to take a free member or to join the line.
// What it is then handed is used at once: the lease has the deadline of Config.ClaimTTL until it was renewed for its TTL
// in the background, which happens immediately. Only if it cannot be known well enough how long ago it was handed over
// does it take another round trip first. If Acquire fails, whatever the reason, nothing is held and nobody waits.
//
// The context of the lease derives from ctx: to bound only the wait, use MaxWait.
func (a *Allocator[T]) Acquire(ctx context.Context, obj T, opts ...Option) (*Lease[T], error) {
	req := policy.Request[T]{Object: obj, HasObject: true, Count: 1, Wait: true}
	return a.one(ctx, "acquire", &req, opts)
}

// AcquireKey is Acquire without an object.
func (a *Allocator[T]) AcquireKey(ctx context.Context, opts ...Option) (*Lease[T], error) {
	req := policy.Request[T]{Count: 1, Wait: true}
	return a.one(ctx, "acquire", &req, opts)
}

// AcquireN is MallocN that waits, in the same line as everybody else, and is not overtaken by those who want less.
func (a *Allocator[T]) AcquireN(ctx context.Context, n int, opts ...Option) ([]*Lease[T], error) {
	req := policy.Request[T]{Count: n, Wait: true}
	return a.several(ctx, "acquire", &req, opts)
}

// one is an allocation of one member.
func (a *Allocator[T]) one(ctx context.Context, op string, req *policy.Request[T], opts []Option) (*Lease[T], error) {
	err := a.prepare(req, opts)
	var l *Lease[T]
	switch {
	case err != nil:
	case a.cfg.Policy == nil:
		l, err = a.allocateOne(ctx, req)
	default:
		var leases []*Lease[T]
		if leases, err = a.ask(ctx, req); err == nil {
			l = leases[0]
		}
	}
	if err != nil {
		return nil, a.refused(op, req, err)
	}
	return l, nil
}

// several is an allocation of any number of members.
func (a *Allocator[T]) several(ctx context.Context, op string, req *policy.Request[T], opts []Option) ([]*Lease[T], error) {
	if req.Count < 1 { // the backend would take 0 for 1
		return nil, a.fail(op, invalid("count", strconv.Itoa(req.Count), "must be at least 1"))
	}
	err := a.prepare(req, opts)
	var leases []*Lease[T]
	switch {
	case err != nil:
	case a.cfg.Policy == nil:
		leases, err = a.allocate(ctx, req)
	default:
		leases, err = a.ask(ctx, req)
	}
	if err != nil {
		return nil, a.refused(op, req, err)
	}
	return leases, nil
}

// prepare completes the request, and refuses what can be seen to be wrong before anything is sent.
func (a *Allocator[T]) prepare(req *policy.Request[T], opts []Option) error {
	if a.closed.Load() {
		return backend.ErrClosed
	}
	req.TTL, req.BindingTTL, req.NoRenewal = a.cfg.TTL, a.cfg.BindingTTL, a.cfg.NoRenewal
	named, err := apply(req, opts)
	if err != nil {
		return err
	}
	if req.HasObject {
		if a.traits&nilable != 0 && lease.IsNil(req.Object) {
			return ErrNilObject
		}
		if !named && a.traitsOf(req.Object)&names != 0 {
			if req.Name, err = nameOf(req.Object); err != nil {
				return err
			}
		}
	}
	if a.cfg.Policy != nil { // without one, the backend does this at once
		enter := a.enterRequest(req, "-")
		if !req.Wait {
			return enter.Take.Validate()
		}
		return enter.Validate()
	}
	return nil
}

// refused tells why there is no lease.
func (a *Allocator[T]) refused(op string, req *policy.Request[T], err error) error {
	if a.cfg.Observer != nil && !req.Wait && errors.Is(err, ErrExhausted) {
		a.observe(backend.Event{Kind: backend.EventExhausted, Namespace: a.cfg.Namespace, Count: req.Count, Err: err})
	}
	return a.fail(op, err)
}

// traitsOf gives the traits of an object.
func (a *Allocator[T]) traitsOf(obj T) traits {
	if a.dynamic {
		return traitsOf(reflect.TypeOf(obj))
	}
	return a.traits
}

// observe tells the observer.
func (a *Allocator[T]) observe(e backend.Event) { lease.Observe(a.cfg.Observer, a.cfg.Logger, e) }

// lost is told of leases that ended without their holder.
func (a *Allocator[T]) lost(h *lease.Hold, why error) {
	a.cfg.Logger.Warn("lease ended without its holder", "namespace", a.cfg.Namespace.String(), "member", h.Key(),
		"fence", h.Fence(), "error", why)
	a.observe(backend.Event{
		Kind: backend.EventLost, Namespace: a.cfg.Namespace, Member: h.Key(), Token: h.Token(), Fence: h.Fence(),
		Duration: h.Age(), Err: why,
	})
}

// returned is told of leases that were given back, now or in the background.
func (a *Allocator[T]) returned(h *lease.Hold) {
	if a.cfg.Observer == nil {
		return
	}
	a.observe(backend.Event{
		Kind: backend.EventReleased, Namespace: a.cfg.Namespace, Member: h.Key(), Token: h.Token(), Fence: h.Fence(),
		Duration: h.Age(),
	})
}
