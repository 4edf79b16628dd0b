package benchmarks

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// Options say what [Run] measures, and for how long.
type Options struct {
	Only     *regexp.Regexp // the goals to measure; nil: all
	Rounds   int            // of each comparison, besides the one that does not count
	Duration time.Duration  // of each side of a round
	Sizes    Sizes
}

// Sizes say how large the pools are.
type Sizes struct {
	Pool     int           // where nothing else is said
	Small    int           // what a large pool is compared with
	Large    int           // a large pool, a large load, a long queue
	Leases   int           // that are live at once
	LeaseTTL time.Duration // theirs
	Memory   int           // of pools in this process

	Handoffs int           // of a lock, in a round
	Hold     time.Duration // for how long it is held each time
	Overlap  time.Duration // the TTL of a lock whose holder cannot reach the server any more

	Backlog int           // of tasks, to be worked off
	Look    time.Duration // how often the listeners of asynq look whether there is a task
}

// Defaults are the options with which the goals are meant to be measured.
func Defaults() Options {
	return Options{
		Rounds:   7,
		Duration: 500 * time.Millisecond,
		Sizes: Sizes{
			Pool: 5000, Small: 10, Large: 1_000_000, Leases: 100_000, LeaseTTL: 15 * time.Second, Memory: 128,
			Handoffs: 320, Hold: 20 * time.Millisecond, Overlap: 5 * time.Second,
			Backlog: 5000, Look: time.Second, // its default
		},
	}
}

// Run measures the goals, one after the other, and prints a line for each as soon as it is known. That a goal is not
// met, or cannot be measured, is no error; that there is no server is one.
func Run(ctx context.Context, w io.Writer, opts Options) error {
	var chosen []experiment
	server := false
	for _, e := range experiments() {
		for _, g := range e.goals {
			if opts.wants(g) {
				chosen = append(chosen, e)
				server = server || e.server
				break
			}
		}
	}
	url := ""
	if server {
		u, stop, err := redistest.Serve()
		if err != nil {
			return fmt.Errorf("no server to measure on: %w", err)
		}
		defer stop()
		url = u
	}
	writeHeader(w)
	for _, e := range chosen {
		opts.measure(ctx, w, e, url)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) wants(g goal) bool { return o.Only == nil || o.Only.MatchString(g.name) }

// measure does one experiment and prints its lines.
func (o *Options) measure(ctx context.Context, w io.Writer, e experiment, url string) {
	b := bench{Options: *o}
	if e.server {
		b.url = url
	}
	figures, err := e.run(ctx, &b)
	b.close()
	for i, g := range e.goals {
		switch {
		case !o.wants(g):
		case err != nil:
			writeFailure(w, g, err)
		default:
			writeFigure(w, g, figures[i])
		}
	}
}
