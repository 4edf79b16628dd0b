package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

const byDeadline = "A lease that ran out is found by its deadline: the next Take, whoever calls it, gets the member."

var lapseCases = []Case{
	{
		Name: "next-take", Sentence: byDeadline,
		check: func(r *room) {
			r.extend("a", "b")
			r.one("1")
			old := r.oneFor("2", short)
			r.gone("b")
			next := r.one("3")
			r.equal("member", next.Member, "b")
			r.equal("the holder", r.lock("b").Value, "3")
			r.ascending("the old holder and the next", old.Fence, next.Fence)
			r.takes(backend.TakeRequest{Token: "4"})
		},
	},
	{
		Name: "large-pool", Sentence: byDeadline + " However large the pool is.",
		check: func(r *room) {
			all := numbered(2200)
			r.extend(all...)
			r.takes(backend.TakeRequest{Token: "1", Count: 1000, TTL: backend.NoExpiry}, all[:1000]...)
			r.takes(backend.TakeRequest{Token: "2", Count: 500}, all[1000:1500]...)
			r.takes(backend.TakeRequest{Token: "3", Count: 699}, all[1500:2199]...)
			r.takes(backend.TakeRequest{Token: "4", TTL: short}, all[2199])
			r.gone(all[2199])
			r.takes(backend.TakeRequest{Token: "5"}, all[2199])
			r.takes(backend.TakeRequest{Token: "6"})
		},
	},
	{
		Name: "many", Sentence: byDeadline + " Also all of them at once.",
		check: func(r *room) {
			all := numbered(backend.MaxTake)
			r.extend(all...)
			r.takes(backend.TakeRequest{Token: "1", Count: 700, TTL: short}, all[:700]...)
			r.gone(all[699])
			r.sameSet("members", names(r.take(backend.TakeRequest{Token: "2", Count: len(all)})), all)
			r.free()
		},
	},
	{
		Name: "prefer", Sentence: byDeadline,
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "1", Count: 2, TTL: short}, "a", "b")
			r.gone("a")
			r.gone("b")
			r.takes(backend.TakeRequest{Token: "2", Only: true, Prefer: []string{"b"}}, "b")
			r.takes(backend.TakeRequest{Token: "3", Prefer: []string{"a"}}, "a")
			r.takes(backend.TakeRequest{Token: "4"}, "c")
			r.takes(backend.TakeRequest{Token: "5"})
		},
	},
	{
		Name:     "replaced-lock",
		Sentence: "What these methods freed or took is not free and locked at once: a lease whose lock somebody else has set anew has not run out.",
		check: func(r *room) {
			r.extend("a")
			r.oneFor("1", short)
			r.set("a", "by hand", backend.NoExpiry)
			r.pass(2 * short)
			r.takes(backend.TakeRequest{Token: "2"})
			r.equal("the lock", r.lock("a").Value, "by hand")
			r.free()
		},
	},
	{
		Name:     "left-pool",
		Sentence: "Shrink: what was leased is not given back any more, also when the lease runs out.",
		check: func(r *room) {
			r.extend("a", "b")
			r.oneFor("1", short)
			r.shrink("a")
			r.gone("a")
			r.takes(backend.TakeRequest{Token: "2"}, "b")
			r.takes(backend.TakeRequest{Token: "3"})
			r.members("b")
		},
	},
	{
		Name:     "not-yet",
		Sentence: "Until the lease has run out nobody else gets the member.",
		check: func(r *room) {
			r.extend("a")
			r.one("1")
			r.pass(2 * short)
			r.unchanged("taking", func() {
				for range 10 {
					r.takes(backend.TakeRequest{Token: "2", Collect: 10})
				}
			})
		},
	},
}
