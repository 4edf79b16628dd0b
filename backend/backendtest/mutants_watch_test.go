package backendtest_test

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenWatches tell what they should not.
func brokenWatches() []mutant {
	var first sync.Map
	var all struct {
		sync.Mutex
		stops map[string][]func()
	}
	return []mutant{
		{"a task that there is not waits", "watch/state", broken{tasks: brokenQueues{
			watch: func(ctx context.Context, be backend.Backend, req backend.WatchRequest) (backend.WatchReply, error) {
				got, err := be.Watch(ctx, req)
				if err == nil && got.Task.State == backend.TaskUnknown {
					got.Task.State = backend.TaskWaiting
					got.Watching = silence(&backend.Watching{Stop: func() {}})
				}
				return got, err
			},
		}}},
		{"nobody who watches is told", "watch/final", watching(func(_ context.Context, _ string, w *backend.Watching) *backend.Watching {
			return silence(w)
		})},
		{"who watches is told without the result", "watch/final", messages(func(c *backend.TaskChange) bool {
			c.Task.Result = nil
			return true
		})},
		{"who watches is not told of cancellations", "watch/final", messages(func(c *backend.TaskChange) bool {
			return c.Task.State != backend.TaskCancelled
		})},
		{"all are told of progress", "watch/only-final", broken{tasks: brokenQueues{
			submit: beforeSubmit(func(q *backend.SubmitRequest) { q.Progress = q.Watch }).tasks.submit,
		}}},
		{"nobody is told of progress", "watch/progress", messages(func(c *backend.TaskChange) bool { return c.Err != nil || c.Task.State.Final() })},
		{"nobody is told that attempts begin", "watch/progress", messages(func(c *backend.TaskChange) bool {
			return c.Task.State != backend.TaskRunning || len(c.Task.Progress) > 0
		})},
		{"progress is for nobody if the first did not want it", "watch/upgrade", broken{tasks: brokenQueues{
			watch: func(ctx context.Context, be backend.Backend, req backend.WatchRequest) (backend.WatchReply, error) {
				req.Progress = false
				return be.Watch(ctx, req)
			},
		}}},
		{"the first message stays", "watch/latest", watching(func(ctx context.Context, _ string, w *backend.Watching) *backend.Watching {
			out := make(chan backend.TaskChange, 1)
			go func() {
				for {
					select {
					case c := <-w.Changes:
						select {
						case out <- c:
						default:
						}
					case <-ctx.Done(): // of the case
						return
					}
				}
			}()
			return &backend.Watching{Changes: out, Stop: w.Stop}
		})},
		{"one watch of each task is told", "watch/several", watching(func(_ context.Context, id string, w *backend.Watching) *backend.Watching {
			if _, other := first.LoadOrStore(id, true); other {
				return silence(w)
			}
			return w
		})},
		{"watches do not stop", "watch/stop", watching(func(_ context.Context, _ string, w *backend.Watching) *backend.Watching {
			return &backend.Watching{Changes: w.Changes, Stop: func() {}}
		})},
		{"stopping one stops all", "watch/stop-and-again", watching(func(_ context.Context, id string, w *backend.Watching) *backend.Watching {
			all.Lock()
			defer all.Unlock()
			if all.stops == nil {
				all.stops = map[string][]func(){}
			}
			all.stops[id] = append(all.stops[id], w.Stop)
			return &backend.Watching{Changes: w.Changes, Stop: func() {
				all.Lock()
				defer all.Unlock()
				for _, stop := range all.stops[id] {
					stop()
				}
			}}
		})},
		{"watches end with the context of their call", "watch/context", watching(func(ctx context.Context, _ string, w *backend.Watching) *backend.Watching {
			context.AfterFunc(ctx, w.Stop)
			return w
		})},
		{"who joins does not watch", "watch/joined", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				got, err := be.Submit(ctx, req)
				if got.Joined && got.Watching != nil {
					got.Watching = silence(got.Watching)
				}
				return got, err
			},
		}}},
		{"nobody is told that a task has expired", "watch/deadline", messages(func(c *backend.TaskChange) bool { return c.Task.State != backend.TaskExpired })},
		{"nobody is told that a task is dead", "watch/deaths", messages(func(c *backend.TaskChange) bool { return c.Task.State != backend.TaskDead })},
		{"large results are not told", "watch/large-result", messages(func(c *backend.TaskChange) bool {
			c.Task.Result = c.Task.Result[:min(len(c.Task.Result), 1<<14)]
			return true
		})},
		{"some messages are lost", "watch/many", func() broken {
			var n atomic.Int64
			return messages(func(*backend.TaskChange) bool { return n.Add(1)%100 != 99 })
		}()},
		{"nobody who watches is told of Close", "end/watches", messages(func(c *backend.TaskChange) bool { return c.Err == nil })},
		{"results are mixed up", "concurrency/queries", func() broken {
			var n atomic.Int64
			return messages(func(c *backend.TaskChange) bool {
				if n.Add(1)%20 == 19 {
					c.Task.Result = []byte("of another")
				}
				return true
			})
		}()},
	}
}
