package backendtest

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/redisallocator/redisallocator/backend"
)

// RunRoles is [Run] for what implements some roles of [backend.Backend] only, each of them as a whole: a store of values,
// say. Cases that need others as well are skipped. What open gives may have a Close method as that of a backend.
func RunRoles(t *testing.T, open func(t *testing.T) any) {
	t.Helper()
	byRole(t, true, func(t *testing.T, c Case) {
		roles := open(t)
		if lacks := c.CheckRoles(t, roles); lacks != "" {
			t.Skipf("needs %s", lacks)
		}
	})
}

// CheckRoles is [Case.Check] for what implements some roles only, and closes it in the end if it has a Close method. If the
// case needs another role it fails nowhere, but gives the first method that it has missed.
func (c Case) CheckRoles(tb TB, roles any) (lacks string) {
	tb.Helper()
	be := newPartial(roles)
	done := make(chan struct{})
	go func() { // which a Fatalf ends
		defer close(done)
		c.Check(&partialTB{tb, be}, be)
	}()
	<-done
	if err := be.Close(); err != nil {
		tb.Errorf("Close: %v", err)
	}
	return be.lacks()
}

// partial is a backend of some roles. The others fail.
type partial struct {
	backend.Values
	backend.Sets
	backend.Pools
	backend.Locks
	backend.Lines
	backend.Queues

	closer interface{ Close() error }
	absent *absent
}

func newPartial(roles any) *partial {
	a := new(absent)
	return &partial{
		role[backend.Values](roles, a), role[backend.Sets](roles, a), role[backend.Pools](roles, a), role[backend.Locks](roles, a),
		role[backend.Lines](roles, a), role[backend.Queues](roles, a), role[interface{ Close() error }](roles, a), a,
	}
}

// role gives what implements a role.
func role[R any](roles any, absent R) R {
	if r, ok := roles.(R); ok {
		return r
	}
	return absent
}

func (p *partial) Close() error { return p.closer.Close() }

// hasPools reports whether there are pools, which a case could leave broken.
func (p *partial) hasPools() bool { return p.Pools != backend.Pools(p.absent) }

// lacks is the first method that was called and is not there.
func (p *partial) lacks() string {
	if method := p.absent.called.Load(); method != nil {
		return *method
	}
	return ""
}

// partialTB is a test that fails as long as no role was missed.
type partialTB struct {
	TB
	be *partial
}

func (tb *partialTB) Errorf(format string, args ...any) {
	tb.Helper()
	if tb.be.lacks() == "" {
		tb.TB.Errorf(format, args...)
	}
}

func (tb *partialTB) Fatalf(format string, args ...any) {
	tb.Helper()
	if tb.be.lacks() != "" {
		runtime.Goexit()
	}
	tb.TB.Fatalf(format, args...)
}

// errRole is what a role answers that is not there.
var errRole = errors.New("the role is not implemented")

// absent stands for roles that are not implemented, and remembers that it was asked.
type absent struct{ called atomic.Pointer[string] }

func (a *absent) call(method string) error {
	a.called.CompareAndSwap(nil, &method)
	return errRole
}

func missing[Reply any](a *absent, method string) (Reply, error) {
	var none Reply
	return none, a.call(method)
}

func (a *absent) Close() error { return nil }

func (a *absent) Get(context.Context, backend.GetRequest) ([]backend.Value, error) {
	return missing[[]backend.Value](a, "Get")
}

func (a *absent) Set(context.Context, backend.SetRequest) (backend.SetReply, error) {
	return missing[backend.SetReply](a, "Set")
}

func (a *absent) Delete(context.Context, backend.DeleteRequest) (backend.DeleteReply, error) {
	return missing[backend.DeleteReply](a, "Delete")
}

func (a *absent) Scan(context.Context, backend.ScanRequest) (backend.ScanReply, error) {
	return missing[backend.ScanReply](a, "Scan")
}

func (a *absent) Add(context.Context, backend.SetEdit) (int, error) { return missing[int](a, "Add") }

func (a *absent) Remove(context.Context, backend.SetEdit) (int, error) {
	return missing[int](a, "Remove")
}

func (a *absent) Replace(context.Context, backend.SetEdit) error { return a.call("Replace") }

func (a *absent) Members(context.Context, backend.MembersRequest) (backend.MembersReply, error) {
	return missing[backend.MembersReply](a, "Members")
}

func (a *absent) Extend(context.Context, backend.ExtendRequest) (backend.EditReply, error) {
	return missing[backend.EditReply](a, "Extend")
}

func (a *absent) Shrink(context.Context, backend.ShrinkRequest) (backend.EditReply, error) {
	return missing[backend.EditReply](a, "Shrink")
}

func (a *absent) Assign(context.Context, backend.ExtendRequest) (backend.EditReply, error) {
	return missing[backend.EditReply](a, "Assign")
}

func (a *absent) Take(context.Context, backend.TakeRequest) (backend.TakeReply, error) {
	return missing[backend.TakeReply](a, "Take")
}

func (a *absent) Return(context.Context, backend.ReturnRequest) (backend.ReturnReply, error) {
	return missing[backend.ReturnReply](a, "Return")
}

func (a *absent) Renew(context.Context, backend.RenewRequest) (backend.RenewReply, error) {
	return missing[backend.RenewReply](a, "Renew")
}

func (a *absent) Collect(context.Context, backend.CollectRequest) (backend.CollectReply, error) {
	return missing[backend.CollectReply](a, "Collect")
}

func (a *absent) Inspect(context.Context, backend.InspectRequest) (backend.InspectReply, error) {
	return missing[backend.InspectReply](a, "Inspect")
}

func (a *absent) Lock(context.Context, backend.LockRequest) (backend.LockReply, error) {
	return missing[backend.LockReply](a, "Lock")
}

func (a *absent) Unlock(context.Context, backend.UnlockRequest) (backend.UnlockReply, error) {
	return missing[backend.UnlockReply](a, "Unlock")
}

func (a *absent) RenewLocks(context.Context, backend.RenewRequest) (backend.RenewReply, error) {
	return missing[backend.RenewReply](a, "RenewLocks")
}

func (a *absent) SetLimit(context.Context, backend.LimitRequest) error { return a.call("SetLimit") }

func (a *absent) Holders(context.Context, backend.HoldersRequest) ([]backend.LockState, error) {
	return missing[[]backend.LockState](a, "Holders")
}

func (a *absent) Enter(context.Context, backend.EnterRequest) (backend.EnterReply, error) {
	return missing[backend.EnterReply](a, "Enter")
}

func (a *absent) Leave(context.Context, backend.LeaveRequest) (backend.LeaveReply, error) {
	return missing[backend.LeaveReply](a, "Leave")
}

func (a *absent) Queue(context.Context, backend.QueueRequest) (backend.QueueReply, error) {
	return missing[backend.QueueReply](a, "Queue")
}

func (a *absent) Submit(context.Context, backend.SubmitRequest) (backend.SubmitReply, error) {
	return missing[backend.SubmitReply](a, "Submit")
}

func (a *absent) Watch(context.Context, backend.WatchRequest) (backend.WatchReply, error) {
	return missing[backend.WatchReply](a, "Watch")
}

func (a *absent) Fetch(context.Context, backend.FetchRequest) (backend.FetchReply, error) {
	return missing[backend.FetchReply](a, "Fetch")
}

func (a *absent) Report(context.Context, backend.ReportRequest) (backend.ReportReply, error) {
	return missing[backend.ReportReply](a, "Report")
}

func (a *absent) RenewTasks(context.Context, backend.RenewRequest) (backend.RenewReply, error) {
	return missing[backend.RenewReply](a, "RenewTasks")
}

func (a *absent) EditTasks(context.Context, backend.TaskEdit) (backend.TaskEditReply, error) {
	return missing[backend.TaskEditReply](a, "EditTasks")
}

func (a *absent) Tasks(context.Context, backend.TasksRequest) (backend.TasksReply, error) {
	return missing[backend.TasksReply](a, "Tasks")
}

func (a *absent) Stats(context.Context, backend.StatsRequest) (backend.QueueStats, error) {
	return missing[backend.QueueStats](a, "Stats")
}
