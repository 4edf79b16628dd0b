package rueidis

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// method is one call of the contract, in one form.
type method struct {
	name string
	do   func(ctx context.Context, b *Backend, ns backend.Namespace) error
}

// methods are all methods in all their forms. They expect the pool that furnish makes.
func methods() []method {
	take := func(change func(*backend.TakeRequest)) func(context.Context, *Backend, backend.Namespace) error {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			req := backend.TakeRequest{Namespace: ns, Token: backend.NewToken(), TTL: time.Minute}
			change(&req)
			_, err := b.Take(ctx, req)
			return err
		}
	}
	assign := func(n int) func(context.Context, *Backend, backend.Namespace) error {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Assign(ctx, backend.ExtendRequest{Namespace: ns, Members: members(n), TTL: time.Hour})
			return err
		}
	}
	inspect := func(req backend.InspectRequest) func(context.Context, *Backend, backend.Namespace) error {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			req.Namespace = ns
			_, err := b.Inspect(ctx, req)
			return err
		}
	}
	return []method{
		{"Take", take(func(*backend.TakeRequest) {})},
		{"Take for ever", take(func(r *backend.TakeRequest) { r.TTL = backend.NoExpiry })},
		{"Take several", take(func(r *backend.TakeRequest) { r.Count = 2 })},
		{"Take shared", take(func(r *backend.TakeRequest) { r.Shared = true })},
		{"Take bound", take(func(r *backend.TakeRequest) { r.Binding, r.BindingTTL = "name", time.Hour })},
		{"Take preferred", take(func(r *backend.TakeRequest) { r.Prefer = []string{"m00003"} })},
		{"Take only", take(func(r *backend.TakeRequest) { r.Prefer, r.Only = []string{"m00004"}, true })},
		{"Take and collect", take(func(r *backend.TakeRequest) { r.Collect = 100 })},
		{"Return", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "m00000", Token: "holder"}}})
			return err
		}},
		{"Return by force", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Return(ctx, backend.ReturnRequest{
				Namespace: ns, Force: true, MemberTTL: time.Hour, Items: []backend.Held{{Member: "m00001"}},
			})
			return err
		}},
		{"Renew", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Renew(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
				{Member: "m00002", Token: "other", TTL: time.Hour}, {Member: "lock", Token: "v", TTL: time.Hour},
			}})
			return err
		}},
		{"Renew with a new token", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Renew(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
				{Member: "m00002", Token: "other", TTL: backend.NoExpiry, NewToken: "another"},
			}})
			return err
		}},
		{"Extend", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{"new", "m00004"}, TTL: time.Hour})
			return err
		}},
		{"Shrink", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Shrink(ctx, backend.ShrinkRequest{Namespace: ns, Members: []string{"m00005", "m00001"}})
			return err
		}},
		{"Collect", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Collect(ctx, backend.CollectRequest{Namespace: ns, Count: 100})
			return err
		}},
		{"Inspect", inspect(backend.InspectRequest{})},
		{"Inspect a page", inspect(backend.InspectRequest{Limit: 10})},
		{"Inspect some", inspect(backend.InspectRequest{Only: []string{"m00000"}})},
		{"Inspect the totals", inspect(backend.InspectRequest{CountOnly: true})},
		{"Get", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Get(ctx, backend.GetRequest{Namespace: ns, Names: []string{"lock"}})
			return err
		}},
		{"Get bindings", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Get(ctx, backend.GetRequest{Namespace: ns, Kind: backend.KindBinding, Names: []string{"name"}})
			return err
		}},
		{"Set", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Set(ctx, backend.SetRequest{Namespace: ns, Fence: true, Items: []backend.SetItem{
				{Name: "fresh", Value: "v", TTL: time.Hour, Cond: backend.IfAbsent}, {Name: "lock", Value: "w", TTL: backend.NoExpiry},
			}})
			return err
		}},
		{"Delete", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Delete(ctx, backend.DeleteRequest{Namespace: ns, Items: []backend.DeleteItem{
				{Name: "fresh"}, {Name: "lock", Cond: backend.IfEqual, Operand: "w"},
			}})
			return err
		}},
		{"Scan", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Scan(ctx, backend.ScanRequest{Namespace: ns})
			return err
		}},
		{"Queue", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Queue(ctx, backend.QueueRequest{Namespace: ns, Token: "nobody", Limit: 10})
			return err
		}},
		{"Enter and Leave", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			token := backend.NewToken()
			got, err := b.Enter(ctx, backend.EnterRequest{
				Take: backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Minute, Count: backend.MaxTake},
			})
			if err != nil {
				return err
			}
			if got.Handover == nil {
				return fmt.Errorf("granted %v", got.Grants)
			}
			_, err = b.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: token})
			return err
		}},
		{"Enter for names and Leave", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			first, second := backend.NewToken(), backend.NewToken()
			items := []backend.LockItem{{Name: "a"}, {Name: "b", Units: 2, Limit: 3}}
			for i, token := range []string{first, second} {
				got, err := b.Enter(ctx, backend.EnterRequest{Lock: backend.LockRequest{
					Namespace: ns, Token: token, TTL: time.Minute, Items: items,
				}})
				if err != nil {
					return err
				}
				if (got.Handover == nil) != (i == 0) {
					return fmt.Errorf("request %d: %v", i, got)
				}
			}
			if _, err := b.Queue(ctx, backend.QueueRequest{Namespace: ns, Name: "b", Token: second, Limit: 10}); err != nil {
				return err
			}
			if _, err := b.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: second, Names: []string{"a", "b"}}); err != nil {
				return err
			}
			_, err := b.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: "a", Token: first}, {Member: "b", Token: first}}})
			return err
		}},
		{"Lock and Unlock", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			return locksAndUnlocks(ctx, b, backend.LockRequest{Items: []backend.LockItem{{Name: "alone"}}, Namespace: ns})
		}},
		{"Lock several and Unlock", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			return locksAndUnlocks(ctx, b, backend.LockRequest{
				Items: []backend.LockItem{{Name: "alone"}, {Name: "shared", Units: 2, Limit: 5}}, Namespace: ns,
			})
		}},
		{"Lock again and Unlock", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			return locksAndUnlocks(ctx, b, backend.LockRequest{Items: []backend.LockItem{{Name: "alone"}}, Again: true, Namespace: ns})
		}},
		{"RenewLocks", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			_, err := b.RenewLocks(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
				{Member: "alone", Token: "nobody", TTL: time.Hour},
			}})
			return err
		}},
		{"Unlock by force", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			_, err := b.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Force: true, Items: []backend.Held{{Member: "alone"}}})
			return err
		}},
		{"SetLimit", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			return b.SetLimit(ctx, backend.LimitRequest{Namespace: ns, Name: "shared", Limit: 5})
		}},
		{"Holders", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			_, err := b.Holders(ctx, backend.HoldersRequest{Namespace: ns, Names: []string{"alone", "shared"}})
			return err
		}},
		{"Add", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			_, err := b.Add(ctx, backend.SetEdit{Namespace: ns, Names: []string{"a", "b"}})
			return err
		}},
		{"Members", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			_, err := b.Members(ctx, backend.MembersRequest{Namespace: ns})
			return err
		}},
		{"Members among", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			_, err := b.Members(ctx, backend.MembersRequest{Namespace: ns, Among: []string{"a", "c"}})
			return err
		}},
		{"Replace", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			return b.Replace(ctx, backend.SetEdit{Namespace: ns, Names: []string{"c"}})
		}},
		{"Remove", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			_, err := b.Remove(ctx, backend.SetEdit{Namespace: ns, Names: []string{"c"}})
			return err
		}},
		{"Replace by many", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			ns.Suffix = "lock"
			return b.Replace(ctx, backend.SetEdit{Namespace: ns, Names: members(backend.BatchLimit + 1)})
		}},
		{"Assign", assign(3)},
		{"Assign many", assign(backend.BatchLimit + 1)},
		{"Assign nothing", assign(0)},
	}
}

// ofLocks are those that furnish does nothing for: they are about another namespace, with the suffix "lock".
var ofLocks = []string{
	"Add", "Members", "Members among", "Replace", "Replace by many", "Remove", "Enter for names and Leave", "Lock and Unlock",
	"Lock several and Unlock", "Lock again and Unlock", "RenewLocks", "Unlock by force", "SetLimit", "Holders",
}

// locksAndUnlocks carries out a request for an hour, under a new token, and gives back what it got.
func locksAndUnlocks(ctx context.Context, b *Backend, req backend.LockRequest) error {
	req.Token, req.TTL = backend.NewToken(), time.Hour
	got, err := b.Lock(ctx, req)
	if err != nil {
		return err
	}
	if len(got.Grants) != len(req.Items) {
		return fmt.Errorf("granted %v", got.Grants)
	}
	_, err = b.Unlock(ctx, backend.UnlockRequest{Namespace: req.Namespace, Items: heldBy(got.Grants)})
	return err
}

// furnish makes the pool that methods expect: ten members, three of them leased, one bound, and a lock.
func (r *room) furnish(b *Backend) {
	r.Helper()
	r.extend(b, members(10)...)
	for _, token := range []string{"holder", "forced", "other"} {
		r.take(b, token, 1, time.Hour)
	}
	_, err := b.Set(r.Context(), backend.SetRequest{Namespace: r.ns, Items: []backend.SetItem{{Name: "lock", Value: "v", TTL: time.Hour}}})
	require.NoError(r, err)
	_, err = b.Set(r.Context(), backend.SetRequest{
		Namespace: r.ns, Kind: backend.KindBinding, Items: []backend.SetItem{{Name: "name", Value: "m00006", TTL: time.Hour}},
	})
	require.NoError(r, err)
}

// dump gives all keys of the room as they stand, byte for byte, and whether they end.
func (r *room) dump() map[string]string {
	r.Helper()
	keys, err := r.do("KEYS", escapeGlob(r.ns.Prefix)+"*").AsStrSlice()
	require.NoError(r, err)
	all := make(map[string]string, len(keys))
	commands := make([][]string, 0, 2*len(keys))
	for _, key := range keys {
		commands = append(commands, []string{"DUMP", key}, []string{"PEXPIRETIME", key})
	}
	replies := r.all(commands...)
	for i, key := range keys {
		value, err := replies[2*i].ToString()
		require.NoError(r, err)
		ends, err := replies[2*i+1].AsInt64()
		require.NoError(r, err)
		all[key] = fmt.Sprintf("%q, ends at %d", value, ends)
	}
	return all
}

// sound checks the invariants.
func (r *room) sound(b *Backend) backend.InspectReply {
	r.Helper()
	pool, err := b.Inspect(r.Context(), backend.InspectRequest{Namespace: r.ns})
	require.NoError(r, err)
	require.Empty(r, strings.Join(backend.CheckPool(pool, true), "; "))
	return pool
}

// free lists the free members in their order.
func free(pool backend.InspectReply) (names []string) {
	next := map[string]string{}
	for _, m := range pool.Members {
		next[m.Name] = m.Next
	}
	for name := pool.Head; name != "" && len(names) <= len(pool.Members); name = next[name] {
		names = append(names, name)
	}
	return names
}

func TestMethods(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	for _, tagged := range []bool{false, true} {
		r := newRoom(t, url)
		r.ns.HashTag = tagged
		b := r.process(url)
		r.furnish(b)
		for _, op := range methods() {
			require.NoError(t, op.do(t.Context(), b, r.ns), op.name)
			if op.name != "Assign nothing" {
				r.sound(b)
			}
		}
	}
}
