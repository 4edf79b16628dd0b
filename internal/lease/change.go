package lease

import (
	"context"
	"time"
)

// Change calls f, which changes in the store what is held, by other means than a renewal and with the TTL that it is given,
// while nobody renews the lease. It gives [ErrNotHeld] if the lease has ended, and otherwise what f gives. A lease that
// is renewed in the background counts as renewed if f went well; any other keeps its end.
func (h *Hold) Change(ctx context.Context, f func(ttl time.Duration) error) error {
	b, err := h.reserve(ctx)
	if err != nil {
		return err
	}
	defer close(b.done)
	k := h.group.k
	k.mu.Lock()
	at := k.now()
	ttl := h.renewal(at)
	if ttl == 0 {
		ttl = time.Millisecond
	}
	anew := h.renews() || h.claim
	if anew {
		h.doubt = longer(h.doubt, ttl)
	}
	k.mu.Unlock()

	err = f(ttl)

	k.mu.Lock()
	now := k.now()
	if h.batch == b {
		h.batch = nil
	}
	late := h.state != over && h.deadlineAt() <= now
	switch {
	case late:
		k.end(h, expired)
	case h.state == over:
	case err != nil:
		h.state = idle
		if anew { // find out
			h.makeDue()
			k.dispatch(now)
		}
	default:
		h.state = idle
		if anew {
			h.claim, h.doubt = false, 0
			h.deadline.Store(int64(end(at, ttl)))
			h.requeue(at, now)
		}
	}
	if h.state == over {
		err = h.fate.notHeld()
	}
	k.mu.Unlock()
	if late {
		h.tell(expired)
	}
	return err
}
