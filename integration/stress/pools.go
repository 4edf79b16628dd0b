package stress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/binding"
	"github.com/redisallocator/redisallocator/pool"
)

// The pools of a run. Members of the first two come and go never, those of the third all the time.
var (
	exclusiveMembers = names("m", 24)
	sharedMembers    = names("s", 6)
	changingMembers  = names("c", 12)
)

// mostAtOnce is how many members one request asks for at most.
const mostAtOnce = 4

func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%02d", prefix, i)
	}
	return list
}

// keys is a pool without objects.
type keys = pool.Allocator[pool.None]

type memberLease = pool.Lease[pool.None]

// pools is what hands of one process use together.
type pools struct{ exclusive, shared, changing *keys }

func (w *worker) usePools(hands *sync.WaitGroup) (closeAll func() error, err error) {
	open := func(ns backend.Namespace, shared bool) *keys {
		k, e := pool.New(w.be, pool.Config[pool.None]{
			Namespace: ns, Shared: shared, TTL: w.TTL, ClaimTTL: w.TTL / 4, BindingTTL: 10 * time.Second,
		})
		err = errors.Join(err, e)
		return k
	}
	p := &pools{open(w.pool(), false), open(w.shared(), true), open(w.changes(), false)}
	if err != nil {
		return nil, err
	}
	w.begin(hands, "pool", 4, p.use)
	w.begin(hands, "shared pool", 1, p.share)
	w.begin(hands, "changing pool", 1, p.change)
	names := &namer{pools: p}
	w.begin(hands, "binding", 1, names.step)
	return func() error { return errors.Join(p.exclusive.Close(), p.shared.Close(), p.changing.Close()) }, nil
}

// use takes members in some way, uses them, and ends the leases in some way.
func (p *pools) use(h *hand) error {
	ctx := h.ctx
	options := []pool.Option{pool.Priority(h.IntN(3)), pool.MaxWait(h.some(10*time.Millisecond, h.TTL))}
	if h.odds(4) {
		options = append(options, pool.TTL(h.some(h.TTL/4, h.TTL)))
	}
	fate := h.IntN(10)
	if fate == 0 || h.odds(4) {
		options = append(options, pool.NoRenewal())
	}
	if h.odds(8) { // gives up at any moment
		impatient, cancel := context.WithTimeout(ctx, h.some(100*time.Microsecond, 10*time.Millisecond))
		defer cancel()
		ctx = impatient
	}
	n, began := 1+h.IntN(mostAtOnce), time.Now()
	var leases []*memberLease
	var err error
	switch h.IntN(6) {
	case 0:
		leases, err = one(p.exclusive.MallocKey(ctx, options...))
	case 1, 2, 3:
		leases, err = one(p.exclusive.AcquireKey(ctx, options...))
	case 4:
		leases, err = p.exclusive.MallocN(ctx, n, options...)
	case 5:
		leases, err = p.exclusive.AcquireN(ctx, n, options...)
	}
	if no, err := h.refused(ctx, err); no {
		h.rest()
		return err
	}
	h.waited("pool", began)
	h.count("pool: taken")
	for _, l := range leases {
		err = errors.Join(err, h.touchMember(l))
	}
	h.rest()
	for _, l := range leases {
		err = errors.Join(err, h.touchMember(l), h.endLease(l, fate))
	}
	if h.odds(200) {
		_, e := p.exclusive.GC(h.ctx, 10)
		err = errors.Join(err, forgive(e))
	}
	return err
}

func one(l *memberLease, err error) ([]*memberLease, error) { return []*memberLease{l}, err }

// forgive leaves out what may happen to anybody at any time.
func forgive(err error) error {
	if isLate(err) || isRefusal(err) {
		return nil
	}
	return err
}

// touchMember shows the fence of a lease to what the member stands for.
func (h *hand) touchMember(l *memberLease) error {
	member, fence := l.Key(), l.Fence()
	ok, newest, err := h.guard.touch(h.ctx, "member:"+member, fence, true)
	if err != nil {
		return err
	}
	if !ok && l.Valid() && l.Fence() == fence {
		return fmt.Errorf("member %s has two holders: the lease %s with fence %d is valid, and there is fence %d",
			member, l.Token(), fence, newest)
	}
	return nil
}

// endLease ends a lease in some way.
func (h *hand) endLease(l *memberLease, fate int) error {
	var err error
	switch fate {
	case 0:
		h.count("pool: forgotten")
		return nil
	case 1:
		err = l.SetUnhealthy(h.ctx, h.some(10*time.Millisecond, h.TTL/2))
		h.count("pool: kept back")
	case 2:
		err = l.Update(h.ctx, h.some(h.TTL/4, h.TTL))
	case 3:
		err = l.Refresh(h.ctx)
		h.count("pool: exchanged")
	}
	return errors.Join(forgive(err), forgive(l.Release(h.ctx)))
}

// share takes a member of the shared pool, which gives one to everybody.
func (p *pools) share(h *hand) error {
	defer h.rest()
	l, err := p.shared.MallocKey(h.ctx)
	if no, err := h.refused(h.ctx, err); no {
		return err
	}
	h.count("shared pool: taken")
	if !slices.Contains(sharedMembers, l.Key()) || !l.Valid() || l.Fence() != 0 {
		return fmt.Errorf("a lease on %q, with fence %d, valid: %v", l.Key(), l.Fence(), l.Valid())
	}
	return forgive(l.Release(h.ctx))
}

// change adds and removes members while others have them.
func (p *pools) change(h *hand) error {
	defer h.rest()
	some := slices.Clone(changingMembers)
	h.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	some = some[:1+h.IntN(len(some))]
	h.count("changing pool: edited")
	switch h.IntN(6) {
	case 0:
		return forgive(p.changing.Extend(h.ctx, some))
	case 1:
		return forgive(p.changing.Extend(h.ctx, some, pool.MemberTTL(time.Second)))
	case 2:
		return forgive(p.changing.Shrink(h.ctx, some))
	case 3:
		return forgive(p.changing.Assign(h.ctx, some))
	case 4:
		_, err := p.changing.FreeKeys(h.ctx, some)
		return forgive(err)
	}
	l, err := p.changing.AcquireKey(h.ctx, pool.MaxWait(50*time.Millisecond), pool.NoRenewal())
	if no, err := h.refused(h.ctx, err); no {
		return err
	}
	h.rest()
	if h.odds(4) {
		return nil // forgotten
	}
	return forgive(l.Release(h.ctx))
}

// namer uses a name of its own for soft bindings, so that nobody else binds it.
type namer struct {
	pools *pools
	lives int // a new name after each call that may still be carried out
}

// step takes a member by name, and looks whether the name is bound to it; or binds the name itself.
func (n *namer) step(h *hand) error {
	defer h.rest()
	bindings, err := binding.New(h.be, h.pool())
	if err != nil {
		return err
	}
	name := fmt.Sprintf("n%s.%d", h.id, n.lives)
	expect := func(want string) error {
		key, ok, err := bindings.Lookup(h.ctx, name)
		if err == nil && (key != want || ok != (want != "")) {
			err = fmt.Errorf("name %s is bound to %q, not to %q", name, key, want)
		}
		return err
	}
	run := func() error {
		if h.odds(3) {
			member := exclusiveMembers[h.IntN(len(exclusiveMembers))]
			if err := bindings.Bind(h.ctx, name, member, 10*time.Second); err != nil {
				return err
			}
			if err := expect(member); err != nil {
				return err
			}
			if h.odds(2) {
				if _, err := bindings.Unbind(h.ctx, name); err != nil {
					return err
				}
				return expect("")
			}
		}
		l, err := n.pools.exclusive.MallocKey(h.ctx, pool.Name(name), pool.TTL(h.TTL/2))
		if err != nil {
			return err
		}
		h.count("binding: used")
		err = expect(l.Key())
		if err == nil && h.odds(4) {
			if err = l.SetUnhealthy(h.ctx, 10*time.Millisecond); err == nil {
				err = expect("")
			}
		}
		return errors.Join(err, h.touchMember(l), forgive(l.Release(h.ctx)))
	}
	begun := time.Now()
	err = run()
	if isLate(err) || time.Since(begun) > 5*time.Second { // it may be carried out later, or the binding has run out
		n.lives++
		return nil
	}
	return forgive(err)
}
