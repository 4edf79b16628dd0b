package lease_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/internal/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ns = backend.Namespace{Prefix: "test", Suffix: "lease"}

// store is the memory backend with a hook before each kind of call, which may fail or delay it. The calls are counted.
// A hook is for members and for names alike.
type store struct {
	*memory.Backend

	mu      sync.Mutex
	renews  int // calls
	items   int // leases in them
	returns int

	onRenew  func(ctx context.Context, req backend.RenewRequest) error
	onReturn func(ctx context.Context, req backend.ReturnRequest) error
	onLeave  func(ctx context.Context) error
	// answered is called with what became of a renewal, and may change it.
	answered func(reply backend.RenewReply, err error) (backend.RenewReply, error)

	// since, if set, changes since when a hand-over counts at the latest. It may take its time.
	since func(time.Time) time.Time

	back func() // what to call when the store is back
	done chan struct{}
}

// unknown has nobody know since when a hand-over counts.
func unknown(time.Time) time.Time { return time.Time{} }

// newStore has members m0, m1, ...
func newStore(t *testing.T, members int) *store {
	t.Helper()
	s := &store{Backend: memory.New(), done: make(chan struct{})}
	t.Cleanup(func() {
		close(s.done)
		_ = s.Close()
	})
	s.fill(t, ns, members)
	return s
}

func (s *store) fill(t *testing.T, ns backend.Namespace, members int) {
	t.Helper()
	names := make([]string, members)
	for i := range names {
		names[i] = fmt.Sprintf("m%d", i)
	}
	_, err := s.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: names, TTL: backend.NoExpiry})
	require.NoError(t, err)
}

func (s *store) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return s.renew(ctx, req, s.Backend.Renew)
}

func (s *store) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return s.renew(ctx, req, s.Backend.RenewLocks)
}

func (s *store) renew(ctx context.Context, req backend.RenewRequest,
	do func(context.Context, backend.RenewRequest) (backend.RenewReply, error),
) (backend.RenewReply, error) {
	s.mu.Lock()
	s.renews++
	s.items += len(req.Items)
	before, after := s.onRenew, s.answered
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, req); err != nil {
			return backend.RenewReply{}, err
		}
	}
	reply, err := do(ctx, req)
	if after != nil {
		return after(reply, err)
	}
	return reply, err
}

func (s *store) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	s.mu.Lock()
	s.returns++
	before := s.onReturn
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, req); err != nil {
			return backend.ReturnReply{}, err
		}
	}
	return s.Backend.Return(ctx, req)
}

func (s *store) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	s.mu.Lock()
	s.returns++
	before := s.onReturn
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, backend.ReturnRequest{Namespace: req.Namespace, Items: req.Items}); err != nil {
			return backend.UnlockReply{}, err
		}
	}
	return s.Backend.Unlock(ctx, req)
}

func (s *store) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	reply, err := s.Backend.Enter(ctx, req)
	s.mu.Lock()
	since := s.since
	s.mu.Unlock()
	if reply.Handover == nil || since == nil {
		return reply, err
	}
	handover := make(chan backend.Handover, 1)
	go func() {
		select {
		case h := <-reply.Handover:
			h.Since = since(h.Since)
			handover <- h
		case <-s.done:
		}
	}()
	return backend.EnterReply{Handover: handover}, err
}

func (s *store) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	s.mu.Lock()
	before := s.onLeave
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return backend.LeaveReply{}, err
		}
	}
	return s.Backend.Leave(ctx, req)
}

// OnReconnect makes it a backend.Reconnector.
func (s *store) OnReconnect(f func()) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.back = nil
	}
}

func (s *store) reconnect() {
	s.mu.Lock()
	back := s.back
	s.mu.Unlock()
	back()
}

// set changes hooks while others use them.
func (s *store) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *store) calls() (renews, items int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renews, s.items
}

// free is how many members are in the free list.
func (s *store) free(t *testing.T, ns backend.Namespace) int {
	t.Helper()
	reply, err := s.Inspect(t.Context(), backend.InspectRequest{Namespace: ns})
	require.NoError(t, err)
	require.Empty(t, backend.CheckPool(reply, true))
	n := 0
	for i := range reply.Members {
		if reply.Members[i].Free() {
			n++
		}
	}
	return n
}

// keep makes a group that is closed with the test.
func keep(t *testing.T, s lease.Members, cfg lease.Config) *lease.Group {
	t.Helper()
	if cfg.Namespace == (backend.Namespace{}) {
		cfg.Namespace = ns
	}
	g := lease.Keep(s, cfg)
	t.Cleanup(g.Close)
	return g
}

// take starts a lease on the next free member.
func (s *store) take(t *testing.T, g *lease.Group, ns backend.Namespace, terms lease.Terms) *lease.Hold {
	t.Helper()
	return s.takeFor(t, t.Context(), g, ns, terms)
}

func (s *store) takeFor(t *testing.T, ctx context.Context, g *lease.Group, ns backend.Namespace, terms lease.Terms) *lease.Hold { //nolint:revive // t first, as everywhere here
	t.Helper()
	at := g.Now()
	reply, err := s.Take(t.Context(), backend.TakeRequest{
		Namespace: ns, Token: backend.NewToken(), TTL: terms.TTL, Shared: terms.Shared,
	})
	require.NoError(t, err)
	require.Len(t, reply.Grants, 1)
	h := new(lease.Hold)
	require.NoError(t, g.Start(ctx, h, reply.Grants[0], at, terms))
	return h
}

func minute(renew bool) lease.Terms { return lease.Terms{TTL: time.Minute, Renew: renew} }

// hang blocks until the call's context ends.
func hang(ctx context.Context, _ backend.RenewRequest) error {
	<-ctx.Done()
	return ctx.Err()
}

func unavailable(context.Context, backend.RenewRequest) error { return backend.ErrUnavailable }
