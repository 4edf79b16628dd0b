package backendtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/redisallocator/redisallocator/backend"
)

// Together makes one backend of several that work on the same store, each of them as another process would: calls go to
// them in turn, but for those that a process makes about its own waits and leases. With it [Run] also shows that what one
// process does another one sees, and that those who wait in one are served by what happens in another.
func Together(backends ...backend.Backend) backend.Backend { return &together{all: backends} }

// together is the backend that Together gives.
type together struct {
	all   []backend.Backend
	calls atomic.Uint64
	homes sync.Map // token of a request that entered -> its backend
}

func (t *together) next() backend.Backend { return t.all[t.calls.Add(1)%uint64(len(t.all))] }

// home is where the request with a token entered, or the next backend.
func (t *together) home(token string) backend.Backend {
	if be, ok := t.homes.Load(token); ok {
		return be.(backend.Backend) // nothing else is stored
	}
	return t.next()
}

func (t *together) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	return t.next().Get(ctx, req)
}

func (t *together) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	return t.next().Set(ctx, req)
}

func (t *together) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	return t.next().Delete(ctx, req)
}

// Scan always asks the same backend, whose cursors may be its own. So do Members and Inspect.
func (t *together) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	return t.all[0].Scan(ctx, req)
}

func (t *together) Add(ctx context.Context, req backend.SetEdit) (int, error) {
	return t.next().Add(ctx, req)
}

func (t *together) Remove(ctx context.Context, req backend.SetEdit) (int, error) {
	return t.next().Remove(ctx, req)
}

func (t *together) Replace(ctx context.Context, req backend.SetEdit) error {
	return t.next().Replace(ctx, req)
}

func (t *together) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	return t.all[0].Members(ctx, req)
}

func (t *together) Extend(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	return t.next().Extend(ctx, req)
}

func (t *together) Shrink(ctx context.Context, req backend.ShrinkRequest) (backend.EditReply, error) {
	return t.next().Shrink(ctx, req)
}

func (t *together) Assign(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	return t.next().Assign(ctx, req)
}

func (t *together) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	return t.next().Take(ctx, req)
}

func (t *together) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	return t.next().Return(ctx, req)
}

// Renew and Leave are for the process that entered.
func (t *together) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	if len(req.Items) == 0 {
		return t.next().Renew(ctx, req)
	}
	return t.home(req.Items[0].Token).Renew(ctx, req)
}

func (t *together) Collect(ctx context.Context, req backend.CollectRequest) (backend.CollectReply, error) {
	return t.next().Collect(ctx, req)
}

func (t *together) Inspect(ctx context.Context, req backend.InspectRequest) (backend.InspectReply, error) {
	return t.all[0].Inspect(ctx, req)
}

func (t *together) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	be := t.next()
	t.homes.Store(req.Owner(), be)
	return be.Enter(ctx, req)
}

func (t *together) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	return t.home(req.Token).Leave(ctx, req)
}

func (t *together) Queue(ctx context.Context, req backend.QueueRequest) (backend.QueueReply, error) {
	return t.next().Queue(ctx, req)
}

func (t *together) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	return t.next().Lock(ctx, req)
}

func (t *together) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	return t.next().Unlock(ctx, req)
}

// RenewLocks is for the process that entered.
func (t *together) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	if len(req.Items) == 0 {
		return t.next().RenewLocks(ctx, req)
	}
	return t.home(req.Items[0].Token).RenewLocks(ctx, req)
}

func (t *together) SetLimit(ctx context.Context, req backend.LimitRequest) error {
	return t.next().SetLimit(ctx, req)
}

func (t *together) Holders(ctx context.Context, req backend.HoldersRequest) ([]backend.LockState, error) {
	return t.next().Holders(ctx, req)
}

func (t *together) Close() error {
	var errs []error
	for _, be := range t.all {
		errs = append(errs, be.Close())
	}
	return errors.Join(errs...)
}
