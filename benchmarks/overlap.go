package benchmarks

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/lock"
)

// A locking takes a lock and gives the context of what is held.
type locking func(ctx context.Context) (held context.Context, unlock func() error, err error)

// overlap has the connection of a holder become a black hole right after it got a lock that somebody else waits for. The
// figure is for how long, in seconds, the first one's context went on after the other had got the lock.
func overlap(ctx context.Context, b *bench) (figure, error) {
	const name = "overlap"
	ns, err := b.space(ctx)
	if err != nil {
		return figure{}, err
	}
	our := func(b *bench) (locking, error) {
		be, err := b.backend(ctx)
		if err != nil {
			return nil, err
		}
		m := lock.NewMutex(be, ns, name, lock.Config{TTL: b.Sizes.Overlap})
		return func(ctx context.Context) (context.Context, func() error, error) {
			held, err := m.Lock(ctx)
			if err != nil {
				return nil, nil, err
			}
			return held.Context(), func() error { return held.Unlock(ctx) }, nil
		}, nil
	}
	their := func(b *bench) (locking, error) {
		l, err := b.locker(ns.Base()+"-other", b.Sizes.Overlap)
		return func(ctx context.Context) (context.Context, func() error, error) {
			held, unlock, err := l.WithContext(ctx, name)
			return held, func() error { unlock(); return nil }, err
		}, err
	}
	var wg sync.WaitGroup // both at once, because they only wait
	var x, y float64
	var ourErr, theirErr error
	wg.Go(func() { x, ourErr = b.overlap(ctx, our) })
	wg.Go(func() { y, theirErr = b.overlap(ctx, their) })
	wg.Wait()
	return figure{quantity{x, "s"}, quantity{y, "s"}, []float64{x}}, errors.Join(ourErr, theirErr)
}

// overlap does that with the lockings that open gives.
func (b *bench) overlap(ctx context.Context, open func(b *bench) (locking, error)) (float64, error) {
	var far, near bench
	far.Options, near.Options = b.Options, b.Options
	defer near.close()
	hole, err := newBlackHole(b.url)
	if err != nil {
		return 0, err
	}
	defer far.close()
	defer hole.close() // the first: with it far's calls fail at once
	far.url, near.url = hole.url, b.url
	lockFar, err := open(&far)
	if err != nil {
		return 0, err
	}
	lockNear, err := open(&near)
	if err != nil {
		return 0, err
	}

	held, unlockFar, err := lockFar(ctx)
	if err != nil {
		return 0, err
	}
	hole.open.Store(true)
	ended := make(chan time.Time, 1)
	context.AfterFunc(held, func() { ended <- time.Now() })
	_, unlockNear, err := lockNear(ctx)
	granted := time.Now()
	if err != nil {
		return 0, err
	}
	seconds := max(0, (<-ended).Sub(granted).Seconds())
	hole.close()
	_ = unlockFar() // which it cannot any more
	return seconds, unlockNear()
}
