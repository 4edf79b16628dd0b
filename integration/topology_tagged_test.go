package integration

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// tagged has all namespaces in one slot each, as a Cluster demands of them. One that is so already becomes another one.
type tagged struct{ backend.Backend }

func (tagged) tag(ns *backend.Namespace) {
	if ns.HashTag {
		ns.Suffix += "-tagged"
	}
	ns.HashTag = true
}

// OnReconnect implements [backend.Reconnector].
func (t tagged) OnReconnect(f func()) (stop func()) {
	if r, ok := t.Backend.(backend.Reconnector); ok {
		return r.OnReconnect(f)
	}
	return func() {}
}

func (t tagged) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	t.tag(&req.Namespace)
	return t.Backend.Get(ctx, req)
}

func (t tagged) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Set(ctx, req)
}

func (t tagged) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Delete(ctx, req)
}

func (t tagged) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Scan(ctx, req)
}

func (t tagged) Add(ctx context.Context, req backend.SetEdit) (int, error) {
	t.tag(&req.Namespace)
	return t.Backend.Add(ctx, req)
}

func (t tagged) Remove(ctx context.Context, req backend.SetEdit) (int, error) {
	t.tag(&req.Namespace)
	return t.Backend.Remove(ctx, req)
}

func (t tagged) Replace(ctx context.Context, req backend.SetEdit) error {
	t.tag(&req.Namespace)
	return t.Backend.Replace(ctx, req)
}

func (t tagged) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Members(ctx, req)
}

func (t tagged) Extend(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Extend(ctx, req)
}

func (t tagged) Shrink(ctx context.Context, req backend.ShrinkRequest) (backend.EditReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Shrink(ctx, req)
}

func (t tagged) Assign(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Assign(ctx, req)
}

func (t tagged) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Take(ctx, req)
}

func (t tagged) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Return(ctx, req)
}

func (t tagged) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Renew(ctx, req)
}

func (t tagged) Collect(ctx context.Context, req backend.CollectRequest) (backend.CollectReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Collect(ctx, req)
}

func (t tagged) Inspect(ctx context.Context, req backend.InspectRequest) (backend.InspectReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Inspect(ctx, req)
}

func (t tagged) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Lock(ctx, req)
}

func (t tagged) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Unlock(ctx, req)
}

func (t tagged) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.RenewLocks(ctx, req)
}

func (t tagged) SetLimit(ctx context.Context, req backend.LimitRequest) error {
	t.tag(&req.Namespace)
	return t.Backend.SetLimit(ctx, req)
}

func (t tagged) Holders(ctx context.Context, req backend.HoldersRequest) ([]backend.LockState, error) {
	t.tag(&req.Namespace)
	return t.Backend.Holders(ctx, req)
}

func (t tagged) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	t.tag(&req.Take.Namespace)
	t.tag(&req.Lock.Namespace)
	return t.Backend.Enter(ctx, req)
}

func (t tagged) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Leave(ctx, req)
}

func (t tagged) Queue(ctx context.Context, req backend.QueueRequest) (backend.QueueReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Queue(ctx, req)
}

func (t tagged) Submit(ctx context.Context, req backend.SubmitRequest) (backend.SubmitReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Submit(ctx, req)
}

func (t tagged) Watch(ctx context.Context, req backend.WatchRequest) (backend.WatchReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Watch(ctx, req)
}

func (t tagged) Fetch(ctx context.Context, req backend.FetchRequest) (backend.FetchReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Fetch(ctx, req)
}

func (t tagged) Report(ctx context.Context, req backend.ReportRequest) (backend.ReportReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Report(ctx, req)
}

func (t tagged) RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.RenewTasks(ctx, req)
}

func (t tagged) EditTasks(ctx context.Context, req backend.TaskEdit) (backend.TaskEditReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.EditTasks(ctx, req)
}

func (t tagged) Tasks(ctx context.Context, req backend.TasksRequest) (backend.TasksReply, error) {
	t.tag(&req.Namespace)
	return t.Backend.Tasks(ctx, req)
}

func (t tagged) Stats(ctx context.Context, req backend.StatsRequest) (backend.QueueStats, error) {
	t.tag(&req.Namespace)
	return t.Backend.Stats(ctx, req)
}
