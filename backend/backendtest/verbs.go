package backendtest

import (
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// The verbs of pools.

func (r *room) extend(members ...string) {
	r.tb.Helper()
	r.extendFor(backend.NoExpiry, members...)
}

func (r *room) extendFor(ttl time.Duration, members ...string) {
	r.tb.Helper()
	_, err := r.be.Extend(r.ctx, backend.ExtendRequest{Namespace: r.ns, Members: members, TTL: ttl})
	r.ok(err, "Extend")
}

func (r *room) shrink(members ...string) {
	r.tb.Helper()
	_, err := r.be.Shrink(r.ctx, backend.ShrinkRequest{Namespace: r.ns, Members: members})
	r.ok(err, "Shrink")
}

// take fills what a request leaves open and takes.
func (r *room) take(req backend.TakeRequest) []backend.Grant {
	r.tb.Helper()
	got, err := r.be.Take(r.ctx, r.filled(req))
	r.ok(err, "Take")
	return got.Grants
}

func (r *room) filled(req backend.TakeRequest) backend.TakeRequest {
	req.Namespace = r.ns
	if req.TTL == 0 && !req.Shared {
		req.TTL = long
	}
	if req.Binding != "" && req.BindingTTL == 0 {
		req.BindingTTL = long
	}
	return req
}

// one takes one member that must be there.
func (r *room) one(token string) backend.Grant {
	r.tb.Helper()
	return r.oneFor(token, long)
}

func (r *room) oneFor(token string, ttl time.Duration) backend.Grant {
	r.tb.Helper()
	got := r.take(backend.TakeRequest{Token: token, TTL: ttl})
	if len(got) != 1 {
		r.Fatalf("Take gave %d members, not 1", len(got))
	}
	return got[0]
}

// takes expects a request to be granted exactly these members, in this order.
func (r *room) takes(req backend.TakeRequest, want ...string) {
	r.tb.Helper()
	r.same("the members taken", names(r.take(req)), want)
}

func (r *room) giveBack(member, token string) bool {
	r.tb.Helper()
	return r.returns(backend.ReturnRequest{Items: []backend.Held{{Member: member, Token: token}}})[0]
}

func (r *room) returns(req backend.ReturnRequest) []bool {
	r.tb.Helper()
	req.Namespace = r.ns
	got, err := r.be.Return(r.ctx, req)
	r.ok(err, "Return")
	if len(got.Returned) != len(req.Items) {
		r.Fatalf("Return of %d items answered for %d", len(req.Items), len(got.Returned))
	}
	return got.Returned
}

func (r *room) renew(member, token string, ttl time.Duration) bool {
	r.tb.Helper()
	return r.renews(backend.Renewal{Member: member, Token: token, TTL: ttl})[0]
}

func (r *room) renews(items ...backend.Renewal) []bool {
	r.tb.Helper()
	got, err := r.be.Renew(r.ctx, backend.RenewRequest{Namespace: r.ns, Items: items})
	r.ok(err, "Renew")
	if len(got.Renewed) != len(items) {
		r.Fatalf("Renew of %d items answered for %d", len(items), len(got.Renewed))
	}
	return got.Renewed
}

func (r *room) collect(count int) backend.CollectReply {
	r.tb.Helper()
	got, err := r.be.Collect(r.ctx, backend.CollectRequest{Namespace: r.ns, Count: count})
	r.ok(err, "Collect")
	return got
}

// pool looks at the whole pool.
func (r *room) pool() backend.InspectReply {
	r.tb.Helper()
	got, err := r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns})
	r.ok(err, "Inspect")
	return got
}

// member looks at one member.
func (r *room) member(name string) backend.MemberState {
	r.tb.Helper()
	got, err := r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns, Only: []string{name}})
	r.ok(err, "Inspect "+name)
	if len(got.Members) != 1 || got.Members[0].Name != name {
		r.Fatalf("Inspect of only %q gave %+v", name, got.Members)
	}
	return got.Members[0]
}

// free expects the free list to have these members, in this order, and checks the invariants.
func (r *room) free(want ...string) {
	r.tb.Helper()
	pool := r.sound()
	next := map[string]string{}
	for _, m := range pool.Members {
		next[m.Name] = m.Next
	}
	var got []string
	for name := pool.Head; name != "" && len(got) <= len(pool.Members); name = next[name] {
		got = append(got, name)
	}
	r.same("the free list", got, want)
}

// members expects the pool to have these members, free or not.
func (r *room) members(want ...string) {
	r.tb.Helper()
	pool := r.sound()
	var got []string
	for _, m := range pool.Members {
		got = append(got, m.Name)
	}
	r.sameSet("the members of the pool", got, want)
	if pool.Total != len(want) {
		r.Errorf("the pool counts %d members, not %d", pool.Total, len(want))
	}
}

// sound checks the invariants of the pool.
func (r *room) sound() backend.InspectReply {
	r.tb.Helper()
	pool := r.pool()
	if broken := backend.CheckPool(pool, r.exclusive); len(broken) > 0 {
		r.Fatalf("the pool is broken: %s", strings.Join(broken, "; "))
	}
	return pool
}
