package backendtest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenNames treat values, sets and requests for several names as they should not.
func brokenNames() []mutant {
	return []mutant{
		{"those who shared come back", "lock-values/stale-holders", comesBack()},
		{"what is shared cannot be set by hand", "lock-values/set", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				if len(req.Items) == 1 && req.Kind == backend.KindLock && len(stateOf(ctx, be, req.Namespace, req.Items[0].Name).Holders) > 0 {
					return backend.SetReply{Set: []bool{true}}, nil
				}
				return be.Set(ctx, req)
			},
		}},
		{"what is held cannot be removed by hand", "lock-values/removed", broken{
			delete: func(ctx context.Context, be backend.Backend, req backend.DeleteRequest) (backend.DeleteReply, error) {
				req.Items = slices.DeleteFunc(slices.Clone(req.Items), func(it backend.DeleteItem) bool {
					return len(stateOf(ctx, be, req.Namespace, it.Name).Holders) > 0
				})
				if len(req.Items) == 0 {
					return backend.DeleteReply{}, nil
				}
				return be.Delete(ctx, req)
			},
		}},
		{"locks of members are mixed up", "lock-values/members", broken{
			members: func(ctx context.Context, be backend.Backend, req backend.MembersRequest) (backend.MembersReply, error) {
				got, err := be.Members(ctx, req)
				slices.Reverse(got.Locks)
				return got, err
			},
		}},
		{"locks of members are those of the first page", "lock-values/members-many", broken{
			members: func(ctx context.Context, be backend.Backend, req backend.MembersRequest) (backend.MembersReply, error) {
				got, err := be.Members(ctx, req)
				if req.Cursor != "" {
					got.Locks = make([]backend.Value, len(got.Locks))
				}
				return got, err
			},
		}},
		{"holds some while it waits", "multi/all-or-none", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				got, err := be.Enter(ctx, req)
				for _, it := range req.Lock.Items {
					if got.Handover != nil && ownerOf(ctx, be, req.Lock.Namespace, it.Name) == "" {
						hold(ctx, be, req.Lock.Namespace, backend.SetItem{Name: it.Name, Value: req.Lock.Token, TTL: time.Hour})
					}
				}
				return got, err
			},
		}},
		{"waits in the first of its lines", "multi/same-place", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if len(req.Lock.Items) > 1 && req.Validate() == nil {
					req.Lock.Items = req.Lock.Items[:1]
				}
				return be.Enter(ctx, req)
			},
		}},
		{"large requests come last", "multi/keeps-its-turn", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) {
				if len(req.Lock.Items) > 1 {
					req.Priority = -backend.MaxPriority
				}
			}),
		}},
		{"small requests come first", "multi/twice-first", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) { req.Priority = int(req.Lock.Token[0]) }),
		}},
		{"Force does not serve", "lock-handover/force", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				if !req.Force || req.Validate() != nil {
					return be.Unlock(ctx, req)
				}
				var got backend.UnlockReply
				for _, it := range req.Items { // those who wait find out by themselves
					got.Unlocked = append(got.Unlocked, stateOf(ctx, be, req.Namespace, it.Member).Locked)
					hold(ctx, be, req.Namespace, backend.SetItem{Name: it.Member, Value: "nobody", TTL: 100 * time.Millisecond})
				}
				return got, nil
			},
		}},
		{"SetLimit does not serve", "lock-handover/set-limit", broken{
			limit: func(ctx context.Context, be backend.Backend, req backend.LimitRequest) error {
				if req.Validate() == nil && stateOf(ctx, be, req.Namespace, req.Name).Waiting > 0 {
					return nil
				}
				return be.SetLimit(ctx, req)
			},
		}},
		{"unlocking does not serve", "lock-handover/batch", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				for _, it := range req.Items {
					if req.Validate() == nil && stateOf(ctx, be, req.Namespace, it.Member).Waiting > 0 {
						return backend.UnlockReply{Unlocked: make([]bool, len(req.Items))}, nil
					}
				}
				return be.Unlock(ctx, req)
			},
		}},
		{"what is set by hand need not be waited for", "lock-handover/set-by-hand", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				for _, it := range req.Items {
					if req.Kind == backend.KindLock && req.Validate() == nil && stateOf(ctx, be, req.Namespace, it.Name).Waiting > 0 {
						_, _ = be.Delete(ctx, backend.DeleteRequest{Namespace: req.Namespace, Items: []backend.DeleteItem{{Name: it.Name}}})
						return backend.SetReply{Set: make([]bool, len(req.Items))}, nil
					}
				}
				return be.Set(ctx, req)
			},
		}},
		{"nobody finds out by himself", "lock-handover/removed-by-hand", broken{
			delete: func(ctx context.Context, be backend.Backend, req backend.DeleteRequest) (backend.DeleteReply, error) {
				for _, it := range req.Items {
					if req.Validate() == nil && stateOf(ctx, be, req.Namespace, it.Name).Waiting > 0 {
						hold(ctx, be, req.Namespace, backend.SetItem{Name: it.Name, Value: "nobody", TTL: 5 * time.Second})
						return backend.DeleteReply{Deleted: make([]bool, len(req.Items))}, nil
					}
				}
				return be.Delete(ctx, req)
			},
		}},
	}
}

// beforeEnter changes valid requests for names.
func beforeEnter(change func(*backend.EnterRequest)) func(context.Context, backend.Backend, backend.EnterRequest) (backend.EnterReply, error) {
	return func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
		if req.ForLocks() && req.Validate() == nil {
			req.Lock.Items = slices.Clone(req.Lock.Items)
			change(&req)
		}
		return be.Enter(ctx, req)
	}
}

// comesBack lets those who shared a name that was removed share it again with the next who do.
func comesBack() broken {
	var mu sync.Mutex
	stale := map[string][]backend.LockHolder{}
	return broken{
		delete: func(ctx context.Context, be backend.Backend, req backend.DeleteRequest) (backend.DeleteReply, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, it := range req.Items {
				if hs := stateOf(ctx, be, req.Namespace, it.Name).Holders; len(hs) > 0 {
					stale[it.Name] = hs
				}
			}
			return be.Delete(ctx, req)
		},
		lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
			got, err := be.Lock(ctx, req)
			mu.Lock()
			defer mu.Unlock()
			for _, g := range got.Grants {
				hs := stale[g.Member]
				delete(stale, g.Member)
				for _, h := range hs {
					_ = be.SetLimit(ctx, backend.LimitRequest{Namespace: req.Namespace, Name: g.Member})
					_, _ = be.Lock(ctx, backend.LockRequest{
						Namespace: req.Namespace, Token: h.Token, TTL: time.Hour, Items: []backend.LockItem{{Name: g.Member, Units: h.Units}},
					})
				}
			}
			return got, err
		},
	}
}
