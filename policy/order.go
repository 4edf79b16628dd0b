package policy

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// Order lets a function say which members an allocation should try first, best first; those it does not name are tried
// after them, from the head of the free list. Members that are taken, or not in the pool, are skipped without cost to
// speak of. Only the first backend.MaxTake names count.
//
// A soft binding still comes first, then what the caller preferred, then this. Requests for particular members alone
// (Only) are passed on as they are. If first fails or panics, the allocation goes on without its advice, which is
// logged.
//
// first is called in each allocation, on the caller's time: what it needs to know it should know already. p.Keys costs
// round trips, so a function that wants to order all members remembers them for a while.
//
// A request that waits in line takes what is freed next; the order counts for what is free when it arrives.
func Order[T any](first func(ctx context.Context, p Pool[T], req Request[T]) ([]string, error)) Middleware[T] {
	if first == nil {
		return func(next Policy[T]) Policy[T] {
			return invalidPart(next, "order", "nil", "must be a function")
		}
	}
	return change(func(ctx context.Context, p Pool[T], req *Request[T]) {
		if req.Only {
			return
		}
		var names []string
		err := guard(func() (err error) {
			names, err = first(ctx, p, *req)
			return err
		})
		if err != nil {
			p.Logger().WarnContext(ctx, "members are not ordered",
				append([]any{"namespace", p.Namespace().String()}, logError(err)...)...)
			return
		}
		names = names[:min(len(names), max(0, backend.MaxTake-len(req.Prefer)))]
		// The caller's slice may have room behind it that is not ours.
		req.Prefer = append(req.Prefer[:len(req.Prefer):len(req.Prefer)], names...)
	})
}
