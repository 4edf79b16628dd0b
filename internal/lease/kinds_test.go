package lease_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// rig is a store with one kind of leases.
type rig struct {
	*store
	t     *testing.T
	names bool
}

// kinds runs a test, in a bubble, for leases on members m0, m1, ... and for leases on names.
func kinds(t *testing.T, members int, test func(t *testing.T, r *rig)) {
	t.Helper()
	for kind, names := range map[string]bool{"members": false, "names": true} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				test(t, &rig{store: newStore(t, members), t: t, names: names})
			})
		})
	}
}

func (r *rig) keep(cfg lease.Config) *lease.Group {
	r.t.Helper()
	if !r.names {
		return keep(r.t, r.store, cfg)
	}
	return keepLocks(r.t, r.store, cfg)
}

func keepLocks(t *testing.T, s lease.Names, cfg lease.Config) *lease.Group {
	t.Helper()
	cfg.Namespace = ns
	g := lease.KeepLocks(s, cfg)
	t.Cleanup(g.Close)
	return g
}

// take starts a lease on m0.
func (r *rig) take(g *lease.Group, terms lease.Terms) *lease.Hold {
	r.t.Helper()
	return r.takeThis(g, terms, "m0")
}

func (r *rig) takeThis(g *lease.Group, terms lease.Terms, name string) *lease.Hold {
	r.t.Helper()
	if r.names {
		return r.lock(r.t, g, terms, name)
	}
	at := g.Now()
	reply, err := r.Take(r.t.Context(), backend.TakeRequest{
		Namespace: ns, Token: backend.NewToken(), TTL: terms.TTL, Prefer: []string{name}, Only: true,
	})
	require.NoError(r.t, err)
	require.Len(r.t, reply.Grants, 1)
	h := new(lease.Hold)
	require.NoError(r.t, g.Start(r.t.Context(), h, reply.Grants[0], at, terms))
	return h
}

// lock starts a lease on names.
func (s *store) lock(t *testing.T, g *lease.Group, terms lease.Terms, names ...string) *lease.Hold {
	t.Helper()
	req := backend.LockRequest{Namespace: ns, Token: backend.NewToken(), TTL: terms.TTL}
	for _, name := range names {
		req.Items = append(req.Items, backend.LockItem{Name: name})
	}
	at := g.Now()
	reply, err := s.Lock(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, reply.Grants, len(names))
	h := new(lease.Hold)
	require.NoError(t, g.StartAll(t.Context(), h, reply.Grants, at, terms))
	return h
}

// wait is for one member, or for the name m0.
func (r *rig) wait(ttl time.Duration) lease.Wait {
	w := lease.Wait{}
	token := backend.NewToken()
	if r.names {
		w.Lock = backend.LockRequest{Namespace: ns, Token: token, TTL: ttl, Items: []backend.LockItem{{Name: "m0"}}}
	} else {
		w.Take = backend.TakeRequest{Namespace: ns, Token: token, TTL: ttl}
	}
	return w
}

// handed has a waiter of g get what somebody has held for a while.
func (r *rig) handed(g *lease.Group, ttl time.Duration) lease.Granted {
	r.t.Helper()
	other := r.keep(lease.Config{})
	before := r.take(other, lease.Terms{TTL: 2 * time.Hour})
	result := enter(r.t.Context(), g, r.store, r.wait(ttl))
	<-time.After(time.Hour)
	require.NoError(r.t, before.Release(r.t.Context()))
	got, err := result()
	require.NoError(r.t, err)
	require.Equal(r.t, "m0", got.Grants[0].Member)
	r.set(func() { r.renews, r.items, r.returns = 0, 0, 0 })
	return got
}

// start makes a lease of what was handed over.
func (r *rig) start(g *lease.Group, got *lease.Granted, terms lease.Terms) *lease.Hold {
	r.t.Helper()
	terms.Claim = got.Claim
	h := new(lease.Hold)
	require.NoError(r.t, g.StartAll(r.t.Context(), h, got.Grants, got.At, terms))
	return h
}

// value is what stands in the store: the owner's token, and for how long.
func (s *store) value(t *testing.T, name string) backend.Value {
	t.Helper()
	values, err := s.Get(t.Context(), backend.GetRequest{Namespace: ns, Kind: backend.KindLock, Names: []string{name}})
	require.NoError(t, err)
	return values[0]
}

// remove takes the lease away from its holder.
func (s *store) remove(t *testing.T, name string) {
	t.Helper()
	_, err := s.Delete(t.Context(), backend.DeleteRequest{
		Namespace: ns, Kind: backend.KindLock, Items: []backend.DeleteItem{{Name: name}},
	})
	require.NoError(t, err)
}

func TestBothKindsLiveAsLongAsTheirHolderHoldsThem(t *testing.T) {
	t.Parallel()
	kinds(t, 2, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(true))
		<-time.After(24 * time.Hour)
		require.True(t, h.Valid())
		require.Equal(t, h.Token(), r.value(t, h.Key()).Value)
		require.NoError(t, h.Release(t.Context()))
		require.Empty(t, r.value(t, h.Key()).Value)
		require.NoError(t, h.Release(t.Context()))
	})
}

func TestALeaseThatWasTakenAwayIsLostAndNotMadeAgain(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		lost := make(chan error, 1)
		g := r.keep(lease.Config{OnLost: func(_ *lease.Hold, why error) { lost <- why }})
		h := r.take(g, minute(true))
		ctx := h.Context()
		r.remove(t, h.Key())
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), lease.ErrLost)
		require.ErrorIs(t, <-lost, lease.ErrLost)
		<-time.After(time.Hour)
		require.Empty(t, r.value(t, h.Key()).Value)
		err := h.Release(t.Context())
		require.ErrorIs(t, err, lease.ErrNotHeld)
		require.ErrorIs(t, err, lease.ErrLost)
	})
}

func TestALeaseThatSomebodyElseHasIsNotGivenBack(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(true))
		_, err := r.Set(t.Context(), backend.SetRequest{
			Namespace: ns, Kind: backend.KindLock, Items: []backend.SetItem{{Name: h.Key(), Value: "1", TTL: time.Hour}},
		})
		require.NoError(t, err)
		require.ErrorIs(t, h.Release(t.Context()), lease.ErrNotHeld)
		require.Equal(t, "1", r.value(t, h.Key()).Value)
	})
}

func TestBothKindsAreGivenBackWhateverTheContext(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(true))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, h.Release(ctx))
		require.Empty(t, r.value(t, h.Key()).Value)
	})
}

func TestAReleaseOfEitherKindThatFailsIsTriedUntilTheLeaseIsOver(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		outage := func(context.Context, backend.ReturnRequest) error { return backend.ErrUnavailable }
		for _, repaired := range []bool{true, false} {
			h := r.take(g, minute(true))
			r.set(func() { r.onReturn = outage })
			err := h.Release(t.Context())
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-time.After(50 * time.Second)
			require.Equal(t, h.Token(), r.value(t, h.Key()).Value)
			r.set(func() { r.returns = 0 })
			if repaired {
				r.set(func() { r.onReturn = nil })
				<-time.After(time.Second)
				require.Empty(t, r.value(t, h.Key()).Value)
			} else {
				<-time.After(time.Minute)
				r.set(func() { r.returns = 0 })
			}
			<-time.After(time.Hour)
			r.mu.Lock()
			require.LessOrEqual(t, r.returns, 1)
			r.mu.Unlock()
		}
	})
}

func TestARenewalOfEitherKindNeverRevives(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(true))
		r.set(func() { r.onRenew = hang })
		<-h.Context().Done()
		require.ErrorIs(t, h.Err(), lease.ErrExpired)
		<-time.After(time.Second)
		r.set(func() { r.onRenew = nil })
		require.Empty(t, r.value(t, h.Key()).Value)
		<-time.After(time.Hour)
		require.Empty(t, r.value(t, h.Key()).Value)
		require.False(t, h.Valid())
	})
}

func TestBothKindsShareAKeeperAndNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		members, names := keep(t, s, lease.Config{}), keepLocks(t, s, lease.Config{})
		m, n := s.take(t, members, ns, minute(true)), s.lock(t, names, minute(true), "name")
		s.set(func() {
			s.onRenew = func(_ context.Context, req backend.RenewRequest) error {
				assert.Len(t, req.Items, 1, "a call is for one kind")
				return nil
			}
		})
		<-time.After(time.Hour)
		members.Close()
		require.False(t, m.Valid())
		<-time.After(time.Hour)
		require.True(t, n.Valid())
		require.NoError(t, n.Release(t.Context()))
	})
}
