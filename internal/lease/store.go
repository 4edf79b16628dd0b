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

// store is how leases of either kind are renewed and given back. The replies have an entry for each item.
type store interface {
	renew(ctx context.Context, ns backend.Namespace, items []backend.Renewal) ([]bool, error)
	giveBack(ctx context.Context, ns backend.Namespace, items []backend.Held) ([]bool, error)
}

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
