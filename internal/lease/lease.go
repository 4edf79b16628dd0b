// Package lease keeps leases alive and knows when they end. Pools, locks and tasks share it.
//
// A [Group] is one user of one namespace of a backend. Groups of the same backend share one keeper, which renews all
// their leases in batches: live leases cost memory, not goroutines. What a lease costs on the way from Start to
// Release is a place in a queue; there are no timers and no goroutines of its own.
//
// The end of a lease is a matter of the local monotonic clock: the moment the last confirmed request was sent, plus
// the TTL, minus a margin ([Margin]). Whoever asks a [Hold] asks that clock; no goroutine must run for the answer to
// be right. A lease that has ended stays so, whatever reply arrives later.
package lease

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Why a lease, and with it its context, has ended.
var (
	// ErrLost means that the store says that the lease is no longer ours: it ran out there, somebody took it
	// away by force, or the store lost its data.
	ErrLost = errors.New("lease lost")

	// ErrExpired means that the lease was not renewed in time, by our own clock.
	ErrExpired = errors.New("lease expired")

	// ErrReleased means that its holder gave it back.
	ErrReleased = errors.New("lease released")

	// ErrNotHeld is the answer to who wants to give back or change what is not, or no longer, theirs. Nothing
	// was changed.
	ErrNotHeld = errors.New("not held")
)

const (
	minMargin = time.Millisecond
	maxMargin = 250 * time.Millisecond

	// ReleaseTimeout bounds what Release does while its caller waits. What
	// could not be done in that time goes on in the background.
	ReleaseTimeout = 5 * time.Second
)

// Margin is how much earlier than the store the holder of a lease takes it to be over: a fiftieth of the TTL, at
// least 1 ms and at most 250 ms, but never more than half of the TTL. It covers clocks that run at different speed
// and the time until a holder that was told has stopped.
func Margin(ttl time.Duration) time.Duration {
	return min(max(ttl/50, minMargin), maxMargin, ttl/2)
}

// Instant is a moment on the monotonic clock of a backend's keeper, in nanoseconds.
type Instant int64

const never Instant = math.MaxInt64

// add does not overflow: a sum that is too large is never.
func (i Instant) add(d time.Duration) Instant {
	if s := i + Instant(d); s >= i || d < 0 {
		return s
	}
	return never
}

// Sub gives the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// end is the moment at which a lease that was asked for at sent must be taken to be over.
func end(sent Instant, ttl time.Duration) Instant {
	if ttl == backend.NoExpiry {
		return never
	}
	return sent.add(ttl - Margin(ttl))
}

// renewAfter is how long after its beginning or its last renewal a lease is renewed.
func renewAfter(ttl time.Duration) time.Duration { return ttl / 3 }

// fate is how a lease has ended, in a byte.
type fate uint8

const (
	live fate = iota
	lost
	expired
	released
	closed // the group was closed
)

var errGroupClosed = fmt.Errorf("lease is no longer renewed: %w", backend.ErrClosed)

func (f fate) err() error {
	switch f {
	case lost:
		return ErrLost
	case expired:
		return ErrExpired
	case released:
		return ErrReleased
	case closed:
		return errGroupClosed
	default:
		return nil
	}
}

// notHeld is what a holder gets whose lease has ended like this.
func (f fate) notHeld() error {
	if err := f.err(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotHeld, err)
	}
	return ErrNotHeld
}
