package task_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// heldFetches has each Fetch that asks for tasks wait for an answer: nil lets it happen.
func heldFetches(r *rig) (asked chan backend.FetchRequest, answer chan error) {
	asked, answer = make(chan backend.FetchRequest, 1), make(chan error)
	r.on(func(_ context.Context, req any) error {
		if fetch, ok := req.(backend.FetchRequest); ok && fetch.Max > 0 {
			asked <- fetch
			return <-answer
		}
		return nil
	})
	return asked, answer
}

// The places that a Fetch under way may fill are not given to those that were parked: no more handlers run than may. They
// have them as soon as the Fetch has failed.
func TestPlacesArePromisedToAFetch(t *testing.T) {
	for name, c := range map[string]struct {
		server, queue int  // how many may run
		end           bool // those of another queue, one of which runs, meanwhile
	}{
		"of the server": {server: 2, queue: 2},
		"of a queue":    {server: 2, queue: 1, end: true},
	} {
		for _, fails := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				onMemory(t, func(r *rig) {
					q, other := queueOf[int, int](r, "q"), queueOf[int, int](r, "other")
					of := things(1)
					held := (<-of).use(r.Context())
					g, others := newGate(), newGate()
					needs := needing[int](of)(pass[int](g))
					s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: c.server})
					require.NoError(r, task.Serve(s, q, func(ctx context.Context, t *task.Task[int]) (int, error) {
						if t.Params() == 1 {
							return needs(ctx, t)
						}
						return pass[int](g)(ctx, t)
					}, task.ServeConfig{Concurrency: c.queue, MaxParked: 2}))
					require.NoError(r, task.Serve(s, other, pass[int](others), task.ServeConfig{}))
					end := r.run(s.Run)
					submit(r, other, 1)
					submit(r, q, 1)
					synctest.Wait()
					require.Equal(r, 1, s.Stats().Parked)

					asked, answer := heldFetches(r)
					submit(r, q, 2)
					<-asked
					if c.end {
						others.through <- struct{}{}
						synctest.Wait()
					}
					require.NoError(r, held.Release(r.Context()))
					assert.Zero(r, g.running(), "the place is promised")
					assert.Equal(r, 1, s.Stats().Parked)
					if fails {
						answer <- backend.ErrUnavailable
						assert.Equal(r, []string{"1"}, g.begun(), "nothing comes")
					} else {
						r.on(nil)
						answer <- nil
						assert.Equal(r, []string{"2"}, g.begun(), "it comes")
					}
					r.on(nil)
					close(g.through)
					close(others.through)
					synctest.Wait()
					<-time.After(time.Minute)
					synctest.Wait()
					assert.LessOrEqual(r, g.most, c.queue)
					assert.Len(r, g.begun(), 2)
					end()
				})
			})
		}
	}
}

// A Fetch that failed may still arrive: what it asked for is not changed any more, and what it got is not taken for
// what the next one got.
func TestAFetchThatFailedIsNotUsedAgain(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.Concurrency = 2
		q := queueOf[int, int](r, "q")
		asked, answer := heldFetches(r)
		g := newGate()
		end := listen(r, q, pass[int](g))
		lost := <-asked
		was, lanes := slices.Clone(lost.Queues), slices.Clone(lost.Lanes)
		require.Equal(r, 2, lost.Max)
		answer <- backend.ErrUnavailable
		next := <-asked
		assert.NotEqual(r, lost.Token, next.Token)
		submit(r, q, 1)
		r.on(nil)
		answer <- nil
		assert.Equal(r, 1, g.running())
		submit(r, q, 2)
		assert.Equal(r, 2, g.running())
		assert.Equal(r, was, lost.Queues)
		assert.Equal(r, lanes, lost.Lanes)
		close(g.through)
		end()
	})
}

// After a call that went well the first failure is followed by a short pause again.
func TestFailuresAreForgotten(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		asked, answer := heldFetches(r)
		end := listen(r, q, echo)
		for range 10 {
			<-asked
			answer <- backend.ErrUnavailable
		}
		<-asked
		submit(r, q, 1)
		answer <- nil
		<-asked
		begin := time.Now()
		answer <- backend.ErrUnavailable
		<-asked
		assert.LessOrEqual(r, time.Since(begin), 10*time.Millisecond)
		r.on(nil)
		answer <- nil
		end()
	})
}

// As many as there are places may be telling how they ended, while others run; then no more are begun.
func TestReportsThatTakeLongHoldUpNewTasks(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.Concurrency = 1
		q := queueOf[int, int](r, "q")
		answer := make(chan struct{})
		r.on(func(_ context.Context, req any) error {
			if _, report := req.(backend.ReportRequest); report {
				<-answer
			}
			return nil
		})
		g := newGate()
		close(g.through)
		for i := range 5 {
			submit(r, q, i)
		}
		end := listen(r, q, pass[int](g))
		assert.Len(r, g.begun(), 2)
		answer <- struct{}{}
		assert.Len(r, g.begun(), 3)
		close(answer)
		assert.Len(r, g.begun(), 5)
		end()
	})
}

// No more wait for a resource than may, also of those that were begun together; the others keep their places.
func TestNoMoreAreParkedThanMay(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		for i := range 3 {
			submit(r, q, i)
		}
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 3})
		of := things(1)
		held := (<-of).use(r.Context())
		require.NoError(r, task.Serve(s, q, needing[int](of)(echo[int]), task.ServeConfig{MaxParked: 1}))
		end := r.run(s.Run)
		assert.Equal(r, task.ServerStats{Running: 3, Parked: 1}, s.Stats())
		require.NoError(r, held.Release(r.Context()))
		synctest.Wait()
		assert.Zero(r, s.Stats())
		end()
	})
}
