package task

import "context"

// Lease is what a handler may hold for its run: *pool.Lease[T] is one, and *lock.Held by [Locked].
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
// [ServeConfig].MaxParked says may wait like this; then no more of this queue are taken. Who has got the lease goes on as
// soon as a worker is free, before new tasks are begun. If acquire fails, so does the attempt; a lease that
// ends while the handler runs ends the handler's context.
func WithLease[P, R any, L Lease](acquire func(ctx context.Context, t *Task[P]) (L, error)) Middleware[P, R] {
	return func(h Handler[P, R]) Handler[P, R] {
		return func(ctx context.Context, t *Task[P]) (res R, err error) {
			var l L
			got := false
			defer func() {
				if !got {
					return
				}
				if failed := l.Release(context.WithoutCancel(ctx)); failed != nil {
					t.Logger().WarnContext(ctx, "lease of a task not given back", "error", failed)
				}
			}()
			err = t.run.wait(func() (err error) {
				l, err = acquire(ctx, t)
				got = err == nil
				return err
			})
			if err != nil {
				return res, err
			}
			held, cancel := context.WithCancelCause(context.WithValue(ctx, leaseKey[L]{}, l))
			defer cancel(nil)
			of := l.Context()
			defer context.AfterFunc(of, func() { cancel(context.Cause(of)) })()
			return h(held, t)
		}
	}
}

// LeaseOf gives the lease that the handler holds; false if it holds none of that type. L is what acquire gave.
func LeaseOf[L Lease](ctx context.Context) (L, bool) {
	l, ok := ctx.Value(leaseKey[L]{}).(L)
	return l, ok
}

type leaseKey[L Lease] struct{}

// Unlocker is a lock that is held, such as *lock.Held.
type Unlocker interface {
	Context() context.Context
	Unlock(ctx context.Context) error
}

// LockLease is a lock as a [Lease]. [LeaseOf] gives it, and so the lock.
type LockLease[H Unlocker] struct{ Held H }

// Locked makes a lease of what locking gave:
//
//	h = task.WithLease[Params, Result](func(ctx context.Context, t *task.Task[Params]) (task.LockLease[*lock.Held], error) {
//		return task.Locked(mutex.Lock(ctx))
//	})(h)
func Locked[H Unlocker](held H, err error) (LockLease[H], error) { return LockLease[H]{held}, err }

// Context ends with the lock.
func (l LockLease[H]) Context() context.Context { return l.Held.Context() }

// Release unlocks it.
func (l LockLease[H]) Release(ctx context.Context) error { return l.Held.Unlock(ctx) }
