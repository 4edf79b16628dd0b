package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var takeCases = []Case{
	{
		Name:     "order",
		Sentence: "Take: members are looked for from the head of the free list.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "1"}, "a")
			r.takes(backend.TakeRequest{Token: "2"}, "b")
			r.yes("given back", r.giveBack("a", "1"))
			r.free("c", "a")
			r.takes(backend.TakeRequest{Token: "3", Count: 1}, "c")
			r.takes(backend.TakeRequest{Token: "4", Count: 1}, "a")
			r.takes(backend.TakeRequest{Token: "5", Count: 1})
			r.free()
		},
	},
	{
		Name:     "lock",
		Sentence: "In exclusive mode an allocated member has a lock whose value is the token of its holder and whose end is that of the lease.",
		check: func(r *room) {
			r.extend("a", "b")
			for _, ttl := range []time.Duration{long, backend.NoExpiry} {
				g := r.oneFor("holder", ttl)
				r.equal("token of the grant", g.Token, "holder")
				r.lives("grant", g.TTL, ttl)
				v := r.lock(g.Member)
				r.equal("value of the lock", v.Value, "holder")
				r.lives("lock", v.TTL, ttl)
				m := r.member(g.Member)
				r.no("a free member", m.Free())
				r.equal("links", []string{m.Prev, m.Next}, []string{backend.Allocated, backend.Allocated})
				r.yes("locked", m.Locked)
				r.equal("owner", m.Owner, "holder")
				r.lives("the lease", m.TTL, ttl)
			}
		},
	},
	{
		Name:     "count",
		Sentence: "Take allocates Count members, or none.",
		check: func(r *room) {
			r.takes(backend.TakeRequest{Token: "0"})
			r.extend("a", "b", "c", "d")
			r.unchanged("asking for too many", func() {
				r.takes(backend.TakeRequest{Token: "1", Count: 5})
				r.takes(backend.TakeRequest{Token: "2", Count: backend.MaxTake})
			})
			grants := r.take(backend.TakeRequest{Token: "3", Count: 3})
			r.same("members", names(grants), []string{"a", "b", "c"})
			for _, g := range grants {
				r.equal("the lock of "+g.Member, r.lock(g.Member).Value, "3")
				r.equal("the token of "+g.Member, g.Token, "3")
			}
			r.takes(backend.TakeRequest{Token: "4", Count: 2})
			r.free("d")
			r.yes("given back", r.giveBack("b", "3"))
			r.takes(backend.TakeRequest{Token: "5", Count: 2}, "d", "b")
			r.free()
		},
	},
	{
		Name:     "fences",
		Sentence: "Fence is larger than that of every earlier grant in the namespace, also when everything was removed in between.",
		check: func(r *room) {
			var all []int64
			for range 3 {
				r.extend("a", "b", "c")
				all = append(all, r.one("t").Fence)
				for _, g := range r.take(backend.TakeRequest{Token: "u", Count: 2}) {
					all = append(all, g.Fence)
				}
				r.giveBack("a", "t")
				all = append(all, r.one("t").Fence)
				r.unlockByHand("a", "b", "c")
				r.assign(backend.NoExpiry)
			}
			r.ascending("grants", all...)
		},
	},
	{
		Name:     "fence-clock",
		Sentence: "Fencing numbers only grow, also when the server lost its last writes: next = max(last+1, server time in µs).",
		check: func(r *room) {
			r.extend("a")
			g := r.oneFor("t", long)
			granted := r.member("a").Deadline.Add(-long) // by the server's clock
			if d := granted.Sub(time.UnixMicro(g.Fence)); d < -time.Minute || d > time.Second {
				r.Errorf("fence %d is %v away from the server's time", g.Fence, d)
			}
		},
	},
	{
		Name:     "locked-by-hand",
		Sentence: "Locked members met on the way are marked allocated and skipped.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d")
			r.lockByHand("a")
			r.lockByHand("c")
			r.takes(backend.TakeRequest{Token: "t"}, "b")
			r.no("the locked one is free", func() bool { m := r.member("a"); return m.Free() }())
			r.equal("its lock", r.lock("a").Value, "1")
			r.takes(backend.TakeRequest{Token: "u"}, "d")
			r.takes(backend.TakeRequest{Token: "v"})
			r.exclusive = true
			r.free()
		},
	},
	{
		Name:     "all-locked-by-hand",
		Sentence: "Take allocates Count members, or none, also where locked members are met on the way.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.lockByHand("b")
			r.takes(backend.TakeRequest{Token: "t", Count: 3})
			r.no("a was taken", r.lock("a").Exists)
			r.no("c was taken", r.lock("c").Exists)
			r.takes(backend.TakeRequest{Token: "u", Count: 2}, "a", "c")
		},
	},
	{
		Name:     "collect",
		Sentence: "Collect lets the same step first collect about so many members, as Collect does.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "t", Count: 3, TTL: backend.NoExpiry}, "a", "b", "c")
			r.unlockByHand("b")
			r.takes(backend.TakeRequest{Token: "u", Collect: backend.BatchLimit}, "b")
			r.takes(backend.TakeRequest{Token: "v", Collect: backend.BatchLimit})
		},
	},
	{
		Name:     "cancelled",
		Sentence: "A context that has ended grants nothing and changes nothing.",
		check: func(r *room) {
			r.extend("a")
			r.unchanged("a cancelled request", func() {
				ctx := cancelled(r.ctx)
				_, err := r.be.Take(ctx, r.filled(backend.TakeRequest{Token: "t"}))
				r.fails("Take", err, ctx.Err())
				got, err := r.be.Enter(ctx, backend.EnterRequest{Take: r.filled(backend.TakeRequest{Token: "u"})})
				r.fails("Enter", err, ctx.Err())
				r.yes("no channel", got.Handover == nil)
				_, err = r.be.Extend(ctx, backend.ExtendRequest{Namespace: r.ns, Members: []string{"b"}, TTL: long})
				r.fails("Extend", err, ctx.Err())
				_, err = r.be.Set(ctx, backend.SetRequest{Namespace: r.ns, Items: []backend.SetItem{item("a", "v", backend.Always, "")}})
				r.fails("Set", err, ctx.Err())
			})
		},
	},
}

var sharedCases = []Case{
	{
		Name:     "rotate",
		Sentence: "In shared mode members only move from the head of the list to its tail; no lock is set.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			for _, want := range []string{"a", "b", "c", "a"} {
				g := r.take(backend.TakeRequest{Token: "t", Shared: true})
				r.equal("grant", g, []backend.Grant{{Member: want, Token: "t", TTL: backend.NoExpiry}})
				r.no("locked", r.lock(want).Exists)
			}
			r.free("b", "c", "a")
			r.takes(backend.TakeRequest{Token: "t", Shared: true, Count: 2}, "b", "c")
			r.free("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "t", Shared: true, Count: 3}, "a", "b", "c")
			r.unchanged("asking for too many", func() { r.takes(backend.TakeRequest{Token: "t", Shared: true, Count: 4}) })
		},
	},
	{
		Name:     "single",
		Sentence: "In shared mode one member serves any number of requests.",
		check: func(r *room) {
			r.takes(backend.TakeRequest{Token: "t", Shared: true})
			r.extend("a")
			for range 3 {
				r.takes(backend.TakeRequest{Token: "t", Shared: true}, "a")
			}
			r.free("a")
		},
	},
	{
		Name:     "ttl",
		Sentence: "TTL is not used with Shared.",
		check: func(r *room) {
			r.extend("a")
			for _, ttl := range []time.Duration{0, -5, long} {
				got, err := r.be.Take(r.ctx, backend.TakeRequest{Namespace: r.ns, Token: "t", Shared: true, TTL: ttl})
				r.ok(err, "Take")
				r.same("members", names(got.Grants), []string{"a"})
			}
		},
	},
	{
		Name:     "locked",
		Sentence: "In both modes locked members met on the way are marked allocated and skipped.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.lockByHand("a")
			r.takes(backend.TakeRequest{Token: "t", Shared: true}, "b")
			r.exclusive = true
			r.free("c", "b")
			r.unlockByHand("a")
			r.takes(backend.TakeRequest{Token: "u", Shared: true, Collect: backend.BatchLimit}, "c")
			r.free("b", "a", "c")
		},
	},
	{
		Name:     "return",
		Sentence: "In shared mode a lease has no lock: giving it back changes nothing in the pool.",
		check: func(r *room) {
			r.extend("a", "b")
			r.takes(backend.TakeRequest{Token: "t", Shared: true}, "a")
			r.unchanged("giving back", func() { r.no("given back", r.giveBack("a", "t")) })
			r.no("renewed", r.renew("a", "t", long))
		},
	},
}

var preferCases = []Case{
	{
		Name:     "order",
		Sentence: "Prefer lists members to try first, in this order; then from the head of the free list.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d", "e")
			r.takes(backend.TakeRequest{Token: "1", Count: 3, Prefer: []string{"d", "x", "b", "d"}}, "d", "b", "a")
			r.free("c", "e")
			r.takes(backend.TakeRequest{Token: "2", Prefer: []string{"a", "b", "e"}}, "e")
			r.takes(backend.TakeRequest{Token: "3", Prefer: []string{"a", "b"}}, "c")
			r.takes(backend.TakeRequest{Token: "4", Prefer: []string{"a", "b"}})
		},
	},
	{
		Name:     "only",
		Sentence: "With Only, no others are tried: that is how one particular member is taken.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "1", Only: true, Prefer: []string{"b"}}, "b")
			r.unchanged("asking for what is not free", func() {
				r.takes(backend.TakeRequest{Token: "2", Only: true, Prefer: []string{"b"}})
				r.takes(backend.TakeRequest{Token: "3", Only: true, Prefer: []string{"x"}})
				r.takes(backend.TakeRequest{Token: "4", Only: true, Count: 2, Prefer: []string{"a", "b"}})
			})
			r.equal("the holder", r.lock("b").Value, "1")
			r.takes(backend.TakeRequest{Token: "5", Only: true, Count: 2, Prefer: []string{"b", "c", "a"}}, "c", "a")
			r.free()
		},
	},
	{
		Name:     "quarantine",
		Sentence: "Only: with a token from QuarantineToken a member is kept back.",
		check: func(r *room) {
			r.extend("a", "b")
			q := backend.QuarantineToken("bad answer")
			r.takes(backend.TakeRequest{Token: q, Only: true, Prefer: []string{"a"}}, "a")
			r.equal("owner", r.member("a").Owner, q)
			r.takes(backend.TakeRequest{Token: "t", Count: 2})
			r.takes(backend.TakeRequest{Token: "u"}, "b")
			r.yes("lifted", r.giveBack("a", q))
			r.free("a")
		},
	},
	{
		Name:     "shared",
		Sentence: "Prefer lists members to try first, also in shared mode.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "t", Shared: true, Prefer: []string{"b"}}, "b")
			r.free("a", "c", "b")
			r.takes(backend.TakeRequest{Token: "t", Shared: true, Only: true, Prefer: []string{"x"}})
			r.takes(backend.TakeRequest{Token: "t", Shared: true, Only: true, Prefer: []string{"a"}}, "a")
			r.free("c", "b", "a")
		},
	},
	{
		Name:     "unlocked-by-hand",
		Sentence: "A lock that somebody else removed without a word is noticed by Take when it comes to that member.",
		check: func(r *room) {
			r.extend("a", "b")
			r.one("1")
			r.one("2")
			r.unlockByHand("b")
			r.takes(backend.TakeRequest{Token: "3", Only: true, Prefer: []string{"b"}}, "b")
			r.equal("the holder", r.lock("b").Value, "3")
			r.no("given back by the old holder", r.giveBack("b", "2"))
		},
	},
}
