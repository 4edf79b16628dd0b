package main

import (
	"context"
	"errors"

	"github.com/redisallocator/redisallocator/pool"
)

// A worker fetches pages through proxies. It opens allocators of its own, as it would in a process of its own: workers
// share nothing but the backend. To the board they only report.
type worker struct {
	name     string
	site     string
	pools    *pools
	board    *board
	mischief *mischief

	pages   *pool.Allocator[pool.None]
	proxies *pool.Allocator[*Proxy]
}

// run works until ctx ends.
func (w *worker) run(ctx context.Context) (err error) {
	if w.pages, err = w.pools.openPages(); err != nil {
		return err
	}
	defer w.pages.Close()
	if w.proxies, err = w.pools.openProxies(); err != nil {
		return err
	}
	defer w.proxies.Close()

	for err == nil && !w.mischief.crash() {
		err = w.work(ctx)
		if errors.Is(err, pool.ErrExpired) || errors.Is(err, pool.ErrNotHeld) {
			err = nil // we were so slow that it was no longer ours
		}
	}
	if err == nil {
		err = w.crash(ctx)
	}
	if ctx.Err() != nil { // everything fails then
		return nil
	}
	return err
}

// work fetches one page. Whatever goes wrong on the way, the page and the proxy are given back, and the page is
// fetched another time.
func (w *worker) work(ctx context.Context) error {
	page, err := w.pages.AcquireKey(ctx)
	if err != nil {
		return err
	}
	defer page.Release(ctx)
	w.board.took(w.name, page.Key(), page.Token())

	// The context of the proxy's lease derives from that of the page's: it ends when either of them is lost.
	proxy, err := w.proxies.Acquire(page.Context(), new(Proxy), pool.Params(w.site))
	switch {
	case err == nil:
	case errors.Is(err, pool.ErrUnhealthy), page.Context().Err() != nil: // several proxies failed, or the page was lost
		return nil
	default:
		return err
	}
	defer proxy.Release(ctx)
	w.board.took(w.name, proxy.Key(), proxy.Token())

	if _, err := proxy.Object().Get(proxy.Context(), page.Key()); err != nil {
		return w.complain(ctx, proxy, err)
	}
	w.board.fetched(page.Key(), proxy.Key())
	return w.pages.Shrink(ctx, []string{page.Key()}) // so that the release does not put it back
}

// complain looks whether it was the proxy's fault that a page was not fetched.
func (w *worker) complain(ctx context.Context, proxy *pool.Lease[*Proxy], why error) error {
	if proxy.CheckHealth(proxy.Context()) == nil || proxy.Context().Err() != nil {
		return nil // it works, or there was no time to find out
	}
	w.board.failed(proxy.Key(), why)
	return proxy.SetUnhealthy(ctx, quarantine)
}

// crash takes a page and a proxy, and is the last that anybody hears of this worker. When run closes the allocators the
// leases are not renewed any more, and nobody has released them: that is all that others see of a process that was
// killed.
func (w *worker) crash(ctx context.Context) error {
	page, err := w.pages.AcquireKey(ctx)
	if err != nil {
		return err
	}
	proxy, err := w.proxies.Acquire(ctx, new(Proxy), pool.Params(w.site))
	for errors.Is(err, pool.ErrUnhealthy) {
		proxy, err = w.proxies.Acquire(ctx, new(Proxy), pool.Params(w.site))
	}
	if err != nil {
		return err
	}
	w.board.crashed(w.name, page.Key(), proxy.Key(), proxy.Token())
	return proxy.Close(ctx) // the connections of a dead process are closed by its kernel
}
