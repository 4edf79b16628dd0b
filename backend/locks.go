package backend

import (
	"context"
	"time"
)

// Locks are names that are held under leases: by one owner alone or, in units, by several at once.
//
// Who holds a name alone is the value of its lock (KindLock in [Values]): the owner's token. A name that is shared has
// the value [SharedToken] there, and its holders are kept elsewhere, each with units and an end of its own; the lock
// ends with the last of them. The value decides: whoever removes or replaces it by other means (Python, an
// administrator, [Values.Set]) ends all leases on that name, and whoever sets it has the name alone.
//
// A lease that ran out holds nothing, at once. While somebody waits in line for a name (see [Lines]), nobody gets it out
// of turn. Whatever frees a name hands it to those who are first in its line; what was freed without a word is found by
// whoever is first in line, within a quarter of a second.
//
// A step of this role is atomic also over many names.
type Locks interface {
	// Lock takes all names, or none, and does not wait. With Replicas set it is carried out apart from others'
	// calls and takes as long as the replicas do.
	Lock(ctx context.Context, req LockRequest) (LockReply, error)

	// Unlock gives names back, each for itself: those that are held under the given token. A token that was given the
	// same name several times, with Again, gives it back as often. Also a claim that was not yet renewed is given
	// back. With Force it frees names whoever holds them.
	Unlock(ctx context.Context, req UnlockRequest) (UnlockReply, error)

	// RenewLocks sets the TTL of leases on names, each for itself, if they still are the token's, alone or shared. It
	// never brings back a lease that ran out, and shortens none that was granted Again. NewToken must be empty.
	RenewLocks(ctx context.Context, req RenewRequest) (RenewReply, error)

	// SetLimit says how many units of a name may be held together, from now on, and serves those who wait, whatever
	// limit they came with. Leases that exceed a lower limit stay. A request in line for more than that ends with a
	// [LimitError] when it is its turn.
	SetLimit(ctx context.Context, req LimitRequest) error

	// Holders looks and changes nothing. The reply has one entry for each name, in their order.
	Holders(ctx context.Context, req HoldersRequest) ([]LockState, error)
}

// SharedToken is the value of the lock of a name that is shared. It is no token of anybody's.
const SharedToken = "#SHARED"

// MaxLockNames is the largest number of names in one [LockRequest].
const MaxLockNames = 100

// MaxUnits is the largest limit of a name, and the most units of one holder.
const MaxUnits = 1 << 30

// LockItem is one name and how it is wanted.
type LockItem struct {
	Name string

	// Units is how many units of the name are wanted, next to those of others; 0: the name, alone.
	Units int

	// Limit is how many units may be held together, with Units; 0: any number. The first to take units of a name sets
	// it, for as long as nobody calls SetLimit; whoever comes with another one gets a [LimitError].
	Limit int
}

// LockRequest asks for names.
type LockRequest struct {
	Namespace Namespace
	Token     string        // of the owner; unique to this request, unless Again is set
	TTL       time.Duration // of the lease; positive, or NoExpiry
	Items     []LockItem    // no name twice

	// Again grants names also to a token that holds them already, in the same way (alone, or so many units): their
	// leases then last for the new TTL at least, and have to be given back once more. While they have to be given back
	// several times, nothing shortens them, because each of those that share the token believes in the end that it was
	// told. Without Again nobody has to wait for himself: such a request is refused as if another held the name.
	Again bool

	// Downgrade grants only names that the token holds alone, and turns that into the units that are asked for. Those
	// who wait for units may enter in the same step. How often the name has to be given back stays.
	Downgrade bool

	// Durability, if it asks for replicas, has the step count only when so many have it. Else it is undone, and the
	// error is a [ReplicasError].
	Durability Durability
}

// Durability asks that a step has reached replicas before it counts: the store's WAIT command. It makes it less likely
// that a failover loses a lock; it does not make it impossible.
type Durability struct {
	Replicas int           // how many; 0: none
	Timeout  time.Duration // how long to wait for them; positive if Replicas is
}

// LockReply has a grant for each item, in their order, or none if not all of them could be had.
type LockReply struct {
	Grants []Grant
}

// UnlockRequest gives names back.
type UnlockRequest struct {
	Namespace Namespace
	Items     []Held // Member is the name
	Force     bool   // whoever holds them; tokens are not looked at
}

// UnlockReply tells for each item whether it was held under the token (with Force: by anybody) and has been given back.
type UnlockReply struct {
	Unlocked []bool
}

// LimitRequest sets the limit of a name; 0 forgets it.
type LimitRequest struct {
	Namespace Namespace
	Name      string
	Limit     int
}

// HoldersRequest names what to look at.
type HoldersRequest struct {
	Namespace Namespace
	Names     []string
}

// LockState is one name as it stands.
type LockState struct {
	Locked  bool
	Owner   string        // the value of the lock, if it is held alone: a token, or what Python wrote
	TTL     time.Duration // until the last lease ends: NoExpiry if it never does, 0 if the name is free
	Holders []LockHolder  // of a shared name, by the end of their leases
	Units   int           // held by them together
	Limit   int           // as it was set; 0: none
	Waiting int           // length of the line
}

// LockHolder is one of those who share a name.
type LockHolder struct {
	Token string
	Units int
	TTL   time.Duration
}

// Validate checks the request; see [InvalidError].
func (r *LockRequest) Validate() error {
	if err := first(r.Namespace.Validate(), ValidateOwner(r.Token), ValidateTTL("ttl", r.TTL)); err != nil {
		return err
	}
	if len(r.Items) != 1 {
		if err := r.checkItems(); err != nil {
			return err
		}
	}
	for i := range r.Items {
		it := &r.Items[i]
		if err := ValidateName(it.Name); err != nil {
			return err
		}
		if it.Units == 0 && it.Limit == 0 && !r.Downgrade {
			continue
		}
		if err := it.checkUnits(r.Downgrade); err != nil {
			return err
		}
	}
	if r.Again && r.Downgrade {
		return &InvalidError{Field: "downgrade", Value: "true", Reason: "excludes Again"}
	}
	return r.Durability.validate()
}

func (r *LockRequest) checkItems() error {
	if len(r.Items) == 0 || len(r.Items) > MaxLockNames {
		return checkCount("names", len(r.Items), 1, MaxLockNames)
	}
	seen := make(map[string]struct{}, len(r.Items))
	for i := range r.Items {
		seen[r.Items[i].Name] = struct{}{}
		if len(seen) == i {
			return invalid("name", r.Items[i].Name, "is there twice")
		}
	}
	return nil
}

func (it *LockItem) checkUnits(downgrade bool) error {
	lo := 0
	if downgrade || it.Limit != 0 {
		lo = 1
	}
	if err := first(checkCount("limit", it.Limit, 0, MaxUnits), checkCount("units", it.Units, lo, MaxUnits)); err != nil {
		return err
	}
	if it.Limit > 0 && it.Units > it.Limit {
		return &InvalidError{Field: "units", Value: itoa(it.Units), Reason: "are more than the limit of " + itoa(it.Limit)}
	}
	return nil
}

func (d *Durability) validate() error {
	if d.Replicas == 0 {
		return nil
	}
	if d.Timeout < time.Millisecond {
		return invalid("replica timeout", d.Timeout.String(), "must be at least a millisecond")
	}
	return checkCount("replicas", d.Replicas, 1, BatchLimit)
}

// Validate checks the request; see [InvalidError].
func (r *UnlockRequest) Validate() error {
	if err := first(r.Namespace.Validate(), checkBatch("items", len(r.Items))); err != nil {
		return err
	}
	for i := range r.Items {
		it := &r.Items[i]
		if err := ValidateName(it.Member); err != nil {
			return err
		}
		if !r.Force {
			if err := ValidateOwner(it.Token); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate checks the request; see [InvalidError].
func (r *LimitRequest) Validate() error {
	return first(r.Namespace.Validate(), ValidateName(r.Name), checkCount("limit", r.Limit, 0, MaxUnits))
}

// Validate checks the request; see [InvalidError].
func (r *HoldersRequest) Validate() error {
	return first(r.Namespace.Validate(), checkBatch("names", len(r.Names)), checkNames(r.Names))
}
