package backendtest_test

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// broken is a backend some of whose methods are replaced. The replacements get the whole backend to work with.
type broken struct {
	backend.Backend

	get     func(context.Context, backend.Backend, backend.GetRequest) ([]backend.Value, error)
	set     func(context.Context, backend.Backend, backend.SetRequest) (backend.SetReply, error)
	delete  func(context.Context, backend.Backend, backend.DeleteRequest) (backend.DeleteReply, error)
	scan    func(context.Context, backend.Backend, backend.ScanRequest) (backend.ScanReply, error)
	add     func(context.Context, backend.Backend, backend.SetEdit) (int, error)
	remove  func(context.Context, backend.Backend, backend.SetEdit) (int, error)
	replace func(context.Context, backend.Backend, backend.SetEdit) error
	members func(context.Context, backend.Backend, backend.MembersRequest) (backend.MembersReply, error)
	extend  func(context.Context, backend.Backend, backend.ExtendRequest) (backend.EditReply, error)
	shrink  func(context.Context, backend.Backend, backend.ShrinkRequest) (backend.EditReply, error)
	assign  func(context.Context, backend.Backend, backend.ExtendRequest) (backend.EditReply, error)
	take    func(context.Context, backend.Backend, backend.TakeRequest) (backend.TakeReply, error)
	giveUp  func(context.Context, backend.Backend, backend.ReturnRequest) (backend.ReturnReply, error)
	renew   func(context.Context, backend.Backend, backend.RenewRequest) (backend.RenewReply, error)
	collect func(context.Context, backend.Backend, backend.CollectRequest) (backend.CollectReply, error)
	inspect func(context.Context, backend.Backend, backend.InspectRequest) (backend.InspectReply, error)
	lock    func(context.Context, backend.Backend, backend.LockRequest) (backend.LockReply, error)
	unlock  func(context.Context, backend.Backend, backend.UnlockRequest) (backend.UnlockReply, error)
	prolong func(context.Context, backend.Backend, backend.RenewRequest) (backend.RenewReply, error)
	limit   func(context.Context, backend.Backend, backend.LimitRequest) error
	holders func(context.Context, backend.Backend, backend.HoldersRequest) ([]backend.LockState, error)
	enter   func(context.Context, backend.Backend, backend.EnterRequest) (backend.EnterReply, error)
	leave   func(context.Context, backend.Backend, backend.LeaveRequest) (backend.LeaveReply, error)
	queue   func(context.Context, backend.Backend, backend.QueueRequest) (backend.QueueReply, error)
	close   func(backend.Backend) error

	tasks brokenQueues
}

// either calls the replacement, if there is one, or the method of the whole backend.
func either[Q, R any](ctx context.Context, be backend.Backend, req Q, instead func(context.Context, backend.Backend, Q) (R, error),
	whole func(context.Context, Q) (R, error),
) (R, error) {
	if instead != nil {
		return instead(ctx, be, req)
	}
	return whole(ctx, req)
}

func (b *broken) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	return either(ctx, b.Backend, req, b.get, b.Backend.Get)
}

func (b *broken) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	return either(ctx, b.Backend, req, b.set, b.Backend.Set)
}

func (b *broken) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	return either(ctx, b.Backend, req, b.delete, b.Backend.Delete)
}

func (b *broken) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	return either(ctx, b.Backend, req, b.scan, b.Backend.Scan)
}

func (b *broken) Add(ctx context.Context, req backend.SetEdit) (int, error) {
	return either(ctx, b.Backend, req, b.add, b.Backend.Add)
}

func (b *broken) Remove(ctx context.Context, req backend.SetEdit) (int, error) {
	return either(ctx, b.Backend, req, b.remove, b.Backend.Remove)
}

func (b *broken) Replace(ctx context.Context, req backend.SetEdit) error {
	if b.replace != nil {
		return b.replace(ctx, b.Backend, req)
	}
	return b.Backend.Replace(ctx, req)
}

func (b *broken) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	return either(ctx, b.Backend, req, b.members, b.Backend.Members)
}

func (b *broken) Extend(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	return either(ctx, b.Backend, req, b.extend, b.Backend.Extend)
}

func (b *broken) Shrink(ctx context.Context, req backend.ShrinkRequest) (backend.EditReply, error) {
	return either(ctx, b.Backend, req, b.shrink, b.Backend.Shrink)
}

func (b *broken) Assign(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	return either(ctx, b.Backend, req, b.assign, b.Backend.Assign)
}

func (b *broken) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	return either(ctx, b.Backend, req, b.take, b.Backend.Take)
}

func (b *broken) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	return either(ctx, b.Backend, req, b.giveUp, b.Backend.Return)
}

func (b *broken) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return either(ctx, b.Backend, req, b.renew, b.Backend.Renew)
}

func (b *broken) Collect(ctx context.Context, req backend.CollectRequest) (backend.CollectReply, error) {
	return either(ctx, b.Backend, req, b.collect, b.Backend.Collect)
}

func (b *broken) Inspect(ctx context.Context, req backend.InspectRequest) (backend.InspectReply, error) {
	return either(ctx, b.Backend, req, b.inspect, b.Backend.Inspect)
}

func (b *broken) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	return either(ctx, b.Backend, req, b.lock, b.Backend.Lock)
}

func (b *broken) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	return either(ctx, b.Backend, req, b.unlock, b.Backend.Unlock)
}

func (b *broken) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return either(ctx, b.Backend, req, b.prolong, b.Backend.RenewLocks)
}

func (b *broken) SetLimit(ctx context.Context, req backend.LimitRequest) error {
	if b.limit != nil {
		return b.limit(ctx, b.Backend, req)
	}
	return b.Backend.SetLimit(ctx, req)
}

func (b *broken) Holders(ctx context.Context, req backend.HoldersRequest) ([]backend.LockState, error) {
	return either(ctx, b.Backend, req, b.holders, b.Backend.Holders)
}

func (b *broken) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	return either(ctx, b.Backend, req, b.enter, b.Backend.Enter)
}

func (b *broken) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	return either(ctx, b.Backend, req, b.leave, b.Backend.Leave)
}

func (b *broken) Queue(ctx context.Context, req backend.QueueRequest) (backend.QueueReply, error) {
	return either(ctx, b.Backend, req, b.queue, b.Backend.Queue)
}

func (b *broken) Close() error {
	if b.close != nil {
		return b.close(b.Backend)
	}
	return b.Backend.Close()
}

// What replacements need of the whole backend. They ignore errors: whoever breaks things need not be careful.

// ownerOf gives the value of a lock.
func ownerOf(ctx context.Context, be backend.Backend, ns backend.Namespace, name string) string {
	got, err := be.Get(ctx, backend.GetRequest{Namespace: ns, Names: []string{name}})
	if err != nil {
		return ""
	}
	return got[0].Value
}

// freeOf gives the free members, from the head.
func freeOf(ctx context.Context, be backend.Backend, ns backend.Namespace) []string {
	pool, err := be.Inspect(ctx, backend.InspectRequest{Namespace: ns})
	if err != nil {
		return nil
	}
	next := map[string]string{}
	for _, m := range pool.Members {
		next[m.Name] = m.Next
	}
	var free []string
	for name := pool.Head; name != ""; name = next[name] {
		free = append(free, name)
	}
	return free
}

// hold sets a lock by hand.
func hold(ctx context.Context, be backend.Backend, ns backend.Namespace, items ...backend.SetItem) {
	if len(items) > 0 {
		_, _ = be.Set(ctx, backend.SetRequest{Namespace: ns, Items: items})
	}
}

// stateOf gives the state of a name.
func stateOf(ctx context.Context, be backend.Backend, ns backend.Namespace, name string) backend.LockState {
	got, err := be.Holders(ctx, backend.HoldersRequest{Namespace: ns, Names: []string{name}})
	if err != nil {
		return backend.LockState{}
	}
	return got[0]
}

// release gives back a name.
func release(ctx context.Context, be backend.Backend, ns backend.Namespace, name, token string) bool {
	got, err := be.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: name, Token: token}}})
	return err == nil && got.Unlocked[0]
}

// retold lets a hand-over come changed; change may take its time.
func retold(ctx context.Context, in <-chan backend.Handover, change func(backend.Handover) backend.Handover) <-chan backend.Handover {
	if in == nil {
		return nil
	}
	out := make(chan backend.Handover, 1)
	go func() {
		select {
		case h := <-in:
			out <- change(h)
		case <-ctx.Done(): // of the case
		}
	}()
	return out
}
