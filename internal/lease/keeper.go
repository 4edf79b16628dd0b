package lease

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	// maxWorkers bounds the renewing calls that one keeper has under way, maxLaneWorkers those for one namespace:
	// a store that answers for one namespace and hangs for another does not hold up the former.
	maxWorkers     = 6
	maxLaneWorkers = 2

	// maxTurn is how many holds are looked at while the keeper's mutex is held.
	maxTurn = 4 * backend.BatchLimit
)

// keeper renews the leases of one backend. It has no goroutine of its own: a timer runs [keeper.run], which starts
// workers where there is something to send.
type keeper struct {
	be    any
	key   any // in keepers; nil if it is not shared
	users int // guarded by keepers.mu
	epoch time.Time
	stop  func() // ends the registration with the backend

	ctx    context.Context // of the workers' calls
	cancel context.CancelFunc
	wg     sync.WaitGroup // armed timers and workers
	bound  atomic.Pointer[bound]

	mu       sync.Mutex
	queue    queue
	endless  list // live holds without an end
	lanes    map[laneKey]*lane
	timer    *time.Timer
	wakeAt   Instant // when timer fires; never if it is not armed
	checkAll bool    // the store was away: ask about every lease
	workers  int     // that renew
	tidying  bool    // one does chores
	closed   bool
}

func newKeeper(be any) *keeper {
	k := &keeper{be: be, epoch: time.Now(), lanes: make(map[laneKey]*lane), wakeAt: never}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.stop = k.watchStore()
	return k
}

func (k *keeper) now() Instant { return Instant(time.Since(k.epoch)) }

// instant gives a moment that was read from the monotonic clock.
func (k *keeper) instant(t time.Time) Instant { return Instant(t.Sub(k.epoch)) }

func (k *keeper) close() {
	k.stop()
	k.mu.Lock()
	k.closed = true
	if k.timer != nil && k.timer.Stop() {
		k.wg.Done()
	}
	k.mu.Unlock()
	k.cancel()
	k.wg.Wait()
}

// wake has run called at the moment at, or earlier. The caller holds k.mu.
func (k *keeper) wake(now, at Instant) {
	if at >= k.wakeAt || k.closed {
		return
	}
	k.wakeAt = at
	wait := max(at.Sub(now), 0)
	if k.timer == nil {
		k.wg.Add(1)
		k.timer = time.AfterFunc(wait, k.run)
	} else if !k.timer.Reset(wait) {
		k.wg.Add(1) // one for each time it fires
	}
}

// run does what is due. It never waits for the backend, so that no call that hangs delays the end of a lease.
func (k *keeper) run() {
	defer k.wg.Done()
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return
	}
	k.wakeAt = never
	now := k.now()
	if k.checkAll {
		k.checkAll = false
		k.all(func(h *Hold) { h.makeDue() })
		for _, l := range k.lanes {
			l.renewing.recovered()
			l.tidying.recovered()
		}
	}
	ended := k.turn(now)
	k.dispatch(now)
	k.plan(now)
	k.mu.Unlock()
	for _, h := range ended {
		h.tell(expired)
	}
}

// turn looks at the holds whose moment has come, and with them at those whose moment has almost come, to fill the batch.
// What waits longer is not looked at early because of something that waits a shorter time, and therefore comes often.
func (k *keeper) turn(now Instant) (ended []*Hold) {
	longest := -1
	k.queue.each(func(slot int, l *list) bool {
		if l.head.due <= now {
			longest = slot
		}
		return true
	})
	seen := 0
	k.queue.each(func(slot int, l *list) bool {
		until := now.add(slack(slot))
		for h := l.head; h != nil && h.due <= until; h = l.head {
			if seen++; seen > maxTurn {
				return false // the rest is due, so that plan has run called again at once
			}
			switch {
			case h.deadlineAt() <= now:
				k.end(h, expired)
				ended = append(ended, h)
				continue
			case h.renews():
				h.makeDue()
			}
			// From here on it is in the queue for its end.
			k.queue.remove(h)
			k.queue.insert(h, now, h.deadlineAt())
		}
		return slot < longest
	})
	return ended
}

// dispatch starts workers for what can be sent now. The caller holds k.mu.
func (k *keeper) dispatch(now Instant) {
	for _, l := range k.lanes {
		k.send(l, now)
		if l.untidy(now) && l.tidying.workers == 0 && !k.tidying {
			l.tidying.workers++
			k.tidying = true
			k.wg.Go(func() { k.tidy(l) })
		}
	}
}

// send starts workers for the renewals of one lane. The caller holds k.mu.
func (k *keeper) send(l *lane, now Instant) {
	for n := l.renewers(now); l.renewing.workers < n && k.workers < maxWorkers && !k.closed; {
		l.renewing.workers++
		k.workers++
		k.wg.Go(func() { k.work(l) })
	}
}

// ended is called by a worker that ends. The caller holds k.mu.
func (k *keeper) ended() {
	if !k.closed {
		now := k.now()
		k.dispatch(now)
		k.plan(now)
	}
}

// plan arms the timer for what comes next. The caller holds k.mu.
func (k *keeper) plan(now Instant) {
	at := k.queue.next()
	for _, l := range k.lanes {
		at = min(at, l.next(now))
	}
	if at != never {
		k.wake(now, at)
	}
}

// reconnected is called by the backend when the store is back.
func (k *keeper) reconnected() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.checkAll = true
	k.wake(0, 0)
}

// all calls f for every live hold. The caller holds k.mu; f may end the hold.
func (k *keeper) all(f func(*Hold)) {
	walk := func(l *list) {
		for h := l.head; h != nil; {
			next := h.next
			f(h)
			h = next
		}
	}
	k.queue.each(func(_ int, l *list) bool {
		walk(l)
		return true
	})
	walk(&k.endless)
}

// put puts a live hold, granted or renewed with a call at sent, where it is found when its time has come. The caller
// holds k.mu.
func (k *keeper) put(h *Hold, sent, now Instant) {
	deadline := h.deadlineAt()
	if deadline == never {
		h.slot = noSlot
		k.endless.push(h)
		return
	}
	at := deadline
	if h.state == idle && h.renews() {
		at = min(at, sent.add(renewAfter(h.ttl)))
	}
	if due := k.queue.insert(h, now, at); due < k.wakeAt {
		k.wake(now, due)
	}
}

// take is the opposite of put.
func (k *keeper) take(h *Hold) {
	if h.slot == noSlot {
		k.endless.remove(h)
	} else {
		k.queue.remove(h)
	}
}

// end ends a hold, once; the caller holds k.mu and calls h.tell when it has unlocked it.
func (k *keeper) end(h *Hold, f fate) bool {
	if h.state == over {
		return false
	}
	k.take(h)
	h.state, h.fate = over, f
	h.group.live--
	h.ended.Store(true)
	if h.cause == live {
		h.cause = f
	}
	return true
}

// jitter gives about d: three to five quarters of it.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}
