package policy

import (
	"cmp"
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/binding"
)

// BindConfig says which soft binding an allocation uses.
type BindConfig[T any] struct {
	// Name gives the name to bind, overriding what the object says and what the caller asked for; "" for none. If it
	// is nil, the name stays as it is. It is called in each allocation and must be quick. If it panics, which is logged,
	// the allocation has no binding.
	Name func(ctx context.Context, req Request[T]) string

	// TTL is how long the binding lasts from each use on, overriding the caller's. Default binding.DefaultTTL, one
	// hour; backend.NoExpiry: for ever.
	TTL time.Duration
}

// Bind chooses the soft binding of each allocation of a single member; the allocation itself looks it up and writes
// it, in the same step and without a further round trip. Requests for several members have no binding and are
// passed on as they are.
func Bind[T any](cfg BindConfig[T]) Middleware[T] {
	ttl := cmp.Or(cfg.TTL, binding.DefaultTTL)
	if err := checkPositive("binding ttl", ttl); err != nil && ttl != backend.NoExpiry {
		return func(next Policy[T]) Policy[T] { return &invalid[T]{next: next, err: err} }
	}
	return change(func(ctx context.Context, p Pool[T], req *Request[T]) {
		if req.Count > 1 {
			return
		}
		req.BindingTTL = ttl
		if cfg.Name == nil {
			return
		}
		name := ""
		if err := guard(func() error { name = cfg.Name(ctx, *req); return nil }); err != nil {
			p.Logger().WarnContext(ctx, "allocation is not bound",
				append([]any{"namespace", p.Namespace().String()}, logError(err)...)...)
		}
		req.Name = name
	})
}
