package lock

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// State is a name as it stands in the store.
type State struct {
	Name   string
	Locked bool
	TTL    time.Duration // until the last lease ends: backend.NoExpiry if it never does, 0 if the name is free

	// Holders are those who hold it: none, one who has it alone, or those that share it, by the ends of their leases.
	Holders []Holder

	Units   int // that are held together, of a name that is shared
	Limit   int // of the units; 0: none was set
	Waiting int // how many wait in line
}

// heldBy reports whether one of the holders has this token.
func (s *State) heldBy(token string) bool {
	for i := range s.Holders {
		if s.Holders[i].Token == token {
			return true
		}
	}
	return false
}

// look asks the store for names.
func (c *core) look(ctx context.Context, op string, items []backend.LockItem) ([]State, error) {
	if c.err != nil {
		return nil, fail(op, items, c.err)
	}
	states, err := c.holders(ctx, items)
	if err != nil {
		return nil, fail(op, items, err)
	}
	return states, nil
}

func (c *core) holders(ctx context.Context, items []backend.LockItem) ([]State, error) {
	req := backend.HoldersRequest{Namespace: c.ns, Names: make([]string, len(items))}
	for i := range items {
		req.Names[i] = items[i].Name
	}
	reply, err := c.be.Holders(ctx, req)
	if err != nil {
		return nil, err
	}
	states := make([]State, len(items))
	for i := range states {
		states[i] = newState(items[i].Name, &reply[i])
	}
	return states, nil
}

func newState(name string, seen *backend.LockState) State {
	s := State{
		Name: name, Locked: seen.Locked, TTL: seen.TTL, Units: seen.Units, Limit: seen.Limit, Waiting: seen.Waiting,
	}
	for _, sharer := range seen.Holders {
		h, _ := ParseHolder(sharer.Token)
		h.Units, h.TTL = sharer.Units, sharer.TTL
		s.Holders = append(s.Holders, h)
	}
	if seen.Locked && len(seen.Holders) == 0 {
		h, _ := ParseHolder(seen.Owner)
		h.TTL = seen.TTL
		s.Holders = append(s.Holders, h)
	}
	return s
}
