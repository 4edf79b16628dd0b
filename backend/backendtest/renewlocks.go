package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var renewLockCases = []Case{
	{
		Name:     "ttl",
		Sentence: "RenewLocks sets the TTL of leases on names, if they still are the token's, alone or shared.",
		check: func(r *room) {
			r.has("t", "a")
			r.shares("t", "b", 2)
			r.gets(backend.LockRequest{Token: "u", TTL: time.Hour, Items: units("b", 1, 0)})
			for _, ttl := range []time.Duration{2 * long, 5 * long, backend.NoExpiry, 3 * long} {
				r.equal("renewed", r.prolongs(
					backend.Renewal{Member: "a", Token: "t", TTL: ttl}, backend.Renewal{Member: "b", Token: "t", TTL: ttl},
				), []bool{true, true})
				r.heldBy("a", "t")
				r.lives("the lock of a", r.lock("a").TTL, ttl)
				r.sharedBy("b", "u*1", "t*2")
				r.lives("the lease on b", r.lockState("b").Holders[1].TTL, ttl)
				r.lives("the other's lease on b", r.lockState("b").Holders[0].TTL, long)
			}
		},
	},
	{
		Name:     "token",
		Sentence: "RenewLocks: each for itself, if they still are the token's.",
		check: func(r *room) {
			r.has("1", "a")
			r.has("2", "b")
			r.shares("2", "c", 1)
			r.steady("a stranger", func() {
				r.equal("renewed", r.prolongs(
					backend.Renewal{Member: "b", Token: "1", TTL: backend.NoExpiry}, backend.Renewal{Member: "a", Token: "1", TTL: 2 * long},
					backend.Renewal{Member: "c", Token: "1", TTL: backend.NoExpiry}, backend.Renewal{Member: "free", Token: "1", TTL: long},
					backend.Renewal{Member: "c", Token: "2", TTL: 2 * long},
				), []bool{false, true, false, false, true})
			}, "a", "b", "c", "free")
			r.lives("what was renewed", r.lock("a").TTL, 2*long)
			r.lives("what was not", r.lock("b").TTL, long)
			r.lives("what was renewed", r.lock("c").TTL, 2*long)
		},
	},
	{
		Name:     "no-revival",
		Sentence: "RenewLocks never brings back a lease that ran out.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "1", TTL: short, Items: append(alone("a", "b"), units("c", 1, 0)...)})
			r.gets(backend.LockRequest{Token: "1", TTL: short, Items: units("d", 1, 0)})
			r.shares("2", "d", 1)
			for _, name := range []string{"a", "b", "c"} {
				r.gone(name)
			}
			r.eventually("that the lease on d runs out", func() bool { return r.lockState("d").Units == 1 })
			for _, name := range []string{"a", "b", "c", "d"} {
				r.no("renewed after it ran out", r.prolong("1", name, long))
			}
			r.unheld("a", "b", "c")
			r.sharedBy("d", "2*1")
			r.has("3", "a")
			r.no("renewed what is another's", r.prolong("1", "a", 2*long))
			r.heldBy("a", "3")
			r.unlockByHand("a")
			r.no("renewed what was removed", r.prolong("3", "a", long))
			r.unheld("a")
		},
	},
	{
		Name:     "shorter",
		Sentence: "RenewLocks sets the TTL, also to less: the lease runs out then.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "1", TTL: backend.NoExpiry, Items: alone("a")})
			r.gets(backend.LockRequest{Token: "1", TTL: backend.NoExpiry, Items: units("b", 2, 2)})
			r.equal("renewed", r.prolongs(
				backend.Renewal{Member: "a", Token: "1", TTL: short}, backend.Renewal{Member: "b", Token: "1", TTL: short},
			), []bool{true, true})
			r.eventually("that the names come free", func() bool {
				req := backend.LockRequest{Token: "2", Items: append(alone("a"), units("b", 1, 2)...)}
				return len(r.locks(req)) > 0
			})
			r.heldBy("a", "2")
			r.sharedBy("b", "2*1")
		},
	},
	{
		Name:     "longer",
		Sentence: "RenewLocks sets the TTL: until then nobody else gets the name.",
		check: func(r *room) {
			for ttl := range r.longerAndLonger() {
				r.force("a", "b")
				r.gets(backend.LockRequest{Token: "1", TTL: ttl, Items: append(alone("a"), units("b", 1, 1)...)})
				if !r.prolong("1", "a", long) || !r.prolong("1", "b", long) {
					continue
				}
				r.pass(ttl + short)
				r.refuses(
					backend.LockRequest{Token: "2", Items: alone("a")}, backend.LockRequest{Token: "2", Items: units("b", 1, 1)},
				)
				r.heldBy("a", "1")
				r.sharedBy("b", "1*1")
				return
			}
		},
	},
	{
		Name:     "keeps-count",
		Sentence: "RenewLocks sets the TTL of a lease, and nothing else: how often it has to be given back stays.",
		check: func(r *room) {
			for name, items := range map[string][]backend.LockItem{"a": alone("a"), "b": units("b", 1, 0)} {
				r.gets(backend.LockRequest{Token: "t", TTL: long, Items: items})
				r.gets(backend.LockRequest{Token: "t", TTL: 2 * short, Items: items, Again: true})
				if !r.prolong("t", name, long) {
					continue // the machine stood still for a moment
				}
				r.pass(3 * short) // what counts must not run out by itself
				r.lets("t", name)
				r.yes("still held", r.lockState(name).Locked)
				r.lets("t", name)
				r.unheld(name)
			}
		},
	},
}
