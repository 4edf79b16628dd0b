package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	minCall = 20 * time.Millisecond
	maxCall = 5 * time.Second
)

// batch is one call that renews.
type batch struct {
	holds []*Hold
	items []backend.Renewal
	ttl   time.Duration // the shortest; of what was handed over the time that is left
	end   Instant       // when the first of them ends
	// patience is how long to wait for an answer: a sixth of the TTL, and twice as long after a failure, in case
	// that the store is merely slow; but always so that there is time for another attempt.
	patience time.Duration
	done     chan struct{} // closed when the answer has been dealt with
}

// work is a worker that renews, until there is nothing more to send now.
func (k *keeper) work(l *lane) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.closed && l.renewers(k.now()) > 0 {
		b := l.batch(k.now())
		if b == nil {
			break
		}
		k.mu.Unlock()
		k.renew(l, b)
		k.mu.Lock()
	}
	l.renewing.workers--
	k.workers--
	k.ended()
}

// batch takes the next leases to renew. Nil: there are none.
func (l *lane) batch(now Instant) *batch {
	b := &batch{done: make(chan struct{}), ttl: backend.NoExpiry, end: never}
	n := 0
	for ; n < len(l.pending) && len(b.items) < l.limit; n++ {
		h := l.pending[n]
		all := h.all()
		if len(b.items) > 0 && len(b.items)+len(all) > l.limit && h.state == pending {
			break
		}
		l.pending[n] = nil
		if h.claim {
			l.claims--
		}
		if h.state != pending {
			continue
		}
		ttl := h.renewal(now)
		if ttl == 0 {
			h.state = idle // at its end; the queue has it
			continue
		}
		if b.items == nil {
			room := min(len(l.pending)-n, l.limit)
			b.holds, b.items = make([]*Hold, 0, room), make([]backend.Renewal, 0, max(room, len(all)))
		}
		h.state, h.batch, h.doubt = sent, b, longer(h.doubt, ttl)
		b.holds = append(b.holds, h)
		for _, held := range all {
			b.items = append(b.items, backend.Renewal{Member: held.Member, Token: h.storeToken(held.Token), TTL: ttl})
		}
		b.end = min(b.end, h.deadlineAt())
		if h.claim {
			ttl = h.deadlineAt().Sub(now)
		}
		if ttl != backend.NoExpiry && (b.ttl == backend.NoExpiry || ttl < b.ttl) {
			b.ttl = ttl
		}
	}
	if l.pending = l.pending[n:]; len(l.pending) == 0 {
		l.pending, l.claims = nil, 0
	}
	if len(b.holds) == 0 {
		return nil
	}
	b.patience = maxCall
	if b.ttl != backend.NoExpiry {
		b.patience = min(max(b.ttl/6, minCall), maxCall)
	}
	if l.renewing.backoff > 0 {
		b.patience *= 2
	}
	b.patience = min(b.patience, max(b.end.Sub(now)/4*3, minCall))
	return b
}

// renewal is the TTL to send for h. A lease that is not to be renewed is only asked about: it gets what it has left.
func (h *Hold) renewal(now Instant) time.Duration {
	switch deadline := h.deadlineAt(); {
	case h.renews() || h.claim:
		return h.ttl
	case deadline == never:
		return backend.NoExpiry
	default:
		return max((deadline.Sub(now) + Margin(h.ttl)).Truncate(time.Millisecond), 0)
	}
}

// storeToken is what stands in the store for a token. The caller holds the keeper's mutex.
func (h *Hold) storeToken(token string) string {
	if h.kept {
		return backend.QuarantineToken(token)
	}
	return token
}

// renew sends a batch and deals with the answer.
func (k *keeper) renew(l *lane, b *batch) {
	ctx, cancel := context.WithTimeout(k.ctx, b.patience)
	at := k.now()
	renewed, err := l.store.renew(ctx, l.ns, b.items)
	cancel()
	if err == nil && len(renewed) != len(b.items) {
		err = fmt.Errorf("renewal of %d leases: backend answered for %d", len(b.items), len(renewed))
	}

	k.mu.Lock()
	now := k.now()
	var late, gone []*Hold // h.fate may be another one by the time that they are told
	next := 0
	for _, h := range b.holds {
		i := next
		next += len(h.all())
		if h.batch != b {
			continue
		}
		h.batch = nil
		if h.state != sent { // it has ended
			continue
		}
		h.state = idle
		switch {
		case h.deadlineAt() <= now: // too late, whatever the answer: somebody may have seen that it is over
			k.end(h, expired)
			late = append(late, h)
		case err != nil:
			h.makeDue()
		case slices.Contains(renewed[i:next], false):
			k.end(h, lost)
			gone = append(gone, h)
			h.abandon(renewed[i:next], now)
		default:
			h.doubt = 0
			if h.renews() || h.claim {
				h.deadline.Store(int64(end(at, b.items[i].TTL)))
			}
			h.claim = false
			h.requeue(at, now)
		}
	}
	switch {
	case err == nil:
		l.renewing.recovered()
		l.limit = min(2*l.limit, backend.BatchLimit)
	case len(b.holds) > 1 && !unanswered(err):
		// One of them may be at fault. Smaller and smaller batches leave it by itself in the end.
		l.limit = len(b.items) / 2
	default:
		l.renewing.failed(now, b.ttl, b.end.Sub(now))
		if l.claims > 0 {
			l.renewing.hold(now, claimPause)
		}
	}
	backoff := l.renewing.backoff
	k.mu.Unlock()
	close(b.done)

	for _, h := range late {
		h.tell(expired)
	}
	for _, h := range gone {
		h.tell(lost)
	}
	if err != nil && k.ctx.Err() == nil {
		b.holds[0].group.cfg.Logger.Warn("leases not renewed, trying again", "namespace", l.ns.String(),
			"leases", len(b.holds), "backoff", backoff, "error", err)
	}
}

// unanswered reports whether a call that failed like this may have had its effect, or may have it the next time.
func unanswered(err error) bool {
	return errors.Is(err, backend.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled)
}
