package lease

import (
	"context"
	"sync"
	"time"
)

// Context gives a context that derives from the one that the lease was asked for with and ends with the lease, at its
// deadline at the latest. [context.Cause] tells why: [ErrLost], [ErrExpired], [ErrReleased], an error that matches
// [backend.ErrClosed], or whatever ended the parent.
//
// Err reads the clock itself: it is not nil once the deadline has passed, even if the process was stopped and no
// timer has fired. Deadline is the parent's, because that of the lease moves with every renewal.
//
// It is made when it is first asked for. If the lease has ended by then it has only the values of its parent, or of the
// context that Release was called with.
func (h *Hold) Context() context.Context {
	if c := h.ctx.Load(); c != nil {
		return c
	}
	k := h.group.k
	k.mu.Lock()
	parent := h.parent
	if h.cause != live { // which alone is why it has ended
		parent = context.WithoutCancel(parent)
	}
	k.mu.Unlock()
	c := &holdContext{h: h}
	c.Context, c.cancel = context.WithCancelCause(parent)
	k.mu.Lock()
	if first := h.ctx.Load(); first != nil {
		k.mu.Unlock()
		c.cancel(nil)
		return first
	}
	h.ctx.Store(c)
	over := h.cause != live
	k.mu.Unlock()
	if over {
		h.endContext()
	}
	return c
}

// Inherit has the context of h, if it was not asked for yet, derive from the one that other was asked for with. Neither may
// be given back meanwhile.
func (h *Hold) Inherit(other *Hold) {
	k := h.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	h.parent = other.parent
}

// endContext ends the context, if there is one, with the cause that is recorded.
func (h *Hold) endContext() {
	c := h.ctx.Load()
	if c == nil {
		return
	}
	k := h.group.k
	k.mu.Lock()
	cause := h.cause.err()
	k.mu.Unlock()
	c.end(cause)
}

// holdContext is a cancelCtx of the standard library, so that contexts derived from it need no goroutine and
// context.Cause knows it, but for Err and Done, which know of the lease's deadline.
type holdContext struct {
	context.Context
	cancel context.CancelCauseFunc
	h      *Hold

	mu      sync.Mutex
	watched bool        // somebody asked for Done
	timer   *time.Timer // then it fires at the deadline, or before if that has moved
	over    bool
}

func (c *holdContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !c.h.Valid() {
		c.h.endContext() // whoever found that the deadline has passed may be about to do so
	}
	return c.Context.Err()
}

func (c *holdContext) Done() <-chan struct{} {
	c.mu.Lock()
	if !c.watched {
		c.watched = true
		c.arm()
	}
	c.mu.Unlock()
	return c.Context.Done()
}

// arm sets the timer to the deadline as it is now. The caller holds c.mu.
func (c *holdContext) arm() {
	at := c.h.deadlineAt()
	switch wait := at.Sub(c.h.group.k.now()); {
	case c.over || at == never:
		if c.timer != nil {
			c.timer.Stop()
		}
	case c.timer == nil:
		c.timer = time.AfterFunc(wait, c.look)
	default:
		c.timer.Reset(wait)
	}
}

// look is what the timer runs.
func (c *holdContext) look() {
	if c.h.Valid() && c.Context.Err() == nil {
		c.moved()
	}
}

// moved has the timer follow the deadline. It must be called when that has moved to an earlier moment.
func (c *holdContext) moved() {
	c.mu.Lock()
	if c.watched {
		c.arm()
	}
	c.mu.Unlock()
}

func (c *holdContext) end(cause error) {
	c.mu.Lock()
	c.over = true
	c.arm()
	c.mu.Unlock()
	c.cancel(cause)
}
