package task

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/internal/lease"
)

// inner is a cancelCtx of the standard library, so that contexts derived from an attempt need no goroutine and context.Cause
// knows it. It is made when it is needed.
type inner struct {
	context.Context
	cancel context.CancelCauseFunc
}

// context gives the inner context.
func (a *attempt) context() *inner {
	if c := a.inner.Load(); c != nil {
		return c
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.inner.Load(); c != nil {
		return c
	}
	c := new(inner)
	c.Context, c.cancel = context.WithCancelCause(a.server.base)
	if a.cause != nil || a.returned {
		c.cancel(a.cause)
	}
	a.inner.Store(c)
	return c
}

// Deadline is when the time of the attempt is over.
func (a *attempt) Deadline() (time.Time, bool) { return a.limit, true }

// Done is closed when the context ends.
func (a *attempt) Done() <-chan struct{} { return a.context().Done() }

// Value gives what the context of the server has.
func (a *attempt) Value(key any) any {
	if c := a.inner.Load(); c != nil {
		return c.Value(key)
	}
	return a.server.base.Value(key)
}

// Err reads the clock, so that a process that was stopped knows at its first look.
func (a *attempt) Err() error {
	a.mu.Lock()
	ended := a.cause != nil || a.returned
	a.mu.Unlock()
	switch {
	case ended:
	case !a.hold.Valid():
		a.end(lostBy(a.hold.Err()))
	case !time.Now().Before(a.limit):
		a.end(a.why)
	default:
		return nil
	}
	return context.Canceled
}

// onLost is told of leases that have ended.
func onLost(h *lease.Hold, why error) { h.Owner().(*attempt).end(lostBy(why)) }

// end ends the context, unless it has ended.
func (a *attempt) end(cause error) {
	a.mu.Lock()
	if a.cause != nil || a.returned {
		a.mu.Unlock()
		return
	}
	a.cause = cause
	a.overdue = time.Now().Add(grace)
	if a.armed {
		a.worker.timer.Reset(grace)
	}
	a.mu.Unlock()
	a.context().cancel(cause)
}

// arm sets the worker's timer.
func (a *attempt) arm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = true
	a.worker.now.Store(a)
	at := a.limit
	if a.cause != nil {
		at = a.overdue
	}
	a.worker.timer.Reset(time.Until(at))
}

// tick is called when the attempt's time is over, and when the handler should have returned.
func (a *attempt) tick() {
	a.mu.Lock()
	now := time.Now()
	switch {
	case a.returned, a.abandoned:
		a.mu.Unlock()
	case a.cause == nil:
		a.mu.Unlock()
		if !now.Before(a.limit) {
			a.end(a.why)
		}
	case now.Before(a.overdue): // it has ended in this moment
		a.mu.Unlock()
	default:
		a.abandoned = true
		cause := a.cause
		a.mu.Unlock()
		a.abandon(cause)
	}
}
