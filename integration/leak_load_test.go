package integration

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/binding"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// A load does, on many goroutines, all that can be done with pools, locks, bindings and tasks. Each operation has names
// that nobody has used before, where a user could have such: what is kept for a name, anywhere, is seen to grow.
type load struct {
	ns       backend.Namespace
	be       backend.Backend
	keys     *Keys
	bindings *binding.Bindings
	jobs     *task.Queue[int, int]
	done     atomic.Int64 // operations
	planted  func(n int64) error
}

const (
	loadWorkers  = 16
	loadMembers  = 4 // fewer than workers, so that some wait
	loadHandlers = 4 // of tasks
	soon         = 50 * time.Millisecond
)

// slowly has nobody lose what he holds on a machine that is slow.
var slowly = lock.Config{TTL: patience, ClaimTTL: patience}

// newLoad opens all of it, the tasks' workers on a backend of their own. What it gives has to be called at the end.
func newLoad(ns backend.Namespace, be, workers backend.Backend) (*load, func() error, error) {
	l := &load{ns: ns, be: be}
	var err error
	if l.bindings, err = binding.New(be, ns); err != nil {
		return nil, nil, err
	}
	if l.keys, err = pool.New(be, pool.Config[pool.None]{Namespace: ns, ClaimTTL: patience}); err != nil {
		return nil, nil, err
	}
	if err := l.keys.Extend(context.Background(), members(loadMembers)); err != nil {
		return nil, nil, err
	}
	cfg := task.Config{
		Server: task.ServerConfig{Concurrency: loadHandlers}, Retries: 1, MaxDeaths: backend.MaxDeaths, // a busy machine may renew too late
		Backoff: func(int, error) time.Duration { return time.Millisecond },
	}
	l.jobs = task.NewQueue[int, int](be, ns, "jobs", cfg)
	ctx, cancel := context.WithCancel(context.Background())
	served := begin(func() (struct{}, error) {
		return struct{}{}, task.NewQueue[int, int](workers, ns, "jobs", cfg).Listen(ctx, halfway)
	})
	return l, func() error {
		cancel()
		return errors.Join((<-served).err, l.keys.Close())
	}, nil
}

// halfway fails its first attempt now and then.
func halfway(_ context.Context, t *task.Task[int]) (int, error) {
	if err := t.Progress(1, 2, "half"); err != nil {
		return 0, err
	}
	if t.Params()%8 == 0 && t.Attempt() == 1 {
		return 0, errBroken
	}
	return t.Params(), nil
}

// run works for a while, however slow the machine is, and returns when nobody is at work any more.
func (l *load) run(d time.Duration) error {
	end := time.Now().Add(d)
	errs := make([]error, loadWorkers)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for first := true; errs[w] == nil && (first || time.Now().Before(end)); first = false {
				errs[w] = l.step(l.done.Add(1))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// forget has the results of all queries forgotten but one: those that were read go with the next that is asked for.
func (l *load) forget() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return answered(1)(l.jobs.Query(ctx, 1))
}

// step is the nth operation.
func (l *load) step(n int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if l.planted != nil {
		if err := l.planted(n); err != nil {
			return err
		}
	}
	steps := l.steps()
	s := steps[n%int64(len(steps))]
	if err := s.do(ctx, fmt.Sprintf("leak-%d", n), n); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

type loadStep struct {
	name string
	do   func(ctx context.Context, name string, n int64) error
}

func (l *load) steps() []loadStep {
	release := func(lease *Lease, err error) error {
		if err != nil {
			return err
		}
		return lease.Release(context.Background())
	}
	unlock := func(held *lock.Held, err error) error {
		if err != nil {
			return err
		}
		return held.Unlock(context.Background())
	}
	return []loadStep{
		{"acquire", func(ctx context.Context, _ string, _ int64) error { return release(l.keys.AcquireKey(ctx)) }},
		{"bound", func(ctx context.Context, name string, _ int64) error {
			return release(l.keys.AcquireKey(ctx, pool.Name(name), pool.BindingTTL(soon)))
		}},
		{"give up", l.giveUp},
		{"bind", func(ctx context.Context, name string, _ int64) error {
			if err := l.bindings.Bind(ctx, name, members(1)[0], time.Minute); err != nil {
				return err
			}
			_, _, lookupErr := l.bindings.Lookup(ctx, name)
			_, err := l.bindings.Unbind(ctx, name)
			return errors.Join(lookupErr, err)
		}},
		{"own lock", func(ctx context.Context, name string, _ int64) error {
			return unlock(lock.NewMutex(l.be, l.ns, name, slowly).TryLock(ctx))
		}},
		{"one lock", func(ctx context.Context, _ string, _ int64) error {
			return unlock(lock.NewMutex(l.be, l.ns, "one", slowly).Lock(ctx))
		}},
		{"several", func(ctx context.Context, name string, _ int64) error {
			return unlock(lock.NewMulti(l.be, l.ns, []string{name, "one", name + "-too"}, slowly).Lock(ctx))
		}},
		{"readers", func(ctx context.Context, _ string, n int64) error {
			m := lock.NewRWMutex(l.be, l.ns, "read", slowly)
			if n%3 == 0 {
				return unlock(m.Lock(ctx))
			}
			return unlock(m.RLock(ctx))
		}},
		{"reader", func(ctx context.Context, name string, _ int64) error {
			return unlock(lock.NewRWMutex(l.be, l.ns, name, slowly).RLock(ctx))
		}},
		{"units", func(ctx context.Context, _ string, n int64) error {
			return unlock(lock.NewSemaphore(l.be, l.ns, "seats", 4, slowly).Acquire(ctx, 1+int(n%2)))
		}},
		{"query", func(ctx context.Context, _ string, n int64) error { return answered(n)(l.jobs.Query(ctx, int(n))) }},
		{"submit", func(ctx context.Context, name string, n int64) error {
			h, err := l.jobs.Submit(ctx, int(n), task.ID(name), task.Once())
			if err != nil {
				return err
			}
			return answered(n)(h.Wait(ctx))
		}},
		{"cancel", func(ctx context.Context, name string, n int64) error {
			h, err := l.jobs.Submit(ctx, int(n), task.ID(name), task.Delay(time.Hour), task.Timeout(2*time.Hour),
				task.Retention(soon))
			if err != nil {
				return err
			}
			return h.Cancel(ctx)
		}},
	}
}

// giveUp waits in line for a name that is held, and goes.
func (l *load) giveUp(ctx context.Context, name string, _ int64) error {
	m := lock.NewMutex(l.be, l.ns, name, slowly)
	held, err := m.TryLock(ctx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	second, err := m.Lock(waiting)
	if err == nil {
		return fmt.Errorf("%s was locked twice: %w", name, second.Unlock(ctx))
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return held.Unlock(ctx)
}

func answered(n int64) func(got int, err error) error {
	return func(got int, err error) error {
		if err == nil && got != int(n) {
			err = errors.New("the answer of task " + strconv.FormatInt(n, 10) + " is another's")
		}
		return err
	}
}
