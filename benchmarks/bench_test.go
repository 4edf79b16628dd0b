package benchmarks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

func TestMain(m *testing.M) {
	Contend()
	redistest.Main(m)
}

// on gives a bench on a server, with the sizes of the goals.
func on(b *testing.B) *bench {
	b.Helper()
	x := &bench{Options: Defaults(), url: redistest.URL(b)}
	b.Cleanup(x.close)
	return x
}

// inMemory gives a bench without a server.
func inMemory(b *testing.B) *bench {
	b.Helper()
	x := &bench{Options: Defaults()}
	b.Cleanup(x.close)
	return x
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// spread has b.N ops done by some workers.
func spread(b *testing.B, workers int, f op) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range workers {
		n := b.N / workers
		if w < b.N%workers {
			n++
		}
		wg.Go(func() {
			for range n {
				if err := f(b.Context(), w); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func byWorkers(b *testing.B, workers []int, prepare func(b *testing.B, workers int) op) {
	for _, n := range workers {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) { spread(b, n, prepare(b, n)) })
	}
}

var onServer, inProcesses = []int{1, 8, 64, 512}, []int{1, 64}

func BenchmarkPair(b *testing.B) {
	byWorkers(b, onServer, func(b *testing.B, n int) op {
		x := on(b)
		a, err := x.pool(b.Context(), x.Sizes.Pool, nil)
		must(b, err)
		return pair(a, n)
	})
}

func BenchmarkPairWithPolicy(b *testing.B) {
	byWorkers(b, onServer, func(b *testing.B, n int) op {
		x := on(b)
		p := policy.Default(policy.Defaults[*resource]{})
		a, err := x.pool(b.Context(), x.Sizes.Pool, p)
		must(b, err)
		return pair(a, n)
	})
}

func BenchmarkNoops(b *testing.B) {
	byWorkers(b, onServer, func(b *testing.B, _ int) op {
		c, err := on(b).client()
		must(b, err)
		return noops(c, "nothing")
	})
}

func BenchmarkMemoryPair(b *testing.B) {
	byWorkers(b, inProcesses, func(b *testing.B, n int) op {
		x := inMemory(b)
		a, err := x.memoryPool(b.Context(), x.Sizes.Memory)
		must(b, err)
		return pair(a, n)
	})
}

func BenchmarkPuddlePair(b *testing.B) {
	byWorkers(b, inProcesses, func(b *testing.B, _ int) op {
		x := inMemory(b)
		p, err := x.puddlePool(b.Context(), x.Sizes.Memory)
		must(b, err)
		return puddlePair(p)
	})
}

func BenchmarkExtend(b *testing.B) {
	x := on(b)
	a, err := x.pool(b.Context(), 1, nil)
	must(b, err)
	names := members(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Extend(b.Context(), names); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := a.Clear(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*len(names))/b.Elapsed().Seconds(), "members/s")
}

func BenchmarkHandOver(b *testing.B) {
	x := on(b)
	giver, err := x.pool(b.Context(), 1, nil)
	must(b, err)
	be, err := x.backend(b.Context())
	must(b, err)
	taker, err := x.open(be, pool.Config[*resource]{Namespace: giver.Namespace()})
	must(b, err)
	var total time.Duration
	for b.Loop() {
		d, err := handOver(context.WithoutCancel(b.Context()), giver, taker)
		must(b, err)
		total += d
	}
	b.ReportMetric(float64(total.Microseconds())/float64(b.N), "µs/handover")
}

func BenchmarkLockPair(b *testing.B) {
	for _, peer := range []struct {
		name    string
		prepare func(x *bench, ctx context.Context, workers int) (op, error)
	}{
		{"ours", (*bench).ourLockPairs},
		{"raw", (*bench).rawLockPairs},
		{"bsm", (*bench).bsmLockPairs},
		{"redsync", (*bench).redsyncLockPairs},
		{"rueidislock", (*bench).rueidislockPairs},
	} {
		b.Run(peer.name, func(b *testing.B) {
			byWorkers(b, []int{1, 64, 512}, func(b *testing.B, n int) op {
				f, err := peer.prepare(on(b), b.Context(), n)
				must(b, err)
				return f
			})
		})
	}
}

// BenchmarkContendedLock is contended in one process, with a connection for each of those that there are there.
func BenchmarkContendedLock(b *testing.B) {
	contend := func(b *testing.B, prepare func(x *bench, prefix string) (waiter, error)) {
		x := on(b)
		ns, err := x.space(b.Context())
		must(b, err)
		clients := make([]waiter, contendProcesses)
		for i := range clients {
			clients[i], err = prepare(x, ns.Prefix)
			must(b, err)
		}
		spread(b, contendProcesses*contendWorkers, func(ctx context.Context, worker int) error {
			unlock, err := clients[worker%len(clients)](ctx)
			if err != nil {
				return err
			}
			return unlock()
		})
	}
	b.Run("ours", func(b *testing.B) {
		contend(b, func(x *bench, prefix string) (waiter, error) {
			be, err := x.backend(b.Context())
			ns := backend.Namespace{Prefix: prefix, Suffix: "allocator"}
			return ourWaiter(lock.NewMutex(be, ns, "contended", lock.Config{})), err
		})
	})
	b.Run("rueidislock", func(b *testing.B) {
		contend(b, func(x *bench, prefix string) (waiter, error) {
			l, err := x.locker(prefix, lockTTL)
			return theirWaiter(l, "contended"), err
		})
	})
}
