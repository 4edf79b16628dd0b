package benchmarks

import (
	"context"
	"sync"

	"github.com/redisallocator/redisallocator/task"
)

// A turnstile keeps the number of tasks that wait in a queue as it is: each worker submits one and waits until one is
// done, and what is done waits for such a worker.
type turnstile struct {
	turns chan struct{}
	ended chan struct{}
}

func newTurnstile() turnstile { return turnstile{make(chan struct{}), make(chan struct{})} }

// pass is what a handler does: it ends when somebody waits for that, or nobody will any more.
func (t turnstile) pass() {
	select {
	case t.turns <- struct{}{}:
	case <-t.ended:
	}
}

// after submits a task and waits until one, mostly another, is done.
func (t turnstile) after(put op) op {
	return func(ctx context.Context, worker int) error {
		if err := put(ctx, worker); err != nil {
			return err
		}
		select {
		case <-t.turns:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// steady prepares a queue in which so many tasks wait, however many are submitted and done by as many workers as it has
// handlers.
func (b *bench) steady(ctx context.Context, workers, waiting int) (op, error) {
	ns, err := b.taskSpace(ctx)
	if err != nil {
		return nil, err
	}
	client, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	worker, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	q := newQueue(client, ns, task.ServerConfig{})
	if err := fill(ctx, q, waiting+workers); err != nil { // the handlers have begun that many
		return nil, err
	}
	t := newTurnstile()
	b.listen(ctx, newQueue(worker, ns, task.ServerConfig{Concurrency: workers}), func(_ context.Context, task *task.Task[int]) (int, error) {
		t.pass()
		return task.Params(), nil
	})
	b.closers = append(b.closers, func() { close(t.ended) })
	return t.after(submit(q)), nil
}

// ourSteady is steady with few tasks.
func (b *bench) ourSteady(ctx context.Context, workers int) (op, error) {
	return b.steady(ctx, workers, few)
}

// asynqSteady is ourSteady with asynq.
func (b *bench) asynqSteady(ctx context.Context, workers int) (op, error) {
	q, err := b.asynqQueue(ctx, 2*workers) // as many submit as handle
	if err != nil {
		return nil, err
	}
	if err := each(few+workers, func(i int) error { return q.enqueue(ctx, i) }); err != nil {
		return nil, err
	}
	t := newTurnstile()
	stop, err := q.serve(b, workers, func() error {
		t.pass()
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, stop, func() { close(t.ended) })
	return t.after(q.enqueue), nil
}

// rawSteady is ourSteady by hand: a list, and a connection for each handler.
func (b *bench) rawSteady(ctx context.Context, workers int) (op, error) {
	ns, err := b.taskSpace(ctx)
	if err != nil {
		return nil, err
	}
	client, err := b.client()
	if err != nil {
		return nil, err
	}
	server, err := b.blockingClient(workers)
	if err != nil {
		return nil, err
	}
	list := ns.TaskQueue("tasks")
	put := func(ctx context.Context, _ int) error { return push(ctx, client, list, "task") }
	if err := each(few+workers, func(i int) error { return put(ctx, i) }); err != nil {
		return nil, err
	}
	t := newTurnstile()
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for {
				if got, err := pop(ctx, server, list); err != nil || got == nobody {
					return
				}
				t.pass()
			}
		})
	}
	b.closers = append(b.closers, func() {
		close(t.ended)
		for range workers {
			_ = push(context.WithoutCancel(ctx), client, list, nobody)
		}
		running.Wait()
	})
	return t.after(put), nil
}
