package rueidis

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives pauses between attempts: longer ones from time to time, each a little different.
type backoff struct{ first, most, last time.Duration }

func newBackoff(first, most time.Duration) *backoff { return &backoff{first: first, most: most} }

func (p *backoff) reset() { p.last = 0 }

func (p *backoff) next() time.Duration {
	p.last = min(max(2*p.last, p.first), p.most)
	return jitter(p.last)
}

// jitter gives d, or up to a quarter less.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// pauseFor waits unless ctx ends before.
func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
