package lock

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Held is a lock that is held, by one acquisition, until it is unlocked. Its methods may be called concurrently. It must be
// unlocked, also if it was lost.
type Held struct {
	grip *grip
	ctx  *innerContext // of a handle that WithHeld has led to; nil for the first

	unlocked atomic.Bool
	mu       sync.Mutex // while it is being unlocked
	result   error      // of that
}

// grip is the lease that handles share: the first one, and those that WithHeld has led to.
type grip struct {
	hold  lease.Hold
	core  *core
	space *space
	items []backend.LockItem
	ttl   time.Duration // that it was acquired with

	sharing atomic.Int32 // alone, or what RWMutex.Downgrade has made of that

	mu      sync.Mutex // not held while anything is called that may find out that the lease has ended
	handles int        // not yet unlocked; 0: none will be added
	inner   []*innerContext

	first Held
}

// Whether what was locked alone is shared now.
const (
	alone         int32 = iota // no; or it was locked in units
	sharedPerhaps              // the store gave no answer
	shared
)

// Name is the name of the lock; of several the first.
func (h *Held) Name() string { return h.grip.items[0].Name }

// Names is all names that are held, in the order in which they were asked for.
func (h *Held) Names() []string { return h.grip.hold.Keys() }

// Units is how many units are held of a [Semaphore]; 1 of what is locked for reading, 0 of what is held alone.
func (h *Held) Units() int { return h.grip.units(0) }

// Token is the owner's token, which stands in the store.
func (h *Held) Token() string { return h.grip.hold.Token() }

// Fence is larger than that of every earlier grant in this namespace, of whatever lock. Of several names it is the largest.
func (h *Held) Fence() int64 { return h.grip.hold.Fence() }

// Deadline is when the lock ends unless it is renewed: somewhat before its TTL is over in the store. Once it has
// ended, it is when it did or would have. It is zero for what never runs out.
func (h *Held) Deadline() time.Time { return h.grip.hold.Deadline() }

// Valid reports whether the lock is held, as far as can be known without asking the store. It reads the clock, so that
// a process that was stopped knows at its first look.
func (h *Held) Valid() bool { return !h.unlocked.Load() && h.grip.hold.Valid() }

// Err is why the lock is not held any more: [ErrReleased], [ErrLost] or [ErrExpired]. It is nil while Valid.
func (h *Held) Err() error {
	if h.unlocked.Load() {
		return ErrReleased
	}
	return h.grip.hold.Err()
}

// Context derives from the context that was locked with and ends with the lock, at its deadline at the latest, or with
// that context. context.Cause tells why: [ErrLost], [ErrExpired], [ErrReleased], or what ended that context. Its Err reads
// the clock itself; its Deadline is that of the context that was locked with, because the lock's moves as it is renewed.
//
// It does not say that the lock is held, for those who lock again; see [WithHeld].
func (h *Held) Context() context.Context {
	if h.ctx != nil {
		return h.ctx
	}
	return h.grip.hold.Context()
}

// Unlock gives the lock back, one round trip, and so hands it to who waits for it. It takes values from ctx, but not its
// end, and waits no longer than the lock lasts, nor than some 5 seconds.
//
// A lock that has ended gets [ErrNotHeld]; nothing of anybody else's is changed. If the store cannot be asked the
// error matches backend.ErrUnavailable, and giving back is tried on in the background until the lock has run out. Of
// several handles on one lease (see [WithHeld]) the last gives it back. Unlock again does nothing and gives the same.
func (h *Held) Unlock(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.unlocked.Load() {
		h.unlocked.Store(true)
		h.result = fail("unlock", h.grip.items, h.release(ctx))
	}
	return h.result
}

func (h *Held) release(ctx context.Context) error {
	g := h.grip
	if !g.part(h.ctx) {
		// The others go on. Whoever was under a lock that has been lost is told so here, too.
		if h.ctx != nil {
			h.ctx.cancel(ErrReleased)
		} else {
			g.hold.Retire()
		}
		if why := g.hold.Err(); why != nil && !errors.Is(why, ErrReleased) { // by the last of them, meanwhile
			return and(ErrNotHeld, why)
		}
		return nil
	}
	if g.space.join() { // what cannot be given back now is in its care
		defer g.space.leave()
	}
	err := g.hold.Release(ctx)
	if h.ctx != nil {
		h.ctx.cancel(ErrReleased)
	}
	if err == nil {
		g.returned()
	}
	return err
}

// Extend adds d to what is left of the lock, and has it that TTL from now on, also when it is renewed. It fails with
// [ErrNotHeld] if the lock has ended. If the store gave no answer, the lock goes on with the earlier of both ends. d is
// at least a millisecond; what never runs out stays so. One round trip.
func (h *Held) Extend(ctx context.Context, d time.Duration) error {
	return h.change("extend", func() error {
		if d < time.Millisecond {
			return invalid("duration", d.String(), "must be at least a millisecond")
		}
		return nil
	}, func() error { return h.grip.hold.Extend(ctx, d) })
}

// SetTTL replaces what is left of the lock, and has it that TTL from now on, as [Held.Extend] does: at least a
// millisecond, or backend.NoExpiry. One round trip.
func (h *Held) SetTTL(ctx context.Context, ttl time.Duration) error {
	return h.change("set ttl", func() error { return backend.ValidateTTL("ttl", ttl) },
		func() error { return h.grip.hold.Update(ctx, ttl) })
}

// Reacquire has the lock the TTL from now on that it was acquired with, as [Held.SetTTL] does. One round trip.
func (h *Held) Reacquire(ctx context.Context) error {
	return h.change("reacquire", func() error { return nil },
		func() error { return h.grip.hold.Update(ctx, h.grip.ttl) })
}

func (h *Held) change(op string, check, do func() error) error {
	err := check()
	if err == nil && h.unlocked.Load() {
		err = errReleased
	}
	if err == nil {
		err = do()
	}
	return fail(op, h.grip.items, err)
}

// Owned asks the store whether the lock is held by this handle's token. It changes nothing: what the store says does
// not end the lock here. One round trip.
func (h *Held) Owned(ctx context.Context) (bool, error) {
	if h.unlocked.Load() {
		return false, nil
	}
	g := h.grip
	states, err := g.core.look(ctx, "owned", g.items)
	if err != nil {
		return false, err
	}
	for i := range states {
		if !states[i].heldBy(g.hold.Token()) {
			return false, nil
		}
	}
	return true, nil
}

// units of one of the names that are held; 0: alone.
func (g *grip) units(i int) int {
	if g.sharing.Load() != alone {
		return 1
	}
	return g.items[i].Units
}

// join gives a further handle, or nil if there is nothing to hold on to any more.
func (g *grip) join(ctx context.Context) *Held {
	h := &Held{grip: g, ctx: newInnerContext(ctx, g)}
	g.mu.Lock()
	if g.handles == 0 {
		g.mu.Unlock()
		h.ctx.cancel(nil)
		return nil
	}
	g.handles++
	g.inner = append(g.inner, h.ctx)
	g.mu.Unlock()
	_ = h.ctx.Err() // ends it, if the lease has ended meanwhile
	return h
}

// part takes a handle away, and tells whether it was the last.
func (g *grip) part(c *innerContext) (last bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.inner {
		if g.inner[i] == c {
			g.inner[i] = g.inner[len(g.inner)-1]
			g.inner[len(g.inner)-1] = nil
			g.inner = g.inner[:len(g.inner)-1]
			break
		}
	}
	g.handles--
	return g.handles == 0
}

// lost is called when the lease has ended without its holder.
func (g *grip) lost(why error) {
	g.mu.Lock()
	inner := g.inner
	g.inner = nil
	g.mu.Unlock()
	for _, c := range inner {
		c.cancel(why)
	}
	g.core.logger().Warn("lock ended without its holder", "namespace", g.core.ns.String(), "names", names(g.items),
		"fence", g.hold.Fence(), "error", why)
	g.observe(backend.EventLost, why)
	if errors.Is(why, ErrExpired) {
		g.space.keep(g.hold.Doubt())
	}
}

// returned is called when the lease was given back, now or in the background.
func (g *grip) returned() { g.observe(backend.EventReleased, nil) }

func (g *grip) observe(kind backend.EventKind, err error) {
	if g.core.cfg.Observer == nil {
		return
	}
	g.core.observeAll(kind, g.items, backend.Event{
		Token: g.hold.Token(), Fence: g.hold.Fence(), Duration: g.hold.Age(), Err: err,
	})
}

// innerContext is that of a further handle: it ends with the lease, with the handle, and with its parent.
type innerContext struct {
	context.Context
	cancel context.CancelCauseFunc
	grip   *grip
}

func newInnerContext(parent context.Context, g *grip) *innerContext {
	c := &innerContext{grip: g}
	c.Context, c.cancel = context.WithCancelCause(parent)
	return c
}

// Err reads the clock, too.
func (c *innerContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !c.grip.hold.Valid() {
		c.cancel(c.grip.hold.Err())
	}
	return c.Context.Err()
}
