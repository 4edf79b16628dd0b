package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/pool"
)

// look shows how things are, and gives what it has seen of the proxies.
func (c *crawl) look(ctx context.Context) (*pool.Snapshot, error) {
	seen, err := c.proxies.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	v := view{fetched: c.board.progress(), pages: c.pages, waiting: seen.Waiting}
	for _, m := range seen.Members {
		r := row{proxy: m.Key, state: m.State, left: m.TTL}
		c.board.complete(&r, m.Owner)
		v.rows = append(v.rows, r)
	}
	slices.SortFunc(v.rows, func(a, b row) int { return strings.Compare(a.proxy, b.proxy) })
	c.screen.show(v)
	return seen, nil
}

// calm waits until no proxy is leased any more.
func (c *crawl) calm(ctx context.Context) error {
	tick := time.NewTicker(c.redraw)
	defer tick.Stop()
	for {
		seen, err := c.look(ctx)
		if err != nil || seen.Count(pool.Leased) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
