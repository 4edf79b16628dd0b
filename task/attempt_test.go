package task_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// untilItEnds waits for the end of its context.
func untilItEnds(ctx context.Context, _ *task.Task[int]) (int, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// causes are those of the contexts of handlers that wait for them to end.
func causes(r *rig, q *task.Queue[int, int]) (task.Handler[int, int], chan error) {
	all := make(chan error, 10)
	return func(ctx context.Context, t *task.Task[int]) (int, error) {
		n, err := untilItEnds(ctx, t)
		want := context.Canceled
		if errIs(err, task.ErrTimeout) || errIs(err, task.ErrExpired) {
			want = context.DeadlineExceeded
		}
		assert.Equal(r, want, ctx.Err())
		all <- err
		return n, err
	}, all
}

func TestAttemptsHaveALimit(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		listen(r, q, h)
		begin := time.Now()
		handle := submit(r, q, 1, task.AttemptTimeout(3*time.Second), task.Retries(1))
		_, err := handle.Wait(r.Context())
		require.ErrorIs(r, err, task.ErrDead)
		require.ErrorIs(r, err, &task.Error{Code: task.CodeTimeout})
		assert.ErrorContains(r, err, "3s")
		assert.Equal(r, 6*time.Second, time.Since(begin))
		require.ErrorIs(r, <-ended, task.ErrTimeout)
		require.ErrorIs(r, <-ended, task.ErrTimeout)
		assert.Equal(r, 2, stateOf(r, handle).Attempts)
	})
}

func TestTheEndOfTheTasksTimeEndsTheHandler(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		listen(r, q, h)
		begin := time.Now()
		_, err := q.Query(r.Context(), 1, task.Timeout(25*time.Second), task.AttemptTimeout(time.Minute), task.Retries(1))
		require.ErrorIs(r, err, task.ErrExpired)
		assert.NotErrorIs(r, err, task.ErrNoListener)
		assert.Equal(r, 25*time.Second, time.Since(begin), "longer than the lease")
		require.ErrorIs(r, <-ended, task.ErrExpired)
		assert.Equal(r, []string{"started", "lost"}, r.observed())
		assert.Empty(r, r.reported())
	})
}

func TestCancelEndsTheHandler(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		listen(r, q, h)
		handle := submit(r, q, 1)
		assert.Equal(r, task.Running, stateOf(r, handle).State)
		begin := time.Now()
		require.NoError(r, handle.Cancel(r.Context()))
		require.ErrorIs(r, <-ended, task.ErrCancelled)
		assert.Zero(r, time.Since(begin), "it is told")
		assert.Equal(r, []string{"started", "lost"}, r.observed())
		assert.Empty(r, r.reported())
	})
}

// Only what names both the task and the lease of an attempt ends it.
func TestACancelOfAnotherAttemptEndsNothing(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.lost = make(chan backend.Held)
		tokens := make(chan string, 2)
		r.cfg.Server.Observer = backend.ObserverFunc(func(e backend.Event) { tokens <- e.Token })
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		listen(r, q, h)
		handle := submit(r, q, 1)
		token := <-tokens
		r.lost <- backend.Held{Member: handle.ID(), Token: "another"}
		r.lost <- backend.Held{Member: "another", Token: token}
		synctest.Wait()
		assert.Empty(r, ended)
		r.lost <- backend.Held{Member: handle.ID(), Token: token}
		assert.ErrorIs(r, <-ended, task.ErrCancelled)
	})
}

// The lease of what has ended in the store is not renewed until the handler returns.
func TestWhatHasEndedIsNotRenewed(t *testing.T) {
	for name, c := range map[string]struct {
		ttl  time.Duration
		opts []task.Option
		end  func(h *task.Handle[int]) error
	}{
		"cancelled": {ttl: 900 * time.Millisecond, end: func(h *task.Handle[int]) error { return h.Cancel(context.Background()) }},
		"expired":   {ttl: 9 * time.Second, opts: []task.Option{task.Timeout(time.Second)}, end: func(*task.Handle[int]) error { <-time.After(time.Second); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			onMemory(t, func(r *rig) {
				r.cfg.Server.LeaseTTL = c.ttl
				q := queueOf[int, int](r, "q")
				end := listen(r, q, func(ctx context.Context, _ *task.Task[int]) (int, error) {
					<-ctx.Done()
					<-time.After(time.Minute)
					return 0, nil
				})
				h := submit(r, q, 1, c.opts...)
				synctest.Wait()
				require.NoError(r, c.end(h))
				synctest.Wait()
				renewals := 0
				r.on(func(_ context.Context, req any) error {
					if _, renew := req.(backend.RenewRequest); renew {
						renewals++
					}
					return nil
				})
				<-time.After(2 * time.Minute)
				assert.Zero(r, renewals)
				r.on(nil)
				end()
			})
		})
	}
}

func TestALostLeaseEndsTheHandler(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		listen(r, q, h)
		r.on(func(_ context.Context, req any) error {
			if _, renewal := req.(backend.RenewRequest); renewal {
				return backend.ErrUnavailable
			}
			return nil
		})
		handle := submit(r, q, 1)
		synctest.Wait()
		begin := time.Now()
		why := <-ended
		require.ErrorIs(r, why, task.ErrLost)
		assert.LessOrEqual(r, time.Since(begin), task.DefaultLeaseTTL)
		assert.Greater(r, time.Since(begin), task.DefaultLeaseTTL*9/10)
		r.on(nil)
		<-time.After(task.DefaultLeaseTTL) // it is begun again as soon as the store knows
		s := stateOf(r, handle)
		assert.Equal(r, task.Running, s.State)
		assert.Equal(r, 1, s.Deaths)
		assert.Equal(r, 2, s.Attempts)
		require.NoError(r, handle.Cancel(r.Context()))
		require.ErrorIs(r, <-ended, task.ErrCancelled)
	})
}

// The clock tells a handler that was stopped, before any timer does.
func TestContextsReadTheClock(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		done := make(chan struct{})
		listen(r, q, func(ctx context.Context, _ *task.Task[int]) (int, error) {
			defer close(done)
			for ctx.Err() == nil {
				<-time.After(time.Millisecond)
			}
			assert.ErrorIs(r, context.Cause(ctx), task.ErrTimeout)
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			assert.ErrorIs(r, context.Cause(derived), task.ErrTimeout)
			return 0, ctx.Err()
		})
		submit(r, q, 1, task.AttemptTimeout(time.Second))
		<-done
	})
}

// A handler that goes on is reported: its attempt has failed, and its place is not free.
func TestStuckHandlers(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		goOn := make(chan struct{})
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		require.NoError(r, task.Serve(s, q, func(context.Context, *task.Task[int]) (int, error) {
			<-goOn
			return 1, nil
		}, task.ServeConfig{}))
		end := r.run(s.Run)
		stuck := submit(r, q, 1, task.AttemptTimeout(time.Minute))
		next := submit(r, q, 2)
		begin := time.Now()
		_, err := stuck.Wait(r.Context())
		require.ErrorIs(r, err, &task.Error{Code: task.CodeTimeout})
		assert.Equal(r, time.Minute+time.Second, time.Since(begin))
		synctest.Wait()
		assert.Equal(r, task.ServerStats{Running: 1, Stuck: 1}, s.Stats())
		assert.Contains(r, r.logged(), "handler goes on")
		<-time.After(time.Minute)
		assert.Equal(r, task.Waiting, stateOf(r, next).State)

		goOn <- struct{}{}
		assert.Equal(r, task.Running, stateOf(r, next).State)
		assert.Equal(r, task.ServerStats{Running: 1}, s.Stats())
		assert.Contains(r, r.logged(), "returned at last")
		close(goOn)
		got, err := next.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 1, got)
		synctest.Wait()
		assert.Zero(r, s.Stats())
		assert.Equal(r, task.Failed, stateOf(r, stuck).State, "what it returned is not looked at")
		end()
	})
}

func TestStuckAfterCancelAndAfterExpiry(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		goOn := make(chan struct{})
		s := task.NewServer(r.store, ns, task.ServerConfig{})
		require.NoError(r, task.Serve(s, q, func(context.Context, *task.Task[int]) (int, error) {
			<-goOn
			return 1, nil
		}, task.ServeConfig{}))
		r.run(s.Run)
		cancelled := submit(r, q, 1)
		synctest.Wait()
		require.NoError(r, cancelled.Cancel(r.Context()))
		expired := submit(r, q, 2, task.Timeout(500*time.Millisecond))
		<-time.After(2 * time.Second)
		synctest.Wait()
		assert.Equal(r, task.ServerStats{Running: 2, Stuck: 2}, s.Stats())
		assert.Equal(r, task.Cancelled, stateOf(r, cancelled).State)
		assert.Equal(r, task.Expired, stateOf(r, expired).State)
		close(goOn)
		synctest.Wait()
		assert.Zero(r, s.Stats())
		assert.Empty(r, r.reported())
	})
}

// What a handler gives when its time is over is not looked at, even if it comes soon.
func TestResultsThatComeTooLate(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, func(ctx context.Context, _ *task.Task[int]) (int, error) {
			<-ctx.Done()
			return 1, nil
		})
		_, err := q.Query(r.Context(), 1, task.AttemptTimeout(time.Second))
		require.ErrorIs(r, err, &task.Error{Code: task.CodeTimeout})
	})
}

// A handler that is told of two ends at once reports one.
func TestTheFirstEndCounts(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		listen(r, q, h)
		handle := submit(r, q, 1, task.AttemptTimeout(time.Second), task.Timeout(time.Second+time.Millisecond))
		<-time.After(time.Second)
		_ = handle.Cancel(r.Context())
		synctest.Wait()
		why := <-ended
		assert.True(r, errIs(why, task.ErrTimeout) || errIs(why, task.ErrCancelled), why)
	})
}

func TestDeathsAreNotFailures(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		handle := submit(r, q, 1, task.Retries(1))
		w := newWorker(r.T, r.Backend, "q")
		w.next() // and dies
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			if t.Attempt() == 2 {
				return 0, errOops
			}
			return t.Attempt(), nil
		})
		got, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 3, got)
		assert.Equal(r, 1, stateOf(r, handle).Deaths)
	})
}
