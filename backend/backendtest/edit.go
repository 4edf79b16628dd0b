package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

func (r *room) assign(ttl time.Duration, members ...string) backend.EditReply {
	r.tb.Helper()
	got, err := r.be.Assign(r.ctx, backend.ExtendRequest{Namespace: r.ns, Members: members, TTL: ttl})
	r.ok(err, "Assign")
	return got
}

var editCases = []Case{
	{
		Name:     "extend",
		Sentence: "Extend adds members at the tail of the free list, in their order; twice the same counts once.",
		check: func(r *room) {
			r.free()
			for _, c := range []struct {
				members []string
				added   int
			}{{[]string{"b", "a", "b"}, 2}, {[]string{"d", "a", "c"}, 2}, {nil, 0}, {[]string{"c"}, 0}} {
				got, err := r.be.Extend(r.ctx, backend.ExtendRequest{Namespace: r.ns, Members: c.members, TTL: backend.NoExpiry})
				r.ok(err, "Extend")
				r.equal("reply", got, backend.EditReply{Added: c.added})
			}
			r.free("b", "a", "d", "c")
		},
	},
	{
		Name:     "extend-members",
		Sentence: "Extend: those that are members already only get a new expiry.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("t")
			r.extendFor(long, "c", "a")
			r.free("b", "c")
			a := r.member("a")
			r.equal("the holder", a.Owner, "t")
			r.no("a free member", a.Free())
			r.expires("a", long)
			r.expires("c", long)
			r.expires("b", backend.NoExpiry)
			r.extend("a")
			r.expires("a", backend.NoExpiry)
			r.yes("the holder gives back", r.giveBack("a", "t"))
			r.free("b", "c", "a")
		},
	},
	{
		Name:     "extend-left-over",
		Sentence: "Extend removes locks left over from an earlier life.",
		check: func(r *room) {
			r.extend("a")
			r.one("t")
			r.shrink("a")
			r.equal("the lock left over", r.lock("a").Value, "t")
			r.extend("a")
			r.no("a lock on a fresh member", r.lock("a").Exists)
			r.no("renewed by the holder of an earlier life", r.renew("a", "t", long))
			r.no("given back by the holder of an earlier life", r.giveBack("a", "t"))
			r.free("a")
			r.set("b", "1", long)
			r.assign(backend.NoExpiry, "b")
			r.no("a lock on a fresh member", r.lock("b").Exists)
			r.free("b")
		},
	},
	{
		Name:     "odd-members",
		Sentence: "A pool member must not be empty, contain two bars in a row, begin with a bar or equal #ALLOCATED; any other name will do.",
		check: func(r *room) {
			odd := append(oddNames(), "a|", "b|", "c|d|")
			r.extend(odd...)
			r.free(odd...)
			for _, m := range odd {
				r.takes(backend.TakeRequest{Token: m}, m)
			}
			for _, m := range odd {
				r.yes("given back: "+m, r.giveBack(m, m))
			}
			r.free(odd...)
			r.shrink(odd...)
			r.members()
		},
	},
	{
		Name:     "shrink",
		Sentence: "Shrink removes members, free or not. Locks stay; what was leased is not given back any more.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d", "e")
			r.takes(backend.TakeRequest{Token: "t", Count: 2}, "a", "b")
			got, err := r.be.Shrink(r.ctx, backend.ShrinkRequest{Namespace: r.ns, Members: []string{"d", "a", "x", "d"}})
			r.ok(err, "Shrink")
			r.equal("reply", got, backend.EditReply{Removed: 2})
			r.free("c", "e")
			r.members("b", "c", "e")
			r.equal("the lock of a removed member", r.lock("a").Value, "t")
			r.yes("its holder renews", r.renew("a", "t", long))
			r.yes("its holder gives back", r.giveBack("a", "t"))
			r.no("the lock is left", r.lock("a").Exists)
			r.free("c", "e")
			r.shrink("c")
			r.free("e")
			r.shrink("e")
			r.free()
			r.shrink()
			r.members("b")
		},
	},
	{
		Name:     "assign",
		Sentence: "Assign makes the members the only ones; those that stay keep their state and their expiry.",
		check: func(r *room) {
			r.extend("a", "b")
			r.extendFor(2*long, "c", "d")
			r.one("t")
			r.equal("reply", r.assign(long, "e", "d", "a", "e", "f"), backend.EditReply{Added: 2, Removed: 2})
			r.members("a", "d", "e", "f")
			r.free("d", "e", "f")
			r.equal("the holder", r.member("a").Owner, "t")
			r.expires("a", backend.NoExpiry)
			r.expires("d", 2*long)
			r.expires("e", long)
			r.yes("the holder gives back", r.giveBack("a", "t"))
			r.free("d", "e", "f", "a")
			r.equal("reply", r.assign(long, "a", "d", "e", "f"), backend.EditReply{})
			r.free("d", "e", "f", "a")
		},
	},
	{
		Name:     "clear",
		Sentence: "Assign: no members empties the pool. Locks stay.",
		check: func(r *room) {
			r.equal("reply", r.assign(backend.NoExpiry), backend.EditReply{})
			r.extend("a", "b", "c")
			r.one("t")
			r.equal("reply", r.assign(backend.NoExpiry), backend.EditReply{Removed: 3})
			r.members()
			r.free()
			r.equal("the lock", r.lock("a").Value, "t")
			r.yes("the holder gives back", r.giveBack("a", "t"))
			r.members()
		},
	},
	{
		Name:     "large",
		Sentence: "A batch of more than BatchLimit members may be carried out in slices; the outcome is the same.",
		check: func(r *room) {
			all := numbered(2600)
			got, err := r.be.Extend(r.ctx, backend.ExtendRequest{Namespace: r.ns, Members: all[:2500], TTL: backend.NoExpiry})
			r.ok(err, "Extend")
			r.equal("reply", got, backend.EditReply{Added: 2500})
			r.free(all[:2500]...)
			r.one("t")
			r.equal("reply", r.assign(backend.NoExpiry, append(all[1400:2600:2600], all[0])...), backend.EditReply{Added: 100, Removed: 1399})
			r.free(all[1400:2600]...)
			r.equal("the holder", r.member(all[0]).Owner, "t")
			got, err = r.be.Shrink(r.ctx, backend.ShrinkRequest{Namespace: r.ns, Members: all[:2599]})
			r.ok(err, "Shrink")
			r.equal("reply", got, backend.EditReply{Removed: 1200})
			r.free(all[2599])
		},
	},
}

// expires expects the membership to end about ttl from now, by the server's clock, in whole seconds.
func (r *room) expires(member string, ttl time.Duration) {
	r.tb.Helper()
	got := r.member(member).Expiry
	if ttl == backend.NoExpiry {
		r.yes(member+" has no expiry", got.IsZero())
		return
	}
	const slack = 5 * time.Minute // clocks of client and server
	if left := time.Until(got); left < ttl-slack || left > ttl+slack {
		r.Errorf("the membership of %s ends in %v, not in %v", member, left, ttl)
	}
	r.equal("nanoseconds in the expiry of "+member, got.Nanosecond(), 0)
}
