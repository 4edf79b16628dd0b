package task_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/task"
)

func TestRecover(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		var seen error
		look := func(h task.Handler[int, int]) task.Handler[int, int] {
			return func(ctx context.Context, t *task.Task[int]) (int, error) {
				res, err := h(ctx, t)
				seen = err
				return res, err
			}
		}
		listen(r, q, task.Chain(func(context.Context, *task.Task[int]) (int, error) { panic("ouch") }, look, task.Recover[int, int]()))
		_, err := q.Query(r.Context(), 1)
		require.ErrorIs(r, err, &task.Error{Code: task.CodePanic})
		require.ErrorIs(r, seen, &task.Error{Code: task.CodePanic})
		assert.Contains(r, r.logged(), "middleware_test.go")
	})
}

func TestLimit(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[string, int](r, "q")
		listen(r, q, task.Limit[string, int](time.Second)(func(ctx context.Context, t *task.Task[string]) (int, error) {
			if t.Params() == "quick" {
				return 1, nil
			}
			<-ctx.Done()
			switch t.Params() {
			case "another error":
				return 0, errOops
			case "a result":
				return 2, nil
			}
			assert.ErrorIs(r, context.Cause(ctx), task.ErrTimeout)
			return 0, ctx.Err()
		}))
		ask := func(params string) (int, error) { return q.Query(r.Context(), params) }
		got, err := ask("quick")
		require.NoError(r, err)
		assert.Equal(r, 1, got)
		begin := time.Now()
		_, err = ask("")
		require.ErrorIs(r, err, &task.Error{Code: task.CodeTimeout})
		assert.Equal(r, time.Second, time.Since(begin))
		_, err = ask("another error")
		assert.NotErrorIs(r, err, &task.Error{Code: task.CodeTimeout})
		require.ErrorContains(r, err, "oops")
		got, err = ask("a result")
		require.NoError(r, err)
		assert.Equal(r, 2, got)
	})
}

func TestLogging(t *testing.T) {
	onMemory(t, func(r *rig) {
		log := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})).With("by", "me")
		q := task.NewQueue[int, int](r.store, ns, "q", task.Config{})
		h := func(_ context.Context, t *task.Task[int]) (int, error) {
			t.Logger().Info("inside")
			if t.Params() < 0 {
				return 0, errors.New("negative")
			}
			return 0, nil
		}
		listen(r, q, task.Logging[int, int](log)(h))
		_, err := q.Query(r.Context(), 1, task.ID("good"))
		require.NoError(r, err)
		for _, line := range []string{
			`level=DEBUG msg="attempt begins" by=me queue=q id=good attempt=1`,
			`level=INFO msg=inside by=me queue=q id=good attempt=1`,
			`level=DEBUG msg="attempt is done" by=me queue=q id=good attempt=1`,
		} {
			assert.Contains(r, r.logged(), line)
		}
		_, err = q.Query(r.Context(), -1, task.ID("bad"))
		require.Error(r, err)
		assert.Contains(r, r.logged(), `level=WARN msg="attempt has failed" by=me queue=q id=bad attempt=1`)
	})
}
