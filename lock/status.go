package lock

import (
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Status is how available a name is, as [Keys.Status] and [KeyState.Status] see it.
type Status uint8

// The statuses, as in Python.
const (
	StatusFree        Status = iota // it is not locked
	StatusUnavailable               // it is locked, for longer than was asked about
	StatusLocked                    // it is locked, and free again in time unless the lock is renewed
	StatusError                     // it is locked for ever: somebody forgot the TTL, or meant it
)

func (s Status) String() string {
	switch s {
	case StatusFree:
		return "free"
	case StatusUnavailable:
		return "unavailable"
	case StatusLocked:
		return "locked"
	case StatusError:
		return "error"
	default:
		return "status " + strconv.Itoa(int(s))
	}
}

// KeyState is one name as it was seen.
type KeyState struct {
	Name   string
	Locked bool

	// Value is that of the lock: a token (see [ParseHolder]), what was given to [Keys.Lock], or what Python wrote.
	// backend.SharedToken stands for several holders, whom [RWMutex] and [Semaphore] know.
	Value string

	// TTL is what is left: backend.NoExpiry if the lock never runs out, 0 if there is none.
	TTL time.Duration
}

// Status says how available the name is to somebody who could wait for threshold: a lock that lasts longer is
// [StatusUnavailable].
func (s KeyState) Status(threshold time.Duration) Status {
	switch {
	case !s.Locked:
		return StatusFree
	case s.TTL == backend.NoExpiry:
		return StatusError
	case s.TTL > threshold:
		return StatusUnavailable
	default:
		return StatusLocked
	}
}

func keyState(name string, v backend.Value) KeyState {
	return KeyState{Name: name, Locked: v.Exists, Value: v.Value, TTL: v.TTL}
}
