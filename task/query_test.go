package task_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/task"
)

// troubled is a store whose calls by those who submit can fail: before, or after they have happened.
type troubled struct {
	*memory.Backend
	submit      func() error // after it
	edit, stats error
	ids         []string // that were submitted
	forgotten   []string // and those that were to be forgotten

	changes        <-chan backend.TaskChange // if not nil, what a Watch tells
	watches, stops int
}

func (b *troubled) Watch(ctx context.Context, req backend.WatchRequest) (backend.WatchReply, error) {
	reply, err := b.Backend.Watch(ctx, req)
	if w := reply.Watching; w != nil {
		b.watches++
		stop := w.Stop
		w.Stop = sync.OnceFunc(func() { b.stops++; stop() })
		if b.changes != nil {
			w.Changes = b.changes
		}
	}
	return reply, err
}

func (b *troubled) Submit(ctx context.Context, req backend.SubmitRequest) (backend.SubmitReply, error) {
	b.ids, b.forgotten = append(b.ids, req.ID), append(b.forgotten, req.Forget...)
	reply, err := b.Backend.Submit(ctx, req)
	if err == nil && b.submit != nil {
		if err := b.submit(); err != nil {
			return backend.SubmitReply{}, err
		}
	}
	return reply, err
}

func (b *troubled) EditTasks(ctx context.Context, req backend.TaskEdit) (backend.TaskEditReply, error) {
	if b.edit != nil {
		return backend.TaskEditReply{}, b.edit
	}
	return b.Backend.EditTasks(ctx, req)
}

func (b *troubled) Stats(ctx context.Context, req backend.StatsRequest) (backend.QueueStats, error) {
	if b.stats != nil {
		return backend.QueueStats{}, b.stats
	}
	return b.Backend.Stats(ctx, req)
}

// inTrouble runs a test with such a store in a bubble, and a queue whose log is kept.
func inTrouble(t *testing.T, test func(t *testing.T, b *troubled, q *task.Queue[string, int], log *bytes.Buffer)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, log := &troubled{Backend: memory.New()}, new(bytes.Buffer)
		test(t, b, task.NewQueue[string, int](b, ns, "q", task.Config{
			MaxSize: 100, Logger: slog.New(slog.NewTextHandler(log, nil)),
		}), log)
		require.NoError(t, b.Close())
	})
}

// stateIn is how a task stands.
func stateIn(t *testing.T, q *task.Queue[string, int], id string) task.State {
	t.Helper()
	s, err := q.Handle(id).State(t.Context())
	require.NoError(t, err)
	return s.State
}

func TestAQueryThatCannotBeSent(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		ran := 0
		q = q.WithLocal(func(context.Context, *task.Task[string]) (int, error) { ran++; return 1, nil })
		for _, p := range []task.Policy{task.Remote, task.RemoteFirst, task.Auto} {
			_, err := q.Query(t.Context(), strings.Repeat("x", 100), p)
			require.ErrorIs(t, err, task.ErrTooLarge)
		}
		assert.Zero(t, ran)
		assert.Empty(t, b.ids)
		b.submit = func() error { return backend.ErrPermission }
		_, err := q.Query(t.Context(), "x")
		require.ErrorIs(t, err, backend.ErrPermission)
		require.NotErrorIs(t, err, task.ErrNoListener)
		assert.Equal(t, task.Waiting, stateIn(t, q, b.ids[0]), "it may be somebody else's by now")
	})
}

// Whoever gives up while his task is being submitted leaves none behind, even if he does not know whether it is there.
func TestAQueryThatIsGivenUpWhileItIsSent(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		ctx, cancel := context.WithCancel(t.Context())
		b.submit = func() error {
			cancel()
			return ctx.Err()
		}
		_, err := q.Query(ctx, "x")
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, task.Cancelled, stateIn(t, q, b.ids[0]))

		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		_, err = q.Query(ctx, "x", task.ID("named"))
		require.Error(t, err)
		assert.Equal(t, task.Waiting, stateIn(t, q, "named"), "others may wait for it")
	})
}

// away is a store that cannot be reached any more when somebody wants to wait, and does not say that his context has ended.
type away struct {
	*memory.Backend
	end func()
}

func (b away) Watch(context.Context, backend.WatchRequest) (backend.WatchReply, error) {
	b.end()
	return backend.WatchReply{}, backend.ErrUnavailable
}

func (b away) Submit(context.Context, backend.SubmitRequest) (backend.SubmitReply, error) {
	b.end()
	return backend.SubmitReply{}, backend.ErrUnavailable
}

// Whose context ends while the store is away learns of both.
func TestAWaitThatEndsWhileTheStoreIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		for name, wait := range map[string]func(context.Context, *task.Queue[int, int]) error{
			"query": func(ctx context.Context, q *task.Queue[int, int]) error { _, err := q.Query(ctx, 1); return err },
			"named query": func(ctx context.Context, q *task.Queue[int, int]) error {
				_, err := q.Query(ctx, 1, task.ID("id"))
				return err
			},
			"wait": func(ctx context.Context, q *task.Queue[int, int]) error { _, err := q.Wait(ctx, "id"); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			q := task.NewQueue[int, int](away{be, func() { <-ctx.Done() }}, ns, "q", task.Config{})
			err := wait(ctx, q)
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
			require.ErrorIs(t, err, backend.ErrUnavailable, name)
			require.NotErrorIs(t, err, task.ErrNoListener, name)
			cancel()

			q = task.NewQueue[int, int](away{be, func() {}}, ns, "q", task.Config{})
			err = wait(t.Context(), q)
			require.ErrorIs(t, err, backend.ErrUnavailable, name)
			require.NotErrorIs(t, err, context.DeadlineExceeded, name)
		}
	})
}

// A task has no more time than its only waiter, and says which of the two was over.
func TestTheTimeOfATaskIsThatOfItsWaiter(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		for waiter, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: time.Minute} {
			ctx, cancel := context.WithTimeout(t.Context(), waiter)
			begin, ended := time.Now(), make(chan error, 1)
			go func() {
				_, err := q.Query(ctx, "x", task.Timeout(time.Minute))
				ended <- err
			}()
			synctest.Wait()
			s, err := q.Handle(b.ids[len(b.ids)-1]).State(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, s.Deadline.Sub(s.Submitted))
			err = <-ended
			assert.Equal(t, want, time.Since(begin))
			assert.Equal(t, waiter == time.Second, errIs(err, context.DeadlineExceeded), "%v", err)
			assert.Equal(t, waiter == time.Hour, errIs(err, task.ErrExpired) && !errIs(err, context.DeadlineExceeded), "%v", err)
			cancel()
		}
	})
}

// Nor has a task that its waiter will not see begin.
func TestADelayedTaskHasNoMoreTimeThanItsWaiter(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := q.Query(ctx, "x", task.Delay(time.Minute), task.Timeout(time.Hour))
			ended <- err
		}()
		synctest.Wait()
		s, err := q.Handle(b.ids[0]).State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, time.Minute+time.Millisecond, s.Deadline.Sub(s.Submitted))
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
	})
}

// Whoever has waited leaves no watch behind.
func TestNoWatchIsLeft(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		h, err := q.Submit(t.Context(), "x")
		require.NoError(t, err)
		w := newWorker(t, b.Backend, "q")
		g := w.next()
		require.True(t, w.report(g, backend.ReportProgress, `{"current":1}`))
		for _, err := range h.Progress(t.Context()) {
			require.NoError(t, err)
			break
		}
		impatient := func(wait func(ctx context.Context) error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, wait(ctx), context.DeadlineExceeded)
		}
		impatient(func(ctx context.Context) error { return last(h.Progress(ctx)) })
		impatient(func(ctx context.Context) error { _, err := h.Wait(ctx); return err })
		assert.EqualValues(t, 3, b.watches)
		assert.EqualValues(t, 3, b.stops)
	})
}

// A task that vanishes while somebody waits for it is lost.
func TestATaskThatVanishes(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		h, err := q.Submit(t.Context(), "x")
		require.NoError(t, err)
		vanished := make(chan backend.TaskChange, 1)
		vanished <- backend.TaskChange{Task: backend.TaskInfo{ID: h.ID()}}
		b.changes = vanished
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, task.ErrLost)
	})
}

func TestAResultThatCannotBeRemovedIsThere(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], log *bytes.Buffer) {
		w := newWorker(t, b.Backend, "q")
		for _, trouble := range []error{nil, backend.ErrUnavailable} {
			b.edit = trouble
			go func() { w.report(w.next(), backend.ReportDone, "42") }()
			got, err := q.Query(t.Context(), "x", task.Once())
			require.NoError(t, err)
			assert.Equal(t, 42, got)
			assert.Equal(t, trouble != nil, strings.Contains(log.String(), "result was not removed"))
		}
	})
}

// Who gives up is told that nobody listens only if that is so.
func TestWhoGivesUpIsToldWhetherAnybodyListens(t *testing.T) {
	for name, c := range map[string]struct {
		before     func(b *troubled)
		listens    bool // somebody, who takes nothing
		noListener bool
		logged     string
		state      task.State
	}{
		"nobody":          {noListener: true, state: task.Cancelled},
		"somebody":        {listens: true, state: task.Cancelled},
		"cannot cancel":   {before: func(b *troubled) { b.edit = backend.ErrUnavailable }, logged: "task was not cancelled", state: task.Waiting},
		"cannot be asked": {before: func(b *troubled) { b.stats = backend.ErrUnavailable }, state: task.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], log *bytes.Buffer) {
				if c.listens {
					require.NoError(t, q.Pause(t.Context()))
					newWorker(t, b.Backend, "q").fetch()
				}
				if c.before != nil {
					c.before(b)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				_, err := q.Query(ctx, "x")
				require.ErrorIs(t, err, context.Canceled)
				assert.Equal(t, c.noListener, errIs(err, task.ErrNoListener), "%v", err)
				assert.Equal(t, c.state == task.Waiting, errIs(err, backend.ErrUnavailable), "%v", err)
				assert.Equal(t, c.logged != "", log.Len() > 0)
				assert.Contains(t, log.String(), c.logged)
				assert.Equal(t, c.state, stateIn(t, q, b.ids[0]))

				b.edit, b.stats = nil, nil
				_, err = q.Submit(t.Context(), "next")
				require.NoError(t, err)
				if c.state == task.Cancelled {
					assert.Equal(t, task.Unknown, stateIn(t, q, b.ids[0]), "nobody else knows of it")
				}
			})
		})
	}
}

func TestAQueryEndsWithItsBackend(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		time.AfterFunc(time.Second, func() { _ = b.Close() })
		_, err := q.Query(t.Context(), "x")
		require.ErrorIs(t, err, backend.ErrClosed)
	})
}

// What was cancelled elsewhere is not done here, and where nobody can do it both reasons are told.
func TestWhatIsNotTriedHere(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		_, err := q.Query(t.Context(), "x", task.Auto)
		require.ErrorIs(t, err, task.ErrNoListener)
		require.ErrorIs(t, err, task.ErrNoLocal)

		w := newWorker(t, b.Backend, "q")
		w.fetch()
		q = q.WithLocal(func(context.Context, *task.Task[string]) (int, error) { return 0, errOops })
		go func() {
			g := w.next()
			assert.NoError(t, q.Handle(g.Task.ID).Cancel(context.Background()))
		}()
		_, err = q.Query(t.Context(), "x", task.RemoteFirst)
		require.ErrorIs(t, err, task.ErrCancelled)
		require.NotErrorIs(t, err, errOops)
	})
}

func TestARevivalThatFailsSaysSo(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		b.edit = backend.ErrUnavailable
		_, err := q.Revive(t.Context(), "x")
		require.ErrorIs(t, err, backend.ErrUnavailable)
	})
}

// What is done in this process is told to the observer like anything else.
func TestLocalRunsAreObserved(t *testing.T) {
	onMemory(t, func(r *rig) {
		var seen []backend.Event
		r.cfg.Observer = backend.ObserverFunc(func(e backend.Event) { seen = append(seen, e) })
		q := queueOf[int, int](r, "q").WithLocal(echo[int])
		_, err := q.Query(r.Context(), 1, task.Local, task.ID("id"))
		require.NoError(r, err)
		require.Len(r, seen, 2)
		for i, kind := range []backend.EventKind{backend.EventStarted, backend.EventDone} {
			assert.Equal(r, backend.Event{Kind: kind, Namespace: ns, Member: "id", Count: seen[i].Count}, seen[i])
		}
	})
}

// The log says that somebody else has the task now, only if that is so.
func TestTheLogSaysThatATaskIsGone(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		end := listen(r, q, h)
		handle := submit(r, q, 1)
		synctest.Wait()
		assert.NotContains(r, r.logged(), "not ours")
		require.NoError(r, handle.Cancel(r.Context()))
		require.ErrorIs(r, <-ended, task.ErrCancelled)
		synctest.Wait()
		assert.Contains(r, r.logged(), "not ours")
		end()

		done := queueOf[int, int](r, "done")
		before := len(r.logged())
		end = listen(r, done, echo)
		_, err := done.Query(r.Context(), 1)
		require.NoError(r, err)
		synctest.Wait()
		assert.NotContains(r, r.logged()[before:], "not ours")
		end()
	})
}

// A result that was read is forgotten with the next submission, and with no other.
func TestWhatWasReadIsForgottenOnce(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		w := newWorker(t, b.Backend, "q")
		go func() { w.report(w.next(), backend.ReportDone, "42") }()
		_, err := q.Query(t.Context(), "x")
		require.NoError(t, err)
		for range 3 {
			_, err := q.Submit(t.Context(), "y")
			require.NoError(t, err)
		}
		assert.Equal(t, b.ids[:1], b.forgotten)
	})
}

func TestWhatIsWrongWithASubmissionIsNotSent(t *testing.T) {
	inTrouble(t, func(t *testing.T, b *troubled, q *task.Queue[string, int], _ *bytes.Buffer) {
		for _, opt := range []task.Option{task.ID("a\x00b"), task.Timeout(time.Microsecond), task.MaxDeaths(0), task.Delay(-1)} {
			_, err := q.Submit(t.Context(), "x", opt)
			require.ErrorIs(t, err, backend.ErrInvalid)
			_, err = q.Query(t.Context(), "x", opt)
			require.ErrorIs(t, err, backend.ErrInvalid)
		}
		assert.Empty(t, b.ids)
	})
}

// A task that goes on tells how far it is, and why it had to begin again.
func TestTheStateOfATaskThatGoesOn(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, func(ctx context.Context, t *task.Task[int]) (int, error) {
			if t.Attempt() == 1 {
				return 0, &task.Error{Code: "early", Message: "too early", Retryable: true}
			}
			if err := t.Progress(1, 2, "half"); err != nil {
				return 0, err
			}
			return untilItEnds(ctx, t)
		})
		h := submit(r, q, 1, task.Retries(1))
		<-time.After(time.Minute)
		s := stateOf(r, h)
		assert.Equal(r, task.Running, s.State)
		assert.Equal(r, task.Progress{Current: 1, Total: 2, Message: "half"}, s.Progress)
		require.ErrorIs(r, s.Err, &task.Error{Code: "early"})
		require.NoError(r, h.Cancel(r.Context()))

		listen(r, queueOf[int, int](r, "other"), untilItEnds)
		fresh := submit(r, queueOf[int, int](r, "other"), 1)
		s = stateOf(r, fresh)
		assert.Equal(r, task.Running, s.State)
		require.NoError(r, s.Err)
		assert.Zero(r, s.Progress)
		require.NoError(r, fresh.Cancel(r.Context()))
	})
}
