package backendtest

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// holders notes who has what, as its holders see it.
type holders struct {
	mu     sync.Mutex
	by     map[string]string
	fences map[string]int64 // the last fence of each member
	broken []string
}

func (h *holders) begin(g backend.Grant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.by[g.Member]; other != "" {
		h.broken = append(h.broken, fmt.Sprintf("%s has %s, which %s has", g.Token, g.Member, other))
	}
	if g.Fence <= h.fences[g.Member] {
		h.broken = append(h.broken, fmt.Sprintf("%s has fence %d after %d", g.Member, g.Fence, h.fences[g.Member]))
	}
	h.by[g.Member], h.fences[g.Member] = g.Token, g.Fence
}

func (h *holders) end(g backend.Grant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.by, g.Member)
}

// crowd runs n workers at once; each may fail with an error. It reports members that had two holders.
func (r *room) crowd(n int, work func(worker int, h *holders) error) {
	r.tb.Helper()
	h := &holders{by: map[string]string{}, fences: map[string]int64{}}
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- work(i, h) }()
	}
	for range n {
		if err := <-errs; err != nil {
			r.Errorf("worker: %v", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.broken) > 0 {
		r.Errorf("%d breaches, the first is: %s", len(h.broken), h.broken[0])
	}
}

const exclusion = "Implementations are safe for concurrent use; a member is one holder's at a time."

var concurrencyCases = []Case{
	{
		Name: "take", Sentence: exclusion,
		check: func(r *room) {
			all := numbered(5)
			r.extend(all...)
			r.crowd(16, func(worker int, h *holders) error {
				for round := range 50 {
					token := fmt.Sprintf("%d/%d", worker, round)
					got, err := r.be.Take(r.ctx, r.filled(backend.TakeRequest{Token: token, Count: 1 + worker%3}))
					if err != nil {
						return err
					}
					var items []backend.Held
					for _, g := range got.Grants {
						h.begin(g)
						items = append(items, backend.Held{Member: g.Member, Token: token})
					}
					if len(items) == 0 {
						continue
					}
					if err := r.holds(got.Grants); err != nil {
						return err
					}
					for _, g := range got.Grants {
						h.end(g)
					}
					back, err := r.be.Return(r.ctx, backend.ReturnRequest{Namespace: r.ns, Items: items})
					if err != nil {
						return err
					}
					if slices.Contains(back.Returned, false) {
						return fmt.Errorf("%s could not give back all of %v", token, items)
					}
				}
				return nil
			})
			r.members(all...)
			r.equal("free members", len(r.take(backend.TakeRequest{Token: "end", Count: len(all)})), len(all))
		},
	},
	{
		Name: "line", Sentence: exclusion + " Nobody waits for ever.",
		check: func(r *room) {
			all := numbered(3)
			r.extend(all...)
			r.crowd(12, func(worker int, h *holders) error {
				for round := range 10 {
					if err := r.acquire(fmt.Sprintf("%d/%d", worker, round), 1+worker%3, h); err != nil {
						return err
					}
				}
				return nil
			})
			r.queued()
			r.members(all...)
			r.equal("free members", len(r.take(backend.TakeRequest{Token: "end", Count: len(all)})), len(all))
		},
	},
	{
		Name:     "leave",
		Sentence: "A wait that is given up leaves nobody in line and nothing taken, whenever it is given up.",
		check: func(r *room) {
			all := numbered(2)
			r.extend(all...)
			r.crowd(8, func(worker int, h *holders) error {
				for round := range 20 {
					token := fmt.Sprintf("%d/%d", worker, round)
					if (worker+round)%2 == 0 {
						if err := r.acquire(token, 1, h); err != nil {
							return err
						}
						continue
					}
					got, err := r.be.Enter(r.ctx, backend.EnterRequest{Take: r.filled(backend.TakeRequest{Token: token})})
					if err != nil {
						return err
					}
					if got.Handover == nil {
						_, err = r.be.Return(r.ctx, backend.ReturnRequest{Namespace: r.ns, Items: held(got.Grants)})
					} else {
						_, err = r.be.Leave(r.ctx, backend.LeaveRequest{Namespace: r.ns, Token: token})
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			r.queued()
			r.equal("free members", len(r.take(backend.TakeRequest{Token: "end", Count: len(all)})), len(all))
		},
	},
}

// acquire waits for members, renews them, and gives them back.
func (r *room) acquire(token string, count int, h *holders) error {
	got, err := r.be.Enter(r.ctx, backend.EnterRequest{
		Take: r.filled(backend.TakeRequest{Token: token, Count: count}), ClaimTTL: kept,
	})
	if err != nil {
		return err
	}
	grants := got.Grants
	if got.Handover != nil {
		end := time.NewTimer(2 * patience)
		defer end.Stop()
		select {
		case over := <-got.Handover:
			if over.Err != nil {
				return over.Err
			}
			grants = over.Grants
		case <-end.C:
			return fmt.Errorf("%s was handed nothing in %v", token, 2*patience)
		}
		req := backend.RenewRequest{Namespace: r.ns}
		for _, g := range grants {
			req.Items = append(req.Items, backend.Renewal{Member: g.Member, Token: token, TTL: long})
		}
		renewed, err := r.be.Renew(r.ctx, req)
		if err != nil {
			return err
		}
		if slices.Contains(renewed.Renewed, false) {
			return fmt.Errorf("%s lost a claim of %v at once", token, names(grants))
		}
	}
	if len(grants) != count {
		return fmt.Errorf("%s got %d members, not %d", token, len(grants), count)
	}
	for _, g := range grants {
		h.begin(g)
	}
	if err := r.holds(grants); err != nil {
		return err
	}
	for _, g := range grants {
		h.end(g)
	}
	back, err := r.be.Return(r.ctx, backend.ReturnRequest{Namespace: r.ns, Items: held(grants)})
	if err != nil {
		return err
	}
	if slices.Contains(back.Returned, false) {
		return fmt.Errorf("%s could not give back all of %v", token, names(grants))
	}
	return nil
}

// holds looks whether the locks are those of the grants, and lets others have a try in the meantime.
func (r *room) holds(grants []backend.Grant) error {
	runtime.Gosched()
	got, err := r.be.Get(r.ctx, backend.GetRequest{Namespace: r.ns, Names: names(grants)})
	if err != nil {
		return err
	}
	for i, g := range grants {
		if got[i].Value != g.Token {
			return fmt.Errorf("%s was granted %s, whose lock says %q", g.Token, g.Member, got[i].Value)
		}
	}
	return nil
}

func held(grants []backend.Grant) []backend.Held {
	var items []backend.Held
	for _, g := range grants {
		items = append(items, backend.Held{Member: g.Member, Token: g.Token})
	}
	return items
}
