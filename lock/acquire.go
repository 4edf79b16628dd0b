package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// core is what all kinds of locks are made of: a backend, a namespace and a configuration. It can be used concurrently.
type core struct {
	be         Backend
	ns         backend.Namespace
	cfg        Config
	text       string // how the tokens end
	comparable bool   // be is
	err        error  // what is wrong with all that; each call gives it
	space      atomic.Pointer[space]
}

// request is one acquisition. What is about the names and how they are wanted is set by the caller of core.acquire, the
// rest by core.prepare.
type request struct {
	op    string             // for errors: "lock"
	items []backend.LockItem // is kept, and must not be changed
	wait  bool
	again bool // by those of the same token; Token sets it

	// reenter has what the context carries (see WithHeld) count.
	reenter bool

	token    string // "": a new one
	ttl      time.Duration
	maxWait  time.Duration
	priority int
	renew    bool
}

// init completes and checks what the lock was made with: items are those that it will ask for.
func (c *core) init(be Backend, ns backend.Namespace, cfg Config, items []backend.LockItem) {
	c.be, c.ns, c.cfg = be, ns, cfg
	c.err = c.cfg.complete()
	c.text = tokenText(cfg.Info)
	if lease.IsNil(be) {
		c.err = errors.Join(errNilBackend, c.err)
	} else {
		c.comparable = comparableBackend(be)
	}
	enter := backend.EnterRequest{
		Lock:     backend.LockRequest{Namespace: ns, Token: "-", TTL: c.cfg.TTL, Items: items},
		Priority: cfg.Priority, ClaimTTL: c.cfg.ClaimTTL,
	}
	durable := backend.LockRequest{
		Namespace: ns, Token: "-", TTL: c.cfg.TTL, Items: items, Durability: c.cfg.durability(),
	}
	if len(items) == 0 { // an EnterRequest without them is for a pool
		c.err = errors.Join(c.err, durable.Validate())
	} else if err := enter.Validate(); err != nil {
		c.err = errors.Join(c.err, err)
	} else {
		c.err = errors.Join(c.err, durable.Validate())
	}
}

// acquire does a request: at once, or when its turn has come. If it fails nothing is held and nobody waits, or will be as soon
// as the store can be reached. It takes one round trip if the names are free, else one to join the line; what is handed over
// may be used at once.
func (c *core) acquire(ctx context.Context, r *request, opts []Option) (*Held, error) {
	h, err := c.tryAcquire(ctx, r, opts)
	if err != nil {
		return nil, fail(r.op, r.items, err)
	}
	return h, nil
}

func (c *core) tryAcquire(ctx context.Context, r *request, opts []Option) (h *Held, err error) {
	if err := c.prepare(ctx, r, opts); err != nil {
		return nil, err
	}
	if r.reenter {
		if h, err := c.reenter(ctx, r); h != nil || err != nil {
			return h, err
		}
	}
	if r.token == "" {
		r.token = newToken(c.text)
	}
	s := c.join()
	defer s.leave()
	begin := s.leases.Now()
	if !r.wait || r.again || c.cfg.Replicas > 0 { // what cannot be said in line is tried first
		h, err = c.try(ctx, s, r)
	}
	for range upgradeChecks {
		if h != nil || err != nil || !r.again {
			break
		}
		same, failed := c.checkUpgrade(ctx, r)
		if err = failed; !same {
			break
		}
		h, err = c.try(ctx, s, r)
	}
	if h == nil && err == nil {
		err = ErrLocked
		if r.wait {
			h, err = c.wait(ctx, s, r)
		}
	}
	if err != nil {
		c.refused(ctx, s, r, begin, err)
		return nil, err
	}
	if c.cfg.Observer != nil {
		c.observeAll(backend.EventGranted, r.items, backend.Event{
			Token: r.token, Fence: h.Fence(), Duration: s.leases.Now().Sub(begin),
		})
	}
	return h, nil
}

// prepare completes the request, and refuses what can be seen to be wrong before anything is sent.
func (c *core) prepare(ctx context.Context, r *request, opts []Option) error {
	if c.err != nil {
		return c.err
	}
	r.ttl, r.maxWait, r.priority, r.renew = c.cfg.TTL, c.cfg.MaxWait, c.cfg.Priority, !c.cfg.NoRenewal
	if err := r.apply(opts); err != nil {
		return err
	}
	return ctx.Err()
}

// lockRequest is the request as the backend wants it.
func (c *core) lockRequest(r *request) backend.LockRequest {
	return backend.LockRequest{Namespace: c.ns, Token: r.token, TTL: r.ttl, Items: r.items}
}

// try does not wait: h is nil if the names cannot be had now.
func (c *core) try(ctx context.Context, s *space, r *request) (h *Held, err error) {
	req := c.lockRequest(r)
	req.Again, req.Durability = r.again, c.cfg.durability()
	at := s.leases.Now()
	reply, err := c.be.Lock(ctx, req)
	if err != nil || len(reply.Grants) == 0 {
		return nil, err
	}
	return c.hold(ctx, s, r, &lease.Granted{Grants: reply.Grants, At: at})
}

// upgradeChecks is how often one looks whether others that share the token have got the lock since it was refused.
const upgradeChecks = 3

// checkUpgrade refuses what would wait for itself: the token has a name already, but otherwise than it is wanted. It
// reports same if the token has it by now just as it is wanted, because somebody else has asked with it.
func (c *core) checkUpgrade(ctx context.Context, r *request) (same bool, err error) {
	states, err := c.holders(ctx, r.items)
	for i := range states {
		for _, h := range states[i].Holders {
			if h.Token == r.token {
				if len(r.items) > 1 || h.Units != r.items[0].Units {
					return false, ErrUpgrade
				}
				same = true
			}
		}
	}
	return same, err
}

// wait takes at once, or when its turn has come.
func (c *core) wait(ctx context.Context, s *space, r *request) (h *Held, err error) {
	kept := *r // so that r need not be on the heap for those who do not wait
	err = s.leases.Acquire(ctx, c.be, lease.Wait{
		EnterRequest: backend.EnterRequest{Lock: c.lockRequest(r), Priority: r.priority, ClaimTTL: c.cfg.ClaimTTL},
		MaxWait:      r.maxWait,
	}, func(got *lease.Granted) (err error) {
		if c.cfg.Replicas > 0 {
			err = c.spread(ctx, s, &kept, got)
		}
		if err == nil {
			h, err = c.hold(ctx, s, &kept, got)
		}
		return err
	})
	if errors.Is(err, lease.ErrWaited) {
		err = fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return h, err
}

// spread has what was granted after a wait reach replicas, or gives it back.
func (c *core) spread(ctx context.Context, s *space, r *request, got *lease.Granted) error {
	items := make([]backend.Renewal, len(got.Grants))
	for i := range got.Grants {
		items[i] = backend.Renewal{Member: got.Grants[i].Member, Token: got.Grants[i].Token, TTL: r.ttl}
	}
	at := s.leases.Now()
	reply, err := c.be.RenewLocks(ctx, backend.RenewRequest{
		Namespace: c.ns, Items: items, Durability: c.cfg.durability(),
	})
	if err == nil {
		for _, renewed := range reply.Renewed {
			if !renewed && got.Claim > 0 {
				err = ErrExpired // the claim has passed on: lease.Group.Acquire enters the line again
			} else if !renewed {
				err = ErrLost
			}
		}
	}
	if err == nil {
		got.At, got.Claim = at, 0
		return nil
	}
	var h lease.Hold
	_ = s.leases.StartAll(ctx, &h, got.Grants, got.At, lease.Terms{TTL: r.ttl, Claim: got.Claim})
	return and(err, h.Discard(ctx))
}

// hold makes a lease of what was granted. If it fails it is given back.
func (c *core) hold(ctx context.Context, s *space, r *request, got *lease.Granted) (*Held, error) {
	g := &grip{core: c, space: s, items: r.items, ttl: r.ttl, handles: 1}
	g.first.grip = g
	err := s.leases.StartAll(ctx, &g.hold, got.Grants, got.At, lease.Terms{
		TTL: r.ttl, Renew: r.renew, Claim: got.Claim, Owner: g,
	})
	if err != nil {
		var h lease.Hold // of which the observer is told nothing
		_ = s.leases.StartAll(ctx, &h, got.Grants, got.At, lease.Terms{TTL: r.ttl, Claim: got.Claim})
		return nil, and(err, h.Discard(ctx))
	}
	return &g.first, nil
}

// refused tells the observer why there is no lock.
func (c *core) refused(ctx context.Context, s *space, r *request, begin lease.Instant, err error) {
	e := backend.Event{Token: r.token, Duration: s.leases.Now().Sub(begin), Err: err}
	switch {
	case r.wait && (ctx.Err() != nil || errors.Is(err, ErrLocked) || errors.Is(err, backend.ErrClosed)):
		c.observeAll(backend.EventCancelled, r.items, e)
	case errors.Is(err, ErrLocked):
		c.observeAll(backend.EventExhausted, r.items, e)
	}
}

// observeAll tells the observer of something that happened to all these names.
func (c *core) observeAll(kind backend.EventKind, items []backend.LockItem, e backend.Event) {
	if c.cfg.Observer == nil {
		return
	}
	e.Kind, e.Namespace = kind, c.ns
	for i := range items {
		e.Member = items[i].Name
		lease.Observe(c.cfg.Observer, c.cfg.Logger, e)
	}
}

func (c *core) logger() *slog.Logger {
	if c.cfg.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.cfg.Logger
}

// names is for logs.
func names(items []backend.LockItem) string {
	all := make([]string, len(items))
	for i := range items {
		all[i] = items[i].Name
	}
	return strings.Join(all, " ")
}
