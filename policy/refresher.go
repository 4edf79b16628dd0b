package policy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// refresher is the part that Refresh makes.
type refresher[T any] struct {
	next    Policy[T]
	updater *Updater
	cfg     RefreshConfig
	start   time.Time // all times below count from here, on the monotonic clock

	checkAt atomic.Int64 // when to look again; the only thing that an allocation looks at
	filled  atomic.Bool  // the first refresh of this process is over
	waiting atomic.Int64 // requests that wait in line
	armed   atomic.Bool  // the timer will fire

	mu      sync.Mutex
	pool    Pool[T]         // that of Initialize, which outlives every request; nil if nobody called that
	life    context.Context // ends with Finalize
	end     context.CancelFunc
	run     *refreshRun   // the one that is on its way
	timer   *time.Timer   // looks on behalf of those who wait
	mine    time.Duration // until then the interval is this process's own
	retryAt time.Duration // when to try again in it; 0: not
}

// refreshRun is one look whether a refresh is due, with the refresh if it is.
type refreshRun struct {
	started time.Time
	done    chan struct{}
}

func newRefresher[T any](next Policy[T], u *Updater, cfg RefreshConfig) *refresher[T] {
	r := &refresher[T]{next: next, updater: u, cfg: cfg, start: time.Now()}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

func (r *refresher[T]) Unwrap() Policy[T] { return r.next }

func (r *refresher[T]) Allocate(ctx context.Context, p Pool[T], req Request[T]) ([]Lease[T], error) {
	if time.Since(r.start) >= time.Duration(r.checkAt.Load()) {
		if run := r.look(ctx, p); run != nil {
			run.wait(ctx, r.cfg.Grace)
		}
	}
	if req.Wait {
		r.waiting.Add(1)
		defer r.waiting.Add(-1)
		r.arm(p)
	}
	filled := r.filled.Load()
	leases, err := r.next.Allocate(ctx, p, req)
	if filled || req.Wait || !errors.Is(err, ErrExhausted) {
		return leases, err
	}
	// When this request began, nothing had come from the source yet. It is being asked just now, or was meanwhile.
	r.mu.Lock()
	run := r.run
	r.mu.Unlock()
	if run != nil && !run.wait(ctx, r.cfg.FetchTimeout) {
		return leases, err
	}
	return r.next.Allocate(ctx, p, req)
}

// look starts a run, unless there is one or it is too early. The run does not end with ctx: its lock is taken for the
// whole interval, whoever began it.
func (r *refresher[T]) look(ctx context.Context, p Pool[T]) *refreshRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.start)
	if r.run != nil || r.life.Err() != nil || now < time.Duration(r.checkAt.Load()) {
		return nil
	}
	r.checkAt.Store(int64(now + stretch(r.cfg.CheckEvery, 0.2)))
	r.run = &refreshRun{started: time.Now(), done: make(chan struct{})}
	if r.pool != nil {
		p = r.pool
	}
	go r.refresh(context.WithoutCancel(ctx), r.life, p, r.run)
	return r.run
}

func (r *refresher[T]) refresh(ctx, life context.Context, p Pool[T], run *refreshRun) {
	defer func() {
		r.mu.Lock()
		r.run = nil
		r.mu.Unlock()
		close(run.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.FetchTimeout)
	defer cancel()
	defer context.AfterFunc(life, cancel)()

	mine := false
	members := 0
	err := guard(func() (err error) {
		if mine, err = r.claim(ctx, p); err == nil && mine {
			members, err = fill(ctx, p, r.updater, r.cfg.MemberTTL)
		}
		return err
	})
	switch {
	case life.Err() != nil, errors.Is(err, backend.ErrClosed): // nobody needs it any more
	case err != nil:
		report(ctx, p, 0, err)
		r.failed(mine)
	case mine:
		report(ctx, p, members, nil)
	}
	r.filled.Store(true)
}

// claim tells whether this process is to refresh now: it got the interval, or has it and failed.
func (r *refresher[T]) claim(ctx context.Context, p Pool[T]) (bool, error) {
	r.mu.Lock()
	now := time.Since(r.start)
	again := r.retryAt > 0 && now >= r.retryAt && now < r.mine
	if again {
		r.retryAt = 0
	}
	r.mu.Unlock()
	if again {
		return true, nil
	}
	interval := stretch(r.cfg.Interval, r.cfg.Jitter)
	got, err := p.TryLock(ctx, p.Namespace().RefreshLock(), interval)
	if err != nil || !got {
		return false, err
	}
	r.mu.Lock()
	r.mine, r.retryAt = now+interval, 0
	r.mu.Unlock()
	return true, nil
}

func (r *refresher[T]) failed(mine bool) {
	if mine && r.cfg.Retry > 0 {
		r.mu.Lock()
		r.retryAt = time.Since(r.start) + r.cfg.Retry
		r.mu.Unlock()
	}
}

// wait tells whether the run has ended, at most atMost after it began.
func (run *refreshRun) wait(ctx context.Context, atMost time.Duration) bool {
	left := atMost - time.Since(run.started)
	if left > 0 {
		t := time.NewTimer(left)
		defer t.Stop()
		select {
		case <-run.done:
			return true
		case <-ctx.Done():
		case <-t.C:
		}
	}
	select {
	case <-run.done:
		return true
	default:
		return false
	}
}

// arm sees to it that refreshes go on while requests wait in line: they could be all that this process does, and what
// they wait for may have to come from the source. One timer serves all of them.
func (r *refresher[T]) arm(p Pool[T]) {
	if r.armed.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pool != nil {
		p = r.pool
	}
	if r.life.Err() == nil && r.armed.CompareAndSwap(false, true) {
		r.timer = time.AfterFunc(r.untilCheck(), func() { r.tick(p) })
	}
}

func (r *refresher[T]) tick(p Pool[T]) {
	r.look(context.Background(), p)
	r.mu.Lock()
	defer r.mu.Unlock()
	// Look at waiting after armed is down: who comes in between either sees that, or is seen here.
	r.armed.Store(false)
	if r.waiting.Load() > 0 && r.life.Err() == nil && r.armed.CompareAndSwap(false, true) {
		r.timer.Reset(r.untilCheck())
	}
}

func (r *refresher[T]) untilCheck() time.Duration {
	if left := time.Duration(r.checkAt.Load()) - time.Since(r.start); left > 0 {
		return left
	}
	return r.cfg.CheckEvery
}

// Initialize refuses a second pool: the interval and its state belong to one.
func (r *refresher[T]) Initialize(_ context.Context, p Pool[T]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pool != nil {
		return ErrInUse
	}
	r.pool = p
	if r.life.Err() != nil {
		r.life, r.end = context.WithCancel(context.Background())
	}
	r.filled.Store(false)
	r.checkAt.Store(0)
	r.mine, r.retryAt = 0, 0
	return nil
}

// Finalize cancels a refresh that is on its way and waits for it, until ctx ends.
func (r *refresher[T]) Finalize(ctx context.Context) error {
	r.mu.Lock()
	r.pool = nil
	r.end()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.armed.Store(false)
	run := r.run
	r.mu.Unlock()
	if run == nil {
		return nil
	}
	select {
	case <-run.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
