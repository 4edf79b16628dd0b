package backendtest

import (
	"math"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var lockCases = []Case{
	{
		Name:     "grants",
		Sentence: "Lock takes all names: a grant for each item, in their order.",
		check: func(r *room) {
			got := r.has("t", "c", "a", "b")
			r.ascending("the grants of one step", got[0].Fence, got[1].Fence, got[2].Fence)
			for _, name := range []string{"a", "b", "c"} {
				r.heldBy(name, "t")
				r.lives("the lock of "+name, r.lock(name).TTL, long)
				r.lives("the state of "+name, r.lockState(name).TTL, long)
			}
		},
	},
	{
		Name:     "value",
		Sentence: "Who holds a name alone is the value of its lock: the owner's token.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "t", TTL: 2 * long, Items: alone("a")})
			v := r.lock("a")
			r.equal("value", v.Value, "t")
			r.lives("the lock", v.TTL, 2*long)
		},
	},
	{
		Name:     "refused",
		Sentence: "Lock does not wait: a name that another holds alone is granted to nobody.",
		check: func(r *room) {
			r.has("1", "a")
			r.steady("a refused request", func() {
				r.refuses(
					backend.LockRequest{Token: "2", Items: alone("a")},
					backend.LockRequest{Token: "3", Items: units("a", 1, 0)},
					backend.LockRequest{Token: "4", Items: units("a", 1, 5)},
					backend.LockRequest{Token: "5", Items: alone("a"), Again: true},
				)
			}, "a")
			r.heldBy("a", "1")
		},
	},
	{
		Name:     "all-or-none",
		Sentence: "Lock takes all names, or none.",
		check: func(r *room) {
			r.has("1", "b")
			r.shares("2", "d", 1)
			r.refuses(
				backend.LockRequest{Token: "3", Items: alone("a", "b", "c")},
				backend.LockRequest{Token: "4", Items: alone("c", "a", "d")},
				backend.LockRequest{Token: "5", Items: append(alone("a"), units("b", 1, 0)...)},
				backend.LockRequest{Token: "6", Items: append(units("a", 1, 2), alone("b")...)},
			)
			r.unheld("a", "c")
			r.heldBy("b", "1")
			r.sharedBy("d", "2*1")
			r.equal("the limit of a", r.lockState("a").Limit, 0)
		},
	},
	{
		Name:     "own-token",
		Sentence: "Without Again nobody has to wait for himself: such a request is refused as if another held the name.",
		check: func(r *room) {
			r.has("t", "a")
			r.shares("t", "b", 1)
			r.steady("asking again", func() {
				r.refuses(
					backend.LockRequest{Token: "t", Items: alone("a"), TTL: backend.NoExpiry},
					backend.LockRequest{Token: "t", Items: alone("c", "a")},
					backend.LockRequest{Token: "t", Items: units("b", 1, 0), TTL: backend.NoExpiry},
				)
			}, "a", "b", "c")
			r.lets("t", "a", "b")
			r.unheld("a", "b", "c")
		},
	},
	{
		Name:     "fences",
		Sentence: "A grant's fence is larger than that of every earlier grant in the namespace: of names and of members.",
		check: func(r *room) {
			r.extend("m")
			var fences []int64
			draw := func(g backend.Grant) { fences = append(fences, g.Fence) }
			draw(r.has("1", "a")[0])
			draw(r.one("2"))
			for _, g := range r.has("3", "x", "y") {
				draw(g)
			}
			draw(r.shares("4", "s", 1))
			draw(r.shares("5", "s", 1))
			draw(r.gets(backend.LockRequest{Token: "1", Items: alone("a"), Again: true})[0])
			draw(r.gets(backend.LockRequest{Token: "3", Items: units("x", 1, 0), Downgrade: true})[0])
			r.giveBack("m", "2")
			draw(r.one("6"))
			r.force("a")
			draw(r.has("1", "a")[0])
			set, err := r.be.Set(r.ctx, backend.SetRequest{
				Namespace: r.ns, Fence: true, Items: []backend.SetItem{item("v", "v", backend.Always, "")},
			})
			r.ok(err, "Set")
			fences = append(fences, set.Fences...)
			draw(r.has("7", "b")[0])
			r.ascending("all grants", fences...)
		},
	},
	{
		Name:     "any-name",
		Sentence: "Names and tokens are arbitrary UTF-8 without NUL.",
		check: func(r *room) {
			odd := append(oddNames(), "a||b", backend.Allocated, "|", backend.SharedToken)
			r.has("t", odd...)
			for _, n := range odd {
				r.heldBy(n, "t")
			}
			r.lets("t", odd...)
			r.unheld(odd...)
			for _, token := range append(oddNames(), backend.QuarantineToken("t")) {
				r.has(token, "a")
				r.heldBy("a", token)
				r.no("given back under another token", r.unlock("somebody", "a"))
				r.yes("renewed", r.prolong(token, "a", 2*long))
				r.lets(token, "a")
			}
		},
	},
	{
		Name:     "many-names",
		Sentence: "MaxLockNames is the largest number of names in one LockRequest.",
		check: func(r *room) {
			all := numbered(backend.MaxLockNames)
			got := r.has("t", all...)
			r.equal("grants", len(got), backend.MaxLockNames)
			r.refuses(backend.LockRequest{Token: "u", Items: alone(all[1:]...)})
			r.lets("t", all...)
			r.unheld(all...)
		},
	},
	{
		Name:     "ttl",
		Sentence: "TTL of the lease: positive, or NoExpiry.",
		check: func(r *room) {
			for name, ttl := range map[string]time.Duration{"a": backend.NoExpiry, "b": long, "c": math.MaxInt64} {
				items := alone(name)
				got, err := r.be.Lock(r.ctx, backend.LockRequest{Namespace: r.ns, Token: "t", TTL: ttl, Items: items})
				r.ok(err, "Lock")
				r.equal("grants", len(got.Grants), 1)
				left := r.lockState(name).TTL
				if ttl != math.MaxInt64 {
					r.lives(name, left, ttl)
				} else if left != backend.NoExpiry && left < math.MaxInt64-24*time.Hour {
					r.Errorf("of 292 years are %v left", left)
				}
				r.heldBy(name, "t")
			}
		},
	},
	{
		Name:     "lapse",
		Sentence: "A lease that ran out holds nothing, at once.",
		check: func(r *room) {
			old := r.gets(backend.LockRequest{Token: "1", TTL: short, Items: alone("a", "b")})
			r.gone("a")
			r.gone("b")
			r.unheld("a", "b")
			r.no("given back too late", r.unlock("1", "a"))
			next := r.has("2", "b", "a")
			r.ascending("the old holder and the next", old[1].Fence, next[0].Fence)
			r.no("given back too late", r.unlock("1", "a"))
			r.heldBy("a", "2")
			r.heldBy("b", "2")
		},
	},
	{
		Name:     "not-yet",
		Sentence: "Until the lease has run out nobody else gets the name.",
		check: func(r *room) {
			r.has("1", "a")
			r.gets(backend.LockRequest{Token: "1", TTL: backend.NoExpiry, Items: units("b", 1, 1)})
			r.pass(2 * short)
			r.refuses(backend.LockRequest{Token: "2", Items: alone("a")}, backend.LockRequest{Token: "2", Items: units("b", 1, 1)})
		},
	},
	{
		Name:     "namespaces",
		Sentence: "Namespace says which keys belong together; HashTag makes others of the same prefix and suffix.",
		check: func(r *room) {
			other, tagged := *r, *r
			other.ns.Suffix, tagged.ns.HashTag = "other", true
			for i, in := range []*room{r, &other, &tagged} {
				in.limit("s", i+1)
				in.has("t", "a")
				in.gets(backend.LockRequest{Token: "t", Items: units("s", 1, i+1)})
				in.waitsFor("a", "w")
				in.inLine("a", "w")
			}
			r.lets("t", "a", "s")
			r.heldBy("a", "w")
			other.heldBy("a", "t")
			other.sharedBy("s", "t*1")
			tagged.heldBy("a", "t")
			tagged.inLine("a", "w")
		},
	},
	{
		Name:     "holders",
		Sentence: "Holders looks and changes nothing. The reply has one entry for each name, in their order.",
		check: func(r *room) {
			r.has("t", "b")
			r.gets(backend.LockRequest{Token: "u", TTL: backend.NoExpiry, Items: units("a", 2, 3)})
			r.gets(backend.LockRequest{Token: "v", TTL: 2 * long, Items: units("a", 1, 3)})
			r.waitsFor("a", "w", "x")
			got := r.lockStates("a", "none", "b", "a")
			for i := range got {
				s := &got[i]
				for j := range s.Holders {
					if h := &s.Holders[j]; h.TTL != backend.NoExpiry {
						r.lives("the lease of "+h.Token, h.TTL, 2*long)
						h.TTL = long
					}
				}
			}
			r.lives("b", got[2].TTL, long)
			got[2].TTL = long
			a := backend.LockState{
				Locked: true, TTL: backend.NoExpiry, Units: 3, Limit: 3, Waiting: 2, Holders: []backend.LockHolder{
					{Token: "v", Units: 1, TTL: long}, {Token: "u", Units: 2, TTL: backend.NoExpiry},
				},
			}
			r.equal("states", got, []backend.LockState{a, {}, {Locked: true, Owner: "t", TTL: long}, a})
		},
	},
	{
		Name:     "durability",
		Sentence: "Durability: else it is undone, and the error is a ReplicasError. Leases are renewed all the same.",
		check: func(r *room) {
			// No store has that many.
			safe := backend.Durability{Replicas: backend.BatchLimit, Timeout: 10 * time.Millisecond}
			r.has("t", "a")
			for _, req := range []backend.LockRequest{
				{Token: "u", Items: alone("b", "c")},
				{Token: "u", Items: units("d", 1, 0)},
				{Token: "t", Items: alone("a"), Again: true},
			} {
				req = r.filledLock(req)
				req.Durability = safe
				got, err := r.be.Lock(r.ctx, req)
				r.tooFew(err)
				r.equal("grants", len(got.Grants), 0)
			}
			r.unheld("b", "c", "d")
			r.heldBy("a", "t")
			_, err := r.be.RenewLocks(r.ctx, backend.RenewRequest{
				Namespace: r.ns, Durability: safe, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: 3 * long}},
			})
			if !r.tooFew(err) {
				r.lives("the renewed lock", r.lock("a").TTL, 3*long)
			}
			r.lets("t", "a")
			r.unheld("a")
		},
	},
	{
		Name:     "cancelled",
		Sentence: "A context that has ended grants nothing and changes nothing.",
		check: func(r *room) {
			r.has("t", "b")
			ctx, calls := cancelled(r.ctx), r.calls(r.ns)
			for _, name := range []string{
				"Lock", "Unlock", "RenewLocks", "SetLimit", "Holders", "Enter for names", "Leave lines of names", "Queue of a name",
			} {
				r.fails(name, calls[name](ctx), ctx.Err())
			}
			_, err := r.be.Unlock(ctx, backend.UnlockRequest{Namespace: r.ns, Force: true, Items: []backend.Held{{Member: "b"}}})
			r.fails("Unlock", err, ctx.Err())
			r.unheld("a")
			r.inLine("a")
			r.equal("the limit", r.lockState("a").Limit, 0)
			r.heldBy("b", "t")
		},
	},
}
