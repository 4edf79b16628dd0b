package benchmarks

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// Options say what [Run] measures, and for how long.
type Options struct {
	Only     *regexp.Regexp // the goals, and plots, to measure; nil: all
	Rounds   int            // of each comparison, besides the one that does not count
	Duration time.Duration  // of each side of a round
	Sizes    Sizes
	Page     bool      // measure what the page needs besides the goals: plots, the machine and its load
	Progress io.Writer // is told what is measured now; nil: nobody
}

// Sizes say how large the pools are.
type Sizes struct {
	Pool     int           // where nothing else is said
	Small    int           // what a large pool is compared with
	Large    int           // a large pool, a large load, a long queue
	Leases   int           // that are live at once
	LeaseTTL time.Duration // theirs
	Memory   int           // of pools in this process

	Goroutines int // the most, in plots

	Handoffs int           // of a lock, in a round
	Hold     time.Duration // for how long it is held each time
	Overlap  time.Duration // the TTL of a lock whose holder cannot reach the server any more

	Backlog int           // of tasks, to be worked off
	Look    time.Duration // how often the listeners of asynq look whether there is a task
}

// Defaults are the options with which the goals are meant to be measured.
func Defaults() Options {
	return Options{
		Rounds:   5,
		Duration: 500 * time.Millisecond,
		Sizes: Sizes{
			Pool: 5000, Small: 10, Large: 1_000_000, Leases: 100_000, LeaseTTL: 15 * time.Second, Memory: 128,
			Goroutines: 512,
			Handoffs:   320, Hold: 20 * time.Millisecond, Overlap: 5 * time.Second,
			Backlog: 5000, Look: time.Second, // its default
		},
	}
}

// A Report is what [Run] has measured.
type Report struct {
	groups  []groupResult
	charts  []chart
	machine machine
	load    load
	opts    Options
	at      time.Time
	took    time.Duration
}

type groupResult struct {
	group
	results []result
}

// Run measures the goals, one after the other, and prints a line for each as soon as it is known. That a goal is not
// met, or cannot be measured, is no error; that there is no server is one.
func Run(ctx context.Context, w io.Writer, opts Options) (*Report, error) {
	r := &Report{opts: opts, at: time.Now()}
	if !opts.Page {
		return r, r.run(ctx, w)
	}
	before, err := r.load.begin(ctx)
	if err != nil {
		return nil, err
	}
	err = r.run(ctx, w)
	r.load.end(before) // whatever was started has ended, and is known to be ours
	return r, err
}

func (r *Report) run(ctx context.Context, w io.Writer) error {
	needed, charts := false, r.opts.charts()
	for _, g := range groups() {
		chosen := groupResult{group: g}
		chosen.experiments = slices.DeleteFunc(g.experiments, func(e experiment) bool {
			return !slices.ContainsFunc(e.goals, r.opts.wants)
		})
		needed = needed || slices.ContainsFunc(chosen.experiments, func(e experiment) bool { return e.server })
		r.groups = append(r.groups, chosen)
	}
	url := ""
	if needed || len(charts) > 0 {
		u, stop, err := redistest.Serve()
		if err != nil {
			return fmt.Errorf("no server to measure on: %w", err)
		}
		defer stop()
		url = u
	}
	if r.opts.Page {
		r.machine = describe(ctx, url)
	}
	writeHeader(w)
	for i := range r.groups {
		g := &r.groups[i]
		for _, e := range g.experiments {
			r.progress(e.goals[0].name)
			g.results = append(g.results, r.opts.measure(ctx, w, e, url)...)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	for _, c := range charts {
		r.progress("the plot " + c.name)
		r.charts = append(r.charts, r.opts.plot(ctx, c, url))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	r.took = time.Since(r.at)
	return nil
}

// progress tells what is measured now.
func (r *Report) progress(what string) {
	if r.opts.Progress != nil {
		fmt.Fprintf(r.opts.Progress, "%3.0f s: %s\n", time.Since(r.at).Seconds(), what)
	}
}

func (o *Options) wants(g goal) bool { return o.Only == nil || o.Only.MatchString(g.name) }

// measure does one experiment and prints its lines.
func (o *Options) measure(ctx context.Context, w io.Writer, e experiment, url string) (results []result) {
	b := bench{Options: *o}
	if e.server {
		b.url = url
	}
	figures, err := e.run(ctx, &b)
	b.close()
	for i, g := range e.goals {
		if !o.wants(g) {
			continue
		}
		r := result{goal: g, err: err}
		if err == nil {
			r.figure = figures[i]
		}
		writeResult(w, &r)
		results = append(results, r)
	}
	return results
}
