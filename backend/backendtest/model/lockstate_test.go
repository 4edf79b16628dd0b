package model_test

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// lockStates is what can be compared of the locks of two sides: no clocks, no fences.
type lockStates struct {
	Names  []backend.LockState
	Values map[string]value
	Queues [][]backend.Waiter
}

// look reads the state of one side, and checks that it agrees with itself.
func (p locks) look(side int) lockStates {
	p.t.Helper()
	s := lockStates{Names: p.states(side, namesToLock...), Values: p.values(p.be[side], backend.KindLock, namesToLock)}
	for i := range s.Names {
		n := &s.Names[i]
		sum := 0
		for j := range n.Holders {
			h := &n.Holders[j]
			if j > 0 && n.Holders[j-1].TTL != backend.NoExpiry && h.TTL != backend.NoExpiry && h.TTL < n.Holders[j-1].TTL {
				p.t.Fatalf("side %d has the holders of %q out of order: %+v", side, namesToLock[i], n.Holders)
			}
			sum += h.Units
		}
		if sum != n.Units || n.Locked != (n.Owner != "" || sum > 0) || n.Owner != "" && sum > 0 {
			p.t.Fatalf("side %d has %q in disorder: %+v", side, namesToLock[i], *n)
		}
		for j := range n.Holders {
			n.Holders[j].TTL = endless(n.Holders[j].TTL)
		}
		// Those who end in the same millisecond come in any order.
		slices.SortFunc(n.Holders, func(a, b backend.LockHolder) int { return cmp.Compare(a.Token, b.Token) })
		n.TTL = endless(n.TTL)
		s.Queues = append(s.Queues, p.queue(side, namesToLock[i]))
	}
	return s
}

// queue reads the line of a name.
func (p locks) queue(side int, name string) []backend.Waiter {
	p.t.Helper()
	got, err := p.be[side].Queue(p.ctx, backend.QueueRequest{Namespace: p.ns, Name: name, Limit: backend.BatchLimit})
	if err != nil {
		p.t.Fatalf("Queue: %v", err)
	}
	if got.Length != len(got.Waiters) {
		p.t.Fatalf("side %d: the line of %q has length %d and %d waiters", side, name, got.Length, len(got.Waiters))
	}
	for i := range got.Waiters {
		got.Waiters[i].Since = time.Time{}
	}
	return got.Waiters
}

// check compares both sides. While requests wait, a backend does some things by itself in its own time: then both get the
// time to become equal.
func (p locks) check() {
	defer func() { p.settled = p.fences }()
	if len(p.waiters) == 0 && !p.fleetingClaims() {
		if a, b := p.look(0), p.look(1); !reflect.DeepEqual(a, b) {
			p.mismatch("state", a, b)
		}
		return
	}
	var a, b lockStates
	defer func() {
		if !reflect.DeepEqual(a, b) {
			p.t.Logf("the first is\n%+v\nthe second is\n%+v", a, b)
		}
	}()
	p.until("that both sides become equal", func() bool {
		a, b = p.look(0), p.look(1)
		return reflect.DeepEqual(a, b) && !p.fleetingIn(a) && !p.due(a)
	})
	var queue []backend.Waiter
	for _, q := range a.Queues {
		queue = append(queue, q...)
	}
	p.handovers(state{Queue: queue})
}

// fleetingIn reports whether a claim is still there that nobody will take up.
func (p locks) fleetingIn(s lockStates) bool {
	for _, n := range s.Names {
		if w := p.waiters[n.Owner]; w != nil && w.fleeting {
			return true
		}
		for _, h := range n.Holders {
			if w := p.waiters[h.Token]; w != nil && w.fleeting {
				return true
			}
		}
	}
	return false
}

// due reports whether somebody's wait is about to end: all that he waits for can be had, or some of it never again. A lease
// has run out then, on both sides, and neither has noticed yet.
func (p locks) due(s lockStates) bool {
	for token, w := range p.waiters {
		first, room, refused := true, true, false
		for _, it := range w.items {
			i := slices.Index(namesToLock, it.Name)
			n, q := s.Names[i], s.Queues[i]
			first = first && len(q) > 0 && q[0].Token == token
			limit := cmp.Or(n.Limit, it.Limit)
			room = room && (!n.Locked || n.Owner == "" && it.Units > 0) && (limit == 0 || n.Units+it.Units <= limit)
			refused = refused || n.Limit > 0 && n.Limit < it.Units
		}
		if first && (room || refused) {
			return true
		}
	}
	return false
}
