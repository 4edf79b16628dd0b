package backendtest_test

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenWakes wake those whom they should not, and let others sleep.
func brokenWakes() []mutant {
	pass := func(_ <-chan struct{}, received iter.Seq[int], out chan<- struct{}) {
		for range received {
			wake(out)
		}
	}
	var paused sync.Map
	everybody := newWakes(pass)
	var losing, woken atomic.Int64
	return []mutant{
		{"nobody is woken", "wake/submit", newWakes(func(<-chan struct{}, iter.Seq[int], chan<- struct{}) {}).broken()},
		{"everybody is woken", "wake/longest-idle", alsoOnSubmit(everybody)},
		{"who is full is woken", "wake/full", alsoOnSubmit(newWakes(pass))},
		{"listeners of other queues are woken", "wake/other-queue", alsoOnSubmit(newWakes(pass))},
		{"who has left is woken", "wake/left", alsoOnSubmit(newWakes(pass))},
		{"a listener is woken once", "wake/submit", newWakes(func(_ <-chan struct{}, received iter.Seq[int], out chan<- struct{}) {
			for n := range received {
				if n == 1 {
					wake(out)
				}
			}
		}).broken()},
		{"one listener is woken for all", "wake/burst", newWakes(func(_ <-chan struct{}, received iter.Seq[int], out chan<- struct{}) {
			for range received {
				if woken.Add(1) == 1 {
					wake(out)
				}
			}
		}).broken()},
		{"wake-ups are lost unless somebody receives", "wake/meanwhile", newWakes(func(_ <-chan struct{}, received iter.Seq[int], _ chan<- struct{}) {
			for range received {
				continue
			}
		}).broken()},
		{"some wake-ups are lost", "concurrency/tasks-one-by-one", newWakes(func(_ <-chan struct{}, received iter.Seq[int], out chan<- struct{}) {
			for range received {
				if losing.Add(1)%10 != 9 {
					wake(out)
				}
			}
			close(out)
		}).broken()},
		{"who has room left is not idle", "wake/room-left", func() broken {
			var busy sync.Map
			relays := newWakes(nil)
			relays.relay = func(in <-chan struct{}, received iter.Seq[int], out chan<- struct{}) {
				for range received {
					if _, is := busy.Load(in); !is {
						wake(out)
					}
				}
				close(out)
			}
			return broken{tasks: brokenQueues{fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				got, err := be.Fetch(ctx, req)
				if got.Wake != nil {
					if busy.Delete(got.Wake); len(got.Tasks) > 0 {
						busy.Store(got.Wake, true)
					}
					got.Wake = relays.of(ctx, &req, got.Wake)
				}
				return got, err
			}}}
		}()},
		{"what comes back wakes nobody", "wake/return", whileReporting(newWakes(nil))},
		{"resuming wakes nobody", "wake/resume", broken{tasks: brokenQueues{
			edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
				switch req.Action {
				case backend.QueuePause:
					paused.Store(req.Namespace.TaskQueue(req.Queue), true)
				case backend.QueueResume:
					paused.Delete(req.Namespace.TaskQueue(req.Queue))
				default:
					return be.EditTasks(ctx, req)
				}
				return backend.TaskEditReply{}, nil
			},
			fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				if _, is := paused.Load(req.Namespace.TaskQueue(req.Queues[0].Name)); is {
					req.Lanes = nil
					got, err := be.Fetch(ctx, req)
					select {
					case <-got.Wake: // what it was woken for while the queue was paused
					default:
					}
					return got, err
				}
				return be.Fetch(ctx, req)
			},
		}}},
		{"there is nothing to see to", "wake/next", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) { got.Next = backend.NoExpiry })},
		{"there is always something to see to", "wake/next", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) { got.Next = 0 })},
		{"nobody sees to what is due", "wake/follows-delay", neverNext(func(n time.Duration) bool { return n > 0 })},
		{"nobody sees to what is tried again", "wake/follows-retry", neverNext(func(n time.Duration) bool { return n > 0 })},
		{"nobody sees to the dead", "wake/follows-death", neverNext(func(n time.Duration) bool { return n > 0 })},
		{"one that is due earlier wakes nobody", "wake/earlier", newWakes(func(<-chan struct{}, iter.Seq[int], chan<- struct{}) {}).broken()},
		{"only the one that is idle longest sees to what is due", "wake/watchers-leave", func() broken {
			var head sync.Map
			return broken{tasks: brokenQueues{fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				got, err := be.Fetch(ctx, req)
				if h, _ := head.LoadOrStore(req.Namespace, req.Listener); h != req.Listener {
					got.Next = backend.NoExpiry
				}
				return got, err
			}}}
		}()},
		{"Wake stays open", "wake/closed", newWakes(func(_ <-chan struct{}, received iter.Seq[int], out chan<- struct{}) {
			for range received {
				wake(out)
			}
		}).broken()},
	}
}

// alsoOnSubmit wakes everybody whenever there is a new task.
func alsoOnSubmit(w *wakes) broken {
	b := w.broken()
	b.tasks.submit = func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
		got, err := be.Submit(ctx, req)
		if got.Created {
			w.all(req.Namespace)
		}
		return got, err
	}
	return b
}

// whileReporting lets no wake-up pass that comes of a report.
func whileReporting(w *wakes) broken {
	var deaf atomic.Bool
	w.relay = func(_ <-chan struct{}, received iter.Seq[int], out chan<- struct{}) {
		for range received {
			if !deaf.Load() {
				wake(out)
			}
		}
		close(out)
	}
	b := w.broken()
	b.tasks.report = func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
		deaf.Store(true)
		return be.Report(ctx, req)
	}
	return b
}

// neverNext hides some times from listeners.
func neverNext(hide func(time.Duration) bool) broken {
	return afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) {
		if hide(got.Next) {
			got.Next = backend.NoExpiry
		}
	})
}
