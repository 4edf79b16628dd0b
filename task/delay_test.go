package task_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/task"
)

func TestADelayedQueryDoesNotBeginEarly(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, echo[int])
		for _, span := range []time.Duration{time.Second, 10*time.Second - time.Nanosecond} {
			ctx, cancel := context.WithTimeout(r.Context(), span)
			_, err := q.Query(ctx, 1, task.Delay(10*time.Second))
			require.ErrorIs(r, err, context.DeadlineExceeded)
			cancel()
			<-time.After(time.Minute)
			assert.Empty(r, r.observed(), "nothing begins")
		}
		_, err := q.Query(r.Context(), 1, task.Delay(10*time.Second), task.Timeout(20*time.Second))
		require.NoError(r, err)
	})
}

func TestADelayPassesOnce(t *testing.T) {
	onMemory(t, func(r *rig) {
		failing := func(context.Context, *task.Task[int]) (int, error) { return 0, errOops }
		q := queueOf[int, int](r, "q")
		end := listen(r, q, echo[int])
		begin := time.Now()
		_, err := q.WithLocal(failing).Query(r.Context(), 1, task.LocalFirst, task.Delay(10*time.Second))
		require.NoError(r, err)
		assert.Equal(r, 10*time.Second, time.Since(begin))
		end()
		listen(r, q, failing)
		begin = time.Now()
		_, err = q.WithLocal(echo[int]).Query(r.Context(), 1, task.RemoteFirst, task.Delay(10*time.Second))
		require.NoError(r, err)
		assert.Equal(r, 10*time.Second, time.Since(begin))
	})
}
