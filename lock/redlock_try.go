package lock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// try tries once. since is when the caller began.
func (r *Redlock) try(ctx context.Context, name string, since time.Time) (*RedlockHeld, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("lock %.100q: %w", name, err)
	}
	claim := newRedlockClaim(r, name)
	sent := time.Now()
	answers := claim.lock(ctx)
	tally := r.newTally()
	for !tally.decided() {
		select {
		case a := <-answers:
			tally.count(a)
		case <-ctx.Done():
			claim.release(ctx)
			return nil, fmt.Errorf("lock %.100q: %w", name, ctx.Err())
		case <-r.closing:
			claim.release(ctx)
			return nil, fmt.Errorf("lock %.100q: %w", name, backend.ErrClosed)
		}
	}
	if !tally.reached() {
		kind := ErrLocked
		if tally.mute() {
			kind = ErrNoQuorum
		}
		return nil, r.giveUp(ctx, claim, tally, tally.fail("lock", name, kind))
	}
	h := newRedlockHeld(ctx, claim, since)
	err := r.hold(h, sent)
	switch {
	case err == nil:
		return h, nil
	case errors.Is(err, backend.ErrClosed):
		claim.release(ctx)
		return nil, fmt.Errorf("lock %.100q: %w", name, backend.ErrClosed)
	default: // we were stopped for a while
		kind := fmt.Errorf("%w: the answers came too late for a validity of %v", ErrNoQuorum, r.cfg.validity())
		return nil, r.giveUp(ctx, claim, tally, tally.fail("lock", name, kind))
	}
}

// giveUp has everything given back, and waits for those servers that are known to have granted something and
// answer, unless ctx ends.
func (r *Redlock) giveUp(ctx context.Context, claim *redlockClaim, tally *redlockTally, err error) error {
	answers := claim.release(ctx)
	for missing := tally.yes; missing > 0; {
		select {
		case a := <-answers:
			if tally.granted[a.server] {
				missing--
			}
		case <-ctx.Done():
			return err
		}
	}
	return err
}
