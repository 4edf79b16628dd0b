package model_test

import (
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

var (
	memberNames = []string{"a", "b", "c", "d", "é|", `'"]]`, "g:h", "{i}"}
	lockNames   = append([]string{"free||lock", "other"}, memberNames...)
	bindNames   = []string{"n1", "n 2|"}
	handValues  = []string{"hand", "", "1", "5", "-2.5", "5.0000005", "1e3", "0x10"}
	operands    = []string{"hand", "", "5", "4.9999995", "-2", "1000"}
)

// byHand tells locks that were set by hand from leases: those have tokens.
func byHand(owner string) bool {
	return !strings.HasPrefix(strings.TrimPrefix(owner, backend.QuarantinePrefix), "t")
}

// some draws from lo to hi different names.
func (p *pair) some(names []string, lo, hi int) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(names), lo, hi, rapid.ID[string]).Draw(p.t, "names")
}

func (p *pair) chance(of int, label string) bool { return rapid.IntRange(1, of).Draw(p.t, label) == 1 }

func (p *pair) ttl() time.Duration {
	return rapid.SampledFrom([]time.Duration{long, 2 * long, backend.NoExpiry}).Draw(p.t, "ttl")
}

// known draws a token that was drawn before, or one that nobody has.
func (p *pair) known() string {
	return rapid.SampledFrom(append([]string{"nobody"}, p.tokens...)).Draw(p.t, "token")
}

// held draws a member and a token: mostly ones that belong together.
func (p *pair) held() backend.Held {
	if !p.chance(4, "stranger") {
		var all []backend.Held
		pool, err := p.be[0].Inspect(p.ctx, backend.InspectRequest{Namespace: p.ns})
		if err != nil {
			p.t.Fatalf("Inspect: %v", err)
		}
		for _, m := range pool.Members {
			if m.Locked && m.Owner != "" {
				all = append(all, backend.Held{Member: m.Name, Token: m.Owner})
			}
		}
		if len(all) > 0 {
			// The order of Inspect is the backend's own: draw by name.
			sortHeld(all)
			return rapid.SampledFrom(all).Draw(p.t, "held")
		}
	}
	return backend.Held{Member: rapid.SampledFrom(memberNames).Draw(p.t, "member"), Token: p.known()}
}

// take draws a request.
func (p *pair) take() backend.TakeRequest {
	req := backend.TakeRequest{Namespace: p.ns, Token: p.token(), TTL: p.ttl()}
	req.Shared = p.chance(5, "shared")
	if p.chance(3, "bound") {
		req.Binding, req.BindingTTL = rapid.SampledFrom(bindNames).Draw(p.t, "binding"), p.ttl()
	} else {
		req.Count = rapid.IntRange(0, 3).Draw(p.t, "count")
	}
	if p.chance(3, "preferring") {
		req.Prefer = p.some(memberNames, 1, 3)
	}
	if p.chance(5, "collecting") {
		req.Collect = backend.BatchLimit
	}
	return req
}
