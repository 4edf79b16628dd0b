package model_test

import (
	"context"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

// What owners do with names that they have, or wait for.

// again asks under a token that has something already, for the same or for more. How often it has something is not told
// apart from before, where the same value was removed and set again by hand: that is not done here.
func (p locks) again() {
	held := slices.DeleteFunc(p.holding(), func(h backend.Held) bool { return byHand(h.Token) })
	if len(held) == 0 {
		p.t.Skip("nobody holds anything")
	}
	h := rapid.SampledFrom(held).Draw(p.t, "held")
	req := backend.LockRequest{Namespace: p.ns, Token: h.Token, TTL: p.ttl(), Again: !p.chance(5, "without Again")}
	items := p.items(2)
	if !p.chance(4, "in another way") {
		s := p.state(0, h.Member)
		it := backend.LockItem{Name: h.Member}
		for _, other := range s.Holders {
			if other.Token == h.Token {
				it.Units, it.Limit = other.Units, s.Limit
			}
		}
		items = slices.DeleteFunc(items, func(other backend.LockItem) bool { return other.Name == it.Name })
		if items = append(items[:min(len(items), 1)], it); p.chance(2, "alone") {
			items = items[len(items)-1:]
		}
	}
	if it := items[len(items)-1]; it.Limit > 0 && it.Units > it.Limit {
		p.t.Skip("holds more than the limit")
	}
	req.Items = items
	p.asks("Lock again", req)
}

func (p locks) downgrade() {
	var alone []backend.Held
	for _, h := range p.holding() {
		if p.state(0, h.Member).Owner == h.Token {
			alone = append(alone, h)
		}
	}
	if len(alone) == 0 {
		p.t.Skip("nobody holds anything alone")
	}
	h := rapid.SampledFrom(alone).Draw(p.t, "held")
	p.asks("Downgrade", backend.LockRequest{
		Namespace: p.ns, Token: h.Token, TTL: p.ttl(), Downgrade: true,
		Items: []backend.LockItem{{Name: h.Member, Units: 1, Limit: p.state(0, h.Member).Limit}},
	})
}

func (p locks) enter() {
	req := backend.EnterRequest{Lock: p.request(), Priority: rapid.IntRange(-1, 1).Draw(p.t, "priority"), ClaimTTL: long}
	brief := p.chance(5, "fleeting") && !p.fleetingClaims()
	if brief {
		req.ClaimTTL, req.Lock.TTL = fleetingClaim, long
	}
	got := both(p.pair, "Enter", func(ctx context.Context, be backend.Backend) (backend.EnterReply, error) { return be.Enter(ctx, req) })
	if (got[0].Handover == nil) != (got[1].Handover == nil) {
		p.mismatch(fmt.Sprintf("Enter %+v", req), got[0], got[1])
	}
	p.granted("Enter", got[0].Grants, got[1].Grants)
	for _, it := range req.Lock.Items {
		p.asked[req.Lock.Token] = append(p.asked[req.Lock.Token], it.Name)
	}
	if got[0].Handover != nil {
		p.waiters[req.Lock.Token] = &waiter{
			handover: [2]<-chan backend.Handover{got[0].Handover, got[1].Handover}, fleeting: brief, items: req.Lock.Items,
		}
	}
}

// leave gives up a wait, or what a wait has brought, or what was granted at once.
func (p locks) leave() {
	tokens := []string{"nobody"}
	for token := range p.asked {
		tokens = append(tokens, token)
	}
	slices.Sort(tokens)
	token := rapid.SampledFrom(tokens).Draw(p.t, "token")
	names := p.asked[token]
	if names == nil {
		names = namesToLock
	}
	agree(p.pair, "Leave", func(ctx context.Context, be backend.Backend) (backend.LeaveReply, error) {
		return be.Leave(ctx, backend.LeaveRequest{Namespace: p.ns, Token: token, Names: names})
	})
	delete(p.waiters, token)
}

// confirm renews what a wait has brought, all of it or a part.
func (p locks) confirm() {
	var items []backend.Renewal
	for _, h := range p.holding() {
		if p.claims[h.Token] {
			items = append(items, backend.Renewal{Member: h.Member, Token: h.Token, TTL: long})
		}
	}
	if len(items) == 0 {
		p.t.Skip("nobody was handed anything")
	}
	p.renews(items[:rapid.IntRange(1, len(items)).Draw(p.t, "how many")]...)
}
