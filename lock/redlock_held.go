package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// RedlockHeld is a lock that is held on a quorum of servers, until Unlock or until it is lost. Its methods may be called
// concurrently. It costs two timers, and no goroutine but while it is renewed.
type RedlockHeld struct {
	r     *Redlock
	claim *redlockClaim
	since time.Time // when it was asked for

	ctx    redlockContext
	cancel context.CancelCauseFunc
	over   chan struct{} // closed at the end
	turn   chan struct{} // has room for who is extending

	mu       sync.Mutex
	deadline time.Time // by the monotonic clock
	fate     error     // why it has ended: ErrLost, ErrExpired, ErrReleased or errRedlockClosed
	expiry   *time.Timer
	renewal  *time.Timer // nil: none

	unlocking sync.Mutex
	unlocked  bool
	result    error // of Unlock
}

func newRedlockHeld(ctx context.Context, claim *redlockClaim, since time.Time) *RedlockHeld {
	h := &RedlockHeld{
		r: claim.r, claim: claim, since: since, over: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	h.ctx.h = h
	h.ctx.Context, h.cancel = context.WithCancelCause(ctx)
	return h
}

// hold begins what was asked for at sent, unless it is too late for that.
func (r *Redlock) hold(h *RedlockHeld, sent time.Time) error {
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.held[h] = struct{}{}
	}
	r.mu.Unlock()
	now := time.Now()
	h.mu.Lock()
	h.deadline = sent.Add(r.cfg.validity())
	late := !now.Before(h.deadline)
	if !closed && !late && h.fate == nil {
		h.expiry = time.AfterFunc(h.deadline.Sub(now), h.expire)
		if !r.cfg.NoRenewal {
			h.renewal = time.AfterFunc(sent.Add(r.cfg.TTL/3).Sub(now), h.renew)
		}
	}
	h.mu.Unlock()
	switch {
	case closed:
		h.finish(errRedlockClosed)
		return errRedlockClosed
	case late:
		h.finish(ErrExpired)
		return ErrExpired
	}
	h.observe(backend.EventGranted, now.Sub(h.since), nil)
	return nil
}

// Name is the name that is locked.
func (h *RedlockHeld) Name() string { return h.claim.held.Member }

// Token is the owner's token, the same on all servers. It says who holds the lock, see [ParseHolder].
func (h *RedlockHeld) Token() string { return h.claim.held.Token }

// Deadline is when the lock ends unless it is renewed, or when it would have.
func (h *RedlockHeld) Deadline() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadline
}

// Valid reports whether the lock is held, as far as can be known without asking the servers. It reads the clock.
func (h *RedlockHeld) Valid() bool {
	h.mu.Lock()
	ended, late := h.fate != nil, !time.Now().Before(h.deadline)
	h.mu.Unlock()
	if !ended && late {
		h.end(ErrExpired)
	}
	return !ended && !late
}

// Err is why the lock is not held any more: [ErrReleased], [ErrLost], [ErrExpired], or an error that matches
// backend.ErrClosed. It is nil while Valid.
func (h *RedlockHeld) Err() error {
	h.Valid()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fate
}

// Context gives a context that derives from the one that the lock was asked for with and ends with the lock: at its
// deadline at the latest, which is no later than its validity. [context.Cause] tells why: [ErrLost], [ErrExpired],
// [ErrReleased], an error that matches backend.ErrClosed, or whatever ended the parent. When the parent ends, the lock
// stays held until it is unlocked.
//
// Err reads the clock itself: it is not nil once the deadline has passed, even if the process was stopped and no timer
// has fired. Deadline is the parent's, because that of the lock moves with every renewal.
func (h *RedlockHeld) Context() context.Context { return &h.ctx }

// Errs tells which servers do not hold the lock, or did not answer the last time they were asked, and why: one has it
// for somebody else ([ErrLocked]), one has lost it ([ErrNotHeld]), one could not be reached (backend.ErrUnavailable).
// It is empty when all is well. Servers that have not answered yet are not in it. The lock is held all the same, as
// long as Valid says so.
func (h *RedlockHeld) Errs() []*ServerError { return h.claim.errs() }

// Unlock ends the lock and gives it back on all servers: it takes one round trip, to the server that completes the
// quorum; the others follow in the background. It takes values from ctx, but not its end. It is bounded by the server
// timeouts of its own call and of those that are still under way.
//
// A lock that was lost gets [ErrNotHeld] joined with [ErrLost] or [ErrExpired], and what is left of it is given back. If
// too few servers answer, the error matches [ErrNoQuorum], and in the background they are asked again until the TTL
// is over there. Unlock again does nothing and gives the same.
func (h *RedlockHeld) Unlock(ctx context.Context) error {
	h.unlocking.Lock()
	defer h.unlocking.Unlock()
	if !h.unlocked {
		h.unlocked = true
		h.result = h.unlock(ctx)
	}
	return h.result
}

func (h *RedlockHeld) unlock(ctx context.Context) error {
	h.Valid() // ends it, if its deadline has passed
	h.end(ErrReleased)
	if fate := h.Err(); errors.Is(fate, ErrLost) || errors.Is(fate, ErrExpired) {
		return h.notHeld("unlock", fate)
	}
	answers := h.claim.release(ctx)
	tally := h.r.newTally()
	for !tally.decided() || tally.open() > 0 && h.r.isClosed() {
		tally.count(<-answers)
	}
	held := time.Since(h.since)
	switch {
	case tally.reached():
		h.observe(backend.EventReleased, held, nil)
		return nil
	case tally.refused():
		h.observe(backend.EventLost, held, ErrLost)
		return h.notHeld("unlock", ErrLost)
	default:
		return tally.fail("unlock", h.Name(), ErrNoQuorum)
	}
}

// expire is what the timer runs.
func (h *RedlockHeld) expire() { h.Valid() }

// end ends the lock, unless it has ended before.
func (h *RedlockHeld) end(fate error) {
	if !h.finish(fate) || !errors.Is(fate, ErrLost) && !errors.Is(fate, ErrExpired) {
		return
	}
	h.r.cfg.Logger.Warn("redlock: lock ended without its holder", "name", h.Name(), "error", fate)
	h.observe(backend.EventLost, time.Since(h.since), fate)
	h.claim.release(h.ctx.Context) // others need what is left of it
}

// finish reports whether it is what has ended the lock.
func (h *RedlockHeld) finish(fate error) bool {
	h.mu.Lock()
	if h.fate != nil {
		h.mu.Unlock()
		return false
	}
	h.fate = fate
	if h.expiry != nil {
		h.expiry.Stop()
	}
	if h.renewal != nil {
		h.renewal.Stop()
	}
	close(h.over)
	h.mu.Unlock()
	h.r.mu.Lock()
	delete(h.r.held, h)
	h.r.mu.Unlock()
	h.cancel(fate)
	return true
}

func (h *RedlockHeld) notHeld(op string, why error) error {
	return fmt.Errorf("%s %.100q: %w: %w", op, h.Name(), ErrNotHeld, why)
}

// ended is what a call gets that needs the lock.
func (h *RedlockHeld) ended(op string) error {
	return h.notHeld(op, h.Err())
}

func (h *RedlockHeld) observe(kind backend.EventKind, d time.Duration, err error) {
	h.r.observe(backend.Event{Kind: kind, Member: h.Name(), Token: h.Token(), Duration: d, Err: err})
}

// redlockContext is a cancelCtx of the standard library, but for Err, which reads the clock.
type redlockContext struct {
	context.Context
	h *RedlockHeld
}

func (c *redlockContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	c.h.Valid()
	return c.Context.Err()
}
