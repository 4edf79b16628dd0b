package backendtest

import (
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var inspectCases = []Case{
	{
		Name:     "all",
		Sentence: "Limit 0 asks for all members in one atomic step.",
		check: func(r *room) {
			r.equal("an empty pool", viewOf(r.pool()), viewOf(backend.InspectReply{}))
			all := numbered(1500)
			r.extend(all...)
			r.take(backend.TakeRequest{Token: "t", Count: 2})
			pool := r.pool()
			r.equal("head and tail", []string{pool.Head, pool.Tail}, []string{all[2], all[1499]})
			r.equal("members and total", []int{len(pool.Members), pool.Total}, []int{1500, 1500})
			r.equal("cursor", pool.Cursor, "")
			r.free(all[2:]...)
		},
	},
	{
		Name:     "links",
		Sentence: "Prev and Next are a member's neighbours in the free list; both Allocated while it is not free.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("t")
			r.equal("pool", viewOf(r.pool()), view{Head: "b", Tail: "c", Total: 3, Members: map[string]memberView{
				"a": {Prev: backend.Allocated, Next: backend.Allocated, Locked: true, Ends: true, Owner: "t", Lease: true},
				"b": {Next: "c"},
				"c": {Prev: "b"},
			}})
		},
	},
	{
		Name:     "only",
		Sentence: "Only, if not empty, asks for these members alone.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("t")
			got, err := r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns, Only: []string{"c", "x", "a"}})
			r.ok(err, "Inspect")
			var members []string
			for _, m := range got.Members {
				members = append(members, m.Name)
			}
			r.sameSet("members", members, []string{"a", "c"})
			r.equal("total", got.Total, 3)
			r.equal("the holder", r.member("a").Owner, "t")
			r.yes("c is free", func() bool { m := r.member("c"); return m.Free() }())
			got, err = r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns, Only: []string{"x"}})
			r.ok(err, "Inspect")
			r.equal("members", len(got.Members), 0)
		},
	},
	{
		Name:     "pages",
		Sentence: "A positive Limit asks for a page of about that many, going on at Cursor; an empty one says that there is nothing more.",
		check: func(r *room) {
			all := numbered(1500)
			r.extend(all...)
			for _, limit := range []int{100, backend.BatchLimit} {
				var got []string
				req := backend.InspectRequest{Namespace: r.ns, Limit: limit}
				for pages := 0; ; pages++ {
					page, err := r.be.Inspect(r.ctx, req)
					r.ok(err, "Inspect")
					r.equal("total", page.Total, len(all))
					if len(page.Members) > 10*limit {
						r.Errorf("a page of about %d has %d members", limit, len(page.Members))
					}
					for _, m := range page.Members {
						got = append(got, m.Name)
					}
					if req.Cursor = page.Cursor; req.Cursor == "" {
						break
					}
					if pages > len(all) {
						r.Fatalf("Inspect does not end")
					}
				}
				r.same("members", unique(got), all)
			}
		},
	},
	{
		Name:     "count-only",
		Sentence: "CountOnly asks for the totals alone.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "t", Count: 3}, "a", "b", "c")
			r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "u"}})
			r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "v"}})
			got, err := r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns, CountOnly: true})
			r.ok(err, "Inspect")
			r.equal("total and waiting", []int{got.Total, got.Waiting, len(got.Members)}, []int{3, 2, 0})
		},
	},
	{
		Name:     "lock",
		Sentence: "Owner is the value of a member's lock, TTL what is left of it: NoExpiry if it has no end, 0 if there is none.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d")
			r.one("t")
			r.oneFor("u", backend.NoExpiry)
			r.lockByHand("c")
			a, b, c, d := r.member("a"), r.member("b"), r.member("c"), r.member("d")
			r.same("owners", []string{a.Owner, b.Owner, c.Owner, d.Owner}, []string{"t", "u", "1", ""})
			r.equal("locked", []bool{a.Locked, b.Locked, c.Locked, d.Locked}, []bool{true, true, true, false})
			r.lives("a lease", a.TTL, long)
			r.equal("other lives", []time.Duration{b.TTL, c.TTL, d.TTL}, []time.Duration{backend.NoExpiry, backend.NoExpiry, 0})
		},
	},
	{
		Name:     "deadline",
		Sentence: "Deadline is the end of the lease by the server's clock; zero if the lock is none of our leases.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("t")
			first := r.member("a").Deadline
			if left := time.Until(first); left < long-5*time.Minute || left > long+5*time.Minute {
				r.Errorf("the lease ends in %v, not in %v", left, long)
			}
			r.renew("a", "t", 2*long)
			if d := r.member("a").Deadline.Sub(first); d < long-time.Millisecond || d > long+time.Minute {
				r.Errorf("a renewal by %v moved the deadline by %v", long, d)
			}
			r.set("b", "1", long)
			r.exclusive = false
			r.yes("no deadline without a lease", r.member("b").Deadline.IsZero() && r.member("c").Deadline.IsZero())
		},
	},
	{
		Name:     "lapsed",
		Sentence: "A lease that ran out is no lease: there is no lock, no owner and nothing left.",
		check: func(r *room) {
			r.extend("a", "b")
			r.oneFor("t", short)
			r.gone("a")
			a := r.member("a")
			r.equal("member", []any{a.Locked, a.Owner, a.TTL}, []any{false, "", time.Duration(0)})
		},
	},
	{
		Name:     "changes-nothing",
		Sentence: "Inspect looks and changes nothing.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("t")
			r.unlockByHand("a")
			r.lockByHand("b")
			for _, req := range []backend.InspectRequest{{}, {Only: []string{"a", "b"}}, {Limit: 10}, {CountOnly: true}} {
				req.Namespace = r.ns
				r.unchanged("looking", func() {
					_, err := r.be.Inspect(r.ctx, req)
					r.ok(err, "Inspect")
				})
			}
			free := slices.DeleteFunc(r.pool().Members, func(m backend.MemberState) bool { return !m.Free() })
			r.equal("free members", len(free), 2)
		},
	},
}
