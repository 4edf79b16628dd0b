package task_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// A function is called that somebody else runs.
func Example() {
	be := memory.New() // or rueidis.Open, and then the two may be different processes
	defer be.Close()
	ctx, stop := context.WithCancel(context.Background())
	square := task.NewQueue[int, int](be, backend.Namespace{Prefix: "example", Suffix: "task"}, "square", task.Config{})

	served := make(chan error)
	go func() {
		served <- square.Listen(ctx, func(_ context.Context, t *task.Task[int]) (int, error) {
			return t.Params() * t.Params(), nil
		})
	}()

	res, err := square.Query(ctx, 12, task.Timeout(time.Minute))
	fmt.Println(res, err)
	stop()
	fmt.Println(<-served)
	// Output:
	// 144 <nil>
	// <nil>
}

// An error keeps its identity on its way to the caller.
func ExampleError() {
	errEmpty := &task.Error{Code: "empty", Message: "account is empty"} // both sides know it

	be := memory.New()
	defer be.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	pay := task.NewQueue[string, int](be, backend.Namespace{Prefix: "example", Suffix: "task"}, "pay", task.Config{Retries: 5})
	served := make(chan error)
	go func() {
		served <- pay.Listen(ctx, func(_ context.Context, t *task.Task[string]) (int, error) {
			return 0, fmt.Errorf("pay for %s: %w", t.Params(), errEmpty) // final: it is not Retryable
		})
	}()

	_, err := pay.Query(ctx, "alice")
	fmt.Println(errors.Is(err, errEmpty))
	var e *task.Error
	if errors.As(err, &e) {
		fmt.Println(e.Message)
	}
	stop()
	if err := <-served; err != nil {
		fmt.Println(err)
	}
	// Output:
	// true
	// pay for alice: account is empty
}

// Without a listener the task is done in this process.
func ExamplePolicy() {
	be := memory.New()
	defer be.Close()
	greet := task.NewQueue[string, string](be, backend.Namespace{Prefix: "example", Suffix: "task"}, "greet", task.Config{}).
		WithLocal(func(_ context.Context, t *task.Task[string]) (string, error) { return "hello, " + t.Params(), nil })

	res, err := greet.Query(context.Background(), "you", task.Auto)
	fmt.Println(res, err)
	_, err = greet.Query(context.Background(), "you", task.Remote, task.Timeout(10*time.Millisecond))
	fmt.Println(errors.Is(err, task.ErrExpired), errors.Is(err, task.ErrNoListener))
	// Output:
	// hello, you <nil>
	// true true
}

// A handle follows a task, here or in another process that knows its id.
func ExampleQueue_Submit() {
	be := memory.New()
	defer be.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	count := task.NewQueue[int, int](be, backend.Namespace{Prefix: "example", Suffix: "task"}, "count", task.Config{})

	handle, err := count.Submit(ctx, 3, task.ID("count/3")) // the same again joins this one
	if err != nil {
		fmt.Println(err)
		return
	}
	state, _ := handle.State(ctx)
	fmt.Println(handle.ID(), "is", state.State)

	served := make(chan error)
	go func() {
		served <- count.Listen(ctx, func(_ context.Context, t *task.Task[int]) (int, error) { return t.Params() + 1, nil })
	}()
	res, err := count.Wait(ctx, "count/3")
	fmt.Println(res, err)
	stop()
	if err := <-served; err != nil {
		fmt.Println(err)
	}
	// Output:
	// count/3 is waiting
	// 4 <nil>
}

// Each run holds a seat. While it waits for one it occupies no worker.
func ExampleWithLease() {
	be := memory.New()
	defer be.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	seats, err := pool.New(be, pool.Config[pool.None]{Namespace: backend.Namespace{Prefix: "example", Suffix: "seats"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer seats.Close()
	if err := seats.Extend(ctx, []string{"seat-1"}); err != nil {
		fmt.Println(err)
		return
	}

	type lease = *pool.Lease[pool.None]
	render := task.NewQueue[string, string](be, backend.Namespace{Prefix: "example", Suffix: "task"}, "render", task.Config{})
	seated := task.WithLease[string, string](func(ctx context.Context, _ *task.Task[string]) (lease, error) {
		return seats.AcquireKey(ctx)
	})
	served := make(chan error)
	go func() {
		served <- render.Listen(ctx, seated(func(ctx context.Context, t *task.Task[string]) (string, error) {
			seat, _ := task.LeaseOf[lease](ctx)
			return t.Params() + " on " + seat.Key(), nil
		}))
	}()
	fmt.Println(render.Query(ctx, "scene 1"))
	stop()
	if err := <-served; err != nil {
		fmt.Println(err)
	}
	// Output: scene 1 on seat-1 <nil>
}
