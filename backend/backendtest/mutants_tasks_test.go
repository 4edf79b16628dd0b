package backendtest_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenSubmissions accept tasks as they should not.
func brokenSubmissions() []mutant {
	return []mutant{
		{"there are no delays", "submit/scheduled", beforeSubmit(func(q *backend.SubmitRequest) { q.Delay = 0 })},
		{"payloads are not compared", "submit/conflict", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				got, err := be.Submit(ctx, req)
				if errors.Is(err, backend.ErrConflict) {
					return backend.SubmitReply{Joined: true, Task: taskOf(ctx, be, req.Namespace, req.ID)}, nil
				}
				return got, err
			},
		}}},
		{"payloads of the dead are not compared", "submit/conflict-dead", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				got, err := be.Submit(ctx, req)
				if t := taskOf(ctx, be, req.Namespace, req.ID); errors.Is(err, backend.ErrConflict) && t.State == backend.TaskDead {
					return backend.SubmitReply{Joined: true, Task: t}, nil
				}
				return got, err
			},
		}}},
		{"meta is compared", "submit/same", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				got, err := be.Submit(ctx, req)
				if got.Joined && !bytes.Equal(taskOf(ctx, be, req.Namespace, req.ID).Meta, req.Meta) {
					return backend.SubmitReply{}, backend.ErrConflict
				}
				return got, err
			},
		}}},
		{"a task that has ended runs again", "submit/joins-final", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				if req.Validate() == nil && taskOf(ctx, be, req.Namespace, req.ID).State.Final() {
					does(ctx, be, req.Namespace, backend.TasksRemove, req.ID)
				}
				return be.Submit(ctx, req)
			},
		}}},
		{"joining does not tell how the task stands", "submit/joins", afterLooking(func(t *backend.TaskInfo) { t.Progress = nil })},
		{"what is fresh is always new", "submit/fresh", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				if req.Fresh && req.Validate() == nil && taskOf(ctx, be, req.Namespace, req.ID).State != backend.TaskUnknown {
					req.ID += "'"
				}
				return be.Submit(ctx, req)
			},
		}}},
		{"what is fresh conflicts with itself", "submit/fresh", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				if req.Fresh && req.Validate() == nil && taskOf(ctx, be, req.Namespace, req.ID).State != backend.TaskUnknown {
					return backend.SubmitReply{}, backend.ErrConflict
				}
				return be.Submit(ctx, req)
			},
		}}},
		{"it does not matter who listens", "submit/if-listened", beforeSubmit(func(q *backend.SubmitRequest) { q.IfListened = false })},
		{"it does not matter who listens to what is delayed", "submit/delayed-if-listened", beforeSubmit(func(q *backend.SubmitRequest) {
			q.IfListened = q.IfListened && q.Delay == 0
		})},
		{"nothing is forgotten", "submit/forget", beforeSubmit(func(q *backend.SubmitRequest) { q.Forget = nil })},
		{"what has not ended is forgotten", "submit/forget", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				if req.Validate() == nil {
					does(ctx, be, req.Namespace, backend.TasksCancel, req.Forget...)
				}
				return be.Submit(ctx, req)
			},
		}}},
		{"who is refused forgets all the same", "submit/forget-others", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				got, err := be.Submit(ctx, req)
				if errors.Is(err, backend.ErrConflict) {
					does(ctx, be, req.Namespace, backend.TasksRemove, req.Forget...)
				}
				return got, err
			},
		}}},
		{"payloads end with NUL", "submit/data", beforeSubmit(func(q *backend.SubmitRequest) { q.Payload, _, _ = bytes.Cut(q.Payload, []byte{0}) })},
		{"payloads are UTF-8", "submit/data", beforeSubmit(func(q *backend.SubmitRequest) { q.Payload = bytes.ToValidUTF8(q.Payload, []byte("?")) })},
		{"results are UTF-8", "submit/data", beforeReport(func(it *backend.TaskReport) { it.Data = bytes.ToValidUTF8(it.Data, []byte("?")) })},
		{"results are cut", "submit/large-data", beforeReport(func(it *backend.TaskReport) { it.Data = it.Data[:min(len(it.Data), 1<<16)] })},
		{"names of queues are cleaned", "submit/any-name", beforeSubmit(func(q *backend.SubmitRequest) { q.Queue = strings.ReplaceAll(q.Queue, "|", "_") })},
		{"long times overflow", "submit/long-times", beforeSubmit(func(q *backend.SubmitRequest) {
			if q.Timeout > 100*365*24*time.Hour {
				q.Timeout, q.Delay = time.Millisecond, 0
			}
		})},
		{"ids are taken for ever", "submit/id-again", beforeSubmit(func(q *backend.SubmitRequest) { q.Retention = time.Hour })},
		{"hash tags are ignored", "submit/namespaces", beforeSubmit(func(q *backend.SubmitRequest) { q.Namespace.HashTag = false })},
		{"contexts are ignored", "submit/cancelled", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				return be.Submit(context.WithoutCancel(ctx), req)
			},
		}}},
		{"what is too small is made large enough", "invalid/submit", broken{tasks: brokenQueues{
			submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
				req.MaxDeaths, req.Retention = max(req.MaxDeaths, 1), max(req.Retention, time.Millisecond)
				return be.Submit(ctx, req)
			},
		}}},
	}
}

// brokenFetches grant tasks as they should not.
func brokenFetches() []mutant {
	var fence atomic.Int64
	var stolen sync.Map
	return []mutant{
		{"attempts are not counted", "fetch/grants", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) {
			for i := range got.Tasks {
				got.Tasks[i].Task.Attempts = 0
			}
		})},
		{"tasks come without payload", "fetch/grants", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) {
			for i := range got.Tasks {
				got.Tasks[i].Task.Payload = nil
			}
		})},
		{"last come first served", "fetch/first-come", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) { slices.Reverse(got.Tasks) })},
		{"lanes are sorted", "fetch/lanes", beforeFetch(func(q *backend.FetchRequest) {
			q.Lanes = slices.SortedFunc(slices.Values(q.Lanes), func(a, b backend.FetchLane) int { return cmp.Compare(a.Class, b.Class) })
		})},
		{"a lane that comes twice counts once", "fetch/lanes", beforeFetch(func(q *backend.FetchRequest) {
			var lanes []backend.FetchLane
			for _, l := range q.Lanes {
				if !slices.ContainsFunc(lanes, func(o backend.FetchLane) bool { return o.Class == l.Class && o.Queue == l.Queue }) {
					lanes = append(lanes, l)
				}
			}
			q.Lanes = lanes
		})},
		{"there are no classes", "fetch/class-order", beforeSubmit(func(q *backend.SubmitRequest) { q.Class = backend.ClassNormal })},
		{"max is ignored", "fetch/max", beforeFetch(func(q *backend.FetchRequest) { q.Max = backend.BatchLimit })},
		{"room is ignored", "fetch/max", beforeFetch(func(q *backend.FetchRequest) {
			q.Queues = slices.Clone(q.Queues)
			for i := range q.Queues {
				q.Queues[i].Room = backend.BatchLimit
			}
		})},
		{"lanes have no end", "fetch/max", beforeFetch(func(q *backend.FetchRequest) {
			q.Lanes = slices.Clone(q.Lanes)
			for i := range q.Lanes {
				q.Lanes[i].Max = backend.BatchLimit
			}
		})},
		{"listeners listen to their first queue", "fetch/several-queues", beforeFetch(func(q *backend.FetchRequest) {
			q.Queues = q.Queues[:1]
			q.Lanes = slices.DeleteFunc(slices.Clone(q.Lanes), func(l backend.FetchLane) bool { return l.Queue > 0 })
		})},
		{"max 0 means one", "fetch/no-lanes", beforeFetch(func(q *backend.FetchRequest) { q.Max = max(q.Max, 1) })},
		{"who has room is idle", "fetch/idle", afterFetch(func(q *backend.FetchRequest, got *backend.FetchReply) { got.Idle = len(got.Tasks) < q.Max })},
		{"nobody is idle", "fetch/idle", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) { got.Idle = false })},
		{"each call has new channels", "fetch/channels", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) {
			if got.Wake != nil {
				got.Wake = make(chan struct{}, 1)
			}
		})},
		{"fences of tasks are their own", "fetch/fences", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) {
			for i := range got.Tasks {
				got.Tasks[i].Fence = fence.Add(1)
			}
		})},
		{"a task has two holders", "fetch/once", broken{tasks: brokenQueues{
			fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				got, err := be.Fetch(ctx, req)
				for i := range got.Tasks {
					stolen.Store(req.Namespace, got.Tasks[i])
				}
				if g, ok := stolen.Load(req.Namespace); ok && err == nil && len(got.Tasks) < req.Max {
					g := g.(backend.TaskGrant)
					g.Token = req.Token
					got.Tasks = append(got.Tasks, g)
				}
				return got, err
			},
		}}},
		{"marks last", "fetch/listeners", beforeFetch(func(q *backend.FetchRequest) { q.Mark = time.Hour })},
		{"the last mark counts", "fetch/longest-mark", broken{tasks: brokenQueues{
			submit: lastMark().submit, fetch: lastMark().fetch,
		}}},
		{"nobody leaves", "fetch/leave", beforeFetch(func(q *backend.FetchRequest) { q.Leave = false })},
		{"who leaves gives back what he has", "fetch/leave", broken{tasks: brokenQueues{
			fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				if all, _ := be.Tasks(ctx, backend.TasksRequest{Namespace: req.Namespace, Queue: "q", State: backend.TaskRunning}); req.Leave {
					for _, t := range all.Tasks {
						does(ctx, be, req.Namespace, backend.TasksCancel, t.ID)
					}
				}
				return be.Fetch(ctx, req)
			},
		}}},
		{"batches are small", "fetch/large-batch", beforeFetch(func(q *backend.FetchRequest) { q.Max = min(q.Max, 100) })},
		{"leases on tasks do not end", "task-lease/death", beforeFetch(func(q *backend.FetchRequest) { q.TTL = time.Hour })},
		{"deaths are not told of", "task-lease/noticed", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) {
			for i := range got.Tasks {
				got.Tasks[i].Task.Deaths = 0
			}
		})},
		{"deaths have no end", "task-lease/max-deaths", beforeSubmit(func(q *backend.SubmitRequest) { q.MaxDeaths = backend.MaxDeaths })},
		{"one death is enough", "task-lease/max-deaths", beforeSubmit(func(q *backend.SubmitRequest) { q.MaxDeaths = 1 })},
		{"grants say what was asked for", "task-lease/capped", afterFetch(func(q *backend.FetchRequest, got *backend.FetchReply) {
			for i := range got.Tasks {
				got.Tasks[i].TTL = q.TTL
			}
		})},
		{"bad lanes are skipped", "invalid/fetch", broken{tasks: brokenQueues{
			fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				req.Lanes = slices.DeleteFunc(slices.Clone(req.Lanes), func(l backend.FetchLane) bool {
					return l.Class > backend.ClassLow || l.Queue < 0 || l.Queue >= len(req.Queues)
				})
				return be.Fetch(ctx, req)
			},
		}}},
	}
}

// lastMark believes that somebody listens as long as the mark of the last call says.
func lastMark() brokenQueues {
	return brokenQueues{
		fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
			got, err := be.Fetch(ctx, req)
			if err == nil && !req.Leave {
				hold(ctx, be, req.Namespace, backend.SetItem{Name: "mark", Value: "1", TTL: req.Mark})
			}
			return got, err
		},
		submit: func(ctx context.Context, be backend.Backend, req backend.SubmitRequest) (backend.SubmitReply, error) {
			if req.IfListened && ownerOf(ctx, be, req.Namespace, "mark") == "" {
				return backend.SubmitReply{}, nil
			}
			req.IfListened = false
			return be.Submit(ctx, req)
		},
	}
}
