package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var claimCases = []Case{
	{
		Name:     "passes-on",
		Sentence: "A claim that is not taken up passes on to the next.",
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			w1 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1"}, ClaimTTL: passing})
			w2 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "2"}, ClaimTTL: passing})
			r.giveBack("a", "0")
			first := r.granted(w1, "a")
			second := r.granted(w2, "a")
			r.no("renewed too late", r.renew("a", "1", long))
			r.no("given back too late", r.giveBack("a", "1"))
			third := backend.Grant{}
			r.eventually("that the claim falls back", func() bool {
				got := r.take(backend.TakeRequest{Token: "3"})
				if len(got) == 1 {
					third = got[0]
				}
				return len(got) == 1
			})
			r.ascending("the claims and the next holder", first.Grants[0].Fence, second.Grants[0].Fence, third.Fence)
			r.owner("a", "3")
		},
	},
	{
		Name:     "becomes-lease",
		Sentence: "The waiter's first Renew turns the claim into a lease.",
		check: func(r *room) {
			r.extend("a")
			for claim := range r.longerAndLonger() {
				r.eventually("that the member is free", func() bool {
					return len(r.take(backend.TakeRequest{Token: "0"})) == 1
				})
				w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", TTL: long}, ClaimTTL: claim})
				r.giveBack("a", "0")
				r.granted(w, "a")
				if !r.renew("a", "1", long) {
					continue
				}
				r.lives("the lease", r.lock("a").TTL, long)
				w2 := r.line("2")[0]
				r.pass(claim + short)
				r.queued("2")
				r.owner("a", "1")
				r.giveBack("a", "1")
				r.granted(w2, "a")
				return
			}
		},
	},
	{
		Name:     "ttl",
		Sentence: "ClaimTTL: for how long a hand-over is kept until the first renewal.",
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", TTL: time.Second}, ClaimTTL: 2 * long})
			r.giveBack("a", "0")
			h := r.granted(w, "a")
			r.lives("the claim", h.Grants[0].TTL, 2*long)
			r.lives("the lock", r.lock("a").TTL, 2*long)
		},
	},
	{
		Name:     "several",
		Sentence: "A claim that is not taken up passes on: all members of it.",
		check: func(r *room) {
			r.extend("a", "b")
			r.takes(backend.TakeRequest{Token: "0", Count: 2}, "a", "b")
			w1 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 2}, ClaimTTL: passing})
			ws := r.line("2", "3")
			r.returns(backend.ReturnRequest{Items: []backend.Held{{Member: "a", Token: "0"}, {Member: "b", Token: "0"}}})
			r.granted(w1, "a", "b")
			for _, w := range ws {
				h := r.await(w)
				r.equal("number of members", len(h.Grants), 1)
			}
			r.queued()
			r.equal("renewed too late", r.renews(
				backend.Renewal{Member: "a", Token: "1", TTL: long}, backend.Renewal{Member: "b", Token: "1", TTL: long},
			), []bool{false, false})
		},
	},
	{
		Name:     "returned",
		Sentence: "A claim can be given back like a lease, and passes on.",
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			ws := r.line("1", "2")
			r.giveBack("a", "0")
			r.granted(ws[0], "a")
			r.yes("given back", r.giveBack("a", "1"))
			r.granted(ws[1], "a")
		},
	},
}
