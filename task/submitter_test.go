package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/task"
)

// worker does tasks by hand, by the contract of the backend alone.
type worker struct {
	t     *testing.T
	be    *memory.Backend
	queue string
	name  string
	reply backend.FetchReply
}

func newWorker(t *testing.T, be *memory.Backend, queue string) *worker {
	return &worker{t: t, be: be, queue: queue, name: backend.NewToken()}
}

// fetch takes one task, or says that the worker lives.
func (w *worker) fetch() (backend.TaskGrant, bool) {
	w.t.Helper()
	var err error
	w.reply, err = w.be.Fetch(w.t.Context(), backend.FetchRequest{
		Namespace: ns, Listener: w.name, Token: backend.NewToken(), TTL: 10 * time.Second, Mark: 15 * time.Second, Max: 1,
		Queues: []backend.FetchQueue{{Name: w.queue, Room: 1}},
		Lanes:  []backend.FetchLane{{Queue: 0, Max: 1}},
	})
	require.NoError(w.t, err)
	if len(w.reply.Tasks) == 0 {
		return backend.TaskGrant{}, false
	}
	return w.reply.Tasks[0], true
}

// next takes the next task, and waits for it.
func (w *worker) next() backend.TaskGrant {
	w.t.Helper()
	for {
		if g, ok := w.fetch(); ok {
			return g
		}
		<-w.reply.Wake
	}
}

func (w *worker) report(g backend.TaskGrant, kind backend.ReportKind, data string) bool {
	w.t.Helper()
	reply, err := w.be.Report(w.t.Context(), backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{
		{ID: g.Task.ID, Token: g.Token, Kind: kind, Data: []byte(data)},
	}})
	require.NoError(w.t, err)
	return reply.Accepted[0]
}

// bubble runs a test with a backend, in a bubble.
func bubble(t *testing.T, test func(t *testing.T, be *memory.Backend)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		test(t, be)
		require.NoError(t, be.Close())
	})
}

func TestQueryGivesTheResult(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, []string](be, ns, "q", task.Config{})
		go func() {
			w := newWorker(t, be, "q")
			g := w.next()
			w.report(g, backend.ReportDone, fmt.Sprintf(`["%s","b"]`, g.Task.Payload))
		}()
		res, err := q.Query(t.Context(), 7)
		require.NoError(t, err)
		assert.Equal(t, []string{"7", "b"}, res)
	})
}

func TestWaitBeforeDuringAndAfter(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		h, err := q.Submit(t.Context(), 1, task.ID("one"))
		require.NoError(t, err)
		assert.Equal(t, "one", h.ID())
		results := make(chan int, 2)
		wait := func() {
			res, err := q.Wait(t.Context(), "one")
			assert.NoError(t, err)
			results <- res
		}
		go wait()
		synctest.Wait()
		w := newWorker(t, be, "q")
		g := w.next()
		go wait()
		synctest.Wait()
		require.True(t, w.report(g, backend.ReportDone, "42"))
		assert.Equal(t, 42, <-results)
		assert.Equal(t, 42, <-results)
		res, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, res)
		<-time.After(task.DefaultRetention + time.Second)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, task.ErrLost, "retention is over")
		s, err := h.State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Unknown, s.State)
	})
}

func TestEveryEndHasItsError(t *testing.T) {
	quota := &task.Error{Code: "quota", Message: "too many", Retryable: true}
	for name, c := range map[string]struct {
		kind backend.ReportKind
		data string
		want []error
	}{
		"failed":       {backend.ReportFailed, `{"code":"quota","message":"ten of ten"}`, []error{quota}},
		"without data": {backend.ReportFailed, ``, nil},
		"garbage":      {backend.ReportFailed, `}`, nil},
		"dead":         {backend.ReportDead, `{"code":"quota","message":"ten of ten"}`, []error{task.ErrDead, quota}},
		"bad payload":  {backend.ReportDead, `{"code":"payload"}`, []error{task.ErrDead, task.ErrForeignPayload}},
		"bad result":   {backend.ReportDone, `"text"`, []error{task.ErrForeignPayload}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, be *memory.Backend) {
				q := task.NewQueue[int, int](be, ns, "q", task.Config{})
				go func() {
					w := newWorker(t, be, "q")
					w.report(w.next(), c.kind, c.data)
				}()
				res, err := q.Query(t.Context(), 1)
				require.Error(t, err)
				assert.Zero(t, res)
				for _, want := range c.want {
					require.ErrorIs(t, err, want)
				}
				var e *task.Error
				if c.kind == backend.ReportFailed {
					require.ErrorAs(t, err, &e)
					assert.NotEmpty(t, e.Error())
				}
			})
		})
	}
}

func TestExpiryOfWhatNobodyTakes(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		begin := time.Now()
		_, err := q.Query(t.Context(), 1, task.Timeout(3*time.Second))
		require.ErrorIs(t, err, task.ErrExpired)
		require.ErrorIs(t, err, task.ErrNoListener)
		assert.Equal(t, 3*time.Second, time.Since(begin))

		newWorker(t, be, "q").fetch()
		_, err = q.Query(t.Context(), 1, task.Timeout(3*time.Second))
		require.ErrorIs(t, err, task.ErrExpired)
		require.NotErrorIs(t, err, task.ErrNoListener)
	})
}

func TestQueryEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := q.Query(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, task.ErrNoListener)

		ctx, stop := context.WithCancelCause(t.Context())
		w := newWorker(t, be, "q")
		var g backend.TaskGrant
		go func() {
			g = w.next()
			stop(errOops)
		}()
		_, err = q.Query(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errOops)
		require.NotErrorIs(t, err, task.ErrNoListener)
		s, err := q.Handle(g.Task.ID).State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Cancelled, s.State, "nobody else knows of it")
		assert.False(t, w.report(g, backend.ReportDone, "1"))

		ctx, stop = context.WithCancelCause(t.Context())
		go func() {
			g = w.next()
			stop(errOops)
		}()
		_, err = q.Query(ctx, 1, task.ID("named"))
		require.ErrorIs(t, err, errOops)
		assert.True(t, w.report(g, backend.ReportDone, "1"), "who has the id may still wait for it")
		_, err = q.Query(ctx, 1)
		require.ErrorIs(t, err, context.Canceled, "nothing is sent after the end")
	})
}

func TestTheSameIDIsOneTask(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		const n = 50
		results := make(chan int, n)
		for range n {
			go func() {
				res, err := q.Query(t.Context(), 1, task.ID("one"))
				assert.NoError(t, err)
				results <- res
			}()
		}
		synctest.Wait()
		w := newWorker(t, be, "q")
		require.True(t, w.report(w.next(), backend.ReportDone, "42"))
		for range n {
			assert.Equal(t, 42, <-results)
		}
		_, ok := w.fetch()
		assert.False(t, ok, "there was one run")

		_, err := q.Submit(t.Context(), 2, task.ID("one"))
		require.ErrorIs(t, err, task.ErrConflict)
		other := task.NewQueue[int, int](be, ns, "other", task.Config{})
		_, err = other.Submit(t.Context(), 1, task.ID("one"))
		require.ErrorIs(t, err, task.ErrConflict)
	})
}

func TestOnceRemovesTheResult(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		w := newWorker(t, be, "q")
		h, err := q.Submit(t.Context(), 1, task.Once())
		require.NoError(t, err)
		w.report(w.next(), backend.ReportDone, "42")
		res, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, res)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, task.ErrLost)

		go func() { w.report(w.next(), backend.ReportDone, "42") }()
		_, err = q.Query(t.Context(), 1, task.ID("two"), task.Once())
		require.NoError(t, err)
		s, err := q.Handle("two").State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Unknown, s.State)
	})
}

func TestQueryForgetsWhatNobodyElseKnows(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		w := newWorker(t, be, "q")
		var first string
		for range 2 {
			go func() {
				g := w.next()
				if first == "" {
					first = g.Task.ID
				}
				w.report(g, backend.ReportDone, "42")
			}()
			_, err := q.Query(t.Context(), 1)
			require.NoError(t, err)
		}
		s, err := q.Handle(first).State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Unknown, s.State)
	})
}

func TestCancelAndRemove(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		h, err := q.Submit(t.Context(), 1)
		require.NoError(t, err)
		require.ErrorIs(t, h.Remove(t.Context()), task.ErrRunning)
		require.NoError(t, h.Cancel(t.Context()))
		require.ErrorIs(t, h.Cancel(t.Context()), task.ErrEnded)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, task.ErrCancelled)
		require.NoError(t, h.Remove(t.Context()))
		require.NoError(t, h.Remove(t.Context()), "it is not there")
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, task.ErrLost)
	})
}

// last gives the error that ends a sequence; nil if none does.
func last[T any](seq iter.Seq2[T, error]) (last error) {
	for _, last = range seq {
	}
	return last
}

func TestProgressIsListed(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		h, err := q.Submit(t.Context(), 1)
		require.NoError(t, err)
		w := newWorker(t, be, "q")
		g := w.next()
		next := make(chan int)
		go func() {
			for i := range next {
				assert.True(t, w.report(g, backend.ReportProgress, fmt.Sprintf(`{"current":%d,"total":3}`, i)))
			}
			w.report(g, backend.ReportDone, "0")
		}()
		next <- 1
		var seen []int64
		for p, err := range h.Progress(t.Context()) {
			require.NoError(t, err)
			assert.EqualValues(t, 3, p.Total)
			if seen = append(seen, p.Current); p.Current < 3 {
				next <- int(p.Current) + 1
			} else {
				close(next)
			}
		}
		assert.Equal(t, []int64{1, 2, 3}, seen)

		ctx, cancel := context.WithCancel(t.Context())
		h, err = q.Submit(t.Context(), 1)
		require.NoError(t, err)
		go cancel()
		require.ErrorIs(t, last(h.Progress(ctx)), context.Canceled)
		require.ErrorIs(t, last(q.Handle("nothing").Progress(t.Context())), task.ErrLost)
	})
}

func TestDeadTasks(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		w := newWorker(t, be, "q")
		for i := range 3 {
			_, err := q.Submit(t.Context(), i, task.ID(fmt.Sprint(i)))
			require.NoError(t, err)
			require.True(t, w.report(w.next(), backend.ReportDead, `{"message":"bad"}`))
			<-time.After(time.Second)
		}
		text := task.NewQueue[string, int](be, ns, "q", task.Config{})
		for d, err := range text.Dead(t.Context()) {
			require.NoError(t, err)
			require.ErrorIs(t, d.ParamsErr, task.ErrForeignPayload)
		}
		var ids []string
		for d, err := range q.Dead(t.Context()) {
			require.NoError(t, err)
			require.NoError(t, d.ParamsErr)
			require.ErrorIs(t, d.Err, task.ErrDead)
			require.ErrorContains(t, d.Err, "bad")
			assert.Equal(t, fmt.Sprint(d.Params), d.ID)
			ids = append(ids, d.ID)
		}
		assert.Equal(t, []string{"0", "1", "2"}, ids)

		n, err := q.Revive(t.Context(), "0", "nothing")
		require.ErrorIs(t, err, task.ErrNotDead)
		assert.Equal(t, 1, n)
		n, err = q.Remove(t.Context(), "1", "2")
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		n, err = q.Remove(t.Context(), "0")
		require.ErrorIs(t, err, task.ErrRunning)
		assert.Zero(t, n)
		for s, err := range q.List(t.Context(), task.Waiting) {
			require.NoError(t, err)
			assert.Equal(t, "0", s.ID)
			assert.Equal(t, task.Waiting, s.State)
			assert.Zero(t, s.Attempts)
		}
		stats, err := q.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Stats{Waiting: 1, Oldest: 3 * time.Second, Listeners: 1}, stats)
		require.True(t, w.report(w.next(), backend.ReportDone, "1"))
	})
}

func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		require.NoError(t, q.Pause(t.Context()))
		_, err := q.Submit(t.Context(), 1)
		require.NoError(t, err)
		w := newWorker(t, be, "q")
		_, ok := w.fetch()
		assert.False(t, ok)
		stats, err := q.Stats(t.Context())
		require.NoError(t, err)
		assert.True(t, stats.Paused)
		require.NoError(t, q.Resume(t.Context()))
		<-w.reply.Wake
		_, ok = w.fetch()
		assert.True(t, ok)
	})
}

func TestBadInputIsRefusedBeforeAnythingIsSent(t *testing.T) {
	be := memory.New()
	defer be.Close()
	good := task.NewQueue[int, int](be, ns, "q", task.Config{})
	for name, opt := range map[string]task.Option{
		"id":              task.ID(""),
		"id with NUL":     task.ID("a\x00b"),
		"timeout":         task.Timeout(-time.Second),
		"short timeout":   task.Timeout(time.Microsecond),
		"attempt timeout": task.AttemptTimeout(0),
		"retention":       task.Retention(-1),
		"retries":         task.Retries(-1),
		"deaths":          task.MaxDeaths(0),
		"delay":           task.Delay(-time.Second),
		"class":           task.Class(9),
		"policy":          task.Policy(9),
	} {
		_, err := good.Submit(t.Context(), 1, opt)
		require.ErrorIs(t, err, backend.ErrInvalid, name)
		_, err = good.Query(t.Context(), 1, opt)
		require.ErrorIs(t, err, backend.ErrInvalid, name)
	}
	_, err := good.Submit(t.Context(), 1, task.Delay(time.Hour), task.Timeout(time.Minute))
	require.ErrorIs(t, err, backend.ErrInvalid, "it would expire before it is due")
	_, err = good.Submit(t.Context(), 1, task.Auto)
	require.ErrorIs(t, err, backend.ErrInvalid, "submit is remote")

	for name, cfg := range map[string]task.Config{
		"timeout":   {Timeout: -1},
		"attempt":   {AttemptTimeout: -1},
		"retention": {Retention: time.Microsecond},
		"graveyard": {Graveyard: -1},
		"retries":   {Retries: -1},
		"deaths":    {MaxDeaths: -1},
		"size":      {MaxSize: -1},
		"policy":    {Policy: 9},
	} {
		q := task.NewQueue[int, int](be, ns, "q", cfg)
		_, err := q.Submit(t.Context(), 1)
		require.ErrorIs(t, err, backend.ErrInvalid, name)
		_, err = q.Query(t.Context(), 1)
		require.ErrorIs(t, err, backend.ErrInvalid, name)
		require.ErrorIs(t, q.Listen(t.Context(), nil), backend.ErrInvalid, name)
	}
	broken := task.NewQueue[int, int](be, ns, "", task.Config{})
	_, err = broken.Stats(t.Context())
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorIs(t, broken.Pause(t.Context()), backend.ErrInvalid)
	_, err = broken.Revive(t.Context(), "x")
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorIs(t, broken.Handle("x").Cancel(t.Context()), backend.ErrInvalid)
	_, err = broken.Handle("x").State(t.Context())
	require.ErrorIs(t, err, backend.ErrInvalid)
	_, err = broken.Wait(t.Context(), "x")
	require.ErrorIs(t, err, backend.ErrInvalid)
	for _, err := range broken.Dead(t.Context()) {
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
	_, err = task.NewQueue[int, int](nil, ns, "q", task.Config{}).Stats(t.Context())
	require.ErrorIs(t, err, backend.ErrInvalid)

	stats, err := good.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, task.Stats{}, stats)
}

func TestPayloadsHaveALimit(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[string, string](be, ns, "q", task.Config{MaxSize: 100})
		_, err := q.Submit(t.Context(), strings.Repeat("x", 98))
		require.NoError(t, err)
		_, err = q.Submit(t.Context(), strings.Repeat("x", 99))
		require.ErrorIs(t, err, task.ErrTooLarge)
		c := task.NewQueue[chan int, string](be, ns, "q", task.Config{})
		_, err = c.Submit(t.Context(), make(chan int))
		require.ErrorIs(t, err, backend.ErrInvalid, "it cannot be encoded")
	})
}

// shout is a codec of strings.
type shout struct{}

func (shout) Name() string                  { return "shout" }
func (shout) Marshal(v any) ([]byte, error) { return []byte(strings.ToUpper(v.(string))), nil }
func (shout) Unmarshal(data []byte, v any) error {
	if p, ok := v.(*string); ok {
		*p = string(data)
		return nil
	}
	return errors.New("not a string")
}

func TestCodec(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[string, string](be, ns, "q", task.Config{Codec: shout{}})
		go func() {
			w := newWorker(t, be, "q")
			g := w.next()
			assert.Equal(t, "HEY", string(g.Task.Payload))
			assert.Contains(t, string(g.Task.Meta), "shout")
			w.report(g, backend.ReportDone, "HO")
		}()
		res, err := q.Query(t.Context(), "hey")
		require.NoError(t, err)
		assert.Equal(t, "HO", res)
	})
}

func TestErrorsOfHandlers(t *testing.T) {
	declared := &task.Error{Code: "x", Message: "first"}
	again := &task.Error{Code: "x", Message: "second", Retryable: true}
	require.ErrorIs(t, fmt.Errorf("a: %w", declared), again)
	require.NotErrorIs(t, &task.Error{}, &task.Error{})
	require.NotErrorIs(t, declared, errOops)
	assert.Equal(t, "x", (&task.Error{Code: "x"}).Error())
	require.NoError(t, task.Final(nil))
	require.NoError(t, task.RetryAfter(nil, time.Second))
	require.ErrorIs(t, task.Final(errOops), errOops)
	require.ErrorIs(t, task.RetryAfter(errOops, time.Second), errOops)
	assert.Equal(t, "oops", task.RetryAfter(errOops, time.Second).Error())
}

func TestExponentialBackoff(t *testing.T) {
	b := task.ExponentialBackoff(time.Second, time.Minute)
	for failed, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute, 0: time.Second,
	} {
		for range 100 {
			d := b(failed, errOops)
			assert.LessOrEqual(t, d, want)
			assert.GreaterOrEqual(t, d, want/2)
		}
	}
	assert.Zero(t, task.ExponentialBackoff(0, 0)(1, nil))
	for tiny := range time.Duration(5) {
		assert.LessOrEqual(t, task.ExponentialBackoff(tiny, time.Hour)(1, nil), tiny)
	}
}

// Whoever stops listening to the progress is told so, once.
func TestProgressEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		h, err := q.Submit(t.Context(), 1)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		errs := 0
		for _, err := range h.Progress(ctx) {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			errs++
		}
		assert.Equal(t, 1, errs)
	})
}

// With nothing configured the next attempt begins after about a second.
func TestRetriesWaitByDefault(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Backoff = nil
		q := queueOf[int, int](r, "q")
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			if t.Attempt() == 1 {
				return 0, errOops
			}
			return t.Attempt(), nil
		})
		begin := time.Now()
		got, err := q.Query(r.Context(), 1, task.Retries(1))
		require.NoError(r, err)
		assert.Equal(r, 2, got)
		assert.GreaterOrEqual(r, time.Since(begin), 500*time.Millisecond)
		assert.LessOrEqual(r, time.Since(begin), time.Second+time.Millisecond)
	})
}

func TestSubmissionsAreObserved(t *testing.T) {
	be := memory.New()
	defer be.Close()
	var seen []backend.Event
	q := task.NewQueue[int, int](be, ns, "q", task.Config{
		Observer: backend.ObserverFunc(func(e backend.Event) { seen = append(seen, e) }),
	})
	for range 2 { // the first time only
		_, err := q.Submit(t.Context(), 1, task.ID("x"))
		require.NoError(t, err)
		assert.Equal(t, []backend.Event{{Kind: backend.EventSubmitted, Namespace: ns, Member: "x"}}, seen)
	}
}

func TestMetaTravelsAsLittleAsPossible(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		w := newWorker(t, be, "q")
		_, err := q.Submit(t.Context(), 1)
		require.NoError(t, err)
		assert.Empty(t, w.next().Task.Meta)
		_, err = q.Submit(t.Context(), 1, task.Retries(2), task.AttemptTimeout(time.Second))
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(w.next().Task.Meta, &m))
		assert.Equal(t, map[string]any{"retries": 2.0, "attempt_timeout": 1e9}, m)
	})
}

func TestDelayAndClasses(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		h, err := q.Submit(t.Context(), 1, task.At(time.Now().Add(2*time.Hour)), task.High)
		require.NoError(t, err, "the default timeout counts from when it is due")
		s, err := h.State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Scheduled, s.State)
		assert.Equal(t, 2*time.Hour, s.Due.Sub(s.Submitted))
		assert.Equal(t, 3*time.Hour, s.Deadline.Sub(s.Submitted))
		h, err = q.Submit(t.Context(), 1, task.At(time.Now().Add(-time.Hour)), task.Low)
		require.NoError(t, err)
		s, err = h.State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, task.Waiting, s.State)
	})
}

func TestWhatIsAskedOfAClosedBackendFails(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		h, err := q.Submit(t.Context(), 1)
		require.NoError(t, err)
		ended := make(chan error)
		go func() { ended <- last(h.Progress(t.Context())) }()
		synctest.Wait()
		require.NoError(t, be.Close())
		require.ErrorIs(t, <-ended, backend.ErrClosed)
		_, err = h.State(t.Context())
		require.ErrorIs(t, err, backend.ErrClosed)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, backend.ErrClosed)
		require.ErrorIs(t, h.Cancel(t.Context()), backend.ErrClosed)
		require.ErrorIs(t, q.Pause(t.Context()), backend.ErrClosed)
		require.ErrorIs(t, last(h.Progress(t.Context())), backend.ErrClosed)
		require.ErrorIs(t, last(q.Dead(t.Context())), backend.ErrClosed)
		require.ErrorIs(t, last(q.List(t.Context(), task.Waiting)), backend.ErrClosed)
		_, err = q.Stats(t.Context())
		require.ErrorIs(t, err, backend.ErrClosed)
	})
}

func TestAListIsLeftWhenItsReaderHasEnough(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		for i := range 3 {
			_, err := q.Submit(t.Context(), i, task.ID(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		for most := 1; most <= 3; most++ {
			seen := 0
			for _, err := range q.List(t.Context(), task.Waiting) {
				require.NoError(t, err)
				if seen++; seen == most {
					break
				}
			}
			assert.Equal(t, most, seen)
		}
	})
}

// The handle of a task that was submitted elsewhere removes its result, too, if it is told to.
func TestOnceOfAHandle(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		_, err := q.Submit(t.Context(), 1, task.ID("id"))
		require.NoError(t, err)
		w := newWorker(t, be, "q")
		w.report(w.next(), backend.ReportDone, "42")
		for _, want := range []error{nil, task.ErrLost} {
			_, err = q.Handle("id", task.Once()).Wait(t.Context())
			require.ErrorIs(t, err, want)
		}
	})
}
