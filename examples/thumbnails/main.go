// Command thumbnails has images made smaller by two worker processes, shows how far each of them has come, and kills one of the
// workers on the way. No image is lost: when the lease of what it was working on runs out, the other one begins that again.
//
//	redis-server --save '' &
//	REDIS_URL=redis://localhost:6379 go run ./examples/thumbnails                    # images that it paints itself
//	REDIS_URL=redis://localhost:6379 go run ./examples/thumbnails -from ~/Pictures -to /tmp/small
//
// Begin to read with resize.go, which is what the workers do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/task"
)

// config is what can be set.
type config struct {
	redis    string
	from, to string
	paint    int
	width    int
	pace     time.Duration // per row, so that there is something to see
	kill     bool
	run      string // names this run: its tasks are its own
}

func main() {
	cfg := config{redis: os.Getenv("REDIS_URL")}
	flag.StringVar(&cfg.from, "from", "", "`directory` with images; default: some are painted")
	flag.StringVar(&cfg.to, "to", "", "`directory` for the thumbnails; default: a temporary one")
	flag.IntVar(&cfg.paint, "paint", 12, "`number` of images to paint")
	flag.IntVar(&cfg.width, "width", 160, "`width` of a thumbnail")
	flag.DurationVar(&cfg.pace, "pace", 5*time.Millisecond, "`time` to rest after each row")
	flag.BoolVar(&cfg.kill, "kill", true, "kill a worker on the way")
	worker := flag.String("worker", "", "be a worker of the `run` of that name, until standard input ends")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if *worker != "" {
		cfg.run = *worker
		err = work(ctx, cfg, os.Stdin)
	} else {
		cfg.run = backend.NewToken()
		err = run(ctx, cfg, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "thumbnails:", err)
		os.Exit(1)
	}
}

// open gives the queue of a run.
func open(ctx context.Context, cfg config) (*rueidis.Backend, *task.Queue[Job, Thumbnail], error) {
	if cfg.redis == "" {
		return nil, nil, errors.New("REDIS_URL is not set, and processes need a store that they share")
	}
	be, err := rueidis.Open(ctx, cfg.redis)
	if err != nil {
		return nil, nil, err
	}
	ns := backend.Namespace{Prefix: "example", Suffix: "thumbnails"}
	return be, task.NewQueue[Job, Thumbnail](be, ns, cfg.run, task.Config{
		Retries: 2,
		Server:  task.ServerConfig{Concurrency: 2, LeaseTTL: time.Second, Drain: 5 * time.Second},
	}), nil
}

// work serves the queue until ctx or alive ends: a worker does not outlive whoever has started it.
func work(ctx context.Context, cfg config, alive io.Reader) error {
	be, queue, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer be.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, alive)
		stop()
	}()
	return queue.Listen(ctx, resize)
}

// run has the images made smaller.
func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	be, queue, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer be.Close()
	if cfg.to == "" {
		if cfg.to, err = os.MkdirTemp("", "thumbnails"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(cfg.to) }()
	}
	if cfg.from == "" {
		if cfg.from, err = os.MkdirTemp("", "images"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(cfg.from) }()
		if err := paint(cfg.from, cfg.paint); err != nil {
			return err
		}
	}
	jobs, err := jobsOf(cfg)
	if err != nil {
		return err
	}
	workers, err := startWorkers(2, cfg.run)
	if err != nil {
		return err
	}
	defer workers.stop()

	board := newBoard(out, len(jobs))
	done := make(chan Thumbnail, len(jobs))
	errs := make([]error, len(jobs))
	var all sync.WaitGroup
	for i, job := range jobs {
		handle, err := queue.Submit(ctx, job)
		if err != nil {
			errs[i] = err
			break
		}
		name := filepath.Base(job.From)
		all.Go(func() {
			for p, err := range handle.Progress(ctx) {
				if err == nil {
					board.show(i, name, p)
				}
			}
			thumb, err := handle.Wait(ctx)
			if errs[i] = err; err == nil {
				board.finish(i, name, thumb)
				done <- thumb
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	if cfg.kill {
		select {
		case first := <-done:
			workers.kill(first.Worker)
			board.say(fmt.Sprintf("worker %d is killed", first.Worker))
			done <- first
		case <-ended:
		}
	}
	<-ended
	if err := errors.Join(errs...); err != nil {
		return err
	}
	close(done)
	again := 0
	for thumb := range done {
		if thumb.Attempt > 1 {
			again++
		}
	}
	board.say(fmt.Sprintf("%d thumbnails; %d were begun again after their worker had died", len(jobs), again))
	return nil
}
