package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// settle takes stock. The error tells what was lost.
func (c *crawl) settle(ctx context.Context) error {
	if err := c.calm(ctx); err != nil {
		return err
	}
	if err := c.settlePages(ctx); err != nil {
		return err
	}
	if err := c.settleProxies(ctx); err != nil {
		return err
	}
	_, err := c.look(ctx)
	return err
}

// settlePages fails if a page was not fetched.
func (c *crawl) settlePages(ctx context.Context) error {
	left, err := c.todo.Len(ctx)
	if err != nil {
		return err
	}
	fetched := c.board.progress()
	if fetched != c.pages || left != 0 {
		return fmt.Errorf("%d of %d pages were fetched, %d are still in their pool", fetched, c.pages, left)
	}
	c.screen.say("no page was lost: all %d were fetched", fetched)
	return nil
}

// settleProxies fails if a proxy works and cannot be had, or was killed and can.
func (c *crawl) settleProxies(ctx context.Context) error {
	report, err := c.proxies.CheckHealth(ctx, policy.CheckConfig[*Proxy]{
		New:        func(string) *Proxy { return new(Proxy) },
		Params:     c.outside.site,
		Quarantine: quarantine,
		Timeout:    checkTimeout,
	})
	if err != nil {
		return err
	}
	if report.Healthy == 0 {
		return errors.New("no proxy works")
	}

	// Those that work must be ours for the asking, all at once.
	leases, err := c.proxies.MallocN(ctx, report.Healthy)
	if err != nil {
		return fmt.Errorf("%d proxies work: %w", report.Healthy, err)
	}
	for _, l := range leases {
		defer l.Release(ctx)
		c.board.took("the account", l.Key(), l.Token())
	}

	seen, err := c.proxies.Snapshot(ctx)
	if err != nil {
		return err
	}
	quarantined := seen.Keys(pool.Quarantined)
	victim := c.outside.victim
	switch {
	case len(leases)+len(quarantined) != len(c.outside.known):
		return fmt.Errorf("of %d proxies %d work, quarantined are %q", len(c.outside.known), len(leases), quarantined)
	case victim != nil && !slices.Equal(quarantined, []string{victim.addr}):
		return fmt.Errorf("%s was killed, quarantined are %q", victim.addr, quarantined)
	case len(seen.Violations) > 0:
		return fmt.Errorf("the pool is broken: %q", seen.Violations)
	}
	c.screen.say("no proxy was lost: %d work, %d quarantined", len(leases), len(quarantined))
	return nil
}
