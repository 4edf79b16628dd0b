package pool

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/policy"
)

// takeRequest is the request as the backend wants it.
func (a *Allocator[T]) takeRequest(req *policy.Request[T], token string) backend.TakeRequest {
	if req.Token != "" {
		token = req.Token
	}
	name := req.Name
	if req.Only { // the binding has no say
		name = ""
	}
	return backend.TakeRequest{
		Namespace: a.cfg.Namespace, Token: token, TTL: req.TTL, Count: req.Count, Shared: a.cfg.Shared,
		Binding: name, BindingTTL: req.BindingTTL, Prefer: req.Prefer, Only: req.Only, Collect: req.Collect,
	}
}

// enterRequest is the request of one who waits.
func (a *Allocator[T]) enterRequest(req *policy.Request[T], token string) backend.EnterRequest {
	return backend.EnterRequest{Take: a.takeRequest(req, token), Priority: req.Priority, ClaimTTL: a.cfg.ClaimTTL}
}

// take gets members from the backend, without waiting: as many as were asked for, or an error.
func (a *Allocator[T]) take(ctx context.Context, req *policy.Request[T]) (lease.Granted, error) {
	take := a.takeRequest(req, backend.NewToken())
	at := a.leases.Now()
	reply, err := a.be.Take(ctx, take)
	if err == nil && len(reply.Grants) == 0 {
		if req.Quarantined && req.Only && len(req.Prefer) == 1 {
			return a.takeOver(ctx, req, take)
		}
		err = ErrExhausted
	}
	return lease.Granted{Grants: reply.Grants, At: at}, err
}

// wait waits for members, and has grant make leases of them. That may be called again if the process was stopped.
func (a *Allocator[T]) wait(ctx context.Context, req *policy.Request[T], grant func(*lease.Granted) error) error {
	at := a.leases.Now()
	enter := a.enterRequest(req, backend.NewToken())
	var failed error
	err := a.leases.Acquire(ctx, a.be, lease.Wait{EnterRequest: enter, MaxWait: req.MaxWait},
		func(got *lease.Granted) error {
			failed = grant(got)
			return failed
		})
	if err == nil || failed != nil && errors.Is(err, failed) {
		return err
	}
	if ctx.Err() != nil || errors.Is(err, lease.ErrWaited) || errors.Is(err, backend.ErrClosed) {
		a.observe(backend.Event{
			Kind: backend.EventCancelled, Namespace: a.cfg.Namespace, Token: enter.Take.Token,
			Duration: a.leases.Now().Sub(at), Err: err,
		})
	}
	if errors.Is(err, lease.ErrWaited) {
		err = fmt.Errorf("%w: %w", ErrExhausted, err)
	}
	return err
}

// takeOver takes a member that is kept back: its lock changes hands in one step. In shared mode the lock stays.
func (a *Allocator[T]) takeOver(ctx context.Context, req *policy.Request[T], take backend.TakeRequest) (lease.Granted, error) {
	key := req.Prefer[0]
	seen, err := a.be.Inspect(ctx, backend.InspectRequest{Namespace: a.cfg.Namespace, Only: req.Prefer})
	if err != nil {
		return lease.Granted{}, err
	}
	if len(seen.Members) != 1 || !backend.IsQuarantine(seen.Members[0].Owner) {
		return lease.Granted{}, ErrExhausted
	}
	got := lease.Granted{Grants: []backend.Grant{{Member: key, Token: take.Token}}, At: a.leases.Now()}
	if !a.cfg.Shared {
		reply, err := a.be.Renew(ctx, backend.RenewRequest{Namespace: a.cfg.Namespace, Items: []backend.Renewal{{
			Member: key, Token: seen.Members[0].Owner, NewToken: take.Token, TTL: take.TTL,
		}}})
		if err != nil {
			return lease.Granted{}, join(err, a.discard(ctx, req, &got, 0)) // it may have come about
		}
		if len(reply.Renewed) != 1 || !reply.Renewed[0] {
			return lease.Granted{}, ErrExhausted
		}
	}
	return got, nil
}

// allocate does a request: it takes the members and makes leases of them.
func (a *Allocator[T]) allocate(ctx context.Context, req *policy.Request[T]) ([]*Lease[T], error) {
	if req.Wait {
		var leases []*Lease[T]
		err := a.wait(ctx, req, func(got *lease.Granted) (err error) {
			leases, err = a.grantAll(ctx, req, got)
			return err
		})
		return leases, err
	}
	got, err := a.take(ctx, req)
	if err != nil {
		return nil, err
	}
	return a.grantAll(ctx, req, &got)
}

// grantAll makes leases of all that was granted. If it fails all of it is given back.
func (a *Allocator[T]) grantAll(ctx context.Context, req *policy.Request[T], got *lease.Granted) ([]*Lease[T], error) {
	leases := make([]*Lease[T], 0, len(got.Grants))
	for i := range got.Grants {
		l, err := a.grant(ctx, req, got, i)
		if err != nil {
			for i++; i < len(got.Grants); i++ {
				err = errors.Join(err, a.discard(ctx, req, got, i))
			}
			return nil, errors.Join(err, releaseAll(ctx, leases))
		}
		leases = append(leases, l)
	}
	return leases, nil
}

// allocateOne is allocate for one member, without a list.
func (a *Allocator[T]) allocateOne(ctx context.Context, req *policy.Request[T]) (*Lease[T], error) {
	if req.Wait {
		var l *Lease[T]
		err := a.wait(ctx, req, func(got *lease.Granted) (err error) {
			l, err = a.grant(ctx, req, got, 0)
			return err
		})
		return l, err
	}
	got, err := a.take(ctx, req)
	if err != nil {
		return nil, err
	}
	return a.grant(ctx, req, &got, 0)
}

// grant makes a lease of a grant. If it fails the member is given back.
func (a *Allocator[T]) grant(ctx context.Context, req *policy.Request[T], got *lease.Granted, i int) (*Lease[T], error) {
	l := &Lease[T]{a: a, object: req.Object, hasObject: req.HasObject, noRenewal: req.NoRenewal}
	if req.Params != nil || req.Name != "" {
		l.more.Store(&more[T]{params: req.Params, name: req.Name, bindingTTL: req.BindingTTL})
	}
	h := &l.first
	if err := a.leases.Start(ctx, h, got.Grants[i], got.At, a.terms(req, got)); err != nil {
		return nil, errors.Join(fmt.Errorf("member %q: %w", got.Grants[i].Member, err), h.Discard(ctx))
	}
	l.hold.Store(h)
	if req.HasObject {
		l.traits = a.traitsOf(req.Object)
		if err := configure(req.Object, got.Grants[i].Member, req.Params); err != nil {
			return nil, errors.Join(fmt.Errorf("configure %q: %w", got.Grants[i].Member, err), h.Release(ctx))
		}
	}
	if a.cfg.Observer != nil {
		waited := got.Waited
		if !req.Wait {
			waited = h.Age()
		}
		a.observe(backend.Event{
			Kind: backend.EventGranted, Namespace: a.cfg.Namespace, Member: h.Key(), Token: h.Token(), Fence: h.Fence(),
			Duration: waited,
		})
	}
	return l, nil
}

// discard gives back a grant that was not made a lease.
func (a *Allocator[T]) discard(ctx context.Context, req *policy.Request[T], got *lease.Granted, i int) error {
	h := new(lease.Hold)
	_ = a.leases.Start(ctx, h, got.Grants[i], got.At, a.terms(req, got))
	return h.Discard(ctx)
}

func (a *Allocator[T]) terms(req *policy.Request[T], got *lease.Granted) lease.Terms {
	return lease.Terms{TTL: req.TTL, Renew: !req.NoRenewal, Shared: a.cfg.Shared, Claim: got.Claim}
}

func releaseAll[T Allocatable](ctx context.Context, leases []*Lease[T]) error {
	var errs []error
	for _, l := range leases {
		errs = append(errs, l.Release(ctx))
	}
	return errors.Join(errs...)
}

// configure, and below it nameOf and idOf, call the user's code.
func configure[T Allocatable](obj T, key string, params any) (err error) {
	defer caught("Configure", &err)
	return obj.Configure(key, params)
}

func nameOf(obj any) (name string, err error) {
	defer caught("BindingName", &err)
	return obj.(Namer).BindingName(), nil
}

func idOf(obj any) (id string, err error) {
	defer caught("ObjectID", &err)
	return obj.(Identifier).ObjectID(), nil
}

// ask does a request through the policy.
func (a *Allocator[T]) ask(ctx context.Context, req *policy.Request[T]) (leases []*Lease[T], err error) {
	v := &view[T]{a: a, track: true}
	got, err := v.ask(ctx, *req)
	if err != nil {
		return nil, err
	}
	leases = make([]*Lease[T], len(got))
	for i := range got {
		l, ok := got[i].(*Lease[T])
		if !ok || l == nil || l.a != a {
			return nil, errors.Join(fmt.Errorf("%w: %T", errForeignLease, got[i]), v.undo(ctx))
		}
		leases[i] = l
	}
	if len(leases) != req.Count {
		err := errors.New("policy gave " + strconv.Itoa(len(leases)) + " leases instead of " + strconv.Itoa(req.Count))
		return nil, errors.Join(err, v.undo(ctx))
	}
	return leases, nil
}
