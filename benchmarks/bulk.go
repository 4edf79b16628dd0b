package benchmarks

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/pool"
)

const bulkClients = 2 // that take and give back meanwhile

// bulk loads many members into a pool in which others take and give back, and as many fields into a hash. The first
// figure is how much longer the others' slowest pairs get, the second how fast the load is.
func bulk(ctx context.Context, b *bench) ([]figure, error) {
	names := members(b.Sizes.Large)
	var waits, rates duel
	for range b.Rounds {
		var round bench // closed after each round, with all that was loaded
		round.Options, round.url = b.Options, b.url
		wait, perSecond, err := round.bulk(ctx, names)
		round.close()
		if err != nil {
			return nil, err
		}
		waits.add(wait[0], wait[1])
		rates.add(perSecond[0], perSecond[1])
	}
	wait := waits.ratio("ms")
	wait.rounds = waits.differences()
	return []figure{wait, rates.ratio("members/s")}, nil
}

// bulk is one round: the 99th percentiles under load and idle, the rates of our load and the hash's.
func (b *bench) bulk(ctx context.Context, names []string) (wait, perSecond [2]float64, err error) {
	loader, err := b.pool(ctx, b.Sizes.Pool, nil)
	if err != nil {
		return wait, perSecond, err
	}
	others := make([]op, bulkClients)
	for i := range others {
		be, err := b.backend(ctx)
		if err != nil {
			return wait, perSecond, err
		}
		a, err := b.open(be, pool.Config[*resource]{Namespace: loader.Namespace()})
		if err != nil {
			return wait, perSecond, err
		}
		others[i] = pair(a, bulkClients)
	}
	busy := func(ctx context.Context, worker int) error { return others[worker](ctx, worker) }
	c, err := b.client()
	if err != nil {
		return wait, perSecond, err
	}
	hash, err := b.space(ctx)
	if err != nil {
		return wait, perSecond, err
	}

	runtime.GC()
	idle, err := latencies(ctx, bulkClients, after(4*b.Duration), busy)
	if err != nil {
		return wait, perSecond, err
	}
	runtime.GC()
	loaded, ourRate, err := during(ctx, busy, len(names), func() error { return loader.Extend(ctx, names) })
	if err != nil {
		return wait, perSecond, err
	}
	runtime.GC()
	_, otherRate, err := during(ctx, busy, len(names), func() error { return hset(ctx, c, hash.Pool(), names) })
	return [2]float64{quantile(loaded, 0.99), quantile(idle, 0.99)}, [2]float64{ourRate, otherRate}, err
}

// during gives the latencies of others while load loads n members, and how many those are in a second.
func during(ctx context.Context, others op, n int, load func() error) ([]float64, float64, error) {
	stop, rated, failed := make(chan struct{}), make(chan float64, 1), make(chan error, 1)
	go func() {
		defer close(stop)
		start := time.Now()
		err := load()
		rated <- float64(n) / time.Since(start).Seconds()
		failed <- err
	}()
	took, err := latencies(ctx, bulkClients, stop, others)
	return took, <-rated, errors.Join(err, <-failed)
}

// hset fills a hash with one HSET for each name, a thousand of them sent at once.
func hset(ctx context.Context, c rueidis.Client, key string, names []string) error {
	const batch = 1000
	for len(names) > 0 {
		n := min(len(names), batch)
		commands := make(rueidis.Commands, n)
		for i, name := range names[:n] {
			commands[i] = c.B().Hset().Key(key).FieldValue().FieldValue(name, "||||-1").Build()
		}
		for _, reply := range c.DoMulti(ctx, commands...) {
			if err := reply.Error(); err != nil {
				return err
			}
		}
		names = names[n:]
	}
	return nil
}
