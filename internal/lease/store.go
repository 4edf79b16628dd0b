package lease

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Members is what leases on members of a pool need of a backend.
type Members interface {
	Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error)
	Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error)
}

// Names is what leases on names need of a backend.
type Names interface {
	RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error)
	Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error)
}

// Tasks is what leases on running tasks need of a backend.
type Tasks interface {
	RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error)
	Report(ctx context.Context, req backend.ReportRequest) (backend.ReportReply, error)
}

// store is how leases of any kind are renewed and given back. The replies have an entry for each item.
type store interface {
	kind() kind
	renew(ctx context.Context, ns backend.Namespace, items []backend.Renewal) ([]bool, error)
	giveBack(ctx context.Context, ns backend.Namespace, items []backend.Held) ([]bool, error)
}

// kind is what leases are on.
type kind uint8

const (
	onMembers kind = iota
	onNames
	onTasks
)

func (members) kind() kind { return onMembers }
func (names) kind() kind   { return onNames }
func (tasks) kind() kind   { return onTasks }

type members struct{ Members }

func (m members) renew(ctx context.Context, ns backend.Namespace, items []backend.Renewal) ([]bool, error) {
	reply, err := m.Renew(ctx, backend.RenewRequest{Namespace: ns, Items: items})
	return reply.Renewed, err
}

func (m members) giveBack(ctx context.Context, ns backend.Namespace, items []backend.Held) ([]bool, error) {
	reply, err := m.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: items})
	return reply.Returned, err
}

type names struct{ Names }

func (n names) renew(ctx context.Context, ns backend.Namespace, items []backend.Renewal) ([]bool, error) {
	reply, err := n.RenewLocks(ctx, backend.RenewRequest{Namespace: ns, Items: items})
	return reply.Renewed, err
}

func (n names) giveBack(ctx context.Context, ns backend.Namespace, items []backend.Held) ([]bool, error) {
	reply, err := n.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: items})
	return reply.Unlocked, err
}

type tasks struct{ Tasks }

func (t tasks) renew(ctx context.Context, ns backend.Namespace, items []backend.Renewal) ([]bool, error) {
	reply, err := t.RenewTasks(ctx, backend.RenewRequest{Namespace: ns, Items: items})
	return reply.Renewed, err
}

// giveBack puts tasks back into their queues.
func (t tasks) giveBack(ctx context.Context, ns backend.Namespace, items []backend.Held) ([]bool, error) {
	reports := make([]backend.TaskReport, len(items))
	for i := range items {
		reports[i] = backend.TaskReport{ID: items[i].Member, Token: items[i].Token, Kind: backend.ReportReturn}
	}
	reply, err := t.Report(ctx, backend.ReportRequest{Namespace: ns, Items: reports})
	return reply.Accepted, err
}
