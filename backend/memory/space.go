package memory

import (
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// space is everything of one namespace. A step of the contract is what happens under one hold of mu; all methods of
// space but close and wake want it held.
type space struct {
	backend *Backend
	clock   *clock
	ns      backend.Namespace

	mu     sync.Mutex
	closed bool
	fence  int64 // the last fencing number

	entries  map[string]*entry // locks and members by name
	bindings map[string]binding
	set      map[string]struct{} // the members of a lock pool
	limits   map[string]int      // of the units of names
	swept    [2]int              // how many entries and bindings were left after they were last looked through

	members order // of the pool, free or not
	free    list
	orphans list // allocated members that lost their lock without a word; nobody waits while there are any
	index   deadlines

	recent *entry // the member that was leased last: mostly it is the next to come back
	grants []backend.Grant
	bools  []bool // what replies are cut from

	line    line               // of the pool
	waiters map[string]*waiter // in it, by token

	lockWaiters map[string]*waiter // in the lines of names, by token
	stirred     []*line            // of names, to be served before the step ends
	wakes       wakes              // of those lines

	timer  *time.Timer // set while somebody waits and something can run out
	wakeAt instant     // when it fires

	tasks *tasks // nil: nobody has asked for any yet
}

func newSpace(b *Backend, ns backend.Namespace) *space {
	return &space{
		backend: b, clock: &b.clock, ns: ns,
		entries: make(map[string]*entry), bindings: make(map[string]binding), set: make(map[string]struct{}),
		limits: make(map[string]int), waiters: make(map[string]*waiter), lockWaiters: make(map[string]*waiter),
	}
}

// entry is a name that is locked or waited for, a member of the pool, or several of these. The pool's members and the
// locks of the same namespace meet here, as they do on Redis.
type entry struct {
	name string

	// The lock. There is one while end is still to come.
	token  string
	end    instant
	claim  int64    // the fence of the hand-over, until it is renewed; 0: none
	shared *holders // who has it together; then end is that of the last of them
	line   *line    // of those who wait for the name; nil: nobody
	again  int32    // how often the owner has to give it back, beyond once

	// Side by side because there can be millions of entries.
	leased  bool // deadline counts
	member  bool // of the pool
	picked  bool // chosen by the step that runs
	watched bool // in space.index, for what is still to come

	// The lease: who takes a member is expected to let go of it by the deadline.
	deadline instant

	// The membership.
	expiry     int64  // Unix seconds at which it ends; noExpiry: never
	seq        uint64 // place in space.members
	where      *list  // free, orphans, or nil
	prev, next *entry

	slot int // place in space.index, from 1; 0: none
}

const noExpiry int64 = -1

// binding is what a soft binding points at.
type binding struct {
	member string
	end    instant
}

func (e *entry) locked(now instant) bool { return e.end > now }

func (s *space) isFree(e *entry) bool { return e.where == &s.free }

// isAllocated reports whether e is a member that is not free.
func (s *space) isAllocated(e *entry) bool { return e.member && e.where != &s.free }

// expired reports whether the membership of e has ended.
func (s *space) expired(e *entry, now instant) bool {
	return e.expiry != noExpiry && e.expiry <= s.clock.unix(now)
}

// expiryAfter gives the end of a membership of which ttl is left.
func (s *space) expiryAfter(now instant, ttl time.Duration) int64 {
	if ttl == backend.NoExpiry {
		return noExpiry
	}
	seconds := int64(ttl / time.Second)
	if ttl%time.Second != 0 {
		seconds++
	}
	return s.clock.unix(now) + seconds
}

// nextFence draws a fencing number: larger than all before, and no smaller than the time, so that it also grows from
// one process to the next.
func (s *space) nextFence(now instant) int64 {
	s.fence = max(s.fence+1, s.clock.micros(now))
	return s.fence
}

// heldBy reports whether a lock that has not run out is the token's alone.
func (e *entry) heldBy(token string) bool { return e.token == token && e.shared == nil }

// own writes the lock of e and ends whatever leases there were on it.
func (s *space) own(e *entry, token string, end instant) {
	e.token, e.end, e.claim, e.again, e.shared = token, end, 0, 0, nil
	s.stir(e.line)
}

// lock gives the lock of e an owner and an end.
func (s *space) lock(e *entry, token string, end instant) {
	s.own(e, token, end)
	if s.isAllocated(e) {
		if e.where == &s.orphans {
			s.orphans.remove(e)
		}
		s.watch(e)
	}
}

// move gives the lock of e, which has not run out, another end.
func (s *space) move(e *entry, end instant) {
	e.end, e.claim = end, 0
	if s.isAllocated(e) {
		s.watch(e)
	}
	s.stir(e.line)
}

// unlock removes the lock of e.
func (s *space) unlock(e *entry) { s.own(e, "", 0) }

// removeLock removes the lock of e as those do who know nothing of pools: a member is not put back.
func (s *space) removeLock(e *entry, now instant) {
	s.unlock(e)
	switch {
	case !e.member:
		s.forget(e)
	case !s.isFree(e):
		s.orphan(e, now)
	}
}

// endLease forgets that e has a deadline.
func (s *space) endLease(e *entry) {
	e.leased = false
	s.unwatch(e)
}

// putBack frees an allocated member, or drops it if its membership has ended, and tells whether it is free now.
func (s *space) putBack(e *entry, now instant) bool {
	if s.expired(e, now) {
		s.drop(e, now)
		return false
	}
	s.release(e)
	return true
}

// release puts a member at the tail of the free list, wherever it was.
func (s *space) release(e *entry) {
	if e.where != nil {
		e.where.remove(e)
	}
	s.free.push(e)
}

// allocate takes a member out of the free list.
func (s *space) allocate(e *entry) {
	if e.where != nil {
		e.where.remove(e)
	}
}

// drop ends a membership. The lock stays.
func (s *space) drop(e *entry, now instant) {
	if e.where != nil {
		e.where.remove(e)
	}
	s.members.remove(e)
	e.member = false
	if !e.locked(now) {
		s.forget(e)
	}
}

// find gives the entry of a name, or nil.
func (s *space) find(name string) *entry {
	if e := s.recent; e != nil && e.name == name {
		return e
	}
	return s.entries[name]
}

// forget removes an entry that is neither locked nor a member, unless it is waited for.
func (s *space) forget(e *entry) {
	s.endLease(e)
	if e.line != nil {
		return
	}
	delete(s.entries, e.name)
	if s.recent == e {
		s.recent = nil
	}
}

// entry gives the entry of a name, a new one if need be.
func (s *space) entry(name string) *entry {
	e := s.entries[name]
	if e == nil {
		e = s.newEntry(name)
	}
	return e
}

func (s *space) newEntry(name string) *entry {
	e := &entry{name: name}
	s.entries[name] = e
	return e
}

// cut gives a slice of n zeros to keep. It comes from a stock that is renewed when it is used up, which is cheaper than
// to allocate one or two elements at a time.
func cut[E any](stock *[]E, n int) []E {
	const few = 16
	if n > few/2 {
		return make([]E, n)
	}
	if n > len(*stock) {
		*stock = make([]E, few)
	}
	part := (*stock)[:n:n]
	*stock = (*stock)[n:]
	return part
}

// sweep forgets the locks that ran out and that nobody has looked at since, when there can be as many of them as of those
// that were left the last time. So a lock costs the same in the long run, and what is kept in vain is at most as much as
// what is kept.
func (s *space) sweep(now instant) {
	if n := len(s.entries) - s.members.len(); !crowded(n, s.swept[backend.KindLock]) {
		return
	}
	for _, e := range s.entries {
		if !e.member && !e.locked(now) {
			s.forget(e)
		}
	}
	s.swept[backend.KindLock] = len(s.entries) - s.members.len()
}

// sweepBindings is the same for bindings.
func (s *space) sweepBindings(now instant) {
	if !crowded(len(s.bindings), s.swept[backend.KindBinding]) {
		return
	}
	for name, b := range s.bindings {
		if b.end <= now {
			delete(s.bindings, name)
		}
	}
	s.swept[backend.KindBinding] = len(s.bindings)
}

// crowded reports whether n are many more than were left the last time.
func crowded(n, left int) bool {
	const few = 64
	return n > 2*left+few
}
