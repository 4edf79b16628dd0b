package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const handsOver = "Whatever frees a member hands it to the first in line, if anybody waits."

var handoverCases = []Case{
	{
		Name: "return", Sentence: handsOver,
		check: func(r *room) {
			r.extend("a", "b")
			r.one("1")
			r.one("2")
			ws := r.line("3", "4", "5")
			r.equal("given back", r.returns(backend.ReturnRequest{Items: []backend.Held{
				{Member: "b", Token: "2"}, {Member: "a", Token: "1"},
			}}), []bool{true, true})
			r.granted(ws[0], "b")
			r.granted(ws[1], "a")
			r.queued("5")
		},
	},
	{
		Name:     "grant",
		Sentence: "Hand-over: it writes that waiter's token with a short TTL, the claim, and tells that waiter's process.",
		check: func(r *room) {
			r.extend("a")
			g := r.one("1")
			w := r.join(backend.EnterRequest{Take: backend.TakeRequest{Token: "2", TTL: long}})
			r.yes("given back", r.giveBack("a", "1"))
			h := r.granted(w, "a")
			r.ascending("the old holder and the next", g.Fence, h.Grants[0].Fence)
			for what, ttl := range map[string]time.Duration{"grant": h.Grants[0].TTL, "lock": r.lock("a").TTL, "lease": r.member("a").TTL} {
				if ttl <= 0 || ttl > backend.DefaultClaimTTL {
					r.Errorf("%s: %v are left of a claim of %v", what, ttl, backend.DefaultClaimTTL)
				}
			}
			r.no("a free member", func() bool { m := r.member("a"); return m.Free() }())
		},
	},
	{
		Name: "force", Sentence: handsOver,
		check: func(r *room) {
			r.extend("a")
			r.one("1")
			w := r.line("2")[0]
			r.returns(backend.ReturnRequest{Force: true, MemberTTL: long, Items: []backend.Held{{Member: "a"}}})
			r.granted(w, "a")
			r.expires("a", long)
		},
	},
	{
		Name: "extend", Sentence: handsOver,
		check: func(r *room) {
			ws := r.line("1", "2")
			r.extend("a", "b", "c")
			r.granted(ws[0], "a")
			r.granted(ws[1], "b")
			r.free("c")
			r.takes(backend.TakeRequest{Token: "3"}, "c")
		},
	},
	{
		Name: "assign", Sentence: handsOver,
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			ws := r.line("1", "2")
			r.assign(backend.NoExpiry, "b", "a")
			r.granted(ws[0], "b")
			r.queued("2")
			r.assign(backend.NoExpiry, "c")
			r.granted(ws[1], "c")
			r.members("c")
		},
	},
	{
		Name: "collect", Sentence: handsOver,
		check: func(r *room) {
			r.extend("a", "b")
			r.one("1")
			r.one("2")
			ws := r.line("3", "4")
			r.unlockByHand("b")
			r.collect(backend.BatchLimit)
			r.granted(ws[0], "b")
			r.queued("4")
			r.owner("a", "1")
		},
	},
	{
		Name:     "lapse",
		Sentence: "A lease that ran out is found by its deadline: the first in line gets the member.",
		check: func(r *room) {
			r.extend("a", "b")
			old := r.one("1")
			r.one("2")
			ws := r.line("3", "4")
			r.renew("a", "1", short)
			h := r.granted(ws[0], "a")
			r.ascending("the old holder and the next", old.Fence, h.Grants[0].Fence)
			r.queued("4")
		},
	},
	{
		Name:     "lapse-many",
		Sentence: "A waiter need not do anything while it waits: the backend notices when a holder died and a lease ran out.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d")
			r.takes(backend.TakeRequest{Token: "1", Count: 3}, "a", "b", "c")
			r.takes(backend.TakeRequest{Token: "3", TTL: long}, "d")
			w4 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "4", Count: 3}})
			w5 := r.line("5")[0]
			r.renew("c", "1", 3*short)
			r.renews(
				backend.Renewal{Member: "a", Token: "1", TTL: short}, backend.Renewal{Member: "b", Token: "1", TTL: short},
			)
			r.sameSet("what was handed to 4", names(r.await(w4).Grants), []string{"a", "b", "c"})
			r.queued("5")
			r.yes("renewed", r.renew("d", "3", short))
			r.granted(w5, "d")
		},
	},
	{
		Name:     "lapse-first",
		Sentence: "While somebody waits in line, Take grants nothing: also not what has just run out.",
		check: func(r *room) {
			r.extend("a")
			r.one("1")
			w := r.line("2")[0]
			r.renew("a", "1", short)
			r.eventually("that the member passes on", func() bool {
				r.takes(backend.TakeRequest{Token: "3", Collect: 10})
				return r.queue("").Length == 0
			})
			r.granted(w, "a")
			r.owner("a", "2")
		},
	},
	{
		Name:     "binding",
		Sentence: "Binding: another member is taken and bound, also by a request that waited.",
		check: func(r *room) {
			r.extend("a", "b")
			r.one("1")
			r.one("2")
			w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "3", Binding: "n", BindingTTL: 2 * long}})
			r.no("bound", r.get(backend.KindBinding, "n").Exists)
			r.giveBack("b", "2")
			r.granted(w, "b")
			v := r.get(backend.KindBinding, "n")
			r.equal("bound to", v.Value, "b")
			r.lives("the binding", v.TTL, 2*long)
		},
	},
	{
		Name:     "prefer",
		Sentence: "Members are looked for in the order of Prefer, also by a request that waits; it takes others as well.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "0", Count: 3}, "a", "b", "c")
			w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 2, Prefer: []string{"c", "b"}}})
			r.returns(backend.ReturnRequest{Items: []backend.Held{{Member: "a", Token: "0"}, {Member: "b", Token: "0"}}})
			r.granted(w, "b", "a")
		},
	},
	{
		Name:     "locked-by-hand",
		Sentence: "Locked members are skipped, also when they are handed over.",
		check: func(r *room) {
			r.extend("a")
			r.one("1")
			w := r.line("2")[0]
			r.set("a", "by hand", backend.NoExpiry)
			r.no("given back by the former holder", r.giveBack("a", "1"))
			r.queued("2")
			r.extend("c")
			r.granted(w, "c")
		},
	},
}
