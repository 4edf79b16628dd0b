package rueidis

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Take implements [backend.Pools]: one round trip, shared with those who want something of the same namespace at
// the same moment.
func (b *Backend) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	sp, err := b.ready(ctx, "take", req.Namespace, req.Validate())
	if err != nil {
		return backend.TakeReply{}, err
	}
	op := takeOp{req: req}
	if err := sp.take(ctx, &op); err != nil {
		return backend.TakeReply{}, err
	}
	return backend.TakeReply{Grants: op.grants}, nil
}

// Return implements [backend.Pools]: one round trip, shared as that of [Backend.Take]; one of its own with Force.
func (b *Backend) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	sp, err := b.ready(ctx, "return", req.Namespace, req.Validate())
	if err != nil {
		return backend.ReturnReply{}, err
	}
	if req.Force {
		return sp.release(ctx, req)
	}
	p := newPart()
	p.returns = req.Items
	bits, err := sp.comb.submit(ctx, p)
	return backend.ReturnReply{Returned: bits}, b.fail(ctx, "return", sp.ns, err)
}

// release gives members back whoever holds them.
func (sp *space) release(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	args := make([]string, 1, len(req.Items)+1)
	args[0] = seconds(req.MemberTTL)
	for i := range req.Items {
		args = append(args, req.Items[i].Member)
	}
	reply, err := sp.run(ctx, "release", releaseScript, args...)
	if err != nil {
		return backend.ReturnReply{}, err
	}
	bits, err := allDigits("release", &reply, len(req.Items))
	return backend.ReturnReply{Returned: bits}, sp.b.fail(ctx, "release", sp.ns, err)
}

// Renew implements [backend.Pools]: one round trip, shared as that of [Backend.Take].
func (b *Backend) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	sp, err := b.ready(ctx, "renew", req.Namespace, req.Validate())
	if err != nil {
		return backend.RenewReply{}, err
	}
	p := newPart()
	p.renewals = req.Items
	bits, err := sp.comb.submit(ctx, p)
	return backend.RenewReply{Renewed: bits}, b.fail(ctx, "renew", sp.ns, err)
}

// Collect implements [backend.Pools]: one round trip.
func (b *Backend) Collect(ctx context.Context, req backend.CollectRequest) (backend.CollectReply, error) {
	sp, err := b.ready(ctx, "collect", req.Namespace, req.Validate())
	if err != nil {
		return backend.CollectReply{}, err
	}
	n, err := sp.counts(ctx, "collect", collectScript, 4, itoa(req.Count))
	if err != nil {
		return backend.CollectReply{}, err
	}
	return backend.CollectReply{Freed: n[0], Dropped: n[1], Locked: n[2], Repaired: n[3]}, nil
}
