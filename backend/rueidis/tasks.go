package rueidis

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Submit is not there yet.
func (b *Backend) Submit(context.Context, backend.SubmitRequest) (backend.SubmitReply, error) {
	return backend.SubmitReply{}, backend.ErrUnsupported
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
