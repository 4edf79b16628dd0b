package backend

import (
	"context"
	"time"
)

// Lines are where requests wait that could not be granted. There is one line for each pool, and one for each name that
// can be locked.
//
// The order is priority class first, then arrival, across all processes. A step that frees something hands it to
// the first live waiter at once: it writes that waiter's token with a short TTL, the claim, and tells that
// waiter's process. Nobody else is woken. The waiter's first Renew turns the claim into a lease; a claim that is
// not taken up passes on to the next. A request for several members stays first in line until there are enough. A
// request for several names waits in all their lines, at the same place in each, holds none of them meanwhile, and is
// granted when it is first in all of them and all can be had. Those who share a name enter together, as far as they come
// first; nobody overtakes one who waits for it alone, or for more units than there are.
//
// A waiter whose process fell silent is passed over. A waiter need not do anything while it waits: the backend
// keeps its place, notices when a holder died and a lease ran out, and asks again when the store lost its data.
type Lines interface {
	// Enter takes at once, if nobody waits in front and what is asked for can be had, or joins the line.
	// The context bounds the step, not the wait; whoever stops waiting calls Leave. If Enter fails, also
	// because its context ended, nothing is held and nobody waits, or will be as soon as the store can be
	// reached.
	Enter(ctx context.Context, req EnterRequest) (EnterReply, error)

	// Leave takes a request out of the line and gives back what was handed over to it, whether or not it has
	// learnt of it. A request that does not wait is left alone, but for what it was handed and has not renewed.
	Leave(ctx context.Context, req LeaveRequest) (LeaveReply, error)

	// Queue looks at the line.
	Queue(ctx context.Context, req QueueRequest) (QueueReply, error)
}

// EnterRequest is a request that is ready to wait: for members of a pool or, if Lock has items, for names. Take must
// not set Only; Lock must not set Again, Downgrade or Durability.
type EnterRequest struct {
	Take     TakeRequest
	Lock     LockRequest
	Priority int           // larger comes first; -MaxPriority to MaxPriority
	ClaimTTL time.Duration // for how long a hand-over is kept until the first renewal; 0: DefaultClaimTTL
}

// EnterReply has grants, as Take, or a channel.
type EnterReply struct {
	Grants []Grant

	// Handover receives once, with room for it, so that nobody blocks. It is nil if there are grants.
	Handover <-chan Handover
}

// Handover ends a wait. The TTL of its grants is that of the claim. It counts from a moment that nobody knows, because
// the message took its time; but that moment was not before Since.
type Handover struct {
	Grants []Grant
	Err    error // why there will be no grant: ErrClosed, or what the store answered

	// Since is when something was sent, the last that is known of, whose answer said that the request still waited
	// and had been granted nothing. It is read from the local, monotonic clock. A holder that counts the TTL of the
	// claim from here is on the safe side.
	Since time.Time
}

// LeaveRequest names a request that stops waiting: in the line of the pool, or in those of Names, which then are those
// that it asked for.
type LeaveRequest struct {
	Namespace Namespace
	Token     string
	Names     []string
}

// LeaveReply tells what was undone.
type LeaveReply struct {
	Waiting  bool // it was in line
	Returned int  // so many members or names had been handed over and were given back
}

// QueueRequest asks for the line's length and, with a token, for that request's place.
type QueueRequest struct {
	Namespace Namespace
	Name      string // whose line; empty: the pool's
	Token     string
	Limit     int // how many waiters to list, from the front; 0: none
}

// QueueReply describes the line.
type QueueReply struct {
	Length   int
	Position int // of Token, from 1; 0 if it does not wait
	Waiters  []Waiter
}

// Waiter is one request in line.
type Waiter struct {
	Token    string
	Priority int
	Count    int       // members, or units; 0: the name, alone
	Since    time.Time // by the server's clock
}

// ForLocks reports whether the request is for names, and not for members of a pool.
func (r *EnterRequest) ForLocks() bool { return len(r.Lock.Items) > 0 }

// Space is the namespace of the request.
func (r *EnterRequest) Space() Namespace {
	if r.ForLocks() {
		return r.Lock.Namespace
	}
	return r.Take.Namespace
}

// Owner is the token of the request.
func (r *EnterRequest) Owner() string {
	if r.ForLocks() {
		return r.Lock.Token
	}
	return r.Take.Token
}

// Validate checks the request; see [InvalidError].
func (r *EnterRequest) Validate() error {
	if r.ForLocks() {
		if err := r.Lock.Validate(); err != nil {
			return err
		}
		if r.Lock.Again || r.Lock.Downgrade || r.Lock.Durability.Replicas != 0 {
			return &InvalidError{Field: "lock", Value: "again, downgrade or durability", Reason: "cannot wait"}
		}
	} else {
		if err := r.Take.Validate(); err != nil {
			return err
		}
		if r.Take.Only {
			return &InvalidError{Field: "only", Value: "true", Reason: "cannot wait"}
		}
	}
	if r.ClaimTTL != 0 && r.ClaimTTL < time.Millisecond {
		return invalid("claim ttl", r.ClaimTTL.String(), "must be at least a millisecond")
	}
	return checkCount("priority", r.Priority, -MaxPriority, MaxPriority)
}

// Validate checks the request; see [InvalidError].
func (r *LeaveRequest) Validate() error {
	return first(r.Namespace.Validate(), ValidateToken(r.Token), checkCount("names", len(r.Names), 0, MaxLockNames),
		checkNames(r.Names))
}

// Validate checks the request; see [InvalidError].
func (r *QueueRequest) Validate() error {
	if r.Name != "" {
		if err := ValidateName(r.Name); err != nil {
			return err
		}
	}
	if r.Token != "" {
		if err := ValidateToken(r.Token); err != nil {
			return err
		}
	}
	return first(r.Namespace.Validate(), checkCount("limit", r.Limit, 0, BatchLimit))
}
