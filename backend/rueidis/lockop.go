package rueidis

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// lockOp is one Lock, or one Enter for names if wait is set. The request has been validated. [space.lock] carries it out.
type lockOp struct {
	req      backend.LockRequest
	wait     bool          // join the lines if not all is granted
	join     bool          // with wait: take nothing, even if all can be had
	claim    time.Duration // with wait: for how long a hand-over is kept
	priority int           // with wait

	mark string // with Again: tells this request from others with its token

	entered
	refused error // a LimitError: nothing has changed
}

// lock carries out op together with what others want of the names of the namespace. An error is complete: mapped to the
// contract's errors and wrapped with what was attempted.
//
// If it fails, also because ctx ended, the request will not hold anything and not wait: what the call turns out to
// have granted is given back, and what the answer does not tell goes to lost. A downgrade leaves the names to their owner,
// one way or the other.
func (sp *space) lock(ctx context.Context, op *lockOp) error {
	if op.req.Again {
		op.mark = backend.NewToken()
	}
	p := newPart()
	p.lock = op
	var err error
	if d := op.req.Durability; d.Replicas > 0 {
		_, err = sp.durably(ctx, d, p)
	} else {
		_, err = sp.lockComb.submit(ctx, p)
	}
	if err == nil {
		err = op.refused
	}
	return sp.b.fail(ctx, "lock", sp.ns, err)
}

// single reports whether op is for one name, alone, and nothing out of the ordinary.
func (op *lockOp) single() bool {
	r := &op.req
	return len(r.Items) == 1 && r.Items[0].Units == 0 && !r.Again && !r.Downgrade
}

// plain reports whether op is in the common form, which has a shorter encoding.
func (op *lockOp) plain() bool { return op.single() && !op.wait }

// request is what is said of op where it is taken back.
func (op *lockOp) request() request {
	r := request{token: op.req.Token, names: make([]string, len(op.req.Items))}
	for i := range op.req.Items {
		r.names[i] = op.req.Items[i].Name
	}
	return r
}

// unknown is what has to be taken back if nobody knows what became of the request.
func (op *lockOp) unknown() (lost, bool) {
	x := lost{request: op.request(), undo: undoHave, ttl: op.req.TTL, sent: op.sent}
	switch {
	case op.mark != "":
		x.undo = undoMark(op.mark)
	case op.wait:
		x.undo = undoAll
	}
	return x, !op.req.Downgrade
}
