package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// The verbs of lines.

// waiter is a request in line.
type waiter struct {
	token    string
	names    []string // it waits in the lines of these; none: in that of the pool
	entered  time.Time
	handover <-chan backend.Handover
}

func (r *room) enter(req backend.EnterRequest) backend.EnterReply {
	r.tb.Helper()
	if req.ForLocks() {
		req.Lock = r.filledLock(req.Lock)
	} else {
		req.Take = r.filled(req.Take)
	}
	got, err := r.be.Enter(r.ctx, req)
	r.ok(err, "Enter")
	if (got.Handover == nil) == (len(got.Grants) == 0) {
		r.Fatalf("Enter gave %d grants, and a channel: %v", len(got.Grants), got.Handover != nil)
	}
	return got
}

// wait enters and expects to join the line. What is handed over is kept, unless the request says for how long.
func (r *room) wait(req backend.EnterRequest) waiter {
	r.tb.Helper()
	if req.ClaimTTL == 0 {
		req.ClaimTTL = kept
	}
	return r.join(req)
}

// join is wait with the claim as it is in the request.
func (r *room) join(req backend.EnterRequest) waiter {
	r.tb.Helper()
	w := waiter{token: req.Owner(), entered: time.Now()}
	for _, it := range req.Lock.Items {
		w.names = append(w.names, it.Name)
	}
	got := r.enter(req)
	if got.Handover == nil {
		r.Fatalf("Enter of %s gave %q instead of joining the line", w.token, names(got.Grants))
	}
	w.handover = got.Handover
	return w
}

// line lets one request for one member wait for each token.
func (r *room) line(tokens ...string) []waiter {
	r.tb.Helper()
	var ws []waiter
	for _, t := range tokens {
		ws = append(ws, r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: t}}))
	}
	return ws
}

// granted expects the waiter to be handed these members or names, in this order.
func (r *room) granted(w waiter, want ...string) backend.Handover {
	r.tb.Helper()
	h := r.await(w)
	r.same("what was handed to "+w.token, names(h.Grants), want)
	for _, g := range h.Grants {
		r.equal("the token of the grant", g.Token, w.token)
	}
	return h
}

// await waits for a hand-over, whatever it brings.
func (r *room) await(w waiter) backend.Handover {
	r.tb.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	select {
	case h := <-w.handover:
		r.ok(h.Err, "the wait of "+w.token)
		if now := time.Now(); h.Since.Before(w.entered) || h.Since.After(now) {
			r.Errorf("%s entered at %v and was handed something before %v, which says Since %v", w.token, w.entered, now, h.Since)
		}
		return h
	case <-end.C:
		r.Fatalf("%s was handed nothing in %v", w.token, patience)
		return backend.Handover{}
	}
}

// queued expects the line to have these tokens, from the front.
func (r *room) queued(want ...string) {
	r.tb.Helper()
	r.inLine("", want...)
}

// inLine expects the line of a name to have these tokens, from the front.
func (r *room) inLine(name string, want ...string) {
	r.tb.Helper()
	got := r.queueFor(name, "")
	var tokens []string
	for _, w := range got.Waiters {
		tokens = append(tokens, w.Token)
	}
	what := "the line"
	if name != "" {
		what += " of " + name
	}
	r.same(what, tokens, want)
	r.equal("the length of "+what, got.Length, len(want))
}

func (r *room) queue(token string) backend.QueueReply {
	r.tb.Helper()
	return r.queueFor("", token)
}

func (r *room) queueFor(name, token string) backend.QueueReply {
	r.tb.Helper()
	got, err := r.be.Queue(r.ctx, backend.QueueRequest{
		Namespace: r.ns, Name: name, Token: token, Limit: backend.BatchLimit,
	})
	r.ok(err, "Queue")
	return got
}

func (r *room) leave(token string, names ...string) backend.LeaveReply {
	r.tb.Helper()
	got, err := r.be.Leave(r.ctx, backend.LeaveRequest{Namespace: r.ns, Token: token, Names: names})
	r.ok(err, "Leave")
	return got
}

// owner expects the lock of a member to have this token.
func (r *room) owner(member, want string) {
	r.tb.Helper()
	r.equal("the holder of "+member, r.lock(member).Value, want)
}
