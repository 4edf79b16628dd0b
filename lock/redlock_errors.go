package lock

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNoQuorum means that too few servers of a [Redlock] could be asked, or answered in time, to decide anything: neither
// that a lock is ours nor that it is somebody else's.
var ErrNoQuorum = errors.New("no quorum")

// RedlockError says how a call has failed that asked several servers. It matches [ErrLocked] if so many servers answered
// that they could have been a quorum, but others hold the lock on too many of them; otherwise it matches [ErrNoQuorum].
// It matches whatever the servers failed with, too, such as backend.ErrUnavailable.
//
// The counts are as they were when the outcome was certain: servers that had not answered by then are in none of them.
type RedlockError struct {
	Op      string // "lock", "extend" or "unlock"
	Name    string // of the lock
	Servers int    // how many there are
	Quorum  int    // how many must agree
	Agreed  int    // how many did
	Refused int    // how many have the lock for somebody else, or no longer for us

	// Failed are those that gave no answer, by their number.
	Failed []*ServerError

	kind error
}

func (e *RedlockError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %.100q: %v: %d of %d servers agreed, %d refused, %d failed, %d are needed",
		e.Op, e.Name, e.kind, e.Agreed, e.Servers, e.Refused, len(e.Failed), e.Quorum)
	for i, failed := range e.Failed {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(failed.Error())
	}
	return b.String()
}

// Unwrap gives the kind of failure and each server's error.
func (e *RedlockError) Unwrap() []error {
	errs := make([]error, 0, 1+len(e.Failed))
	errs = append(errs, e.kind)
	for _, failed := range e.Failed {
		errs = append(errs, failed)
	}
	return errs
}

// ServerError is what is wrong with one server of a [Redlock].
type ServerError struct {
	Index int    // in the order in which they were given to NewRedlock, from 0
	Name  string // see RedlockConfig.Names
	Err   error
}

func (e *ServerError) Error() string { return "server " + e.Name + ": " + e.Err.Error() }

// Unwrap gives what the server answered, or why it did not.
func (e *ServerError) Unwrap() error { return e.Err }

func serverName(names []string, i int) string {
	if len(names) == 0 {
		return strconv.Itoa(i)
	}
	return names[i]
}
