package backendtest

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// rounding is how far apart two clocks of one store may be that were read at the same moment.
const rounding = 2 * time.Millisecond

// The verbs of locks.

// alone asks for names, each of them alone.
func alone(names ...string) []backend.LockItem {
	items := make([]backend.LockItem, len(names))
	for i, n := range names {
		items[i].Name = n
	}
	return items
}

// units asks for units of a name. Limit 0 is none.
func units(name string, n, limit int) []backend.LockItem {
	return []backend.LockItem{{Name: name, Units: n, Limit: limit}}
}

// filledLock fills what a request leaves open.
func (r *room) filledLock(req backend.LockRequest) backend.LockRequest {
	req.Namespace = r.ns
	if req.TTL == 0 {
		req.TTL = long
	}
	return req
}

// locks asks for names, and expects all or none of them.
func (r *room) locks(req backend.LockRequest) []backend.Grant {
	r.tb.Helper()
	got, err := r.be.Lock(r.ctx, r.filledLock(req))
	r.ok(err, "Lock")
	if len(got.Grants) != 0 && len(got.Grants) != len(req.Items) {
		r.Fatalf("Lock of %d names granted %d", len(req.Items), len(got.Grants))
	}
	return got.Grants
}

// gets expects a request to be granted, and the grants to be those of its items.
func (r *room) gets(req backend.LockRequest) []backend.Grant {
	r.tb.Helper()
	got := r.locks(req)
	var want []string
	for _, it := range req.Items {
		want = append(want, it.Name)
	}
	r.same("what was granted to "+req.Token, names(got), want)
	if len(got) != len(want) {
		r.Fatalf("%s got nothing", req.Token)
	}
	ttl := r.filledLock(req).TTL
	for _, g := range got {
		r.equal("the token of the grant", g.Token, req.Token)
		r.yes("a fence", g.Fence > 0)
		r.lives("the grant of "+g.Member+" to "+req.Token, g.TTL, ttl)
	}
	return got
}

// has takes names alone, which must be granted.
func (r *room) has(token string, names ...string) []backend.Grant {
	r.tb.Helper()
	return r.gets(backend.LockRequest{Token: token, Items: alone(names...)})
}

// shares takes units of a name without a limit, which must be granted.
func (r *room) shares(token, name string, n int) backend.Grant {
	r.tb.Helper()
	return r.gets(backend.LockRequest{Token: token, Items: units(name, n, 0)})[0]
}

// refuses expects requests to be granted nothing.
func (r *room) refuses(reqs ...backend.LockRequest) {
	r.tb.Helper()
	for _, req := range reqs {
		if got := r.locks(req); len(got) > 0 {
			r.Errorf("%s was granted %q, which it should not get", req.Token, names(got))
		}
	}
}

// unlock gives back one name.
func (r *room) unlock(token, name string) bool {
	r.tb.Helper()
	return r.unlocks(backend.UnlockRequest{Items: []backend.Held{{Member: name, Token: token}}})[0]
}

// lets gives back names, all of which must be held.
func (r *room) lets(token string, names ...string) {
	r.tb.Helper()
	req := backend.UnlockRequest{}
	for _, n := range names {
		req.Items = append(req.Items, backend.Held{Member: n, Token: token})
	}
	for i, ok := range r.unlocks(req) {
		r.yes(fmt.Sprintf("%s gives back %s", token, names[i]), ok)
	}
}

// force frees names whoever holds them.
func (r *room) force(names ...string) []bool {
	r.tb.Helper()
	req := backend.UnlockRequest{Force: true}
	for _, n := range names {
		req.Items = append(req.Items, backend.Held{Member: n})
	}
	return r.unlocks(req)
}

func (r *room) unlocks(req backend.UnlockRequest) []bool {
	r.tb.Helper()
	req.Namespace = r.ns
	got, err := r.be.Unlock(r.ctx, req)
	r.ok(err, "Unlock")
	if len(got.Unlocked) != len(req.Items) {
		r.Fatalf("Unlock of %d items answered for %d", len(req.Items), len(got.Unlocked))
	}
	return got.Unlocked
}

// prolong renews one lease on a name.
func (r *room) prolong(token, name string, ttl time.Duration) bool {
	r.tb.Helper()
	return r.prolongs(backend.Renewal{Member: name, Token: token, TTL: ttl})[0]
}

func (r *room) prolongs(items ...backend.Renewal) []bool {
	r.tb.Helper()
	got, err := r.be.RenewLocks(r.ctx, backend.RenewRequest{Namespace: r.ns, Items: items})
	r.ok(err, "RenewLocks")
	if len(got.Renewed) != len(items) {
		r.Fatalf("RenewLocks of %d items answered for %d", len(items), len(got.Renewed))
	}
	return got.Renewed
}

func (r *room) limit(name string, n int) {
	r.tb.Helper()
	r.ok(r.be.SetLimit(r.ctx, backend.LimitRequest{Namespace: r.ns, Name: name, Limit: n}), "SetLimit")
}

// states looks at names.
func (r *room) lockStates(names ...string) []backend.LockState {
	r.tb.Helper()
	got, err := r.be.Holders(r.ctx, backend.HoldersRequest{Namespace: r.ns, Names: names})
	r.ok(err, "Holders")
	if len(got) != len(names) {
		r.Fatalf("Holders of %d names gave %d states", len(names), len(got))
	}
	return got
}

func (r *room) lockState(name string) backend.LockState {
	r.tb.Helper()
	return r.lockStates(name)[0]
}

// heldBy expects a name to be held alone under a token.
func (r *room) heldBy(name, token string) {
	r.tb.Helper()
	s := r.lockState(name)
	r.equal("the owner of "+name, s.Owner, token)
	r.yes(name+" is locked", s.Locked)
	r.equal("holders and units of "+name+", which is held alone", []int{len(s.Holders), s.Units}, []int{0, 0})
	r.equal("the value of "+name, r.lock(name).Value, token)
}

// sharedBy expects a name to be shared by these holders, each as "token*units", sorted by the ends of their leases.
func (r *room) sharedBy(name string, want ...string) {
	r.tb.Helper()
	r.same("those who share "+name, r.sharers(name), want)
	r.equal("the value of "+name, r.lock(name).Value, backend.SharedToken)
}

// sharers gives the holders of a shared name as "token*units", and expects the rest of its state to agree with them.
func (r *room) sharers(name string) []string {
	r.tb.Helper()
	asked := time.Now()
	s := r.lockState(name)
	apart := rounding + time.Since(asked) // a store may stand still between two looks at its clock
	var got []string
	sum := 0
	for _, h := range s.Holders {
		got = append(got, fmt.Sprintf("%s*%d", h.Token, h.Units))
		sum += h.Units
		if h.TTL != backend.NoExpiry && h.TTL <= 0 {
			r.Errorf("%s shares %s, and %v are left of its lease", h.Token, name, h.TTL)
		}
	}
	r.equal("the units of "+name, s.Units, sum)
	r.equal(name+" is locked", s.Locked, len(got) > 0)
	r.equal("the owner of "+name+", which is shared", s.Owner, "")
	if n := len(s.Holders); n > 0 {
		if d := s.TTL - s.Holders[n-1].TTL; d < -apart || d > apart {
			r.Errorf("%s ends in %v, and the last of its leases in %v", name, s.TTL, s.Holders[n-1].TTL)
		}
	}
	return got
}

// unheld expects that nobody holds these names.
func (r *room) unheld(names ...string) {
	r.tb.Helper()
	for i, s := range r.lockStates(names...) {
		s.Limit, s.Waiting = 0, 0
		if !reflect.DeepEqual(s, backend.LockState{}) {
			r.Errorf("%s should be free, and is %+v", names[i], s)
		}
		if v := r.lock(names[i]); v.Exists {
			r.Errorf("%s should be free, and has the value %q", names[i], v.Value)
		}
	}
}

// waits enters for names and expects to join their lines.
func (r *room) waits(token string, items []backend.LockItem) waiter {
	r.tb.Helper()
	return r.wait(backend.EnterRequest{Lock: backend.LockRequest{Token: token, Items: items}})
}

// waitsFor lets one request for a name alone wait for each token.
func (r *room) waitsFor(name string, tokens ...string) []waiter {
	r.tb.Helper()
	var ws []waiter
	for _, t := range tokens {
		ws = append(ws, r.waits(t, alone(name)))
	}
	return ws
}

// handed expects the waiter to be handed all it waits for.
func (r *room) handed(w waiter) backend.Handover {
	r.tb.Helper()
	return r.granted(w, w.names...)
}

// steady expects names to be as they were before, but for the time that has passed.
func (r *room) steady(what string, do func(), names ...string) {
	r.tb.Helper()
	look := func() []backend.LockState {
		states := r.lockStates(names...)
		for i := range states {
			s := &states[i]
			s.TTL = endless(s.TTL)
			for j := range s.Holders {
				s.Holders[j].TTL = endless(s.Holders[j].TTL)
			}
		}
		return states
	}
	before := look()
	do()
	if after := look(); !reflect.DeepEqual(before, after) {
		r.Errorf("%s has changed %q from %+v to %+v", what, names, before, after)
	}
}

// endless keeps of a TTL whether there is one, and whether it ends.
func endless(ttl time.Duration) time.Duration { return min(ttl, 1) }

// tooFew expects the error of a step that has not reached all replicas it had to, or that of a store that never has any.
func (r *room) tooFew(err error) (unsupported bool) {
	r.tb.Helper()
	if errors.Is(err, backend.ErrUnsupported) {
		return true
	}
	var few *backend.ReplicasError
	if !errors.As(err, &few) || !errors.Is(err, backend.ErrReplicas) {
		r.Fatalf("got error %v, want a ReplicasError", err)
	}
	if few.Want != backend.BatchLimit || few.Got < 0 || few.Got >= few.Want {
		r.Errorf("%d of %d replicas, out of %d", few.Got, few.Want, backend.BatchLimit)
	}
	return false
}
