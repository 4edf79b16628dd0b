package policy

import (
	"context"
	"strconv"

	"github.com/redisallocator/redisallocator/backend"
)

// DefaultCollect is how many members [Default] has the collector look at in each allocation, as in Python.
const DefaultCollect = 5

// Collect has the collector look at about n members in each allocation, 1 to backend.BatchLimit. It rides in the same
// call as the allocation and costs no round trip.
//
// A lease that ran out is found without it. It is there for what nobody told us: locks that somebody removed or let
// lapse outside of this library, members whose time in the pool is over, and free members that were locked by hand.
func Collect[T any](n int) Middleware[T] {
	if n < 1 || n > backend.BatchLimit {
		return func(next Policy[T]) Policy[T] {
			return invalidPart(next, "collect", strconv.Itoa(n), "must be 1 to "+strconv.Itoa(backend.BatchLimit))
		}
	}
	return change(func(_ context.Context, _ Pool[T], req *Request[T]) { req.Collect = n })
}
