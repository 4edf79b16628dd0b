package benchmarks

import (
	"context"
	"errors"
	"time"

	"github.com/redisallocator/redisallocator/pool"
)

// handoff compares the time from a release to the return of the Acquire that waited for it, in another backend, with
// a round trip.
func handoff(ctx context.Context, b *bench) (figure, error) {
	giver, err := b.pool(ctx, 1, nil)
	if err != nil {
		return figure{}, err
	}
	be, err := b.backend(ctx)
	if err != nil {
		return figure{}, err
	}
	taker, err := b.open(be, pool.Config[*resource]{Namespace: giver.Namespace()})
	if err != nil {
		return figure{}, err
	}
	c, err := b.client()
	if err != nil {
		return figure{}, err
	}
	nothing := giver.Namespace().Lock("nothing")
	roundTrip := func() (time.Duration, error) {
		start := time.Now()
		err := doNothing(ctx, c, nothing)
		return time.Since(start), err
	}
	d, err := interleave(b.Rounds,
		b.typical(func() (time.Duration, error) { return handOver(ctx, giver, taker) }),
		b.typical(roundTrip),
	)
	return d.ratio("µs"), err
}

// handOver passes the only member of a pool on to somebody who waits, and tells how long that took.
func handOver(ctx context.Context, giver, taker *allocator) (time.Duration, error) {
	held, err := giver.Malloc(ctx, new(resource))
	if err != nil {
		return 0, err
	}
	type outcome struct {
		lease *pool.Lease[*resource]
		at    time.Time
		err   error
	}
	done := make(chan outcome, 1)
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		l, err := taker.Acquire(waiting, new(resource))
		done <- outcome{l, time.Now(), err}
	}()
	for n := 0; n == 0 && err == nil; {
		n, err = giver.Waiting(ctx)
	}
	start := time.Now()
	if releaseErr := held.Release(ctx); err == nil {
		err = releaseErr
	}
	if err != nil {
		cancel()
	}
	o := <-done
	if err != nil || o.err != nil {
		return 0, errors.Join(err, o.err)
	}
	return o.at.Sub(start), o.lease.Release(ctx)
}

// typical is a side that does f for as long as a round lasts and gives the median, in microseconds.
func (b *bench) typical(f func() (time.Duration, error)) side {
	return func() (float64, error) {
		var took []float64
		for start := time.Now(); len(took) == 0 || time.Since(start) < b.Duration; {
			d, err := f()
			if err != nil {
				return 0, err
			}
			took = append(took, 1000*milliseconds(d))
		}
		return median(took), nil
	}
}
