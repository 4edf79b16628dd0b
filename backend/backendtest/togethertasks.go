package backendtest

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

func (t *together) Submit(ctx context.Context, req backend.SubmitRequest) (backend.SubmitReply, error) {
	return t.next().Submit(ctx, req)
}

func (t *together) Watch(ctx context.Context, req backend.WatchRequest) (backend.WatchReply, error) {
	return t.next().Watch(ctx, req)
}

// Fetch goes to the backend that the listener began with.
func (t *together) Fetch(ctx context.Context, req backend.FetchRequest) (backend.FetchReply, error) {
	be, ok := t.homes.Load(req.Listener)
	if !ok {
		be, _ = t.homes.LoadOrStore(req.Listener, t.next())
	}
	return be.(backend.Backend).Fetch(ctx, req) // nothing else is stored
}

func (t *together) Report(ctx context.Context, req backend.ReportRequest) (backend.ReportReply, error) {
	return t.next().Report(ctx, req)
}

func (t *together) RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return t.next().RenewTasks(ctx, req)
}

func (t *together) EditTasks(ctx context.Context, req backend.TaskEdit) (backend.TaskEditReply, error) {
	return t.next().EditTasks(ctx, req)
}

// Tasks always asks the same backend, whose cursors may be its own.
func (t *together) Tasks(ctx context.Context, req backend.TasksRequest) (backend.TasksReply, error) {
	return t.all[0].Tasks(ctx, req)
}

func (t *together) Stats(ctx context.Context, req backend.StatsRequest) (backend.QueueStats, error) {
	return t.next().Stats(ctx, req)
}
