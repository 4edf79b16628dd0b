package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

func backoffOf(d time.Duration) func(int, error) time.Duration {
	return func(int, error) time.Duration { return d }
}

func TestATaskIsDone(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[string, int](r, "q")
		begin := time.Now()
		listen(r, q, func(ctx context.Context, t *task.Task[string]) (int, error) {
			assert.Equal(r, "id", t.ID())
			assert.Equal(r, "q", t.Queue())
			assert.Equal(r, 1, t.Attempt())
			assert.Positive(r, t.Fence())
			assert.WithinDuration(r, begin.Add(time.Minute), t.Deadline(), time.Millisecond)
			assert.WithinDuration(r, begin, t.SubmittedAt(), time.Millisecond)
			until, ok := ctx.Deadline()
			assert.True(r, ok)
			assert.WithinDuration(r, begin.Add(time.Minute), until, time.Millisecond)
			assert.NoError(r, ctx.Err())
			t.Logger().Info("hello")
			t.Logger().Info("again")
			return len(t.Params()), nil
		})
		n, err := q.Query(r.Context(), "four", task.ID("id"), task.Timeout(time.Minute))
		require.NoError(r, err)
		assert.Equal(r, 4, n)
		assert.Contains(r, r.logged(), "msg=hello queue=q id=id attempt=1")
		assert.Equal(r, []string{"started", "done"}, r.observed())
	})
}

func TestHandlersSeeTheValuesOfTheServer(t *testing.T) {
	onMemory(t, func(r *rig) {
		type key struct{}
		q := queueOf[int, string](r, "q")
		r.run(func(ctx context.Context) error {
			return q.Listen(context.WithValue(ctx, key{}, "value"), func(ctx context.Context, _ *task.Task[int]) (string, error) {
				return ctx.Value(key{}).(string), nil
			})
		})
		got, err := q.Query(r.Context(), 0)
		require.NoError(r, err)
		assert.Equal(r, "value", got)
	})
}

func TestResultsOfAllKinds(t *testing.T) {
	onMemory(t, func(r *rig) {
		pointers := queueOf[*int, *int](r, "pointers")
		listen(r, pointers, echo)
		got, err := pointers.Query(r.Context(), nil)
		require.NoError(r, err)
		assert.Nil(r, got)
		empty := queueOf[struct{}, struct{}](r, "empty")
		listen(r, empty, echo)
		_, err = empty.Query(r.Context(), struct{}{})
		require.NoError(r, err)

		r.cfg.Codec = shout{}
		text := queueOf[string, string](r, "text")
		listen(r, text, echo)
		for in, want := range map[string]string{"": "", "abc": "ABC"} {
			got, err := text.Query(r.Context(), in)
			require.NoError(r, err)
			assert.Equal(r, want, got)
		}
	})
}

// pointed is an error whose methods need more than a nil pointer, as many do.
type pointed struct{ what string }

func (e *pointed) Error() string   { return e.what }
func (e *pointed) Is(error) bool   { return e.what == "" }
func (e *pointed) As(any) bool     { return e.what == "" }
func (e *pointed) Unwrap() []error { return nil }

func TestErrorsThatAreNilPointers(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		var ours *task.Error
		var theirs *pointed
		all := []error{ours, fmt.Errorf("here: %w", ours), task.RetryAfter(ours, 0), theirs, task.Final(theirs)}
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) { return 0, all[t.Params()] })
		for i := range all {
			_, err := q.Query(r.Context(), i)
			var e *task.Error
			require.ErrorAs(r, err, &e)
			assert.NotEmpty(r, e.Message)
			assert.Equal(r, i >= 3, e.Code == task.CodePanic, "theirs panics when it is asked what it is")
		}
		assert.Equal(r, "<nil>", ours.Error())
	})
}

// What becomes of a task is decided by what its handler does.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	declared := &task.Error{Code: "declared", Message: "declared oops"}
	for name, c := range map[string]struct {
		handler  func() (int, error)
		opts     []task.Option
		state    task.State
		attempts int
		code     string
		message  string
		took     time.Duration
	}{
		"done":                  {func() (int, error) { return 1, nil }, nil, task.Done, 1, "", "", 0},
		"an error":              {func() (int, error) { return 0, errOops }, nil, task.Failed, 1, "", "oops", 0},
		"declared as final":     {func() (int, error) { return 0, declared }, retries(2), task.Failed, 1, "declared", "declared oops", 0},
		"wrapped":               {func() (int, error) { return 0, fmt.Errorf("x: %w", declared) }, nil, task.Failed, 1, "declared", "x: declared oops", 0},
		"marked as final":       {func() (int, error) { return 0, task.Final(errOops) }, retries(2), task.Failed, 1, "", "oops", 0},
		"retries are used up":   {func() (int, error) { return 0, errOops }, retries(2), task.Dead, 3, "", "oops", 2 * time.Second},
		"later":                 {func() (int, error) { return 0, task.RetryAfter(errOops, time.Minute) }, retries(1), task.Dead, 2, "", "oops", time.Minute},
		"later, without any":    {func() (int, error) { return 0, task.RetryAfter(errOops, time.Minute) }, nil, task.Failed, 1, "", "oops", 0},
		"a panic":               {func() (int, error) { panic("ouch") }, nil, task.Failed, 1, task.CodePanic, "panic: ouch", 0},
		"a panic is retried":    {func() (int, error) { panic(errOops) }, retries(1), task.Dead, 2, task.CodePanic, "panic: oops", time.Second},
		"a long panic is short": {func() (int, error) { panic(strings.Repeat("x", 999)) }, nil, task.Failed, 1, task.CodePanic, "panic: " + strings.Repeat("x", 200), 0},
		"the end of goroutine":  {func() (int, error) { runtime.Goexit(); return 1, nil }, nil, task.Failed, 1, task.CodePanic, "handler ended its goroutine", 0},
		"the same, retried":     {func() (int, error) { runtime.Goexit(); return 1, nil }, retries(1), task.Dead, 2, task.CodePanic, "handler ended its goroutine", time.Second},
		"a long message is cut": {func() (int, error) { return 0, task.Final(fmt.Errorf("%s", strings.Repeat("ä", 9999))) }, nil, task.Failed, 1, "", strings.Repeat("ä", 4096) + "...", 0},
		"a short one is not":    {func() (int, error) { return 0, fmt.Errorf("%s", strings.Repeat("x", 8192)) }, nil, task.Failed, 1, "", strings.Repeat("x", 8192), 0},
		"an own time limit":     {func() (int, error) { return 0, fmt.Errorf("x: %w", task.ErrTimeout) }, nil, task.Failed, 1, task.CodeTimeout, "x: attempt timed out", 0},
	} {
		t.Run(name, func(t *testing.T) {
			onMemory(t, func(r *rig) {
				r.cfg.Backoff = backoffOf(time.Second)
				q := queueOf[int, int](r, "q")
				listen(r, q, func(context.Context, *task.Task[int]) (int, error) { return c.handler() })
				begin := time.Now()
				h := submit(r, q, 1, c.opts...)
				res, err := h.Wait(r.Context())
				assert.Equal(r, c.took, time.Since(begin).Round(time.Millisecond))
				s := stateOf(r, h)
				assert.Equal(r, c.state, s.State)
				assert.Equal(r, c.attempts, s.Attempts)
				assert.Zero(r, s.Deaths)
				if c.state == task.Done {
					require.NoError(r, err)
					assert.Equal(r, 1, res)
					return
				}
				var e *task.Error
				require.ErrorAs(r, err, &e)
				assert.Equal(r, c.code, e.Code)
				assert.Equal(r, c.message, e.Message)
				assert.Equal(r, c.state == task.Dead, errIs(err, task.ErrDead))
				var want []string
				for range c.attempts - 1 {
					want = append(want, "started", "retried")
				}
				assert.Equal(r, append(want, "started", "failed"), r.observed())
				if c.code == task.CodePanic && !strings.HasPrefix(name, "the") {
					assert.Contains(r, r.logged(), "worker_test.go", "the stack")
				}
			})
		})
	}
}

// The next attempt begins when its handler says, also if that is at once.
func TestRetryAfterNothing(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Backoff = backoffOf(time.Second)
		q := queueOf[int, int](r, "q")
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			if t.Attempt() == 1 {
				return 0, task.RetryAfter(errOops, 0)
			}
			return t.Attempt(), nil
		})
		begin := time.Now()
		got, err := q.Query(r.Context(), 0, task.Retries(1))
		require.NoError(r, err)
		assert.Equal(r, 2, got)
		assert.Zero(r, time.Since(begin))
	})
}

func retries(n int) []task.Option { return []task.Option{task.Retries(n)} }

func TestBackoffGrowsWithWhatFailed(t *testing.T) {
	onMemory(t, func(r *rig) {
		var asked []string
		r.cfg.Backoff = func(failed int, err error) time.Duration {
			asked = append(asked, fmt.Sprint(failed, " ", err))
			if failed == 2 {
				return -time.Hour
			}
			if failed == 3 {
				panic("no idea")
			}
			return time.Duration(failed) * time.Second
		}
		q := queueOf[int, int](r, "q")
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			if t.Attempt() < 5 {
				return 0, errOops
			}
			return t.Attempt(), nil
		})
		begin := time.Now()
		got, err := q.Query(r.Context(), 0, task.Retries(9))
		require.NoError(r, err)
		assert.Equal(r, 5, got)
		assert.Equal(r, []string{"1 oops", "2 oops", "3 oops", "4 oops"}, asked)
		assert.Greater(r, time.Since(begin), 5*time.Second, "after the panic as long as by default")
		assert.Contains(r, r.logged(), "no idea")
	})
}

func TestWhatCannotBeDecodedIsDead(t *testing.T) {
	onMemory(t, func(r *rig) {
		texts, numbers := queueOf[string, int](r, "q"), queueOf[int, int](r, "q")
		ran := 0
		listen(r, numbers, func(_ context.Context, t *task.Task[int]) (int, error) { ran++; return t.Params(), nil })
		h := submit(r, texts, "no number", task.Retries(5))
		_, err := h.Wait(r.Context())
		require.ErrorIs(r, err, task.ErrDead)
		require.ErrorIs(r, err, task.ErrForeignPayload)
		require.ErrorIs(r, err, &task.Error{Code: task.CodePayload})
		assert.Equal(r, 1, stateOf(r, h).Attempts)

		r.cfg.Codec = shout{}
		_, err = queueOf[string, int](r, "q").Query(r.Context(), "of another codec")
		require.ErrorIs(r, err, task.ErrForeignPayload)

		_, err = r.Submit(r.Context(), backend.SubmitRequest{
			Namespace: ns, Queue: "q", ID: "damaged", Payload: []byte("1"), Meta: []byte("{"), Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 1,
		})
		require.NoError(r, err)
		_, err = numbers.Wait(r.Context(), "damaged")
		require.ErrorIs(r, err, task.ErrForeignPayload)
		assert.Zero(r, ran)
		synctest.Wait()
		for _, e := range r.events {
			if e.Kind == backend.EventFailed {
				require.ErrorIs(r, e.Err, task.ErrForeignPayload)
			}
		}

		got, err := numbers.Query(r.Context(), 7)
		require.NoError(r, err, "the queue goes on")
		assert.Equal(r, 7, got)
	})
}

// bomb panics when it is decoded, or when it is encoded.
type bomb struct{ Encode bool }

func (b bomb) MarshalJSON() ([]byte, error) {
	if b.Encode {
		panic("encoding")
	}
	return []byte("{}"), nil
}

func (*bomb) UnmarshalJSON([]byte) error { panic("decoding") }

func TestPanicsOfCodecs(t *testing.T) {
	onMemory(t, func(r *rig) {
		decoding := queueOf[bomb, int](r, "decoding")
		listen(r, decoding, func(context.Context, *task.Task[bomb]) (int, error) { return 0, nil })
		_, err := decoding.Query(r.Context(), bomb{})
		require.ErrorIs(r, err, task.ErrDead)
		require.ErrorIs(r, err, task.ErrForeignPayload)

		encoding := queueOf[int, bomb](r, "encoding")
		listen(r, encoding, func(context.Context, *task.Task[int]) (bomb, error) { return bomb{true}, nil })
		_, err = encoding.Query(r.Context(), 0)
		require.ErrorIs(r, err, &task.Error{Code: task.CodePanic})
	})
}

func TestResultsThatCannotBeSent(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.MaxSize = 100
		long := queueOf[int, string](r, "long")
		listen(r, long, func(context.Context, *task.Task[int]) (string, error) { return strings.Repeat("x", 99), nil })
		h := submit(r, long, 0, task.Retries(5))
		_, err := h.Wait(r.Context())
		require.ErrorIs(r, err, &task.Error{Code: task.CodeResult})
		assert.Equal(r, 1, stateOf(r, h).Attempts)
		assert.Equal(r, task.Failed, stateOf(r, h).State)
		assert.Contains(r, r.logged(), "task cannot be done")
		require.ErrorIs(r, r.events[len(r.events)-1].Err, task.ErrTooLarge)

		odd := queueOf[int, chan int](r, "odd")
		listen(r, odd, func(context.Context, *task.Task[int]) (chan int, error) { return make(chan int), nil })
		_, err = odd.Query(r.Context(), 0)
		require.ErrorIs(r, err, &task.Error{Code: task.CodeResult})
	})
}

// An observer is told on our goroutines, and in the midst of things: what it does wrong does not become the task's trouble.
func TestAnObserverThatPanicsHarmsNoTask(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Observer = backend.ObserverFunc(func(e backend.Event) { panic("told of " + e.Kind.String()) })
		q := queueOf[int, int](r, "q").WithLocal(echo[int])
		listen(r, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			if t.Attempt() == 1 {
				return 0, errOops
			}
			return t.Params(), nil
		})
		for _, p := range []task.Policy{task.Remote, task.Local} {
			got, err := q.Query(r.Context(), 42, p, task.Retries(1))
			require.NoError(r, err)
			assert.Equal(r, 42, got)
		}
		synctest.Wait()
		for _, kind := range []backend.EventKind{backend.EventSubmitted, backend.EventStarted, backend.EventRetried, backend.EventDone} {
			assert.Contains(r, r.logged(), "told of "+kind.String())
		}
	})
}

func TestObserversAndLoggersOfServers(t *testing.T) {
	onMemory(t, func(r *rig) {
		var mine []backend.Event
		q := queueOf[int, int](r, "q")
		s := task.NewServer(r.store, ns, task.ServerConfig{
			Observer: backend.ObserverFunc(func(e backend.Event) { mine = append(mine, e) }),
			Logger:   slog.New(slog.DiscardHandler),
		})
		require.NoError(r, task.Serve(s, q, func(_ context.Context, t *task.Task[int]) (int, error) {
			<-time.After(time.Second)
			if t.Attempt() == 1 {
				return 0, errOops
			}
			return 0, nil
		}, task.ServeConfig{}))
		r.run(s.Run)
		h := submit(r, q, 1, task.Retries(1), task.Delay(time.Minute))
		_, err := h.Wait(r.Context())
		require.NoError(r, err)
		assert.Empty(r, r.observed(), "by the queue's own")
		require.Len(r, mine, 4)
		for i := range mine {
			assert.Equal(r, h.ID(), mine[i].Member)
			assert.Equal(r, ns, mine[i].Namespace)
			assert.Positive(r, mine[i].Fence)
			assert.NotEmpty(r, mine[i].Token)
		}
		assert.Equal(r, backend.EventStarted, mine[0].Kind)
		assert.Equal(r, time.Minute, mine[0].Duration)
		assert.Equal(r, 1, mine[0].Count)
		assert.Equal(r, backend.EventRetried, mine[1].Kind)
		assert.Equal(r, time.Second, mine[1].Duration)
		require.ErrorIs(r, mine[1].Err, errOops)
		assert.Equal(r, 2, mine[2].Count)
		assert.Equal(r, backend.EventDone, mine[3].Kind)
		require.NoError(r, mine[3].Err)
		synctest.Wait()
	})
}

// The goroutines of handlers are used again, and not too many are kept for that.
func TestWorkersWaitForMore(t *testing.T) {
	onMemory(t, func(r *rig) {
		q, g := queueOf[int, int](r, "q"), newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 100})
		require.NoError(r, task.Serve(s, q, pass[int](g), task.ServeConfig{}))
		r.run(s.Run)
		for range 2 {
			submit(r, q, 1)
			synctest.Wait()
			assert.Zero(r, task.Workers(s))
			g.through <- struct{}{}
			synctest.Wait()
			assert.Equal(r, 1, task.Workers(s))
		}
		for range 100 {
			submit(r, q, 1)
		}
		assert.Equal(r, 100, g.running())
		close(g.through)
		synctest.Wait()
		assert.Equal(r, 64, task.Workers(s))
	})
}
