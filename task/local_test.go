package task_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/task"
)

// here asks the local handler.
func here(r *rig, h task.Handler[int, int], opts ...task.Option) (int, error) {
	return queueOf[int, int](r, "q").WithLocal(h).Query(r.Context(), 1, append(opts, task.Local)...)
}

func TestLocalRuns(t *testing.T) {
	onMemory(t, func(r *rig) {
		begin := time.Now()
		var of context.Context
		got, err := here(r, func(ctx context.Context, t *task.Task[int]) (int, error) {
			of = ctx
			assert.Equal(r, "id", t.ID())
			assert.Equal(r, begin, t.SubmittedAt())
			assert.Equal(r, begin.Add(time.Minute), t.Deadline())
			until, ok := ctx.Deadline()
			assert.True(r, ok)
			assert.Equal(r, begin.Add(time.Minute), until)
			t.Logger().Info("hello")
			return t.Params() + 1, nil
		}, task.ID("id"), task.Timeout(time.Minute), task.Delay(time.Second))
		require.NoError(r, err)
		assert.Equal(r, 2, got)
		assert.Equal(r, time.Second, time.Since(begin))
		assert.Contains(r, r.logged(), "msg=hello queue=q id=id attempt=1")
		assert.Equal(r, []string{"started", "done"}, r.observed())
		require.ErrorIs(r, of.Err(), context.Canceled, "it ends with the handler")

		typed := errors.New("typed")
		_, err = here(r, func(context.Context, *task.Task[int]) (int, error) { return 0, typed })
		require.ErrorIs(r, err, typed, "as it was given")
		assert.Equal(r, []string{"started", "failed"}, r.observed())
		_, err = here(r, func(context.Context, *task.Task[int]) (int, error) { panic("ouch") })
		require.ErrorIs(r, err, &task.Error{Code: task.CodePanic})
		require.ErrorContains(r, err, "ouch")
		_, err = here(r, func(context.Context, *task.Task[int]) (int, error) { runtime.Goexit(); return 0, nil })
		require.ErrorIs(r, err, &task.Error{Code: task.CodePanic})
		_, err = here(r, nil)
		require.ErrorIs(r, err, task.ErrNoLocal)
		assert.Empty(r, r.fetched())
	})
}

func TestLocalRunsHaveALimit(t *testing.T) {
	onMemory(t, func(r *rig) {
		begin := time.Now()
		_, err := here(r, untilItEnds, task.AttemptTimeout(time.Second))
		require.ErrorIs(r, err, task.ErrTimeout)
		require.ErrorIs(r, err, &task.Error{Code: task.CodeTimeout})
		assert.Equal(r, time.Second, time.Since(begin))

		_, err = here(r, untilItEnds, task.AttemptTimeout(time.Hour), task.Timeout(time.Minute))
		require.ErrorIs(r, err, task.ErrExpired)
		assert.EqualError(r, err, `query "q": task expired`)
		assert.Equal(r, time.Minute+time.Second, time.Since(begin))

		goOn := make(chan struct{})
		_, err = here(r, func(context.Context, *task.Task[int]) (int, error) { <-goOn; return 0, nil }, task.Timeout(time.Second))
		require.ErrorIs(r, err, task.ErrExpired)
		assert.EqualError(r, err, `query "q": task expired`)
		assert.Equal(r, time.Minute+3*time.Second, time.Since(begin), "it is not waited for long")
		assert.Contains(r, r.logged(), "handler goes on")
		close(goOn)
	})
}

func TestLocalRunsEndWithTheirCaller(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q").WithLocal(untilItEnds)
		ctx, cancel := context.WithCancel(r.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := q.Query(ctx, 1, task.Local)
		require.ErrorIs(r, err, context.Canceled)
		_, err = q.WithLocal(func(context.Context, *task.Task[int]) (int, error) { return 1, nil }).Query(ctx, 1, task.Local)
		require.ErrorIs(r, err, context.Canceled, "nothing is begun after the end")
		impatient, stop := context.WithTimeout(r.Context(), time.Second)
		defer stop()
		_, err = q.WithLocal(echo[int]).Query(impatient, 1, task.Local, task.Delay(time.Minute))
		require.ErrorIs(r, err, context.DeadlineExceeded)
		_, err = q.Query(ctx, 1, task.Local, task.Delay(time.Second))
		require.ErrorIs(r, err, context.Canceled)

		ctx, cancel = context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		q = q.WithLocal(func(ctx context.Context, _ *task.Task[int]) (int, error) { <-ctx.Done(); return 0, errOops })
		_, err = q.Query(ctx, 1, task.Local)
		require.ErrorIs(r, err, context.DeadlineExceeded)
		require.ErrorIs(r, err, errOops)

		goOn := make(chan struct{})
		q = q.WithLocal(func(context.Context, *task.Task[int]) (int, error) { <-goOn; return 0, nil })
		_, err = q.Query(ctx, 1, task.Local, task.Delay(0))
		require.ErrorIs(r, err, context.DeadlineExceeded)
		close(goOn)
		synctest.Wait()
	})
}

func TestTheErrorOfACallerThatGaveUpMatchesItsContext(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q").WithLocal(untilItEnds)
		for _, delay := range []time.Duration{0, time.Hour} {
			for _, p := range []task.Policy{task.Remote, task.Local, task.LocalFirst, task.RemoteFirst, task.Auto} {
				ctx, cancel := context.WithCancelCause(r.Context())
				time.AfterFunc(time.Second, func() { cancel(errOops) })
				_, err := q.Query(ctx, 1, p, task.Delay(delay))
				require.ErrorIs(r, err, context.Canceled, p)
				require.ErrorIs(r, err, errOops, p)
			}
		}
	})
}

func TestPolicies(t *testing.T) {
	onMemory(t, func(r *rig) {
		failing := func(err error) task.Handler[int, string] {
			return func(context.Context, *task.Task[int]) (string, error) { return "", err }
		}
		giving := func(s string) task.Handler[int, string] {
			return func(context.Context, *task.Task[int]) (string, error) { return s, nil }
		}
		errThere := errors.New("failed there")
		q := queueOf[int, string](r, "q")
		ask := func(local task.Handler[int, string], p task.Policy) (string, error) {
			return q.WithLocal(local).Query(r.Context(), 1, p)
		}
		begin := time.Now()
		got, err := ask(giving("here"), task.RemoteFirst)
		require.NoError(r, err, "nobody listens")
		assert.Zero(r, time.Since(begin), "which is seen at once")
		assert.Equal(r, "here", got)
		_, err = ask(failing(errOops), task.RemoteFirst)
		require.ErrorIs(r, err, errOops)
		require.ErrorIs(r, err, task.ErrNoListener)

		end := listen(r, q, giving("there"))
		for p, want := range map[task.Policy]string{
			task.Local: "here", task.LocalFirst: "here", task.Remote: "there", task.RemoteFirst: "there", task.Auto: "there",
		} {
			got, err := ask(giving("here"), p)
			require.NoError(r, err)
			assert.Equal(r, want, got)
		}
		got, err = ask(failing(errOops), task.LocalFirst)
		require.NoError(r, err)
		assert.Equal(r, "there", got)
		_, err = ask(failing(task.Final(errOops)), task.LocalFirst)
		require.ErrorIs(r, err, errOops)
		end()
		listen(r, q, failing(errThere))
		_, err = ask(failing(errOops), task.LocalFirst)
		require.ErrorIs(r, err, errOops)
		require.ErrorContains(r, err, "there")
		_, err = ask(failing(errOops), task.RemoteFirst)
		require.ErrorIs(r, err, errOops)
		require.ErrorContains(r, err, "there")
		got, err = ask(giving("here"), task.RemoteFirst)
		require.NoError(r, err)
		assert.Equal(r, "here", got)
	})
}
