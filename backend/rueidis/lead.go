package rueidis

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// lead sends one batch, in which its caller's part is, and leaves the rest to a goroutine.
func (c *combiner) lead() {
	if more, _ := c.step(nil); more {
		go c.serve()
		return
	}
	c.sp.b.end()
}

// leadOn carries out p, alone, on a wire and on the calling goroutine, and leaves what has come to wait meanwhile to
// another. If ctx ends before the answer is there, the wire is cut.
func (c *combiner) leadOn(ctx context.Context, w *wire, p *part) ([]bool, error) {
	var stop func() bool
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, w.cut)
	}
	answered := c.carryOut(w, []*part{p})
	<-p.done
	if stop != nil && !stop() {
		w.cut() // is about to happen, if it has not: nobody else may use the wire
	}
	bits, err := p.bits, p.err
	p.drop()
	if !answered && ctx.Err() != nil {
		err = ctx.Err()
	}
	c.sp.b.wires.done(w, answered)

	c.mu.Lock()
	more := len(c.waiting) > 0
	if !more {
		c.flying--
	}
	c.mu.Unlock()
	if more {
		go c.serve()
	} else {
		c.sp.b.end()
	}
	return bits, err
}

// serve sends batches until nothing waits, on a wire of its own if there is one.
func (c *combiner) serve() {
	w := c.sp.b.wire()
	for {
		more, answered := c.step(w)
		if !answered && w != nil {
			c.sp.b.wires.done(w, false)
			w = nil
		}
		if !more {
			break
		}
	}
	if w != nil {
		c.sp.b.wires.done(w, true)
	}
	c.sp.b.end()
}

// step sends one batch, if there is one, and tells whether more is waiting, and whether the server has answered. If no
// more is waiting, one call fewer is under way.
func (c *combiner) step(w *wire) (more, answered bool) {
	c.mu.Lock()
	batch := c.next()
	c.mu.Unlock()
	answered = len(batch) == 0 || c.carryOut(w, batch)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(batch) > 0 {
		clear(batch)
		c.spare = batch[:0]
	}
	if len(c.waiting) > 0 {
		return true, answered
	}
	c.flying--
	return false, answered
}

// next takes a batch out of those that wait.
func (c *combiner) next() []*part {
	size, weight, n := 0, 0, 0
	for _, p := range c.waiting {
		size += p.size()
		weight += p.weight
		if n > 0 && (size > maxBatch || weight > maxBytes) {
			break
		}
		p.state = partSent
		n++
	}
	batch := c.waiting[:n:n]
	c.waiting, c.spare = append(c.spare, c.waiting[n:]...), nil
	return batch
}

// carryOut sends a batch, on a wire or (nil) on the connection that all share, and tells everybody in it. It reports
// whether the server has answered.
func (c *combiner) carryOut(w *wire, batch []*part) (answered bool) {
	c.exchange(w, batch)

	var left []*part
	var unknown []lost
	c.mu.Lock()
	for _, p := range batch {
		if p.state == partLeft {
			left = append(left, p)
		}
		p.state = partDone
		if p.err == nil || isReply(p.err) {
			answered = true
		} else if x, ok := p.unknown(); ok {
			unknown = append(unknown, x)
		}
	}
	c.mu.Unlock()

	switch {
	case len(unknown) == 0:
	case w != nil && w.isCut():
		c.sp.b.unknown(c.sp, unknown)
	default:
		c.sp.b.lost(c.sp, unknown)
	}
	for _, p := range left {
		if p.err == nil {
			c.undo(p)
		}
	}
	for _, p := range batch {
		p.done <- struct{}{}
	}
	return answered
}

// exchange carries out a batch.
//
// A key of the wrong type, or one that the server refuses, may be the fault of one part alone. Since the call has
// changed nothing, the parts are then sent anew, in halves, until it is known whose fault it is.
func (c *combiner) exchange(w *wire, batch []*part) {
	err := c.sp.b.onceMoved(func() error { return c.send(w, batch) })
	if err == nil {
		return
	}
	if len(batch) > 1 && c.sp.b.faulty(err) {
		c.exchange(w, batch[:len(batch)/2])
		c.exchange(w, batch[len(batch)/2:])
		return
	}
	for _, p := range batch {
		p.fails(err)
	}
}

// undo sees to it that what was granted to somebody who no longer waits for it is given back.
func (c *combiner) undo(p *part) {
	switch {
	case p.take != nil && p.take.waiting:
		c.sp.b.abandoned(c.sp, request{token: p.take.req.Token})
	case p.lock != nil && p.lock.waiting:
		c.sp.b.abandoned(c.sp, p.lock.request())
	default:
		// A call is under way, which Close waits for: it is not too late for another one.
		c.sp.b.wg.Go(func() { c.sp.giveBack(p) })
	}
}

// giveBack gives back what was granted, while a call is under way.
func (sp *space) giveBack(p *part) {
	x, ok := p.unknown()
	switch {
	case !ok:
	case p.take != nil:
		if held := heldBy(p.take.grants); len(held) > 0 && sp.comb.giveBack(held) != nil {
			sp.b.lost(sp, []lost{x})
		}
	case p.fetch != nil:
		if op := p.fetch; len(op.grants) > 0 && sp.taskComb.carry(&part{report: returning(op.grants)}) != nil {
			sp.b.lost(sp, []lost{x})
		}
	case p.lock.mark != "": // which tells exactly what is to be undone, however often it is asked for
		sp.b.unknown(sp, []lost{x})
	default:
		if held := heldBy(p.lock.grants); len(held) > 0 && sp.lockComb.giveBack(held) != nil {
			sp.b.lost(sp, []lost{x})
		}
	}
}

func (c *combiner) giveBack(items []backend.Held) error {
	return c.carry(&part{returns: items})
}

// carry has p carried out, while a call is under way.
func (c *combiner) carry(p *part) error {
	p.done = make(chan struct{}, 1)
	c.mu.Lock()
	c.flying++ // one too many for a moment
	c.waiting = append(c.waiting, p)
	c.sp.b.wg.Add(1)
	c.mu.Unlock()
	c.lead()
	<-p.done
	return p.err
}

func heldBy(grants []backend.Grant) []backend.Held {
	items := make([]backend.Held, len(grants))
	for i, g := range grants {
		items[i] = backend.Held{Member: g.Member, Token: g.Token}
	}
	return items
}
