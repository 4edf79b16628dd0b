package pool

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/policy"
)

// view is what a policy sees of the allocator.
type view[T Allocatable] struct {
	a *Allocator[T]

	// While the policy answers one request, track has the view remember what it granted, in case that the policy
	// panics or answers nonsense.
	mu     sync.Mutex
	track  bool
	leases []*Lease[T]
}

var (
	_ policy.Pool[None]  = (*view[None])(nil)
	_ policy.Lease[None] = (*Lease[None])(nil)
)

// view gives one that is good for as long as the allocator is open.
func (a *Allocator[T]) view() *view[T] { return &view[T]{a: a} }

// ask puts a request to the policy.
func (v *view[T]) ask(ctx context.Context, req policy.Request[T]) (got []policy.Lease[T], err error) {
	returned := false
	defer func() {
		if !returned { // it has panicked
			_ = v.undo(ctx)
		}
	}()
	defer caught("policy", &err)
	got, err = v.a.cfg.Policy.Allocate(ctx, v, req)
	returned = true
	v.mu.Lock()
	v.track = false
	v.mu.Unlock()
	return got, err
}

// undo gives back what was granted.
func (v *view[T]) undo(ctx context.Context) error {
	v.mu.Lock()
	leases := v.leases
	v.leases, v.track = nil, false
	v.mu.Unlock()
	return releaseAll(ctx, leases)
}

func (v *view[T]) Namespace() backend.Namespace { return v.a.cfg.Namespace }
func (v *view[T]) Shared() bool                 { return v.a.cfg.Shared }
func (v *view[T]) Logger() *slog.Logger         { return v.a.cfg.Logger }
func (v *view[T]) Observe(e backend.Event)      { v.a.observe(e) }

func (v *view[T]) Allocate(ctx context.Context, req policy.Request[T]) ([]policy.Lease[T], error) {
	if v.a.closed.Load() {
		return nil, backend.ErrClosed
	}
	if req.HasObject && v.a.traits&nilable != 0 && lease.IsNil(req.Object) {
		return nil, ErrNilObject
	}
	leases, err := v.a.allocate(ctx, &req)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	if v.track {
		v.leases = append(v.leases, leases...)
	}
	v.mu.Unlock()
	seen := make([]policy.Lease[T], len(leases))
	for i, l := range leases {
		seen[i] = l
	}
	return seen, nil
}

func (v *view[T]) Keys(ctx context.Context) iter.Seq2[string, error] { return v.a.Keys(ctx) }

func (v *view[T]) Extend(ctx context.Context, keys []string, ttl time.Duration) error {
	return v.a.Extend(ctx, keys, MemberTTL(ttl))
}

func (v *view[T]) Assign(ctx context.Context, keys []string, ttl time.Duration) error {
	return v.a.Assign(ctx, keys, MemberTTL(ttl))
}

func (v *view[T]) TryLock(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	if v.a.closed.Load() {
		return false, backend.ErrClosed
	}
	reply, err := v.a.be.Set(ctx, backend.SetRequest{
		Namespace: v.a.cfg.Namespace, Kind: backend.KindLock,
		Items: []backend.SetItem{{Name: name, Value: backend.NewToken(), TTL: ttl, Cond: backend.IfAbsent}},
	})
	if err != nil {
		return false, err
	}
	return len(reply.Set) == 1 && reply.Set[0], nil
}
