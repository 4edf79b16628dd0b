package benchmarks

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/redisallocator/redisallocator/backend"
)

// goRedis gives a client of the library that two of the others use, with a connection for each worker: with fewer they
// wait for one.
func (b *bench) goRedis(workers int) (*redis.Client, error) {
	option, err := redis.ParseURL(b.url)
	if err != nil {
		return nil, err
	}
	option.PoolSize, option.MinIdleConns = workers, workers
	c := redis.NewClient(option)
	b.closers = append(b.closers, func() { _ = c.Close() })
	return c, nil
}

// bsmLockPairs is lockPair with bsm/redislock.
func (b *bench) bsmLockPairs(ctx context.Context, workers int) (op, error) {
	c, err := b.goRedis(workers)
	if err != nil {
		return nil, err
	}
	ns, err := b.space(ctx)
	locker, keys := redislock.New(c), lockKeys(ns, workers)
	return func(ctx context.Context, worker int) error {
		l, err := locker.Obtain(ctx, keys[worker], lockTTL, nil)
		if err != nil {
			return err
		}
		return l.Release(ctx)
	}, err
}

// redsyncLockPairs is lockPair with redsync on one server.
func (b *bench) redsyncLockPairs(ctx context.Context, workers int) (op, error) {
	c, err := b.goRedis(workers)
	if err != nil {
		return nil, err
	}
	ns, err := b.space(ctx)
	rs, mutexes := redsync.New(goredis.NewPool(c)), make([]*redsync.Mutex, workers)
	for i, key := range lockKeys(ns, workers) {
		mutexes[i] = rs.NewMutex(key, redsync.WithExpiry(lockTTL))
	}
	return func(ctx context.Context, worker int) error {
		if err := mutexes[worker].TryLockContext(ctx); err != nil {
			return err
		}
		ok, err := mutexes[worker].UnlockContext(ctx)
		if err == nil && !ok {
			err = errLockLost
		}
		return err
	}, err
}

// locker gives one of rueidislock, with one key for each lock, and with as much time for a try as it takes: with the
// default of 20 ms it gives up when the machine is busy.
func (b *bench) locker(prefix string, ttl time.Duration) (rueidislock.Locker, error) {
	option, err := rueidis.ParseURL(b.url)
	if err != nil {
		return nil, err
	}
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption: option, KeyPrefix: prefix, KeyValidity: ttl, KeyMajority: 1, NoLoopTracking: true,
		TryNextAfter: ttl,
	})
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, l.Close)
	return l, nil
}

// rueidislockPairs is lockPair with rueidislock.
func (b *bench) rueidislockPairs(ctx context.Context, workers int) (op, error) {
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	l, err := b.locker(ns.Base(), lockTTL)
	return func(ctx context.Context, worker int) error {
		_, unlock, err := l.TryWithContext(ctx, strconv.Itoa(worker))
		if err != nil {
			return err
		}
		unlock()
		return nil
	}, err
}

func lockKeys(ns backend.Namespace, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = ns.Lock(strconv.Itoa(i))
	}
	return keys
}

// theirWaiter waits with rueidislock.
func theirWaiter(l rueidislock.Locker, name string) waiter {
	return func(ctx context.Context) (func() error, error) {
		_, unlock, err := l.WithContext(ctx, name)
		if err != nil {
			return nil, err
		}
		return func() error { unlock(); return nil }, nil
	}
}

// redsyncWaiter waits with redsync, as a client of its own. Once it waits it goes on until it has the lock: a try that is
// cancelled may leave the lock behind.
func (b *bench) redsyncWaiter(key string) (waiter, error) {
	c, err := b.goRedis(1)
	if err != nil {
		return nil, err
	}
	m := redsync.New(goredis.NewPool(c)).NewMutex(key, redsync.WithExpiry(lockTTL), redsync.WithTries(math.MaxInt))
	return func(ctx context.Context) (func() error, error) {
		ctx = context.WithoutCancel(ctx)
		if err := m.LockContext(ctx); err != nil {
			return nil, err
		}
		return func() error {
			_, err := m.UnlockContext(ctx)
			return err
		}, nil
	}, nil
}
