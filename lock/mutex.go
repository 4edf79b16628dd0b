package lock

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Mutex is a lock that one at a time can hold: a name, in a namespace, and a configuration. It holds nothing itself; it
// may be shared by any number of goroutines, and needs no closing. All that name the same lock on the same store, in
// whatever process, exclude each other.
//
// That is so as long as the store keeps its data and no holder's clock stands still. For the rest there is
// [Held.Fence]; the package's documentation says more.
type Mutex struct {
	core
	items [1]backend.LockItem
}

// NewMutex gives the lock of that name. It sends nothing. If something is wrong with its arguments, each call tells
// so with an error that matches backend.ErrInvalid.
func NewMutex(be Backend, ns backend.Namespace, name string, cfg Config) *Mutex {
	m := &Mutex{items: [1]backend.LockItem{{Name: name}}}
	m.init(be, ns, cfg, m.items[:])
	return m
}

// Name is the name of the lock.
func (m *Mutex) Name() string { return m.items[0].Name }

// Lock locks, and waits its turn: by priority, then first come first served, across all processes, until ctx ends or
// [MaxWait] is over. It takes one round trip if nobody holds the lock, else one to join the line; what is
// handed over then can be used at once. If it fails, whatever the reason, nothing is held and nobody waits.
//
// The context of what is held derives from ctx: to bound only the wait, use MaxWait. Who holds the lock already waits for
// himself, but see [WithHeld] and [Token].
func (m *Mutex) Lock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "lock", items: m.items[:], wait: true, reenter: true}, opts)
}

// TryLock is Lock that does not wait: it fails with [ErrLocked] if somebody holds the lock, or waits for it. One round
// trip.
func (m *Mutex) TryLock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "try lock", items: m.items[:], reenter: true}, opts)
}

// Do locks, calls f and unlocks. The context that f is given ends with the lock (see [Held.Context]), and says that it is
// held: what f calls with it can lock again. [HeldFrom] gives the [Held], for its fence. The error is that of Lock, or that of f
// joined with that of Unlock: a lock that was lost while f ran is an error that matches [ErrNotHeld].
func (m *Mutex) Do(ctx context.Context, f func(ctx context.Context) error, opts ...Option) error {
	held, err := m.Lock(ctx, opts...)
	return do(ctx, held, err, f)
}

func do(ctx context.Context, held *Held, err error, f func(ctx context.Context) error) (result error) {
	if err != nil {
		return err
	}
	defer func() { result = and(result, held.Unlock(ctx)) }() // also if f panics
	return f(WithHeld(held.Context(), held))
}

// Locked reports whether anybody holds the lock. It may be otherwise by the time that the caller knows. One round trip.
func (m *Mutex) Locked(ctx context.Context) (bool, error) {
	s, err := m.State(ctx)
	return s.Locked, err
}

// State tells who holds the lock, for how long, and how many wait. One round trip.
func (m *Mutex) State(ctx context.Context) (State, error) {
	states, err := m.look(ctx, "state", m.items[:])
	if err != nil {
		return State{}, err
	}
	return states[0], nil
}
