package lock

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// RWMutex is a lock that one writer holds alone, or any number of readers together. What is said of [Mutex] holds here,
// too: it is a name and a configuration, waits are fair, and each holder, reader or writer, has a lease, a fence and a
// context of its own.
//
// A writer that waits stops readers that come after it, and readers that wait together enter together. A [Mutex] or
// [Multi] of the same name is a writer, and so is a lock that Python sets.
//
// A reader cannot become a writer: two that tried would wait for each other. Lock under a read lock of one's own fails with
// [ErrUpgrade]. The other way is [RWMutex.Downgrade].
type RWMutex struct {
	core
	write, read [1]backend.LockItem
}

// NewRWMutex gives the lock of that name. It sends nothing. If something is wrong with its arguments, each call tells
// so with an error that matches backend.ErrInvalid.
func NewRWMutex(be Backend, ns backend.Namespace, name string, cfg Config) *RWMutex {
	m := &RWMutex{write: [1]backend.LockItem{{Name: name}}, read: [1]backend.LockItem{{Name: name, Units: 1}}}
	m.init(be, ns, cfg, m.write[:])
	return m
}

// Name is the name of the lock.
func (m *RWMutex) Name() string { return m.write[0].Name }

// Lock locks for writing, and waits its turn, as [Mutex.Lock] does.
func (m *RWMutex) Lock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "lock", items: m.write[:], wait: true, reenter: true}, opts)
}

// TryLock is Lock that does not wait: it fails with [ErrLocked] if somebody holds the lock, or waits for it. One round
// trip.
func (m *RWMutex) TryLock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "try lock", items: m.write[:], reenter: true}, opts)
}

// RLock locks for reading, and waits its turn: until no writer holds the lock, and none waits that came first. One round trip
// if that is so, else one to join the line. Under a write lock (see [WithHeld]) it gives a handle on that.
func (m *RWMutex) RLock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "read lock", items: m.read[:], wait: true, reenter: true}, opts)
}

// TryRLock is RLock that does not wait: it fails with [ErrLocked] if a writer holds the lock, or anybody waits for it. One
// round trip.
func (m *RWMutex) TryRLock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "try read lock", items: m.read[:], reenter: true}, opts)
}

// Do locks for writing, calls f and unlocks, as [Mutex.Do] does.
func (m *RWMutex) Do(ctx context.Context, f func(ctx context.Context) error, opts ...Option) error {
	held, err := m.Lock(ctx, opts...)
	return do(ctx, held, err, f)
}

// RDo locks for reading, calls f and unlocks, as [Mutex.Do] does.
func (m *RWMutex) RDo(ctx context.Context, f func(ctx context.Context) error, opts ...Option) error {
	held, err := m.RLock(ctx, opts...)
	return do(ctx, held, err, f)
}

// Downgrade makes a write lock a read lock, in one step: nobody writes in between, and readers that wait first in line
// enter at once. The handle stays, with its token, fence and end. One round trip.
//
// held must be of this lock, locked for writing, and have no further handles (see [WithHeld]); otherwise the error matches
// backend.ErrInvalid. It is [ErrNotHeld] if the lock has ended. If the store gave no answer the lock counts as held for
// reading, and Downgrade may be tried again, to be sure that others may read.
func (m *RWMutex) Downgrade(ctx context.Context, held *Held) error {
	return fail("downgrade", m.write[:], m.downgrade(ctx, held))
}

func (m *RWMutex) downgrade(ctx context.Context, held *Held) error {
	if m.err != nil {
		return m.err
	}
	if held == nil || !m.same(held.grip.core) || len(held.grip.items) != 1 || held.grip.items[0] != m.write[0] {
		return errNoWriter
	}
	if held.unlocked.Load() {
		return errReleased
	}
	g := held.grip
	before, err := g.beginDowngrade()
	if err != nil {
		return err
	}
	after := before // nothing was sent
	defer func() { g.sharing.Store(after) }()
	return g.hold.Change(ctx, func(ttl time.Duration) error {
		after = sharedPerhaps
		reply, err := m.be.Lock(ctx, backend.LockRequest{
			Namespace: m.ns, Token: g.hold.Token(), TTL: ttl, Items: m.read[:], Downgrade: true,
		})
		if err != nil {
			return err
		}
		done := len(reply.Grants) != 0
		if !done && before == sharedPerhaps { // the last time it may have been done
			states, err := m.look(ctx, "state", m.read[:])
			if err != nil {
				return err
			}
			done = states[0].heldBy(g.hold.Token())
		}
		if !done {
			return ErrNotHeld
		}
		after = shared
		return nil
	})
}

var errNoWriter = invalid("held", "lock", "must be this one, locked for writing")

// beginDowngrade has what is held count as shared from now on, so that nobody enters it again as a writer meanwhile, and
// gives what it was.
func (g *grip) beginDowngrade() (before int32, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before = g.sharing.Load()
	switch {
	case before == shared:
		return before, errNoWriter
	case before == alone && g.handles > 1:
		return before, invalid("held", "lock", "must not have been entered again")
	}
	g.sharing.Store(shared)
	return before, nil
}

// State tells who holds the lock, for how long, and how many wait. One round trip.
func (m *RWMutex) State(ctx context.Context) (State, error) {
	states, err := m.look(ctx, "state", m.write[:])
	if err != nil {
		return State{}, err
	}
	return states[0], nil
}
