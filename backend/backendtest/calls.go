package backendtest

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// calls are all methods, each with a request that would be good in a good namespace.
func (r *room) calls(ns backend.Namespace) map[string]func(context.Context) error {
	be := r.be
	take := backend.TakeRequest{Namespace: ns, Token: "t", TTL: long}
	edit := backend.ExtendRequest{Namespace: ns, Members: []string{"a"}, TTL: long}
	lock := backend.LockRequest{Namespace: ns, Token: "t", TTL: long, Items: alone("a")}
	set := backend.SetEdit{Namespace: ns, Names: []string{"a"}}
	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error {
			_, err := be.Get(ctx, backend.GetRequest{Namespace: ns, Names: []string{"a"}})
			return err
		},
		"Set": func(ctx context.Context) error {
			_, err := be.Set(ctx, backend.SetRequest{Namespace: ns, Items: []backend.SetItem{item("a", "v", backend.Always, "")}})
			return err
		},
		"Delete": func(ctx context.Context) error {
			_, err := be.Delete(ctx, backend.DeleteRequest{Namespace: ns, Items: []backend.DeleteItem{{Name: "a"}}})
			return err
		},
		"Scan": func(ctx context.Context) error {
			_, err := be.Scan(ctx, backend.ScanRequest{Namespace: ns})
			return err
		},
		"Add":     func(ctx context.Context) error { _, err := be.Add(ctx, set); return err },
		"Remove":  func(ctx context.Context) error { _, err := be.Remove(ctx, set); return err },
		"Replace": func(ctx context.Context) error { return be.Replace(ctx, set) },
		"Members": func(ctx context.Context) error {
			_, err := be.Members(ctx, backend.MembersRequest{Namespace: ns})
			return err
		},
		"Extend": func(ctx context.Context) error { _, err := be.Extend(ctx, edit); return err },
		"Shrink": func(ctx context.Context) error {
			_, err := be.Shrink(ctx, backend.ShrinkRequest{Namespace: ns, Members: edit.Members})
			return err
		},
		"Assign": func(ctx context.Context) error { _, err := be.Assign(ctx, edit); return err },
		"Take":   func(ctx context.Context) error { _, err := be.Take(ctx, take); return err },
		"Return": func(ctx context.Context) error {
			_, err := be.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "a", Token: "t"}}})
			return err
		},
		"Renew": func(ctx context.Context) error {
			_, err := be.Renew(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: long}}})
			return err
		},
		"Collect": func(ctx context.Context) error {
			_, err := be.Collect(ctx, backend.CollectRequest{Namespace: ns, Count: 1})
			return err
		},
		"Inspect": func(ctx context.Context) error {
			_, err := be.Inspect(ctx, backend.InspectRequest{Namespace: ns})
			return err
		},
		"Enter": func(ctx context.Context) error { _, err := be.Enter(ctx, backend.EnterRequest{Take: take}); return err },
		"Leave": func(ctx context.Context) error {
			_, err := be.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: "t"})
			return err
		},
		"Queue": func(ctx context.Context) error {
			_, err := be.Queue(ctx, backend.QueueRequest{Namespace: ns})
			return err
		},
		"Lock": func(ctx context.Context) error { _, err := be.Lock(ctx, lock); return err },
		"Unlock": func(ctx context.Context) error {
			_, err := be.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: "a", Token: "t"}}})
			return err
		},
		"RenewLocks": func(ctx context.Context) error {
			_, err := be.RenewLocks(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: long}}})
			return err
		},
		"SetLimit": func(ctx context.Context) error {
			return be.SetLimit(ctx, backend.LimitRequest{Namespace: ns, Name: "a", Limit: 1})
		},
		"Holders": func(ctx context.Context) error {
			_, err := be.Holders(ctx, backend.HoldersRequest{Namespace: ns, Names: []string{"a"}})
			return err
		},
		"Enter for names": func(ctx context.Context) error {
			_, err := be.Enter(ctx, backend.EnterRequest{Lock: lock})
			return err
		},
		"Leave lines of names": func(ctx context.Context) error {
			_, err := be.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: "t", Names: []string{"a"}})
			return err
		},
		"Queue of a name": func(ctx context.Context) error {
			_, err := be.Queue(ctx, backend.QueueRequest{Namespace: ns, Name: "a"})
			return err
		},
	}
}
