package pool

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/policy"
)

// Errors of allocations and leases; those of package backend come besides. They are wrapped with what was attempted.
var (
	// ErrExhausted means that there are not as many free members as were asked for, or, with [MaxWait], that
	// there were not in time.
	ErrExhausted = policy.ErrExhausted

	// ErrUnhealthy means that no healthy member was found. It comes joined with the last reason.
	ErrUnhealthy = policy.ErrUnhealthy

	// ErrNotHeld means that a lease has ended: there was nothing to give back or to change, and nothing was
	// changed. It comes joined with ErrLost, ErrExpired or ErrReleased, if that is known.
	ErrNotHeld = lease.ErrNotHeld

	// ErrLost is the cause of a lease's end if the store said that it is no longer ours.
	ErrLost = lease.ErrLost

	// ErrExpired is the cause of a lease's end if it was not renewed in time.
	ErrExpired = lease.ErrExpired

	// ErrReleased is the cause of a lease's end if its holder gave it back, or, by [Lease.Refresh], exchanged
	// its member.
	ErrReleased = lease.ErrReleased

	// ErrNilObject refuses a nil object. It matches backend.ErrInvalid.
	ErrNilObject error = &backend.InvalidError{Field: "object", Value: "nil", Reason: "must not be nil"}

	// errForeignLease is for a policy that gives leases of its own.
	errForeignLease = errors.New("policy gave a lease that this pool did not grant")
)

// fail says what was attempted, and in which pool.
func (a *Allocator[T]) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %.100s: %w", op, a.cfg.Namespace.Base(), err)
}

// caught makes an error of a panic in somebody else's code. It is deferred.
func caught(where string, err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%s: %w", where, &policy.PanicError{Value: v, Stack: debug.Stack()})
	}
}
