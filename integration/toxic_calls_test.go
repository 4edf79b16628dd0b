package integration

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// mayFail checks the error of a call that was cut: none, or that the store was not to be reached.
func (s *toxicStage) mayFail(what string, err error) error {
	s.t.Helper()
	require.Empty(s.t, undocumented(context.Background(), what, err))
	return err
}

// again does something until the store answers: what was cut before may be noticed only now.
func again[T any](s *toxicStage, do func(n int) (T, error)) T {
	s.t.Helper()
	n := 0
	got, err := insist(s.t.Context(), func() (T, error) { n++; return do(n) })
	require.NoError(s.t, err)
	return got
}

// waitsFor begins to wait and returns when that is known at both ends, or has failed.
func waitsFor[T any](s *toxicStage, get func(context.Context) (T, error), length func() int) (done <-chan outcome[T], waits bool) {
	s.t.Helper()
	var joined atomic.Bool
	ctx := context.WithValue(context.Background(), joinedKey{}, &joined)
	done = begin(func() (T, error) { return get(ctx) })
	eventually(s.t, patience, "it waits, or has failed", func() bool {
		waits = joined.Load() && length() > 0
		return waits || len(done) > 0
	})
	return done, waits
}

// mustWait has somebody wait, as often as it takes.
func mustWait[T any](s *toxicStage, get func(context.Context, int) (T, error), length func() int) <-chan outcome[T] {
	s.t.Helper()
	for n := 0; ; n++ {
		done, waits := waitsFor(s, func(ctx context.Context) (T, error) { return get(ctx, n) }, length)
		if waits {
			return done
		}
		require.ErrorIs(s.t, (<-done).err, backend.ErrUnavailable)
		pause(s.t.Context(), 5*time.Millisecond)
	}
}

var toxicPoolCalls = []toxicCall{
	{name: "take", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		arm()
		l, err := s.keys.MallocKey(context.Background(), pool.Token(mark))
		if err == nil {
			_ = s.mayFail("release", l.Release(context.Background()))
		}
		return s.mayFail("take", err)
	}},
	{name: "take several", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		ctx, cancel := context.WithCancel(context.Background()) // a call that can be cancelled goes another way
		defer cancel()
		arm()
		leases, err := s.keys.MallocN(ctx, toxicMembers-1, pool.Token(mark))
		for _, l := range leases {
			_ = s.mayFail("release", l.Release(ctx))
		}
		return s.mayFail("take several", err)
	}},
	{name: "enter line", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		held := s.takeAll()
		arm()
		done, _ := waitsFor(s, func(ctx context.Context) (*Lease, error) { return s.keys.AcquireKey(ctx, pool.Token(mark)) }, s.waiting)
		s.giveBack(held)
		o := await(s.t, done)
		if o.err == nil {
			_ = s.mayFail("release", o.got.Release(context.Background()))
		}
		return s.mayFail("enter line", o.err)
	}},
	{name: "hand-over", whats: []toxicWhat{toxicMessage}, do: func(s *toxicStage, mark string, arm func()) error {
		held := s.takeAll()
		done := mustWait(s, func(ctx context.Context, n int) (*Lease, error) {
			return s.keys.AcquireKey(ctx, pool.Token(fmt.Sprint(mark, n)))
		}, s.waiting)
		arm()
		s.giveBack(held)
		o := await(s.t, done)
		require.NoError(s.t, o.err, "who waits gets it all the same")
		return s.mayFail("release", o.got.Release(context.Background()))
	}},
	{name: "return", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		l := s.take(mark)
		arm()
		return s.mayFail("return", l.Release(context.Background()))
	}},
	{name: "renew", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		l := s.take(mark)
		arm()
		err := s.mayFail("renew", l.Update(context.Background(), toxicTTL))
		require.True(s.t, l.Valid(), "the lease goes on")
		_ = s.mayFail("release", l.Release(context.Background()))
		return err
	}},
}

// take takes a member for what is to be done with it.
func (s *toxicStage) take(mark string) *Lease {
	s.t.Helper()
	return again(s, func(n int) (*Lease, error) { return s.keys.MallocKey(s.t.Context(), pool.Token(fmt.Sprint(mark, n))) })
}

// takeAll takes all members, beside the front.
func (s *toxicStage) takeAll() []*Lease {
	s.t.Helper()
	leases, err := s.others.MallocN(context.Background(), toxicMembers)
	require.NoError(s.t, err)
	return leases
}

func (s *toxicStage) giveBack(leases []*Lease) {
	s.t.Helper()
	for _, l := range leases {
		require.NoError(s.t, l.Release(context.Background()))
	}
}

// waiting is how many wait for a member.
func (s *toxicStage) waiting() int {
	s.t.Helper()
	n, err := s.others.Waiting(context.Background())
	require.NoError(s.t, err)
	return n
}

var toxicLockCalls = []toxicCall{
	toxicLocking("lock", func(ctx context.Context, s *toxicStage, mark string) (*lock.Held, error) {
		return s.mutex(mark).TryLock(ctx)
	}),
	toxicLocking("lock with a token", func(ctx context.Context, s *toxicStage, mark string) (*lock.Held, error) {
		return s.mutex("").TryLock(ctx, lock.Token(mark))
	}),
	toxicLocking("lock for reading", func(ctx context.Context, s *toxicStage, mark string) (*lock.Held, error) {
		return lock.NewRWMutex(joining{s.far}, s.ns, "m", toxicLockConfig(mark)).RLock(ctx)
	}),
	toxicLocking("lock two", func(ctx context.Context, s *toxicStage, mark string) (*lock.Held, error) {
		return lock.NewMulti(joining{s.far}, s.ns, []string{"m", "o"}, toxicLockConfig(mark)).Lock(ctx)
	}),
	toxicLocking("acquire units", func(ctx context.Context, s *toxicStage, mark string) (*lock.Held, error) {
		return lock.NewSemaphore(joining{s.far}, s.ns, "s", 3, toxicLockConfig(mark)).Acquire(ctx, 2)
	}),
	{name: "enter line", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		other := s.holding()
		arm()
		done, _ := waitsFor(s, func(ctx context.Context) (*lock.Held, error) { return s.mutex(mark).Lock(ctx) }, s.inLine)
		require.NoError(s.t, other.Unlock(context.Background()))
		o := await(s.t, done)
		if o.err == nil {
			_ = s.mayFail("unlock", o.got.Unlock(context.Background()))
		}
		return s.mayFail("enter line", o.err)
	}},
	{name: "hand-over", whats: []toxicWhat{toxicMessage}, do: func(s *toxicStage, mark string, arm func()) error {
		other := s.holding()
		done := mustWait(s, func(ctx context.Context, _ int) (*lock.Held, error) { return s.mutex(mark).Lock(ctx) }, s.inLine)
		arm()
		require.NoError(s.t, other.Unlock(context.Background()))
		o := await(s.t, done)
		require.NoError(s.t, o.err, "who waits gets it all the same")
		return s.mayFail("unlock", o.got.Unlock(context.Background()))
	}},
	{name: "renew", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		held := again(s, func(int) (*lock.Held, error) { return s.mutex(mark).Lock(context.Background()) })
		arm()
		err := s.mayFail("renew", held.Reacquire(context.Background()))
		require.True(s.t, held.Valid(), "the lock goes on")
		_ = s.mayFail("unlock", held.Unlock(context.Background()))
		return err
	}},
	{name: "unlock", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		held := again(s, func(int) (*lock.Held, error) { return s.mutex(mark).Lock(context.Background()) })
		arm()
		return s.mayFail("unlock", held.Unlock(context.Background()))
	}},
}

// toxicLocking is a call that locks.
func toxicLocking(name string, get func(context.Context, *toxicStage, string) (*lock.Held, error)) toxicCall {
	return toxicCall{name: name, whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		arm()
		held, err := get(context.Background(), s, mark)
		if errors.Is(err, lock.ErrLocked) { // an earlier request, read late: what it got is given back when that is asked for once more
			s.toxicIdle(time.Now(), s.leftovers)
			held, err = get(context.Background(), s, mark)
		}
		if err == nil {
			_ = s.mayFail("unlock", held.Unlock(context.Background()))
		}
		return s.mayFail(name, err)
	}}
}

func toxicLockConfig(mark string) lock.Config {
	return lock.Config{TTL: toxicTTL, ClaimTTL: toxicTTL, Info: mark}
}

// mutex is the one behind the front, with the mark in its token.
func (s *toxicStage) mutex(mark string) *lock.Mutex {
	return lock.NewMutex(joining{s.far}, s.ns, "m", toxicLockConfig(mark))
}

// holding holds the lock, beside the front.
func (s *toxicStage) holding() *lock.Held {
	s.t.Helper()
	return holding(s.t, lock.NewMutex(s.near, s.ns, "m", toxicLockConfig("")))
}

// inLine is how many wait for the lock.
func (s *toxicStage) inLine() int {
	s.t.Helper()
	seen, err := s.near.Queue(context.Background(), backend.QueueRequest{Namespace: s.ns, Name: "m"})
	require.NoError(s.t, err)
	return seen.Length
}

var toxicTaskCalls = []toxicCall{
	{name: "submit", whats: both, do: func(s *toxicStage, mark string, arm func()) error {
		j := job{N: len(mark)}
		arm()
		_, err := s.jobs(s.far).Submit(context.Background(), j, task.ID(mark))
		again(s, func(int) (*task.Handle[product], error) { // joins it, or it is not there
			return s.jobs(s.far).Submit(context.Background(), j, task.ID(mark))
		})
		s.expectProduct(s.jobs(s.near).Wait(context.Background(), mark))
		return s.mayFail("submit", err)
	}},
	{name: "query's answer", whats: []toxicWhat{toxicMessage}, do: func(s *toxicStage, mark string, arm func()) error {
		again(s, func(int) (task.Stats, error) { return s.jobs(s.far).Stats(context.Background()) })
		arm()
		got, err := s.jobs(s.far).Query(context.Background(), job{N: len(mark)}, task.ID(mark))
		s.expectProduct(got, err)
		return err
	}},
	{name: "fetch", whats: []toxicWhat{toxicRequest}, text: "jobs", listens: true, do: toxicQuery},
	{name: "fetched", whats: []toxicWhat{toxicMessage}, listens: true, do: toxicQuery},
	{name: "wake", whats: []toxicWhat{toxicMessage}, text: "1:T1:w", listens: true, do: toxicQuery},
	{name: "report", whats: both, listens: true, do: func(s *toxicStage, mark string, arm func()) error {
		s.finishing.Store(&arm)
		return toxicQuery(s, mark, func() {})
	}},
}

// toxicQuery has a task done by who listens behind the front. Whoever asks learns nothing of what is cut.
func toxicQuery(s *toxicStage, mark string, arm func()) error {
	arm()
	s.expectProduct(s.jobs(s.near).Query(context.Background(), job{N: len(mark)}, task.ID(mark)))
	return nil
}

func (s *toxicStage) expectProduct(got product, err error) {
	s.t.Helper()
	require.NoError(s.t, err)
	require.Equal(s.t, 1, got.Attempt, "a lost fetch is no attempt")
}
