package task

import (
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Errors of tasks; those of package backend come besides. They are wrapped with what was attempted, and with the task.
var (
	// ErrExpired means that the task's time was over before it was done. If nobody had taken it by then and no listener
	// lived, the error also matches ErrNoListener.
	ErrExpired = errors.New("task expired")

	// ErrCancelled means that somebody cancelled the task. It is also the cause of the end of the handler's context.
	ErrCancelled = errors.New("task cancelled")

	// ErrNoListener means that nobody listens who could do the task.
	ErrNoListener = errors.New("nobody listens")

	// ErrNoLocal means that the policy wants the task done in this process, and that the queue has no handler for that;
	// see [Queue.WithLocal].
	ErrNoLocal = errors.New("no local handler")

	// ErrConflict means that the id belongs to another task: one with another payload, or of another queue.
	ErrConflict = backend.ErrConflict

	// ErrForeignPayload means that a payload or a result cannot be decoded: it is of another codec or of another type, or
	// something else, such as Python's pickle, stands under the key.
	ErrForeignPayload = errors.New("payload is not in a form that can be decoded")

	// ErrTooLarge means that a payload, a result or a progress message is larger than [Config].MaxSize.
	ErrTooLarge = errors.New("payload too large")

	// ErrLost means that the task is not there: it never was, it is not kept any longer, or the store lost its data. For a handler it
	// is the cause of the end of its context: the task is, or will be, somebody else's.
	ErrLost = errors.New("task lost")

	// ErrTimeout is the cause of the end of a handler's context if the time of the attempt is over.
	ErrTimeout = errors.New("attempt timed out")

	// ErrDrained is the cause of the end of a handler's context if its server is to end and has waited long enough for it.
	// The task goes back to its queue.
	ErrDrained = errors.New("server ends")

	// ErrDead means that the task used up its attempts, or the deaths of its workers. It comes with the last [Error],
	// if there was one. The task is kept for somebody to look at; see [Queue.Dead].
	ErrDead = errors.New("task is dead")

	// ErrNotDead refuses to revive what is not dead, or no task of ours.
	ErrNotDead = errors.New("task is not dead")

	// ErrEnded refuses to cancel what has ended.
	ErrEnded = errors.New("task has ended")

	// ErrRunning refuses to remove what has not ended.
	ErrRunning = errors.New("task has not ended")
)

// Codes of the errors that this package itself reports of an attempt. Panics and timeouts can be retried.
const (
	CodePanic   = "panic"   // the handler panicked, or ended its goroutine
	CodeTimeout = "timeout" // the attempt took too long
	CodeResult  = "result"  // the result could not be encoded, or was too large: final
	CodePayload = "payload" // the payload could not be decoded: the task is dead
	CodeDeaths  = "deaths"  // too many workers died: the task is dead
)

// Error is what crosses the wire of an error. Handlers return one, or wrap one, to say more than a message:
//
//	var ErrNoImage = &task.Error{Code: "no_image", Message: "no such image"}
//
//	return res, fmt.Errorf("%s: %w", name, ErrNoImage) // in the handler: final, because it is not Retryable
//
//	if errors.Is(err, ErrNoImage) { ... }              // at the caller
//
// An error that is none has no Code and is retryable.
type Error struct {
	Code      string // for programs; two errors of the same code match by errors.Is, unless it is empty
	Message   string // for people
	Retryable bool   // whether another attempt may help
}

// Error gives the message or, without one, the code.
func (e *Error) Error() string {
	if e == nil {
		return "<nil>"
	}
	if e.Message != "" {
		return e.Message
	}
	return e.Code
}

// Is reports whether target is an [Error] of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && (t == e || t.Code != "" && t.Code == e.Code)
}

// Final marks the error of a handler as one that no other attempt can mend. It keeps what errors.Is and errors.As say
// about it. Nil stays nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &markedError{err: err, final: true}
}

// RetryAfter marks the error of a handler as one after which the next attempt begins after d, instead of what
// [Config].Backoff says. It makes the error retryable. Nil stays nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &markedError{err: err, after: max(d, 0)}
}

type markedError struct {
	err   error
	final bool
	after time.Duration
}

func (m *markedError) Error() string { return fmt.Sprint(m.err) }
func (m *markedError) Unwrap() error { return m.err }

// wire gives what crosses the wire of a handler's error, and how it wants to be retried: after < 0 leaves it to the
// backoff.
func wire(err error) (e Error, after time.Duration) {
	defer func() {
		if p := recover(); p != nil { // of errors.As: a method of the error's panicked
			e, after = Error{Code: CodePanic, Message: fmt.Sprintf("panic of an error: %v", p), Retryable: true}, -1
		}
	}()
	e, after = Error{Message: fmt.Sprint(err), Retryable: true}, -1 // unlike err.Error, Sprint survives a nil pointer
	var declared *Error
	if errors.As(err, &declared) && declared != nil {
		e.Code, e.Retryable = declared.Code, declared.Retryable
	}
	var mark *markedError
	if errors.As(err, &mark) {
		e.Retryable = !mark.final
		if !mark.final {
			after = mark.after
		}
	}
	if e.Code == "" && errors.Is(err, ErrTimeout) {
		e.Code = CodeTimeout
	}
	return e, after
}

// final reports whether err says that no other attempt, here or elsewhere, can help.
func final(err error) bool {
	e, _ := wire(err)
	return !e.Retryable
}

func invalid(field, value, reason string) error {
	return &backend.InvalidError{Field: field, Value: value, Reason: reason}
}

// fail says what was attempted, and with what.
func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %.100q: %w", op, name, err)
}

// lostBy gives the cause of a handler's end for that of its lease.
func lostBy(err error) error { return fmt.Errorf("%w: %w", ErrLost, err) }
