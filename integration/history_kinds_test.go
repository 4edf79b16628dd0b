package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
)

const (
	historySlots = 5       // the most that a resource has
	everyone     = 1 << 20 // units of what can be had alone, or by any number together
)

// kind is one kind of things that can be had, and how they are used.
//
// Each is a number of slots, and each slot has units: a grant takes some of them, in one step, and the end of a lease
// gives them back. A mutex is one slot with one unit. A writer takes all units of the one slot, and a reader one of them.
// Several names that are locked together are slots, and so are the members of a pool.
type kind struct {
	name      string
	clients   int // of each process
	together  int // so many of them use the same
	slots     int
	limit     int  // units of each slot
	registers bool // each slot protects a register of the store: who has it alone is the only one who has it
	inTurn    bool // members go round, nobody holds them
	take      func(ctx context.Context, c *client, resource string) ([]tenure, error)
}

// kinds are all of them. Semaphores have no registers: a fencing number cannot tell whether one of several holders comes
// too late.
func kinds() []kind {
	return []kind{
		{name: "mutex", clients: 12, together: 1, slots: 1, limit: 1, registers: true, take: takeMutex},
		{name: "multi", clients: 6, together: 2, slots: 4, limit: 1, registers: true, take: takeMulti},
		{name: "rwmutex", clients: 10, together: 2, slots: 1, limit: everyone, registers: true, take: takeRWMutex},
		{name: "semaphore", clients: 8, together: 2, slots: 1, limit: 5, take: takeSemaphore},
		{name: "pool", clients: 8, together: 2, slots: 5, limit: 1, registers: true, take: takeMembers},
		{name: "shared pool", clients: 4, together: 2, slots: 5, inTurn: true, take: takeNext},
	}
}

func kindOf(name string) kind {
	all := kinds()
	return all[slices.IndexFunc(all, func(k kind) bool { return k.name == name })]
}

// resource is what a group of clients of each process uses now.
func (k kind) resource(group int) string {
	return fmt.Sprintf("%s-%d-%d", k.name, group, now()/int64(historySpan))
}

func (c *client) config() lock.Config {
	return lock.Config{TTL: historyTTL, NoRenewal: c.rand.IntN(3) == 0, Priority: c.rand.IntN(2)}
}

// patient says whether to wait.
func (c *client) patient() bool { return c.rand.IntN(4) > 0 }

// held is a lock that was acquired, or not.
func (c *client) held(cfg lock.Config, h *lock.Held, err error, p part) ([]tenure, error) {
	if err != nil {
		return nil, err
	}
	return []tenure{{part: p, lease: h, renewed: !cfg.NoRenewal, renew: h.Reacquire, giveBack: h.Unlock}}, nil
}

// locker is a lock that one at a time can hold.
type locker interface {
	Lock(ctx context.Context, options ...lock.Option) (*lock.Held, error)
	TryLock(ctx context.Context, options ...lock.Option) (*lock.Held, error)
}

func (c *client) lock(ctx context.Context, l locker) (*lock.Held, error) {
	if c.patient() {
		return l.Lock(ctx)
	}
	return l.TryLock(ctx)
}

func takeMutex(ctx context.Context, c *client, resource string) ([]tenure, error) {
	cfg := c.config()
	h, err := c.lock(ctx, lock.NewMutex(c.be, c.ns, resource, cfg))
	return c.held(cfg, h, err, part{Slots: []int{0}, Units: 1})
}

// takeMulti locks some of four names together, or one of them by itself.
func takeMulti(ctx context.Context, c *client, resource string) ([]tenure, error) {
	slots := c.rand.Perm(c.slots)[:1+c.rand.IntN(3)]
	names := make([]string, len(slots))
	for i, slot := range slots {
		names[i] = fmt.Sprintf("%s/%d", resource, slot)
	}
	cfg := c.config()
	var l locker = lock.NewMulti(c.be, c.ns, names, cfg)
	if len(names) == 1 {
		l = lock.NewMutex(c.be, c.ns, names[0], cfg)
	}
	h, err := c.lock(ctx, l)
	return c.held(cfg, h, err, part{Slots: slots, Units: 1})
}

// takeRWMutex locks for reading, or for writing, what then may be downgraded, or as a mutex, which is a writer.
func takeRWMutex(ctx context.Context, c *client, resource string) ([]tenure, error) {
	cfg := c.config()
	m := lock.NewRWMutex(c.be, c.ns, resource, cfg)
	writer := part{Slots: []int{0}, Units: everyone}
	switch c.rand.IntN(8) {
	case 0:
		h, err := c.lock(ctx, lock.NewMutex(c.be, c.ns, resource, cfg))
		return c.held(cfg, h, err, writer)
	case 1, 2:
		h, err := c.lock(ctx, m)
		tenures, err := c.held(cfg, h, err, writer)
		for i := range tenures {
			tenures[i].downgrade = func(ctx context.Context) error { return m.Downgrade(ctx, h) }
		}
		return tenures, err
	}
	lock := m.TryRLock
	if c.patient() {
		lock = m.RLock
	}
	h, err := lock(ctx)
	return c.held(cfg, h, err, part{Slots: []int{0}, Units: 1, Shared: true})
}

func takeSemaphore(ctx context.Context, c *client, resource string) ([]tenure, error) {
	cfg := c.config()
	s := lock.NewSemaphore(c.be, c.ns, resource, c.limit, cfg)
	units := 1 + min(c.rand.IntN(c.limit), c.rand.IntN(c.limit))
	acquire := s.TryAcquire
	if c.patient() {
		acquire = s.Acquire
	}
	h, err := acquire(ctx, units)
	return c.held(cfg, h, err, part{Slots: []int{0}, Units: units, Shared: true})
}

// open gives the pool of a name, with its members. There is none if the server cannot be reached.
func (c *client) open(ctx context.Context, resource string) (*Keys, error) {
	ns := c.ns
	ns.Suffix = resource
	if c.keys != nil && c.keys.Namespace() == ns {
		return c.keys, nil
	}
	c.close()
	keys, err := pool.New(c.be, pool.Config[pool.None]{Namespace: ns, TTL: historyTTL, Shared: c.inTurn})
	if err != nil {
		return nil, err
	}
	c.keys = keys
	names := make([]string, c.slots)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	if err := keys.Extend(ctx, names); err != nil {
		c.close()
		return nil, err
	}
	return keys, nil
}

func (c *client) close() {
	if c.keys != nil {
		_ = c.keys.Close() // of which nothing is left to be told
		c.keys = nil
	}
}

// takeMembers takes some members of a pool, or one of them, each with a lease of its own.
func takeMembers(ctx context.Context, c *client, resource string) ([]tenure, error) {
	keys, err := c.open(ctx, resource)
	if err != nil {
		return nil, err
	}
	options := []pool.Option{pool.Priority(c.rand.IntN(2))}
	renewed := c.rand.IntN(3) > 0
	if !renewed {
		options = append(options, pool.NoRenewal())
	}
	take, one := keys.MallocN, keys.MallocKey
	if c.patient() {
		take, one = keys.AcquireN, keys.AcquireKey
	}
	var leases []*Lease
	if n := c.rand.IntN(4); n > 0 {
		leases, err = take(ctx, n, options...)
	} else {
		leases = make([]*Lease, 1)
		leases[0], err = one(ctx, options...)
	}
	if err != nil {
		return nil, err
	}
	tenures := make([]tenure, len(leases))
	for i, l := range leases {
		slot, err := strconv.Atoi(l.Key())
		if err != nil {
			return nil, err
		}
		tenures[i] = tenure{
			part: part{Slots: []int{slot}, Units: 1}, lease: l, renewed: renewed, giveBack: l.Release,
			renew: func(ctx context.Context) error { return l.Update(ctx, historyTTL) },
		}
	}
	return tenures, nil
}

// takeNext takes members of a pool in which they go round. It tells before what it asks, because what was asked may have
// happened when nobody has learnt the answer.
func takeNext(ctx context.Context, c *client, resource string) ([]tenure, error) {
	keys, err := c.open(ctx, resource)
	if err != nil {
		return nil, err
	}
	n := 1 + c.rand.IntN(3)
	c.tell(entry{ID: c.id, Turning: &turning{resource, now(), n}})
	leases, err := keys.MallocN(ctx, n)
	t := turned{Return: now()}
	if errors.Is(err, pool.ErrExhausted) {
		c.tell(entry{ID: c.id, Problem: fmt.Sprintf("%s: %v", resource, err), Excused: true})
	}
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		slot, err := strconv.Atoi(l.Key())
		if err != nil {
			return nil, err
		}
		t.Members = append(t.Members, slot)
		if err := l.Release(ctx); err != nil {
			return nil, err
		}
	}
	c.tell(entry{ID: c.id, Turned: &t})
	return nil, nil
}
