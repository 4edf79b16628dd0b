package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// SetUnhealthy keeps the member back for d (at least a millisecond; backend.NoExpiry: until somebody lifts it): nobody
// gets it, and Release does not put it back. The name of the lease is no longer bound to it.
//
// In exclusive mode the lease goes on for d and is not renewed any more; [Lease.SetHealthy] makes it an ordinary one
// again. In shared mode others that have the member keep it; a member that is kept back or locked already stays as it
// is.
//
// One round trip, and one more for a name. It fails with [ErrNotHeld] if the lease has ended.
func (l *Lease[T]) SetUnhealthy(ctx context.Context, d time.Duration) error {
	if err := backend.ValidateTTL("quarantine", d); err != nil {
		return l.fail("quarantine", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fail("quarantine", l.setUnhealthy(ctx, d))
}

func (l *Lease[T]) setUnhealthy(ctx context.Context, d time.Duration) error {
	if l.released {
		return errReleased
	}
	h := l.hold.Load()
	var err error
	if l.a.cfg.Shared {
		err = l.quarantineShared(ctx, d)
	} else {
		err = h.Quarantine(ctx, d)
	}
	if err == nil && l.a.cfg.Observer != nil {
		l.a.observe(backend.Event{
			Kind: backend.EventQuarantined, Namespace: l.a.cfg.Namespace, Member: h.Key(), Token: h.Token(),
			Fence: h.Fence(), Duration: d,
		})
	}
	return join(err, l.unbind(ctx))
}

// quarantineShared locks a member that has no lock, or sets the TTL of our own quarantine.
func (l *Lease[T]) quarantineShared(ctx context.Context, d time.Duration) error {
	key, m := l.Key(), l.extra()
	if m.kept != "" {
		reply, err := l.a.be.Renew(ctx, backend.RenewRequest{
			Namespace: l.a.cfg.Namespace, Items: []backend.Renewal{{Member: key, Token: m.kept, TTL: d}},
		})
		if err != nil || len(reply.Renewed) == 1 && reply.Renewed[0] {
			return err
		}
	}
	m.kept = backend.QuarantineToken(backend.NewToken())
	_, err := l.a.be.Take(ctx, backend.TakeRequest{
		Namespace: l.a.cfg.Namespace, Token: m.kept, TTL: d, Prefer: []string{key}, Only: true,
	})
	return err
}

// SetHealthy binds the name of the lease, if it has one, to the member, and lifts the member's quarantine: in
// exclusive mode its own, in shared mode whoever has set it. One round trip, and one or two more if there is a
// quarantine to lift. It fails with [ErrNotHeld] if the lease has ended.
func (l *Lease[T]) SetHealthy(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fail("lift quarantine", l.setHealthy(ctx))
}

func (l *Lease[T]) setHealthy(ctx context.Context) error {
	if l.released {
		return errReleased
	}
	h := l.hold.Load()
	var err error
	switch {
	case l.a.cfg.Shared:
		err = l.liftShared(ctx)
	case h.Kept():
		err = h.Restore(ctx)
	default:
		if why := h.Err(); why != nil {
			err = fmt.Errorf("%w: %w", ErrNotHeld, why)
		}
	}
	if err != nil {
		return err
	}
	return l.bind(ctx)
}

func (l *Lease[T]) liftShared(ctx context.Context) error {
	ns, key := l.a.cfg.Namespace, l.Key()
	locks, err := l.a.be.Get(ctx, backend.GetRequest{Namespace: ns, Kind: backend.KindLock, Names: []string{key}})
	if err != nil || len(locks) != 1 || !backend.IsQuarantine(locks[0].Value) {
		return err
	}
	_, err = l.a.be.Return(ctx, backend.ReturnRequest{
		Namespace: ns, Items: []backend.Held{{Member: key, Token: locks[0].Value}},
	})
	l.extra().kept = ""
	return err
}

func (l *Lease[T]) bind(ctx context.Context) error {
	m := l.more.Load()
	if m == nil || m.name == "" {
		return nil
	}
	_, err := l.a.be.Set(ctx, backend.SetRequest{
		Namespace: l.a.cfg.Namespace, Kind: backend.KindBinding,
		Items: []backend.SetItem{{Name: m.name, Value: l.Key(), TTL: m.bindingTTL}},
	})
	return err
}

// unbind ends the binding of the lease's name if it is to this member.
func (l *Lease[T]) unbind(ctx context.Context) error {
	name := l.Name()
	if name == "" {
		return nil
	}
	_, err := l.a.be.Delete(ctx, backend.DeleteRequest{
		Namespace: l.a.cfg.Namespace, Kind: backend.KindBinding,
		Items: []backend.DeleteItem{{Name: name, Cond: backend.IfEqual, Operand: l.Key()}},
	})
	return err
}
