package rueidis

import (
	"context"
	"strconv"

	"github.com/redisallocator/redisallocator/backend"
)

// Submit implements [backend.Queues]: one round trip, shared with those who want something of the tasks of the same namespace
// at the same moment. The first one that watches also subscribes, as [Backend.Watch] does.
func (b *Backend) Submit(ctx context.Context, req backend.SubmitRequest) (backend.SubmitReply, error) {
	sp, err := b.ready(ctx, "submit", req.Namespace, req.Validate())
	if err != nil {
		return backend.SubmitReply{}, err
	}
	var w *watching
	if req.Watch {
		if err := sp.awaitTasks(ctx); err != nil {
			return backend.SubmitReply{}, b.fail(ctx, "submit", sp.ns, err)
		}
		w = sp.tasks.expectWatch(req.ID, req.Progress)
	}
	op := newSubmitOp(&req)
	p := newPart()
	p.submit, p.weight = op, op.weight()
	if _, err = sp.exchangeTasks(ctx, "submit", p); err == nil && op.letter == submitConflict {
		err = b.fail(ctx, "submit", sp.ns, backend.ErrConflict)
	}
	if err != nil {
		if w != nil {
			sp.tasks.forget(w)
		}
		return backend.SubmitReply{}, err // op may still be written to
	}
	reply := backend.SubmitReply{Created: op.letter == submitCreated, Joined: op.letter == submitJoined, Task: op.joined.info}
	switch {
	case w == nil:
	case reply.Created:
		reply.Watching = sp.tasks.began(w, backend.TaskInfo{ID: req.ID, Remaining: req.Timeout})
	case reply.Joined && op.joined.kind == taskStands:
		reply.Watching = sp.tasks.began(w, op.joined.info)
	default:
		sp.tasks.forget(w)
	}
	return reply, nil
}

// Fetch implements [backend.Queues]: one round trip, shared as that of [Backend.Submit]. The first one in a namespace also
// subscribes to the channel on which this backend is told when there is something to fetch.
func (b *Backend) Fetch(ctx context.Context, req backend.FetchRequest) (backend.FetchReply, error) {
	sp, err := b.ready(ctx, "fetch", req.Namespace, req.Validate())
	if err != nil {
		return backend.FetchReply{}, err
	}
	if !req.Leave {
		if err := sp.awaitTasks(ctx); err != nil {
			return backend.FetchReply{}, b.fail(ctx, "fetch", sp.ns, err)
		}
	}
	l := sp.tasks.listener(req.Listener)
	op := &fetchOp{req: req}
	p := newPart()
	p.fetch = op
	_, err = sp.exchangeTasks(ctx, "fetch", p)
	if req.Leave {
		sp.tasks.leave(req.Listener)
	}
	if err != nil {
		return backend.FetchReply{}, err // op may still be written to
	}
	return backend.FetchReply{Tasks: op.grants, Idle: op.idle, Wake: l.wake, Lost: l.lost, Next: op.nextCall()}, nil
}

// Report implements [backend.Queues]: one round trip, shared as that of [Backend.Submit]; several for more than some megabytes.
func (b *Backend) Report(ctx context.Context, req backend.ReportRequest) (backend.ReportReply, error) {
	sp, err := b.ready(ctx, "report", req.Namespace, req.Validate())
	if err != nil {
		return backend.ReportReply{}, err
	}
	var accepted []bool
	for items := req.Items; len(items) > 0; {
		n, bytes := 1, len(items[0].Data)
		for n < len(items) && bytes+len(items[n].Data) <= maxBytes {
			bytes += len(items[n].Data)
			n++
		}
		op := newReportOp(items[:n])
		items = items[n:]
		p := newPart()
		p.report, p.weight = op, op.weight()
		bits, err := sp.exchangeTasks(ctx, "report", p)
		if err != nil {
			return backend.ReportReply{}, err
		}
		if accepted == nil && len(items) == 0 {
			return backend.ReportReply{Accepted: bits}, nil
		}
		accepted = append(accepted, bits...)
	}
	return backend.ReportReply{Accepted: accepted}, nil
}

// RenewTasks implements [backend.Queues]: one round trip, shared as that of [Backend.Submit].
func (b *Backend) RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	sp, err := b.ready(ctx, "renew tasks", req.Namespace, withoutNewTokens(&req))
	if err != nil {
		return backend.RenewReply{}, err
	}
	p := newPart()
	p.renewals = req.Items
	bits, err := sp.exchangeTasks(ctx, "renew tasks", p)
	return backend.RenewReply{Renewed: bits}, err
}

// withoutNewTokens checks a request in which leases keep their tokens.
func withoutNewTokens(req *backend.RenewRequest) error {
	if err := req.Validate(); err != nil {
		return err
	}
	for i := range req.Items {
		if token := req.Items[i].NewToken; token != "" {
			return &backend.InvalidError{Field: "new token", Value: strconv.Quote(token), Reason: "must be empty"}
		}
	}
	return nil
}
