package backendtest_test

import (
	"context"
	"iter"
	"sync"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenQueues are replacements for the methods of queues.
type brokenQueues struct {
	submit func(context.Context, backend.Backend, backend.SubmitRequest) (backend.SubmitReply, error)
	watch  func(context.Context, backend.Backend, backend.WatchRequest) (backend.WatchReply, error)
	fetch  func(context.Context, backend.Backend, backend.FetchRequest) (backend.FetchReply, error)
	report func(context.Context, backend.Backend, backend.ReportRequest) (backend.ReportReply, error)
	renew  func(context.Context, backend.Backend, backend.RenewRequest) (backend.RenewReply, error)
	edit   func(context.Context, backend.Backend, backend.TaskEdit) (backend.TaskEditReply, error)
	look   func(context.Context, backend.Backend, backend.TasksRequest) (backend.TasksReply, error)
	stats  func(context.Context, backend.Backend, backend.StatsRequest) (backend.QueueStats, error)
}

func (b *broken) Submit(ctx context.Context, req backend.SubmitRequest) (backend.SubmitReply, error) {
	return either(ctx, b.Backend, req, b.tasks.submit, b.Backend.Submit)
}

func (b *broken) Watch(ctx context.Context, req backend.WatchRequest) (backend.WatchReply, error) {
	return either(ctx, b.Backend, req, b.tasks.watch, b.Backend.Watch)
}

func (b *broken) Fetch(ctx context.Context, req backend.FetchRequest) (backend.FetchReply, error) {
	return either(ctx, b.Backend, req, b.tasks.fetch, b.Backend.Fetch)
}

func (b *broken) Report(ctx context.Context, req backend.ReportRequest) (backend.ReportReply, error) {
	return either(ctx, b.Backend, req, b.tasks.report, b.Backend.Report)
}

func (b *broken) RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return either(ctx, b.Backend, req, b.tasks.renew, b.Backend.RenewTasks)
}

func (b *broken) EditTasks(ctx context.Context, req backend.TaskEdit) (backend.TaskEditReply, error) {
	return either(ctx, b.Backend, req, b.tasks.edit, b.Backend.EditTasks)
}

func (b *broken) Tasks(ctx context.Context, req backend.TasksRequest) (backend.TasksReply, error) {
	return either(ctx, b.Backend, req, b.tasks.look, b.Backend.Tasks)
}

func (b *broken) Stats(ctx context.Context, req backend.StatsRequest) (backend.QueueStats, error) {
	return either(ctx, b.Backend, req, b.tasks.stats, b.Backend.Stats)
}

// Ways to break queues.

// beforeSubmit changes requests.
func beforeSubmit(change func(*backend.SubmitRequest)) broken {
	return broken{tasks: brokenQueues{submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
		if req.Validate() == nil {
			change(&req)
		}
		return be.Submit(ctx, req)
	}}}
}

// beforeFetch changes requests.
func beforeFetch(change func(*backend.FetchRequest)) broken {
	return broken{tasks: brokenQueues{fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
		if req.Validate() == nil {
			change(&req)
		}
		return be.Fetch(ctx, req)
	}}}
}

// afterFetch changes replies.
func afterFetch(change func(*backend.FetchRequest, *backend.FetchReply)) broken {
	return broken{tasks: brokenQueues{fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
		got, err := be.Fetch(ctx, req)
		if err == nil {
			change(&req, &got)
		}
		return got, err
	}}}
}

// beforeReport changes items.
func beforeReport(change func(*backend.TaskReport)) broken {
	return broken{tasks: brokenQueues{report: func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
		if req.Validate() != nil {
			return be.Report(ctx, req)
		}
		changed := backend.ReportRequest{Namespace: req.Namespace}
		for _, it := range req.Items {
			change(&it)
			changed.Items = append(changed.Items, it)
		}
		return be.Report(ctx, changed)
	}}}
}

// reportsByOne sends items one by one, and gives up at the first one that is refused if all is set.
func reportsByOne(all bool) broken {
	return broken{tasks: brokenQueues{report: func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
		reply := backend.ReportReply{Accepted: make([]bool, len(req.Items))}
		for i := range req.Items {
			got, err := be.Report(ctx, backend.ReportRequest{Namespace: req.Namespace, Items: req.Items[i : i+1]})
			if err != nil {
				return backend.ReportReply{}, err
			}
			if reply.Accepted[i] = got.Accepted[0]; all && !got.Accepted[0] {
				break
			}
		}
		if len(req.Items) == 0 {
			return be.Report(ctx, req)
		}
		return reply, nil
	}}}
}

// beforeRenewal changes items.
func beforeRenewal(change func(*backend.Renewal)) broken {
	return broken{tasks: brokenQueues{renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
		if req.Validate() != nil {
			return be.RenewTasks(ctx, req)
		}
		changed := backend.RenewRequest{Namespace: req.Namespace}
		for _, it := range req.Items {
			change(&it)
			changed.Items = append(changed.Items, it)
		}
		return be.RenewTasks(ctx, changed)
	}}}
}

// afterLooking changes tasks wherever they are told of, except in messages.
func afterLooking(change func(*backend.TaskInfo)) broken {
	return broken{tasks: brokenQueues{
		look: func(ctx context.Context, be backend.Backend, req backend.TasksRequest) (backend.TasksReply, error) {
			got, err := be.Tasks(ctx, req)
			for i := range got.Tasks {
				change(&got.Tasks[i])
			}
			return got, err
		},
		submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
			got, err := be.Submit(ctx, req)
			change(&got.Task)
			return got, err
		},
	}}
}

// watching changes what watches tell. A change gets what it was, and gives what it becomes.
func watching(change func(ctx context.Context, id string, w *backend.Watching) *backend.Watching) broken {
	return broken{tasks: brokenQueues{
		submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
			got, err := be.Submit(ctx, req)
			if got.Watching != nil {
				got.Watching = change(ctx, req.ID, got.Watching)
			}
			return got, err
		},
		watch: func(ctx context.Context, be backend.Backend, req backend.WatchRequest) (backend.WatchReply, error) {
			got, err := be.Watch(ctx, req)
			if got.Watching != nil {
				got.Watching = change(ctx, req.ID, got.Watching)
			}
			return got, err
		},
	}}
}

// messages lets messages come changed, or not at all.
func messages(change func(*backend.TaskChange) bool) broken {
	return watching(func(ctx context.Context, _ string, w *backend.Watching) *backend.Watching {
		out := make(chan backend.TaskChange, 1)
		over := make(chan struct{})
		stop := sync.OnceFunc(func() { close(over) })
		go func() {
			for {
				select {
				case c := <-w.Changes:
					if change(&c) {
						select {
						case <-out:
						default:
						}
						out <- c
					}
					if c.Err != nil || c.Task.State.Final() {
						return
					}
				case <-over:
					return
				case <-ctx.Done(): // of the case
					return
				}
			}
		}()
		return &backend.Watching{Changes: out, Stop: func() { stop(); w.Stop() }}
	})
}

// silence is a watch that tells nothing.
func silence(w *backend.Watching) *backend.Watching {
	return &backend.Watching{Changes: make(chan backend.TaskChange, 1), Stop: w.Stop}
}

// wakes changes how listeners are woken: relay passes on what comes in.
type wakes struct {
	mu    sync.Mutex
	outs  map[whose]chan struct{}
	relay relay
}

// whose is a listener: in each case there are others.
type whose struct {
	ns   backend.Namespace
	name string
}

// relay gets the channel that comes in, what is received from it until that is closed, or the case is over, and where to put
// it.
type relay func(in <-chan struct{}, received iter.Seq[int], out chan<- struct{})

func newWakes(relay relay) *wakes {
	return &wakes{outs: map[whose]chan struct{}{}, relay: relay}
}

// of is the channel of a listener, with what is done about the one that it had.
func (w *wakes) of(ctx context.Context, req *backend.FetchRequest, in <-chan struct{}) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := whose{req.Namespace, req.Listener}
	out := w.outs[name]
	if out == nil {
		out = make(chan struct{}, 1)
		w.outs[name] = out
		go w.relay(in, receiving(ctx, in), out)
	}
	return out
}

// all wakes everybody.
func (w *wakes) all(ns backend.Namespace) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, out := range w.outs {
		if name.ns == ns {
			wake(out)
		}
	}
}

func (w *wakes) broken() broken {
	return broken{tasks: brokenQueues{fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
		got, err := be.Fetch(ctx, req)
		if got.Wake != nil {
			got.Wake = w.of(ctx, &req, got.Wake)
		}
		return got, err
	}}}
}

// receiving counts what comes.
func receiving(ctx context.Context, in <-chan struct{}) iter.Seq[int] {
	return func(yield func(int) bool) {
		for n := 1; ; n++ {
			select {
			case _, ok := <-in:
				if !ok || !yield(n) {
					return
				}
			case <-ctx.Done(): // of the case
				return
			}
		}
	}
}

func wake(out chan<- struct{}) {
	select {
	case out <- struct{}{}:
	default:
	}
}

// tokens notes under which token each task was granted last.
type tokens struct {
	mu   sync.Mutex
	last map[string]string
}

func (t *tokens) noting(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
	got, err := be.Fetch(ctx, req)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[string]string{}
	}
	for i := range got.Tasks {
		t.last[got.Tasks[i].Task.ID] = got.Tasks[i].Token
	}
	return got, err
}

func (t *tokens) of(id, token string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := t.last[id]; last != "" {
		return last
	}
	return token
}

// taskOf gives how a task stands.
func taskOf(ctx context.Context, be backend.Backend, ns backend.Namespace, id string) backend.TaskInfo {
	got, err := be.Tasks(ctx, backend.TasksRequest{Namespace: ns, IDs: []string{id}, Payload: true})
	if err != nil {
		return backend.TaskInfo{}
	}
	return got.Tasks[0]
}

// does does something to tasks.
func does(ctx context.Context, be backend.Backend, ns backend.Namespace, action backend.TaskAction, ids ...string) {
	if len(ids) > 0 {
		_, _ = be.EditTasks(ctx, backend.TaskEdit{Namespace: ns, Action: action, IDs: ids})
	}
}
