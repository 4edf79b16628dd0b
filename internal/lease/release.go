package lease

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Release ends the lease and gives back what is held: one round trip. It takes values from ctx, but not its end; it
// waits until the lease has run out in the store, but for at most [ReleaseTimeout].
//
// If the store could not be asked, the error matches [backend.ErrUnavailable], and the keeper goes on trying in the
// background until the lease has run out in the store. A lease that has ended gets [ErrNotHeld] and changes nothing
// of anybody else's; one that was lost in part is given back for the rest. What is kept back by [Hold.Quarantine] stays so.
// Release again does nothing.
func (h *Hold) Release(ctx context.Context) error {
	g := h.group
	k := g.k
	k.mu.Lock()
	f, kept := h.fate, h.kept
	k.end(h, released)
	if h.fate = released; f != released {
		h.parent = ctx
	}
	if f == expired && h.doubt != 0 && !kept {
		// A renewal may have reached the store and given it a later end than we know of.
		g.later(chore{g: g, items: h.all(), until: h.storeEnd(k.now())})
	}
	k.mu.Unlock()
	h.endContext()

	switch {
	case f == released || h.rotated || kept:
		return nil
	case f == lost || f == expired:
		return f.notHeld()
	}
	held, err := h.giveBack()
	if err == nil && !held {
		h.tell(lost)
		return lost.notHeld()
	}
	return err
}

// Finish ends the lease, as Release does, but gives nothing back: its holder has ended it in the store by other means. It
// reports whether the lease was valid until now.
func (h *Hold) Finish() bool {
	k := h.group.k
	k.mu.Lock()
	f := h.fate
	k.end(h, released)
	h.fate = released
	k.mu.Unlock()
	h.endContext()
	return f == live
}

// Lose ends the lease as lost: somebody has said so who knows.
func (h *Hold) Lose() {
	k := h.group.k
	k.mu.Lock()
	ended := k.end(h, lost)
	k.mu.Unlock()
	if ended {
		h.tell(lost)
	}
}

// Discard gives back a grant that nobody will use, after Start, whatever that said. That it is no longer held is fine.
func (h *Hold) Discard(ctx context.Context) error {
	k := h.group.k
	k.mu.Lock()
	k.end(h, released)
	h.parent = ctx
	k.mu.Unlock()
	if h.rotated {
		return nil
	}
	_, err := h.giveBack()
	return err
}

// giveBack tells whether it was still held. The context to do it with has become the parent.
func (h *Hold) giveBack() (held bool, err error) {
	g := h.group
	k := g.k
	d := (*releasing)(h)
	returned, err := g.lane.store.giveBack(d, g.cfg.Namespace, h.all())
	d.stop()
	if err == nil {
		return allTrue(returned, len(h.all())), nil
	}
	if !unanswered(err) {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.later(chore{g: g, hold: h, items: h.all(), until: h.storeEnd(k.now())}) {
		return false, fmt.Errorf("not given back yet, trying on in the background: %w", Unavailable(err))
	}
	return false, fmt.Errorf("not given back: %w", Unavailable(err))
}

// abandon has the rest of a lease given back that was lost only in part. The caller holds the keeper's mutex.
func (h *Hold) abandon(held []bool, now Instant) {
	var rest []backend.Held
	for i, it := range h.all() {
		if i < len(held) && held[i] {
			rest = append(rest, it)
		}
	}
	if len(rest) > 0 {
		h.group.soon(chore{g: h.group, items: rest, until: h.storeEnd(now)})
	}
}

func allTrue(all []bool, n int) bool { return len(all) == n && !slices.Contains(all, false) }

// storeEnd is when the lease has run out in the store at the latest. The caller holds the keeper's mutex.
func (h *Hold) storeEnd(now Instant) Instant {
	deadline := h.deadlineAt()
	if deadline == never || h.doubt == backend.NoExpiry {
		return never
	}
	if h.doubt != 0 { // an attempt to renew it may just now have given it a later end
		deadline = max(deadline, now.add(h.doubt))
	}
	return deadline.add(Margin(max(h.ttl, h.doubt)))
}

// patience is how long Release waits.
func (h *Hold) patience() time.Duration {
	k := h.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	return min(max(h.storeEnd(now).Sub(now), minCall), ReleaseTimeout)
}
