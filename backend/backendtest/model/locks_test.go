package model_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

func TestLocksInMemoryAgainstItself(t *testing.T) {
	t.Parallel()
	a, b := memory.New(), memory.New()
	defer a.Close()
	defer b.Close()
	compareLocks(t, a, b)
}

func TestLocksInMemoryAgainstRedis(t *testing.T) {
	t.Parallel()
	here, redis := memory.New(), onRedis(t)
	defer here.Close()
	compareLocks(t, here, redis)
}

// namesToLock are few, so that requests meet.
var namesToLock = []string{"a", "b", "é|:", "c"}

// locks is two backends in one run about locks.
type locks struct {
	*pair
	asked map[string][]string // token -> the names that it has entered for
}

// compareLocks runs random operations on two backends. To see one run again, use -rapid.seed, or the file that rapid
// names.
func compareLocks(t *testing.T, a, b backend.Backend) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		p := locks{&pair{
			t: t, ctx: ctx, be: [2]backend.Backend{a, b},
			ns:      backend.Namespace{Prefix: "model-" + suffix(), Suffix: "lock", HashTag: rapid.Bool().Draw(t, "hash tag")},
			waiters: map[string]*waiter{}, claims: map[string]bool{},
		}, map[string][]string{}}
		defer p.end()
		t.Repeat(p.actions())
	})
}

// actions are what clients do. After each of them both sides are compared.
func (p locks) actions() map[string]func(*rapid.T) {
	actions := map[string]func(){
		"again": p.again, "by hand": p.byHand, "confirm": p.confirm, "downgrade": p.downgrade, "enter": p.enter, "enter too": p.enter,
		"force": p.force, "leave": p.leave, "limit": p.limit, "lock": p.lock, "lock briefly": p.lockBriefly, "renew": p.renew,
		"renew briefly": p.renewBriefly, "unlock": p.unlock, "unlock more": p.unlock, "unlock yet more": p.unlock,
	}
	all := map[string]func(*rapid.T){"": func(t *rapid.T) { p.t = t; p.check() }}
	for name, act := range actions {
		all[name] = func(t *rapid.T) { p.t = t; act() }
	}
	return all
}

// items draws what a request asks for, mostly with the limits that are set.
func (p locks) items(most int) []backend.LockItem {
	var items []backend.LockItem
	for _, name := range p.some(namesToLock, 1, most) {
		it := backend.LockItem{Name: name}
		if p.chance(2, "shared") {
			it.Units, it.Limit = rapid.IntRange(1, 3).Draw(p.t, "units"), p.state(0, name).Limit
			if p.chance(6, "another limit") {
				it.Limit = rapid.SampledFrom([]int{0, it.Units, 4}).Draw(p.t, "limit")
			}
			if it.Limit > 0 {
				it.Units = min(it.Units, it.Limit)
			}
		}
		items = append(items, it)
	}
	return items
}

func (p locks) request() backend.LockRequest {
	return backend.LockRequest{Namespace: p.ns, Token: p.token(), TTL: p.ttl(), Items: p.items(3)}
}

// asks asks both for names.
func (p locks) asks(what string, req backend.LockRequest) []backend.Grant {
	got := both(p.pair, what, func(ctx context.Context, be backend.Backend) (backend.LockReply, error) { return be.Lock(ctx, req) })
	p.granted(what, got[0].Grants, got[1].Grants)
	if len(got[0].Grants) != len(got[1].Grants) {
		p.mismatch(what, got[0], got[1])
	}
	return got[0].Grants
}

func (p locks) lock() { p.asks("Lock", p.request()) }

// lockBriefly takes names under a lease that then runs out.
func (p locks) lockBriefly() {
	req := p.request()
	req.TTL = fleeting
	if len(p.asks("Lock", req)) > 0 {
		p.lapsed(req.Token)
	}
}

func (p locks) unlock() {
	req := backend.UnlockRequest{Namespace: p.ns}
	for range rapid.IntRange(1, 3).Draw(p.t, "items") {
		req.Items = append(req.Items, p.held())
	}
	p.unlocks(req)
}

func (p locks) force() {
	req := backend.UnlockRequest{Namespace: p.ns, Force: true}
	for _, name := range p.some(namesToLock, 1, 2) {
		req.Items = append(req.Items, backend.Held{Member: name})
	}
	p.unlocks(req)
}

func (p locks) unlocks(req backend.UnlockRequest) {
	agree(p.pair, "Unlock", func(ctx context.Context, be backend.Backend) (backend.UnlockReply, error) { return be.Unlock(ctx, req) })
}

func (p locks) renew() {
	var items []backend.Renewal
	for range rapid.IntRange(1, 3).Draw(p.t, "items") {
		h := p.held()
		items = append(items, backend.Renewal{Member: h.Member, Token: h.Token, TTL: p.ttl()})
	}
	p.renews(items...)
}

func (p locks) renews(items ...backend.Renewal) backend.RenewReply {
	return agree(p.pair, "RenewLocks", func(ctx context.Context, be backend.Backend) (backend.RenewReply, error) {
		return be.RenewLocks(ctx, backend.RenewRequest{Namespace: p.ns, Items: items})
	})
}

// renewBriefly lets a lease run out that was to last longer, unless it was granted again.
func (p locks) renewBriefly() {
	h := p.held()
	if p.renews(backend.Renewal{Member: h.Member, Token: h.Token, TTL: fleeting}).Renewed[0] && !p.lasts(h) {
		p.lapsed(h.Token, h.Member)
	}
}

// lasts reports whether a token holds a name for longer than a moment.
func (p locks) lasts(h backend.Held) bool {
	s := p.state(0, h.Member)
	left := s.TTL
	for _, holder := range s.Holders {
		if holder.Token == h.Token {
			left = holder.TTL
		}
	}
	held := s.Owner == h.Token || slices.ContainsFunc(s.Holders, func(o backend.LockHolder) bool { return o.Token == h.Token })
	return held && (left == backend.NoExpiry || left > 10*fleeting)
}

func (p locks) limit() {
	req := backend.LimitRequest{
		Namespace: p.ns, Name: rapid.SampledFrom(namesToLock).Draw(p.t, "name"), Limit: rapid.IntRange(0, 4).Draw(p.t, "limit"),
	}
	agree(p.pair, "SetLimit", func(ctx context.Context, be backend.Backend) (struct{}, error) {
		return struct{}{}, be.SetLimit(ctx, req)
	})
}

// byHand does what Python and administrators do. Who waits finds that out in a quarter of a second, so it is done less often
// then.
func (p locks) byHand() {
	if len(p.waiters) > 0 && !p.chance(4, "without a word") {
		p.t.Skip("somebody waits")
	}
	name := rapid.SampledFrom(namesToLock).Draw(p.t, "name")
	if p.chance(2, "delete") {
		agree(p.pair, "Delete", func(ctx context.Context, be backend.Backend) (backend.DeleteReply, error) {
			return be.Delete(ctx, backend.DeleteRequest{Namespace: p.ns, Items: []backend.DeleteItem{{Name: name}}})
		})
		return
	}
	it := backend.SetItem{Name: name, Value: rapid.SampledFrom([]string{"1", "hand"}).Draw(p.t, "value"), TTL: p.ttl()}
	it.Cond = rapid.SampledFrom([]backend.Condition{backend.Always, backend.IfAbsent}).Draw(p.t, "condition")
	if p.chance(4, "briefly") {
		it.TTL = fleeting
	}
	set := agree(p.pair, "Set", func(ctx context.Context, be backend.Backend) (backend.SetReply, error) {
		return be.Set(ctx, backend.SetRequest{Namespace: p.ns, Items: []backend.SetItem{it}})
	})
	if set.Set[0] && it.TTL == fleeting {
		p.lapsed(it.Value, name)
	}
}

// holding lists who holds what on the first side.
func (p locks) holding() []backend.Held {
	var all []backend.Held
	for _, name := range namesToLock {
		s := p.state(0, name)
		if s.Owner != "" {
			all = append(all, backend.Held{Member: name, Token: s.Owner})
		}
		shared := len(all)
		for _, h := range s.Holders {
			all = append(all, backend.Held{Member: name, Token: h.Token})
		}
		slices.SortFunc(all[shared:], func(a, b backend.Held) int { return strings.Compare(a.Token, b.Token) })
	}
	return all
}

// held draws a name and a token: mostly ones that belong together.
func (p locks) held() backend.Held {
	if all := p.holding(); len(all) > 0 && !p.chance(5, "stranger") {
		return rapid.SampledFrom(all).Draw(p.t, "held")
	}
	return backend.Held{Member: rapid.SampledFrom(namesToLock).Draw(p.t, "name"), Token: p.known()}
}

// lapsed waits until a token holds nothing any more on either side, or none of some names.
func (p locks) lapsed(token string, names ...string) {
	if len(names) == 0 {
		names = namesToLock
	}
	p.until("that a lease runs out", func() bool {
		for side := range p.be {
			for _, name := range names {
				s := p.state(side, name)
				if s.Owner == token || slices.ContainsFunc(s.Holders, func(h backend.LockHolder) bool { return h.Token == token }) {
					return false
				}
			}
		}
		return true
	})
}

// state looks at one name.
func (p locks) state(side int, name string) backend.LockState { return p.states(side, name)[0] }

func (p locks) states(side int, names ...string) []backend.LockState {
	p.t.Helper()
	got, err := p.be[side].Holders(p.ctx, backend.HoldersRequest{Namespace: p.ns, Names: names})
	if err != nil {
		p.t.Fatalf("Holders: %v", err)
	}
	return got
}

// end lets nobody wait when the run is over, and nothing be held.
func (p locks) end() {
	for _, be := range p.be {
		for token := range p.waiters {
			_, _ = be.Leave(p.ctx, backend.LeaveRequest{Namespace: p.ns, Token: token, Names: p.asked[token]})
		}
		for _, name := range namesToLock {
			_ = be.SetLimit(p.ctx, backend.LimitRequest{Namespace: p.ns, Name: name})
			_, _ = be.Unlock(p.ctx, backend.UnlockRequest{Namespace: p.ns, Force: true, Items: []backend.Held{{Member: name}}})
		}
	}
}

// endless keeps of a TTL whether there is one, and whether it ends.
func endless(ttl time.Duration) time.Duration { return min(ttl, 1) }
