package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

const valueDecides = "The value decides: whoever removes or replaces it by other means ends all leases on that name."

var lockValueCases = []Case{
	{
		Name: "removed", Sentence: valueDecides,
		check: func(r *room) {
			r.has("1", "a")
			r.shares("1", "b", 1)
			r.shares("2", "b", 1)
			r.unlockByHand("a", "b")
			r.unheld("a", "b")
			r.no("renewed", r.prolong("1", "a", long))
			r.no("renewed", r.prolong("2", "b", long))
			r.no("given back", r.unlock("1", "a"))
			r.no("given back", r.unlock("1", "b"))
			r.unheld("a", "b")
			r.has("3", "b")
			r.no("renewed", r.prolong("2", "b", long))
			r.no("given back", r.unlock("1", "b"))
			r.heldBy("b", "3")
		},
	},
	{
		Name: "stale-holders", Sentence: valueDecides + " Those who shared it do not come back with the next who do.",
		check: func(r *room) {
			ask := func(token string, n int) backend.LockRequest {
				return backend.LockRequest{Token: token, Items: units("a", n, 3)}
			}
			for _, end := range []func(){
				func() { r.unlockByHand("a") },
				func() { r.force("a") },
				func() {
					r.set("a", "by hand", long)
					r.unlockByHand("a")
				},
				func() {
					r.set("a", "by hand", short)
					r.gone("a")
				},
			} {
				r.gets(ask("1", 2))
				r.gets(ask("2", 1))
				end()
				r.unheld("a")
				r.gets(ask("3", 3))
				r.sharedBy("a", "3*3")
				r.no("renewed", r.prolong("1", "a", long))
				r.no("given back", r.unlock("2", "a"))
				r.sharedBy("a", "3*3")
				r.lets("3", "a")
				r.unheld("a")
			}
			r.equal("the limit", r.lockState("a").Limit, 3)
		},
	},
	{
		Name:     "set",
		Sentence: "Whoever sets the value has the name alone.",
		check: func(r *room) {
			r.has("1", "a")
			r.shares("1", "b", 1)
			r.shares("2", "b", 2)
			for _, name := range []string{"a", "b", "c"} {
				r.set(name, "by hand", 2*long)
				r.heldBy(name, "by hand")
				r.lives("the state of "+name, r.lockState(name).TTL, 2*long)
				r.no("renewed by the former holder", r.prolong("1", name, long))
				r.no("given back by the former holder", r.unlock("1", name))
				r.refuses(
					backend.LockRequest{Token: "3", Items: alone(name)}, backend.LockRequest{Token: "3", Items: units(name, 1, 0)},
					backend.LockRequest{Token: "1", Items: alone(name), Again: true},
				)
				r.heldBy(name, "by hand")
			}
			r.no("renewed by the former holder", r.prolong("2", "b", long))
			r.yes("renewed under the value", r.prolong("by hand", "a", 3*long))
			r.lives("the lock", r.lock("a").TTL, 3*long)
			r.lets("by hand", "a", "b")
			r.unheld("a", "b")
			r.set("d", "1", backend.NoExpiry)
			r.heldBy("d", "1")
			r.lives("the state of d", r.lockState("d").TTL, backend.NoExpiry)
		},
	},
	{
		Name:     "conditions",
		Sentence: "The value of a lock is its owner's token: conditions see it.",
		check: func(r *room) {
			r.has("5", "a")
			r.shares("1", "b", 1)
			r.equal("written", r.sets(item("a", "x", backend.IfAbsent, "")), []bool{false})
			r.equal("written", r.sets(item("b", "x", backend.IfAbsent, "")), []bool{false})
			r.equal("removed", r.deletes(backend.DeleteItem{Name: "b", Cond: backend.IfEqual, Operand: "1"}), []bool{false})
			r.equal("written", r.sets(item("a", "6", backend.IfGreater, "6")), []bool{true})
			r.heldBy("a", "6")
			r.equal("removed", r.deletes(backend.DeleteItem{Name: "b", Cond: backend.IfEqual, Operand: backend.SharedToken}), []bool{true})
			r.unheld("b")
		},
	},
	{
		Name:     "pool",
		Sentence: "A lock on the name of a pool's member keeps it from being taken, and a lease on it from being locked.",
		check: func(r *room) {
			r.exclusive = false
			r.extend("a", "b", "c")
			r.has("t", "b")
			r.one("1")
			r.refuses(backend.LockRequest{Token: "2", Items: alone("a")}, backend.LockRequest{Token: "2", Items: units("a", 1, 0)})
			r.shares("t", "c", 1)
			r.takes(backend.TakeRequest{Token: "2"})
			r.equal("the lock of b", r.lock("b").Value, "t")
			r.lets("t", "b", "c")
			r.collect(backend.BatchLimit)
			r.takes(backend.TakeRequest{Token: "2", Count: 2, Prefer: []string{"b", "c"}}, "b", "c")
		},
	},
	{
		Name:     "pool-hands-on",
		Sentence: "Whatever frees a name hands it to those who are first in its line: also a pool that gets its member back.",
		check: func(r *room) {
			r.exclusive = false
			r.extend("a")
			r.one("1")
			w := r.waitsFor("a", "2")[0]
			r.giveBack("a", "1")
			r.handed(w)
			r.heldBy("a", "2")
			r.lets("2", "a")
		},
	},
	{
		Name:     "members",
		Sentence: "Locks are the locks of Names, in their order, with MembersRequest.Locks set.",
		check: func(r *room) {
			r.add("a", "b", "c", "d", "e")
			r.has("t", "a", "other")
			r.shares("t", "b", 1)
			r.set("c", "", backend.NoExpiry)
			r.set("d", "by hand", short)
			r.gone("d")
			want := map[string]backend.Value{
				"a": {Exists: true, Value: "t", TTL: long}, "b": {Exists: true, Value: backend.SharedToken, TTL: long},
				"c": {Exists: true, TTL: backend.NoExpiry}, "d": {}, "e": {},
			}
			for _, req := range []backend.MembersRequest{
				{Locks: true}, {Locks: true, Limit: 1}, {Locks: true, Among: []string{"e", "other", "b", "d", "a", "c"}},
			} {
				got := r.locksOfMembers(req)
				for name, v := range got {
					if v.TTL > 0 {
						r.lives("the lock of "+name, v.TTL, long)
						v.TTL = long
						got[name] = v
					}
				}
				r.equal("locks of members", got, want)
			}
			page, err := r.be.Members(r.ctx, backend.MembersRequest{Namespace: r.ns})
			r.ok(err, "Members")
			r.equal("locks, without Locks", len(page.Locks), 0)
		},
	},
	{
		Name:     "members-many",
		Sentence: "MembersRequest.Locks: look at the locks of those names, too, also page by page.",
		check: func(r *room) {
			all := numbered(1200)
			r.add(all...)
			want := map[string]backend.Value{}
			for _, n := range all {
				want[n] = backend.Value{}
			}
			some := all[550 : 550+backend.MaxLockNames]
			for _, n := range some {
				want[n] = backend.Value{Exists: true, Value: "t", TTL: backend.NoExpiry}
			}
			r.gets(backend.LockRequest{Token: "t", TTL: backend.NoExpiry, Items: alone(some...)})
			r.equal("locks of members", r.locksOfMembers(backend.MembersRequest{Locks: true, Limit: 100}), want)
		},
	},
}

// locksOfMembers goes through all pages.
func (r *room) locksOfMembers(req backend.MembersRequest) map[string]backend.Value {
	r.tb.Helper()
	r.poolless = true
	req.Namespace = r.ns
	all := map[string]backend.Value{}
	for range 10_000 {
		page, err := r.be.Members(r.ctx, req)
		r.ok(err, "Members")
		if len(page.Locks) != len(page.Names) {
			r.Fatalf("Members gave %d names and %d locks", len(page.Names), len(page.Locks))
		}
		for i, name := range page.Names {
			all[name] = page.Locks[i]
		}
		if req.Cursor = page.Cursor; req.Cursor == "" {
			return all
		}
	}
	r.Fatalf("Members does not end")
	return nil
}
