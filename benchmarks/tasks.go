package benchmarks

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// A taskQueue is a queue of tasks whose parameters are their results.
type taskQueue = task.Queue[int, int]

func echo(_ context.Context, t *task.Task[int]) (int, error) { return t.Params(), nil }

// newQueue gives the queue of a namespace.
func newQueue(be task.Backend, ns backend.Namespace, cfg task.ServerConfig) *taskQueue {
	cfg.Drain = -1
	return task.NewQueue[int, int](be, ns, "queue", task.Config{Server: cfg})
}

// taskSpace is space for tasks. They leave many keys.
func (b *bench) taskSpace(ctx context.Context) (backend.Namespace, error) {
	ns, err := b.space(ctx)
	if err == nil {
		err = b.sweep(ctx, ns.Base())
	}
	return ns, err
}

// sweep removes all keys with a prefix at the end.
func (b *bench) sweep(ctx context.Context, prefix string) error {
	c, err := b.client()
	if err == nil {
		b.closers = append(b.closers, func() { removeAll(context.WithoutCancel(ctx), c, prefix) })
	}
	return err
}

// removeAll removes all keys with a prefix.
func removeAll(ctx context.Context, c rueidis.Client, prefix string) {
	const page = 10_000
	for cursor := uint64(0); ; {
		found, err := c.Do(ctx, c.B().Scan().Cursor(cursor).Match(prefix+"*").Count(page).Build()).AsScanEntry()
		if err != nil {
			return
		}
		if len(found.Elements) > 0 {
			c.Do(ctx, c.B().Unlink().Key(found.Elements...).Build())
		}
		if cursor = found.Cursor; cursor == 0 {
			return
		}
	}
}

// listen has a queue served until stop is called, or until the end.
func (b *bench) listen(ctx context.Context, q *taskQueue, h task.Handler[int, int]) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = q.Listen(ctx, h) // those who wait find out
	}()
	stop = func() {
		cancel()
		<-ended
	}
	b.closers = append(b.closers, stop)
	return stop
}

// served gives a queue on a new namespace that is served by so many handlers in another backend.
func (b *bench) served(ctx context.Context, handlers int, h task.Handler[int, int]) (*taskQueue, error) {
	ns, err := b.taskSpace(ctx)
	if err != nil {
		return nil, err
	}
	worker, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	client, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	cfg := task.ServerConfig{Concurrency: handlers}
	b.listen(ctx, newQueue(worker, ns, cfg), h)
	return newQueue(client, ns, cfg), nil
}

// fill submits n tasks.
func fill(ctx context.Context, q *taskQueue, n int) error {
	return each(n, func(i int) error {
		_, err := q.Submit(ctx, i)
		return err
	})
}
