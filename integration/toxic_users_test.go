package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

const (
	toxicFar  = 6 // users behind the front
	toxicNear = 2 // users beside it
)

// A toxicCrowd uses one part of the library on a stage, most of it behind the front.
type toxicCrowd struct {
	s       *toxicStage
	end     context.CancelFunc
	running sync.WaitGroup

	mu                  sync.Mutex
	operations, refused int
	problems            []string
	since               time.Time
	waiting             map[int]bool // who was not served since
	took                []time.Duration
}

// A toxicUse is one use, with what is wrong with it.
type toxicUse func(s *toxicStage, be *rueidis.Backend, r *rand.Rand) (problem string, err error)

// crowd begins.
func (s *toxicStage) crowd(part string, r *rand.Rand) *toxicCrowd {
	s.t.Helper()
	use := map[string]toxicUse{"pool": usePool, "lock": useLock, "task": useTask}[part]
	if part == "task" { // besides the one behind the front
		listenUntil(s.t, s.jobs(s.near), s.finish)
	}
	ctx, end := context.WithCancel(context.Background())
	s.t.Cleanup(end)
	c := &toxicCrowd{s: s, end: end}
	for i := range toxicFar + toxicNear {
		be, r := s.far, rand.New(rand.NewPCG(r.Uint64(), 0)) //nolint:gosec // to be repeated
		if i >= toxicFar {
			be = s.near
		}
		c.running.Go(func() {
			for ctx.Err() == nil {
				problem, err := use(s, be, r)
				c.used(i, problem, err)
				pause(ctx, time.Duration(2+r.IntN(4))*time.Millisecond)
			}
		})
	}
	return c
}

// used notes what has become of one use.
func (c *toxicCrowd) used(user int, problem string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.operations++
	if problem != "" {
		c.problems = append(c.problems, problem)
	}
	if errors.Is(err, backend.ErrUnavailable) {
		c.refused++
	}
	if err == nil && c.waiting[user] {
		delete(c.waiting, user)
		if user < toxicFar {
			c.took = append(c.took, time.Since(c.since))
		}
	}
}

// served waits until everybody has got something and given it back, and tells how long that took each of those behind the
// front.
func (c *toxicCrowd) served(when string) []time.Duration {
	c.s.t.Helper()
	c.mu.Lock()
	c.since, c.waiting, c.took = time.Now(), make(map[int]bool), nil
	for i := range toxicFar + toxicNear {
		c.waiting[i] = true
	}
	c.mu.Unlock()
	eventually(c.s.t, patience, "everybody is served "+when, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.waiting) == 0
	})
	return c.took // nobody waits any more
}

// stop has everybody stop, also those who wait and have no end: they get what they wait for.
func (c *toxicCrowd) stop() {
	c.s.t.Helper()
	c.end()
	finished := begin(func() (struct{}, error) { c.running.Wait(); return struct{}{}, nil })
	await(c.s.t, finished)
}

// toxicPatience gives the context of a use, which ends soon, or never.
func toxicPatience(r *rand.Rand) (context.Context, context.CancelFunc) {
	if r.IntN(2) == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(r.IntN(50))*time.Millisecond)
}

// usePool takes members and gives them back.
func usePool(s *toxicStage, be *rueidis.Backend, r *rand.Rand) (problem string, err error) {
	ctx, cancel := toxicPatience(r)
	defer cancel()
	keys := s.others
	if be == s.far {
		keys = s.keys
	}
	way := allocations[r.IntN(len(allocations))]
	leases, err := way.do(ctx, keys, pool.Priority(r.IntN(2)))
	if err != nil {
		return undocumented(ctx, way.name, err, pool.ErrExhausted), err
	}
	pause(ctx, time.Millisecond)
	for _, l := range leases {
		if r.IntN(3) == 0 {
			err = l.Update(ctx, toxicTTL)
			problem += undocumented(ctx, "Update", err)
		}
		if failed := l.Release(ctx); failed != nil {
			err = failed
			problem += undocumented(context.Background(), "Release", failed)
		}
	}
	return problem, err
}

// useLock locks something and unlocks it.
func useLock(s *toxicStage, be *rueidis.Backend, r *rand.Rand) (problem string, err error) {
	ctx, cancel := toxicPatience(r)
	defer cancel()
	cfg := toxicLockConfig("")
	cfg.Priority = r.IntN(2)
	rw := lock.NewRWMutex(be, s.ns, "m", cfg)
	ways := []locking{
		{"TryLock", func(ctx context.Context) (*lock.Held, error) { return lock.NewMutex(be, s.ns, "m", cfg).TryLock(ctx) }},
		{"Lock", func(ctx context.Context) (*lock.Held, error) { return rw.Lock(ctx) }},
		{"RLock", func(ctx context.Context) (*lock.Held, error) { return rw.RLock(ctx) }},
		{"Multi", func(ctx context.Context) (*lock.Held, error) {
			return lock.NewMulti(be, s.ns, []string{"o", "m"}, cfg).Lock(ctx)
		}},
		{"Acquire", func(ctx context.Context) (*lock.Held, error) {
			return lock.NewSemaphore(be, s.ns, "s", 3, cfg).Acquire(ctx, 2)
		}},
	}
	way := ways[r.IntN(len(ways))]
	held, err := way.do(ctx)
	if err != nil {
		return undocumented(ctx, way.name, err, lock.ErrLocked), err
	}
	pause(ctx, time.Millisecond)
	if r.IntN(3) == 0 {
		err = held.Reacquire(ctx)
		problem = undocumented(ctx, "Reacquire", err)
	}
	if failed := held.Unlock(ctx); failed != nil {
		err = failed
		problem += undocumented(context.Background(), "Unlock", failed)
	}
	return problem, err
}

// useTask has a job done, or cancelled.
func useTask(s *toxicStage, be *rueidis.Backend, r *rand.Rand) (problem string, err error) {
	ctx, cancel := toxicPatience(r)
	defer cancel()
	q, j := s.jobs(be), job{N: r.Int()}
	right := func(what string, got product, err error, documented ...error) (string, error) {
		if err == nil && got.N != j.N {
			return fmt.Sprintf("%s: another's result: %+v", what, got), nil
		}
		return undocumented(ctx, what, err, documented...), err
	}
	way := r.IntN(3)
	if way == 0 {
		got, err := q.Query(ctx, j)
		if _, ends := ctx.Deadline(); ends { // the task has no more time than the context
			return right("Query", got, err, task.ErrExpired)
		}
		return right("Query", got, err)
	}
	h, err := q.Submit(ctx, j)
	if err != nil {
		return undocumented(ctx, "Submit", err), err
	}
	if way == 1 {
		got, err := h.Wait(ctx)
		return right("Wait", got, err)
	}
	if err = h.Cancel(ctx); err != nil {
		problem = undocumented(ctx, "Cancel", err, task.ErrEnded)
	}
	got, err := h.Wait(ctx)
	wrong, err := right("Wait", got, err, task.ErrCancelled)
	if errors.Is(err, task.ErrCancelled) {
		err = nil
	}
	return problem + wrong, err
}
