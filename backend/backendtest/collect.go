package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

var collectCases = []Case{
	{
		Name:     "frees",
		Sentence: "Collect: an allocated one without a lock goes to the tail of the free list.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d")
			r.one("1")
			r.one("2")
			r.one("3")
			r.unlockByHand("b")
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{Freed: 1})
			r.free("d", "b")
			r.no("given back by the old holder", r.giveBack("b", "2"))
			r.takes(backend.TakeRequest{Token: "4", Count: 2}, "d", "b")
			r.equal("the holders", []string{r.lock("a").Value, r.lock("c").Value}, []string{"1", "3"})
		},
	},
	{
		Name:     "frees-lapsed",
		Sentence: "Collect: an allocated one without a lock goes to the tail, also when its lease has run out.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("1")
			r.one("2")
			r.renew("a", "1", short)
			r.gone("a")
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{Freed: 1})
			r.free("c", "a")
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{})
		},
	},
	{
		Name:     "marks",
		Sentence: "Collect: a free one with a lock is marked allocated.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.lockByHand("b")
			r.lockByHand("c")
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{Locked: 2})
			r.exclusive = true
			r.free("a")
			r.equal("the lock", r.lock("b").Value, "1")
			r.unlockByHand("b")
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{Freed: 1})
			r.free("a", "b")
		},
	},
	{
		Name:     "counts",
		Sentence: "CollectReply counts what was found.",
		check: func(r *room) {
			r.equal("reply of an empty pool", r.collect(backend.BatchLimit), backend.CollectReply{})
			r.extend(numbered(40)...)
			r.take(backend.TakeRequest{Token: "t", Count: 20})
			r.equal("reply where all is well", r.collect(backend.BatchLimit), backend.CollectReply{})
			r.unlockByHand("m0001", "m0007", "m0019")
			for _, m := range []string{"m0020", "m0039"} {
				r.lockByHand(m)
			}
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{Freed: 3, Locked: 2})
			r.exclusive = true
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{})
			r.equal("free members", len(r.take(backend.TakeRequest{Token: "u", Count: 21})), 21)
		},
	},
	{
		Name:     "portions",
		Sentence: "Collect looks at about Count members, going on where the last call in any process stopped.",
		check: func(r *room) {
			all := numbered(900) // more than a small hash of Redis, which is scanned in one go
			r.extend(all...)
			r.take(backend.TakeRequest{Token: "t", Count: len(all), TTL: backend.NoExpiry})
			r.unlockByHand(all...)
			freed, calls := 0, 0
			for ; freed < len(all) && calls < len(all); calls++ {
				n := r.collect(10).Freed
				if n > len(all)/3 {
					r.Errorf("a collection of about 10 members freed %d", n)
				}
				freed += n
			}
			r.equal("freed by all calls", freed, len(all))
			if calls > len(all)/2 {
				r.Errorf("%d collections of about 10 members for %d members", calls, len(all))
			}
			r.equal("free members", len(r.take(backend.TakeRequest{Token: "u", Count: len(all)})), len(all))
		},
	},
	{
		Name:     "leaves-alone",
		Sentence: "Collect leaves alone what is leased, kept back or free.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d")
			r.one("1")
			r.takes(backend.TakeRequest{Token: backend.QuarantineToken("1"), TTL: backend.NoExpiry}, "b")
			r.unchanged("a collection", func() { r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{}) })
			r.free("c", "d")
		},
	},
}
