package lease

import (
	"context"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// chore is something that could not be done while its caller waited: something to give back, or a line to leave.
type chore struct {
	g     *Group
	lines backend.Lines         // if not nil, where leave is to be called; else items are to be given back
	leave *backend.LeaveRequest // with lines
	hold  *Hold                 // OnReturned is told of it, if it is not nil
	items []backend.Held
	until Instant // then the store has forgotten it by itself
}

const (
	// maxChore is for how long something is tried whose end in the store is not known.
	maxChore = 10 * time.Minute

	// chorePace sets how often it is tried, as the TTL of a lease does for renewing: every 30 to 250 ms.
	chorePace = 4 * time.Second
)

// later leaves a chore to the keeper, whose first attempt has just failed. It reports whether the keeper will do it:
// not after Close. The caller holds k.mu.
func (g *Group) later(c chore) bool {
	if g.closed {
		return false
	}
	k, l := g.k, g.lane
	l.chores = append(l.chores, c)
	now := k.now()
	if l.tidying.holdoff <= now {
		l.tidying.failed(now, chorePace, chorePace)
	}
	k.plan(now)
	return true
}

// soon leaves a chore to the keeper that nobody has tried yet. The caller holds k.mu.
func (g *Group) soon(c chore) {
	if g.closed {
		return
	}
	k, now := g.k, g.k.now()
	g.lane.chores = append(g.lane.chores, c)
	k.dispatch(now)
	k.plan(now)
}

// forget drops the chores of a group.
func (l *lane) forget(g *Group) {
	rest := l.chores[:0]
	for _, c := range l.chores {
		if c.g != g {
			rest = append(rest, c)
		}
	}
	clear(l.chores[len(rest):])
	l.chores = rest
}

// nextChores takes chores that can be done in one call. None: there is nothing to do now. The caller holds k.mu.
func (l *lane) nextChores(now Instant) (due []chore) {
	items := 0
	for len(l.chores) > 0 {
		c := l.chores[0]
		if len(due) > 0 && (c.lines != nil || items+len(c.items) > backend.BatchLimit) {
			break
		}
		l.chores = l.chores[1:]
		if c.until <= now {
			continue
		}
		due = append(due, c)
		items += len(c.items)
		if c.lines != nil {
			break
		}
	}
	return due
}

// tidy is the worker for chores.
func (k *keeper) tidy(l *lane) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.closed && l.untidy(k.now()) {
		chores := l.nextChores(k.now())
		if len(chores) == 0 {
			break
		}
		k.mu.Unlock()
		again := k.attempt(l, chores)
		k.mu.Lock()
		if len(again) == 0 {
			l.tidying.recovered()
			continue
		}
		l.tidying.failed(k.now(), chorePace, chorePace)
		for _, c := range again {
			if !c.g.closed {
				l.chores = append(l.chores, c)
			}
		}
	}
	l.tidying.workers--
	k.tidying = false
	k.ended()
}

// attempt does chores and gives those that are to be tried again. What the store refuses is given up; which of several
// it refuses is found out by halves.
func (k *keeper) attempt(l *lane, chores []chore) (again []chore) {
	err := k.do(l, chores)
	switch half := len(chores) / 2; {
	case err == nil:
		return nil
	case unanswered(err):
		return chores
	case half > 0:
		return slices.Concat(k.attempt(l, chores[:half]), k.attempt(l, chores[half:]))
	default:
		return nil
	}
}

// do does chores in one call.
func (k *keeper) do(l *lane, chores []chore) error {
	ctx, cancel := context.WithTimeout(k.ctx, ReleaseTimeout)
	defer cancel()
	if first := chores[0]; first.lines != nil {
		_, err := first.lines.Leave(ctx, *first.leave)
		return err
	}
	items := make([]backend.Held, 0, len(chores))
	for _, c := range chores {
		items = append(items, c.items...)
	}
	returned, err := l.store.giveBack(ctx, l.ns, items)
	if err != nil {
		return err
	}
	for _, c := range chores {
		n := min(len(c.items), len(returned))
		if c.hold != nil && c.g.cfg.OnReturned != nil && allTrue(returned[:n], len(c.items)) {
			c.g.cfg.OnReturned(c.hold)
		}
		returned = returned[n:]
	}
	return nil
}
