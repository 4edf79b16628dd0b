package stress

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// poolWatch looks at one pool.
type poolWatch struct {
	*findings
	be        backend.Pools
	space     backend.Namespace
	exclusive bool
	members   []string      // that it must have; nil: any
	count     int           // that it must have; 0: any
	longest   time.Duration // that a lock may have; 0: any, also one without end
}

// look compares the pool with what must hold, and gives what it has seen.
func (p *poolWatch) look(ctx context.Context) (backend.InspectReply, error) {
	seen, err := p.be.Inspect(ctx, backend.InspectRequest{Namespace: p.space})
	if err != nil {
		return seen, err
	}
	for _, broken := range backend.CheckPool(seen, p.exclusive) {
		p.add("pool", "%s: %s (%s)", p.space, broken, describe(&seen))
	}
	if p.count > 0 && seen.Total != p.count {
		p.add("pool", "%s: %d members, not %d (%s)", p.space, seen.Total, p.count, describe(&seen))
	}
	if p.members != nil {
		there := make(map[string]bool, len(seen.Members))
		for i := range seen.Members {
			there[seen.Members[i].Name] = true
			if !slices.Contains(p.members, seen.Members[i].Name) {
				p.add("pool", "%s: member %q is none of its own (%s)", p.space, seen.Members[i].Name, describe(&seen))
			}
		}
		for _, m := range p.members {
			if !there[m] {
				p.add("pool", "%s: member %s is lost (%s)", p.space, m, describe(&seen))
			}
		}
	}
	for i := range seen.Members {
		if m := &seen.Members[i]; m.Locked && p.longest > 0 && (m.TTL == backend.NoExpiry || m.TTL > p.longest) {
			p.add("pool", "%s: member %s is locked by %s for %v; the longest lease is %v", p.space, m.Name, m.Owner, m.TTL, p.longest)
		}
	}
	return seen, nil
}

// Members are those of a pool by what they are.
type Members struct {
	Free, Leased, Locked, KeptBack, Unlocked int // Locked: by others than this library; Unlocked: taken, but nobody has it any more
	Waiting                                  int
}

func count(seen *backend.InspectReply) Members {
	m := Members{Waiting: seen.Waiting}
	for i := range seen.Members {
		switch s := &seen.Members[i]; {
		case s.Free():
			m.Free++
		case !s.Locked:
			m.Unlocked++
		case backend.IsQuarantine(s.Owner):
			m.KeptBack++
		case s.Deadline.IsZero():
			m.Locked++
		default:
			m.Leased++
		}
	}
	return m
}

func (m Members) String() string {
	return fmt.Sprintf("%d free, %d leased, %d locked by others, %d kept back, %d whose holder is gone, %d in line",
		m.Free, m.Leased, m.Locked, m.KeptBack, m.Unlocked, m.Waiting)
}

func describe(seen *backend.InspectReply) string {
	return fmt.Sprintf("%d members: %v; head %q, tail %q", seen.Total, count(seen), seen.Head, seen.Tail)
}

// holders are the tokens of those who have members.
func holders(seen *backend.InspectReply) (tokens []string) {
	for i := range seen.Members {
		if seen.Members[i].Locked {
			tokens = append(tokens, seen.Members[i].Owner)
		}
	}
	return tokens
}
