// Package backend is the contract between everything that locks, leases and waits in this library and the
// store that remembers it.
//
// A [Backend] is split into roles, so that a consumer can ask for no more than it needs:
//
//   - [Values]: keys with a value (an owner token), an expiry and a condition;
//   - [Sets]: plain membership;
//   - [Pools]: free lists of members under leases;
//   - [Locks]: names that are held under leases, alone or shared;
//   - [Lines]: waiting in turn for members or names;
//   - [Queues]: tasks under leases, and their ends.
//
// Every method is one atomic step and never blocks waiting for somebody else; what waits, waits on the channel
// that [Lines.Enter], [Queues.Watch] or [Queues.Fetch] returned. Requests and replies are plain structs, so that the contract
// grows by fields and a wrapper (metrics, faults) is one small type. Requests validate themselves: an implementation calls
// Validate first and sends nothing when it fails.
//
// A batch of more than [BatchLimit] members may be carried out in slices, each of them atomic.
//
// Two implementations come with the library: backend/memory (one process) and backend/rueidis (Redis and
// Valkey). A third one can be written from this page alone, or one of some roles; backend/backendtest checks it.
package backend

import (
	"math"
	"time"
)

// NoExpiry is the TTL of what never runs out. A lease without expiry that nobody gives back stays taken for
// ever: it is meant for administrators and for holders that are watched by other means.
const NoExpiry time.Duration = -1

const (
	// BatchLimit is the number of members that are treated in one atomic step. Longer lists are cut.
	BatchLimit = 1000

	// MaxNameLen is the longest name, member, token or prefix, in bytes.
	MaxNameLen = 4096

	// MaxPriority and -MaxPriority bound the priority classes of a line.
	MaxPriority = 1000

	// MaxTake is the largest number of members that one [TakeRequest] may ask for or prefer.
	MaxTake = BatchLimit

	// DefaultClaimTTL is how long a member that was handed over is kept for a waiter who has not yet
	// renewed it.
	DefaultClaimTTL = 5 * time.Second
)

// Tolerance is the distance up to which two numbers count as equal in a numeric [Condition].
const Tolerance = 1e-6

// Backend is everything that the packages above need from a store. Implementations are safe for concurrent use.
type Backend interface {
	Values
	Sets
	Pools
	Locks
	Lines
	Queues

	// Close ends all waits with [ErrClosed], waits for the goroutines of the backend and frees what it
	// owns. It does not give leases back. Calls after Close get [ErrClosed]; Close again does nothing.
	Close() error
}

// Reconnector is implemented by backends that can lose their store for a while. The function given to
// OnReconnect is called, on a goroutine of the backend, each time the store is reachable again after it was not,
// and must not block. The returned function ends the registration.
type Reconnector interface {
	OnReconnect(func()) (stop func())
}

// ValidateTTL reports what is wrong with the lifetime of a lease, a lock or a value; field is what it is called.
func ValidateTTL(field string, ttl time.Duration) error {
	switch {
	case ttl == NoExpiry, ttl >= time.Millisecond:
		return nil
	default:
		return invalid(field, ttl.String(), "must be at least a millisecond, or NoExpiry")
	}
}

func checkCount(field string, n, lo, hi int) error {
	if n < lo || n > hi {
		return badCount(field, n, lo, hi)
	}
	return nil
}

func badCount(field string, n, lo, hi int) error {
	return &InvalidError{Field: field, Value: itoa(n), Reason: "must be " + itoa(lo) + " to " + itoa(hi)}
}

// Millis gives d in whole milliseconds, rounded up; [NoExpiry] gives -1.
func Millis(d time.Duration) int64 {
	if d == NoExpiry {
		return -1
	}
	ms := d / time.Millisecond
	if d%time.Millisecond != 0 && ms < math.MaxInt64 {
		ms++
	}
	return int64(ms)
}
