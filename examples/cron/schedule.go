package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// skew is by how much the clocks of the processes may differ.
const skew = time.Minute

// schedule runs a job at each tick of a clock, in one of the processes that have a schedule of that name.
//
// At a tick all of them lock. Who comes first looks at the mark, which says what the last tick was that the job has
// been done for, runs the job, and sets the mark. The others wait meanwhile: each of them finds the mark, and has
// nothing to do; or, if the one who ran the job has died, gets the lock when its TTL is over, finds no mark, and runs
// the job.
//
// So the job is run once for each tick, and again if its process ended before it had set the mark. A job that must
// rather not be run than be run twice sets the mark first. (For that a lock for each tick would do, with its time for
// a name and without renewal, which nobody unlocks: but whoever dies takes his tick along.)
//
// Ticks are multiples of the interval, and counted by the clock of each process. That clocks differ does no harm: the
// one that is fastest tells the tick, and the others find the mark. Ticks that go by while the job runs are made up
// for by one run.
type schedule struct {
	name  string
	every time.Duration
	job   func(ctx context.Context, tick time.Time, fence int64) error
	say   func(format string, args ...any)
	now   func() time.Time

	lock  *lock.Mutex
	marks *lock.Keys
}

func newSchedule(be backend.Backend, ns backend.Namespace, name string, every, ttl time.Duration) *schedule {
	marks := ns
	marks.Suffix += "-marks"
	return &schedule{
		name:  name,
		every: every,
		now:   time.Now,
		lock:  lock.NewMutex(be, ns, name, lock.Config{TTL: ttl}),
		marks: lock.NewKeys(be, marks),
	}
}

// run goes on until ctx ends.
func (s *schedule) run(ctx context.Context) {
	for {
		now := s.now()
		t := time.NewTimer(now.Truncate(s.every).Add(s.every).Sub(now))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		if err := s.turn(ctx); err != nil && ctx.Err() == nil {
			s.say("%s: %v", s.name, err)
		}
	}
}

// turn sees to it that the job is done for the last tick.
func (s *schedule) turn(ctx context.Context) error {
	held, err := s.lock.Lock(ctx)
	if err != nil {
		return err
	}
	defer held.Unlock(ctx)

	tick := s.now().Truncate(s.every) // not of the time before the wait
	last, err := s.last(ctx)
	if err != nil || !tick.After(last) {
		return err
	}
	failed := s.job(held.Context(), tick, held.Fence())
	if !held.Valid() { // then it is for somebody else to do, or being done
		return errors.Join(failed, held.Err())
	}
	return errors.Join(failed, s.mark(ctx, tick)) // as in cron, a job that failed had its turn
}

// last gives the tick that the job has been done for.
func (s *schedule) last(ctx context.Context) (time.Time, error) {
	text, ok, err := s.marks.Value(ctx, s.name)
	if err != nil || !ok {
		return time.Time{}, err
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("mark: %w", err)
	}
	return time.UnixMilli(ms), nil
}

// mark says that the job has been done. The mark only grows, and stays until the slowest clock has come to the tick;
// but not much longer, so that a clock that was set to next year by mistake does not keep the job from being done
// until then.
func (s *schedule) mark(ctx context.Context, tick time.Time) error {
	_, err := s.marks.SetIf(ctx, s.name, lock.GT, float64(tick.UnixMilli()), "", s.every+skew)
	return err
}
