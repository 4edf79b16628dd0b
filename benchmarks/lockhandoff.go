package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	ours "github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
)

const lockClients = 16 // of one lock

// A waiter takes a lock when its turn has come.
type waiter func(ctx context.Context) (unlock func() error, err error)

// lockHandoff compares what it takes for a lock to get from one client to the next when all of them always want it. The
// figures are the median and the 99th percentile of the time from the call that unlocks to the return of the call that
// has locked, how often we have asked the server for each acquisition, and the smallest share of the acquisitions over
// the largest.
func lockHandoff(ctx context.Context, b *bench) ([]figure, error) {
	const name = "handoff"
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	var tries atomic.Int64
	our, their := make([]waiter, lockClients), make([]waiter, lockClients)
	for i := range lockClients {
		be, err := b.backend(ctx)
		if err != nil {
			return nil, err
		}
		count := &tryCounter{Backend: be}
		our[i] = count.only(&tries, ourWaiter(lock.NewMutex(count, ns, name, lock.Config{TTL: lockTTL})))
		l, err := b.locker(ns.Base()+"-other", lockTTL)
		if err != nil {
			return nil, err
		}
		their[i] = theirWaiter(l, name)
	}
	c, err := b.client()
	if err != nil {
		return nil, err
	}
	var p50, p99, perGrant, share duel
	for round := range b.Rounds + 1 {
		n := b.Sizes.Handoffs
		if round == 0 {
			n = 2 * lockClients
		}
		tries.Store(0)
		x, err := passOn(ctx, our, n, b.Sizes.Hold)
		if err != nil {
			return nil, err
		}
		ourTries := float64(tries.Load())
		sets, err := setCalls(ctx, c)
		if err != nil {
			return nil, err
		}
		y, err := passOn(ctx, their, n, b.Sizes.Hold)
		if err != nil {
			return nil, fmt.Errorf("rueidislock: %w", err)
		}
		theirTries, err := setCalls(ctx, c)
		if err != nil {
			return nil, err
		}
		if round == 0 {
			continue
		}
		p50.add(quantile(x.gaps, 0.5), quantile(y.gaps, 0.5))
		p99.add(quantile(x.gaps, 0.99), quantile(y.gaps, 0.99))
		perGrant.add(ourTries/x.grants(), (theirTries-sets)/y.grants())
		share.add(x.share(), y.share())
	}
	tried, shared := perGrant.ratio(""), share.ratio("")
	tried.rounds, shared.rounds = perGrant.ours, share.ours
	return []figure{p50.ratio("ms"), p99.ratio("ms"), tried, shared}, nil
}

func ourWaiter(m *lock.Mutex) waiter {
	return func(ctx context.Context) (func() error, error) {
		held, err := m.Lock(ctx)
		if err != nil {
			return nil, err
		}
		return func() error { return held.Unlock(ctx) }, nil
	}
}

// passing is what came of clients that pass a lock on.
type passing struct {
	gaps   []float64 // in milliseconds
	counts []float64 // acquisitions of each client
}

// passOn has all clients take and hold the lock again and again, until that was done n times.
func passOn(ctx context.Context, clients []waiter, n int, hold time.Duration) (passing, error) {
	p := passing{counts: make([]float64, len(clients))}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the waits of those who come too late
	errs := make([]error, len(clients))
	var mu sync.Mutex // the lock itself would do, if all of them were correct
	var unlocked time.Time
	total := 0
	note := func(client int) (more bool) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		if total == n {
			return false
		}
		if !unlocked.IsZero() {
			p.gaps = append(p.gaps, milliseconds(now.Sub(unlocked)))
		}
		p.counts[client]++
		total++
		return total < n
	}
	leave := func() {
		mu.Lock()
		defer mu.Unlock()
		unlocked = time.Now()
	}
	var wg sync.WaitGroup
	for i, lock := range clients {
		wg.Go(func() {
			for more := true; more && errs[i] == nil; {
				unlock, err := lock(ctx)
				if ctx.Err() != nil && err != nil {
					return
				}
				if err != nil {
					errs[i] = err
					break
				}
				if more = note(i); more {
					until(time.Now().Add(hold))
				}
				leave()
				errs[i] = unlock()
			}
			cancel()
		})
	}
	wg.Wait()
	return p, cmp.Or(errs...)
}

func (p *passing) grants() float64 {
	n := 0.0
	for _, c := range p.counts {
		n += c
	}
	return n
}

// share is the smallest number of acquisitions over the largest.
func (p *passing) share() float64 { return slices.Min(p.counts) / slices.Max(p.counts) }

// A tryCounter is a backend that counts how often somebody asks for locks.
type tryCounter struct {
	*ours.Backend
	n atomic.Int64
}

// only adds to sum what w needs to get a lock, and not what it needs not to.
func (t *tryCounter) only(sum *atomic.Int64, w waiter) waiter {
	return func(ctx context.Context) (func() error, error) {
		before := t.n.Load()
		unlock, err := w(ctx)
		if err == nil {
			sum.Add(t.n.Load() - before)
		}
		return unlock, err
	}
}

// Lock counts and passes on.
func (t *tryCounter) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	t.n.Add(1)
	return t.Backend.Lock(ctx, req)
}

// Enter counts and passes on.
func (t *tryCounter) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	t.n.Add(1)
	return t.Backend.Enter(ctx, req)
}

// setCalls gives how often the server has carried out SET, which is how rueidislock tries.
func setCalls(ctx context.Context, c rueidis.Client) (float64, error) {
	info, err := c.Do(ctx, c.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		var n float64
		if got, _ := fmt.Sscanf(line, "cmdstat_set:calls=%g,", &n); got == 1 {
			return n, nil
		}
	}
	return 0, nil
}
