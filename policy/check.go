package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/redisallocator/redisallocator/backend"
)

// CheckConfig says how [CheckHealth] checks. Zero values are the defaults, but for New.
type CheckConfig[T any] struct {
	// New makes the object that is configured with the member and checked. It is needed, and is called concurrently.
	New func(key string) T

	// Params go to the object's configuration, as in an allocation.
	Params any

	// Concurrency is how many members are checked, and therefore leased, at the same time. Default 8.
	Concurrency int

	// Quarantine is how long a member that failed is kept back. Default one hour; see also [NoQuarantine].
	Quarantine time.Duration

	// Timeout bounds opening and checking one member. Default 10 s.
	Timeout time.Duration

	// OnUnhealthy, if not nil, is told of each member that failed, one at a time. It must be quick.
	OnUnhealthy func(key string, err error)
}

// Report counts the members that [CheckHealth] met.
type Report struct {
	Healthy   int
	Unhealthy int
	Skipped   int // leased by somebody else, or gone meanwhile
}

// CheckHealth walks the whole pool and checks each member: it takes the member, configures an object with it, opens,
// checks and closes that. What fails is quarantined, the rest given back, and a quarantined member that is well again is
// free from then on. In exclusive mode nobody else can have a member while it is checked, and a member that somebody
// has leased is skipped; in shared mode nobody is disturbed. A pool that changes meanwhile may show a member twice, or
// not at all if it was not there all the time.
//
// Beside walking, it costs two round trips for each member, and one or two more for those that are in quarantine
// before or after. A panic in New or in the object's methods is that member's failure. CheckHealth ends with the first
// error of the store, or of ctx; the report then says how far it came.
func CheckHealth[T any](ctx context.Context, p Pool[T], cfg CheckConfig[T]) (Report, error) {
	cfg.Concurrency = cmp.Or(cfg.Concurrency, DefaultConcurrency)
	cfg.Quarantine = cmp.Or(cfg.Quarantine, DefaultQuarantine)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultCheckTimeout)
	switch {
	case cfg.New == nil:
		return Report{}, &backend.InvalidError{Field: "health check", Value: "nil", Reason: "must have New"}
	case cfg.Concurrency < 1:
		return Report{}, &backend.InvalidError{
			Field: "concurrency", Value: fmt.Sprint(cfg.Concurrency), Reason: "must be at least 1",
		}
	}
	if err := errors.Join(checkPositive("check timeout", cfg.Timeout), checkQuarantine(cfg.Quarantine)); err != nil {
		return Report{}, err
	}
	c := &checker[T]{pool: p, cfg: cfg}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cfg.Concurrency)
	var walkErr error
	for key, err := range p.Keys(gctx) {
		if err != nil {
			walkErr = err
			break
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return c.check(gctx, key) })
	}
	err := g.Wait()
	if err == nil {
		err = cmp.Or(walkErr, ctx.Err()) // the walk's error is the consequence if there is another one
	}
	return c.report, err
}

type checker[T any] struct {
	pool Pool[T]
	cfg  CheckConfig[T]

	mu     sync.Mutex
	report Report
}

// check checks one member. Its error is one of the store: it ends the walk.
func (c *checker[T]) check(ctx context.Context, key string) error {
	var object T
	made := guard(func() error {
		object = c.cfg.New(key)
		return nil
	})
	lease, err := c.take(ctx, key, object, made == nil)
	var cause error
	switch {
	case errors.Is(err, ErrExhausted):
		c.count(&c.report.Skipped)
		return nil
	case err != nil && (made != nil || isStore(err) || ctx.Err() != nil):
		return err
	case err != nil: // the object would not be configured; the member can still be kept back
		cause = err
		if lease, err = c.take(ctx, key, object, false); errors.Is(err, ErrExhausted) {
			c.count(&c.report.Skipped)
			return nil
		} else if err != nil {
			return err
		}
	case made != nil:
		cause = fmt.Errorf("make an object for %q: %w", key, made)
	default:
		cause = probe(ctx, lease, c.cfg.Timeout)
	}
	if ctx.Err() != nil {
		giveBack(ctx, c.pool, lease) // it is not the member's fault
		return context.Cause(ctx)
	}
	if cause != nil {
		c.unhealthy(key, cause)
		keepBack(ctx, c.pool, lease, c.cfg.Quarantine, cause)
		return nil
	}
	c.count(&c.report.Healthy)
	err = lease.SetHealthy(ctx)
	giveBack(ctx, c.pool, lease)
	return err
}

// take leases one member, be it free or in quarantine. The lease outlasts the check, and is renewed meanwhile as any
// other.
func (c *checker[T]) take(ctx context.Context, key string, object T, has bool) (Lease[T], error) {
	req := Request[T]{
		TTL: min(c.cfg.Timeout, century) + time.Minute, Count: 1,
		Prefer: []string{key}, Only: true, Quarantined: true,
	}
	if has {
		req.Object, req.HasObject, req.Params = object, true, c.cfg.Params
	}
	var leases []Lease[T]
	err := guard(func() (err error) {
		leases, err = c.pool.Allocate(ctx, req)
		return err
	})
	if err == nil && len(leases) != 1 {
		err = ErrExhausted
	}
	if err != nil {
		return nil, err
	}
	return leases[0], nil
}

func (c *checker[T]) count(n *int) {
	c.mu.Lock()
	*n++
	c.mu.Unlock()
}

func (c *checker[T]) unhealthy(key string, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Unhealthy++
	if c.cfg.OnUnhealthy != nil {
		_ = guard(func() error { c.cfg.OnUnhealthy(key, cause); return nil })
	}
}

// isStore reports whether the error says nothing about a member.
func isStore(err error) bool {
	for _, s := range []error{
		backend.ErrInvalid, backend.ErrClosed, backend.ErrUnavailable, backend.ErrWrongType, backend.ErrPermission,
		backend.ErrUnsupported,
	} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}
