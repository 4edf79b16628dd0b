package lease

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// lane is what a keeper has to send for one kind of leases in one namespace. It is guarded by the keeper's mutex.
type lane struct {
	ns     backend.Namespace
	store  store
	groups int

	pending  []*Hold // to renew; those that ended meanwhile are skipped
	claims   int     // so many of those were handed over and not renewed yet, or have ended since
	renewing effort
	limit    int // how many to renew at once

	chores  []chore // what else is to be done, in the background
	tidying effort
}

// effort is how hard something is tried.
type effort struct {
	workers int
	holdoff Instant // after trouble, nothing is sent before
	backoff time.Duration
}

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = 5 * time.Second

	// claimPause is the longest pause between attempts to renew what was handed over.
	claimPause = 100 * time.Millisecond
)

// failed has the next attempt wait. ttl is the shortest lease that is at stake, left the time that one has at least.
func (e *effort) failed(now Instant, ttl, left time.Duration) {
	if ttl == backend.NoExpiry {
		ttl = 16 * maxBackoff
	}
	most := max(min(ttl/16, left/4, maxBackoff), minBackoff)
	e.backoff = min(max(2*e.backoff, ttl/128, minBackoff), most)
	e.holdoff = now.add(jitter(e.backoff))
}

// hold bounds how long the next attempt still waits.
func (e *effort) hold(now Instant, most time.Duration) { e.holdoff = min(e.holdoff, now.add(most)) }

// recovered lets the next attempt go on at once.
func (e *effort) recovered() { e.holdoff, e.backoff = 0, 0 }

// laneKey tells lanes apart.
type laneKey struct {
	ns   backend.Namespace
	kind kind
}

func keyOf(ns backend.Namespace, st store) laneKey { return laneKey{ns: ns, kind: st.kind()} }

func (l *lane) key() laneKey { return keyOf(l.ns, l.store) }

// lane gives the lane of a namespace. The caller holds k.mu.
func (k *keeper) lane(ns backend.Namespace, st store) *lane {
	key := keyOf(ns, st)
	l := k.lanes[key]
	if l == nil {
		l = &lane{ns: ns, store: st, limit: backend.BatchLimit}
		k.lanes[key] = l
	}
	return l
}

// renewers is how many workers the lane could use now.
func (l *lane) renewers(now Instant) int {
	switch {
	case len(l.pending) == 0 || now < l.renewing.holdoff:
		return 0
	case l.claims > 0: // they end soon: they do not wait for a call that may hang
		return maxLaneWorkers
	case l.renewing.backoff > 0 || len(l.pending) <= l.limit:
		return 1
	default:
		return maxLaneWorkers
	}
}

// hurry sends what is pending, or does so soon if there was trouble: one of them has only so much time left. The caller
// holds k.mu.
func (k *keeper) hurry(l *lane, now Instant, left time.Duration) {
	l.renewing.hold(now, min(left/16, claimPause))
	k.send(l, now)
	if l.renewing.holdoff > now {
		k.wake(now, l.renewing.holdoff)
	}
}

// untidy reports whether there are chores that can be done now.
func (l *lane) untidy(now Instant) bool { return len(l.chores) > 0 && now >= l.tidying.holdoff }

// next is when the lane has to be looked at again for what it holds back. What waits for a worker is looked at when
// one has ended.
func (l *lane) next(now Instant) Instant {
	at := never
	if len(l.pending) > 0 && l.renewing.holdoff > now {
		at = l.renewing.holdoff
	}
	if len(l.chores) > 0 && l.tidying.holdoff > now {
		at = min(at, l.tidying.holdoff)
	}
	return at
}
