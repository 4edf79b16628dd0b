package policy

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Errors of a policy and of the pool that asks it; compare with errors.Is.
var (
	// ErrExhausted means that the pool has fewer free members than were asked for. pool.ErrExhausted is the same
	// value.
	ErrExhausted = errors.New("no free member")

	// ErrUnhealthy means that [CheckBeforeUse] found no healthy member. It comes joined with the last reason.
	ErrUnhealthy = errors.New("no healthy member")

	// ErrNoMembers means that a [Source] named no member at all. The pool stays as it is.
	ErrNoMembers = errors.New("source named no members")

	// ErrInUse means that a policy which keeps state about its pool was given to a second one.
	ErrInUse = errors.New("policy belongs to another pool")
)

// PanicError is what became of a panic in the caller's code: a source, a health check, a hook.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // where, as debug.Stack prints it; for logs, not for users
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap gives the value of the panic if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard runs f and makes an error of its panic.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
