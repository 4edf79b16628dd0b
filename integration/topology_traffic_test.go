package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

const (
	trafficMembers = 3
	trafficWorkers = 6 // of each kind: most of them wait in line

	// trafficTTL is longer than it takes to move a slot; what a failover leaves of the dead runs out before patience does.
	trafficTTL = 20 * time.Second
)

// traffic is work of all kinds that goes on in one namespace while something happens to its servers. Two backends take
// part, as two processes would.
type traffic struct {
	tb    testing.TB
	ns    backend.Namespace
	keys  []*Keys
	locks []*lock.Mutex
	jobs  []*jobs

	ctx    context.Context //nolint:containedctx // it ends all workers
	cancel context.CancelFunc
	work   sync.WaitGroup
	quit   func() // of those who listen

	rough                          atomic.Bool // errors and losses are to be expected
	leases, held, tasks            atomic.Int64
	unavailable, overlaps, refused atomic.Int64

	mu       sync.Mutex
	newest   map[string]int64 // what a store has seen last of each name
	holders  map[string]holder
	problems []string
}

func startTraffic(tb testing.TB, ns backend.Namespace, first, second backend.Backend) *traffic {
	tb.Helper()
	tr := &traffic{tb: tb, ns: ns, newest: make(map[string]int64), holders: make(map[string]holder)}
	tr.ctx, tr.cancel = context.WithCancel(context.Background())
	var stops []func()
	for _, be := range []backend.Backend{first, second} {
		tr.keys = append(tr.keys, newPool(tb, be, pool.Config[pool.None]{Namespace: ns, TTL: trafficTTL}))
		tr.locks = append(tr.locks, lock.NewMutex(be, ns, "name", lock.Config{TTL: trafficTTL}))
		q := newJobs(be, ns, task.ServerConfig{Concurrency: trafficWorkers, LeaseTTL: trafficTTL})
		stops = append(stops, listenUntil(tb, q, (&hand{tell: func(any) {}}).do))
		tr.jobs = append(tr.jobs, q)
	}
	tr.quit = func() {
		for _, stop := range stops {
			stop()
		}
	}
	require.NoError(tb, tr.keys[0].Extend(tr.ctx, members(trafficMembers)))
	for i := range trafficWorkers {
		tr.work.Go(func() { tr.repeat(func() { tr.lease(tr.keys[i%2]) }) })
		tr.work.Go(func() { tr.repeat(func() { tr.lock(tr.locks[i%2]) }) })
		n := 0
		tr.work.Go(func() { tr.repeat(func() { n++; tr.task(tr.jobs[i%2], fmt.Sprintf("%d-%d", i, n), n) }) })
	}
	tb.Cleanup(func() { tr.cancel(); tr.work.Wait() })
	return tr
}

func (tr *traffic) repeat(do func()) {
	for tr.ctx.Err() == nil {
		do()
		pause(tr.ctx, time.Millisecond)
	}
}

// lease takes a member, waiting its turn, uses it and gives it back.
func (tr *traffic) lease(keys *Keys) {
	before, rough := tr.before(), tr.rough.Load()
	l, err := keys.AcquireKey(tr.ctx)
	if err != nil {
		tr.failed("acquire", err, rough)
		return
	}
	tr.use(l.Key(), l, before, rough)
	if err := l.Release(tr.ctx); err != nil {
		tr.failed("release", err, rough)
	}
	tr.leases.Add(1)
}

func (tr *traffic) lock(m *lock.Mutex) {
	before, rough := tr.before(), tr.rough.Load()
	h, err := m.Lock(tr.ctx)
	if err != nil {
		tr.failed("lock", err, rough)
		return
	}
	tr.use("lock", h, before, rough)
	if err := h.Unlock(tr.ctx); err != nil {
		tr.failed("unlock", err, rough)
	}
	tr.held.Add(1)
}

func (tr *traffic) task(q *jobs, id string, n int) {
	rough := tr.rough.Load()
	got, err := q.Query(tr.ctx, job{N: n, Takes: time.Millisecond}, task.ID(id))
	for again := 0; errors.Is(err, backend.ErrUnavailable) && tr.ctx.Err() == nil && again < 1000; again++ {
		tr.failed("query", err, rough)
		pause(tr.ctx, 10*time.Millisecond)
		got, err = q.Query(tr.ctx, job{N: n, Takes: time.Millisecond}, task.ID(id)) // joins it, or finds its end
	}
	if err != nil {
		tr.failed("query", err, rough)
		return
	}
	if got.N != n {
		tr.problem("task %s gave %d, not %d", id, got.N, n)
	}
	tr.tasks.Add(1)
}

// before is the largest fence of all that were granted until now.
func (tr *traffic) before() (newest int64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, fence := range tr.newest {
		newest = max(newest, fence)
	}
	return newest
}

// use holds something for a moment, and writes to a store that refuses whoever comes later than a newer holder.
func (tr *traffic) use(name string, h holder, before int64, rough bool) {
	fence := h.Fence()
	tr.mu.Lock()
	if fence <= before {
		tr.problems = append(tr.problems, fmt.Sprintf("%s: fence %d after %d", name, fence, before))
	}
	if other := tr.holders[name]; other != nil && other.Valid() && h.Valid() {
		if tr.overlaps.Add(1); !rough && !tr.rough.Load() {
			tr.problems = append(tr.problems, name+" is held twice")
		}
	}
	tr.holders[name] = h
	if fence < tr.newest[name] {
		tr.refused.Add(1)
	} else {
		tr.newest[name] = fence
	}
	tr.mu.Unlock()
	pause(h.Context(), time.Millisecond)
	tr.mu.Lock()
	if tr.holders[name] == h {
		delete(tr.holders, name)
	}
	tr.mu.Unlock()
}

// failed notes an error that was not to be expected.
func (tr *traffic) failed(what string, err error, rough bool) {
	switch {
	case tr.ctx.Err() != nil:
	case errors.Is(err, backend.ErrUnavailable), errors.Is(err, pool.ErrNotHeld), errors.Is(err, lock.ErrNotHeld),
		errors.Is(err, task.ErrLost): // the server lost it
		if tr.unavailable.Add(1); !rough && !tr.rough.Load() {
			tr.problem("%s: %v", what, err)
		} else {
			pause(tr.ctx, 10*time.Millisecond)
		}
	default:
		tr.problem("%s: %v", what, err)
	}
}

func (tr *traffic) problem(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.problems) < 20 {
		tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
	}
}

// goesOn waits until all kinds of work have got somewhere, both of those that wait in turn several times around, and tells
// how long that took.
func (tr *traffic) goesOn(what string) time.Duration {
	tr.tb.Helper()
	const some = 5 * trafficWorkers
	leases, held, tasks := tr.leases.Load()+some, tr.held.Load()+some, tr.tasks.Load()+some
	return eventually(tr.tb, patience, what+": leases, locks and tasks go on", func() bool {
		return tr.leases.Load() >= leases && tr.held.Load() >= held && tr.tasks.Load() >= tasks
	})
}

// roughly has errors expected while something happens, and until all goes on.
func (tr *traffic) roughly(what string, happens func()) {
	tr.tb.Helper()
	tr.rough.Store(true)
	happens()
	happened := time.Now()
	tr.goesOn(what)
	tr.tb.Logf("%s: all goes on %v after it has happened; %d errors, %d held twice, of which the store refused %d", what,
		time.Since(happened).Round(time.Millisecond), tr.unavailable.Swap(0), tr.overlaps.Swap(0), tr.refused.Swap(0))
	tr.settle()
	tr.rough.Store(false)
}

// settle waits until whatever began before now has ended.
func (tr *traffic) settle() {
	tr.tb.Helper()
	for range 2 {
		tr.goesOn("after that")
	}
}

// end has all workers finish, and expects that they leave nothing behind.
func (tr *traffic) end(be backend.Backend) {
	tr.tb.Helper()
	tr.cancel()
	tr.work.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	assert.Empty(tr.tb, strings.Join(tr.problems, "\n"))
	ctx := context.Background()
	eventually(tr.tb, patience, "all members can be had", func() bool { // also those whose leases have to run out
		leases, err := tr.keys[0].MallocN(ctx, trafficMembers)
		for _, l := range leases {
			_ = l.Release(ctx) // or it is done in the background
		}
		return err == nil
	})
	expectIdle(tr.tb, be, tr.ns, patience)
	eventually(tr.tb, patience, "the lock is free", func() bool {
		locked, err := tr.locks[0].Locked(ctx)
		return err == nil && !locked
	})
	eventually(tr.tb, patience, "no task is left", func() bool {
		stats, err := be.Stats(ctx, backend.StatsRequest{Namespace: tr.ns, Queue: "jobs"})
		return err == nil && stats.Scheduled+stats.Waiting+stats.Running+stats.Dead == 0
	})
	tr.quit()
	tr.tb.Logf("%d leases, %d locks, %d tasks", tr.leases.Load(), tr.held.Load(), tr.tasks.Load())
}
