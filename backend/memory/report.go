package memory

import (
	"cmp"
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Report tells of running tasks; see [backend.Queues].
func (b *Backend) Report(ctx context.Context, req backend.ReportRequest) (backend.ReportReply, error) {
	ts, now, err := b.openTasks(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.ReportReply{}, fail("report", req.Namespace, err)
	}
	defer ts.unlock()
	reply := backend.ReportReply{Accepted: cut(&ts.space.bools, len(req.Items))}
	for i := range req.Items {
		it := &req.Items[i]
		if t := ts.find(it.ID, now); t != nil && t.token == it.Token {
			reply.Accepted[i] = ts.report(t, it, now)
		}
	}
	return reply, nil
}

// report is one report by whoever has, or had last, the lease.
func (ts *tasks) report(t *task, it *backend.TaskReport, now instant) bool {
	if t.state != backend.TaskRunning {
		return it.Kind == t.reported && t.state != backend.TaskCancelled && t.state != backend.TaskExpired // sent again
	}
	if it.Kind == backend.ReportProgress {
		t.progress = some(it.Data)
		ts.tell(t, now)
		return true
	}
	t.reported, t.holder = it.Kind, nil
	switch it.Kind {
	case backend.ReportDone:
		t.result = some(it.Data)
		ts.finish(t, backend.TaskDone, now)
		return true
	case backend.ReportFailed:
		t.error = some(it.Data)
		ts.finish(t, backend.TaskFailed, now)
		return true
	case backend.ReportDead:
		t.error = some(it.Data)
		ts.bury(t, backend.ReasonNone, now, now)
		return true
	case backend.ReportReturn:
		t.attempts--
		ts.requeue(t, now)
	case backend.ReportRetry:
		t.error = some(it.Data)
		if it.After > 0 {
			ts.schedule(t, now.after(it.After), now)
		} else {
			ts.enqueue(t, now)
		}
	}
	ts.tell(t, now)
	return true
}

// RenewTasks sets the TTL of leases on running tasks; see [backend.Queues], and Lock about replicas.
func (b *Backend) RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	ts, now, err := b.openTasks(ctx, req.Namespace, cmp.Or(req.Validate(), sameTokens(req.Items)))
	if err != nil {
		return backend.RenewReply{}, fail("renew tasks", req.Namespace, err)
	}
	reply := backend.RenewReply{Renewed: cut(&ts.space.bools, len(req.Items))}
	for i := range req.Items {
		it := &req.Items[i]
		if t := ts.find(it.Member, now); t != nil && t.state == backend.TaskRunning && t.token == it.Token {
			ts.lease(t, now.after(it.TTL))
			reply.Renewed[i] = true
		}
	}
	ts.unlock()
	if err := replicated(req.Durability); err != nil {
		return reply, fail("renew tasks", req.Namespace, err)
	}
	return reply, nil
}
