package main

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

const (
	quarantine   = time.Minute     // how long a proxy is kept back that did not work
	checkTimeout = 5 * time.Second // how long it may take to show that it works
)

// open is the only place that knows whether this is memory or Redis.
func open(ctx context.Context, redis string) (backend.Backend, error) {
	if redis == "" {
		return memory.New(), nil
	}
	return rueidis.Open(ctx, redis)
}

// pools opens allocators for the two pools. All with the same prefix share the same pools.
type pools struct {
	be     backend.Backend
	prefix string
	ttl    time.Duration
	source policy.Source                 // of proxies
	failed func(proxy string, why error) // is told of proxies that do not work
}

// openPages gives an allocator for the pages: each member is a page that is yet to be fetched.
func (p *pools) openPages() (*pool.Allocator[pool.None], error) {
	return pool.New(p.be, pool.Config[pool.None]{
		Namespace: backend.Namespace{Prefix: p.prefix, Suffix: "pages"},
		TTL:       p.ttl,
	})
}

// openProxies gives an allocator for the proxies. Its policy fills the pool, which is done by whichever worker comes
// first, and hands out no proxy that does not work.
func (p *pools) openProxies() (*pool.Allocator[*Proxy], error) {
	return pool.New(p.be, pool.Config[*Proxy]{
		Namespace: backend.Namespace{Prefix: p.prefix, Suffix: "proxies"},
		TTL:       p.ttl,
		Policy: policy.Chain(
			policy.Refresh[*Proxy](policy.NewUpdater(p.source), policy.RefreshConfig{}),
			policy.CheckBeforeUse[*Proxy](policy.HealthConfig{
				Quarantine:  quarantine,
				Timeout:     checkTimeout,
				OnUnhealthy: p.failed,
			}),
			policy.Collect[*Proxy](5),
		),
	})
}
