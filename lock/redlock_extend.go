package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Extend gives the lock its whole TTL again, from now on, on the servers that hold it: one round trip to the one that
// completes the quorum. It counts if a quorum has agreed before the lock would have ended. Servers that do not hold it
// are not asked: a lock that was lost there is not made anew.
//
// It fails with [ErrNotHeld], joined with the reason, if the lock has ended, also if it turns out that too many servers
// have lost it; then it has ended now. If too few answer, the error matches [ErrNoQuorum], and the lock goes on to its old
// deadline. In the background the same is done each third of the TTL, unless [RedlockConfig.NoRenewal] is set.
func (h *RedlockHeld) Extend(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-h.over:
		return h.ended("extend")
	case <-ctx.Done():
		return fmt.Errorf("extend %.100q: %w", h.Name(), ctx.Err())
	}
	if !h.Valid() {
		return h.ended("extend")
	}
	sent := time.Now()
	answers := h.claim.renew(ctx)
	tally := h.r.newTally()
	for !tally.decided() {
		select {
		case a := <-answers:
			tally.count(a)
		case <-h.over:
			return h.ended("extend")
		case <-ctx.Done():
			return fmt.Errorf("extend %.100q: %w", h.Name(), ctx.Err())
		}
	}
	switch {
	case tally.reached():
		if !h.prolong(sent) {
			return h.ended("extend")
		}
		return nil
	case tally.refused():
		h.end(ErrLost)
		return h.ended("extend")
	default:
		return tally.fail("extend", h.Name(), ErrNoQuorum)
	}
}

// prolong has the lock end a validity after sent. It reports whether it was still held.
func (h *RedlockHeld) prolong(sent time.Time) bool {
	if !h.Valid() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fate != nil {
		return false
	}
	now := time.Now()
	h.deadline = sent.Add(h.r.cfg.validity())
	h.expiry.Reset(h.deadline.Sub(now))
	if h.renewal != nil {
		h.renewal.Reset(sent.Add(h.r.cfg.TTL / 3).Sub(now))
	}
	return true
}

// renew extends the lock in the background. It is what the timer runs.
func (h *RedlockHeld) renew() {
	if !h.r.enter() {
		return
	}
	defer h.r.finish()
	err := h.Extend(context.WithoutCancel(h.ctx.Context))
	if err == nil || errors.Is(err, ErrNotHeld) {
		return
	}
	h.r.cfg.Logger.Warn("redlock: lock not renewed, trying again", "name", h.Name(), "error", err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fate == nil {
		left := time.Until(h.deadline)
		h.renewal.Reset(max(min(h.r.cfg.RetryDelay/2+rand.N(h.r.cfg.RetryDelay), left/2), minRenewalPause))
	}
}

// minRenewalPause is the least time between two attempts to renew a lock that is about to end.
const minRenewalPause = 5 * time.Millisecond
