// Command redisalloc-stress has processes work on a server, with pools, bindings, locks and tasks, while it kills and stops
// them at random, watches that everything holds that the library promises, and goes through the store in the end:
//
//	redisalloc-stress                                         on a server that it starts, for a minute
//	redisalloc-stress -restart 10s                            which it also kills and starts again, with its data
//	redisalloc-stress -url redis://host:6379 -duration 1h     on this one
//	redisalloc-stress -seed 42                                the same trouble once more
//	redisalloc-stress -watch-only -url redis://host:6379 -prefix crawler -suffix proxies -duration 10m
//
// The last one adds no work of its own: it watches a pool that other programs use, also those of the Python library.
//
// The server is the one of -url or REDIS_URL; without either it starts one, with redis-server or valkey-server on PATH. All
// keys of a run begin with a prefix that nobody else has, and are removed if everything held. What is watched, and how, is in the
// documentation of package stress.
//
// Flags:
//
//	-url URL         of the server, as backend/rueidis.Open takes it
//	-duration D      how long work is begun, or watched (default 1m); what was begun is then brought to its end
//	-processes N     that work (default 4)
//	-seed N          of all that is decided by chance (default: another one each time)
//	-ttl D           of leases, which is how long the dead keep what they have (default 2s)
//	-pause D         between two kills or stops, on average (default 600ms)
//	-restart D       kill the server and start it again, with its data, so often; only one that it has started (default: never)
//	-hashtag         all keys of a namespace in one slot, as a Cluster needs it
//	-json            print the report as JSON
//	-watch-only      only watch a pool; needs -prefix and -suffix
//	-prefix P        of that pool
//	-suffix S        of that pool (default "allocator", as in Python)
//	-members N       that it must have all the time (default: any number)
//	-shared          its members go round, and may be locked while they are free
//
// An interrupt ends the work early; all the rest is done all the same. A second one ends the program at once.
//
// The exit code says what came of it: 0 everything held, 1 something was violated, 2 there was nothing to look at: wrong flags,
// or no server.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"

	"github.com/redisallocator/redisallocator/integration/stress"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// The exit codes.
const (
	held = iota
	violated
	unable
)

func main() {
	stress.Work()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // the second interrupt is not waited for
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are what the flags say.
type options struct {
	stress.Config
	restart   time.Duration
	json      bool
	watchOnly bool
	watch     stress.WatchConfig
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("redisalloc-stress", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.URL, "url", os.Getenv("REDIS_URL"), "`URL` of the server; without one, and without REDIS_URL, one is started")
	flags.DurationVar(&o.Duration, "duration", time.Minute, "how long work is begun, or watched")
	flags.IntVar(&o.Processes, "processes", 4, "how many work")
	flags.Uint64Var(&o.Seed, "seed", rand.Uint64(), "of all that is decided by chance (default: another one each time)")
	flags.DurationVar(&o.TTL, "ttl", 2*time.Second, "of leases, which is how long the dead keep what they have")
	flags.DurationVar(&o.Pause, "pause", 600*time.Millisecond, "between two kills or stops, on average")
	flags.DurationVar(&o.restart, "restart", 0, "kill the server and start it again so often, if it was started here (default never)")
	flags.BoolVar(&o.HashTag, "hashtag", false, "all keys of a namespace in one slot, as a Cluster needs it")
	flags.BoolVar(&o.json, "json", false, "print the report as JSON")
	flags.BoolVar(&o.watchOnly, "watch-only", false, "only watch the pool of -prefix and -suffix")
	flags.StringVar(&o.watch.Namespace.Prefix, "prefix", "", "of the pool to watch")
	flags.StringVar(&o.watch.Namespace.Suffix, "suffix", "allocator", "of the pool to watch")
	flags.IntVar(&o.watch.Members, "members", 0, "that the pool must have all the time (default any number)")
	flags.BoolVar(&o.watch.Shared, "shared", false, "the members of the pool go round")
	if err := flags.Parse(args); err != nil {
		return nil, err // the flag set has told it
	}
	o.watch.Namespace.HashTag, o.watch.URL, o.watch.Duration = o.HashTag, o.URL, o.Duration
	if err := o.check(flags); err != nil {
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return nil, err
	}
	return o, nil
}

func (o *options) check(flags *flag.FlagSet) error {
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("what is %q?", flags.Arg(0))
	case o.Duration <= 0:
		return fmt.Errorf("-duration %v must be positive", o.Duration)
	case o.Processes < 1:
		return fmt.Errorf("-processes %d: somebody must work", o.Processes)
	case o.restart < 0, o.restart > 0 && o.URL != "":
		return fmt.Errorf("-restart %v: a server that was not started here is not restarted", o.restart)
	case o.watchOnly && o.URL == "":
		return errors.New("-watch-only needs -url or REDIS_URL")
	case o.watchOnly:
		return o.watch.Namespace.Validate()
	}
	return nil
}

// run is the program. It gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return held
	}
	if err != nil {
		return unable
	}
	report, err := o.run(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "redisalloc-stress:", err)
		return unable
	}
	if o.json {
		err = json.NewEncoder(stdout).Encode(report)
	} else {
		_, err = fmt.Fprint(stdout, report)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "redisalloc-stress:", err)
		return unable
	case !report.Held():
		return violated
	}
	return held
}

func (o *options) run(ctx context.Context, stderr io.Writer) (*stress.Report, error) {
	o.Log, o.watch.Log = stderr, stderr
	if o.watchOnly {
		return stress.Watch(ctx, o.watch)
	}
	if o.URL == "" {
		url, restart, stop, err := redistest.LaunchDurable()
		if err != nil {
			return nil, err
		}
		defer stop()
		if o.URL = url; o.restart > 0 {
			o.Restart, o.RestartPause = restart, o.restart
		}
	}
	return stress.Run(ctx, o.Config)
}
