package rueidis

import (
	"context"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	// maxFlying calls of one namespace are under way at once: while the server works on one, the other is on
	// its way.
	maxFlying = 2
	// maxAgain is how often a take asks whose way to a free member the server has to clear first. It does so for two
	// hundred members at a time.
	maxAgain = 50_000
	// maxBatch items travel in one call, unless a single request has more.
	maxBatch = 256
	// maxBytes of data travel in one call, unless a single item has more.
	maxBytes = 4 << 20
)

// combiner sends what many callers want of one namespace at the same moment in one call (flat combining): takes, returns
// and renewals of members, or locks, unlocks and renewals of names, or whatever is wanted of tasks. There is no timer:
// whoever finds fewer than maxFlying calls under way leads, at once, with what is waiting; the others find themselves in the
// next batch.
type combiner struct {
	sp *space
	// send carries out a batch in one call, and leaves in each part what came of it. If it fails, nothing has changed,
	// unless the answer was lost. It may leave an error in one part that is not about the others.
	send func(w *wire, batch []*part) error

	mu      sync.Mutex
	waiting []*part
	spare   []*part // empty, its room to be used again
	flying  int
}

// part is what one caller wants: a take, a lock, a submission, a fetch, reports, returns (or unlocks), or renewals. Parts are
// used again; see newPart.
type part struct {
	take     *takeOp
	lock     *lockOp
	submit   *submitOp
	fetch    *fetchOp
	report   *reportOp
	returns  []backend.Held
	renewals []backend.Renewal
	weight   int // bytes of data that come with it

	// The result, from the one who carried it out to the one who waits at done.
	bits []bool // for each return, report or renewal
	err  error
	done chan struct{} // has room for the one message

	state partState // under combiner.mu
}

type partState uint8

const (
	partWaiting partState = iota
	partSent
	partDone
	partLeft // sent, and its caller no longer waits
)

// takeOp is one Take, or one Enter if wait is set. The request has been validated.
type takeOp struct {
	req      backend.TakeRequest
	wait     bool          // join the line if nothing is granted
	join     bool          // with wait: take nothing, even if there is something
	claim    time.Duration // with wait: for how long a hand-over is kept
	priority int           // with wait

	entered
	again bool // nothing of it all: it has to ask again, see exchange.lua
}

// unknown is what has to be taken back if nobody knows what became of the request.
func (op *takeOp) unknown() (lost, bool) {
	return lost{request: request{token: op.req.Token}, ttl: op.req.TTL, sent: op.sent}, op.wait || !op.req.Shared
}

// size counts the items of a part, as they weigh in a batch.
func (p *part) size() int {
	switch {
	case p.take != nil:
		return max(p.take.req.Count, 1)
	case p.lock != nil:
		return len(p.lock.req.Items)
	case p.submit != nil:
		return 1
	case p.fetch != nil:
		return max(p.fetch.req.Max, 1)
	case p.report != nil:
		return len(p.report.items)
	}
	return len(p.returns) + len(p.renewals)
}

// fails notes that nothing came of the part.
func (p *part) fails(err error) {
	p.err, p.bits = err, nil
	if op := p.take; op != nil {
		op.grants, op.waiting, op.again = nil, false, false
	}
	if op := p.fetch; op != nil {
		op.grants = nil
	}
	if op := p.lock; op != nil {
		op.grants, op.waiting, op.refused = nil, false, nil
	}
}

// unknown is what has to be taken back if nobody knows what became of the part.
func (p *part) unknown() (lost, bool) {
	switch {
	case p.take != nil:
		return p.take.unknown()
	case p.lock != nil:
		return p.lock.unknown()
	case p.fetch != nil:
		return p.fetch.unknown()
	}
	return lost{}, false
}

// sentAt notes when the part is sent.
func (p *part) sentAt(now time.Time) {
	if p.take != nil {
		p.take.sent = now
	}
	if p.lock != nil {
		p.lock.sent = now
	}
	if p.fetch != nil {
		p.fetch.sent = now
	}
}

var parts = sync.Pool{New: func() any { return &part{done: make(chan struct{}, 1)} }}

func newPart() *part { return parts.Get().(*part) }

// drop gives a part back whose message was received, or which never got one.
func (p *part) drop() {
	done := p.done
	*p = part{done: done}
	parts.Put(p)
}

// take carries out op together with what others want of the namespace. An error is complete: mapped to the
// contract's errors and wrapped with what was attempted.
//
// If it fails, also because ctx ended, the request will not hold anything and not wait: what the call turns out to
// have granted is given back, and what the answer does not tell goes to lost.
func (sp *space) take(ctx context.Context, op *takeOp) error {
	for range maxAgain {
		p := newPart()
		p.take = op
		if _, err := sp.comb.submit(ctx, p); err != nil || !op.again {
			return sp.b.fail(ctx, "take", sp.ns, err)
		}
		op.again = false
	}
	return sp.b.fail(ctx, "take", sp.ns, errUnending)
}

// submit has p carried out and gives what came of it, unless ctx ends before: then p is left to itself. p must not
// be used afterwards.
func (c *combiner) submit(ctx context.Context, p *part) ([]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	over := ctx.Done()
	c.mu.Lock()
	lead := c.flying < maxFlying
	if lead {
		if !c.sp.b.begin() {
			c.mu.Unlock()
			return nil, backend.ErrClosed
		}
		c.flying++
		if len(c.waiting) == 0 {
			if w := c.sp.b.wire(); w != nil {
				p.state = partSent
				c.mu.Unlock()
				return c.leadOn(ctx, w, p)
			}
		}
	}
	c.waiting = append(c.waiting, p)
	c.mu.Unlock()

	if lead {
		if over == nil {
			c.lead()
		} else {
			go c.serve()
		}
	}
	if over == nil {
		<-p.done
	} else {
		select {
		case <-p.done:
		case <-over:
			if c.leave(p) {
				return nil, ctx.Err()
			}
			<-p.done
		}
	}
	bits, err := p.bits, p.err
	p.drop()
	return bits, err
}

// leave ends the wait for p; false if p is done already.
func (c *combiner) leave(p *part) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p.state {
	case partDone:
		return false
	case partSent:
		p.state = partLeft
		return true
	}
	for i, other := range c.waiting {
		if other == p {
			last := len(c.waiting) - 1
			copy(c.waiting[i:], c.waiting[i+1:])
			c.waiting[last] = nil
			c.waiting = c.waiting[:last]
			break
		}
	}
	return true // nothing was sent
}
