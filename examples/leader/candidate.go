package main

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// candidate is a process that leads whenever it is elected.
type candidate struct {
	id      string
	members *lock.Heartbeat // who is alive
	office  *lock.Mutex     // who holds it leads

	// lead is what a leader does, until ctx ends. What it writes elsewhere should carry the fence: it grows from one
	// leader to the next.
	lead func(ctx context.Context, fence int64)
	say  func(format string, args ...any)
}

func newCandidate(be backend.Backend, ns backend.Namespace, id string, ttl time.Duration) *candidate {
	return &candidate{
		id:      id,
		members: lock.NewHeartbeat(be, members(ns), lock.HeartbeatConfig{TTL: ttl}),
		office:  lock.NewMutex(be, ns, "leader", lock.Config{TTL: ttl, Info: id}),
		lead:    func(ctx context.Context, _ int64) { <-ctx.Done() },
	}
}

// members are in a namespace of their own, where each name that is locked is a member.
func members(ns backend.Namespace) backend.Namespace {
	ns.Suffix += "-members"
	return ns
}

// run is a candidate until ctx ends, also if the others took it for dead meanwhile.
func (c *candidate) run(ctx context.Context) {
	for {
		err := c.stand(ctx)
		if ctx.Err() != nil {
			return
		}
		c.say("%s: %v", c.id, err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}

// stand is one candidacy. It ends with ctx, or when the others may take this process for dead.
func (c *candidate) stand(ctx context.Context) error {
	me, err := c.members.Join(ctx, c.id)
	if err != nil {
		return err
	}
	defer func() { _ = me.Leave(ctx) }()
	for {
		held, err := c.office.Lock(me.Context()) // waits in line
		if err != nil {
			return err
		}
		c.say("%s leads", c.id)
		c.reign(held)
	}
}

// reign leads until the lock ends, which is before anybody else leads, or the candidacy, which lets the next in line
// lead at once.
func (c *candidate) reign(held *lock.Held) {
	ctx := held.Context()
	defer held.Unlock(ctx)
	if _, err := c.members.Prune(ctx); err != nil { // somebody has to, now and then
		c.say("%s: %v", c.id, err)
	}
	c.lead(ctx, held.Fence())
	c.say("%s leads no more: %v", c.id, context.Cause(ctx))
}

// watch says who joins and who leaves, and calls left if there is one.
func watch(ctx context.Context, members *lock.Heartbeat, say func(string, ...any), left func(id string)) {
	for change := range members.Watch(ctx) {
		if change.Err != nil {
			say("watching: %v", change.Err)
			continue
		}
		say("%s %v", change.Living.ID, change.Kind)
		if change.Kind == lock.Left && left != nil {
			left(change.Living.ID)
		}
	}
}
