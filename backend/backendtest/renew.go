package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var renewCases = []Case{
	{
		Name:     "ttl",
		Sentence: "Renew sets the TTL of leases whose lock still has the given token.",
		check: func(r *room) {
			r.extend("a")
			r.one("t")
			for _, ttl := range []time.Duration{2 * long, long, backend.NoExpiry, 3 * long} {
				r.yes("renewed", r.renew("a", "t", ttl))
				r.lives("the lock", r.lock("a").TTL, ttl)
				m := r.member("a")
				r.equal("owner", m.Owner, "t")
				r.lives("the lease", m.TTL, ttl)
			}
		},
	},
	{
		Name:     "token",
		Sentence: "Renew: only whose lock still has the given token; each for itself.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("1")
			r.one("2")
			got := r.renews(
				backend.Renewal{Member: "a", Token: "1", TTL: 2 * long}, backend.Renewal{Member: "b", Token: "1", TTL: 2 * long},
				backend.Renewal{Member: "c", Token: "1", TTL: long}, backend.Renewal{Member: "x", Token: "1", TTL: long},
				backend.Renewal{Member: "b", Token: "9", TTL: long, NewToken: "1"},
			)
			r.equal("renewed", got, []bool{true, false, false, false, false})
			r.lives("the renewed lease", r.lock("a").TTL, 2*long)
			r.lives("the other lease", r.lock("b").TTL, long)
			r.equal("its holder", r.lock("b").Value, "2")
			r.free("c")
			r.no("x is locked", r.lock("x").Exists)
		},
	},
	{
		Name:     "no-revival",
		Sentence: "Renew never brings back a lease that ran out.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("1")
			r.one("2")
			r.one("3")
			r.renew("a", "1", short)
			r.renew("b", "2", short)
			r.gone("a")
			r.gone("b")
			r.no("renewed after it ran out", r.renew("a", "1", long))
			r.no("a lock came back", r.lock("a").Exists)
			r.equal("taken", len(r.take(backend.TakeRequest{Token: "4", Count: 2})), 2)
			r.unchanged("renewing what is somebody else's", func() {
				r.no("renewed", r.renew("a", "1", 2*long))
				r.no("renewed", r.renew("b", "2", 2*long))
			})
			r.unlockByHand("c")
			r.no("renewed without a lock", r.renew("c", "3", long))
			r.no("a lock came back", r.lock("c").Exists)
		},
	},
	{
		Name:     "locks",
		Sentence: "Renew sets the TTL of locks in the same namespace, too.",
		check: func(r *room) {
			r.set("any||name", "t", long)
			r.yes("renewed", r.renew("any||name", "t", 2*long))
			r.lives("the lock", r.lock("any||name").TTL, 2*long)
			r.no("renewed by a stranger", r.renew("any||name", "u", long))
			r.yes("renewed", r.renew("any||name", "t", short))
			r.gone("any||name")
			r.no("renewed after it ran out", r.renew("any||name", "t", long))
		},
	},
	{
		Name:     "shorter",
		Sentence: "Renew sets the TTL, also to less: the lease runs out then.",
		check: func(r *room) {
			r.extend("a")
			r.one("t")
			r.yes("renewed", r.renew("a", "t", short))
			r.eventually("that the member is served again", func() bool {
				return len(r.take(backend.TakeRequest{Token: "u"})) == 1
			})
		},
	},
	{
		Name:     "longer",
		Sentence: "Renew sets the TTL: until then nobody else gets the member.",
		check: func(r *room) {
			r.extend("a")
			for ttl := range r.longerAndLonger() {
				r.eventually("that the member is free", func() bool {
					return len(r.take(backend.TakeRequest{Token: "t", TTL: ttl})) == 1
				})
				if !r.renew("a", "t", long) {
					continue
				}
				r.pass(ttl + short)
				r.unchanged("taking and collecting", func() {
					r.takes(backend.TakeRequest{Token: "u", Collect: backend.BatchLimit})
				})
				r.equal("the holder", r.lock("a").Value, "t")
				return
			}
		},
	},
	{
		Name:     "new-token",
		Sentence: "NewToken, if not empty, replaces the token: that is how a holder sets or lifts a quarantine.",
		check: func(r *room) {
			r.extend("a")
			r.one("t")
			q := backend.QuarantineToken("t")
			swap := func(from, to string, ttl time.Duration) bool {
				return r.renews(backend.Renewal{Member: "a", Token: from, TTL: ttl, NewToken: to})[0]
			}
			r.yes("set", swap("t", q, 2*long))
			v := r.lock("a")
			r.equal("value", v.Value, q)
			r.lives("the quarantine", v.TTL, 2*long)
			r.equal("owner", r.member("a").Owner, q)
			r.unchanged("using the old token", func() {
				r.no("given back by the holder", r.giveBack("a", "t"))
				r.no("renewed by the holder", r.renew("a", "t", long))
				r.no("set twice", swap("t", q, long))
				r.takes(backend.TakeRequest{Token: "u", Collect: backend.BatchLimit})
			})
			r.yes("lifted", swap(q, "t", long))
			r.yes("renewed", r.renew("a", "t", long))
			r.yes("given back", r.giveBack("a", "t"))
			r.free("a")
		},
	},
	{
		Name:     "quarantine-ends",
		Sentence: "A quarantine is a lease: it runs out and the member is served again.",
		check: func(r *room) {
			r.extend("a")
			r.one("t")
			r.equal("set", r.renews(backend.Renewal{
				Member: "a", Token: "t", TTL: short, NewToken: backend.QuarantineToken("t"),
			}), []bool{true})
			r.eventually("that the member is served again", func() bool {
				return len(r.take(backend.TakeRequest{Token: "u"})) == 1
			})
			r.equal("the holder", r.lock("a").Value, "u")
		},
	},
}
