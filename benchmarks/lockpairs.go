package benchmarks

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// lockTTL is for how long all sides lock.
const lockTTL = 10 * time.Second

// mutexes gives n locks with different names in a new namespace.
func (b *bench) mutexes(ctx context.Context, be lock.Backend, n int, cfg lock.Config) ([]*lock.Mutex, error) {
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]*lock.Mutex, n)
	for i := range all {
		all[i] = lock.NewMutex(be, ns, "lock-"+strconv.Itoa(i), cfg)
	}
	return all, nil
}

// lockPair has each worker lock and unlock a lock of its own.
func lockPair(mutexes []*lock.Mutex) op {
	return func(ctx context.Context, worker int) error {
		held, err := mutexes[worker].TryLock(ctx)
		if err != nil {
			return err
		}
		return held.Unlock(ctx)
	}
}

var compareAndDelete = rueidis.NewLuaScript(
	`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)

var errLockLost = errors.New("a lock was not its holder's any more")

// rawLockPair is lockPair by hand: SET NX PX, and a script that deletes the key if it still has the value. It knows no
// fences, no line, no renewal and no contexts.
func rawLockPair(c rueidis.Client, ns backend.Namespace) op {
	return func(ctx context.Context, worker int) error {
		key, token := ns.Lock(strconv.Itoa(worker)), rand.Text()
		if err := c.Do(ctx, c.B().Set().Key(key).Value(token).Nx().Px(lockTTL).Build()).Error(); err != nil {
			return err
		}
		n, err := compareAndDelete.Exec(ctx, c, []string{key}, []string{token}).AsInt64()
		if err == nil && n != 1 {
			err = errLockLost
		}
		return err
	}
}

// ourLockPairs prepares lockPair.
func (b *bench) ourLockPairs(ctx context.Context, workers int) (op, error) {
	be, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	all, err := b.mutexes(ctx, be, workers, lock.Config{TTL: lockTTL})
	return lockPair(all), err
}

// rawLockPairs prepares rawLockPair.
func (b *bench) rawLockPairs(ctx context.Context, _ int) (op, error) {
	c, err := b.client()
	if err != nil {
		return nil, err
	}
	ns, err := b.space(ctx)
	return rawLockPair(c, ns), err
}

// lockPairs compares pairs on different names with those of another library, or by hand.
func lockPairs(workers int, prepare preparation) func(ctx context.Context, b *bench) (figure, error) {
	return func(ctx context.Context, b *bench) (figure, error) {
		ours, err := b.ourLockPairs(ctx, workers)
		if err != nil {
			return figure{}, err
		}
		other, err := prepare(b, ctx, workers)
		if err != nil {
			return figure{}, err
		}
		return b.compare(ctx, workers, ours, other)
	}
}
