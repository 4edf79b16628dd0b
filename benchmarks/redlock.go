package benchmarks

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

const redlockServers = 3

// redlock compares locking and unlocking on several servers with one round trip to them, that is, to the slowest of those
// that are asked at once.
func redlock(ctx context.Context, b *bench) (figure, error) {
	var servers []lock.RedlockBackend
	var clients []rueidis.Client
	for range redlockServers {
		on := bench{Options: b.Options}
		url, stop, err := redistest.Launch()
		if err != nil {
			return figure{}, err
		}
		b.closers = append(b.closers, stop, on.close)
		on.url = url
		be, err := on.backend(ctx)
		if err != nil {
			return figure{}, err
		}
		c, err := on.client()
		if err != nil {
			return figure{}, err
		}
		servers, clients = append(servers, be), append(clients, c)
	}
	ns, err := new(bench).space(ctx) // nobody has to clear servers that are about to end
	if err != nil {
		return figure{}, err
	}
	r, err := lock.NewRedlock(servers, ns, lock.RedlockConfig{TTL: lockTTL, ServerTimeout: time.Second})
	if err != nil {
		return figure{}, err
	}
	b.closers = append(b.closers, r.Close)
	pair := func() (time.Duration, error) {
		start := time.Now()
		held, err := r.TryLock(ctx, "lock")
		if err != nil {
			return 0, err
		}
		err = held.Unlock(ctx)
		return time.Since(start), err
	}
	d, err := interleave(b.Rounds,
		b.typical(pair),
		b.typical(func() (time.Duration, error) { return roundTripToAll(ctx, clients, ns.Lock("nothing")) }),
	)
	return d.ratio("µs"), err
}

// roundTripToAll has all servers do next to nothing, at once, and tells how long it took until the last had answered.
func roundTripToAll(ctx context.Context, clients []rueidis.Client, key string) (time.Duration, error) {
	errs := make([]error, len(clients))
	start := time.Now()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { errs[i] = doNothing(ctx, c, key) })
	}
	wg.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return took, err
		}
	}
	return took, nil
}
