package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// link is a candidate's way to the store. When it is cut, nothing is renewed or given back through it any more: to the
// others it looks as if the candidate had died.
type link struct {
	backend.Backend
	cut atomic.Bool
}

func (l *link) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	if l.cut.Load() {
		return backend.RenewReply{}, backend.ErrUnavailable
	}
	return l.Backend.RenewLocks(ctx, req)
}

func (l *link) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	if l.cut.Load() {
		return backend.UnlockReply{}, backend.ErrUnavailable
	}
	return l.Backend.Unlock(ctx, req)
}

// show has three candidates, of whom the first leader is cut off, and the second resigns.
func show(
	ctx context.Context, connect func() (backend.Backend, error), ns backend.Namespace, ttl time.Duration,
	say func(string, ...any),
) error {
	ids := []string{"a", "b", "c"}
	links := make(map[string]*link)
	for _, id := range append(ids, "watcher") {
		be, err := connect()
		if err != nil {
			return err
		}
		defer be.Close()
		links[id] = &link{Backend: be}
	}

	ctx, stop := context.WithTimeout(ctx, 10*ttl+time.Minute)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	leads, left := news{ctx, make(chan string)}, news{ctx, make(chan string)}
	running.Go(func() {
		watch(ctx, lock.NewHeartbeat(links["watcher"], members(ns), lock.HeartbeatConfig{TTL: ttl}), say, left.tell)
	})
	resign := make(map[string]context.CancelFunc)
	for _, id := range ids {
		c := newCandidate(links[id], ns, id, ttl)
		c.say = say
		c.lead = func(ctx context.Context, _ int64) {
			leads.tell(id)
			<-ctx.Done()
		}
		candidacy, end := context.WithCancel(ctx)
		defer end()
		resign[id] = end
		running.Go(func() { _ = c.stand(candidacy) })
	}

	first := leads.next()
	if first == "" {
		return ctx.Err()
	}
	say("(%s is cut off)", first)
	links[first].cut.Store(true)
	second := leads.next()
	if second == "" {
		return ctx.Err()
	}
	left.await(first)
	say("(%s resigns)", second)
	resign[second]()
	leads.next()
	left.await(second)
	return ctx.Err()
}

// news tells of candidates, for as long as ctx lasts.
type news struct {
	ctx context.Context
	ids chan string
}

func (n news) tell(id string) {
	select {
	case n.ids <- id:
	case <-n.ctx.Done():
	}
}

// next gives "" when there will be no more news.
func (n news) next() string {
	select {
	case id := <-n.ids:
		return id
	case <-n.ctx.Done():
		return ""
	}
}

func (n news) await(id string) {
	for n.next() != id && n.ctx.Err() == nil {
	}
}
