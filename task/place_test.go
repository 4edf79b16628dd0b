package task_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/task"
)

// thing is a lease on one of some things.
type thing struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	of     chan *thing
	fails  error
}

func (l *thing) Context() context.Context { return l.ctx }

func (l *thing) Release(ctx context.Context) error {
	l.cancel(errReleased)
	fails := l.fails // from here on it may be somebody else's
	if ctx.Err() == nil {
		l.of <- l
	}
	return fails
}

var (
	errReleased = fmt.Errorf("released")
	errGone     = fmt.Errorf("thing is gone")
)

// things are so many of them. Who takes one from the channel has to call use.
func things(n int) chan *thing {
	of := make(chan *thing, n)
	for range n {
		of <- &thing{of: of}
	}
	return of
}

func (l *thing) use(ctx context.Context) *thing {
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	return l
}

// take waits for one.
func take[P any](of chan *thing) func(ctx context.Context, t *task.Task[P]) (*thing, error) {
	return func(ctx context.Context, _ *task.Task[P]) (*thing, error) {
		select {
		case l := <-of:
			return l.use(ctx), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func needing[P any](of chan *thing) task.Middleware[P, P] {
	return task.WithLease[P, P](take[P](of))
}

// Who waits for a thing does not keep a worker from others.
func TestTasksThatWaitAreParked(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[int, int](r, "a"), queueOf[int, int](r, "b")
		of := things(1)
		ga, gb := newGate(), newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 2})
		require.NoError(r, task.Serve(s, a, needing[int](of)(pass[int](ga)), task.ServeConfig{MaxParked: 3}))
		require.NoError(r, task.Serve(s, b, pass[int](gb), task.ServeConfig{}))
		end := r.run(s.Run)
		var all []*task.Handle[int]
		for i := range 6 {
			all = append(all, submit(r, a, i))
			synctest.Wait()
		}
		assert.Equal(r, 1, ga.running())
		assert.Equal(r, task.ServerStats{Running: 4, Parked: 3}, s.Stats())
		assert.Equal(r, task.Waiting, stateOf(r, all[4]).State, "no more are parked")
		submit(r, b, 1)
		submit(r, b, 2)
		assert.Equal(r, 1, gb.running())

		close(ga.through)
		close(gb.through)
		assert.ElementsMatch(r, []string{"0", "1", "2", "3", "4", "5"}, ga.begun())
		assert.Zero(r, s.Stats())
		assert.Equal(r, 1, ga.most)
		end()
	})
}

// The one that has its thing waits for a place like everybody.
func TestParkedTasksWaitForAPlace(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[int, int](r, "a"), queueOf[int, int](r, "b")
		of := things(1)
		held := (<-of).use(r.Context())
		ga, gb := newGate(), newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		require.NoError(r, task.Serve(s, a, needing[int](of)(pass[int](ga)), task.ServeConfig{}))
		require.NoError(r, task.Serve(s, b, pass[int](gb), task.ServeConfig{}))
		r.run(s.Run)
		first := submit(r, a, 1)
		synctest.Wait()
		submit(r, b, 1)
		submit(r, b, 2)
		assert.Equal(r, 1, gb.running())
		require.NoError(r, held.Release(r.Context()))
		assert.Zero(r, ga.running())
		assert.Equal(r, task.ServerStats{Running: 2, Parked: 1}, s.Stats())
		gb.through <- struct{}{}
		assert.Equal(r, 1, ga.running(), "it comes before the next of b")
		assert.Zero(r, gb.running())
		ga.through <- struct{}{}
		_, err := first.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 1, gb.running())
		close(gb.through)
		synctest.Wait()
	})
}

// A task that comes when the last place has just gone to one that was parked is somebody else's.
func TestTheStoreKnowsWhenPlacesAreTaken(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[int, int](r, "a"), queueOf[int, int](r, "b")
		of := things(1)
		held := (<-of).use(r.Context())
		ga, gb := newGate(), newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		require.NoError(r, task.Serve(s, a, needing[int](of)(pass[int](ga)), task.ServeConfig{}))
		require.NoError(r, task.Serve(s, b, pass[int](gb), task.ServeConfig{}))
		r.run(s.Run)
		submit(r, a, 1)
		synctest.Wait()
		listen(r, b, pass[int](gb))
		require.NoError(r, held.Release(r.Context()))
		assert.Equal(r, 1, ga.running())
		begin := time.Now()
		submit(r, b, 1)
		assert.Equal(r, 1, gb.running())
		assert.Zero(r, time.Since(begin))
		close(ga.through)
		close(gb.through)
		synctest.Wait()
	})
}

func TestParkedTasksEnd(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		of := things(0)
		require.NoError(r, task.Serve(s, q, needing[int](of)(echo[int]), task.ServeConfig{MaxParked: 9}))
		end := r.run(s.Run)
		cancelled := submit(r, q, 1)
		timeout := submit(r, q, 2, task.AttemptTimeout(time.Second))
		drained := submit(r, q, 3)
		synctest.Wait()
		assert.Equal(r, task.ServerStats{Running: 3, Parked: 3}, s.Stats())
		require.NoError(r, cancelled.Cancel(r.Context()))
		_, err := timeout.Wait(r.Context())
		require.ErrorIs(r, err, &task.Error{Code: task.CodeTimeout})
		synctest.Wait()
		assert.Equal(r, task.ServerStats{Running: 1, Parked: 1}, s.Stats())
		assert.Zero(r, <-ending(end), "what is parked goes back at once")
		assert.Zero(r, s.Stats())
		st := stateOf(r, drained)
		assert.Equal(r, task.Waiting, st.State)
		assert.Zero(r, st.Attempts)
	})
}

// One that has its thing, but no place, goes back, too, and one that wants to be parked when it is too late.
func TestWaitingTasksEnd(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[int, int](r, "a"), queueOf[int, int](r, "b")
		of := things(1)
		held := (<-of).use(r.Context())
		slow := func(h task.Handler[int, int]) task.Handler[int, int] {
			return func(ctx context.Context, t *task.Task[int]) (int, error) {
				<-time.After(time.Second)
				return h(ctx, t)
			}
		}
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		require.NoError(r, task.Serve(s, a, needing[int](of)(echo[int]), task.ServeConfig{}))
		require.NoError(r, task.Serve(s, b, slow(needing[int](of)(echo[int])), task.ServeConfig{}))
		end := r.run(s.Run)
		waiting := submit(r, a, 1)
		synctest.Wait()
		late := submit(r, b, 1)
		synctest.Wait()
		require.NoError(r, held.Release(r.Context()))
		synctest.Wait()
		assert.Equal(r, task.ServerStats{Running: 2, Parked: 1}, s.Stats())
		assert.Empty(r, of)
		assert.Equal(r, time.Second, <-ending(end))
		assert.Equal(r, task.Waiting, stateOf(r, waiting).State)
		if s := stateOf(r, late); s.State != task.Done { // there was a thing for it at once
			assert.Equal(r, task.Waiting, s.State)
		}
		assert.Len(r, of, 1)
		assert.Zero(r, s.Stats())
	})
}

func TestAcquireThatFails(t *testing.T) {
	for name, acquire := range map[string]func() (*thing, error){
		"an error":    func() (*thing, error) { return nil, errOops },
		"a panic":     func() (*thing, error) { panic(errOops) },
		"the end":     func() (*thing, error) { runtime.Goexit(); return nil, nil },
		"recovered":   func() (*thing, error) { panic("recovered") },
		"not trusted": func() (*thing, error) { return &thing{}, errOops },
	} {
		t.Run(name, func(t *testing.T) {
			onMemory(t, func(r *rig) {
				q := queueOf[int, int](r, "q")
				s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
				h := task.WithLease[int, int](func(context.Context, *task.Task[int]) (*thing, error) { return acquire() })(echo[int])
				require.NoError(r, task.Serve(s, q, task.Chain(h, task.Recover[int, int]()), task.ServeConfig{}))
				r.run(s.Run)
				_, err := q.Query(r.Context(), 1)
				var e *task.Error
				require.ErrorAs(r, err, &e)
				assert.Equal(r, name == "an error" || name == "not trusted", e.Message == errOops.Error(), e.Message)
				synctest.Wait()
				assert.Zero(r, s.Stats())
			})
		})
	}
}

// Who could not have his thing and goes on all the same has his place.
func TestWhoGoesOnWithoutHasAPlace(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		h := task.WithLease[int, int](func(context.Context, *task.Task[int]) (*thing, error) { return nil, errOops })(echo[int])
		require.NoError(r, task.Serve(s, q, func(ctx context.Context, t *task.Task[int]) (int, error) {
			_, err := h(ctx, t)
			assert.ErrorIs(r, err, errOops)
			assert.Equal(r, task.ServerStats{Running: 1}, s.Stats())
			return 1, nil
		}, task.ServeConfig{}))
		r.run(s.Run)
		_, err := q.Query(r.Context(), 1)
		require.NoError(r, err)
	})
}

// Who wants to be parked while the server drains goes back at once, too.
func TestNobodyIsParkedWhileTheServerDrains(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h := needing[int](things(0))(echo[int])
		end := listen(r, q, func(ctx context.Context, t *task.Task[int]) (int, error) {
			<-time.After(time.Second)
			return h(ctx, t)
		})
		waits := submit(r, q, 1)
		synctest.Wait()
		assert.Equal(r, time.Second, <-ending(end))
		assert.Equal(r, task.Waiting, stateOf(r, waits).State)
	})
}

func TestTheLeaseOfATask(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[string, string](r, "q")
		of := things(1)
		listen(r, q, needing[string](of)(func(ctx context.Context, t *task.Task[string]) (string, error) {
			l, ok := task.LeaseOf[*thing](ctx)
			assert.True(r, ok)
			_, ok = task.LeaseOf[task.Lease](ctx)
			assert.False(r, ok)
			switch t.Params() {
			case "lost":
				l.cancel(errGone)
				<-ctx.Done()
				return "", context.Cause(ctx)
			case "panic":
				panic("ouch")
			case "not given back":
				l.fails = errGone
			case "cancelled":
				<-ctx.Done()
			}
			return t.Params(), nil
		}))
		_, ok := task.LeaseOf[*thing](r.Context())
		assert.False(r, ok)
		_, err := q.Query(r.Context(), "lost")
		require.ErrorContains(r, err, errGone.Error())
		_, err = q.Query(r.Context(), "panic")
		require.ErrorIs(r, err, &task.Error{Code: task.CodePanic})
		cancelled := submit(r, q, "cancelled")
		synctest.Wait()
		require.NoError(r, cancelled.Cancel(r.Context()))
		synctest.Wait()
		assert.NotContains(r, r.logged(), "not given back")
		got, err := q.Query(r.Context(), "not given back")
		require.NoError(r, err)
		assert.Equal(r, "not given back", got)
		assert.Contains(r, r.logged(), "lease of a task not given back")
		assert.Len(r, of, 1, "all others were")
	})
}

func TestALockAsALease(t *testing.T) {
	onMemory(t, func(r *rig) {
		_, err := task.Locked[*lock.Held](nil, errOops)
		require.ErrorIs(r, err, errOops)
		q := queueOf[int, int64](r, "q").WithLocal(nil)
		m := lock.NewMutex(r.Backend, backend.Namespace{Prefix: "test", Suffix: "locks"}, "m", lock.Config{})
		h := task.WithLease[int, int64](func(ctx context.Context, _ *task.Task[int]) (task.LockLease[*lock.Held], error) {
			return task.Locked(m.Lock(ctx))
		})(func(ctx context.Context, _ *task.Task[int]) (int64, error) {
			l, ok := task.LeaseOf[task.LockLease[*lock.Held]](ctx)
			assert.True(r, ok)
			assert.True(r, l.Held.Valid())
			return l.Held.Fence(), nil
		})
		end := listen(r, q, h)
		fence, err := q.Query(r.Context(), 1)
		require.NoError(r, err)
		assert.Positive(r, fence)
		local, err := q.WithLocal(h).Query(r.Context(), 1, task.Local)
		require.NoError(r, err)
		assert.Greater(r, local, fence, "without a server, too")
		locked, err := m.Locked(r.Context())
		require.NoError(r, err)
		assert.False(r, locked)
		end()
	})
}
