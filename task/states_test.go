package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/task"
)

// walk is one task on its way through the states.
type walk struct {
	*worker
	q    *task.Queue[int, int]
	h    *task.Handle[int]
	g    backend.TaskGrant
	last task.State
}

// is expects the task to be in a state, having come there from the one that was expected last.
func (w *walk) is(want task.State) task.Status {
	w.t.Helper()
	s, err := w.h.State(w.t.Context())
	require.NoError(w.t, err)
	require.Equal(w.t, want.String(), s.State.String(), "from %s", w.last)
	w.last = want
	return s
}

func (w *walk) submit(opts ...task.Option) {
	w.t.Helper()
	var err error
	w.h, err = w.q.Submit(w.t.Context(), 1, opts...)
	require.NoError(w.t, err)
}

func (w *walk) starts() {
	w.t.Helper()
	var ok bool
	w.g, ok = w.fetch()
	require.True(w.t, ok)
	w.is(task.Running)
}

func (w *walk) says(kind backend.ReportKind, after time.Duration) {
	w.t.Helper()
	reply, err := w.be.Report(w.t.Context(), backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{
		{ID: w.g.Task.ID, Token: w.g.Token, Kind: kind, Data: []byte("1"), After: after},
	}})
	require.NoError(w.t, err)
	require.True(w.t, reply.Accepted[0])
}

// TestEveryArrowOfTheStateMachine walks those that the package's documentation draws.
func TestEveryArrowOfTheStateMachine(t *testing.T) {
	const lease = 11 * time.Second // a little more than that of the worker
	for name, way := range map[string]func(w *walk){
		"delayed, due, fetched, done": func(w *walk) {
			w.submit(task.Delay(time.Minute))
			w.is(task.Scheduled)
			<-time.After(time.Minute)
			w.is(task.Waiting)
			w.starts()
			w.says(backend.ReportDone, 0)
			w.is(task.Done)
		},
		"put back": func(w *walk) {
			w.submit()
			w.is(task.Waiting)
			w.starts()
			w.says(backend.ReportReturn, 0)
			assert.Zero(w.t, w.is(task.Waiting).Attempts)
		},
		"retried later, retried now, failed": func(w *walk) {
			w.submit()
			w.starts()
			w.says(backend.ReportRetry, time.Minute)
			w.is(task.Scheduled)
			<-time.After(time.Minute)
			w.starts()
			w.says(backend.ReportRetry, 0)
			w.is(task.Waiting)
			w.starts()
			w.says(backend.ReportFailed, 0)
			assert.Equal(w.t, 3, w.is(task.Failed).Attempts)
		},
		"died, died too often, revived": func(w *walk) {
			w.submit(task.MaxDeaths(2))
			w.starts()
			<-time.After(lease)
			assert.Equal(w.t, 1, w.is(task.Waiting).Deaths)
			w.starts()
			<-time.After(lease)
			s := w.is(task.Dead)
			require.ErrorIs(w.t, s.Err, &task.Error{Code: task.CodeDeaths})
			_, err := w.q.Revive(w.t.Context(), w.h.ID())
			require.NoError(w.t, err)
			assert.Zero(w.t, w.is(task.Waiting).Deaths)
		},
		"given up": func(w *walk) {
			w.submit()
			w.starts()
			w.says(backend.ReportDead, 0)
			w.is(task.Dead)
		},
		"expired while scheduled": func(w *walk) {
			w.submit(task.Delay(time.Minute), task.Timeout(2*time.Minute))
			<-time.After(time.Minute)
			w.starts()
			w.says(backend.ReportRetry, time.Hour)
			w.is(task.Scheduled)
			<-time.After(2 * time.Minute)
			w.is(task.Expired)
		},
		"expired while waiting": func(w *walk) {
			w.submit(task.Timeout(time.Minute))
			<-time.After(time.Minute)
			w.is(task.Expired)
		},
		"expired while running": func(w *walk) {
			w.submit(task.Timeout(time.Second))
			w.starts()
			<-time.After(time.Second)
			w.is(task.Expired)
		},
		"cancelled while scheduled": func(w *walk) {
			w.submit(task.Delay(time.Minute))
			w.cancelled()
		},
		"cancelled while waiting": func(w *walk) {
			w.submit()
			w.cancelled()
		},
		"cancelled while running": func(w *walk) {
			w.submit()
			w.starts()
			w.cancelled()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, be *memory.Backend) {
				way(&walk{worker: newWorker(t, be, "q"), q: task.NewQueue[int, int](be, ns, "q", task.Config{})})
			})
		})
	}
}

func (w *walk) cancelled() {
	w.t.Helper()
	require.NoError(w.t, w.h.Cancel(w.t.Context()))
	w.is(task.Cancelled)
}
