package lock_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

func TestAPairOnMemoryAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates, too")
		return
	}
	be := memory.New()
	defer be.Close()
	ctx := t.Context()
	m := lock.NewMutex(be, ns, "name", lock.Config{Info: "nightly report"})
	for name, get := range map[string]func() (*lock.Held, error){
		"TryLock":  func() (*lock.Held, error) { return m.TryLock(ctx) },
		"Lock":     func() (*lock.Held, error) { return m.Lock(ctx) },
		"NewMutex": func() (*lock.Held, error) { return lock.NewMutex(be, ns, "other", lock.Config{}).TryLock(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			allocs := testing.AllocsPerRun(1000, func() {
				held, err := get()
				if err != nil {
					t.Fatal(err)
				}
				if err := held.Unlock(ctx); err != nil {
					t.Fatal(err)
				}
			})
			t.Log(allocs)
			require.LessOrEqual(t, allocs, map[string]float64{"TryLock": 5, "Lock": 7, "NewMutex": 7}[name])
		})
	}
}

func BenchmarkTryLockUnlock(b *testing.B) {
	be := memory.New()
	defer be.Close()
	ctx := context.Background()
	m := lock.NewMutex(be, ns, "name", lock.Config{})
	b.ReportAllocs()
	for b.Loop() {
		held, err := m.TryLock(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := held.Unlock(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTryLockUnlockParallel(b *testing.B) {
	be := memory.New()
	defer be.Close()
	ctx := context.Background()
	b.ReportAllocs()
	b.SetParallelism(32)
	n := make(chan int, 1)
	n <- 0
	b.RunParallel(func(pb *testing.PB) {
		i := <-n
		n <- i + 1
		m := lock.NewMutex(be, ns, fmt.Sprint(i), lock.Config{})
		for pb.Next() {
			held, err := m.TryLock(ctx)
			if err != nil {
				b.Error(err)
				return
			}
			if err := held.Unlock(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
