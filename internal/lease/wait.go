package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// ErrWaited means that MaxWait was over before there was a grant.
var ErrWaited = errors.New("waited too long")

// Wait is a request that waits in line.
type Wait struct {
	backend.EnterRequest

	// MaxWait, if positive, ends the wait with [ErrWaited].
	MaxWait time.Duration
}

// Granted is what a wait has led to.
type Granted struct {
	Grants []backend.Grant

	// Claim, if positive, says that the grants were handed over and have only this TTL yet. It goes into the [Terms]
	// of Start, which has them renewed. Else they have their full TTL.
	Claim time.Duration

	At     Instant       // from when the TTL counts: when something was sent, after which they were granted or renewed
	Waited time.Duration // from the call
	Tries  int           // how often the line was entered; 1 unless a claim has passed on
}

// minAhead is what must be left of a claim so that it is used before it was renewed; half of it must be left, too.
const minAhead = 100 * time.Millisecond

// Enter takes at once or waits in line: until there are grants, ctx ends, MaxWait is over or the group is closed. In
// the latter cases nothing is held and nobody waits when it returns, or, if the store could not be reached just then,
// as soon as it can be; then the error also matches [backend.ErrUnavailable].
//
// It takes one round trip if there is something to take, else one to join the line. What is handed over needs no further
// one, if it is known well enough since when at the latest it counts ([Granted.Claim]); else one to renew it. The group
// must be of the kind that w asks for.
//
// Whoever does not call Start soon may find the claim over: [Group.Acquire] sees to that.
func (g *Group) Enter(ctx context.Context, lines backend.Lines, w Wait) (Granted, error) {
	begin := g.Now()
	done := func(grants []backend.Grant, at Instant, claim time.Duration, tries int) (Granted, error) {
		return Granted{Grants: grants, Claim: claim, At: at, Waited: g.Now().Sub(begin), Tries: tries}, nil
	}
	var timeout <-chan time.Time
	for tries := 1; ; tries++ {
		at := g.Now()
		reply, err := lines.Enter(ctx, w.EnterRequest)
		if err != nil {
			return Granted{}, Ended(ctx, err)
		}
		if len(reply.Grants) > 0 {
			return done(reply.Grants, at, 0, tries)
		}
		if timeout == nil && w.MaxWait > 0 {
			t := time.NewTimer(w.MaxWait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case h := <-reply.Handover:
			if h.Err != nil {
				return Granted{}, h.Err
			}
			if at, claim := g.ahead(&w, &h); claim > 0 {
				return done(h.Grants, at, claim, tries)
			}
			at, ok, err := g.confirm(ctx, &w, h.Grants)
			if err != nil {
				return Granted{}, g.quit(ctx, lines, &w, h.Grants, err)
			}
			if ok {
				return done(h.Grants, at, 0, tries)
			}
			// The claim has passed on to somebody else. Of several, some may be ours all the same.
			if len(h.Grants) > 1 {
				// What goes on in the background would undo what the same token is granted anew.
				if err := g.leave(ctx, lines, &w, h.Grants); err != nil {
					return Granted{}, fmt.Errorf("a part of what was handed over has passed on: %w", err)
				}
			}
		case <-ctx.Done():
			return Granted{}, g.quit(ctx, lines, &w, nil, ctx.Err())
		case <-timeout:
			return Granted{}, g.quit(ctx, lines, &w, nil, fmt.Errorf("%w: %v", ErrWaited, w.MaxWait))
		case <-g.done:
			return Granted{}, g.quit(ctx, lines, &w, nil, errGroupClosed)
		}
	}
}

// Acquire is Enter and, with what was granted, start, which makes leases of it with [Group.Start]. If start fails with
// [ErrExpired] because the process was stopped until a claim was over, the line is entered again. Whenever start fails
// it must have given back what it was given; an error that matches [backend.ErrUnavailable] says that this goes on in
// the background. MaxWait is for all waits together.
func (g *Group) Acquire(ctx context.Context, lines backend.Lines, w Wait, start func(*Granted) error) error {
	begin, maxWait := g.Now(), w.MaxWait
	for tries := 0; ; {
		got, err := g.Enter(ctx, lines, w)
		if err != nil {
			return err
		}
		tries += got.Tries
		got.Tries, got.Waited = tries, g.Now().Sub(begin)
		if err = start(&got); err == nil || got.Claim == 0 || g.Now() < end(got.At, got.Claim) ||
			!errors.Is(err, ErrExpired) || errors.Is(err, backend.ErrUnavailable) {
			return err
		}
		if maxWait > 0 {
			if w.MaxWait = maxWait - g.Now().Sub(begin); w.MaxWait <= 0 {
				return fmt.Errorf("%w: %v", ErrWaited, maxWait)
			}
		}
	}
}

// claimTTL is for how long what is handed over is kept.
func (w *Wait) claimTTL() time.Duration {
	if w.ClaimTTL == 0 {
		return backend.DefaultClaimTTL
	}
	return w.ClaimTTL
}

// locked reports whether there is something in the store to renew.
func (w *Wait) locked() bool { return w.ForLocks() || !w.Take.Shared }

// ahead gives the claim, and from when it counts, if what was handed over can be used before it was renewed.
func (g *Group) ahead(w *Wait, h *backend.Handover) (at Instant, claim time.Duration) {
	if h.Since.IsZero() || !w.locked() {
		return 0, 0
	}
	claim = w.claimTTL()
	now := g.Now()
	at = min(g.k.instant(h.Since), now)
	if end(at, claim).Sub(now) < max(claim/2, minAhead) {
		return 0, 0
	}
	return at, claim
}

// ttl is that of the leases.
func (w *Wait) ttl() time.Duration {
	if w.ForLocks() {
		return w.Lock.TTL
	}
	return w.Take.TTL
}

// confirm turns claims into leases with their full TTL, all of them. ok is false if the store says that one of them
// is no longer ours.
func (g *Group) confirm(ctx context.Context, w *Wait, grants []backend.Grant) (at Instant, ok bool, err error) {
	if !w.locked() {
		return g.Now(), true, nil
	}
	ttl, claim := w.ttl(), w.claimTTL()
	items := make([]backend.Renewal, len(grants))
	for i := range grants {
		items[i] = backend.Renewal{Member: grants[i].Member, Token: grants[i].Token, TTL: ttl}
	}
	// What was not confirmed by then has passed on.
	bounded, cancel := context.WithTimeout(ctx, claim)
	defer cancel()
	pause := effort{}
	for {
		at = g.Now()
		renewed, err := g.lane.store.renew(bounded, w.Space(), items)
		if err == nil {
			for i := range grants {
				grants[i].TTL = ttl
			}
			return at, allTrue(renewed, len(items)), nil
		}
		if !unanswered(err) {
			return at, false, err
		}
		pause.failed(at, claim, claim)
		select {
		case <-time.After(pause.backoff):
		case <-bounded.Done():
			if ctx.Err() != nil {
				return at, false, ctx.Err()
			}
			// Not wrapped: that the time for it is over is not the end of the caller's context.
			return at, false, fmt.Errorf("%w: what was handed over could not be confirmed within %v: %s",
				backend.ErrUnavailable, claim, err.Error())
		case <-g.done:
			return at, false, errGroupClosed
		}
	}
}

// leaveTimeout bounds how long somebody who has given up waiting is kept. On a healthy connection that is enough to
// leave nothing behind; otherwise the keeper sees to it.
const leaveTimeout = 500 * time.Millisecond

// quit gives up waiting because of err.
func (g *Group) quit(ctx context.Context, lines backend.Lines, w *Wait, grants []backend.Grant, err error) error {
	if further := g.leave(ctx, lines, w, grants); further != nil {
		return fmt.Errorf("%w (%w)", err, further)
	}
	return err
}

// leave leaves the line and gives back what was granted: claims are given back by the Leave, and what a
// confirmation has or may have renewed by itself. If the store cannot be reached now, the error says so, and the keeper
// does it as soon as it can.
func (g *Group) leave(ctx context.Context, lines backend.Lines, w *Wait, grants []backend.Grant) error {
	k := g.k
	d, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	until := g.Now().add(maxChore)
	var errs []error
	later := func(err error, c chore) {
		errs = append(errs, fmt.Errorf("leaving the line: %w", Unavailable(err)))
		if unanswered(err) {
			c.g, c.until = g, until
			k.mu.Lock()
			defer k.mu.Unlock()
			g.later(c)
		}
	}
	leave := &backend.LeaveRequest{Namespace: w.Space(), Token: w.Owner()}
	for i := range w.Lock.Items {
		leave.Names = append(leave.Names, w.Lock.Items[i].Name)
	}
	if _, err := lines.Leave(d, *leave); err != nil {
		later(err, chore{lines: lines, leave: leave})
	}
	if len(grants) > 0 && w.locked() {
		items := make([]backend.Held, len(grants))
		for i := range grants {
			items[i] = backend.Held{Member: grants[i].Member, Token: grants[i].Token}
		}
		if _, err := g.lane.store.giveBack(d, w.Space(), items); err != nil {
			later(err, chore{items: items})
		}
	}
	return errors.Join(errs...)
}
