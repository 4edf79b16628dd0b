package lock

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

type carriedKey struct{}

// carried is what WithHeld has put into a context.
type carried struct {
	held *Held
	next *carried
}

// WithHeld gives a context that says: what is called with this runs under held. Whoever locks the same name, of the
// same namespace on the same backend value, with it gets a handle of his own on the same lease, at once and without asking the
// store. The name is given back when all handles have been unlocked, in whatever order.
//
// The context of a handle ends when that handle is unlocked, when the lease ends, or with the context that it was
// locked with. held need not be that of a [Mutex]: that of a [Multi] serves for each of its names, and for several
// of them. Locking some names that are held and some that are not is refused, because it might wait for itself.
//
// A lock that has been lost or given back counts for nothing: then the name is locked anew.
func WithHeld(ctx context.Context, held *Held) context.Context {
	if held == nil {
		return ctx
	}
	next, _ := ctx.Value(carriedKey{}).(*carried)
	return context.WithValue(ctx, carriedKey{}, &carried{held: held, next: next})
}

// HeldFrom gives what the last WithHeld has put into a context, or nil. In [Mutex.Do] it is what Do has locked: its
// fence is needed there.
func HeldFrom(ctx context.Context) *Held {
	if c, ok := ctx.Value(carriedKey{}).(*carried); ok {
		return c.held
	}
	return nil
}

// reenter gives a handle on what ctx carries, or nil if that does not help.
func (c *core) reenter(ctx context.Context, r *request) (*Held, error) {
	first, _ := ctx.Value(carriedKey{}).(*carried)
	partly := false
	for carry := first; carry != nil; carry = carry.next {
		g := carry.held.grip
		if r.again && g.hold.Token() != r.token || !c.same(g.core) || !g.hold.Valid() {
			continue
		}
		switch n, weak := g.covers(r.items); {
		case weak:
			return nil, ErrUpgrade
		case n == len(r.items):
			h := g.join(ctx)
			if h == nil {
				break
			}
			if _, weak := g.covers(r.items); weak { // it was downgraded meanwhile
				return nil, and(ErrUpgrade, h.Unlock(ctx))
			}
			return h, nil
		case n > 0:
			partly = true
		}
	}
	if partly {
		return nil, invalid("names", "some", "are held already by who asks, and others are not")
	}
	return nil, nil
}

// same reports whether names mean the same to both.
func (c *core) same(other *core) bool {
	return c == other || c.comparable && other.comparable && c.be == other.be && c.ns == other.ns
}

// covers counts those of the items that are held here. weak: one of them is, but in units, and more is wanted.
func (g *grip) covers(items []backend.LockItem) (n int, weak bool) {
	for i := range items {
		for j := range g.items {
			want := &items[i]
			if want.Name != g.items[j].Name {
				continue
			}
			n++
			have := g.units(j)
			weak = weak || have > 0 && (want.Units == 0 || want.Units > have)
		}
	}
	return n, weak
}
