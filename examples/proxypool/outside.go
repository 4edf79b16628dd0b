package main

import (
	"context"
	"errors"
	"slices"

	"github.com/redisallocator/redisallocator/policy"
)

// outside is the world that the crawler finds: a site and proxies. What the user did not name is started here.
type outside struct {
	site    string
	proxies policy.Source
	known   []string     // what proxies named at the beginning
	victim  *localServer // a proxy of ours, which may be killed
	servers []*localServer
}

func newOutside(ctx context.Context, cfg config) (*outside, error) {
	o := new(outside)
	if err := errors.Join(o.findSite(cfg), o.findProxies(ctx, cfg)); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *outside) findSite(cfg config) error {
	if o.site = cfg.site; o.site != "" {
		return nil
	}
	site, err := newSite(cfg.latency)
	if err != nil {
		return err
	}
	o.servers = append(o.servers, site)
	o.site = "http://" + site.addr
	return nil
}

func (o *outside) findProxies(ctx context.Context, cfg config) (err error) {
	if o.proxies = fromFile(cfg.list); cfg.list == "" {
		if o.proxies, err = o.startProxies(cfg.local); err != nil {
			return err
		}
	}
	o.known, err = o.proxies.Members(ctx)
	if err == nil && len(o.known) == 0 {
		err = errors.New("there are no proxies")
	}
	o.known = slices.Compact(slices.Sorted(slices.Values(o.known)))
	return err
}

func (o *outside) startProxies(n int) (policy.Source, error) {
	var addrs []string
	for range n {
		forwarder, err := newForwarder()
		if err != nil {
			return nil, err
		}
		o.servers = append(o.servers, forwarder)
		addrs = append(addrs, forwarder.addr)
		o.victim = forwarder
	}
	return fixed(addrs...), nil
}

func (o *outside) close() {
	for _, s := range o.servers {
		s.kill()
	}
}
