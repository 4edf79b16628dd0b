package memory

import (
	"cmp"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// line is who waits for one thing, the pool or a name: for each priority a queue, the most important first.
type line struct {
	classes []*class
	n       int

	// Of a name alone:
	e       *entry
	at      instant // when something of it ends, at the earliest
	wake    int     // place in space.wakes, from 1; 0: none
	stirred bool    // is in space.stirred
}

// class is the waiters of one priority in the order of their arrival.
type class struct {
	priority   int
	head, tail *spot
	n          int
}

// waiter is one request that waits.
type waiter struct {
	req      backend.EnterRequest // its TTL is that of the claim
	since    instant
	handover chan backend.Handover
	spots    []spot // one in each of its lines
	room     [1]spot
}

// spot is where a waiter stands in one line.
type spot struct {
	*waiter
	line       *line
	class      *class
	prev, next *spot
}

// newWaiter gives the waiter of a request for n things.
func newWaiter(req *backend.EnterRequest, n int, now instant) *waiter {
	w := &waiter{req: *req, since: now, handover: make(chan backend.Handover, 1)}
	if w.spots = w.room[:]; n > 1 {
		w.spots = make([]spot, n)
	}
	if w.req.ClaimTTL == 0 {
		w.req.ClaimTTL = backend.DefaultClaimTTL
	}
	w.req.Take.TTL, w.req.Lock.TTL = w.req.ClaimTTL, w.req.ClaimTTL
	w.req.Take.Prefer = slices.Clone(req.Take.Prefer) // the caller's to change
	w.req.Lock.Items = slices.Clone(req.Lock.Items)
	return w
}

// first gives the spot of whoever is next, nil if nobody waits.
func (l *line) first() *spot {
	if len(l.classes) == 0 {
		return nil
	}
	return l.classes[0].head
}

// blocks reports whether somebody waits whom a request of this priority must not overtake.
func (l *line) blocks(priority int) bool { return l.n > 0 && l.classes[0].priority >= priority }

// join puts w at the end of its class, in the spot p of its own.
func (l *line) join(w *waiter, p *spot) {
	i, ok := slices.BinarySearchFunc(l.classes, w.req.Priority, func(c *class, priority int) int {
		return cmp.Compare(priority, c.priority)
	})
	if !ok {
		l.classes = slices.Insert(l.classes, i, &class{priority: w.req.Priority})
	}
	c := l.classes[i]
	*p = spot{waiter: w, line: l, class: c, prev: c.tail}
	if c.tail == nil {
		c.head = p
	} else {
		c.tail.next = p
	}
	c.tail = p
	c.n++
	l.n++
}

// remove takes the spot out of its line.
func (p *spot) remove() {
	l, c := p.line, p.class
	if p.prev == nil {
		c.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		c.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	*p = spot{}
	if c.n--; c.n == 0 {
		i := slices.Index(l.classes, c)
		l.classes = slices.Delete(l.classes, i, i+1)
	}
	l.n--
}

// walk visits the spots from the front until f returns false.
func (l *line) walk(f func(*spot) bool) {
	for _, c := range l.classes {
		for p := c.head; p != nil; p = p.next {
			if !f(p) {
				return
			}
		}
	}
}

// position counts the spots up to and including p.
func (p *spot) position() int {
	n := 0
	for _, c := range p.line.classes {
		if c == p.class {
			break
		}
		n += c.n
	}
	for ; p != nil; p = p.prev {
		n++
	}
	return n
}

// queue describes the line.
func (s *space) queue(l *line, w *waiter, limit int) backend.QueueReply {
	reply := backend.QueueReply{Length: l.n}
	if w != nil {
		for i := range w.spots {
			if p := &w.spots[i]; p.line == l {
				reply.Position = p.position()
			}
		}
	}
	l.walk(func(p *spot) bool {
		if len(reply.Waiters) == limit {
			return false
		}
		reply.Waiters = append(reply.Waiters, backend.Waiter{
			Token: p.req.Owner(), Priority: p.req.Priority, Count: p.count(), Since: s.clock.time(p.since),
		})
		return true
	})
	return reply
}

// count is how many members, or units of the line's name, are waited for.
func (p *spot) count() int {
	if !p.req.ForLocks() {
		return max(p.req.Take.Count, 1)
	}
	for i := range p.spots {
		if &p.spots[i] == p {
			return p.req.Lock.Items[i].Units
		}
	}
	return 0
}
