// Package memory is a [backend.Backend] in one process: no server, no files.
//
// It is real, not a stub. TTLs, fencing numbers, deadlines, collection and lines mean what they mean on Redis, so
// that a program may be tested on it, and it is a good in-process pool by itself.
//
// It reads time through package time alone. In a bubble of testing/synctest an hour of leases passes in
// milliseconds, and everything happens at its exact moment; create the Backend inside the bubble that uses it.
//
// What runs out is noticed when somebody looks. There is no goroutine, and no timer unless a request waits in line or a
// task is watched; [Backend.Close] ends it. The timer of a watch that has ended may still fire, once, and finds nothing to
// do.
package memory

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Backend keeps everything in this process. Use [New]; all methods may be called concurrently.
type Backend struct {
	clock clock

	last   atomic.Pointer[space] // the space that was looked up last: mostly it is wanted again
	mu     sync.RWMutex
	spaces map[backend.Namespace]*space
	closed bool

	closing sync.Once
	timers  sync.WaitGroup // armed timers and their running functions
}

var _ backend.Backend = (*Backend)(nil)

// New gives an empty backend.
func New() *Backend {
	return &Backend{clock: newClock(), spaces: make(map[backend.Namespace]*space)}
}

// Close ends all waits with [backend.ErrClosed] and lets no further call through. Closing again does nothing.
func (b *Backend) Close() error {
	b.closing.Do(func() {
		b.mu.Lock()
		b.closed = true
		spaces := b.spaces
		b.spaces = nil
		b.mu.Unlock()

		for _, s := range spaces {
			s.close()
		}
		b.timers.Wait()
	})
	return nil
}

// open begins a step: it gives the locked space of a namespace and the time of the step. The caller unlocks.
// invalid is what Validate said about the request.
func (b *Backend) open(ctx context.Context, ns backend.Namespace, invalid error) (*space, instant, error) {
	if invalid != nil {
		return nil, 0, invalid
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s := b.last.Load()
	if s == nil || s.ns != ns {
		if s = b.space(ns); s == nil {
			return nil, 0, backend.ErrClosed
		}
	}
	now := b.clock.now() // before the lock: to look at the clock takes as long as the rest of many a step
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, 0, backend.ErrClosed
	}
	return s, now, nil
}

// openPool is open for what works on the pool of a namespace, which on Redis is the same key as its set.
func (b *Backend) openPool(ctx context.Context, ns backend.Namespace, invalid error) (*space, instant, error) {
	s, now, err := b.open(ctx, ns, invalid)
	if err == nil && len(s.set) > 0 {
		s.mu.Unlock()
		err = backend.ErrWrongType
	}
	return s, now, err
}

// space finds or makes the space of a namespace; nil after Close.
func (b *Backend) space(ns backend.Namespace) *space {
	b.mu.RLock()
	s := b.spaces[ns]
	b.mu.RUnlock()
	if s == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed {
			return nil
		}
		if s = b.spaces[ns]; s == nil {
			s = newSpace(b, ns)
			b.spaces[ns] = s
		}
	}
	b.last.Store(s)
	return s
}

// fail says what was attempted, and where.
func fail(op string, ns backend.Namespace, err error) error {
	return fmt.Errorf("%s %.100s: %w", op, ns.Base(), err)
}

// instant is a moment, in nanoseconds since the backend was made. It follows the monotonic clock.
type instant int64

// never is the end of what has no end.
const never instant = 1<<63 - 1

// clock turns instants into what the contract speaks of.
type clock struct {
	start     time.Time
	startUnix int64 // nanoseconds
}

func newClock() clock {
	now := time.Now()
	return clock{start: now, startUnix: now.UnixNano()}
}

func (c *clock) now() instant { return instant(time.Since(c.start)) }

func (c *clock) time(at instant) time.Time { return c.start.Add(time.Duration(at)) }

func (c *clock) unix(at instant) int64 { return (c.startUnix + int64(at)) / int64(time.Second) }

func (c *clock) micros(at instant) int64 { return (c.startUnix + int64(at)) / int64(time.Microsecond) }

// after gives the end of a TTL that starts now; TTLs are counted in whole milliseconds.
func (now instant) after(ttl time.Duration) instant {
	if ttl == backend.NoExpiry {
		return never
	}
	if rest := ttl % time.Millisecond; rest != 0 {
		ttl += time.Millisecond - rest
	}
	end := now + instant(ttl)
	if end < now {
		return never
	}
	return end
}

// left is the opposite of after: what is left now until an end.
func (now instant) left(end instant) time.Duration {
	if end == never {
		return backend.NoExpiry
	}
	return time.Duration(end - now)
}
