package rueidis

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Submit is not there yet.
func (b *Backend) Submit(context.Context, backend.SubmitRequest) (backend.SubmitReply, error) {
	return backend.SubmitReply{}, backend.ErrUnsupported
}

// Watch is not there yet.
func (b *Backend) Watch(context.Context, backend.WatchRequest) (backend.WatchReply, error) {
	return backend.WatchReply{}, backend.ErrUnsupported
}

// Fetch is not there yet.
func (b *Backend) Fetch(context.Context, backend.FetchRequest) (backend.FetchReply, error) {
	return backend.FetchReply{}, backend.ErrUnsupported
}

// Report is not there yet.
func (b *Backend) Report(context.Context, backend.ReportRequest) (backend.ReportReply, error) {
	return backend.ReportReply{}, backend.ErrUnsupported
}

// RenewTasks is not there yet.
func (b *Backend) RenewTasks(context.Context, backend.RenewRequest) (backend.RenewReply, error) {
	return backend.RenewReply{}, backend.ErrUnsupported
}

// EditTasks is not there yet.
func (b *Backend) EditTasks(context.Context, backend.TaskEdit) (backend.TaskEditReply, error) {
	return backend.TaskEditReply{}, backend.ErrUnsupported
}

// Tasks is not there yet.
func (b *Backend) Tasks(context.Context, backend.TasksRequest) (backend.TasksReply, error) {
	return backend.TasksReply{}, backend.ErrUnsupported
}

// Stats is not there yet.
func (b *Backend) Stats(context.Context, backend.StatsRequest) (backend.QueueStats, error) {
	return backend.QueueStats{}, backend.ErrUnsupported
}
