// Command proxypool is a crawler whose workers share HTTP proxies, and in which things go wrong.
//
// It starts a few forward proxies and a site, all on this machine, and several workers that fetch all pages of the
// site. There are fewer proxies than workers, so they wait in line for one. On the way one proxy is killed, and one worker
// crashes: it stops in the middle of a page, gives nothing back and renews nothing. Watch the table:
//
//   - the proxy that was killed fails the next health check, and is quarantined;
//   - the proxy of the worker that crashed stays leased, until its lease has run out, and goes to the first in line;
//   - so does its page, because the pages are a pool, too: a page that is being fetched is a lease.
//
// At the end every page was fetched, every proxy is accounted for, and the exit code is 0; otherwise it is 1.
//
//	go run ./examples/proxypool                          # in memory
//	REDIS_URL=redis://localhost:6379 go run ./examples/proxypool
//	go run ./examples/proxypool -proxies list.txt -site http://example.com
//
// Begin to read with proxy.go, what the pool hands out, and worker.go, how it is used.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// config is what can be set.
type config struct {
	pages   int
	workers int
	local   int // how many proxies to start
	latency time.Duration
	ttl     time.Duration
	redraw  time.Duration
	list    string
	site    string
	redis   string
}

func main() {
	cfg := config{redis: os.Getenv("REDIS_URL"), redraw: 100 * time.Millisecond}
	flag.IntVar(&cfg.pages, "pages", 400, "`number` of pages to fetch")
	flag.IntVar(&cfg.workers, "workers", 8, "`number` of workers")
	flag.IntVar(&cfg.local, "local", 5, "`number` of proxies to start")
	flag.DurationVar(&cfg.latency, "latency", 70*time.Millisecond, "`time` that the site takes for a page")
	flag.DurationVar(&cfg.ttl, "ttl", 2*time.Second, "`time` that a crashed worker keeps what it had")
	flag.StringVar(&cfg.list, "proxies", "", "`file` with a host:port of a proxy in each line, instead of local ones")
	flag.StringVar(&cfg.site, "site", "", "`URL` of a site to ask for /page/1, ... instead of a local one")
	limit := flag.Duration("timeout", 2*time.Minute, "`time` after which to give up")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("not ready after %v", *limit))
	err := run(ctx, cfg, newScreen(os.Stdout, isTerminal(os.Stdout)))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "proxypool:", err)
		os.Exit(1)
	}
}

// isTerminal reports whether somebody looks at f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
