package stress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	redis "github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend/rueidis"
)

// Config describes a run. The zero value is a good one, but for the URL.
type Config struct {
	URL     string // of the server, as for backend/rueidis.Open
	HashTag bool   // all keys of a namespace in one slot, as a Cluster needs it

	Seed      uint64        // of everything that is decided by chance
	Duration  time.Duration // of the work, until it is wound up. Default 10 seconds
	Processes int           // that work. Default 4
	TTL       time.Duration // of leases: so long the dead keep what they have. Default 2 seconds. Claims have a quarter of it
	Pause     time.Duration // between two faults, on average. Default 600 milliseconds

	// Restart, if not nil, kills the server and starts it again, with its data, each RestartPause. Default 5 seconds.
	Restart      func() error
	RestartPause time.Duration

	// Log is where violations are shown at once. Default: nowhere.
	Log io.Writer

	patience time.Duration // how long the dead may keep things beyond their leases; see the constant
	playing  func(*run)    // is called when all workers have been started
}

func (c Config) withDefaults() Config {
	c.Duration = cmp.Or(c.Duration, 10*time.Second)
	c.Processes = cmp.Or(c.Processes, 4)
	c.TTL = cmp.Or(c.TTL, 2*time.Second)
	c.Pause = cmp.Or(c.Pause, 600*time.Millisecond)
	c.RestartPause = cmp.Or(c.RestartPause, 5*time.Second)
	c.patience = cmp.Or(c.patience, patience)
	if c.Log == nil {
		c.Log = io.Discard
	}
	return c
}

func (c *Config) validate() error {
	switch {
	case c.Processes < 1 || c.Processes > 1000:
		return fmt.Errorf("%d processes: there must be 1 to 1000", c.Processes)
	case c.TTL < 100*time.Millisecond:
		return fmt.Errorf("TTL %v: there must be 100ms at least", c.TTL)
	case c.Duration <= 0 || c.Pause <= 0 || c.RestartPause <= 0:
		return errors.New("durations must be positive")
	}
	return nil
}

// longest is the longest lease that anybody asks for: Held.Extend adds to what there is.
func (c *Config) longest() time.Duration { return 2*c.TTL + time.Second }

// run is one run.
type run struct {
	*findings
	cfg    Config
	spaces Spaces
	be     *rueidis.Backend
	client redis.Client
	guard  *guard
	crew   *crew
	watch  *watcher
	report *Report
}

// Run has processes work on the server while things happen to them, watches them, and goes through the store in the end. It
// blocks for the duration of the run, or until ctx ends, which ends the work early, and then until all is wound up. What was
// violated is in the report; the error says why there is none. When nothing was violated no key is left.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	r, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer r.close()
	// What is wound up takes as long as it does, also if ctx has ended.
	if err := r.play(ctx, context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	if r.report.Held() {
		err = r.clean(context.WithoutCancel(ctx))
	}
	return r.report, err
}

// prepare connects to the server, and fills the pools.
func prepare(ctx context.Context, cfg Config) (_ *run, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	spaces := Spaces{Prefix: fmt.Sprintf("redisalloc-stress-%016x", rand.Uint64()), HashTag: cfg.HashTag}
	r := &run{
		findings: newFindings(cfg.Log), cfg: cfg, spaces: spaces,
		report: &Report{Seed: cfg.Seed, Processes: cfg.Processes, TTL: cfg.TTL, Prefix: spaces.Prefix},
	}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.be, err = connect(ctx, cfg.URL, false); err != nil {
		return nil, err
	}
	if r.client, err = dial(ctx, cfg.URL); err != nil {
		return nil, err
	}
	r.guard = &guard{r.client, spaces.guard()}
	r.crew = newCrew(cfg, spaces, r.findings)
	r.watch = newWatcher(r)
	return r, r.watch.furnish(ctx)
}

func (r *run) close() {
	if r.be != nil {
		_ = r.be.Close() // it is always nil
	}
	if r.client != nil {
		r.client.Close()
	}
}

// play is the run: work until open ends, then what is left.
func (r *run) play(open, ctx context.Context) error {
	defer r.crew.close()
	for slot := range r.cfg.Processes {
		if err := r.crew.enter(slot, false); err != nil {
			return err
		}
	}
	r.crew.ready(open)
	began := time.Now()
	if r.cfg.playing != nil {
		r.cfg.playing(r)
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch.loop(watching)
	}()
	err := r.trouble(open)
	r.report.Worked = time.Since(began)
	if err == nil {
		err = r.windUp(ctx)
	}
	stop()
	<-watched
	if err != nil {
		return err
	}
	r.watch.audit(ctx)
	r.fill()
	return nil
}

// trouble has the faults happen as they are planned, until the time is over.
func (r *run) trouble(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Duration)
	defer cancel()
	for f := range Plan(r.cfg) {
		if pause(ctx, f.After); ctx.Err() != nil {
			return nil
		}
		p := r.crew.cast[f.Slot]
		switch f.Do {
		case Kill:
			r.crew.kill(p)
			r.report.Kills++
			if err := r.crew.enter(f.Slot, false); err != nil {
				return err
			}
		case Stop:
			r.crew.stop(ctx, p, f.For)
			r.report.Stops++
		case Restart:
			if err := r.cfg.Restart(); err != nil {
				return fmt.Errorf("restart of the server: %w", err)
			}
			r.report.Restarts++
		}
		n, err := r.crew.revive(false)
		if r.report.Poisoned += n; err != nil {
			return err
		}
	}
	return nil
}

// windUp waits until everybody has done what they had begun, and all tasks have ended.
func (r *run) windUp(ctx context.Context) error {
	begin := time.Now()
	r.crew.say(sayStop)
	if err := r.until(ctx, begin, "work", func() bool { return r.crew.idle() }); err != nil {
		return err
	}
	if err := r.watch.resume(ctx); err != nil { // who was to do so may be dead
		return err
	}
	err := r.until(ctx, begin, "tasks", func() bool {
		left, err := r.guard.counter(ctx, openTasks)
		return err == nil && left == 0
	})
	if err != nil {
		return err
	}
	r.crew.say(sayEnd)
	r.crew.leave(patience)
	r.report.WoundUp = time.Since(begin)
	return nil
}

// until waits until something is done, while workers go on to die of their tasks.
func (r *run) until(ctx context.Context, begin time.Time, what string, done func() bool) error {
	for !done() {
		if waited := time.Since(begin); waited > 3*patience {
			r.add("end", "the %s: not done after %v", what, waited)
			return nil
		}
		pause(ctx, 20*time.Millisecond)
		n, err := r.crew.revive(true)
		if r.report.Poisoned += n; err != nil {
			return err
		}
	}
	return nil
}

// clean removes all that the run has left.
func (r *run) clean(ctx context.Context) error {
	return eachKey(ctx, r.client, r.spaces, func(key string) error {
		return r.client.Do(ctx, r.client.B().Del().Key(key).Build()).Error()
	})
}
