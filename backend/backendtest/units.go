package backendtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const inUnits = "Locks are held by one owner alone or, in units, by several at once."

var unitCases = []Case{
	{
		Name: "together", Sentence: inUnits,
		check: func(r *room) {
			for i, token := range []string{"1", "2", "3"} {
				ttl := time.Duration(i+1) * long
				got := r.gets(backend.LockRequest{Token: token, TTL: ttl, Items: units("a", i+1, 0)})
				r.lives("the lease of "+token, got[0].TTL, ttl)
			}
			r.sharedBy("a", "1*1", "2*2", "3*3")
			r.lets("2", "a")
			r.sharedBy("a", "1*1", "3*3")
			r.lets("3", "a")
			r.sharedBy("a", "1*1")
			r.lets("1", "a")
			r.unheld("a")
			r.has("4", "a")
		},
	},
	{
		Name:     "not-alone",
		Sentence: "A name is held alone or shared: as long as it is shared nobody has it alone.",
		check: func(r *room) {
			r.shares("1", "a", 1)
			r.shares("2", "a", 1)
			r.refuses(backend.LockRequest{Token: "3", Items: alone("a")})
			r.lets("1", "a")
			r.refuses(
				backend.LockRequest{Token: "3", Items: alone("a")},
				backend.LockRequest{Token: "2", Items: alone("a")},
				backend.LockRequest{Token: "2", Items: alone("a"), Again: true},
			)
			r.sharedBy("a", "2*1")
			r.lets("2", "a")
			r.has("3", "a")
			r.heldBy("a", "3")
		},
	},
	{
		Name:     "value",
		Sentence: "A name that is shared has the value SharedToken. It is no token of anybody's.",
		check: func(r *room) {
			r.shares("1", "a", 1)
			v := r.lock("a")
			r.equal("value", v.Value, backend.SharedToken)
			r.lives("the value", v.TTL, long)
			r.equal("scanned", r.scan(backend.KindLock, 0), []string{"a"})
			_, err := r.be.Unlock(r.ctx, backend.UnlockRequest{
				Namespace: r.ns, Items: []backend.Held{{Member: "a", Token: backend.SharedToken}},
			})
			r.refused("Unlock under SharedToken", err)
			got, err := r.be.RenewLocks(r.ctx, backend.RenewRequest{
				Namespace: r.ns, Items: []backend.Renewal{{Member: "a", Token: backend.SharedToken, TTL: 3 * long}},
			})
			if err == nil {
				r.equal("renewed under SharedToken", got.Renewed, []bool{false})
			} else {
				r.refused("RenewLocks under SharedToken", err)
			}
			r.lives("the value", r.lock("a").TTL, long)
			r.sharedBy("a", "1*1")
		},
	},
	{
		Name:     "limit",
		Sentence: "Limit is how many units may be held together.",
		check: func(r *room) {
			ask := func(token string, n int) backend.LockRequest {
				return backend.LockRequest{Token: token, Items: units("a", n, 5)}
			}
			r.gets(ask("1", 3))
			r.refuses(ask("2", 3), ask("2", 5))
			r.gets(ask("3", 2))
			r.refuses(ask("2", 1))
			r.sharedBy("a", "1*3", "3*2")
			r.lets("1", "a")
			r.gets(ask("2", 3))
			r.refuses(ask("4", 1))
			s := r.lockState("a")
			r.equal("units and limit", []int{s.Units, s.Limit}, []int{5, 5})
		},
	},
	{
		Name:     "most",
		Sentence: "MaxUnits is the largest limit of a name, and the most units of one holder.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "1", Items: units("a", backend.MaxUnits, backend.MaxUnits)})
			r.refuses(backend.LockRequest{Token: "2", Items: units("a", 1, backend.MaxUnits)})
			r.sharedBy("a", fmt.Sprintf("1*%d", backend.MaxUnits))
			r.shares("1", "b", backend.MaxUnits)
			r.shares("2", "b", backend.MaxUnits)
			r.shares("3", "b", backend.MaxUnits)
			r.equal("units", r.lockState("b").Units, 3*backend.MaxUnits)
		},
	},
	{
		Name:     "first-limit",
		Sentence: "The first to take units of a name sets its limit; whoever comes with another one gets a LimitError.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "1", Items: units("a", 1, 3)})
			r.equal("the limit", r.lockState("a").Limit, 3)
			r.steady("asking with another limit", func() {
				for _, limit := range []int{2, 4, backend.MaxUnits} {
					r.otherLimit(backend.LockRequest{Token: "2", Items: units("a", 1, limit)}, "a", limit, 3)
				}
				r.otherLimit(backend.LockRequest{Token: "2", Items: append(alone("b"), units("a", 1, 2)...)}, "a", 2, 3)
			}, "a", "b")
			r.lets("1", "a")
			r.equal("the limit, when nobody is left", r.lockState("a").Limit, 3)
			r.otherLimit(backend.LockRequest{Token: "2", Items: units("a", 1, 2)}, "a", 2, 3)
			r.unheld("a", "b")
			r.gets(backend.LockRequest{Token: "2", Items: units("a", 1, 3)})
		},
	},
	{
		Name:     "set-limit",
		Sentence: "SetLimit says how many units of a name may be held together, from now on; 0 forgets it.",
		check: func(r *room) {
			r.limit("a", 2)
			r.equal("the limit", r.lockState("a").Limit, 2)
			r.unheld("a")
			r.otherLimit(backend.LockRequest{Token: "1", Items: units("a", 1, 1)}, "a", 1, 2)
			ask := func(token string, n, limit int) backend.LockRequest {
				return backend.LockRequest{Token: token, Items: units("a", n, limit)}
			}
			r.gets(ask("1", 2, 2))
			r.refuses(ask("2", 1, 2))
			r.limit("a", 3)
			r.gets(ask("2", 1, 3))
			r.limit("a", 0)
			r.equal("the limit", r.lockState("a").Limit, 0)
			r.gets(ask("3", 7, 0))
			r.lets("1", "a")
			r.lets("2", "a")
			r.lets("3", "a")
			r.gets(ask("4", 4, 4))
			r.equal("the limit", r.lockState("a").Limit, 4)
		},
	},
	{
		Name:     "lower-limit",
		Sentence: "SetLimit: leases that exceed a lower limit stay.",
		check: func(r *room) {
			ask := func(token string, n, limit int) backend.LockRequest {
				return backend.LockRequest{Token: token, Items: units("a", n, limit)}
			}
			r.gets(ask("1", 2, 4))
			r.gets(ask("2", 2, 4))
			r.limit("a", 2)
			r.sharedBy("a", "1*2", "2*2")
			r.yes("renewed", r.prolong("1", "a", 2*long))
			r.refuses(ask("3", 1, 2))
			r.lets("2", "a")
			r.refuses(ask("3", 1, 2))
			r.lets("1", "a")
			r.gets(ask("3", 1, 2))
			r.gets(ask("4", 1, 2))
			r.refuses(ask("5", 1, 2))
		},
	},
	{
		Name:     "own-end",
		Sentence: "Holders of a shared name: each with an end of its own. A lease that ran out holds nothing, at once.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "1", TTL: short, Items: units("a", 2, 3)})
			r.gets(backend.LockRequest{Token: "2", TTL: long, Items: units("a", 1, 3)})
			r.eventually("that one of the leases runs out", func() bool { return r.lockState("a").Units == 1 })
			r.sharedBy("a", "2*1")
			r.no("renewed after it ran out", r.prolong("1", "a", long))
			r.no("given back after it ran out", r.unlock("1", "a"))
			r.refuses(backend.LockRequest{Token: "3", Items: alone("a")}, backend.LockRequest{Token: "3", Items: units("a", 3, 3)})
			r.gets(backend.LockRequest{Token: "3", TTL: 2 * long, Items: units("a", 2, 3)})
			r.refuses(backend.LockRequest{Token: "4", Items: units("a", 1, 3)})
			r.sharedBy("a", "2*1", "3*2")
		},
	},
	{
		Name:     "last-end",
		Sentence: "The lock of a shared name ends with the last of its holders.",
		check: func(r *room) {
			take := func(token string, ttl time.Duration) {
				r.gets(backend.LockRequest{Token: token, TTL: ttl, Items: units("a", 1, 0)})
			}
			take("1", 2*long)
			r.lives("the lock", r.lock("a").TTL, 2*long)
			take("2", long)
			r.lives("the lock", r.lock("a").TTL, 2*long)
			take("3", backend.NoExpiry)
			r.lives("the lock", r.lock("a").TTL, backend.NoExpiry)
			take("4", 3*long)
			r.sharedBy("a", "2*1", "1*1", "4*1", "3*1")
			r.lets("3", "a")
			r.lives("the lock", r.lock("a").TTL, 3*long)
			r.yes("renewed", r.prolong("2", "a", 4*long))
			r.lives("the lock", r.lock("a").TTL, 4*long)
			r.lets("2", "a")
			r.yes("renewed", r.prolong("4", "a", long))
			r.lives("the lock", r.lock("a").TTL, 2*long)
			r.lets("1", "a")
			r.lives("the lock", r.lock("a").TTL, long)
			r.yes("renewed", r.prolong("4", "a", short))
			r.gone("a")
			r.unheld("a")
			take("5", long)
			r.sharedBy("a", "5*1")
		},
	},
	{
		Name:     "tokens",
		Sentence: "Holders of a shared name are told apart by their tokens, whatever these are.",
		check: func(r *room) {
			all := append(oddNames(), "x", "#x", "##x", backend.QuarantineToken("x"))
			for i, token := range all {
				r.gets(backend.LockRequest{Token: token, Items: units("a", i+1, 0)})
			}
			sum := len(all) * (len(all) + 1) / 2
			r.equal("units", r.lockState("a").Units, sum)
			for i, token := range all { // one that is held twice is not mixed up with another
				r.gets(backend.LockRequest{Token: token, Items: units("a", i+1, 0), Again: true})
			}
			r.equal("units", r.lockState("a").Units, sum)
			for i, token := range all {
				r.lets(token, "a")
				r.equal("units", r.lockState("a").Units, sum)
				r.lets(token, "a")
				sum -= i + 1
				r.equal("units", r.lockState("a").Units, sum)
				r.no("given back once too often", r.unlock(token, "a"))
			}
			r.unheld("a")
		},
	},
}

// otherLimit expects a LimitError for a request, whether or not it would wait.
func (r *room) otherLimit(req backend.LockRequest, name string, asked, stored int) {
	r.tb.Helper()
	req = r.filledLock(req)
	want := backend.LimitError{Name: name, Asked: asked, Stored: stored}
	got, lockErr := r.be.Lock(r.ctx, req)
	r.equal("grants", len(got.Grants), 0)
	entered, enterErr := r.be.Enter(r.ctx, backend.EnterRequest{Lock: req})
	r.equal("grants", len(entered.Grants), 0)
	r.yes("Enter gives no channel", entered.Handover == nil)
	for doing, err := range map[string]error{"Lock": lockErr, "Enter": enterErr} {
		var differs *backend.LimitError
		if !errors.Is(err, backend.ErrLimit) || !errors.As(err, &differs) {
			r.Errorf("%s with another limit: got error %v, want a LimitError", doing, err)
			continue
		}
		r.equal(doing+" with another limit", *differs, want)
	}
}
