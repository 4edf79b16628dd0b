package policy

import (
	"context"
	"strconv"

	"github.com/redisallocator/redisallocator/backend"
)

// Chain puts the parts one around the other, the first outermost, and [Direct] inside. Without parts it is Direct. A
// chain is a policy like any other, so that a part can be put around it: Collect[T](50)(Default[T](d)).
//
// Parts only change the request on its way in, or look at the leases on their way out, so that nearly every order does
// the same. What to know:
//
//   - Whatever is inside of [CheckBeforeUse] runs once for each attempt, what is outside of it once for all. [Refresh]
//     and [AutoClose] belong outside; inside they do no harm, but look at every candidate. An [Order] that depends on
//     the failures belongs inside, so that the second attempt knows of the first.
//   - Of two Collects or two Binds the inner one wins, and of two Orders the outer one's advice comes first. Two
//     Refreshes take each other's turn: one interval has one lock.
//   - AutoClose in a shared pool closes objects that are in use, unless they have ids of their own.
//   - [Bind] belongs outside of a CheckBeforeUse with [NoQuarantine]: inside, every attempt prefers the bound member
//     again, however sick it is.
//
// A nil part, or one whose configuration is invalid, is remembered: the chain's Initialize, and with it pool.New, and
// each Allocate give a [backend.InvalidError] that says what is wrong.
func Chain[T any](parts ...Middleware[T]) Policy[T] {
	var next Policy[T] = &direct[T]{}
	for i := len(parts) - 1; i >= 0; i-- {
		var part Policy[T]
		if parts[i] != nil {
			part = parts[i](next)
		}
		if part == nil {
			part = invalidPart(next, "policy part", strconv.Itoa(i), "must not be nil")
		}
		next = &link[T]{part: part, next: next}
	}
	return next
}

// Part makes a Middleware of a function. It gets the request and the next policy, which it may call once, several
// times or never:
//
//	audited := policy.Part(func(ctx context.Context, p policy.Pool[*Proxy], req policy.Request[*Proxy],
//		next policy.Policy[*Proxy]) ([]policy.Lease[*Proxy], error) {
//		leases, err := next.Allocate(ctx, p, req)
//		audit(p.Namespace(), len(leases), err)
//		return leases, err
//	})
//
// A function that throws leases away releases them first. For a part with hooks, write a type with Allocate and
// [Initializer] or [Finalizer], and a Middleware that puts it around next; inside of [Chain] it needs no Unwrap.
func Part[T any](
	allocate func(ctx context.Context, p Pool[T], req Request[T], next Policy[T]) ([]Lease[T], error),
) Middleware[T] {
	return func(next Policy[T]) Policy[T] {
		if allocate == nil {
			return invalidPart(next, "policy part", "nil", "must be a function")
		}
		return checkedPart(next, &part[T]{next: next, allocate: allocate})
	}
}

// change makes a Middleware that only changes the request.
func change[T any](f func(ctx context.Context, p Pool[T], req *Request[T])) Middleware[T] {
	return Part(func(ctx context.Context, p Pool[T], req Request[T], next Policy[T]) ([]Lease[T], error) {
		f(ctx, p, &req)
		return next.Allocate(ctx, p, req)
	})
}

// direct is Direct behind a pointer, so that links can be compared.
type direct[T any] struct{}

func (*direct[T]) Allocate(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error) {
	return p.Allocate(ctx, req)
}

// link is one part in a chain. It knows what the part was put around, whether or not the part tells.
type link[T any] struct {
	part, next Policy[T]
}

func (l *link[T]) Allocate(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error) {
	return l.part.Allocate(ctx, p, req)
}

func (l *link[T]) Unwrap() Policy[T] { return l.part }

type part[T any] struct {
	next     Policy[T]
	allocate func(ctx context.Context, p Pool[T], req Request[T], next Policy[T]) ([]Lease[T], error)
}

func (a *part[T]) Allocate(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error) {
	return a.allocate(ctx, p, req, a.next)
}

func (a *part[T]) Unwrap() Policy[T] { return a.next }

// invalid stands where a part should be that cannot work.
type invalid[T any] struct {
	next Policy[T]
	err  error
}

func invalidPart[T any](next Policy[T], field, value, reason string) Policy[T] {
	return &invalid[T]{next: next, err: &backend.InvalidError{Field: field, Value: value, Reason: reason}}
}

// checkedPart is p, unless it was put around nothing.
func checkedPart[T any](next, p Policy[T]) Policy[T] {
	if next == nil {
		return invalidPart(next, "policy", "nil", "must not be wrapped")
	}
	return p
}

func (a *invalid[T]) Allocate(context.Context, Pool[T], Request[T]) ([]Lease[T], error) {
	return nil, a.err
}

func (a *invalid[T]) Initialize(context.Context, Pool[T]) error { return a.err }
func (a *invalid[T]) Unwrap() Policy[T]                         { return a.next }
