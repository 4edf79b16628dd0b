package task_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// ending calls end in the background and gives how long that took.
func ending(end func()) <-chan time.Duration {
	begin, took := time.Now(), make(chan time.Duration, 1)
	go func() {
		end()
		took <- time.Since(begin)
	}()
	synctest.Wait()
	return took
}

func TestAServerWaitsForItsHandlers(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		end := listen(r, q, func(ctx context.Context, _ *task.Task[int]) (int, error) {
			<-time.After(20 * time.Second)
			return 1, ctx.Err()
		})
		running := submit(r, q, 1)
		synctest.Wait()
		took := ending(end)
		late := submit(r, q, 2)
		stats, err := q.Stats(r.Context())
		require.NoError(r, err)
		assert.Zero(r, stats.Listeners, "it does not listen any more")
		got, err := running.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 1, got)
		assert.Equal(r, 20*time.Second, <-took)
		assert.Equal(r, task.Waiting, stateOf(r, late).State)
	})
}

func TestWhatIsDrainedGoesBack(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.Drain = 5 * time.Second
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		end := listen(r, q, h)
		handle := submit(r, q, 1)
		synctest.Wait()
		assert.Equal(r, 5*time.Second, <-ending(end))
		require.ErrorIs(r, <-ended, task.ErrDrained)
		s := stateOf(r, handle)
		assert.Equal(r, task.Waiting, s.State)
		assert.Zero(r, s.Attempts, "it does not count")
		assert.Zero(r, s.Deaths)
		assert.Equal(r, []string{"started", "released"}, r.observed())

		listen(r, q, echo)
		got, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 1, got)
	})
}

func TestWhatIsDoneWhenItIsDrainedIsDone(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.Drain = -1
		q := queueOf[int, int](r, "q")
		end := listen(r, q, func(ctx context.Context, _ *task.Task[int]) (int, error) {
			<-ctx.Done()
			return 1, nil
		})
		handle := submit(r, q, 1)
		synctest.Wait()
		assert.Zero(r, <-ending(end))
		got, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 1, got)
	})
}

func TestHandlersThatIgnoreTheDrainAreLeft(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.Drain = time.Second
		q := queueOf[int, int](r, "q")
		goOn := make(chan struct{})
		s := task.NewServer(r.store, ns, task.ServerConfig{Drain: time.Second})
		require.NoError(r, task.Serve(s, q, func(context.Context, *task.Task[int]) (int, error) {
			<-goOn
			return 1, nil
		}, task.ServeConfig{}))
		end := r.run(s.Run)
		handle := submit(r, q, 1)
		synctest.Wait()
		assert.Equal(r, 2*time.Second, <-ending(end))
		assert.Contains(r, r.logged(), "handler goes on")
		assert.Equal(r, task.ServerStats{Running: 1, Stuck: 1}, s.Stats())
		assert.Equal(r, task.Waiting, stateOf(r, handle).State)
		close(goOn)
		synctest.Wait()
		assert.Zero(r, s.Stats())
		assert.Equal(r, task.Waiting, stateOf(r, handle).State)
	})
}

func TestCancelWhileAServerDrains(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		end := listen(r, q, h)
		handle := submit(r, q, 1)
		synctest.Wait()
		took := ending(end)
		<-time.After(time.Second)
		require.NoError(r, handle.Cancel(r.Context()))
		why := <-ended
		assert.True(r, errIs(why, task.ErrCancelled) || errIs(why, task.ErrLost), why)
		assert.LessOrEqual(r, <-took, 6*time.Second, "at its next renewal")
	})
}

// Handlers are told of what was cancelled before the server said that it does not listen any more.
func TestCancelJustBeforeAServerLeaves(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		end := listen(r, q, h)
		handle := submit(r, q, 1)
		synctest.Wait()
		r.on(func(_ context.Context, req any) error {
			if fetch, ok := req.(backend.FetchRequest); ok && fetch.Leave {
				assert.NoError(r, handle.Cancel(context.Background()))
			}
			return nil
		})
		assert.Zero(r, <-ending(end))
		assert.ErrorIs(r, <-ended, task.ErrCancelled)
	})
}

// A store that does not answer does not keep a server for long.
func TestAServerEndsWithoutItsStore(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.LeaseTTL, r.cfg.Server.Drain = time.Hour, 10*time.Second
		q := queueOf[int, int](r, "q")
		end := listen(r, q, func(ctx context.Context, _ *task.Task[int]) (int, error) {
			<-time.After(time.Second)
			return 1, nil
		})
		submit(r, q, 1)
		synctest.Wait()
		r.on(func(ctx context.Context, _ any) error {
			<-ctx.Done()
			return backend.ErrUnavailable
		})
		assert.Equal(r, 15*time.Second, <-ending(end))
		assert.Contains(r, r.logged(), "could not say so")
		assert.Contains(r, r.logged(), "not accepted")
		r.on(nil)
	})
}

func TestAServerEndsWhileReportsFail(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.LeaseTTL, r.cfg.Server.Drain = time.Hour, 10*time.Second
		q := queueOf[int, int](r, "q")
		end := listen(r, q, echo)
		r.on(func(_ context.Context, req any) error {
			if _, report := req.(backend.ReportRequest); report {
				return backend.ErrUnavailable
			}
			return nil
		})
		submit(r, q, 1)
		synctest.Wait()
		assert.Equal(r, 15*time.Second, <-ending(end))
		r.on(nil)
	})
}

// What arrives when it is too late to begin it goes back at once.
func TestWhatIsFetchedAtTheEndGoesBack(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		r.answer(func(req any) error {
			if fetch, ok := req.(backend.FetchRequest); ok && !fetch.Leave {
				<-time.After(time.Second)
			}
			return nil
		})
		ran := false
		assert.Equal(r, time.Second, <-ending(listen(r, q, echo)), "there was nothing")
		handle := submit(r, q, 1)
		end := listen(r, q, func(context.Context, *task.Task[int]) (int, error) { ran = true; return 1, nil })
		assert.Equal(r, time.Second, <-ending(end))
		assert.False(r, ran)
		s := stateOf(r, handle)
		assert.Equal(r, task.Waiting, s.State)
		assert.Zero(r, s.Attempts)

		end = listen(r, q, echo)
		r.on(func(_ context.Context, req any) error {
			if _, report := req.(backend.ReportRequest); report {
				return backend.ErrUnavailable
			}
			return nil
		})
		end()
		assert.Equal(r, task.Running, stateOf(r, handle).State)
		assert.Contains(r, r.logged(), "leases have to run out")
	})
}

// A server that has ended leaves nothing behind that goes on in the background.
func TestNothingIsSentAfterTheEnd(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Server.LeaseTTL, r.cfg.Server.Drain = time.Hour, -1
		q := queueOf[int, int](r, "q")
		end := listen(r, q, untilItEnds)
		submit(r, q, 1)
		synctest.Wait()
		var calls atomic.Int32
		r.on(func(context.Context, any) error {
			calls.Add(1)
			return backend.ErrUnavailable
		})
		<-ending(end)
		sent := calls.Load()
		assert.Positive(r, sent)
		<-time.After(time.Hour)
		assert.Equal(r, sent, calls.Load())
		r.on(nil)
	})
}
