package pool

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// State is what a member of a pool is at a moment.
type State uint8

// The states of a member.
const (
	Free        State = iota + 1 // in the free list, and not locked
	Leased                       // somebody holds a lease on it
	Locked                       // it is locked, but not by a lease: by a Python process, or an administrator
	Quarantined                  // kept back, nobody holds it
	Unlocked                     // taken, but without a lock: it ran out, and the next collection or allocation finds it
)

// String names the state in lower case.
func (s State) String() string {
	switch s {
	case Free:
		return "free"
	case Leased:
		return "leased"
	case Locked:
		return "locked"
	case Quarantined:
		return "quarantined"
	case Unlocked:
		return "unlocked"
	default:
		return "unknown"
	}
}

// Member is one member of a [Snapshot].
type Member struct {
	Key   string
	State State

	// Owner is the token in its lock: that of the lease ([Lease.Token]), of a quarantine, or what another program
	// wrote.
	Owner string

	// TTL is what is left of the lock: backend.NoExpiry if it has no end, 0 if there is none. Deadline is when a
	// lease ends, by the store's clock; zero if there is no lease, or none with an end.
	TTL      time.Duration
	Deadline time.Time

	// Expiry is when it drops out of the pool; zero: never.
	Expiry time.Time
}

// Snapshot is a whole pool at one moment.
type Snapshot struct {
	// Members are those in the free list first, in the order in which they will be handed out, then the others by
	// key.
	Members []Member

	// Waiting is how many requests wait in line.
	Waiting int

	// Violations describe what is broken in the free list; normally there are none.
	Violations []string
}

// Count is how many members are in a state.
func (s *Snapshot) Count(state State) int {
	n := 0
	for i := range s.Members {
		if s.Members[i].State == state {
			n++
		}
	}
	return n
}

// Keys are those of the members in a state, in the order of Members.
func (s *Snapshot) Keys(state State) []string {
	var keys []string
	for i := range s.Members {
		if s.Members[i].State == state {
			keys = append(keys, s.Members[i].Key)
		}
	}
	return keys
}

// Snapshot looks at the whole pool in one step and checks its invariants. It is for administrators and for tests: the
// store does nothing else meanwhile, some milliseconds for each thousand members.
func (a *Allocator[T]) Snapshot(ctx context.Context) (*Snapshot, error) {
	var seen backend.InspectReply
	if err := a.do("inspect", func() (err error) {
		seen, err = a.be.Inspect(ctx, backend.InspectRequest{Namespace: a.cfg.Namespace})
		return err
	}); err != nil {
		return nil, err
	}
	at := make(map[string]*backend.MemberState, len(seen.Members))
	rest := make([]*backend.MemberState, 0, len(seen.Members))
	for i := range seen.Members {
		m := &seen.Members[i]
		at[m.Name] = m
		rest = append(rest, m)
	}
	s := &Snapshot{
		Members: make([]Member, 0, len(seen.Members)), Waiting: seen.Waiting,
		Violations: backend.CheckPool(seen, !a.cfg.Shared),
	}
	for name := seen.Head; name != ""; {
		m := at[name]
		if m == nil || !m.Free() {
			break // a violation
		}
		delete(at, name)
		s.Members = append(s.Members, memberOf(m))
		name = m.Next
	}
	slices.SortFunc(rest, func(x, y *backend.MemberState) int { return strings.Compare(x.Name, y.Name) })
	for _, m := range rest {
		if at[m.Name] == m {
			s.Members = append(s.Members, memberOf(m))
		}
	}
	return s, nil
}

func memberOf(m *backend.MemberState) Member {
	member := Member{Key: m.Name, Owner: m.Owner, TTL: m.TTL, Deadline: m.Deadline, Expiry: m.Expiry}
	switch {
	case m.Locked && backend.IsQuarantine(m.Owner):
		member.State = Quarantined
	case m.Locked && m.Deadline.IsZero() && (m.TTL != backend.NoExpiry || m.Owner == pythonsToken):
		member.State = Locked
	case m.Locked:
		member.State = Leased
	case m.Free():
		member.State = Free
	default:
		member.State = Unlocked
	}
	return member
}

// pythonsToken is what the Python library writes into a lock. It tells its locks without an end from our leases
// without one, which have no deadline either.
const pythonsToken = "1"
