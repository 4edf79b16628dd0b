package benchmarks

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	ours "github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
)

// A counter is a backend that counts what is renewed through it.
type counter struct {
	*ours.Backend
	calls, items atomic.Int64
}

// Renew counts and passes on.
func (c *counter) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	c.calls.Add(1)
	c.items.Add(int64(len(req.Items)))
	return c.Backend.Renew(ctx, req)
}

// RenewLocks counts and passes on.
func (c *counter) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	c.calls.Add(1)
	c.items.Add(int64(len(req.Items)))
	return c.Backend.RenewLocks(ctx, req)
}

const (
	leaseWorkers = 64
	// intervals is for how many renewals of each lease the calls are counted.
	intervals = 2
)

// leases holds many members of a pool at once.
func leases(ctx context.Context, b *bench) ([]figure, error) {
	be, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	count := &counter{Backend: be}
	home, err := b.poolOn(ctx, count, b.Sizes.Leases, nil)
	if err != nil {
		return nil, err
	}
	a, err := b.open(count, pool.Config[*resource]{Namespace: home.Namespace(), TTL: b.Sizes.LeaseTTL})
	if err != nil {
		return nil, err
	}
	return holdMany(ctx, b, count,
		func(int) (*pool.Lease[*resource], error) { return a.MallocKey(ctx) },
		func(l *pool.Lease[*resource]) error { return l.Release(ctx) },
	)
}

// heldLocks holds many locks at once, each a Mutex of its own, which counts as well.
func heldLocks(ctx context.Context, b *bench) ([]figure, error) {
	be, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	count := &counter{Backend: be}
	return holdMany(ctx, b, count,
		func(i int) (*lock.Held, error) {
			return lock.NewMutex(count, ns, strconv.Itoa(i), lock.Config{TTL: b.Sizes.LeaseTTL}).TryLock(ctx)
		},
		func(held *lock.Held) error { return held.Unlock(ctx) },
	)
}

// holdMany holds many leases at once. The figures are the goroutines that this takes, the bytes for each lease, and the
// calls a second for renewal, compared with full batches.
func holdMany[T interface {
	Valid() bool
	Context() context.Context
}](ctx context.Context, b *bench, count *counter, take func(i int) (T, error), giveBack func(T) error) ([]figure, error) {
	held := make([]T, b.Sizes.Leases)
	err := each(len(held), func(i int) error { // so that only what is held makes a difference
		l, err := take(i)
		if err != nil {
			return err
		}
		return giveBack(l)
	})
	if err != nil {
		return nil, err
	}
	goroutines, bytes := runtime.NumGoroutine(), inUse()

	// One after the other over a whole interval, so that they are not all due at the same moment.
	interval := b.Sizes.LeaseTTL / 3
	begin := time.Now()
	err = each(len(held), func(i int) (err error) {
		until(begin.Add(time.Duration(i) * interval / time.Duration(len(held))))
		held[i], err = take(i)
		return err
	})
	if err != nil {
		return nil, err
	}
	bytes = inUse() - bytes

	calls, items, start := count.calls.Load(), count.items.Load(), time.Now()
	goroutines = peak(ctx, intervals*interval) - goroutines
	calls, items = count.calls.Load()-calls, count.items.Load()-items
	seconds := time.Since(start).Seconds()

	for i, l := range held {
		if !l.Valid() {
			return nil, fmt.Errorf("lease %d was lost: %w", i, context.Cause(l.Context()))
		}
	}
	if least := intervals * len(held) / 2; items < int64(least) {
		return nil, fmt.Errorf("only %d renewals of %d leases in %d intervals", items, len(held), intervals)
	}
	err = each(len(held), func(i int) error { return giveBack(held[i]) })
	n := float64(len(held))
	perSecond, full := float64(calls)/seconds, n/(backend.BatchLimit*interval.Seconds())
	return []figure{
		once(float64(goroutines), ""),
		once(bytes/n, "bytes"),
		{quantity{perSecond, "calls/s"}, quantity{full, "calls/s"}, []float64{perSecond / full}},
	}, err
}

// each calls f for every number below n, some at a time, and gives an error of one of them.
func each(n int, f func(i int) error) error {
	var next atomic.Int64
	var once sync.Once
	var failed error
	var wg sync.WaitGroup
	for range leaseWorkers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// until waits for a moment, roughly.
func until(at time.Time) {
	if d := time.Until(at); d > 5*time.Millisecond {
		<-time.After(d)
	}
}

// inUse gives the bytes that are in use, on the heap and on stacks.
func inUse() float64 {
	runtime.GC()
	runtime.GC() // what the first one let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// peak gives the largest number of goroutines that is seen in a while.
func peak(ctx context.Context, d time.Duration) int {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	most := 0
	for {
		most = max(most, runtime.NumGoroutine())
		select {
		case <-tick.C:
		case <-end.C:
			return most
		case <-ctx.Done():
			return most
		}
	}
}
