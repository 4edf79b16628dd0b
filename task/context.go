package task

import (
	"context"
	"errors"
	"time"

	"github.com/redisallocator/redisallocator/internal/lease"
)

// inner is a cancelCtx of the standard library, so that contexts derived from an attempt need no goroutine and context.Cause
// knows it. It is made when it is needed.
type inner struct {
	context.Context
	cancel context.CancelFunc
	ending ending
}

// ending is the parent of a cancelCtx, which by itself could only end as cancelled: it ends with the error of its parent.
type ending struct {
	context.Context                         // which has the cause
	because         context.CancelCauseFunc // of it
	over            chan struct{}
	err             error // when it is over
	tell            func()
}

func newInner(base context.Context) *inner {
	c := new(inner)
	c.ending.over = make(chan struct{})
	c.ending.Context, c.ending.because = context.WithCancelCause(base)
	c.Context, c.cancel = context.WithCancel(&c.ending)
	return c
}

// end is called once.
func (c *inner) end(err, cause error) {
	e := &c.ending
	e.because(cause)
	e.err = err
	close(e.over)
	e.tell()
}

func (e *ending) Done() <-chan struct{} { return e.over }

func (e *ending) Err() error {
	select {
	case <-e.over:
		return e.err
	default:
		return nil
	}
}

// AfterFunc is for the cancelCtx, which would else start a goroutine that waits for the end.
func (e *ending) AfterFunc(f func()) (stop func() bool) {
	e.tell = f
	return func() bool { return true } // the cancelCtx has ended, so f does nothing
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
	c := newInner(a.server.base)
	if err := a.over(); err != nil {
		c.end(err, a.cause)
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
	err := a.over()
	a.mu.Unlock()
	switch {
	case err != nil:
		return err
	case !a.hold.Valid():
		a.end(lostBy(a.hold.Err()))
	case !time.Now().Before(a.limit):
		a.end(a.why)
	default:
		return nil
	}
	return a.Err()
}

// over is the error of the context, if it has ended. The caller holds a.mu.
func (a *attempt) over() error {
	switch {
	case a.cause != nil && errors.Is(a.cause, a.why):
		return context.DeadlineExceeded
	case a.cause != nil, a.returned:
		return context.Canceled
	}
	return nil
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
	err, c := a.over(), a.inner.Load()
	a.mu.Unlock()
	if c == nil {
		a.context() // which has ended: it is where context.Cause looks
		return
	}
	c.end(err, cause)
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
