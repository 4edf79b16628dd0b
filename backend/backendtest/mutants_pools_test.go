package backendtest_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

func brokenPools() []mutant {
	return []mutant{
		{"invalid members are left out", "invalid/edits", broken{
			extend: func(ctx context.Context, be backend.Backend, req backend.ExtendRequest) (backend.EditReply, error) {
				req.Members = slices.DeleteFunc(slices.Clone(req.Members), func(m string) bool {
					return backend.ValidateMember(m) != nil
				})
				return be.Extend(ctx, req)
			},
		}},
		{"invalid TTLs become long ones", "invalid/requests", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if req.TTL == 0 {
					req.TTL = time.Hour
				}
				return be.Take(ctx, req)
			},
		}},
		{"errors say nothing", "invalid/requests", broken{
			collect: func(ctx context.Context, be backend.Backend, req backend.CollectRequest) (backend.CollectReply, error) {
				got, err := be.Collect(ctx, req)
				if errors.Is(err, backend.ErrInvalid) {
					err = backend.ErrInvalid
				}
				return got, err
			},
		}},
		{"members never expire", "expiry/take", broken{
			extend: func(ctx context.Context, be backend.Backend, req backend.ExtendRequest) (backend.EditReply, error) {
				if err := req.Validate(); err != nil {
					return backend.EditReply{}, err
				}
				req.TTL = backend.NoExpiry
				return be.Extend(ctx, req)
			},
		}},
		{"members keep their expiry", "edit/extend-members", broken{
			extend: func(ctx context.Context, be backend.Backend, req backend.ExtendRequest) (backend.EditReply, error) {
				pool, _ := be.Inspect(ctx, backend.InspectRequest{Namespace: req.Namespace})
				there := map[string]bool{}
				for _, m := range pool.Members {
					there[m.Name] = true
				}
				req.Members = slices.DeleteFunc(slices.Clone(req.Members), func(m string) bool { return there[m] })
				return be.Extend(ctx, req)
			},
		}},
		{"locks survive a new life", "edit/extend-left-over", broken{
			extend: func(ctx context.Context, be backend.Backend, req backend.ExtendRequest) (backend.EditReply, error) {
				var left []backend.SetItem
				for _, m := range req.Members[:min(len(req.Members), 10)] {
					if owner := ownerOf(ctx, be, req.Namespace, m); owner != "" {
						left = append(left, backend.SetItem{Name: m, Value: owner, TTL: time.Hour})
					}
				}
				got, err := be.Extend(ctx, req)
				hold(ctx, be, req.Namespace, left...)
				return got, err
			},
		}},
		{"one slice of a long list", "edit/large", broken{
			extend: func(ctx context.Context, be backend.Backend, req backend.ExtendRequest) (backend.EditReply, error) {
				req.Members = req.Members[:min(len(req.Members), backend.BatchLimit)]
				return be.Extend(ctx, req)
			},
		}},
		{"removing unlocks", "edit/shrink", broken{
			shrink: func(ctx context.Context, be backend.Backend, req backend.ShrinkRequest) (backend.EditReply, error) {
				got, err := be.Shrink(ctx, req)
				for _, m := range req.Members {
					_, _ = be.Delete(ctx, backend.DeleteRequest{Namespace: req.Namespace, Items: []backend.DeleteItem{{Name: m}}})
				}
				return got, err
			},
		}},
		{"removing counts strangers", "edit/shrink", broken{
			shrink: func(ctx context.Context, be backend.Backend, req backend.ShrinkRequest) (backend.EditReply, error) {
				got, err := be.Shrink(ctx, req)
				if got.Removed > 0 {
					got.Removed = len(req.Members)
				}
				return got, err
			},
		}},
		{"assigning only adds", "edit/assign", broken{
			assign: func(ctx context.Context, be backend.Backend, req backend.ExtendRequest) (backend.EditReply, error) {
				return be.Extend(ctx, req)
			},
		}},
		{"assigning touches what stays", "edit/assign", broken{
			assign: func(ctx context.Context, be backend.Backend, req backend.ExtendRequest) (backend.EditReply, error) {
				got, err := be.Assign(ctx, req)
				if err == nil {
					_, err = be.Extend(ctx, req)
				}
				return got, err
			},
		}},
		{"last in first out", "take/order", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if free := freeOf(ctx, be, req.Namespace); !req.Only && len(free) > 0 && len(free) < 100 {
					slices.Reverse(free)
					req.Prefer = append(slices.Clone(req.Prefer), free...)
				}
				return be.Take(ctx, req)
			},
		}},
		{"fewer than asked for", "take/count", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				got, err := be.Take(ctx, req)
				if free := len(freeOf(ctx, be, req.Namespace)); err == nil && len(got.Grants) == 0 && free > 0 && !req.Only {
					req.Count = free
					return be.Take(ctx, req)
				}
				return got, err
			},
		}},
		{"fences stand still", "take/fences", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				got, err := be.Take(ctx, req)
				for i := range got.Grants {
					got.Grants[i].Fence /= 1000
				}
				return got, err
			},
		}},
		{"fences ignore the clock", "take/fence-clock", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				got, err := be.Take(ctx, req)
				for i := range got.Grants {
					got.Grants[i].Fence -= 1 << 40
				}
				return got, err
			},
		}},
		{"locked members in the way are taken", "take/locked-by-hand", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				for _, m := range freeOf(ctx, be, req.Namespace) {
					_, _ = be.Delete(ctx, backend.DeleteRequest{Namespace: req.Namespace, Items: []backend.DeleteItem{{Name: m}}})
				}
				return be.Take(ctx, req)
			},
		}},
		{"no collection on the way", "take/collect", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				req.Collect = min(req.Collect, 0)
				return be.Take(ctx, req)
			},
		}},
		{"contexts are ignored", "take/cancelled", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				got, err := be.Take(context.WithoutCancel(ctx), req)
				if err == nil {
					err = ctx.Err()
				}
				return got, err
			},
		}},
		{"shared mode locks", "shared/rotate", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				got, err := be.Take(ctx, req)
				if req.Shared && len(got.Grants) > 0 {
					hold(ctx, be, req.Namespace, backend.SetItem{Name: got.Grants[0].Member, Value: req.Token, TTL: time.Hour})
				}
				return got, err
			},
		}},
		{"shared mode is exclusive", "shared/single", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if req.Shared {
					req.Shared, req.TTL = false, time.Hour
				}
				return be.Take(ctx, req)
			},
		}},
		{"preferences are ignored", "prefer/order", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if !req.Only {
					req.Prefer = nil
				}
				return be.Take(ctx, req)
			},
		}},
		{"others than only", "prefer/only", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				req.Only = req.Only && len(req.Prefer) == 0
				return be.Take(ctx, req)
			},
		}},
		{"bindings are not made", "binding/binds", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if req.Validate() == nil {
					req.Binding = ""
				}
				return be.Take(ctx, req)
			},
		}},
		{"bindings are never dropped", "binding/nothing-else", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				bound := boundTo(ctx, be, req)
				got, err := be.Take(ctx, req)
				if bound != "" && err == nil && len(got.Grants) == 0 {
					rebind(ctx, be, req, bound)
				}
				return got, err
			},
		}},
		{"bindings stay with their first member", "binding/locked", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				bound := boundTo(ctx, be, req)
				got, err := be.Take(ctx, req)
				if bound != "" && len(got.Grants) > 0 {
					rebind(ctx, be, req, bound)
				}
				return got, err
			},
		}},
		{"names wait for their member", "binding/locked", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				if bound := boundTo(ctx, be, req); bound != "" && ownerOf(ctx, be, req.Namespace, bound) != "" {
					return backend.TakeReply{}, nil
				}
				return be.Take(ctx, req)
			},
		}},
		{"collections do nothing", "collect/frees", broken{
			collect: func(ctx context.Context, _ backend.Backend, req backend.CollectRequest) (backend.CollectReply, error) {
				return backend.CollectReply{}, errors.Join(ctx.Err(), req.Validate())
			},
		}},
		{"collections start over", "collect/portions", broken{
			collect: func(ctx context.Context, be backend.Backend, req backend.CollectRequest) (backend.CollectReply, error) {
				pool, _ := be.Inspect(ctx, backend.InspectRequest{Namespace: req.Namespace})
				if len(pool.Members) > 500 && !slices.ContainsFunc(pool.Members[:req.Count], func(m backend.MemberState) bool { return !m.Free() }) {
					return backend.CollectReply{}, nil
				}
				return be.Collect(ctx, req)
			},
		}},
		{"collections count badly", "collect/counts", broken{
			collect: func(ctx context.Context, be backend.Backend, req backend.CollectRequest) (backend.CollectReply, error) {
				got, err := be.Collect(ctx, req)
				got.Freed, got.Locked = got.Locked, got.Freed
				return got, err
			},
		}},
		{"pages end early", "inspect/pages", broken{
			inspect: func(ctx context.Context, be backend.Backend, req backend.InspectRequest) (backend.InspectReply, error) {
				got, err := be.Inspect(ctx, req)
				got.Cursor = ""
				return got, err
			},
		}},
		{"looking collects", "inspect/changes-nothing", broken{
			inspect: func(ctx context.Context, be backend.Backend, req backend.InspectRequest) (backend.InspectReply, error) {
				got, err := be.Inspect(ctx, req)
				_, _ = be.Collect(ctx, backend.CollectRequest{Namespace: req.Namespace, Count: backend.BatchLimit})
				return got, err
			},
		}},
		{"no deadlines to be seen", "inspect/deadline", broken{
			inspect: func(ctx context.Context, be backend.Backend, req backend.InspectRequest) (backend.InspectReply, error) {
				got, err := be.Inspect(ctx, req)
				for i := range got.Members {
					got.Members[i].Deadline = time.Time{}
				}
				return got, err
			},
		}},
	}
}

func boundTo(ctx context.Context, be backend.Backend, req backend.TakeRequest) string {
	got, err := be.Get(ctx, backend.GetRequest{Namespace: req.Namespace, Kind: backend.KindBinding, Names: []string{req.Binding}})
	if err != nil {
		return ""
	}
	return got[0].Value
}

func rebind(ctx context.Context, be backend.Backend, req backend.TakeRequest, member string) {
	_, _ = be.Set(ctx, backend.SetRequest{
		Namespace: req.Namespace, Kind: backend.KindBinding,
		Items: []backend.SetItem{{Name: req.Binding, Value: member, TTL: req.BindingTTL}},
	})
}
