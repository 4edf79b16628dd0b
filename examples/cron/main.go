// Command cron runs a job at each tick of the clock, on one of the machines on which it is started. When that machine
// dies on the way, another one steps in.
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/cron -every 10s -- sh -c 'echo tick $CRON_TICK'
//	go run ./examples/cron -every 1s -copies 3  # to watch, in memory
//
// The command finds the time of the tick in CRON_TICK, and a number that grows from one run to the next in
// CRON_FENCE. It is killed when its lock is lost. (When cron itself is killed by force the command goes on;
// examples/run takes it along.) How it is done, and what is promised, is in schedule.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
)

// config is what can be set.
type config struct {
	name    string
	every   time.Duration
	ttl     time.Duration
	copies  int
	command []string
	redis   string
}

func main() {
	var cfg config
	flag.StringVar(&cfg.name, "name", "job", "`name` of the job")
	flag.DurationVar(&cfg.every, "every", time.Minute, "`time` between two ticks")
	flag.DurationVar(&cfg.ttl, "ttl", 10*time.Second, "`time` after which another one steps in for a machine that died")
	flag.IntVar(&cfg.copies, "copies", 1, "`number` of machines to be, to try it out")
	flag.Parse()
	cfg.command = flag.Args()
	cfg.redis = os.Getenv("REDIS_URL")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, cfg, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config, out io.Writer) error {
	if cfg.every < time.Millisecond || cfg.copies < 1 {
		return errors.New("-every must be at least a millisecond, and -copies at least 1")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	say := printTo(out)
	shared := memory.New()
	defer shared.Close()
	var running sync.WaitGroup
	for i := range cfg.copies {
		be := backend.Backend(shared)
		if cfg.redis != "" {
			var err error
			if be, err = rueidis.Open(ctx, cfg.redis); err != nil {
				stop()
				return err
			}
			defer be.Close()
		}
		s := newSchedule(be, backend.Namespace{Prefix: "example", Suffix: "cron"}, cfg.name, cfg.every, cfg.ttl)
		s.say = say
		s.job = func(_ context.Context, tick time.Time, _ int64) error {
			say("%s: run by copy %d of process %d", tick.Format(time.TimeOnly), i+1, os.Getpid())
			return nil
		}
		if len(cfg.command) > 0 {
			s.job = command(cfg.command, out)
		}
		defer running.Wait() // before its backend is closed
		running.Go(func() { s.run(ctx) })
	}
	return nil
}

// command is a job that runs a command.
func command(words []string, out io.Writer) func(context.Context, time.Time, int64) error {
	return func(ctx context.Context, tick time.Time, fence int64) error {
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = append(os.Environ(),
			"CRON_TICK="+tick.UTC().Format(time.RFC3339Nano),
			fmt.Sprint("CRON_FENCE=", fence))
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		return cmd.Run()
	}
}

// printTo prints lines, one at a time.
func printTo(out io.Writer) func(format string, args ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, format+"\n", args...)
	}
}
