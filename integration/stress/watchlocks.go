package stress

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// lockWatch looks at all names that are locked.
type lockWatch struct {
	*findings
	be      backend.Locks
	space   backend.Namespace
	longest time.Duration // that a lease may last
}

// look compares the names with what must hold, and gives the tokens of those who have them.
func (l *lockWatch) look(ctx context.Context) (tokens []string, err error) {
	names := lockNames()
	states, err := l.be.Holders(ctx, backend.HoldersRequest{Namespace: l.space, Names: names})
	if err != nil {
		return nil, err
	}
	for i, s := range states {
		l.check(names[i], &s)
		if s.Owner != "" && s.Owner != backend.SharedToken {
			tokens = append(tokens, s.Owner)
		}
		for _, h := range s.Holders {
			tokens = append(tokens, h.Token)
		}
	}
	return tokens, nil
}

func (l *lockWatch) check(name string, s *backend.LockState) {
	bad := func(what string) { l.add("lock", "%s: %s (%+v)", name, what, *s) }
	units := 0
	for _, h := range s.Holders {
		units += h.Units
		if h.Units < 1 {
			bad("a holder without units")
		}
		if h.TTL == backend.NoExpiry || h.TTL > l.longest {
			bad("a lease is longer than any was asked for")
		}
	}
	if s.Locked && (s.TTL == backend.NoExpiry || s.TTL > l.longest) {
		bad("it is locked for longer than anybody has asked for")
	}
	switch i := slices.IndexFunc(semaphores, func(x semaphore) bool { return x.name == name }); {
	case i >= 0:
		if limit := semaphores[i].units; units > limit {
			bad("more units are out than it has")
		} else if s.Limit != 0 && s.Limit != limit {
			bad("it has another limit than everybody believes")
		}
		if s.Locked && s.Owner != "" && s.Owner != backend.SharedToken {
			bad("nobody has locked it alone")
		}
	case strings.HasPrefix(name, "mutex") && len(s.Holders) > 0:
		bad("nobody has shared it")
	}
}

// lineWatch looks at one line.
type lineWatch struct {
	*findings
	be      backend.Lines
	space   backend.Namespace
	name    string        // "": that of the pool
	longest time.Duration // that anybody waits; 0: as long as he likes

	since map[string]time.Time // when each token was first seen there
}

// longestLine is how many are looked at.
const longestLine = 100

// look compares the line with what must hold: who has the higher priority or came first stands in front, and nobody stands
// there for much longer than anybody of ours is ready to wait.
func (l *lineWatch) look(ctx context.Context) error {
	seen, err := l.be.Queue(ctx, backend.QueueRequest{Namespace: l.space, Name: l.name, Limit: longestLine})
	if err != nil {
		return err
	}
	since := make(map[string]time.Time, len(seen.Waiters))
	for i, x := range seen.Waiters {
		since[x.Token] = time.Now()
		if first, ok := l.since[x.Token]; ok {
			since[x.Token] = first
			if l.longest > 0 && time.Since(first) > l.longest {
				l.add("line", "%s: %s stands at place %d of the line for %q since %v", l.space, x.Token, i+1, l.name, first)
			}
		}
		if i == 0 {
			continue
		}
		front := &seen.Waiters[i-1]
		if front.Priority < x.Priority || front.Priority == x.Priority && front.Since.After(x.Since) {
			l.add("line", "%s: in the line for %q, %+v stands in front of %+v", l.space, l.name, *front, x)
		}
	}
	l.since = since
	return nil
}
