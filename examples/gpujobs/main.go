// Command gpujobs runs tasks that each need a GPU, on more workers than there are GPUs. A job waits for a GPU without
// occupying a worker, so that other tasks, which need none, are done meanwhile.
//
//	go run ./examples/gpujobs
//	REDIS_URL=redis://localhost:6379 go run ./examples/gpujobs -gpus 2 -jobs 12  # several copies share GPUs and jobs
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// Job is a training run.
type Job struct {
	Model string        `json:"model"`
	Takes time.Duration `json:"takes"`
}

// Report is what came of it.
type Report struct {
	GPU   string `json:"gpu"`
	Fence int64  `json:"fence"` // of the lease on the GPU
}

// gpuLease is a lease on a GPU. There is no object to it but its name.
type gpuLease = *pool.Lease[pool.None]

type config struct {
	gpus, jobs int
	takes      time.Duration
	redis      string
}

func main() {
	var cfg config
	flag.IntVar(&cfg.gpus, "gpus", 2, "`number` of GPUs")
	flag.IntVar(&cfg.jobs, "jobs", 8, "`number` of jobs")
	flag.DurationVar(&cfg.takes, "takes", 500*time.Millisecond, "`time` that a job takes")
	flag.Parse()
	cfg.redis = os.Getenv("REDIS_URL")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, cfg, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gpujobs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	be := backend.Backend(memory.New())
	if cfg.redis != "" {
		if be, err = rueidis.Open(ctx, cfg.redis); err != nil {
			return err
		}
	}
	defer be.Close()

	gpus, err := pool.New(be, pool.Config[pool.None]{Namespace: backend.Namespace{Prefix: "example", Suffix: "gpus"}})
	if err != nil {
		return err
	}
	defer gpus.Close()
	var names []string
	for i := range cfg.gpus {
		names = append(names, fmt.Sprintf("gpu-%d", i))
	}
	if err := gpus.Extend(ctx, names); err != nil {
		return err
	}

	jobs := backend.Namespace{Prefix: "example", Suffix: "gpujobs"}
	train := task.NewQueue[Job, Report](be, jobs, "train", task.Config{})
	hello := task.NewQueue[string, string](be, jobs, "hello", task.Config{})
	server := task.NewServer(be, jobs, task.ServerConfig{Concurrency: 4})
	onGPU := task.WithLease[Job, Report](func(ctx context.Context, _ *task.Task[Job]) (gpuLease, error) {
		return gpus.AcquireKey(ctx)
	})
	if err := errors.Join(
		task.Serve(server, train, onGPU(work), task.ServeConfig{MaxParked: 100}),
		task.Serve(server, hello, greet, task.ServeConfig{}),
	); err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Run(serving) }()
	err = submit(ctx, train, hello, cfg, out)
	stop()
	return errors.Join(err, <-served)
}

// work is a job. It has its GPU as long as its context lasts.
func work(ctx context.Context, t *task.Task[Job]) (Report, error) {
	gpu, _ := task.LeaseOf[gpuLease](ctx)
	select {
	case <-time.After(t.Params().Takes):
		return Report{GPU: gpu.Key(), Fence: gpu.Fence()}, nil
	case <-ctx.Done():
		return Report{}, context.Cause(ctx)
	}
}

// greet needs no GPU.
func greet(_ context.Context, t *task.Task[string]) (string, error) {
	return "hello, " + t.Params(), nil
}

// submit has jobs done, and something else while they wait.
func submit(
	ctx context.Context, train *task.Queue[Job, Report], hello *task.Queue[string, string], cfg config, out io.Writer,
) error {
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, format+"\n", args...)
	}
	errs := make([]error, cfg.jobs+1)
	var all sync.WaitGroup
	for i := range cfg.jobs {
		all.Go(func() {
			model := fmt.Sprintf("model-%d", i)
			r, err := train.Query(ctx, Job{Model: model, Takes: cfg.takes})
			if errs[i] = err; err == nil {
				say("%s was trained on %s, fence %d", model, r.GPU, r.Fence)
			}
		})
	}
	all.Go(func() {
		text, err := hello.Query(ctx, "you")
		if errs[cfg.jobs] = err; err == nil {
			say("%s", text)
		}
	})
	all.Wait()
	return errors.Join(errs...)
}
