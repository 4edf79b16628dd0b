package lease

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Hold is one lease, from Start to its end. It is meant to be a field of what is handed to users; it must not be
// copied. After Start its methods may be called concurrently.
type Hold struct {
	group   *Group
	held    [1]backend.Held // an array, so that giving back needs no slice of its own
	several *[]backend.Held // all that is held, if that is more than one
	fence   int64
	parent  context.Context // what its context derives from; after the end, what it is given back with
	owner   any             // what the hold is part of
	since   Instant         // when it was asked for or handed over

	deadline atomic.Int64 // an Instant
	ctx      atomic.Pointer[holdContext]
	bound    atomic.Pointer[bound] // of the call that gives it back

	// The rest is guarded by the keeper's mutex, but for ended.
	next, prev *Hold
	due        Instant
	ttl        time.Duration // also while it is kept back for another time
	doubt      time.Duration // 0, or the longest TTL that the store was asked for since it answered last
	batch      *batch        // the call that it is being renewed with
	ended      atomic.Bool
	slot       int16 // its list in the queue
	state      state
	fate       fate // how it ended
	cause      fate // how its context ended, which may be earlier
	renew      bool // was asked for
	claim      bool // was handed over and has not been renewed yet
	kept       bool // under the quarantine token
	rotated    bool // a shared grant: there is nothing in the store
}

const noSlot = -1

// state is what a hold is waiting for.
type state uint8

const (
	idle    state = iota // for its next renewal, or its end
	pending              // to be sent
	sent                 // for an answer
	over                 // for nothing
)

// Terms are what a lease was granted for.
type Terms struct {
	TTL    time.Duration // positive, or backend.NoExpiry; not used with Shared
	Renew  bool          // renew it in the background
	Shared bool          // there is no lock: the lease lasts until it is released

	// Claim, if positive, is what the store has given instead of TTL: what was handed over is kept for so long. The
	// lease has that end at first, or an earlier one by its TTL, and is renewed for its TTL at once, in the
	// background, whether or not Renew is set. See [Granted].
	Claim time.Duration

	// Owner is what the hold is part of; see [Hold.Owner].
	Owner any
}

// Start makes h the lease of a grant that was asked for at the given moment. ctx is what its context derives from. It
// does not block.
//
// It fails with [ErrExpired] if the grant took so long that the lease is over already, and with
// [backend.ErrClosed] after Close. Then the caller calls [Hold.Discard].
func (g *Group) Start(ctx context.Context, h *Hold, grant backend.Grant, at Instant, terms Terms) error {
	h.fence = grant.Fence
	h.held[0] = backend.Held{Member: grant.Member, Token: grant.Token}
	return g.start(ctx, h, at, &terms)
}

// StartAll is Start for one lease on all that one request was granted, which must not be nothing. It is renewed and
// given back in one call. When one of them is lost the lease is, and the rest is given back in the background.
func (g *Group) StartAll(ctx context.Context, h *Hold, grants []backend.Grant, at Instant, terms Terms) error {
	if len(grants) > 1 {
		all := make([]backend.Held, len(grants))
		for i := range grants {
			all[i] = backend.Held{Member: grants[i].Member, Token: grants[i].Token}
			h.fence = max(h.fence, grants[i].Fence)
		}
		h.held[0], h.several = all[0], &all
		return g.start(ctx, h, at, &terms)
	}
	return g.Start(ctx, h, grants[0], at, terms)
}

func (g *Group) start(ctx context.Context, h *Hold, at Instant, terms *Terms) error {
	h.group, h.parent, h.owner, h.since = g, ctx, terms.Owner, at
	h.ttl, h.renew, h.rotated = terms.TTL, terms.Renew, terms.Shared
	k := g.k
	now := k.now()
	deadline := never
	switch {
	case terms.Shared:
		h.ttl = backend.NoExpiry
	case terms.Claim > 0:
		// The renewal may have its effect without an answer, and give the lease an end before that of the claim.
		h.claim, h.since, deadline = true, now, min(end(at, terms.Claim), end(now, terms.TTL))
	default:
		deadline = end(at, terms.TTL)
	}
	h.deadline.Store(int64(deadline))

	k.mu.Lock()
	switch {
	case g.closed:
		h.state, h.fate, h.cause = over, closed, closed
	case deadline <= now:
		h.state, h.fate, h.cause = over, expired, expired
		if !h.claim {
			h.doubt = h.ttl
		}
	default:
		if h.claim {
			h.makeDue()
			k.hurry(g.lane, now, deadline.Sub(now))
		}
		k.put(h, at, now)
		g.live++
		k.mu.Unlock()
		return nil
	}
	k.mu.Unlock()
	h.ended.Store(true)
	return h.fate.err()
}

// Key is what is held: a member of a pool, or the name of a lock; of several the first.
func (h *Hold) Key() string { return h.held[0].Member }

// Keys is all that is held, in the order of the grants.
func (h *Hold) Keys() []string {
	all := h.all()
	keys := make([]string, len(all))
	for i := range all {
		keys[i] = all[i].Member
	}
	return keys
}

// all is what is held. It must not be changed.
func (h *Hold) all() []backend.Held {
	if h.several != nil {
		return *h.several
	}
	return h.held[:]
}

// Token is the owner token in the store.
func (h *Hold) Token() string { return h.held[0].Token }

// Fence is the fencing number of the grant, of several the largest; 0 in shared mode.
func (h *Hold) Fence() int64 { return h.fence }

// Owner is what Terms said: by it the functions in [Config] find out whose hold they are told of.
func (h *Hold) Owner() any { return h.owner }

// Age is the time since the lease was asked for or, after a wait, begun.
func (h *Hold) Age() time.Duration { return h.group.k.now().Sub(h.since) }

func (h *Hold) deadlineAt() Instant { return Instant(h.deadline.Load()) }

// Deadline is when the lease ends unless it is renewed, or when it would have. It is the zero time if there is no
// end.
func (h *Hold) Deadline() time.Time {
	at := h.deadlineAt()
	if at == never {
		return time.Time{}
	}
	return time.Now().Add(at.Sub(h.group.k.now()))
}

// Valid reports whether the lease is held, as far as can be known without asking the store. It reads the clock.
func (h *Hold) Valid() bool {
	if h.ended.Load() {
		return false
	}
	if at := h.deadlineAt(); at == never || h.group.k.now() < at {
		return true
	}
	return !h.expire()
}

// Err is why the lease has ended: nil while it is valid.
func (h *Hold) Err() error {
	if h.Valid() {
		return nil
	}
	k := h.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.fate.err()
}

// expire ends the lease if its deadline has passed, and tells whether it is over. Whoever saw that it has passed
// calls it, so that no renewal can make it valid again.
func (h *Hold) expire() bool {
	k := h.group.k
	k.mu.Lock()
	if h.state == over || k.now() < h.deadlineAt() {
		defer k.mu.Unlock()
		return h.state == over
	}
	k.end(h, expired)
	k.mu.Unlock()
	h.tell(expired)
	return true
}

// Retire ends the context of the lease, as Release does, but holds on to the lease: its holder cleans up.
func (h *Hold) Retire() {
	k := h.group.k
	k.mu.Lock()
	if h.cause == live {
		h.cause = released
	}
	k.mu.Unlock()
	h.endContext()
}

// renews reports whether h is renewed in the background. The caller holds the keeper's mutex.
func (h *Hold) renews() bool { return h.renew && !h.kept && h.ttl != backend.NoExpiry }

// makeDue has h renewed with the next batch. The caller holds the keeper's mutex.
func (h *Hold) makeDue() {
	if h.state == idle && !h.rotated {
		l := h.group.lane
		h.state = pending
		l.pending = append(l.pending, h)
		if h.claim {
			l.claims++
		}
	}
}

// tell lets the world know that h has ended. The caller does not hold the keeper's mutex.
func (h *Hold) tell(f fate) {
	h.endContext()
	if (f == lost || f == expired && !h.kept) && h.group.cfg.OnLost != nil {
		h.group.cfg.OnLost(h, f.err())
	}
}

// TTL is that of the lease, which it also has again after a quarantine.
func (h *Hold) TTL() time.Duration {
	k := h.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.ttl
}

// Doubt is the longest TTL that the store may have given the lease without our knowing; 0: there is none.
func (h *Hold) Doubt() time.Duration {
	k := h.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.doubt
}

// longer gives the longer of two TTLs.
func longer(a, b time.Duration) time.Duration {
	if a == backend.NoExpiry || b == backend.NoExpiry {
		return backend.NoExpiry
	}
	return max(a, b)
}
