package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

var returnCases = []Case{
	{
		Name:     "token",
		Sentence: "Return gives members back: those whose lock has the given token lose it and go to the tail of the free list.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("1")
			r.one("2")
			r.unchanged("giving back without the token", func() {
				r.no("given back by a stranger", r.giveBack("a", "2"))
				r.no("given back by a stranger", r.giveBack("b", "1"))
				r.no("a free member given back", r.giveBack("c", "1"))
				r.no("given back by nobody known", r.giveBack("a", "3"))
			})
			r.yes("given back", r.giveBack("a", "1"))
			r.no("the lock is left", r.lock("a").Exists)
			r.free("c", "a")
			r.unchanged("giving back twice", func() { r.no("given back twice", r.giveBack("a", "1")) })
			r.yes("given back", r.giveBack("b", "2"))
			r.free("c", "a", "b")
		},
	},
	{
		Name:     "next-holder",
		Sentence: "A lease that ran out frees nobody else's.",
		check: func(r *room) {
			r.extend("a")
			old := r.oneFor("old", short)
			r.gone("a")
			r.no("given back after it ran out", r.giveBack("a", "old"))
			next := r.one("next")
			r.unchanged("giving back what is somebody else's", func() { r.no("given back", r.giveBack("a", "old")) })
			r.ascending("the old holder and the next", old.Fence, next.Fence)
			r.yes("the next holder gives back", r.giveBack("a", "next"))
		},
	},
	{
		Name:     "batch",
		Sentence: "Returned tells for each item whether its lock had the token and has been removed.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d")
			r.takes(backend.TakeRequest{Token: "t", Count: 3}, "a", "b", "c")
			got := r.returns(backend.ReturnRequest{Items: []backend.Held{
				{Member: "c", Token: "t"}, {Member: "b", Token: "u"}, {Member: "x", Token: "t"}, {Member: "a", Token: "t"}, {Member: "d", Token: "t"},
			}})
			r.equal("returned", got, []bool{true, false, false, true, false})
			r.free("d", "c", "a")
			r.equal("the holder", r.lock("b").Value, "t")
		},
	},
	{
		Name:     "left-pool",
		Sentence: "Return: they go to the tail of the free list, if they still are in the pool.",
		check: func(r *room) {
			r.set("x", "t", long)
			r.extend("a")
			r.yes("given back", r.giveBack("x", "t"))
			r.no("the lock is left", r.lock("x").Exists)
			r.members("a")
		},
	},
	{
		Name:     "free-and-locked",
		Sentence: "The free list has exactly the free members, each once, whatever locks were set by hand.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.set("b", "t", long)
			r.exclusive = false
			r.yes("given back", r.giveBack("b", "t"))
			r.exclusive = true
			r.members("a", "b", "c")
			r.equal("free members", len(r.take(backend.TakeRequest{Token: "u", Count: 3})), 3)
		},
	},
	{
		Name:     "expiry",
		Sentence: "Without Force members keep their expiry.",
		check: func(r *room) {
			r.extendFor(long, "a")
			r.extend("b")
			r.takes(backend.TakeRequest{Token: "t", Count: 2}, "a", "b")
			r.expires("a", long)
			r.giveBack("a", "t")
			r.giveBack("b", "t")
			r.expires("a", long)
			r.expires("b", backend.NoExpiry)
		},
	},
	{
		Name:     "force",
		Sentence: "Force gives back whoever holds the lock; a member without a lock stays as it is. MemberTTL becomes the new expiry.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d", "e")
			r.one("1")
			r.one("2")
			r.one("3")
			r.unlockByHand("c")
			r.set("x", "1", long)
			got := r.returns(backend.ReturnRequest{Force: true, MemberTTL: long, Items: []backend.Held{
				{Member: "b"}, {Member: "c"}, {Member: "d"}, {Member: "x"}, {Member: "a", Token: "not looked at"},
			}})
			r.equal("returned", got, []bool{true, false, false, true, true})
			r.free("d", "e", "b", "a")
			r.members("a", "b", "c", "d", "e")
			for m, ttl := range map[string]any{"a": true, "b": true, "c": false, "d": false, "e": false} {
				r.equal("expiry of "+m, !r.member(m).Expiry.IsZero(), ttl)
			}
			r.expires("a", long)
			r.no("a stays locked", r.lock("a").Exists)
			r.no("the holder gives back", r.giveBack("a", "1"))
			r.takes(backend.TakeRequest{Token: "4", Only: true, Prefer: []string{"a"}}, "a")
			r.equal("returned", r.returns(backend.ReturnRequest{
				Force: true, MemberTTL: backend.NoExpiry, Items: []backend.Held{{Member: "a"}},
			}), []bool{true})
			r.expires("a", backend.NoExpiry)
		},
	},
	{
		Name:     "force-by-hand",
		Sentence: "Force gives back also if Python or an administrator set the lock.",
		check: func(r *room) {
			r.extend("a", "b")
			r.one("t")
			r.set("a", "1", backend.NoExpiry)
			r.no("given back by the former holder", r.giveBack("a", "t"))
			r.equal("returned", r.returns(backend.ReturnRequest{
				Force: true, MemberTTL: backend.NoExpiry, Items: []backend.Held{{Member: "a"}},
			}), []bool{true})
			r.free("b", "a")
		},
	},
}
