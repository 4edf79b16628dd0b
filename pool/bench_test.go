package pool_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/pool"
)

// item is an object without optional methods.
type item struct{ key string }

func (t *item) Configure(key string, _ any) error {
	t.key = key
	return nil
}

func newBench(b testing.TB, members int) *pool.Allocator[*item] {
	b.Helper()
	be := memory.New()
	p, err := pool.New(be, pool.Config[*item]{Namespace: backend.Namespace{Prefix: "bench", Suffix: "pool"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = p.Close(), be.Close() })
	keys := make([]string, members)
	for i := range keys {
		keys[i] = fmt.Sprintf("member-%d", i)
	}
	if err := p.Extend(context.Background(), keys); err != nil {
		b.Fatal(err)
	}
	return p
}

func TestAPairOnMemoryAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates, too")
		return
	}
	p, ctx, obj := newBench(t, 100), t.Context(), new(item)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		lease, err := p.Malloc(ctx, obj)
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Release(ctx); err != nil {
			t.Fatal(err)
		}
	}), 2.0)
}

func BenchmarkMallocRelease(b *testing.B) {
	p, ctx := newBench(b, 5000), context.Background()
	obj := new(item)
	b.ReportAllocs()
	for b.Loop() {
		lease, err := p.Malloc(ctx, obj)
		if err != nil {
			b.Fatal(err)
		}
		if err := lease.Release(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMallocReleaseParallel(b *testing.B) {
	p, ctx := newBench(b, 5000), context.Background()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		obj := new(item)
		for pb.Next() {
			lease, err := p.Malloc(ctx, obj)
			if err != nil {
				b.Error(err)
				return
			}
			if err := lease.Release(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
