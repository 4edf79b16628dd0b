package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Update sets the TTL of the lease, from now on: one round trip. It gives [ErrNotHeld] if the lease has ended. If the
// store gave no answer, the lease goes on with the earlier of both ends.
func (h *Hold) Update(ctx context.Context, ttl time.Duration) error {
	return h.adjust(ctx, func() (time.Duration, bool) { return ttl, h.kept })
}

// Quarantine has the store keep back what is held, under another token, for d. The lease goes on until then and is not
// renewed; Release leaves it alone. Called again it counts anew. One round trip.
func (h *Hold) Quarantine(ctx context.Context, d time.Duration) error {
	return h.adjust(ctx, func() (time.Duration, bool) { return d, true })
}

// Restore ends the quarantine: the lease is an ordinary one again, with its TTL. One round trip.
func (h *Hold) Restore(ctx context.Context) error {
	return h.adjust(ctx, func() (time.Duration, bool) { return h.ttl, false })
}

// Kept reports whether what is held is kept back.
func (h *Hold) Kept() bool {
	k := h.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.kept
}

// adjust renews h by hand. what is called with the keeper's mutex held and gives the TTL and whether to keep back.
func (h *Hold) adjust(ctx context.Context, what func() (ttl time.Duration, keep bool)) error {
	if h.rotated {
		return nil
	}
	b, err := h.reserve(ctx)
	if err != nil {
		return err
	}
	defer close(b.done)
	k := h.group.k
	k.mu.Lock()
	if h.state == over {
		defer k.mu.Unlock()
		return h.fate.notHeld()
	}
	ttl, keep := what()
	kept, doubt, before, at := h.kept, h.doubt, h.deadlineAt(), k.now()
	h.doubt = longer(doubt, ttl)
	sooner := end(at, ttl) < before
	if sooner { // the store may have that end long before its answer comes, if it comes
		h.deadline.Store(int64(end(at, ttl)))
		h.requeue(at, at)
	}
	k.mu.Unlock()
	if sooner {
		h.moved()
	}

	items := h.adjustment(ttl, keep, kept)
	renewed, err := h.group.lane.store.renew(ctx, h.group.cfg.Namespace, items)
	held := make([]bool, len(h.all()))
	for i := range min(len(renewed), len(items)) {
		of := i * len(held) / len(items)
		held[of] = held[of] || renewed[i]
	}

	k.mu.Lock()
	now := k.now()
	if h.batch == b {
		h.batch = nil
	}
	if h.state == over {
		defer k.mu.Unlock()
		return h.fate.notHeld()
	}
	h.state = idle
	f := live
	switch {
	case err != nil:
		again := h.claim || h.renews() // find out
		if !unanswered(err) {          // nothing has changed
			h.deadline.Store(int64(before))
			h.doubt, again = doubt, h.claim
		}
		h.requeue(at, now)
		if again {
			h.makeDue()
			k.dispatch(now)
		}
	case !allTrue(held, len(held)):
		f = lost
		k.end(h, lost)
		h.abandon(held, now)
	case h.deadlineAt() <= now: // too late: somebody may have seen that it is over
		f = expired
		k.end(h, expired)
	default:
		if h.kept = keep; !keep {
			h.ttl = ttl
		}
		h.claim, h.doubt = false, 0
		h.deadline.Store(int64(end(at, ttl)))
		h.requeue(at, now)
	}
	k.mu.Unlock()

	if f != live {
		h.tell(f)
		return f.notHeld()
	}
	h.moved()
	if err != nil {
		return fmt.Errorf("renewing: %w", err)
	}
	return nil
}

// adjustment is what to send: as many items for each thing that is held.
func (h *Hold) adjustment(ttl time.Duration, keep, kept bool) []backend.Renewal {
	all := h.all()
	items := make([]backend.Renewal, 0, 2*len(all))
	for _, held := range all {
		own := backend.Renewal{Member: held.Member, Token: held.Token, TTL: ttl}
		if !keep && !kept {
			items = append(items, own)
			continue
		}
		// Both, because an earlier attempt without an answer may have changed the token.
		away := own
		away.Token, away.NewToken = backend.QuarantineToken(own.Token), own.Token
		if keep {
			own.NewToken, away.NewToken = away.Token, away.Token
		}
		items = append(items, own, away)
	}
	return items
}

// moved has the context follow the deadline.
func (h *Hold) moved() {
	if c := h.ctx.Load(); c != nil {
		c.moved()
	}
}

// reserve keeps the keeper from renewing h while its holder does: the caller closes done when it is through.
func (h *Hold) reserve(ctx context.Context) (*batch, error) {
	k := h.group.k
	for {
		k.mu.Lock()
		if h.state != over && h.deadlineAt() > k.now() && h.batch == nil {
			b := &batch{done: make(chan struct{})}
			h.batch, h.state = b, sent
			k.mu.Unlock()
			return b, nil
		}
		b, ended := h.batch, h.state == over || h.deadlineAt() <= k.now()
		k.mu.Unlock()
		if ended {
			return nil, h.notHeld()
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// notHeld is the answer to who wants to change a lease that has ended.
func (h *Hold) notHeld() error {
	h.Valid() // ends it, if its deadline has passed
	k := h.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.fate.notHeld()
}

// requeue puts a live hold where it belongs after a change that was asked for at sent. The caller holds the keeper's
// mutex.
func (h *Hold) requeue(sent, now Instant) {
	k := h.group.k
	k.take(h)
	k.put(h, sent, now)
}
