package pool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

// Refresh exchanges the member: it closes the object, takes another member as Malloc does, with the same name and
// parameters, configures and opens the object with it, and gives the old member back unless it is kept back. Key,
// Token, Fence, Deadline and Context are then those of the new member, and the old context has ended with
// [ErrReleased]. The new one derives from the context of the allocation, as the old one did; ctx may be the old one, too. A
// lease that was lost gets a new member, too.
//
// If there is no other member it fails with [ErrExhausted]; the lease then still has the old one, with its object
// configured for it and closed: Open opens it again. If the new object cannot be opened, Refresh fails, and the lease
// has the new member.
func (l *Lease[T]) Refresh(ctx context.Context) error {
	opening, err := l.refresh(ctx)
	return l.fail("refresh", join(err, opening))
}

// RefreshUntilHealthy refreshes the lease and checks its object's health, up to n times. A member that fails, or cannot
// be opened, is kept back for d, as by SetUnhealthy; the first healthy one is bound, as by SetHealthy. If none of them
// is healthy it fails with [ErrUnhealthy] and the last reason, and the lease has the last member, kept back. When ctx
// ends during a check the member is not blamed.
func (l *Lease[T]) RefreshUntilHealthy(ctx context.Context, n int, d time.Duration) error {
	if n < 1 {
		return l.fail("refresh", invalid("attempts", strconv.Itoa(n), "must be at least 1"))
	}
	if err := backend.ValidateTTL("quarantine", d); err != nil {
		return l.fail("refresh", err)
	}
	var cause error
	for range n {
		opening, err := l.refresh(ctx)
		switch {
		case err == nil:
		case cause != nil && errors.Is(err, ErrExhausted):
			return l.fail("refresh", fmt.Errorf("%w: %w: %w", ErrUnhealthy, err, cause))
		default:
			return l.fail("refresh", err)
		}
		if cause = opening; cause == nil {
			cause = l.CheckHealth(ctx)
		}
		if cause == nil {
			return l.SetHealthy(ctx)
		}
		if ctx.Err() != nil {
			return l.fail("refresh", join(ctx.Err(), cause))
		}
		l.a.observe(backend.Event{
			Kind: backend.EventUnhealthy, Namespace: l.a.cfg.Namespace, Member: l.Key(), Err: cause,
		})
		if err := l.SetUnhealthy(ctx, d); err != nil {
			return join(err, cause)
		}
	}
	return l.fail("refresh", fmt.Errorf("%w in %d attempts: %w", ErrUnhealthy, n, cause))
}

// refresh gives, besides why there is no other member, why that could not be opened.
func (l *Lease[T]) refresh(ctx context.Context) (opening, err error) {
	l.mu.Lock()
	after, err := l.exchange(ctx)
	if err == nil && l.objectState() != opened { // a policy may have opened it already
		opening = l.openObject(ctx)
	}
	l.mu.Unlock()
	for _, f := range after {
		l.call(f)
	}
	return opening, err
}

// exchange gives the functions to call because the old member was given back.
func (l *Lease[T]) exchange(ctx context.Context) (after []func(), err error) {
	if l.released {
		return nil, errReleased
	}
	old := l.hold.Load()
	if err := l.closeObject(ctx); err != nil {
		l.a.cfg.Logger.WarnContext(ctx, "object not closed before it gets another member",
			"member", old.Key(), "error", err)
	}
	next, err := l.another(ctx)
	if err != nil {
		if l.hasObject { // the attempt may have configured it with a member that it did not get
			err = join(err, configure(l.object, old.Key(), l.Params()))
		}
		return nil, err
	}
	after = l.takeAfter()
	next.mu.Lock()
	next.extra().heir.Store(l)
	if theirs := next.takeAfter(); len(theirs) > 0 || l.more.Load() != nil {
		m := l.extra()
		m.after, m.kept = theirs, ""
	}
	l.setObjectState(next.objectState())
	h := next.hold.Load()
	h.Inherit(old)
	l.hold.Store(h)
	next.mu.Unlock()
	if err := old.Release(ctx); err == nil {
		l.a.returned(old)
	} else if !errors.Is(err, ErrNotHeld) {
		l.a.cfg.Logger.WarnContext(ctx, "member not given back after a refresh", "member", old.Key(), "error", err)
	}
	return after, nil
}

// another allocates another member for the lease.
func (l *Lease[T]) another(ctx context.Context) (*Lease[T], error) {
	a, old := l.a, l.hold.Load()
	if a.closed.Load() {
		return nil, backend.ErrClosed
	}
	if a.cfg.Shared {
		// The bound member would be preferred. In exclusive mode it cannot be had: it is this one.
		if err := l.unbind(ctx); err != nil {
			return nil, err
		}
	}
	// In shared mode the next member may be the same. It went to the end, so that the one after it is another one, if
	// there is one.
	for range 2 {
		req := policy.Request[T]{
			Object: l.object, HasObject: l.hasObject, TTL: old.TTL(), NoRenewal: l.noRenewal, Count: 1,
		}
		if m := l.more.Load(); m != nil {
			req.Params, req.Name, req.BindingTTL = m.params, m.name, m.bindingTTL
		}
		var next *Lease[T]
		var err error
		if a.cfg.Policy == nil {
			next, err = a.allocateOne(ctx, &req)
		} else {
			var leases []*Lease[T]
			if leases, err = a.ask(ctx, &req); err == nil {
				next = leases[0]
			}
		}
		if err != nil {
			return nil, err
		}
		if next.Key() != old.Key() || !a.cfg.Shared {
			return next, nil
		}
		next.setObjectState(shut) // the object is ours
		if err := join(next.Release(ctx), l.unbind(ctx)); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w but the one that it has", ErrExhausted)
}
