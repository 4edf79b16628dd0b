package lock

import (
	"context"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// Multi is several locks that are held together: all of them or none. It excludes each [Mutex] with one of its names,
// and each Multi that shares one with it. What is said of Mutex holds here, too.
//
// The names are locked in one step, and given back in one. Who waits does so in the lines of all names, without holding some
// of them meanwhile, so that two that name the same locks in different order cannot block each other.
type Multi struct {
	core
	items []backend.LockItem
}

// NewMulti gives the locks of these names: 1 to backend.MaxLockNames, in any order, none twice. It sends nothing. If
// something is wrong with its arguments, each call tells so with an error that matches backend.ErrInvalid.
func NewMulti(be Backend, ns backend.Namespace, names []string, cfg Config) *Multi {
	m := &Multi{items: make([]backend.LockItem, len(names))}
	for i, name := range names {
		m.items[i].Name = name
	}
	m.init(be, ns, cfg, m.items)
	return m
}

// Names is the names of the locks.
func (m *Multi) Names() []string {
	all := make([]string, 0, len(m.items))
	for i := range m.items {
		all = append(all, m.items[i].Name)
	}
	return slices.Clip(all)
}

// Lock locks all names, and waits its turn, as [Mutex.Lock] does. There is one handle for all of them, with one token, one end
// and the largest of the fences. If one of the locks is lost, all are.
func (m *Multi) Lock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "lock", items: m.items, wait: true, reenter: true}, opts)
}

// TryLock is Lock that does not wait: it fails with [ErrLocked] if somebody holds one of the locks, or waits for it. One
// round trip.
func (m *Multi) TryLock(ctx context.Context, opts ...Option) (*Held, error) {
	return m.acquire(ctx, &request{op: "try lock", items: m.items, reenter: true}, opts)
}

// Do locks, calls f and unlocks, as [Mutex.Do] does.
func (m *Multi) Do(ctx context.Context, f func(ctx context.Context) error, opts ...Option) error {
	held, err := m.Lock(ctx, opts...)
	return do(ctx, held, err, f)
}

// State tells of each name who holds it, for how long, and how many wait, in the order of the names. One round trip.
func (m *Multi) State(ctx context.Context) ([]State, error) { return m.look(ctx, "state", m.items) }
