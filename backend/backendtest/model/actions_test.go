package model_test

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

func sortHeld(all []backend.Held) {
	slices.SortFunc(all, func(a, b backend.Held) int { return cmp.Compare(a.Member, b.Member) })
}

// actions are what clients do. After each of them both sides are compared. Names that come early in the alphabet are
// drawn more often, and so are those of one group together.
func (p *pair) actions() map[string]func(*rapid.T) {
	one := func(of ...func()) func() {
		return func() { of[rapid.IntRange(0, len(of)-1).Draw(p.t, "which")]() }
	}
	actions := map[string]func(){
		"acquire": p.enter, "acquire briefly": p.takeBriefly, "acquire only": p.takeOnly, "acquire some": p.takeSome,
		"collect": p.collect, "confirm": p.confirm, "edit": one(p.extend, p.extend, p.shrink, p.assign),
		"expire": p.expire, "force": p.force, "leave": p.leave, "renew": p.renew, "renew briefly": p.renewBriefly,
		"return": p.giveBack, "return more": p.giveBack, "set": one(p.add, p.remove, p.replace),
		"touch": one(p.set, p.delete, p.bind),
	}
	all := map[string]func(*rapid.T){"": func(t *rapid.T) { p.t = t; p.check() }}
	for name, act := range actions {
		all[name] = func(t *rapid.T) { p.t = t; act() }
	}
	return all
}

func (p *pair) extend() {
	req := backend.ExtendRequest{Namespace: p.ns, Members: p.some(memberNames, 0, 4), TTL: p.ttl()}
	agree(p, "Extend", func(ctx context.Context, be backend.Backend) (backend.EditReply, error) { return be.Extend(ctx, req) })
}

func (p *pair) shrink() {
	req := backend.ShrinkRequest{Namespace: p.ns, Members: p.some(memberNames, 0, 3)}
	agree(p, "Shrink", func(ctx context.Context, be backend.Backend) (backend.EditReply, error) { return be.Shrink(ctx, req) })
}

func (p *pair) assign() {
	req := backend.ExtendRequest{Namespace: p.ns, Members: p.some(memberNames, 0, 6), TTL: p.ttl()}
	agree(p, "Assign", func(ctx context.Context, be backend.Backend) (backend.EditReply, error) { return be.Assign(ctx, req) })
}

func (p *pair) takes(req backend.TakeRequest) []backend.Grant {
	got := both(p, "Take", func(ctx context.Context, be backend.Backend) (backend.TakeReply, error) { return be.Take(ctx, req) })
	p.granted("Take", got[0].Grants, got[1].Grants)
	return got[0].Grants
}

func (p *pair) takeSome() { p.takes(p.take()) }

func (p *pair) takeOnly() {
	req := p.take()
	req.Only, req.Prefer, req.Binding = true, p.some(memberNames, 1, 3), ""
	if p.chance(3, "quarantine") {
		req.Token = backend.QuarantineToken(req.Token)
	}
	p.takes(req)
}

// takeBriefly takes members whose lease then runs out.
func (p *pair) takeBriefly() {
	req := p.take()
	req.TTL = fleeting
	if p.chance(2, "only") {
		req.Only, req.Prefer, req.Binding = true, p.some(memberNames, 1, 3), ""
	}
	grants := p.takes(req)
	if !req.Shared {
		p.gone(grants...)
	}
}

// gone waits until leases have run out on both sides.
func (p *pair) gone(grants ...backend.Grant) {
	p.until("that leases run out", func() bool {
		for _, g := range grants {
			for _, be := range p.be {
				if v := p.values(be, backend.KindLock, []string{g.Member}); v[g.Member].Value == g.Token {
					return false
				}
			}
		}
		return true
	})
}

func (p *pair) giveBack() {
	req := backend.ReturnRequest{Namespace: p.ns}
	for range rapid.IntRange(1, 3).Draw(p.t, "items") {
		req.Items = append(req.Items, p.held())
	}
	agree(p, "Return", func(ctx context.Context, be backend.Backend) (backend.ReturnReply, error) { return be.Return(ctx, req) })
}

func (p *pair) force() {
	req := backend.ReturnRequest{Namespace: p.ns, Force: true, MemberTTL: p.ttl()}
	for _, m := range p.some(lockNamesForPools, 1, 3) {
		req.Items = append(req.Items, backend.Held{Member: m})
	}
	agree(p, "Return by force", func(ctx context.Context, be backend.Backend) (backend.ReturnReply, error) {
		return be.Return(ctx, req)
	})
}

// lockNamesForPools are names of locks that could be members.
var lockNamesForPools = append([]string{"other"}, memberNames...)

func (p *pair) renew() {
	req := backend.RenewRequest{Namespace: p.ns}
	seen := map[string]bool{}
	for range rapid.IntRange(1, 3).Draw(p.t, "items") {
		h := p.held()
		if seen[h.Member] {
			continue
		}
		seen[h.Member] = true
		it := backend.Renewal{Member: h.Member, Token: h.Token, TTL: p.ttl()}
		if p.chance(4, "new token") && !p.claims[h.Token] && !byHand(h.Token) {
			it.NewToken = backend.QuarantineToken(p.token())
			if backend.IsQuarantine(h.Token) {
				it.NewToken = p.token()
			}
		}
		req.Items = append(req.Items, it)
	}
	p.renews(req)
}

func (p *pair) renews(req backend.RenewRequest) backend.RenewReply {
	return agree(p, "Renew", func(ctx context.Context, be backend.Backend) (backend.RenewReply, error) { return be.Renew(ctx, req) })
}

// renewBriefly lets a lease run out that was to last longer.
func (p *pair) renewBriefly() {
	h := p.held()
	got := p.renews(backend.RenewRequest{Namespace: p.ns, Items: []backend.Renewal{{Member: h.Member, Token: h.Token, TTL: fleeting}}})
	if got.Renewed[0] {
		p.gone(backend.Grant{Member: h.Member, Token: h.Token})
	}
}

func (p *pair) collect() {
	if len(p.waiters) > 0 {
		p.collectBoth() // one of them may have done so by itself already
		return
	}
	agree(p, "Collect", func(ctx context.Context, be backend.Backend) (backend.CollectReply, error) {
		return be.Collect(ctx, backend.CollectRequest{Namespace: p.ns, Count: backend.BatchLimit})
	})
}

// expire lets memberships end. It takes more than a second, so only some runs do it, once.
func (p *pair) expire() {
	if !p.expires || len(p.waiters) > 0 {
		p.t.Skip("not in this run")
	}
	p.expires = false
	members := p.some(memberNames, 1, 4)
	agree(p, "Extend", func(ctx context.Context, be backend.Backend) (backend.EditReply, error) {
		return be.Extend(ctx, backend.ExtendRequest{Namespace: p.ns, Members: members, TTL: time.Millisecond})
	})
	p.until("that members expire", func() bool {
		for _, be := range p.be {
			pool, err := be.Inspect(p.ctx, backend.InspectRequest{Namespace: p.ns, Only: members})
			if err != nil {
				p.t.Fatalf("Inspect: %v", err)
			}
			for _, m := range pool.Members {
				if time.Since(m.Expiry) < 100*time.Millisecond {
					return false
				}
			}
		}
		return true
	})
}

func (p *pair) enter() {
	if p.look(0).orphaned() {
		p.collectBoth()
	}
	req := backend.EnterRequest{
		Take: p.take(), Priority: rapid.IntRange(-1, 1).Draw(p.t, "priority"), ClaimTTL: long,
	}
	brief := p.chance(4, "fleeting") && !p.fleetingClaims() && !req.Take.Shared
	if brief {
		req.ClaimTTL, req.Take.TTL = fleetingClaim, long
	}
	got := both(p, "Enter", func(ctx context.Context, be backend.Backend) (backend.EnterReply, error) { return be.Enter(ctx, req) })
	if (got[0].Handover == nil) != (got[1].Handover == nil) {
		p.mismatch("Enter", got[0], got[1])
	}
	p.granted("Enter", got[0].Grants, got[1].Grants)
	if got[0].Handover != nil {
		p.waiters[req.Take.Token] = &waiter{
			handover: [2]<-chan backend.Handover{got[0].Handover, got[1].Handover}, fleeting: brief,
		}
	}
}

// leave gives up a wait, or what a wait has brought, or something that never was.
func (p *pair) leave() {
	tokens := []string{"nobody"}
	for token := range p.waiters {
		tokens = append(tokens, token)
	}
	for token := range p.claims {
		tokens = append(tokens, token)
	}
	slices.Sort(tokens)
	token := rapid.SampledFrom(tokens).Draw(p.t, "token")
	agree(p, "Leave", func(ctx context.Context, be backend.Backend) (backend.LeaveReply, error) {
		return be.Leave(ctx, backend.LeaveRequest{Namespace: p.ns, Token: token})
	})
	delete(p.waiters, token)
}

// confirm renews what a wait has brought, all of it or a part.
func (p *pair) confirm() {
	req := backend.RenewRequest{Namespace: p.ns}
	for name, m := range p.look(0).Pool.Members {
		if m.Locked && p.claims[m.Owner] {
			req.Items = append(req.Items, backend.Renewal{Member: name, Token: m.Owner, TTL: long})
		}
	}
	if len(req.Items) == 0 {
		p.t.Skip("nobody was handed anything")
	}
	slices.SortFunc(req.Items, func(a, b backend.Renewal) int { return cmp.Compare(a.Member, b.Member) })
	req.Items = req.Items[:rapid.IntRange(1, len(req.Items)).Draw(p.t, "how many")]
	p.renews(req)
}
