package policy

import (
	"context"
	"errors"
	"iter"

	"github.com/redisallocator/redisallocator/backend"
)

// partsOf gives the policy and what it is wrapped around, outermost first, each part once.
func partsOf[T any](pol Policy[T]) iter.Seq[Policy[T]] {
	return func(yield func(Policy[T]) bool) { walk(pol, nil, yield) }
}

// walk goes from p inwards up to end, which is nil, a *link or the *direct of a chain: comparing with it never panics.
func walk[T any](p, end Policy[T], yield func(Policy[T]) bool) bool {
	for p != nil && p != end {
		if l, ok := p.(*link[T]); ok {
			// The part may be a whole chain of its own, or hide what is behind it.
			if !walk(l.part, l.next, yield) {
				return false
			}
			p = l.next
			continue
		}
		if !yield(p) {
			return false
		}
		w, ok := p.(Wrapper[T])
		if !ok {
			return true
		}
		p = w.Unwrap()
	}
	return true
}

// Initialize calls the [Initializer] of each part, outermost first. After an error the parts that were initialized
// are finalized again. A panic is an error ([PanicError]), and so is a nil policy ([backend.InvalidError]).
//
// The allocator calls it; it is exported for those who put a policy to work on a [Pool] of their own.
func Initialize[T any](ctx context.Context, pol Policy[T], p Pool[T]) error {
	if pol == nil {
		return &backend.InvalidError{Field: "policy", Value: "nil", Reason: "must not be nil"}
	}
	var done []Policy[T]
	for part := range partsOf(pol) {
		if in, ok := part.(Initializer[T]); ok {
			if err := guard(func() error { return in.Initialize(ctx, p) }); err != nil {
				return errors.Join(err, finalize(ctx, done))
			}
		}
		done = append(done, part)
	}
	return nil
}

// Finalize calls the [Finalizer] of each part, innermost first, all of them, and joins their errors. A panic is an
// error. A nil policy has nothing to finalize.
func Finalize[T any](ctx context.Context, pol Policy[T]) error {
	var parts []Policy[T]
	for part := range partsOf(pol) {
		parts = append(parts, part)
	}
	return finalize(ctx, parts)
}

func finalize[T any](ctx context.Context, parts []Policy[T]) error {
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		if f, ok := parts[i].(Finalizer); ok {
			errs = append(errs, guard(func() error { return f.Finalize(ctx) }))
		}
	}
	return errors.Join(errs...)
}
