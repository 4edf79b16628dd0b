package task_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// A fetch whose answer is lost, or takes too long, leaves nothing behind but a death.
func TestAnswersOfFetchesThatAreLost(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		lose := true
		r.answer(func(req any) error {
			if _, fetch := req.(backend.FetchRequest); fetch && lose {
				lose = false
				return backend.ErrUnavailable
			}
			return nil
		})
		handle := submit(r, q, 1)
		listen(r, q, echo)
		_, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 1, stateOf(r, handle).Deaths)
	})
}

func TestAnswersOfFetchesThatAreLate(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		late := true
		r.answer(func(req any) error {
			if _, fetch := req.(backend.FetchRequest); fetch && late {
				late = false
				<-time.After(9900 * time.Millisecond) // its lease lives, but not for us
			}
			return nil
		})
		handle := submit(r, q, 1)
		listen(r, q, echo)
		begin := time.Now()
		_, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 9900*time.Millisecond, time.Since(begin).Round(time.Millisecond))
		assert.Zero(r, stateOf(r, handle).Deaths, "it went back")
		assert.Contains(r, r.logged(), "too slowly")
	})
}

// A report whose answer is lost is sent again, for as long as the lease lasts.
func TestReportsThatAreLost(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, echo)
		lost := 0
		r.answer(func(req any) error {
			if _, report := req.(backend.ReportRequest); report && lost < 3 {
				lost++
				return backend.ErrUnavailable
			}
			return nil
		})
		got, err := q.Query(r.Context(), 1)
		require.NoError(r, err)
		assert.Equal(r, 1, got)
		<-time.After(time.Second)
		assert.Equal(r, []string{"started", "done"}, r.observed())
		assert.Len(r, r.reported(), 4)
	})
}

func TestReportsThatCannotBeSent(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		r.on(func(_ context.Context, req any) error {
			switch req.(type) {
			case backend.ReportRequest, backend.RenewRequest:
				return backend.ErrUnavailable
			}
			return nil
		})
		listen(r, q, echo)
		handle := submit(r, q, 1)
		<-time.After(task.DefaultLeaseTTL - 500*time.Millisecond)
		assert.Equal(r, []string{"started"}, r.observed(), "it is still tried")
		<-time.After(1500 * time.Millisecond)
		r.on(nil)
		assert.Subset(r, r.observed(), []string{"lost", "started"}, "somebody else does it")
		assert.Contains(r, r.logged(), "not accepted")
		_, err := handle.Wait(r.Context())
		require.NoError(r, err)

		r.on(func(_ context.Context, req any) error {
			if _, report := req.(backend.ReportRequest); report {
				return backend.ErrPermission
			}
			return nil
		})
		r.reported()
		refused := submit(r, q, 1, task.MaxDeaths(1))
		_, err = refused.Wait(r.Context())
		require.ErrorIs(r, err, task.ErrDead)
		assert.Len(r, r.reported(), 1, "it is not tried again")
	})
}

func TestReportsThatComeTooLate(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, func(context.Context, *task.Task[int]) (int, error) {
			// The holder is not told, because nobody listens to that just now.
			r.on(func(_ context.Context, req any) error {
				if _, report := req.(backend.ReportRequest); report {
					_ = q.Handle("id").Cancel(context.Background())
				}
				return nil
			})
			return 1, nil
		})
		_, err := q.Query(r.Context(), 1, task.ID("id"))
		require.ErrorIs(r, err, task.ErrCancelled)
		assert.Equal(r, []string{"started", "lost"}, r.observed())
		assert.NotContains(r, r.logged(), "level=WARN", "nothing is wrong")
		assert.Contains(r, r.logged(), "task has ended meanwhile")
	})
}
