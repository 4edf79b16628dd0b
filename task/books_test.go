package task_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// However a task ends, its place is free again and nothing is remembered of it: a server that runs for months counts right.
func TestTheBooksOfAServerBalance(t *testing.T) {
	lateBy := func(r *rig, d time.Duration) {
		late := true
		r.answer(func(req any) error {
			if fetch, ok := req.(backend.FetchRequest); ok && late && fetch.Max > 0 {
				late = false
				<-time.After(d)
			}
			return nil
		})
	}
	refuse := func(r *rig, refused func(req any) bool, err error) {
		r.on(func(_ context.Context, req any) error {
			if refused(req) {
				return err
			}
			return nil
		})
	}
	reports := func(req any) bool { _, ok := req.(backend.ReportRequest); return ok }
	renewals := func(req any) bool { _, ok := req.(backend.RenewRequest); return ok }
	ok := func(context.Context, *task.Task[int]) (int, error) { return 1, nil }
	for name, c := range map[string]struct {
		before func(r *rig)
		h      task.Handler[int, int]
		opts   []task.Option
		after  func(r *rig, h *task.Handle[int]) // while it runs
		logged string
	}{
		"done":     {h: ok},
		"failed":   {h: func(context.Context, *task.Task[int]) (int, error) { return 0, errOops }, opts: retries(1)},
		"panicked": {h: func(context.Context, *task.Task[int]) (int, error) { panic("ouch") }},
		"timeout":  {h: untilItEnds, opts: []task.Option{task.AttemptTimeout(time.Second)}},
		"expired":  {h: untilItEnds, opts: []task.Option{task.Timeout(time.Second)}},
		"cancelled": {h: untilItEnds, after: func(r *rig, h *task.Handle[int]) {
			assert.NoError(r, h.Cancel(context.Background()))
		}},
		"stuck": {h: func(context.Context, *task.Task[int]) (int, error) {
			<-time.After(time.Minute)
			return 1, nil
		}, opts: []task.Option{task.AttemptTimeout(time.Second)}},
		"lost":             {h: untilItEnds, opts: []task.Option{task.Timeout(time.Minute)}, before: func(r *rig) { refuse(r, renewals, backend.ErrUnavailable) }},
		"fetched too late": {h: ok, before: func(r *rig) { lateBy(r, 9900*time.Millisecond) }, logged: "too slowly"},
		"too late by far":  {h: ok, before: func(r *rig) { lateBy(r, time.Minute) }, logged: "too slowly"},
		"report refused":   {h: ok, opts: []task.Option{task.MaxDeaths(1)}, before: func(r *rig) { refuse(r, reports, backend.ErrPermission) }},
		"fetches that fail": {h: ok, before: func(r *rig) {
			var failed atomic.Int64
			refuse(r, func(req any) bool {
				_, fetch := req.(backend.FetchRequest)
				return fetch && failed.Add(1) < 5
			}, backend.ErrUnavailable)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onMemory(t, func(r *rig) {
				if c.before != nil {
					c.before(r)
				}
				q := queueOf[int, int](r, "q")
				s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
				require.NoError(r, task.Serve(s, q, c.h, task.ServeConfig{}))
				h := submit(r, q, 1, c.opts...)
				end := r.run(s.Run)
				synctest.Wait()
				if c.after != nil {
					c.after(r, h)
				}
				_, _ = h.Wait(r.Context())
				<-time.After(2 * time.Minute)
				synctest.Wait()
				books := task.BooksOf(s)
				assert.True(r, books.Balanced(), "%+v", books)
				assert.Contains(r, r.logged(), c.logged)
				end()
			})
		})
	}
}

// The same for what waits for a lease, and for what runs when the server ends.
func TestTheBooksOfAServerThatEndsBalance(t *testing.T) {
	for name, h := range map[string]func(of chan *thing) task.Handler[int, int]{
		"running": func(chan *thing) task.Handler[int, int] { return untilItEnds },
		"parked":  func(of chan *thing) task.Handler[int, int] { return needing[int](of)(untilItEnds) },
	} {
		t.Run(name, func(t *testing.T) {
			onMemory(t, func(r *rig) {
				q := queueOf[int, int](r, "q")
				of := things(0)
				s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1, Drain: time.Second})
				require.NoError(r, task.Serve(s, q, h(of), task.ServeConfig{MaxParked: 2}))
				end := r.run(s.Run)
				for i := range 3 {
					submit(r, q, i)
				}
				synctest.Wait()
				assert.False(r, task.BooksOf(s).Balanced())
				end()
				books := task.BooksOf(s)
				assert.True(r, books.Balanced(), "%+v", books)
			})
		})
	}
}

// A place that was promised to the last Fetch is not missing while the server drains, whether that failed or came too late.
func TestTheBooksOfAServerThatEndsWhileItFetches(t *testing.T) {
	for name, hold := range map[string]func(r *rig){
		"it fails": func(r *rig) {
			r.on(func(ctx context.Context, req any) error {
				if fetch, ok := req.(backend.FetchRequest); ok && !fetch.Leave {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			})
		},
		"it is late": func(r *rig) {
			r.answer(func(req any) error {
				if fetch, ok := req.(backend.FetchRequest); ok && !fetch.Leave {
					<-time.After(time.Second)
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onMemory(t, func(r *rig) {
				q := queueOf[int, int](r, "q")
				s := task.NewServer(r.store, ns, task.ServerConfig{})
				require.NoError(r, task.Serve(s, q, echo, task.ServeConfig{}))
				hold(r)
				submit(r, q, 1)
				r.run(s.Run)()
				books := task.BooksOf(s)
				assert.True(r, books.Balanced(), "%+v", books)
				assert.Empty(r, r.logged(), "nothing is wrong")
			})
		})
	}
}

// Each attempt has a token that no other had: what comes too late of one says nothing about another.
func TestEachAttemptHasATokenOfItsOwn(t *testing.T) {
	onMemory(t, func(r *rig) {
		seen := map[string]bool{}
		r.cfg.Observer = backend.ObserverFunc(func(e backend.Event) {
			if e.Kind == backend.EventStarted {
				assert.False(r, seen[e.Token])
				seen[e.Token] = true
			}
		})
		q := queueOf[int, int](r, "q")
		listen(r, q, func(context.Context, *task.Task[int]) (int, error) { return 0, errOops })
		for range 3 {
			_, err := q.Query(r.Context(), 1, task.Retries(2))
			require.ErrorIs(r, err, task.ErrDead)
		}
		assert.Len(r, seen, 9)
	})
}

// What came too late and cannot even be put back is told to whoever reads the log, and others go on.
func TestAFetchThatCameTooLateAndCannotBePutBack(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		late, refused := true, true
		r.answer(func(req any) error {
			if _, fetch := req.(backend.FetchRequest); fetch && late {
				late = false
				<-time.After(9900 * time.Millisecond) // its lease lives, but not for us
			}
			return nil
		})
		r.on(func(_ context.Context, req any) error {
			if _, report := req.(backend.ReportRequest); report && refused {
				refused = false
				return backend.ErrPermission
			}
			return nil
		})
		handle := submit(r, q, 1)
		listen(r, q, echo)
		_, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.Contains(r, r.logged(), "task not put back")
		assert.Equal(r, 1, stateOf(r, handle).Deaths, "its lease had to run out")
	})
}

// The context of a handler has ended for whoever kept it, also if nobody had looked at it before.
func TestContextsEndWithTheirHandlers(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		kept := make(chan context.Context, 2)
		listen(r, q, func(ctx context.Context, t *task.Task[int]) (int, error) {
			if t.Params() == 1 {
				ctx.Done()
			}
			kept <- ctx
			return 0, nil
		})
		for i := range 2 {
			_, err := q.Query(r.Context(), i)
			require.NoError(r, err)
			ctx := <-kept
			<-ctx.Done()
			require.ErrorIs(r, ctx.Err(), context.Canceled)
			require.ErrorIs(r, context.Cause(ctx), context.Canceled)
		}
	})
}

// evil is an error whose methods panic.
type evil struct{ error }

func (evil) As(any) bool { panic("in As") }

func TestErrorsThatPanic(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, func(context.Context, *task.Task[int]) (int, error) { return 0, evil{errors.New("evil")} })
		_, err := q.Query(r.Context(), 1, task.Retries(1))
		require.ErrorIs(r, err, &task.Error{Code: task.CodePanic})
		require.ErrorIs(r, err, task.ErrDead, "it is retryable, as every panic")
		assert.ErrorContains(r, err, "in As")
	})
}
