package task_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// progressSent counts what was reported.
func progressSent(r *rig) (n int) {
	for _, it := range r.reported() {
		if it.Kind == backend.ReportProgress {
			n++
		}
	}
	return n
}

func TestProgress(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			for i := range 1000 {
				assert.NoError(r, t.Progress(int64(i), 1000, "working"))
				<-time.After(time.Millisecond)
			}
			assert.NoError(r, t.Progress(1000, 1000, "ready"))
			return 0, nil
		})
		h := submit(r, q, 1)
		var all []task.Progress
		begin := time.Now()
		for p, err := range h.Progress(r.Context()) {
			require.NoError(r, err)
			if len(all) == 0 {
				assert.Zero(r, time.Since(begin), "the first is sent at once")
			}
			all = append(all, p)
		}
		assert.InDelta(r, 11, len(all), 1, "ten in a second")
		synctest.Wait()
		assert.InDelta(r, 11, progressSent(r), 1)
		assert.Equal(r, task.Progress{Current: 0, Total: 1000, Message: "working"}, all[0])
	})
}

// What is told after a pause is sent at once, and what follows soon somewhat later, each once.
func TestThePaceOfProgress(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		var kept *task.Task[int]
		begin := time.Now()
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			kept = t
			for i, pause := range []time.Duration{0, time.Second, 30 * time.Millisecond, 5 * time.Second} {
				<-time.After(pause)
				if i < 3 {
					assert.NoError(r, t.Progress(int64(i), 0, ""))
				}
			}
			return 0, nil
		})
		h := submit(r, q, 1)
		var at []time.Duration
		for p, err := range h.Progress(r.Context()) {
			require.NoError(r, err)
			assert.EqualValues(r, len(at), p.Current)
			at = append(at, time.Since(begin))
		}
		assert.Equal(r, []time.Duration{0, time.Second, 1100 * time.Millisecond}, at)
		require.NoError(r, kept.Progress(9, 9, "too late"))
		<-time.After(time.Minute)
		assert.Equal(r, 3, progressSent(r))
	})
}

// sees gives the last progress that those see who watch a task until it has ended.
func sees(r *rig, h *task.Handle[int]) <-chan task.Progress {
	last := make(chan task.Progress, 1)
	go func() {
		var latest task.Progress
		for p, err := range h.Progress(r.Context()) {
			assert.NoError(r, err)
			latest = p
		}
		last <- latest
	}()
	return last
}

func TestProgressThatIsReadSlowly(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			assert.NoError(r, t.Progress(0, 0, ""))
			<-time.After(time.Second)
			for i := range 9 {
				assert.NoError(r, t.Progress(int64(i+1), 0, ""))
			}
			return 0, nil
		})
		h := submit(r, q, 1)
		var seen []int64
		for p, err := range h.Progress(r.Context()) {
			require.NoError(r, err)
			seen = append(seen, p.Current)
			<-time.After(10 * time.Second)
		}
		assert.Equal(r, []int64{0, 9}, seen, "the first, although it is nothing, and the last, although the task has ended")
	})
}

func TestTheLastProgressIsToldBeforeTheEnd(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		var kept *task.Task[int]
		end := listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			kept = t
			for i := range 5 {
				assert.NoError(r, t.Progress(int64(i), 0, ""))
				synctest.Wait()
			}
			return 0, nil
		})
		h := submit(r, q, 1)
		_, err := h.Wait(r.Context())
		require.NoError(r, err)
		reports := r.reported()
		require.Len(r, reports, 3)
		assert.Equal(r, `{"current":0}`, string(reports[0].Data))
		assert.Equal(r, `{"current":4}`, string(reports[1].Data))
		assert.Equal(r, backend.ReportDone, reports[2].Kind)
		require.NoError(r, kept.Progress(9, 9, "too late"))
		<-time.After(time.Minute)
		assert.Empty(r, r.reported())
		end()
	})
}

// What was not sent before an attempt has ended without a report is not sent any more.
func TestProgressOfWhatIsNotReported(t *testing.T) {
	for name, end := range map[string]func(h *task.Handle[int], stop func()) error{
		"cancelled": func(h *task.Handle[int], _ func()) error { return h.Cancel(context.Background()) },
		"drained":   func(_ *task.Handle[int], stop func()) error { stop(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			onMemory(t, func(r *rig) {
				r.cfg.Server.Drain = -1
				q := queueOf[int, int](r, "q")
				stop := listen(r, q, func(ctx context.Context, t *task.Task[int]) (int, error) {
					assert.NoError(r, t.Progress(1, 0, ""))
					<-time.After(time.Millisecond)
					assert.NoError(r, t.Progress(2, 0, "not sent yet"))
					return untilItEnds(ctx, t)
				})
				h := submit(r, q, 1)
				<-time.After(2 * time.Millisecond)
				require.NoError(r, end(h, stop))
				<-time.After(time.Second)
				synctest.Wait()
				assert.Equal(r, 1, progressSent(r))
			})
		})
	}
}

// A message that is under way when the task ends is sent once more, because nobody knows which call comes first.
func TestProgressUnderWay(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		var first atomic.Bool
		r.on(func(_ context.Context, req any) error {
			if report, ok := req.(backend.ReportRequest); ok && report.Items[0].Kind == backend.ReportProgress && first.CompareAndSwap(false, true) {
				<-time.After(10 * time.Second)
			}
			return nil
		})
		end := listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			assert.NoError(r, t.Progress(7, 0, ""))
			<-time.After(time.Second)
			return 0, nil
		})
		h := submit(r, q, 1)
		last := sees(r, h)
		_, err := h.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, int64(7), (<-last).Current)
		assert.Equal(r, 9*time.Second, <-ending(end), "no call is left behind")
	})
}

func TestProgressThatCannotBeSent(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.MaxSize = 100
		q := queueOf[int, int](r, "q")
		r.on(func(_ context.Context, req any) error {
			if report, ok := req.(backend.ReportRequest); ok && len(report.Items) == 1 && report.Items[0].Kind == backend.ReportProgress {
				return backend.ErrUnavailable
			}
			return nil
		})
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			const frame = len(`{"current":1,"message":""}`)
			assert.ErrorIs(r, t.Progress(1, 0, strings.Repeat("x", 101-frame)), task.ErrTooLarge)
			assert.NoError(r, t.Progress(1, 0, strings.Repeat("x", 100-frame)))
			assert.NoError(r, t.Progress(3, 0, ""))
			<-time.After(10 * time.Second)
			return 0, nil
		})
		h := submit(r, q, 1)
		_, err := h.Wait(r.Context())
		require.NoError(r, err)
		assert.InDelta(r, 11, progressSent(r), 2, "it is tried again, and once more with the end")
		assert.Contains(r, r.logged(), "progress not reported")
	})
}

func TestProgressWithoutAServer(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, string](r, "q").WithLocal(func(_ context.Context, t *task.Task[int]) (string, error) {
			return fmt.Sprintln(t.Attempt(), t.Fence(), t.Params(), t.Queue()), t.Progress(1, 2, "")
		})
		got, err := q.Query(r.Context(), 5, task.Local)
		require.NoError(r, err)
		assert.Equal(r, "1 0 5 q\n", got)
	})
}
