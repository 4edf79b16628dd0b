package backendtest

import (
	"errors"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	handsNames = "Whatever frees a name hands it to those who are first in its line."
	findsOut   = "What was freed without a word is found by whoever is first in line, within a quarter of a second."
)

// soon is how long that may take at most: a quarter of a second, and what a machine with other work to do adds to it.
const soon = 250*time.Millisecond + 4*time.Second

var lockHandoverCases = []Case{
	{
		Name:     "grant",
		Sentence: "Hand-over: it writes that waiter's token with a short TTL, the claim, and tells that waiter's process.",
		check: func(r *room) {
			old := r.gets(backend.LockRequest{Token: "0", Items: append(alone("a"), units("b", 1, 1)...)})
			w := r.join(backend.EnterRequest{Lock: backend.LockRequest{Token: "1", Items: append(units("b", 1, 1), alone("a")...)}})
			r.lets("0", "a", "b")
			h := r.handed(w)
			r.ascending("the old holder and the next", old[1].Fence, h.Grants[0].Fence, h.Grants[1].Fence)
			for i, g := range h.Grants {
				r.equal("the TTL of the grant", g.TTL, backend.DefaultClaimTTL)
				for what, ttl := range map[string]time.Duration{"lock": r.lock(g.Member).TTL, "lease": r.lockState(g.Member).TTL} {
					if ttl <= 0 || ttl > backend.DefaultClaimTTL {
						r.Errorf("%s %d: %v are left of a claim of %v", what, i, ttl, backend.DefaultClaimTTL)
					}
				}
			}
			r.heldBy("a", "1")
			r.sharedBy("b", "1*1")
		},
	},
	{
		Name:     "batch",
		Sentence: handsNames,
		check: func(r *room) {
			r.has("0", "a", "b", "c")
			wa, wb := r.waitsFor("a", "1", "2"), r.waitsFor("b", "3")
			r.lets("0", "b", "a", "c")
			r.handed(wa[0])
			r.handed(wb[0])
			r.unheld("c")
			r.inLine("a", "2")
		},
	},
	{
		Name:     "force",
		Sentence: "Force: " + handsNames,
		check: func(r *room) {
			r.has("0", "a")
			r.gets(backend.LockRequest{Token: "0", Items: units("b", 2, 3)})
			r.set("c", "by hand", backend.NoExpiry)
			wa, wc := r.waitsFor("a", "1")[0], r.waitsFor("c", "3")[0]
			wb := r.waits("2", units("b", 3, 3))
			r.equal("given back", r.force("a", "b", "c"), []bool{true, true, true})
			r.heldBy("a", "1")
			r.sharedBy("b", "2*3")
			r.heldBy("c", "3")
			for _, w := range []waiter{wa, wb, wc} {
				r.handed(w)
			}
			r.equal("given back, though it is but a claim", r.force("a"), []bool{true})
			r.unheld("a")
		},
	},
	{
		Name:     "set-limit",
		Sentence: "SetLimit serves those who wait.",
		check: func(r *room) {
			ask := func(n int) []backend.LockItem { return units("a", n, 2) }
			r.gets(backend.LockRequest{Token: "0", Items: ask(2)})
			var ws []waiter
			for _, token := range []string{"1", "2", "3"} {
				ws = append(ws, r.waits(token, ask(1)))
			}
			r.limit("a", 4)
			r.handed(ws[0])
			r.handed(ws[1])
			r.inLine("a", "3")
			r.sameSet("those who share", r.sharers("a"), []string{"0*2", "1*1", "2*1"})
			r.limit("a", 5)
			r.handed(ws[2])
			r.inLine("a")
		},
	},
	{
		Name:     "limit-too-low",
		Sentence: "SetLimit: a request in line for more than that ends with a LimitError when it is its turn.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: units("a", 3, 3)})
			w1, w2 := r.waits("1", units("a", 3, 3)), r.waits("2", units("a", 1, 3))
			r.limit("a", 2)
			r.lets("0", "a")
			r.handed(w2)
			select {
			case h := <-w1.handover:
				var low *backend.LimitError
				if !errors.As(h.Err, &low) || low.Name != "a" || low.Stored != 2 {
					r.Errorf("the wait of 1 ended with %v", h.Err)
				}
				r.equal("grants", len(h.Grants), 0)
			case <-time.After(patience):
				r.Fatalf("1 waits for 3 units of 2")
			}
			r.inLine("a")
			r.sharedBy("a", "2*1")
		},
	},
	{
		Name:     "lapse",
		Sentence: "A waiter need not do anything while it waits: the backend notices when a holder died and a lease ran out.",
		check: func(r *room) {
			old := r.has("0", "a", "b")
			ws := r.waitsFor("a", "1", "2")
			wb := r.waits("3", alone("c", "b"))
			r.equal("renewed", r.prolongs(
				backend.Renewal{Member: "a", Token: "0", TTL: short}, backend.Renewal{Member: "b", Token: "0", TTL: short},
			), []bool{true, true})
			h := r.handed(ws[0])
			r.ascending("the old holder and the next", old[0].Fence, h.Grants[0].Fence)
			r.handed(wb)
			r.inLine("a", "2")
			r.no("given back by the former holder", r.unlock("0", "a"))
			r.heldBy("a", "1")
		},
	},
	{
		Name:     "lapse-renewed",
		Sentence: "A waiter need not do anything while it waits: also if the lease gets another end meanwhile.",
		check: func(r *room) {
			r.has("0", "a")
			w := r.waitsFor("a", "1")[0]
			r.yes("renewed", r.prolong("0", "a", backend.NoExpiry))
			r.inLine("a", "1")
			r.yes("renewed", r.prolong("0", "a", short))
			r.handed(w)
		},
	},
	{
		Name:     "lapse-of-one",
		Sentence: "The backend notices when one of those who share a name died and its lease ran out.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: units("a", 2, 4)})
			r.gets(backend.LockRequest{Token: "00", Items: units("a", 2, 4)})
			w1, w2 := r.waits("1", units("a", 2, 4)), r.waitsFor("a", "2")[0]
			r.yes("renewed", r.prolong("00", "a", short))
			r.handed(w1)
			r.lets("1", "a")
			r.inLine("a", "2")
			r.yes("renewed", r.prolong("0", "a", short))
			r.handed(w2)
		},
	},
	{
		Name:     "removed-by-hand",
		Sentence: findsOut,
		check: func(r *room) {
			r.has("0", "a")
			r.shares("0", "b", 1)
			r.shares("00", "b", 1)
			r.set("c", "by hand", backend.NoExpiry)
			for _, name := range []string{"a", "b", "c"} {
				r.findsOut(name, func() { r.unlockByHand(name) })
			}
		},
	},
	{
		Name:     "set-by-hand",
		Sentence: "Whoever sets the value has the name alone, and those who wait for it go on waiting until that ends.",
		check: func(r *room) {
			r.has("0", "a")
			r.shares("0", "b", 1)
			for _, name := range []string{"a", "b"} {
				w := r.waitsFor(name, "1")[0]
				r.set(name, "by hand", long)
				r.no("given back by the former holder", r.unlock("0", name))
				r.inLine(name, "1")
				r.heldBy(name, "by hand")
				r.set(name, "by hand again", short)
				r.handed(w)
				r.heldBy(name, "1")
			}
			r.set("c", "by hand", long)
			w := r.waits("1", units("c", 1, 2))
			r.set("c", "by hand", short)
			r.handed(w)
			r.sharedBy("c", "1*1")
		},
	},
	{
		Name:     "found-free",
		Sentence: "Enter takes at once what came free without a word, if nobody waits in front; else those who wait come first.",
		check: func(r *room) {
			r.has("0", "a")
			w := r.waitsFor("a", "1")[0]
			r.unlockByHand("a")
			next := r.waitsFor("a", "2")[0]
			r.handed(w)
			r.inLine("a", "2")
			r.lets("1", "a")
			r.handed(next)
		},
	},
	{
		Name:     "since",
		Sentence: "Since: that moment was not before Since. Who counts the TTL of the claim from there is on the safe side.",
		check: func(r *room) {
			const claim = 10 * time.Second
			wait := func(token, name string) waiter {
				return r.wait(backend.EnterRequest{Lock: backend.LockRequest{Token: token, Items: alone(name)}, ClaimTTL: claim})
			}
			safe := func(w waiter, name string, granted time.Time) {
				h := r.await(w)
				left := r.lock(name).TTL
				end := time.Now().Add(left + rounding)
				if !granted.IsZero() && h.Since.After(granted) {
					r.Errorf("%s was handed %s before %v, and that says Since %v", w.token, name, granted, h.Since)
				}
				if h.Since.Add(claim).After(end) {
					r.Errorf("a claim of %v ended before %v, and says Since %v", claim, end, h.Since)
				}
			}
			r.has("0", "a")
			ws := []waiter{wait("1", "a"), wait("2", "a")}
			r.pass(short)
			r.lets("0", "a")
			safe(ws[0], "a", time.Now())
			r.force("a")
			safe(ws[1], "a", time.Now())
			r.has("0", "b")
			w := wait("3", "b")
			r.yes("renewed", r.prolong("0", "b", short))
			safe(w, "b", time.Time{})
		},
	},
	{
		Name:     "since-pool",
		Sentence: "Since: that moment was not before Since. Who counts the TTL of the claim from there is on the safe side.",
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			ws := r.line("1", "2")
			held := "0"
			for _, w := range ws {
				r.pass(short)
				r.giveBack("a", held)
				granted := time.Now()
				h := r.granted(w, "a")
				left := r.lock("a").TTL
				end := time.Now().Add(left + rounding) // after the answer, which may take a while
				if h.Since.After(granted) || h.Since.Add(h.Grants[0].TTL).After(end) {
					r.Errorf("%s was handed a before %v for %v, until %v, and that says Since %v", w.token, granted, h.Grants[0].TTL, end, h.Since)
				}
				held = w.token
			}
		},
	},
}

// findsOut expects who is first in line of a name to get it soon after it was freed without a word.
func (r *room) findsOut(name string, free func()) {
	r.tb.Helper()
	var took time.Duration
	for range 3 { // a machine may stand still for a moment
		w := r.waitsFor(name, backend.NewToken())[0]
		free()
		start := time.Now()
		r.handed(w)
		if took = time.Since(start); took <= soon {
			return
		}
	}
	r.Errorf("it took %v until somebody found that %s was free", took, name)
}
