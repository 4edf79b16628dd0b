package lease

import (
	"context"
	"time"
)

// releasing is the context in which a hold is given back, also when its caller's context has ended: it has the values of
// that, but not its end. It ends after [ReleaseTimeout], or up to an eighth of it later, and with the lease in the store
// at the latest. The time runs from when somebody asks for it, so that a backend that never waits pays nothing. It is the
// hold itself, to need no memory of its own. Whoever used it calls stop.
type releasing Hold

// bound is when to stop. One is shared by all releases that begin in a short time, so that not each of them needs a
// timer.
type bound struct {
	ctx    context.Context
	cancel context.CancelFunc
	until  Instant // of its use by further releases; 0: it belongs to one alone
}

const boundWindow = ReleaseTimeout / 8

// end gives the context that ends when d does.
func (d *releasing) end() context.Context {
	if b := d.bound.Load(); b != nil {
		return b.ctx
	}
	var b *bound
	if patience := (*Hold)(d).patience(); patience < ReleaseTimeout {
		b = new(bound)
		b.ctx, b.cancel = context.WithTimeout(context.Background(), patience)
	} else {
		b = d.group.k.sharedBound()
	}
	if !d.bound.CompareAndSwap(nil, b) {
		if b.until == 0 {
			b.cancel()
		}
		b = d.bound.Load()
	}
	return b.ctx
}

// stop frees what d needed.
func (d *releasing) stop() {
	if b := d.bound.Load(); b != nil && b.until == 0 {
		b.cancel()
	}
}

func (d *releasing) Deadline() (time.Time, bool) { return d.end().Deadline() }
func (d *releasing) Done() <-chan struct{}       { return d.end().Done() }
func (d *releasing) Value(key any) any           { return d.parent.Value(key) }

// AfterFunc spares [context.AfterFunc] a goroutine.
func (d *releasing) AfterFunc(f func()) func() bool { return context.AfterFunc(d.end(), f) }

func (d *releasing) Err() error {
	if b := d.bound.Load(); b != nil {
		return b.ctx.Err()
	}
	return nil
}

// sharedBound gives one that ends after ReleaseTimeout, or up to boundWindow later.
func (k *keeper) sharedBound() *bound {
	now := k.now()
	for {
		current := k.bound.Load()
		if current != nil && now < current.until {
			return current
		}
		next := &bound{until: now.add(boundWindow)}
		next.ctx, next.cancel = context.WithTimeout(context.Background(), ReleaseTimeout+boundWindow)
		if k.bound.CompareAndSwap(current, next) {
			return next // the one before ends by itself
		}
		next.cancel()
	}
}
