// Command redlock is an HTTP service of which any number of copies may run, and in which each report is made by one of
// them at a time, under a Redlock over several Redis servers that know nothing of each other. Any one of three may be
// down.
//
//	REDIS_URLS=redis://a:6379,redis://b:6379,redis://c:6379 go run ./examples/redlock
//	curl -i -X POST localhost:8080/reports/2025-06
//
// A POST to /reports/{id} answers
//
//	200 with the report, when it has been made;
//	423 Locked with Retry-After, while somebody else makes it;
//	503 Service Unavailable with Retry-After, if too few of the servers answer, or the lock was lost on the way.
//
// Without REDIS_URLS it starts three servers of its own, if redis-server or valkey-server is on PATH, and otherwise
// does with memory, to try it out. On SIGTERM or Ctrl-C it takes no more requests, finishes the reports that it has begun,
// gives their locks back and ends what it has started.
//
// Begin to read with reports.go. A report that is made twice does no harm, which is why a Redlock is enough here; see the
// documentation of lock.Redlock for when it is not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// config is what can be set.
type config struct {
	addr  string
	work  time.Duration // that a report takes
	ttl   time.Duration
	grace time.Duration // for the reports that are being made, at the end
	reply time.Duration // that a server may take to answer
	urls  []string
}

func main() {
	runtime.LockOSThread() // see ours
	var cfg config
	flag.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	flag.DurationVar(&cfg.work, "work", 2*time.Second, "`time` that a report takes")
	flag.DurationVar(&cfg.ttl, "ttl", 10*time.Second, "`time` that a service that died keeps its locks")
	flag.DurationVar(&cfg.grace, "grace", 30*time.Second, "`time` to finish reports in at the end")
	flag.DurationVar(&cfg.reply, "server-timeout", 50*time.Millisecond, "`time` that a server may take to answer")
	flag.Parse()
	if urls := os.Getenv("REDIS_URLS"); urls != "" {
		cfg.urls = strings.Split(urls, ",")
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, cfg, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "redlock:", err)
		os.Exit(1)
	}
}

// serve runs the service until ctx ends.
func serve(ctx context.Context, cfg config, out io.Writer) error {
	servers, err := openServers(ctx, cfg.urls, out)
	if err != nil {
		return err
	}
	defer servers.close()

	locks, err := lock.NewRedlock(servers.backends, backend.Namespace{Prefix: "example", Suffix: "reports"},
		lock.RedlockConfig{
			TTL:           cfg.ttl,
			ServerTimeout: cfg.reply,
			Names:         servers.names,
			// Two tries, a moment apart, for those who came at once and of whom nobody has got a quorum.
			Tries:      2,
			RetryDelay: 50 * time.Millisecond,
		})
	if err != nil {
		return err
	}
	defer locks.Close() // before the servers

	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	jobs, cancel := context.WithCancel(context.Background()) // not ctx: they may be finished
	defer cancel()
	server := &http.Server{
		Handler:           newService(locks, report(cfg.work)),
		BaseContext:       func(net.Listener) context.Context { return jobs },
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(out, "listening on http://%s\n", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "finishing what has begun")
	patience, done := context.WithTimeout(context.Background(), cfg.grace)
	defer done()
	err = server.Shutdown(patience)
	if errors.Is(err, context.DeadlineExceeded) {
		cancel() // the reports; then they give back their locks
		last, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		err = errors.Join(server.Shutdown(last), server.Close())
	}
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
