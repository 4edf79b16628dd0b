// Command fanout hands out many tasks and gathers their results as they come, not in the order in which they were handed
// out: it counts the primes below a number, a piece a task.
//
//	go run ./examples/fanout -below 1000000 -pieces 40
//	REDIS_URL=redis://localhost:6379 go run ./examples/fanout  # other copies help, and may be started before or after
//
// Each task has an id of its own making, so that a copy that was killed and is started again gathers what is done already
// instead of doing it anew.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/task"
)

// Span is the numbers from From to below To.
type Span struct {
	From int `json:"from"`
	To   int `json:"to"`
}

func main() {
	below := flag.Int("below", 200_000, "`number` up to which to count")
	pieces := flag.Int("pieces", 20, "`number` of tasks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv("REDIS_URL"), *below, *pieces, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, redis string, below, pieces int, out io.Writer) error {
	if below < 1 || pieces < 1 {
		return errors.New("-below and -pieces must be positive")
	}
	be := backend.Backend(memory.New())
	if redis != "" {
		var err error
		if be, err = rueidis.Open(ctx, redis); err != nil {
			return err
		}
	}
	defer be.Close()
	queue := task.NewQueue[Span, int](be, backend.Namespace{Prefix: "example", Suffix: "fanout"}, "primes",
		task.Config{Retries: 3, Timeout: 10 * time.Minute, Server: task.ServerConfig{Concurrency: 4}})

	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- queue.Listen(serving, count) }()
	sum, err := gather(ctx, queue, below, pieces, out)
	stop()
	if err := errors.Join(err, <-served); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d primes below %d\n", sum, below)
	return nil
}

// count is the task.
func count(ctx context.Context, t *task.Task[Span]) (n int, err error) {
	for i := max(t.Params().From, 2); i < t.Params().To; i++ {
		if i%1000 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if prime(i) {
			n++
		}
	}
	return n, nil
}

func prime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}

// gather hands out the pieces and adds up what comes back.
func gather(ctx context.Context, queue *task.Queue[Span, int], below, pieces int, out io.Writer) (sum int, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type piece struct {
		span Span
		n    int
		err  error
	}
	done := make(chan piece)
	for i := range pieces {
		span := Span{From: below * i / pieces, To: below * (i + 1) / pieces}
		go func() {
			id := fmt.Sprintf("primes/%d-%d", span.From, span.To)
			n, err := queue.Query(ctx, span, task.ID(id))
			done <- piece{span, n, err}
		}()
	}
	for i := range pieces {
		p := <-done
		if p.err != nil {
			stop() // the others come back with an error, too
			err = errors.Join(err, p.err)
			continue
		}
		sum += p.n
		fmt.Fprintf(out, "%3d of %d: %d from %d to %d\n", i+1, pieces, p.n, p.span.From, p.span.To-1)
	}
	return sum, err
}
