package task_test

import (
	"context"
	"testing"

	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/task"
)

func twice(_ context.Context, t *task.Task[int]) (int, error) { return 2 * t.Params(), nil }

// BenchmarkQuery is one query after another, and many at once; BenchmarkChannels is what they can be measured by.
func BenchmarkQuery(b *testing.B) {
	be := memory.New()
	defer be.Close()
	q := task.NewQueue[int, int](be, ns, "q", task.Config{})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- q.Listen(ctx, twice) }()
	query := func() {
		if got, err := q.Query(b.Context(), 21); err != nil || got != 42 {
			b.Error(got, err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			query()
		}
	})
	b.Run("together", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				query()
			}
		})
	})
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkChannels(b *testing.B) {
	in, out := make(chan int), make(chan int)
	go func() {
		defer close(out)
		for n := range in {
			out <- 2 * n
		}
	}()
	for b.Loop() {
		in <- 21
		<-out
	}
	close(in)
	<-out
}
