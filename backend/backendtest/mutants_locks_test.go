package backendtest_test

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenLocks take, renew and give back names as they should not.
func brokenLocks() []mutant {
	var drawn atomic.Int64
	return []mutant{
		{"anybody unlocks", "unlock/token", broken{unlock: underOwner(func(backend.Held) bool { return true })}},
		{"a lapsed lease unlocks the next holder's", "unlock/next-holder", broken{
			unlock: underOwner(func(it backend.Held) bool { return it.Token == "old" }),
		}},
		{"unlocking is all or none", "unlock/batch", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				for _, it := range req.Items {
					if !req.Force && req.Validate() == nil && ownerOf(ctx, be, req.Namespace, it.Member) == "" {
						return backend.UnlockReply{Unlocked: make([]bool, len(req.Items))}, nil
					}
				}
				return be.Unlock(ctx, req)
			},
		}},
		{"force is ignored for names", "unlock/force", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				if req.Force && req.Validate() == nil {
					return backend.UnlockReply{Unlocked: make([]bool, len(req.Items))}, nil
				}
				return be.Unlock(ctx, req)
			},
		}},
		{"fences of names stand still", "lock/grants", broken{lock: afterLock(func(_ *backend.LockRequest, grants []backend.Grant) {
			for i := range grants {
				grants[i].Fence = 1
			}
		})}},
		{"fences of names are their own", "lock/fences", broken{lock: afterLock(func(_ *backend.LockRequest, grants []backend.Grant) {
			for i := range grants {
				grants[i].Fence = drawn.Add(1)
			}
		})}},
		{"several names are locked by halves", "lock/all-or-none", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				if req.Validate() != nil {
					return be.Lock(ctx, req)
				}
				var all backend.LockReply
				for _, it := range req.Items {
					one := req
					one.Items = []backend.LockItem{it}
					got, err := be.Lock(ctx, one)
					if err != nil || len(got.Grants) == 0 {
						return backend.LockReply{}, err
					}
					all.Grants = append(all.Grants, got.Grants...)
				}
				return all, nil
			},
		}},
		{"some of several names will do", "lock/all-or-none", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				got, err := be.Lock(ctx, req)
				for err == nil && len(got.Grants) == 0 && len(req.Items) > 1 {
					req.Items = req.Items[:len(req.Items)-1]
					got, err = be.Lock(ctx, req)
				}
				return got, err
			},
		}},
		{"grants come in the order of names", "lock/grants", broken{
			lock: beforeLock(func(_ context.Context, _ backend.Backend, req *backend.LockRequest) {
				slices.SortFunc(req.Items, func(a, b backend.LockItem) int { return int(a.Name[0]) - int(b.Name[0]) })
			}),
		}},
		{"two have the same name", "concurrency/locks", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				got, err := be.Lock(ctx, req)
				if err == nil && len(got.Grants) == 0 {
					for _, it := range req.Items {
						got.Grants = append(got.Grants, backend.Grant{Member: it.Name, Token: req.Token, Fence: time.Now().UnixMicro()})
					}
				}
				return got, err
			},
		}},
		{"one's own token is no obstacle", "lock/own-token", broken{
			lock: beforeLock(func(_ context.Context, _ backend.Backend, req *backend.LockRequest) { req.Again = !req.Downgrade }),
		}},
		{"replicas are not waited for", "lock/durability", broken{
			lock: beforeLock(func(_ context.Context, _ backend.Backend, req *backend.LockRequest) {
				req.Durability = backend.Durability{}
			}),
		}},
		{"locks never run out", "lock/lapse", broken{
			lock: beforeLock(func(_ context.Context, _ backend.Backend, req *backend.LockRequest) { req.TTL = backend.NoExpiry }),
		}},
		{"locks run out too early", "lock/not-yet", broken{
			lock: beforeLock(func(_ context.Context, _ backend.Backend, req *backend.LockRequest) { req.TTL = 100 * time.Millisecond }),
		}},
		{"a name twice is taken once", "invalid/locks", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				req.Items = slices.CompactFunc(slices.Clone(req.Items), func(a, b backend.LockItem) bool { return a.Name == b.Name })
				return be.Lock(ctx, req)
			},
		}},
		{"a name can be set to be shared", "invalid/limits", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				for _, it := range req.Items {
					if it.Value == backend.SharedToken {
						return backend.SetReply{Set: make([]bool, len(req.Items))}, nil
					}
				}
				return be.Set(ctx, req)
			},
		}},
		{"anybody renews names", "renew-locks/token", broken{
			prolong: eachRenewal(func(ctx context.Context, be backend.Backend, ns backend.Namespace, it *backend.Renewal) {
				if owner := stateOf(ctx, be, ns, it.Member).Owner; owner != "" {
					it.Token = owner
				}
			}),
		}},
		{"names get another owner by renewal", "invalid/unlocking", broken{
			prolong: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				req.Items = slices.Clone(req.Items)
				for i := range req.Items {
					req.Items[i].NewToken = ""
				}
				return be.RenewLocks(ctx, req)
			},
		}},
		{"renewal re-creates a lost lock", "renew-locks/no-revival", broken{
			prolong: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				got, err := be.RenewLocks(ctx, req)
				for i, ok := range got.Renewed {
					if it := req.Items[i]; !ok && ownerOf(ctx, be, req.Namespace, it.Member) == "" {
						hold(ctx, be, req.Namespace, backend.SetItem{Name: it.Member, Value: it.Token, TTL: it.TTL})
						got.Renewed[i] = true
					}
				}
				return got, err
			},
		}},
		{"renewal of names only lengthens", "renew-locks/shorter", broken{
			prolong: eachRenewal(func(ctx context.Context, be backend.Backend, ns backend.Namespace, it *backend.Renewal) {
				if left := stateOf(ctx, be, ns, it.Member).TTL; left == backend.NoExpiry {
					it.TTL = left
				}
			}),
		}},
		{"renewal forgets how often", "renew-locks/keeps-count", broken{
			prolong: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				got, err := be.RenewLocks(ctx, req)
				for i, ok := range got.Renewed {
					if it := req.Items[i]; ok && stateOf(ctx, be, req.Namespace, it.Member).Owner == it.Token {
						for release(ctx, be, req.Namespace, it.Member, it.Token) {
						}
						_, _ = be.Lock(ctx, backend.LockRequest{
							Namespace: req.Namespace, Token: it.Token, TTL: it.TTL, Items: []backend.LockItem{{Name: it.Member}},
						})
					}
				}
				return got, err
			},
		}},
	}
}

// underOwner unlocks under the token of whoever has the name.
func underOwner(which func(backend.Held) bool) func(context.Context, backend.Backend, backend.UnlockRequest) (backend.UnlockReply, error) {
	return func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
		if err := req.Validate(); err != nil {
			return backend.UnlockReply{}, err
		}
		req.Items = slices.Clone(req.Items)
		for i, it := range req.Items {
			if owner := stateOf(ctx, be, req.Namespace, it.Member).Owner; owner != "" && which(it) {
				req.Items[i].Token = owner
			}
		}
		return be.Unlock(ctx, req)
	}
}

// beforeLock changes valid requests.
func beforeLock(change func(context.Context, backend.Backend, *backend.LockRequest)) func(context.Context, backend.Backend, backend.LockRequest) (backend.LockReply, error) {
	return func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
		if req.Validate() == nil {
			req.Items = slices.Clone(req.Items)
			change(ctx, be, &req)
		}
		return be.Lock(ctx, req)
	}
}

// afterLock changes grants.
func afterLock(change func(*backend.LockRequest, []backend.Grant)) func(context.Context, backend.Backend, backend.LockRequest) (backend.LockReply, error) {
	return func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
		got, err := be.Lock(ctx, req)
		change(&req, got.Grants)
		return got, err
	}
}

// eachRenewal changes the items of valid requests.
func eachRenewal(change func(context.Context, backend.Backend, backend.Namespace, *backend.Renewal)) func(context.Context, backend.Backend, backend.RenewRequest) (backend.RenewReply, error) {
	return func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
		if req.Validate() == nil {
			req.Items = slices.Clone(req.Items)
			for i := range req.Items {
				change(ctx, be, req.Namespace, &req.Items[i])
			}
		}
		return be.RenewLocks(ctx, req)
	}
}
