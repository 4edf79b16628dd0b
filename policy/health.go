package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Defaults of a [HealthConfig] and a [CheckConfig].
const (
	DefaultQuarantine   = time.Hour // Python's
	DefaultAttempts     = 3
	DefaultCheckTimeout = 10 * time.Second
	DefaultConcurrency  = 8
)

// NoQuarantine is the quarantine of members that are given back at once when they fail. They come last in the list, and
// the allocation that found them prefers them no more: not by name, and not by the caller's wish. With backend.NoExpiry, on
// the other hand, they are kept back until somebody lifts it.
const NoQuarantine time.Duration = -2

// HealthConfig says how members are checked before they are handed out. Zero values are the defaults.
type HealthConfig struct {
	// Quarantine is how long a member that failed is kept back. Default one hour; see also [NoQuarantine].
	Quarantine time.Duration

	// Attempts is how many members one allocation tries. Default 3.
	Attempts int

	// Timeout bounds opening and checking one member. Default 10 s. The check has to heed its context.
	Timeout time.Duration

	// OnUnhealthy, if not nil, is told of each member that failed. It must be quick.
	OnUnhealthy func(key string, err error)
}

// CheckBeforeUse opens each object and checks its health before the lease is handed out; it is handed out open. A
// member whose object cannot be opened, fails, panics or takes too long is quarantined and given back, and another one
// is taken. After Attempts members the allocation fails with [ErrUnhealthy] and the last reason; if the pool ran out of
// members before that, also with [ErrExhausted].
//
// Allocations without an object, and objects without those methods, are handed out as they are. A member that failed
// costs an allocation and one or two round trips more. A request that waits goes into the line again for each
// attempt; MaxWait counts for all attempts together, though no check is cut short by it.
//
// If the allocation's context ends during a check, the member is given back and is not blamed.
func CheckBeforeUse[T any](cfg HealthConfig) Middleware[T] {
	cfg.Quarantine = cmp.Or(cfg.Quarantine, DefaultQuarantine)
	cfg.Attempts = cmp.Or(cfg.Attempts, DefaultAttempts)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultCheckTimeout)
	err := errors.Join(checkPositive("check timeout", cfg.Timeout), checkQuarantine(cfg.Quarantine))
	if cfg.Attempts < 1 {
		err = &backend.InvalidError{Field: "attempts", Value: fmt.Sprint(cfg.Attempts), Reason: "must be at least 1"}
	}
	if err != nil {
		return func(next Policy[T]) Policy[T] { return &invalid[T]{next: next, err: err} }
	}
	return Part(func(ctx context.Context, p Pool[T], req Request[T], next Policy[T]) ([]Lease[T], error) {
		var cause error // why the last member was not handed out
		end := time.Now().Add(req.MaxWait)
		for range cfg.Attempts {
			if cause != nil && req.MaxWait > 0 {
				req.MaxWait = max(time.Until(end), time.Millisecond)
			}
			leases, err := next.Allocate(ctx, p, req)
			if err != nil {
				if cause != nil && errors.Is(err, ErrExhausted) {
					err = fmt.Errorf("%w: %w: %w", ErrUnhealthy, err, cause)
				}
				return nil, err
			}
			if !req.HasObject || len(leases) != 1 {
				return leases, nil
			}
			lease := leases[0]
			if cause = probe(ctx, lease, cfg.Timeout); cause == nil {
				return leases, nil
			}
			if ctx.Err() != nil {
				giveBack(ctx, p, lease)
				return nil, context.Cause(ctx)
			}
			if cfg.OnUnhealthy != nil {
				_ = guard(func() error { cfg.OnUnhealthy(lease.Key(), cause); return nil })
			}
			keepBack(ctx, p, lease, cfg.Quarantine, cause)
			if cfg.Quarantine != NoQuarantine {
				continue
			}
			req.Name = ""
			req.Prefer = slices.DeleteFunc(slices.Clone(req.Prefer), func(k string) bool { return k == lease.Key() })
			if req.Only && len(req.Prefer) == 0 {
				break
			}
		}
		return nil, fmt.Errorf("%w: %w", ErrUnhealthy, cause)
	})
}

// probe opens the lease's object and checks it.
func probe[T any](ctx context.Context, lease Lease[T], timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return guard(func() error {
		if err := lease.Open(ctx); err != nil {
			return fmt.Errorf("open %q: %w", lease.Key(), err)
		}
		if err := lease.CheckHealth(ctx); err != nil {
			return fmt.Errorf("check %q: %w", lease.Key(), err)
		}
		return nil
	})
}

func checkQuarantine(d time.Duration) error {
	if d == NoQuarantine || d == backend.NoExpiry {
		return nil
	}
	return checkPositive("quarantine", d)
}

// keepBack quarantines the member of a lease, unless d is NoQuarantine, and ends the lease. What goes wrong is logged: the
// lease then ends by its time.
func keepBack[T any](ctx context.Context, p Pool[T], lease Lease[T], d time.Duration, cause error) {
	ns := p.Namespace()
	p.Logger().WarnContext(ctx, "member is unhealthy",
		append([]any{"namespace", ns.String(), "member", lease.Key()}, logError(cause)...)...)
	p.Observe(backend.Event{Kind: backend.EventUnhealthy, Namespace: ns, Member: lease.Key(), Err: cause})
	if d != NoQuarantine {
		if err := guard(func() error { return lease.SetUnhealthy(ctx, d) }); err != nil {
			p.Logger().WarnContext(ctx, "member is not quarantined",
				append([]any{"namespace", ns.String(), "member", lease.Key()}, logError(err)...)...)
		}
	}
	giveBack(ctx, p, lease)
}

// giveBack ends a lease that nobody will get.
func giveBack[T any](ctx context.Context, p Pool[T], lease Lease[T]) {
	if err := guard(func() error { return lease.Release(ctx) }); err != nil {
		p.Logger().WarnContext(ctx, "member is not given back",
			append([]any{"namespace", p.Namespace().String(), "member", lease.Key()}, logError(err)...)...)
	}
}

// logError gives the attributes of an error, with the stack if it was a panic.
func logError(err error) []any {
	if pe := (*PanicError)(nil); errors.As(err, &pe) {
		return []any{"error", err, "stack", string(pe.Stack)}
	}
	return []any{"error", err}
}
