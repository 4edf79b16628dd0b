package backend

import (
	"errors"
	"fmt"
	"strconv"
)

// Errors of a backend. They come wrapped with what was attempted; compare with errors.Is.
var (
	// ErrInvalid is matched by every [InvalidError]: a request that breaks the contract. Nothing was sent
	// and nothing has changed.
	ErrInvalid = errors.New("invalid request")

	// ErrClosed is what a closed backend, or something above it that was closed, answers.
	ErrClosed = errors.New("closed")

	// ErrUnavailable means that the store could not be asked, that its answer did not arrive, or that it refuses by its own
	// words: it has no memory left, is loading its data, or is a replica. What it refused has not happened. Else what was
	// asked may or may not have happened; the backend itself gives back what was granted without anybody learning it.
	ErrUnavailable = errors.New("store unavailable")

	// ErrWrongType means that one of the keys holds something that this library did not write there.
	// Nothing has changed.
	ErrWrongType = errors.New("key holds a value of the wrong type")

	// ErrPermission means that the store refuses a command or a key to this user.
	ErrPermission = errors.New("permission denied")

	// ErrUnsupported means that the store lacks something that is needed: it is too old, or it is a cluster
	// and the [Namespace] does not set HashTag.
	ErrUnsupported = errors.New("not supported by the store")

	// ErrLimit is matched by every [LimitError].
	ErrLimit = errors.New("limit differs")

	// ErrConflict means that a task was submitted under the id of another one, which has another payload or queue.
	// Nothing has changed.
	ErrConflict = errors.New("another task has this id")

	// ErrReplicas is matched by every [ReplicasError].
	ErrReplicas = errors.New("too few replicas")

	// ErrNotNumber means that a numeric [Condition] met a stored value that is no number. Nothing has
	// changed.
	ErrNotNumber = errors.New("stored value is not a number")
)

// InvalidError says which part of a request breaks the contract, and why.
type InvalidError struct {
	Field  string // what was wrong: "member", "ttl", ...
	Value  string // the offending value, quoted and cut to a readable length
	Reason string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("invalid %s %s: %s", e.Field, e.Value, e.Reason)
}

// Is reports whether target is [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// LimitError says that a name has another limit of units than a request believes. Nothing has changed.
type LimitError struct {
	Name   string
	Asked  int // what the request says
	Stored int // what the store says; 0: no limit
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: %q has a limit of %d, not of %d", ErrLimit, e.Name, e.Stored, e.Asked)
}

// Is reports whether target is [ErrLimit].
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// ReplicasError says that a step has not reached as many replicas as it had to.
type ReplicasError struct {
	Want, Got int
}

func (e *ReplicasError) Error() string {
	return fmt.Sprintf("%v: %d of %d have it", ErrReplicas, e.Got, e.Want)
}

// Is reports whether target is [ErrReplicas].
func (e *ReplicasError) Is(target error) bool { return target == ErrReplicas }

func invalid(field, value, reason string) error {
	const readable = 64
	if len(value) > readable {
		value = value[:readable] + "..."
	}
	return &InvalidError{Field: field, Value: strconv.Quote(value), Reason: reason}
}

func itoa(n int) string { return strconv.Itoa(n) }
