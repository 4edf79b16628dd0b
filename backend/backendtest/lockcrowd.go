package backendtest

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// tally counts who is inside, as those see it who are.
type tally struct {
	mu     sync.Mutex
	alone  map[string]string
	units  map[string]int
	limit  int // of each name; 0: none
	fences map[string]int64
	broken []string
}

func newTally(limit int) *tally {
	return &tally{alone: map[string]string{}, units: map[string]int{}, limit: limit, fences: map[string]int64{}}
}

// enter notes that what was asked for was granted.
func (t *tally) enter(items []backend.LockItem, grants []backend.Grant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, it := range items {
		g := grants[i]
		t.units[it.Name] += it.Units
		switch other := t.alone[it.Name]; {
		case other != "":
			t.broken = append(t.broken, fmt.Sprintf("%s has %s, which %s has alone", g.Token, it.Name, other))
		case it.Units == 0 && t.units[it.Name] > 0:
			t.broken = append(t.broken, fmt.Sprintf("%s has %s alone, of which others have %d units", g.Token, it.Name, t.units[it.Name]))
		case t.limit > 0 && t.units[it.Name] > t.limit:
			t.broken = append(t.broken, fmt.Sprintf("%d units of %s are held, of %d", t.units[it.Name], it.Name, t.limit))
		}
		if it.Units > 0 {
			continue // those who share are told in no order
		}
		if g.Fence <= t.fences[it.Name] {
			t.broken = append(t.broken, fmt.Sprintf("%s has fence %d after %d", it.Name, g.Fence, t.fences[it.Name]))
		}
		t.alone[it.Name], t.fences[it.Name] = g.Token, g.Fence
	}
}

// leave notes that it is about to be given back.
func (t *tally) leave(items []backend.LockItem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, it := range items {
		t.units[it.Name] -= it.Units
		if it.Units == 0 {
			delete(t.alone, it.Name)
		}
	}
}

// throng runs n workers at once that take what ask says and give it back, and reports what should not have been. Then
// nothing may be held, and nobody wait.
func (r *room) throng(n, rounds, limit int, ask func(worker, round int) []backend.LockItem, take func(*tally, string, []backend.LockItem) error) {
	r.tb.Helper()
	t := newTally(limit)
	errs := make(chan error, n)
	seen := map[string]bool{}
	for worker := range n {
		for round := range rounds {
			for _, it := range ask(worker, round) {
				seen[it.Name] = true
			}
		}
		go func() {
			for round := range rounds {
				token, items := fmt.Sprintf("%d/%d", worker, round), ask(worker, round)
				if err := take(t, token, items); err != nil {
					r.withdraw(token, items)
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			r.Errorf("worker: %v", err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.broken) > 0 {
		r.Errorf("%d breaches, the first is: %s", len(t.broken), t.broken[0])
	}
	for name := range seen {
		r.inLine(name)
		r.unheld(name)
	}
}

// inside is what a holder does: it looks whether the locks are its own, and lets others have a try.
func (r *room) inside(t *tally, token string, items []backend.LockItem, grants []backend.Grant) error {
	if len(grants) != len(items) {
		return fmt.Errorf("%s got %q", token, names(grants))
	}
	t.enter(items, grants)
	runtime.Gosched()
	states, err := r.be.Holders(r.ctx, backend.HoldersRequest{Namespace: r.ns, Names: names(grants)})
	t.leave(items)
	if err != nil {
		return err
	}
	for i, s := range states {
		mine := func(h backend.LockHolder) bool { return h.Token == token && h.Units == items[i].Units }
		if items[i].Units == 0 && s.Owner != token || items[i].Units > 0 && !slices.ContainsFunc(s.Holders, mine) {
			return fmt.Errorf("%s was granted %+v, whose state is %+v", token, items[i], s)
		}
	}
	back, err := r.be.Unlock(r.ctx, backend.UnlockRequest{Namespace: r.ns, Items: held(grants)})
	if err != nil {
		return err
	}
	if slices.Contains(back.Unlocked, false) {
		return fmt.Errorf("%s could not give back all of %q", token, names(grants))
	}
	return nil
}

// withdraw gives back and gives up what a worker asked for that has failed: so nobody else waits for it, and fails, too.
func (r *room) withdraw(token string, items []backend.LockItem) {
	req := backend.LeaveRequest{Namespace: r.ns, Token: token}
	back := backend.UnlockRequest{Namespace: r.ns}
	for _, it := range items {
		req.Names = append(req.Names, it.Name)
		back.Items = append(back.Items, backend.Held{Member: it.Name, Token: token})
	}
	_, _ = r.be.Leave(r.ctx, req)
	_, _ = r.be.Unlock(r.ctx, back)
}

// tryNames takes names if they can be had.
func (r *room) tryNames(t *tally, token string, items []backend.LockItem) error {
	got, err := r.be.Lock(r.ctx, r.filledLock(backend.LockRequest{Token: token, Items: items}))
	if err != nil || len(got.Grants) == 0 {
		return err
	}
	return r.inside(t, token, items, got.Grants)
}

// acquireNames waits for names, and renews them. The claim does not end on a machine that stands still for a while, and
// does not bring back what nobody was told of.
func (r *room) acquireNames(t *tally, token string, items []backend.LockItem) error {
	got, err := r.be.Enter(r.ctx, backend.EnterRequest{
		Lock: r.filledLock(backend.LockRequest{Token: token, Items: items}), ClaimTTL: kept,
	})
	if err != nil {
		return err
	}
	if got.Handover == nil {
		return r.inside(t, token, items, got.Grants)
	}
	end := time.NewTimer(2 * patience)
	defer end.Stop()
	select {
	case over := <-got.Handover:
		if over.Err != nil {
			return over.Err
		}
		req := backend.RenewRequest{Namespace: r.ns}
		for _, g := range over.Grants {
			req.Items = append(req.Items, backend.Renewal{Member: g.Member, Token: token, TTL: long})
		}
		renewed, err := r.be.RenewLocks(r.ctx, req)
		if err != nil {
			return err
		}
		if slices.Contains(renewed.Renewed, false) {
			return fmt.Errorf("%s lost a claim of %q at once", token, names(over.Grants))
		}
		return r.inside(t, token, items, over.Grants)
	case <-end.C:
		return fmt.Errorf("%s was handed nothing in %v", token, 2*patience)
	}
}

// giveUpNames enters, and leaves at once.
func (r *room) giveUpNames(t *tally, token string, items []backend.LockItem) error {
	got, err := r.be.Enter(r.ctx, backend.EnterRequest{Lock: r.filledLock(backend.LockRequest{Token: token, Items: items})})
	if err != nil {
		return err
	}
	if got.Handover == nil {
		return r.inside(t, token, items, got.Grants)
	}
	req := backend.LeaveRequest{Namespace: r.ns, Token: token}
	for _, it := range items {
		req.Names = append(req.Names, it.Name)
	}
	_, err = r.be.Leave(r.ctx, req)
	return err
}

const oneAtATime = "Implementations are safe for concurrent use; a name is one owner's at a time, or shared."

// storm gives some of a few names, in some order.
func storm(worker, round int) []backend.LockItem {
	all := []string{"a", "b", "c", "d"}
	var items []backend.LockItem
	for i := range 1 + (worker+round)%3 {
		items = append(items, alone(all[(worker*3+round+i*(1+worker%2*2))%len(all)])...)
	}
	return items
}

var lockCrowdCases = []Case{
	{
		Name: "locks", Sentence: oneAtATime,
		check: func(r *room) { r.throng(12, 30, 0, storm, r.tryNames) },
	},
	{
		Name: "lock-line", Sentence: oneAtATime + " Nobody waits for ever.",
		check: func(r *room) {
			r.throng(12, 10, 0, func(int, int) []backend.LockItem { return alone("a") }, r.acquireNames)
		},
	},
	{
		Name: "multi", Sentence: oneAtATime + " Nobody waits for ever, whatever names he asks for together.",
		check: func(r *room) { r.throng(12, 10, 0, storm, r.acquireNames) },
	},
	{
		Name: "units", Sentence: "Limit is how many units may be held together. Nobody waits for ever.",
		check: func(r *room) {
			r.throng(12, 10, 3, func(worker, round int) []backend.LockItem {
				return units("a", 1+(worker+round)%3, 3)
			}, r.acquireNames)
		},
	},
	{
		Name: "readers", Sentence: oneAtATime + " Nobody waits for ever, be he alone or one of many.",
		check: func(r *room) {
			r.throng(12, 10, 0, func(worker, round int) []backend.LockItem {
				name := []string{"a", "b"}[worker%2]
				if (worker/2+round)%3 == 0 {
					return alone(name)
				}
				return append(units(name, 1, 0), units("both", 1, 0)...)
			}, r.acquireNames)
		},
	},
	{
		Name:     "lock-leave",
		Sentence: "A wait that is given up leaves nobody in line and nothing taken, whenever it is given up.",
		check: func(r *room) {
			r.throng(10, 14, 0, storm, func(t *tally, token string, items []backend.LockItem) error {
				if len(token)%2 == 0 || token[0]%2 == 0 {
					return r.acquireNames(t, token, items)
				}
				return r.giveUpNames(t, token, items)
			})
		},
	},
}
