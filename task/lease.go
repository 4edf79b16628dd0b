package task

import "context"

// Lease is what a handler may hold for its run: *pool.Lease[T] is one, and *lock.Held with [Unlocker].
type Lease interface {
	Context() context.Context // ends with the lease
	Release(ctx context.Context) error
}

// WithLease has each run of the handler hold a lease: of a member of a pool, or on a lock. The handler gets at it with
// [LeaseOf], and its context ends with it, too.
//
//	h = task.WithLease[Params, Result](func(ctx context.Context, t *task.Task[Params]) (*pool.Lease[*GPU], error) {
//		return gpus.Acquire(ctx, &GPU{})
//	})(h)
//
// While it waits for the lease the task does not occupy a worker: others are done meanwhile. So many tasks as
// [ServeConfig].MaxParked says may wait like this; then no more of this queue are taken. If acquire fails, so does the attempt; a lease that
// ends while the handler runs ends the handler's context.
func WithLease[P, R any, L Lease](acquire func(ctx context.Context, t *Task[P]) (L, error)) Middleware[P, R] {
	panic("not there yet")
}

// LeaseOf gives the lease that the handler holds; false if it holds none of that type.
func LeaseOf[L Lease](ctx context.Context) (L, bool) {
	l, ok := ctx.Value(leaseKey{}).(L)
	return l, ok
}

type leaseKey struct{}
