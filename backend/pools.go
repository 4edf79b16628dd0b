package backend

import (
	"context"
	"time"
)

// Pools are free lists of members. A member is free (linked into the list) or allocated. In exclusive mode an
// allocated member has a lock whose value is the token of its holder and whose end is that of the lease; in shared
// mode members only move from the head of the list to its tail.
//
// At every moment: the list walked forwards is the reverse of the list walked backwards and has exactly the free
// members; the head has no predecessor, the tail no successor; no member is half allocated; and what these methods
// freed or took is not free and locked at once (see [CheckPool]).
//
// A lease that ran out is found by its deadline, without a collection: the next Take, whoever calls it, first puts the
// member back at the tail, so that an exhausted pool is served at once, and so is the first in line. A lock that
// somebody else set or removed without a word is noticed by Take when it comes to that member, and by Collect.
//
// Whatever frees a member hands it to the first in line, if anybody waits (see [Lines]).
type Pools interface {
	// Extend adds members at the tail of the free list, in their order, and removes locks left over from an
	// earlier life. Those that are members already only get a new expiry.
	Extend(ctx context.Context, req ExtendRequest) (EditReply, error)

	// Shrink removes members, free or not. Locks stay; what was leased is not given back any more.
	Shrink(ctx context.Context, req ShrinkRequest) (EditReply, error)

	// Assign makes the members the only ones: others are removed as by Shrink, new ones added as by Extend;
	// those that stay keep their state and their expiry. No members empties the pool. A list or a pool of
	// more than BatchLimit is first extended and then shrunk.
	Assign(ctx context.Context, req ExtendRequest) (EditReply, error)

	// Take allocates Count members, or none. See [TakeRequest] for which.
	Take(ctx context.Context, req TakeRequest) (TakeReply, error)

	// Return gives members back: those whose lock has the given token lose it and go to the tail of the free
	// list, if they still are in the pool.
	Return(ctx context.Context, req ReturnRequest) (ReturnReply, error)

	// Renew sets the TTL of leases (and of locks in the same namespace) whose lock still has the given
	// token. It never brings back a lease that ran out.
	Renew(ctx context.Context, req RenewRequest) (RenewReply, error)

	// Collect looks at about Count members, going on where the last call in any process stopped: an
	// allocated one without a lock goes to the tail of the free list, an expired one is dropped, a free one
	// with a lock is marked allocated.
	Collect(ctx context.Context, req CollectRequest) (CollectReply, error)

	// Inspect looks and changes nothing.
	Inspect(ctx context.Context, req InspectRequest) (InspectReply, error)
}

// ExtendRequest names members to add.
type ExtendRequest struct {
	Namespace Namespace
	Members   []string      // any number; twice the same counts once
	TTL       time.Duration // lifetime of the membership, in whole seconds, rounded up; NoExpiry for ever
}

// ShrinkRequest names members to remove.
type ShrinkRequest struct {
	Namespace Namespace
	Members   []string
}

// EditReply counts what an edit has changed.
type EditReply struct {
	Added, Removed int
}

// TakeRequest asks for members. They are looked for in this order: the one that Binding is bound to, those in
// Prefer, then from the head of the free list. Expired members met on the way are dropped, locked ones skipped; those
// met at the head are marked allocated, too.
//
// While somebody waits in line, Take grants nothing from the list: those who wait come first.
type TakeRequest struct {
	Namespace Namespace
	Token     string        // becomes the value of the locks; unique to this request
	TTL       time.Duration // of the lease; positive, or NoExpiry; not used with Shared
	Count     int           // how many, all or none; 0: 1
	Shared    bool          // rotate instead of lock

	// Binding is a name that prefers the member it had before. If that is still in the pool and not locked
	// it is taken, else the binding is dropped and another member is taken and bound. Only with Count 1.
	Binding    string
	BindingTTL time.Duration // positive, or NoExpiry; counts anew at each use

	// Prefer lists members to try first, in this order. With Only, no others are tried: that is how one
	// particular member is taken, leased or (with a token from [QuarantineToken]) kept back. Only does not
	// respect the line.
	Prefer []string
	Only   bool

	// Collect lets the same step first collect members as Pools.Collect does, so many on average.
	Collect int
}

// Grant is one member that was taken.
type Grant struct {
	Member string
	Token  string
	Fence  int64         // larger than that of every earlier grant in the namespace; 0 in shared mode
	TTL    time.Duration // of the lease, counted from some moment after the request was sent; NoExpiry in shared mode
}

// TakeReply has Count grants, or none if there are not that many free members.
type TakeReply struct {
	Grants []Grant
}

// Held names a member and the token under which somebody has it.
type Held struct {
	Member, Token string
}

// ReturnRequest gives members back.
type ReturnRequest struct {
	Namespace Namespace
	Items     []Held

	// Force gives back whoever holds the lock, also if Python or an administrator set it: tokens are not
	// looked at. A member without a lock stays as it is. MemberTTL then becomes the new expiry of the
	// membership; without Force members keep theirs.
	Force     bool
	MemberTTL time.Duration
}

// ReturnReply tells for each item whether its lock had the token (with Force: whether there was one) and has been
// removed.
type ReturnReply struct {
	Returned []bool
}

// Renewal is one lease to renew.
type Renewal struct {
	Member, Token string
	TTL           time.Duration
	NewToken      string // if not empty, replaces the token: that is how a holder sets or lifts a quarantine
}

// RenewRequest renews leases, each for itself: of members ([Pools.Renew]) or on names ([Locks.RenewLocks]).
type RenewRequest struct {
	Namespace Namespace
	Items     []Renewal

	// Durability, on names only, has the step count only when so many replicas have it; else the error is a
	// [ReplicasError], and the leases are renewed all the same.
	Durability Durability
}

// RenewReply tells for each item whether the lease is still that owner's and has got its new TTL.
type RenewReply struct {
	Renewed []bool
}

// CollectRequest asks for a collection. Count is a hint, as for Redis' HSCAN.
type CollectRequest struct {
	Namespace Namespace
	Count     int
}

// CollectReply counts what was found. Repaired members had links that led nowhere.
type CollectReply struct {
	Freed, Dropped, Locked, Repaired int
}

// InspectRequest asks what is in a pool.
type InspectRequest struct {
	Namespace Namespace

	// Only, if not empty, asks for these members alone. Otherwise Limit 0 asks for all members in one
	// atomic step, whose cost grows with the pool; a positive Limit asks for a page of about that many,
	// going on at Cursor. CountOnly asks for the totals alone.
	Only      []string
	Cursor    string
	Limit     int
	CountOnly bool
}

// MemberState is one member as it stands.
type MemberState struct {
	Name       string
	Prev, Next string    // its neighbours in the free list; both Allocated while it is not free
	Expiry     time.Time // end of the membership; zero: never

	Locked   bool
	Owner    string        // the value of its lock: a token, or what Python wrote
	TTL      time.Duration // what is left of the lock; NoExpiry if it has no end, 0 if there is none
	Deadline time.Time     // end of the lease by the server's clock; zero if the lock is none of our leases
}

// Free reports whether the member is linked into the free list.
func (m *MemberState) Free() bool { return m.Prev != Allocated }

// InspectReply is what was seen.
type InspectReply struct {
	Head, Tail string
	Members    []MemberState
	Cursor     string // empty: nothing more
	Total      int    // members of the whole pool
	Waiting    int    // length of the line
}

// Validate checks the request; see [InvalidError]. An empty list is valid.
func (r *ExtendRequest) Validate() error {
	return first(r.Namespace.Validate(), ValidateTTL("member ttl", r.TTL), checkMembers(r.Members))
}

// Validate checks the request; see [InvalidError]. An empty list is valid.
func (r *ShrinkRequest) Validate() error {
	return first(r.Namespace.Validate(), checkMembers(r.Members))
}

// Validate checks the request; see [InvalidError].
func (r *TakeRequest) Validate() error {
	if err := r.Namespace.Validate(); err != nil {
		return err
	}
	if err := ValidateToken(r.Token); err != nil {
		return err
	}
	if !r.Shared {
		if err := ValidateTTL("ttl", r.TTL); err != nil {
			return err
		}
	}
	if r.Count < 0 || r.Count > MaxTake || len(r.Prefer) > MaxTake || r.Collect < 0 || r.Collect > BatchLimit {
		return first(checkCount("count", r.Count, 0, MaxTake), checkCount("prefer", len(r.Prefer), 0, MaxTake),
			checkCount("collect", r.Collect, 0, BatchLimit))
	}
	if r.Only && len(r.Prefer) == 0 {
		return &InvalidError{Field: "prefer", Value: `""`, Reason: "must not be empty with Only"}
	}
	if r.Only && r.Binding != "" {
		return invalid("binding", r.Binding, "must be empty with Only")
	}
	if r.Binding != "" {
		if r.Count > 1 {
			return &InvalidError{Field: "count", Value: itoa(r.Count), Reason: "must be 1 with a binding"}
		}
		if err := first(checkName("binding", r.Binding), ValidateTTL("binding ttl", r.BindingTTL)); err != nil {
			return err
		}
	}
	return checkMembers(r.Prefer)
}

// Validate checks the request; see [InvalidError].
func (r *ReturnRequest) Validate() error {
	if err := r.Namespace.Validate(); err != nil {
		return err
	}
	if err := checkBatch("items", len(r.Items)); err != nil {
		return err
	}
	if r.Force {
		if err := ValidateTTL("member ttl", r.MemberTTL); err != nil {
			return err
		}
	}
	for i := range r.Items {
		it := &r.Items[i]
		if err := ValidateMember(it.Member); err != nil {
			return err
		}
		if !r.Force {
			if err := ValidateToken(it.Token); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate checks the request; see [InvalidError].
func (r *RenewRequest) Validate() error {
	if err := first(r.Namespace.Validate(), checkBatch("items", len(r.Items)), r.Durability.validate()); err != nil {
		return err
	}
	for i := range r.Items {
		it := &r.Items[i]
		if err := first(ValidateName(it.Member), ValidateToken(it.Token), ValidateTTL("ttl", it.TTL)); err != nil {
			return err
		}
		if it.NewToken != "" {
			if err := ValidateToken(it.NewToken); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate checks the request; see [InvalidError].
func (r *CollectRequest) Validate() error {
	return first(r.Namespace.Validate(), checkCount("count", r.Count, 1, BatchLimit))
}

// Validate checks the request; see [InvalidError].
func (r *InspectRequest) Validate() error {
	return first(r.Namespace.Validate(), checkMembers(r.Only), checkCount("only", len(r.Only), 0, BatchLimit),
		checkCount("limit", r.Limit, 0, BatchLimit))
}
