package benchmarks

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

func TestTasksLeaveNoKeys(t *testing.T) {
	ctx := t.Context()
	b := bench{Options: tiny(), url: redistest.URL(t)}
	defer b.close()
	before := keys(t, &b)
	q, err := b.served(ctx, 4, echo)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := q.Query(ctx, 3); n != 3 || err != nil {
		t.Errorf("got %v, %v", n, err)
	}
	raw, err := b.rawQueries(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw(ctx, 1); err != nil {
		t.Error(err)
	}
	other, err := b.asynqQueue(ctx, 4)
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	stop, err := other.serve(&b, 2, func() error { close(begun); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := other.enqueue(ctx, 1); err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	if err := other.enqueue(ctx, 2); err != nil { // nobody takes this one
		t.Fatal(err)
	}
	if _, err := q.Submit(ctx, 4, task.Delay(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b.close()

	for _, key := range keys(t, &b) {
		if !slices.Contains(before, key) {
			t.Errorf("%s is left", key)
		}
	}
}

// keys gives those of the benchmarks, and those that asynq has for all its queues.
func keys(t *testing.T, b *bench) (all []string) {
	t.Helper()
	c, err := b.client()
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*benchmark-*", "asynq:*"} {
		found, err := c.Do(t.Context(), c.B().Keys().Pattern(pattern).Build()).AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func TestATallyEndsWithTheLastTask(t *testing.T) {
	y := newTally(2)
	y.begun()
	y.Observe(backend.Event{Kind: backend.EventStarted})
	y.Observe(backend.Event{Kind: backend.EventDone})
	y.begun()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := y.wait(ended, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v before all were done", err)
	}
	y.Observe(backend.Event{Kind: backend.EventDone})
	if perSecond, err := y.wait(t.Context(), 2); err != nil || perSecond <= 0 {
		t.Errorf("got %v, %v", perSecond, err)
	}
}

func BenchmarkQuery(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		byWorkers(b, []int{1, 64, 512}, func(b *testing.B, n int) op {
			q, err := on(b).served(b.Context(), n, echo)
			must(b, err)
			return query(q)
		})
	})
	b.Run("raw", func(b *testing.B) {
		byWorkers(b, []int{1, 64, 512}, func(b *testing.B, n int) op {
			f, err := on(b).rawQueries(b.Context(), n)
			must(b, err)
			return f
		})
	})
}

func BenchmarkMemoryQuery(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		byWorkers(b, inProcesses, func(b *testing.B, _ int) op {
			q, err := inMemory(b).memoryQueue(b.Context())
			must(b, err)
			return query(q)
		})
	})
	b.Run("channels", func(b *testing.B) {
		byWorkers(b, inProcesses, func(b *testing.B, _ int) op { return inMemory(b).channels() })
	})
}

func BenchmarkSubmit(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		byWorkers(b, []int{1, 64}, func(b *testing.B, _ int) op {
			x := on(b)
			ns, err := x.taskSpace(b.Context())
			must(b, err)
			be, err := x.backend(b.Context())
			must(b, err)
			return submit(newQueue(be, ns, task.ServerConfig{}))
		})
	})
	b.Run("asynq", func(b *testing.B) {
		byWorkers(b, []int{1, 64}, func(b *testing.B, n int) op {
			q, err := on(b).asynqQueue(b.Context(), n)
			must(b, err)
			return q.enqueue
		})
	})
}

// BenchmarkProcess works off a queue that is full when it begins.
func BenchmarkProcess(b *testing.B) {
	const handlers = 64
	b.Run("ours", func(b *testing.B) {
		x := on(b)
		ns, err := x.taskSpace(b.Context())
		must(b, err)
		be, err := x.backend(b.Context())
		must(b, err)
		y := newTally(b.N)
		q := newQueue(be, ns, task.ServerConfig{Concurrency: handlers, Observer: y})
		must(b, fill(b.Context(), q, b.N))
		b.ReportAllocs()
		b.ResetTimer()
		x.listen(b.Context(), q, echo)
		<-y.all
		b.StopTimer()
	})
	b.Run("asynq", func(b *testing.B) {
		x := on(b)
		q, err := x.asynqQueue(b.Context(), 2*handlers)
		must(b, err)
		y := newTally(b.N)
		must(b, each(b.N, func(i int) error { return q.enqueue(b.Context(), i) }))
		b.ReportAllocs()
		b.ResetTimer()
		stop, err := q.serve(x, handlers, func() error { y.done(); return nil })
		must(b, err)
		<-y.all
		b.StopTimer()
		stop()
	})
}
