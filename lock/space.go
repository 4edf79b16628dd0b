package lock

import (
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// space is the locks of this process in one namespace of one backend. It has what renews them, for as long as something is
// held or waited for and for linger after that, so that nobody has to close a Mutex, and short-lived ones share it. While
// nothing is held it has no goroutine, only a timer.
type space struct {
	key    spaceKey
	leases *lease.Group

	users atomic.Int64 // acquisitions and releases under way; closedSpace: closed
	used  atomic.Bool  // since the last look
	until atomic.Int64 // a lease.Instant; not to be closed before
}

type spaceKey struct {
	be     Backend
	ns     backend.Namespace
	logger *slog.Logger
}

const (
	// linger is for how long, to twice that, a space is kept that nobody uses. Making one costs some microseconds.
	linger = 10 * time.Second

	// maxKeep bounds for how long one is kept for what may have to be undone.
	maxKeep = 24 * time.Hour

	closedSpace = -1
)

// spaces finds a space that is in use.
var spaces = struct {
	sync.Mutex
	byKey map[spaceKey]*space
}{byKey: make(map[spaceKey]*space)}

// comparableBackend reports whether be can be part of a key: a backend may be a struct that cannot be compared.
func comparableBackend(be Backend) bool { return reflect.ValueOf(be).Comparable() }

// join gives the space of c. The caller calls leave when its acquisition has ended, well or not.
func (c *core) join() *space {
	if s := c.space.Load(); s != nil && s.join() {
		return s
	}
	key := spaceKey{be: c.be, ns: c.ns, logger: c.cfg.Logger}
	if !c.comparable { // then only those who have the same Mutex share it
		s := newSpace(key)
		c.space.Store(s)
		return s
	}
	spaces.Lock()
	defer spaces.Unlock()
	s := spaces.byKey[key]
	if s == nil || !s.join() {
		s = newSpace(key)
		spaces.byKey[key] = s
	}
	c.space.Store(s)
	return s
}

// newSpace gives one that its caller has joined.
func newSpace(key spaceKey) *space {
	s := &space{key: key}
	s.users.Store(1)
	s.leases = lease.KeepLocks(key.be, lease.Config{
		Namespace: key.ns, Logger: key.logger, OnLost: lost, OnReturned: returned,
	})
	time.AfterFunc(linger, s.look)
	return s
}

// join fails if the space was closed.
func (s *space) join() bool {
	for {
		n := s.users.Load()
		if n == closedSpace {
			return false
		}
		if s.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *space) leave() {
	if !s.used.Load() {
		s.used.Store(true)
	}
	s.users.Add(-1)
}

// keep has the space outlive something that was lost while the store may still have it for this TTL: who unlocks it may
// find that a late renewal has to be undone.
func (s *space) keep(ttl time.Duration) {
	if ttl == backend.NoExpiry || ttl > maxKeep {
		ttl = maxKeep
	}
	until := int64(s.leases.Now()) + int64(ttl)
	for {
		before := s.until.Load()
		if until <= before || s.until.CompareAndSwap(before, until) {
			return
		}
	}
}

// look closes the space if it has not been used for a while, or is called again.
func (s *space) look() {
	if s.used.Swap(false) || !s.close() {
		time.AfterFunc(linger, s.look)
	}
}

// close fails if the space is in use.
func (s *space) close() bool {
	if !s.users.CompareAndSwap(0, closedSpace) {
		return false
	}
	// Nobody joins it now, so that the answer stays true.
	if s.leases.Busy() || s.leases.Now() < lease.Instant(s.until.Load()) {
		s.users.Store(0)
		return false
	}
	spaces.Lock()
	if comparableBackend(s.key.be) && spaces.byKey[s.key] == s {
		delete(spaces.byKey, s.key)
	}
	spaces.Unlock()
	s.leases.Close()
	return true
}

// lost is told of leases that ended without their holder.
func lost(h *lease.Hold, why error) {
	if g, ok := h.Owner().(*grip); ok {
		g.lost(why)
	}
}

// returned is told of leases that were given back in the background.
func returned(h *lease.Hold) {
	if g, ok := h.Owner().(*grip); ok {
		g.returned()
	}
}

// errNilBackend is what a lock without a backend answers.
var errNilBackend = invalid("backend", "nil", "must not be nil")
