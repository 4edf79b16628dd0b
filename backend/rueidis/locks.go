package rueidis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// Lock implements [backend.Locks]: one round trip, shared with those who want something of names of the same namespace at
// the same moment. With replicas to wait for it goes on a connection of its own.
func (b *Backend) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	sp, err := b.ready(ctx, "lock", req.Namespace, req.Validate())
	if err != nil {
		return backend.LockReply{}, err
	}
	op := lockOp{req: req}
	if err := sp.lock(ctx, &op); err != nil {
		return backend.LockReply{}, err
	}
	return backend.LockReply{Grants: op.grants}, nil
}

// Unlock implements [backend.Locks]: one round trip, shared as that of [Backend.Lock]; one of its own with Force.
func (b *Backend) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	sp, err := b.ready(ctx, "unlock", req.Namespace, req.Validate())
	if err != nil {
		return backend.UnlockReply{}, err
	}
	if req.Force {
		return sp.force(ctx, req.Items)
	}
	p := newPart()
	p.returns = req.Items
	bits, err := sp.lockComb.submit(ctx, p)
	return backend.UnlockReply{Unlocked: bits}, b.fail(ctx, "unlock", sp.ns, err)
}

// force frees names whoever holds them.
func (sp *space) force(ctx context.Context, items []backend.Held) (backend.UnlockReply, error) {
	argv := append(make([]string, 0, 1+len(items)), sp.lockKeys.head)
	for i := range items {
		argv = append(argv, items[i].Member)
	}
	reply, err := sp.b.exec(ctx, "force unlock", sp.ns, lockForceScript, sp.lockKeys.keys, argv)
	if err != nil {
		return backend.UnlockReply{}, err
	}
	bits, err := allDigits("force unlock", &reply, len(items))
	return backend.UnlockReply{Unlocked: bits}, sp.b.fail(ctx, "force unlock", sp.ns, err)
}

// RenewLocks implements [backend.Locks]: one round trip, as that of [Backend.Lock].
func (b *Backend) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	sp, err := b.ready(ctx, "renew locks", req.Namespace, withoutNewTokens(&req))
	if err != nil {
		return backend.RenewReply{}, err
	}
	p := newPart()
	p.renewals = req.Items
	var bits []bool
	if req.Durability.Replicas > 0 {
		bits, err = sp.durably(ctx, req.Durability, p)
	} else {
		bits, err = sp.lockComb.submit(ctx, p)
	}
	return backend.RenewReply{Renewed: bits}, b.fail(ctx, "renew locks", sp.ns, err)
}

// SetLimit implements [backend.Locks]: one round trip.
func (b *Backend) SetLimit(ctx context.Context, req backend.LimitRequest) error {
	sp, err := b.ready(ctx, "set limit", req.Namespace, req.Validate())
	if err != nil {
		return err
	}
	_, err = b.exec(ctx, "set limit", sp.ns, lockLimitScript, sp.lockKeys.keys,
		[]string{sp.lockKeys.head, req.Name, strconv.Itoa(req.Limit)})
	return err
}

// Holders implements [backend.Locks]: one round trip.
func (b *Backend) Holders(ctx context.Context, req backend.HoldersRequest) ([]backend.LockState, error) {
	sp, err := b.ready(ctx, "holders", req.Namespace, req.Validate())
	if err != nil {
		return nil, err
	}
	k := &sp.lockKeys
	argv := append(make([]string, 0, 4+len(req.Names)), k.lock, k.line, k.holders, k.units)
	reply, err := b.exec(ctx, "holders", sp.ns, lockHoldersScript, with([]string{sp.ns.LockLimits()}, sp.none...), append(argv, req.Names...))
	if err != nil {
		return nil, err
	}
	list, err := reply.ToArray()
	if err != nil || len(list) != len(req.Names) {
		return nil, b.fail(ctx, "holders", sp.ns, unexpected("holders", &reply))
	}
	states := make([]backend.LockState, len(list))
	for i := range list {
		if !decodeState(&states[i], &list[i]) {
			return nil, b.fail(ctx, "holders", sp.ns, unexpected("holders", &list[i]))
		}
	}
	return states, nil
}

// decodeState reads {value or nil, PTTL, limit, waiting, token, units, left, ...}.
func decodeState(state *backend.LockState, m *rueidis.RedisMessage) bool {
	list, err := m.ToArray()
	if err != nil || len(list) < 4 || len(list)%3 != 1 {
		return false
	}
	var n [3]int64
	for i := range n {
		if into(&list[1+i], &n[i]) != nil {
			return false
		}
	}
	state.Limit, state.Waiting = int(n[1]), int(n[2])
	if list[0].IsNil() {
		return true
	}
	if into(&list[0], &state.Owner) != nil {
		return false
	}
	if state.Owner == backend.SharedToken {
		state.Owner = ""
		for list = list[4:]; len(list) > 0; list = list[3:] {
			var h backend.LockHolder
			var units, left int64
			if into(&list[0], &h.Token) != nil || into(&list[1], &units) != nil || into(&list[2], &left) != nil {
				return false
			}
			h.Units, h.TTL = int(units), remaining(left)
			state.Holders = append(state.Holders, h)
			state.Units += h.Units
		}
		if len(state.Holders) == 0 { // whatever the lock says
			return true
		}
	}
	state.Locked, state.TTL = true, remaining(n[0])
	return true
}
