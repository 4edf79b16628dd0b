package benchmarks

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// submits compares the rate at which tasks are submitted with that of asynq.
func submits(workers int) func(ctx context.Context, b *bench) (figure, error) {
	return func(ctx context.Context, b *bench) (figure, error) {
		ns, err := b.taskSpace(ctx)
		if err != nil {
			return figure{}, err
		}
		be, err := b.backend(ctx)
		if err != nil {
			return figure{}, err
		}
		other, err := b.asynqQueue(ctx, workers)
		if err != nil {
			return figure{}, err
		}
		return b.compareRates(ctx, workers, "submits/s", submit(newQueue(be, ns, task.ServerConfig{})), other.enqueue)
	}
}

// submit submits a task.
func submit(q *taskQueue) op {
	return func(ctx context.Context, worker int) error {
		_, err := q.Submit(ctx, worker)
		return err
	}
}

// A tally measures how fast tasks are done, from when the first is begun.
type tally struct {
	left  atomic.Int64
	begin sync.Once
	start time.Time
	took  time.Duration
	all   chan struct{} // closed when all have been done
}

func newTally(tasks int) *tally {
	t := &tally{all: make(chan struct{})}
	t.left.Store(int64(tasks))
	return t
}

func (t *tally) begun() { t.begin.Do(func() { t.start = time.Now() }) }

func (t *tally) done() {
	if t.left.Add(-1) == 0 {
		t.took = time.Since(t.start)
		close(t.all)
	}
}

// Observe counts what the store knows to be done.
func (t *tally) Observe(e backend.Event) {
	if e.Kind == backend.EventDone {
		t.done()
	}
}

// wait gives the tasks per second.
func (t *tally) wait(ctx context.Context, tasks int) (float64, error) {
	select {
	case <-t.all:
		return float64(tasks) / t.took.Seconds(), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// process compares the rate at which so many handlers, that do nothing, work off a full queue, with that of asynq. Ours
// is done when the store has said so, theirs when the handler has returned.
func process(handlers int) func(ctx context.Context, b *bench) (figure, error) {
	return func(ctx context.Context, b *bench) (figure, error) {
		ns, err := b.taskSpace(ctx)
		if err != nil {
			return figure{}, err
		}
		be, err := b.backend(ctx)
		if err != nil {
			return figure{}, err
		}
		other, err := b.asynqQueue(ctx, 2*handlers) // it fetches while it reports
		if err != nil {
			return figure{}, err
		}
		d, err := interleave(b.Rounds,
			func() (float64, error) {
				t := newTally(b.Sizes.Backlog)
				q := newQueue(be, ns, task.ServerConfig{Concurrency: handlers, Observer: t})
				if err := fill(ctx, q, b.Sizes.Backlog); err != nil {
					return 0, err
				}
				stop := b.listen(ctx, q, func(_ context.Context, task *task.Task[int]) (int, error) {
					t.begun()
					return task.Params(), nil
				})
				defer stop()
				return t.wait(ctx, b.Sizes.Backlog)
			},
			func() (float64, error) {
				t := newTally(b.Sizes.Backlog)
				if err := each(b.Sizes.Backlog, func(i int) error { return other.enqueue(ctx, i) }); err != nil {
					return 0, err
				}
				stop, err := other.serve(b, handlers, func() error {
					t.begun()
					t.done()
					return nil
				})
				if err != nil {
					return 0, err
				}
				defer stop()
				return t.wait(ctx, b.Sizes.Backlog)
			},
		)
		return d.ratio("tasks/s"), err
	}
}

// startIdle compares the time from when a task is submitted to an idle queue until its handler begins with that of asynq,
// whose listeners look from time to time. Each task comes at a random moment between two looks.
func startIdle(ctx context.Context, b *bench) (figure, error) {
	begun := make(chan time.Time, 1)
	q, err := b.served(ctx, task.DefaultConcurrency, func(context.Context, *task.Task[int]) (int, error) {
		begun <- time.Now()
		return 0, nil
	})
	if err != nil {
		return figure{}, err
	}
	other, err := b.asynqQueue(ctx, task.DefaultConcurrency)
	if err != nil {
		return figure{}, err
	}
	stop, err := other.serve(b, task.DefaultConcurrency, func() error {
		begun <- time.Now()
		return nil
	})
	if err != nil {
		return figure{}, err
	}
	defer stop()
	took := func(ctx context.Context, f op) (time.Duration, error) {
		start := time.Now()
		if err := f(ctx, 0); err != nil {
			return 0, err
		}
		select {
		case at := <-begun:
			return at.Sub(start), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	d, err := interleave(b.Rounds,
		b.typical(func() (time.Duration, error) { return took(ctx, submit(q)) }),
		b.typical(func() (time.Duration, error) {
			until(time.Now().Add(rand.N(b.Sizes.Look)))
			return took(ctx, other.enqueue)
		}),
	)
	return d.ratio("µs"), err
}

// few is how many tasks wait in a queue that is not deep.
const few = 100

// depth compares the rate of tasks through a queue in which many wait with that through one where few do.
func depth(ctx context.Context, b *bench) (figure, error) {
	const workers = 64
	deep, err := b.steady(ctx, workers, b.Sizes.Large)
	if err != nil {
		return figure{}, err
	}
	shallow, err := b.steady(ctx, workers, few)
	if err != nil {
		return figure{}, err
	}
	return b.compareRates(ctx, workers, "tasks/s", deep, shallow)
}
