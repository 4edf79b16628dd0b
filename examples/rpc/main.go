// Command rpc calls a function that is run by whoever listens: in another process if there is one, else in this one.
//
//	go run ./examples/rpc                                              # in memory: nobody listens, then somebody does
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/rpc -listen &   # a process that answers
//	REDIS_URL=redis://localhost:6379 go run ./examples/rpc 12 15 -3    # another one that asks
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/task"
)

// Root is what is asked for: the square root of a number.
type Root struct {
	Of float64 `json:"of"`
}

// Answer is the result, and who found it.
type Answer struct {
	Value float64 `json:"value"`
	By    string  `json:"by"`
}

// ErrNegative crosses the wire: errors.Is finds it at the caller. It is final, no other process would do better.
var ErrNegative = &task.Error{Code: "negative", Message: "number is negative"}

func main() {
	listen := flag.Bool("listen", false, "answer instead of asking")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv("REDIS_URL"), *listen, flag.Args(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rpc:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, redis string, listen bool, numbers []string, out io.Writer) error {
	be := backend.Backend(memory.New())
	if redis != "" {
		var err error
		if be, err = rueidis.Open(ctx, redis); err != nil {
			return err
		}
	}
	defer be.Close()

	queue := task.NewQueue[Root, Answer](be, backend.Namespace{Prefix: "example", Suffix: "rpc"}, "root", task.Config{})
	if listen {
		return queue.Listen(ctx, by(fmt.Sprintf("process %d", os.Getpid())))
	}
	queue = queue.WithLocal(by("the caller itself"))
	if err := ask(ctx, queue, numbers, out); err != nil || redis != "" {
		return err
	}

	// The same again, with a listener.
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- queue.Listen(serving, by("a listener")) }()
	if err := heard(ctx, queue); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	err := ask(ctx, queue, numbers, out)
	stop()
	return errors.Join(err, <-served)
}

// by gives a handler that signs its answers.
func by(name string) task.Handler[Root, Answer] {
	return func(_ context.Context, t *task.Task[Root]) (Answer, error) {
		of := t.Params().Of
		if of < 0 {
			return Answer{}, fmt.Errorf("root of %g: %w", of, ErrNegative)
		}
		root := max(of, 1)
		for next := (root + of/root) / 2; next < root; next = (root + of/root) / 2 { // Newton, from above
			root = next
		}
		return Answer{Value: root, By: name}, nil
	}
}

// ask has the root of each number found: by who listens, if somebody does, else here.
func ask(ctx context.Context, queue *task.Queue[Root, Answer], numbers []string, out io.Writer) error {
	if len(numbers) == 0 {
		numbers = []string{"2", "144", "-1"}
	}
	for _, text := range numbers {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		answer, err := queue.Query(ctx, Root{Of: n}, task.Auto, task.Timeout(10*time.Second))
		switch {
		case errors.Is(err, ErrNegative):
			fmt.Fprintf(out, "%g has none\n", n)
		case err != nil:
			return err
		default:
			fmt.Fprintf(out, "%g has %.4f, says %s\n", n, answer.Value, answer.By)
		}
	}
	return nil
}

// heard waits until somebody listens.
func heard(ctx context.Context, queue *task.Queue[Root, Answer]) error {
	for {
		stats, err := queue.Stats(ctx)
		if err != nil || stats.Listeners > 0 {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
