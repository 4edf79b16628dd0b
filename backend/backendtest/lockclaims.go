package backendtest

import (
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const passesOn = "A claim that is not taken up passes on to the next."

// claims enters for names, with a claim that is not taken up.
func (r *room) claims(token string, items []backend.LockItem) waiter {
	r.tb.Helper()
	return r.wait(backend.EnterRequest{Lock: backend.LockRequest{Token: token, Items: items}, ClaimTTL: passing})
}

var lockClaimCases = []Case{
	{
		Name: "passes-on", Sentence: passesOn,
		check: func(r *room) {
			r.has("0", "a")
			w1, w2 := r.claims("1", alone("a")), r.claims("2", alone("a"))
			r.lets("0", "a")
			first, second := r.handed(w1), r.handed(w2)
			r.no("renewed too late", r.prolong("1", "a", long))
			r.no("given back too late", r.unlock("1", "a"))
			r.gone("a")
			r.unheld("a")
			r.ascending("the claims and the next holder", first.Grants[0].Fence, second.Grants[0].Fence, r.has("3", "a")[0].Fence)
		},
	},
	{
		Name: "units", Sentence: passesOn + " Also one of units.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: units("a", 2, 3)})
			r.gets(backend.LockRequest{Token: "00", Items: units("a", 1, 3)})
			w1 := r.claims("1", units("a", 2, 3))
			var ws []waiter
			for _, token := range []string{"2", "3"} {
				ws = append(ws, r.waits(token, units("a", 1, 3)))
			}
			r.lets("0", "a")
			r.handed(w1)
			for _, w := range ws {
				r.handed(w)
			}
			r.no("renewed too late", r.prolong("1", "a", long))
			r.sameSet("those who share", r.sharers("a"), []string{"00*1", "2*1", "3*1"})
		},
	},
	{
		Name: "several", Sentence: passesOn + " All names of it.",
		check: func(r *room) {
			r.has("0", "a", "b")
			w1 := r.claims("1", alone("a", "b"))
			wa, wb := r.waits("2", alone("a")), r.waits("3", alone("b"))
			r.lets("0", "a", "b")
			r.handed(w1)
			r.handed(wa)
			r.handed(wb)
			r.equal("renewed too late", r.prolongs(
				backend.Renewal{Member: "a", Token: "1", TTL: long}, backend.Renewal{Member: "b", Token: "1", TTL: long},
			), []bool{false, false})
		},
	},
	{
		Name:     "becomes-lease",
		Sentence: "The waiter's first renewal turns the claim into a lease.",
		check: func(r *room) {
			for claim := range r.longerAndLonger() {
				r.force("a", "b")
				token := fmt.Sprint("1/", claim)
				r.gets(backend.LockRequest{Token: "0", Items: append(alone("a"), units("b", 2, 2)...)})
				w := r.wait(backend.EnterRequest{
					Lock: backend.LockRequest{Token: token, Items: append(alone("a"), units("b", 1, 2)...)}, ClaimTTL: claim,
				})
				r.lets("0", "a", "b")
				r.handed(w)
				if !r.prolong(token, "a", long) || !r.prolong(token, "b", long) {
					continue
				}
				wa, wb := r.waitsFor("a", "2")[0], r.waits("3", units("b", 2, 2))
				r.pass(claim + short)
				r.lives("the lease on a", r.lock("a").TTL, long)
				r.lives("the lease on b", r.lock("b").TTL, long)
				r.inLine("a", "2")
				r.heldBy("a", token)
				r.sharedBy("b", token+"*1")
				r.lets(token, "a", "b")
				r.handed(wa)
				r.handed(wb)
				return
			}
		},
	},
	{
		Name:     "partly-renewed",
		Sentence: "The waiter's first renewal turns the claim into a lease: each of several for itself. " + passesOn,
		check: func(r *room) {
			for claim := range r.longerAndLonger() {
				token := fmt.Sprint("1/", claim)
				r.has("0", "a", "b")
				w := r.wait(backend.EnterRequest{Lock: backend.LockRequest{Token: token, Items: alone("a", "b")}, ClaimTTL: claim})
				wa, wb := r.waitsFor("a", "2")[0], r.waitsFor("b", "3")[0]
				r.lets("0", "a", "b")
				r.handed(w)
				if !r.prolong(token, "a", long) {
					r.handed(wa)
					r.handed(wb)
					r.force("a", "b")
					continue
				}
				r.handed(wb)
				r.inLine("a", "2")
				r.heldBy("a", token)
				r.lets(token, "a")
				r.handed(wa)
				return
			}
		},
	},
	{
		Name:     "ttl",
		Sentence: "ClaimTTL: for how long a hand-over is kept until the first renewal.",
		check: func(r *room) {
			r.has("0", "a")
			r.gets(backend.LockRequest{Token: "0", Items: units("b", 1, 1)})
			for _, items := range [][]backend.LockItem{alone("a"), units("b", 1, 1)} {
				name := items[0].Name
				w := r.wait(backend.EnterRequest{
					Lock: backend.LockRequest{Token: "1", TTL: time.Second, Items: items}, ClaimTTL: 2 * long,
				})
				r.lets("0", name)
				h := r.handed(w)
				r.lives("the claim", h.Grants[0].TTL, 2*long)
				r.lives("the lock", r.lock(name).TTL, 2*long)
				r.lives("the lease", r.lockState(name).TTL, 2*long)
			}
		},
	},
	{
		Name:     "unlocked",
		Sentence: "Unlock: also a claim that was not yet renewed is given back.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: append(alone("a"), units("b", 1, 1)...)})
			items := append(alone("a"), units("b", 1, 1)...)
			w1, w2 := r.waits("1", items), r.waits("2", items)
			r.lets("0", "a", "b")
			r.handed(w1)
			r.lets("1", "b", "a")
			r.heldBy("a", "2")
			r.sharedBy("b", "2*1")
			r.handed(w2)
			r.equal("leaving with nothing", r.leave("1", "a", "b"), backend.LeaveReply{})
			r.heldBy("a", "2")
		},
	},
}
