package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/pool"
)

// A crawl is seen from the one who has started it: he puts the pages into their pool, watches, and takes stock at the
// end. In between he leases nothing.
type crawl struct {
	config
	outside  *outside
	pools    *pools
	screen   *screen
	board    *board
	mischief *mischief

	todo    *pool.Allocator[pool.None]
	proxies *pool.Allocator[*Proxy]
}

// run is the whole demo. The error tells what was lost.
func run(ctx context.Context, cfg config, s *screen) error {
	out, err := newOutside(ctx, cfg)
	if err != nil {
		return err
	}
	defer out.close()
	be, err := open(ctx, cfg.redis)
	if err != nil {
		return err
	}
	defer be.Close()

	c := &crawl{config: cfg, outside: out, screen: s}
	c.mischief = &mischief{pages: cfg.pages, victim: out.victim, screen: s}
	c.board = newBoard(s, cfg.ttl, c.mischief.after)
	c.pools = &pools{be, "proxypool-" + rand.Text(), cfg.ttl, out.proxies, c.board.failed}
	if c.todo, err = c.pools.openPages(); err != nil {
		return err
	}
	defer c.todo.Close()
	if c.proxies, err = c.pools.openProxies(); err != nil {
		return err
	}
	defer c.proxies.Close()
	defer c.clear(ctx)

	if err := c.work(ctx); err != nil {
		return err
	}
	return c.settle(ctx)
}

// work has the workers fetch all pages, and watches.
func (c *crawl) work(ctx context.Context) error {
	where := "in memory"
	if c.redis != "" {
		where = "on Redis"
	}
	c.screen.say("%d workers share %d proxies %s to fetch %d pages", c.workers, len(c.outside.known), where, c.pages)

	pages := make([]string, c.pages)
	for i := range pages {
		pages[i] = fmt.Sprintf("/page/%d", i+1)
	}
	if err := c.todo.Extend(ctx, pages); err != nil {
		return err
	}

	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error)
	for i := range c.workers {
		w := worker{
			name: fmt.Sprint("worker ", i+1), site: c.outside.site,
			pools: c.pools, board: c.board, mischief: c.mischief,
		}
		go func() { ended <- w.run(working) }()
	}

	tick := time.NewTicker(c.redraw)
	defer tick.Stop()
	var failed error
	for n := c.workers; n > 0; {
		select {
		case err := <-ended:
			n--
			if err != nil {
				failed = errors.Join(failed, err)
				stop()
			}
		case <-tick.C:
			if left, err := c.todo.Len(ctx); err == nil && left == 0 {
				stop()
			}
			_, _ = c.look(ctx) // one that fails is no reason to stop
		}
	}
	if failed == nil {
		failed = context.Cause(ctx)
	}
	return failed
}

// clear leaves no pools behind. What else there is in Redis of them is a few small keys.
func (c *crawl) clear(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = c.todo.Clear(ctx)
	_ = c.proxies.Clear(ctx)
}
