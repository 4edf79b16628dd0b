package backendtest_test

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redisallocator/redisallocator/backend"
)

func brokenValues() []mutant {
	return []mutant{
		{"values never run out", "values/runs-out", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				if err := req.Validate(); err != nil {
					return backend.SetReply{}, err
				}
				req.Items = slices.Clone(req.Items)
				for i := range req.Items {
					req.Items[i].TTL = backend.NoExpiry
				}
				return be.Set(ctx, req)
			},
		}},
		{"a batch is written by halves", "conditions/batch-all-or-none", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				each := req.Each
				req.Each = true
				got, err := be.Set(ctx, req)
				if !each && slices.Contains(got.Set, false) {
					clear(got.Set)
					clear(got.Fences)
				}
				return got, err
			},
		}},
		{"a batch is removed by halves", "conditions/batch-all-or-none", broken{
			delete: func(ctx context.Context, be backend.Backend, req backend.DeleteRequest) (backend.DeleteReply, error) {
				req.Each = true
				return be.Delete(ctx, req)
			},
		}},
		{"each is all or none", "conditions/batch-each", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				req.Each = false
				return be.Set(ctx, req)
			},
		}},
		{"no tolerance", "conditions/set-numeric", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				req.Items = slices.Clone(req.Items)
				for i, it := range req.Items {
					if it.Cond == backend.IfGreaterOrEqual && ownerOf(ctx, be, req.Namespace, it.Name) > it.Operand {
						req.Items[i].Cond = backend.IfGreater
					}
				}
				return be.Set(ctx, req)
			},
		}},
		{"operands are swapped", "conditions/set-numeric", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				req.Items = slices.Clone(req.Items)
				for i, it := range req.Items {
					switch it.Cond {
					case backend.IfGreater:
						req.Items[i].Cond = backend.IfLess
					case backend.IfLess:
						req.Items[i].Cond = backend.IfGreater
					}
				}
				return be.Set(ctx, req)
			},
		}},
		{"what is no number compares as missing", "conditions/no-number", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				got, err := be.Set(ctx, req)
				if errors.Is(err, backend.ErrNotNumber) {
					req.Items = slices.Clone(req.Items)
					for i := range req.Items {
						req.Items[i].Cond = backend.Always
					}
					return be.Set(ctx, req)
				}
				return got, err
			},
		}},
		{"missing values cannot be removed under a condition", "conditions/delete", broken{
			delete: func(ctx context.Context, be backend.Backend, req backend.DeleteRequest) (backend.DeleteReply, error) {
				req.Items = slices.Clone(req.Items)
				for i, it := range req.Items {
					if it.Cond != backend.Always && ownerOf(ctx, be, req.Namespace, it.Name) == "" {
						req.Items[i].Cond = backend.IfEqual
					}
				}
				return be.Delete(ctx, req)
			},
		}},
		{"missing values count as removed", "values/runs-out", broken{
			delete: func(ctx context.Context, be backend.Backend, req backend.DeleteRequest) (backend.DeleteReply, error) {
				got, err := be.Delete(ctx, req)
				for i := range got.Deleted {
					got.Deleted[i] = true
				}
				return got, err
			},
		}},
		{"fences of values stand still", "conditions/fences", broken{
			set: func(ctx context.Context, be backend.Backend, req backend.SetRequest) (backend.SetReply, error) {
				got, err := be.Set(ctx, req)
				for i := range got.Fences {
					got.Fences[i] = min(got.Fences[i], 1)
				}
				return got, err
			},
		}},
		{"replies are out of order", "values/get", broken{
			get: func(ctx context.Context, be backend.Backend, req backend.GetRequest) ([]backend.Value, error) {
				req.Names = slices.Sorted(slices.Values(req.Names))
				return be.Get(ctx, req)
			},
		}},
		{"kinds are mixed up", "values/kinds", broken{
			get: func(ctx context.Context, be backend.Backend, req backend.GetRequest) ([]backend.Value, error) {
				if req.Kind == backend.KindBinding {
					req.Kind = backend.KindLock
				}
				return be.Get(ctx, req)
			},
		}},
		{"scan forgets", "values/scan", broken{
			scan: func(ctx context.Context, be backend.Backend, req backend.ScanRequest) (backend.ScanReply, error) {
				got, err := be.Scan(ctx, req)
				got.Names = slices.DeleteFunc(got.Names, func(n string) bool { return strings.Contains(n, ":") })
				return got, err
			},
		}},
		{"scan ends early", "values/scan", broken{
			scan: func(ctx context.Context, be backend.Backend, req backend.ScanRequest) (backend.ScanReply, error) {
				got, err := be.Scan(ctx, req)
				got.Cursor = ""
				return got, err
			},
		}},
		{"repetitions count as new in a set", "sets/add", broken{
			add: func(ctx context.Context, be backend.Backend, req backend.SetEdit) (int, error) {
				n, err := be.Add(ctx, req)
				if n > 0 {
					n = len(req.Names)
				}
				return n, err
			},
		}},
		{"removing from a set unlocks", "sets/remove", broken{
			remove: func(ctx context.Context, be backend.Backend, req backend.SetEdit) (int, error) {
				for _, n := range req.Names {
					_, _ = be.Delete(ctx, backend.DeleteRequest{Namespace: req.Namespace, Items: []backend.DeleteItem{{Name: n}}})
				}
				return be.Remove(ctx, req)
			},
		}},
		{"replacing a set adds", "sets/replace", broken{
			replace: func(ctx context.Context, be backend.Backend, req backend.SetEdit) error {
				_, err := be.Add(ctx, req)
				return err
			},
		}},
		{"a set has one page", "sets/pages", broken{
			members: func(ctx context.Context, be backend.Backend, req backend.MembersRequest) (backend.MembersReply, error) {
				got, err := be.Members(ctx, req)
				got.Cursor = ""
				return got, err
			},
		}},
		{"a set of some counts some", "sets/among", broken{
			members: func(ctx context.Context, be backend.Backend, req backend.MembersRequest) (backend.MembersReply, error) {
				got, err := be.Members(ctx, req)
				got.Total = len(got.Names)
				return got, err
			},
		}},
	}
}
