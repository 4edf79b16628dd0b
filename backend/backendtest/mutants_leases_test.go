package backendtest_test

import (
	"context"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

func brokenLeases() []mutant {
	return []mutant{
		{"anybody gives back", "return/token", broken{
			giveUp: func(ctx context.Context, be backend.Backend, req backend.ReturnRequest) (backend.ReturnReply, error) {
				if err := req.Validate(); err != nil {
					return backend.ReturnReply{}, err
				}
				req.Items = slices.Clone(req.Items)
				for i, it := range req.Items {
					if owner := ownerOf(ctx, be, req.Namespace, it.Member); owner != "" {
						req.Items[i].Token = owner
					}
				}
				return be.Return(ctx, req)
			},
		}},
		{"a lapsed lease frees the next holder's", "return/next-holder", broken{
			giveUp: func(ctx context.Context, be backend.Backend, req backend.ReturnRequest) (backend.ReturnReply, error) {
				req.Items = slices.Clone(req.Items)
				for i, it := range req.Items {
					if it.Token == "old" {
						req.Items[i].Token = ownerOf(ctx, be, req.Namespace, it.Member)
					}
				}
				return be.Return(ctx, req)
			},
		}},
		{"giving back is all or none", "return/batch", broken{
			giveUp: func(ctx context.Context, be backend.Backend, req backend.ReturnRequest) (backend.ReturnReply, error) {
				for _, it := range req.Items {
					if !req.Force && ownerOf(ctx, be, req.Namespace, it.Member) != it.Token {
						return backend.ReturnReply{Returned: make([]bool, len(req.Items))}, req.Validate()
					}
				}
				return be.Return(ctx, req)
			},
		}},
		{"what is given back goes to the head", "return/token", broken{
			giveUp: func(ctx context.Context, be backend.Backend, req backend.ReturnRequest) (backend.ReturnReply, error) {
				before := freeOf(ctx, be, req.Namespace)
				got, err := be.Return(ctx, req)
				if len(before) < 10 && slices.Contains(got.Returned, true) {
					for _, m := range before { // let them queue up behind
						_, _ = be.Take(ctx, backend.TakeRequest{Namespace: req.Namespace, Token: "x", TTL: time.Hour, Only: true, Prefer: []string{m}})
						_, _ = be.Return(ctx, backend.ReturnRequest{Namespace: req.Namespace, Items: []backend.Held{{Member: m, Token: "x"}}})
					}
				}
				return got, err
			},
		}},
		{"what has left the pool comes back", "edit/shrink", broken{
			giveUp: func(ctx context.Context, be backend.Backend, req backend.ReturnRequest) (backend.ReturnReply, error) {
				got, err := be.Return(ctx, req)
				for i, ok := range got.Returned {
					if ok {
						_, _ = be.Extend(ctx, backend.ExtendRequest{
							Namespace: req.Namespace, Members: []string{req.Items[i].Member}, TTL: backend.NoExpiry,
						})
					}
				}
				return got, err
			},
		}},
		{"force is ignored", "return/force", broken{
			giveUp: func(ctx context.Context, be backend.Backend, req backend.ReturnRequest) (backend.ReturnReply, error) {
				if req.Validate() == nil && req.Force {
					return backend.ReturnReply{Returned: make([]bool, len(req.Items))}, nil
				}
				return be.Return(ctx, req)
			},
		}},
		{"force keeps the expiry", "return/force", broken{
			giveUp: func(ctx context.Context, be backend.Backend, req backend.ReturnRequest) (backend.ReturnReply, error) {
				if req.Validate() == nil {
					req.MemberTTL = backend.NoExpiry
				}
				return be.Return(ctx, req)
			},
		}},
		{"anybody renews", "renew/token", broken{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				if err := req.Validate(); err != nil {
					return backend.RenewReply{}, err
				}
				req.Items = slices.Clone(req.Items)
				for i, it := range req.Items {
					if owner := ownerOf(ctx, be, req.Namespace, it.Member); owner != "" {
						req.Items[i].Token = owner
					}
				}
				return be.Renew(ctx, req)
			},
		}},
		{"renewal revives", "renew/no-revival", broken{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				got, err := be.Renew(ctx, req)
				for i, ok := range got.Renewed {
					if it := req.Items[i]; !ok && ownerOf(ctx, be, req.Namespace, it.Member) == "" {
						hold(ctx, be, req.Namespace, backend.SetItem{Name: it.Member, Value: it.Token, TTL: it.TTL})
						got.Renewed[i] = true
					}
				}
				return got, err
			},
		}},
		{"renewal only lengthens", "renew/shorter", broken{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				req.Items = slices.Clone(req.Items)
				for i, it := range req.Items {
					v, err := be.Get(ctx, backend.GetRequest{Namespace: req.Namespace, Names: []string{it.Member}})
					if err == nil && it.TTL > 0 && it.NewToken == "" {
						req.Items[i].TTL = max(it.TTL, v[0].TTL)
					}
				}
				return be.Renew(ctx, req)
			},
		}},
		{"renewal leaves the token", "renew/new-token", broken{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				if err := req.Validate(); err != nil {
					return backend.RenewReply{}, err
				}
				req.Items = slices.Clone(req.Items)
				for i := range req.Items {
					req.Items[i].NewToken = ""
				}
				return be.Renew(ctx, req)
			},
		}},
		{"leases never run out", "lapse/next-take", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if req.Validate() == nil {
					req.TTL = backend.NoExpiry
				}
				return be.Take(ctx, req)
			},
		}},
		{"leases run out too early", "lapse/not-yet", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if req.Validate() == nil && req.TTL > time.Minute {
					req.TTL = 90 * time.Millisecond
				}
				return be.Take(ctx, req)
			},
		}},
		{"lapsed leases are found by collections only", "lapse/large-pool", broken{take: withoutDeadline}},
		{"two have the same member", "concurrency/take", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				got, err := be.Take(ctx, req)
				if err == nil && len(got.Grants) == 0 && max(req.Count, 1) == 1 && !req.Only {
					pool, _ := be.Inspect(ctx, backend.InspectRequest{Namespace: req.Namespace})
					if len(pool.Members) > 0 {
						got.Grants = []backend.Grant{{Member: pool.Members[0].Name, Token: req.Token, Fence: time.Now().UnixMicro()}}
					}
				}
				return got, err
			},
		}},
		{"closing does nothing", "end/calls", broken{close: func(backend.Backend) error { return nil }}},
	}
}

// withoutDeadline takes for ever, and ends the lock by its own TTL without a word to the pool.
func withoutDeadline(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
	if req.Shared || req.Validate() != nil {
		return be.Take(ctx, req)
	}
	ttl := req.TTL
	req.TTL = backend.NoExpiry
	got, err := be.Take(ctx, req)
	for i := range got.Grants {
		g := &got.Grants[i]
		g.TTL = ttl
		hold(ctx, be, req.Namespace, backend.SetItem{Name: g.Member, Value: g.Token, TTL: ttl})
	}
	return got, err
}
