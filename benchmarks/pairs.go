package benchmarks

import (
	"context"
	"slices"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/policy"
)

// pair takes a member and gives it back. Each worker has one object, which it uses again.
func pair(a *allocator, workers int) op {
	objects := make([]*resource, workers)
	for i := range objects {
		objects[i] = new(resource)
	}
	return func(ctx context.Context, worker int) error {
		l, err := a.Malloc(ctx, objects[worker])
		if err != nil {
			return err
		}
		return l.Release(ctx)
	}
}

var noop = rueidis.NewLuaScript(`return redis.call('GET', KEYS[1])`)

// doNothing calls it.
func doNothing(ctx context.Context, c rueidis.Client, key string) error {
	if err := noop.Exec(ctx, c, []string{key}, nil).Error(); err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	return nil
}

// noops calls, twice, a script that does next to nothing: the least that a pair of calls can cost.
func noops(c rueidis.Client, key string) op {
	return func(ctx context.Context, _ int) error {
		if err := doNothing(ctx, c, key); err != nil {
			return err
		}
		return doNothing(ctx, c, key)
	}
}

// spops takes a member of a set and puts it back: a pool without leases, fences, order or anybody's death.
func spops(c rueidis.Client, set string) op {
	return func(ctx context.Context, _ int) error {
		member, err := c.Do(ctx, c.B().Spop().Key(set).Build()).ToString()
		if err != nil {
			return err
		}
		return c.Do(ctx, c.B().Sadd().Key(set).Member(member).Build()).Error()
	}
}

// ourPairs prepares pair.
func (b *bench) ourPairs(ctx context.Context, workers int) (op, error) {
	a, err := b.pool(ctx, b.Sizes.Pool, nil)
	if err != nil {
		return nil, err
	}
	return pair(a, workers), nil
}

// noopPairs prepares noops.
func (b *bench) noopPairs(ctx context.Context, _ int) (op, error) {
	c, err := b.client()
	if err != nil {
		return nil, err
	}
	ns, err := b.space(ctx)
	return noops(c, ns.Lock("nothing")), err
}

// spopPairs prepares spops on a set that is as large as our pool.
func (b *bench) spopPairs(ctx context.Context, _ int) (op, error) {
	c, err := b.client()
	if err != nil {
		return nil, err
	}
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(members(b.Sizes.Pool), 10_000) {
		if err := c.Do(ctx, c.B().Sadd().Key(ns.Pool()).Member(some...).Build()).Error(); err != nil {
			return nil, err
		}
	}
	return spops(c, ns.Pool()), nil
}

// compare gives the rates of two ops by as many workers.
func (b *bench) compare(ctx context.Context, workers int, ours, other op) (figure, error) {
	return b.compareRates(ctx, workers, "pairs/s", ours, other)
}

// compareRates is compare for ops that are no pairs.
func (b *bench) compareRates(ctx context.Context, workers int, unit string, ours, other op) (figure, error) {
	d, err := interleave(b.Rounds,
		func() (float64, error) { return rate(ctx, workers, b.Duration, ours) },
		func() (float64, error) { return rate(ctx, workers, b.Duration, other) },
	)
	return d.ratio(unit), err
}

// compareTimes gives the nanoseconds that two ops take.
func (b *bench) compareTimes(ctx context.Context, workers int, ours, other op) (figure, error) {
	took := func(f op) side {
		return func() (float64, error) {
			perSecond, err := rate(ctx, workers, b.Duration, f)
			return 1e9 / perSecond, err
		}
	}
	d, err := interleave(b.Rounds, took(ours), took(other))
	return d.ratio("ns"), err
}

// pairs compares pairs with two calls of a script that does nothing.
func pairs(workers int) func(ctx context.Context, b *bench) (figure, error) {
	return func(ctx context.Context, b *bench) (figure, error) {
		ours, err := b.ourPairs(ctx, workers)
		if err != nil {
			return figure{}, err
		}
		floor, err := b.noopPairs(ctx, workers)
		if err != nil {
			return figure{}, err
		}
		return b.compare(ctx, workers, ours, floor)
	}
}

// spop compares pairs with SPOP and SADD on a set of as many members.
func spop(ctx context.Context, b *bench) (figure, error) {
	const workers = 512
	ours, err := b.ourPairs(ctx, workers)
	if err != nil {
		return figure{}, err
	}
	set, err := b.spopPairs(ctx, workers)
	if err != nil {
		return figure{}, err
	}
	return b.compare(ctx, workers, ours, set)
}

// withPolicy compares pairs under the default policy, with an updater, with pairs under none.
func withPolicy(ctx context.Context, b *bench) (figure, error) {
	source := policy.SourceFunc(func(context.Context) ([]string, error) { return members(b.Sizes.Pool), nil })
	with, err := b.pool(ctx, b.Sizes.Pool, policy.Default(policy.Defaults[*resource]{Updater: policy.NewUpdater(source)}))
	if err != nil {
		return figure{}, err
	}
	without, err := b.pool(ctx, b.Sizes.Pool, nil)
	if err != nil {
		return figure{}, err
	}
	return b.compare(ctx, 1, pair(with, 1), pair(without, 1))
}

// size compares the time of a pair in a large pool with that in a small one.
func size(ctx context.Context, b *bench) (figure, error) {
	large, err := b.pool(ctx, b.Sizes.Large, nil)
	if err != nil {
		return figure{}, err
	}
	small, err := b.pool(ctx, b.Sizes.Small, nil)
	if err != nil {
		return figure{}, err
	}
	took := func(a *allocator) side {
		return func() (float64, error) {
			perSecond, err := rate(ctx, 1, b.Duration, pair(a, 1))
			return 1e6 / perSecond, err
		}
	}
	d, err := interleave(b.Rounds, took(large), took(small))
	return d.ratio("µs"), err
}
