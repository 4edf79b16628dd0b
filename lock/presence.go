package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redisallocator/redisallocator/internal/lease"
)

// Presence is a member of a [Heartbeat], of this process. It beats in the background until [Presence.Leave]. It is
// safe for concurrent use.
//
// Its life is a lease, like that of a [Held]: a beat that did not get through in time ends it, by the local monotonic clock and
// before anybody else takes the member for dead. Then the context ends, and nothing revives it but another Join.
type Presence struct {
	b      *Heartbeat
	leases *lease.Group
	hold   lease.Hold

	mu     sync.Mutex
	left   bool
	result error // of leaving
}

// ID is the name of the member.
func (p *Presence) ID() string { return p.hold.Key() }

// Token is the value in the store, which says who beats; see [ParseHolder].
func (p *Presence) Token() string { return p.hold.Token() }

// Context gives a context that derives from that of [Heartbeat.Join] and ends when others may take the member for dead.
// [context.Cause] tells why: [ErrExpired] if beats did not get through, [ErrLost] if the store no longer knows the member
// or knows another one under the same id, [ErrReleased] after Leave.
func (p *Presence) Context() context.Context { return p.hold.Context() }

// Err is why others may take the member for dead, as for [Presence.Context]; nil while it is alive. It reads the clock
// and sends nothing.
func (p *Presence) Err() error { return p.hold.Err() }

// Leave ends the member: the others learn at once, and the background has nothing to do for it any more. It takes values
// from ctx, but not its end; it waits for some 5 seconds at most to end the member, and as long again to take it out of the
// set. If the store could not be asked, the error matches backend.ErrUnavailable, and the member dies of itself when its TTL
// is over. A member that was dead already gets [ErrNotHeld]; it is taken out of the set, unless somebody else lives under
// that id. Leave again does nothing and gives the same. Three round trips.
func (p *Presence) Leave(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.left {
		p.left = true
		p.result = p.failed(p.leave(ctx))
	}
	return p.result
}

func (p *Presence) leave(ctx context.Context) error {
	p.hold.Context() // made now, so that it derives from the context of Join
	p.hold.Retire()
	p.leases.Close()
	switch err := p.hold.Release(ctx); {
	case err == nil:
		return p.remove(ctx)
	case errors.Is(err, ErrNotHeld):
		return and(err, p.removeDead(ctx))
	default:
		return err
	}
}

func (p *Presence) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("leave as %.100q: %w", p.ID(), err)
}

// remove takes the member out of the set, unless somebody else turns out to live under its id.
func (p *Presence) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease.ReleaseTimeout)
	defer cancel()
	_, err := p.b.drop(ctx, []string{p.ID()})
	return err
}

// removeDead is remove, but looks first.
func (p *Presence) removeDead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease.ReleaseTimeout)
	defer cancel()
	states, err := p.b.pool.keys.look(ctx, []string{p.ID()})
	if err != nil || states[0].Locked {
		return err
	}
	return p.remove(ctx)
}

// lost is told of the end of the member.
func (p *Presence) lost(_ *lease.Hold, why error) {
	if log := p.b.cfg.Logger; log != nil {
		log.Warn("member is taken for dead", "namespace", p.b.pool.keys.ns.String(), "id", p.ID(), "error", why)
	}
}
