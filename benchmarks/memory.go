package benchmarks

import (
	"context"
	"testing"

	"github.com/jackc/puddle/v2"

	"github.com/redisallocator/redisallocator/backend/memory"
)

// memoryPool gives a pool of n members in this process.
func (b *bench) memoryPool(ctx context.Context, n int) (*allocator, error) {
	be := memory.New()
	b.closers = append(b.closers, func() { _ = be.Close() })
	return b.poolOn(ctx, be, n, nil)
}

// puddlePool gives a pool of n resources of another library, all of them made.
func (b *bench) puddlePool(ctx context.Context, n int) (*puddle.Pool[*resource], error) {
	p, err := puddle.NewPool(&puddle.Config[*resource]{
		Constructor: func(context.Context) (*resource, error) { return new(resource), nil },
		Destructor:  func(*resource) {},
		MaxSize:     int32(n),
	})
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, p.Close)
	for range n {
		if err := p.CreateResource(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// puddlePair is pair on puddle.
func puddlePair(p *puddle.Pool[*resource]) op {
	return func(ctx context.Context, _ int) error {
		r, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		r.Release()
		return nil
	}
}

// inProcess compares the time of a pair on the memory backend with one of puddle, which knows no leases.
func inProcess(workers int) func(ctx context.Context, b *bench) (figure, error) {
	return func(ctx context.Context, b *bench) (figure, error) {
		a, err := b.memoryPool(ctx, b.Sizes.Memory)
		if err != nil {
			return figure{}, err
		}
		p, err := b.puddlePool(ctx, b.Sizes.Memory)
		if err != nil {
			return figure{}, err
		}
		return b.compareTimes(ctx, workers, pair(a, workers), puddlePair(p))
	}
}

// allocs counts the allocations on the heap in a pair on the memory backend, without the caller's own object.
func allocs(ctx context.Context, b *bench) (figure, error) {
	a, err := b.memoryPool(ctx, b.Sizes.Memory)
	if err != nil {
		return figure{}, err
	}
	object := new(resource)
	n := testing.AllocsPerRun(1000, func() {
		if l, mallocErr := a.Malloc(ctx, object); mallocErr != nil {
			err = mallocErr
		} else if releaseErr := l.Release(ctx); releaseErr != nil {
			err = releaseErr
		}
	})
	return once(n, "allocs"), err
}
