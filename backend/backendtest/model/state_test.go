package model_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// state is what can be compared of two sides: no clocks, no fences.
type state struct {
	Pool     poolState
	Locks    map[string]value
	Bindings map[string]value
	Queue    []backend.Waiter
	Scanned  []string // names of locks
	Set      []string
}

type poolState struct {
	Head, Tail     string
	Total, Waiting int
	Members        map[string]memberState
}

type memberState struct {
	Prev, Next, Owner        string
	Expires, Locked, Endless bool
	Lease                    bool // has a deadline
}

type value struct {
	Value   string
	Endless bool
}

// look reads the state of one side and checks the invariants of its pool.
func (p *pair) look(side int) state {
	p.t.Helper()
	be := p.be[side]
	pool, err := be.Inspect(p.ctx, backend.InspectRequest{Namespace: p.ns})
	if err != nil {
		p.t.Fatalf("Inspect: %v", err)
	}
	if broken := backend.CheckPool(pool, false); len(broken) > 0 {
		p.t.Fatalf("side %d is broken: %s", side, strings.Join(broken, "; "))
	}
	s := state{Pool: poolState{
		Head: pool.Head, Tail: pool.Tail, Total: pool.Total, Waiting: pool.Waiting, Members: map[string]memberState{},
	}}
	for _, m := range pool.Members {
		s.Pool.Members[m.Name] = memberState{
			Prev: m.Prev, Next: m.Next, Owner: m.Owner, Expires: !m.Expiry.IsZero(), Locked: m.Locked,
			Endless: m.TTL == backend.NoExpiry,
			Lease:   m.Locked && !byHand(m.Owner) && !m.Deadline.IsZero(),
		}
		if m.Free() && m.Locked && !byHand(m.Owner) {
			p.t.Fatalf("side %d has %q free, and leased by %q", side, m.Name, m.Owner)
		}
	}
	s.Locks = p.values(be, backend.KindLock, lockNames)
	s.Bindings = p.values(be, backend.KindBinding, bindNames)
	queue, err := be.Queue(p.ctx, backend.QueueRequest{Namespace: p.ns, Limit: backend.BatchLimit})
	if err != nil {
		p.t.Fatalf("Queue: %v", err)
	}
	if queue.Length != len(queue.Waiters) {
		p.t.Fatalf("side %d: the line has length %d and %d waiters", side, queue.Length, len(queue.Waiters))
	}
	for i, w := range queue.Waiters {
		one, err := be.Queue(p.ctx, backend.QueueRequest{Namespace: p.ns, Token: w.Token})
		if err == nil && one.Position > i+1 { // the line may have moved on meanwhile
			p.t.Fatalf("side %d has %s at %d, and says %d", side, w.Token, i+1, one.Position)
		}
		w.Since = time.Time{}
		s.Queue = append(s.Queue, w)
	}
	s.Scanned = p.scan(be)
	set, err := be.Members(p.ctx, backend.MembersRequest{Namespace: p.setSpace()})
	if err != nil || set.Cursor != "" {
		p.t.Fatalf("Members: cursor %q, %v", set.Cursor, err)
	}
	s.Set = slices.Sorted(slices.Values(set.Names))
	return s
}

// scan lists the names of all locks.
func (p *pair) scan(be backend.Backend) []string {
	var names []string
	req := backend.ScanRequest{Namespace: p.ns, Limit: backend.BatchLimit}
	for {
		page, err := be.Scan(p.ctx, req)
		if err != nil {
			p.t.Fatalf("Scan: %v", err)
		}
		names = append(names, page.Names...)
		if req.Cursor = page.Cursor; req.Cursor == "" {
			slices.Sort(names)
			return slices.Compact(names)
		}
	}
}

// orphaned reports whether there is a member that is neither free nor locked.
func (s state) orphaned() bool {
	for _, m := range s.Pool.Members {
		if m.Prev == backend.Allocated && !m.Locked {
			return true
		}
	}
	return false
}

func (p *pair) values(be backend.Backend, kind backend.Kind, names []string) map[string]value {
	p.t.Helper()
	got, err := be.Get(p.ctx, backend.GetRequest{Namespace: p.ns, Kind: kind, Names: names})
	if err != nil {
		p.t.Fatalf("Get: %v", err)
	}
	values := map[string]value{}
	for i, v := range got {
		if v.Exists {
			values[names[i]] = value{v.Value, v.TTL == backend.NoExpiry}
		}
	}
	return values
}

// check compares both sides. While requests wait, a backend does some things by itself in its own time: then both are
// asked to collect, and get the time to become equal.
func (p *pair) check() {
	defer func() { p.settled = p.fences }()
	if len(p.waiters) == 0 && !p.fleetingClaims() {
		if a, b := p.look(0), p.look(1); !reflect.DeepEqual(a, b) {
			p.mismatch("state", a, b)
		}
		return
	}
	var a, b state
	defer func() {
		if !reflect.DeepEqual(a, b) {
			p.t.Logf("the first is\n%+v\nthe second is\n%+v", a, b)
		}
	}()
	p.until("that both sides become equal", func() bool {
		p.collectBoth()
		a, b = p.look(0), p.look(1)
		return reflect.DeepEqual(a, b) && !a.orphaned() && !p.fleetingIn(a)
	})
	p.handovers(a)
}

// collectBoth lets both sides do what is to be done, whatever they say.
func (p *pair) collectBoth() {
	p.t.Helper()
	both(p, "Collect", func(ctx context.Context, be backend.Backend) (backend.CollectReply, error) {
		return be.Collect(ctx, backend.CollectRequest{Namespace: p.ns, Count: backend.BatchLimit})
	})
}

// fleetingIn reports whether a claim is still there that nobody will take up.
func (p *pair) fleetingIn(s state) bool {
	for _, m := range s.Pool.Members {
		if w := p.waiters[m.Owner]; m.Locked && w != nil && w.fleeting {
			return true
		}
	}
	return false
}

func (p *pair) fleetingClaims() bool {
	for _, w := range p.waiters {
		if w.fleeting {
			return true
		}
	}
	return false
}

// handovers receives what those were handed that do not wait any more. Their fences were drawn in the last step, before or
// after those that its reply brought.
func (p *pair) handovers(s state) {
	p.t.Helper()
	waiting := map[string]bool{}
	for _, w := range s.Queue {
		waiting[w.Token] = true
	}
	for i, w := range s.Queue {
		if p.waiters[w.Token] == nil {
			p.t.Fatalf("%s stands in line at %d and has left", w.Token, i+1)
		}
	}
	var largest [2]int64
	for token, w := range p.waiters {
		if waiting[token] {
			continue
		}
		delete(p.waiters, token)
		p.claims[token] = true
		var got [2]backend.Handover
		for i := range got {
			select {
			case got[i] = <-w.handover[i]:
			case <-time.After(patience):
				p.t.Fatalf("side %d never told %s what it was handed", i, token)
			}
			if err := got[i].Err; err != nil && !errors.Is(err, backend.ErrLimit) {
				p.t.Fatalf("side %d ended the wait of %s: %v", i, token, err)
			}
			for j := range got[i].Grants {
				g := &got[i].Grants[j]
				if g.Fence != 0 && g.Fence <= p.settled[i] {
					p.t.Fatalf("side %d handed %s fence %d after %d", i, token, g.Fence, p.settled[i])
				}
				largest[i] = max(largest[i], g.Fence)
				g.Fence = min(g.Fence, 1)
			}
		}
		p.sameError("hand-over to "+token, [2]error{got[0].Err, got[1].Err})
		if !reflect.DeepEqual(got[0].Grants, got[1].Grants) {
			p.mismatch("hand-over to "+token, got[0], got[1])
		}
	}
	for i := range largest {
		p.fences[i] = max(p.fences[i], largest[i])
	}
}

// end lets nobody wait when the run is over, and leaves little to scan for the next.
func (p *pair) end() {
	items := make([]backend.DeleteItem, len(lockNames))
	for i, n := range lockNames {
		items[i].Name = n
	}
	for _, be := range p.be {
		for token := range p.waiters {
			_, _ = be.Leave(p.ctx, backend.LeaveRequest{Namespace: p.ns, Token: token})
		}
		_, _ = be.Assign(p.ctx, backend.ExtendRequest{Namespace: p.ns, TTL: backend.NoExpiry})
		_, _ = be.Delete(p.ctx, backend.DeleteRequest{Namespace: p.ns, Items: items})
		_ = be.Replace(p.ctx, backend.SetEdit{Namespace: p.setSpace()})
	}
}
