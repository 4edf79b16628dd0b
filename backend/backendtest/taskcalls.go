package backendtest

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// taskCalls are the methods of queues, each with a request that would be good in a good namespace.
func (r *room) taskCalls(ns backend.Namespace) map[string]func(context.Context) error {
	be := r.be
	edit := func(e backend.TaskEdit) func(context.Context) error {
		return func(ctx context.Context) error { _, err := be.EditTasks(ctx, e); return err }
	}
	return map[string]func(context.Context) error{
		"Submit": func(ctx context.Context) error {
			req := r.filledSubmit(backend.SubmitRequest{ID: "s"})
			req.Namespace = ns
			_, err := be.Submit(ctx, req)
			return err
		},
		"Submit a fresh task": func(ctx context.Context) error {
			req := r.filledSubmit(backend.SubmitRequest{ID: backend.NewToken(), Fresh: true, Watch: true})
			req.Namespace = ns
			_, err := be.Submit(ctx, req)
			return err
		},
		"Watch": func(ctx context.Context) error {
			_, err := be.Watch(ctx, backend.WatchRequest{Namespace: ns, ID: "a"})
			return err
		},
		"Fetch": func(ctx context.Context) error {
			req := r.listener(theQueue).request(1)
			req.Namespace = ns
			_, err := be.Fetch(ctx, req)
			return err
		},
		"Report": func(ctx context.Context) error {
			it := backend.TaskReport{ID: "a", Token: "t", Kind: backend.ReportDone}
			_, err := be.Report(ctx, backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{it}})
			return err
		},
		"RenewTasks": func(ctx context.Context) error {
			_, err := be.RenewTasks(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: long}}})
			return err
		},
		"EditTasks":   edit(backend.TaskEdit{Namespace: ns, Action: backend.TasksCancel, IDs: []string{"a"}}),
		"EditTasks 2": edit(backend.TaskEdit{Namespace: ns, Action: backend.TasksRemove, IDs: []string{"a"}}),
		"EditTasks 3": edit(backend.TaskEdit{Namespace: ns, Action: backend.TasksRevive, IDs: []string{"a"}}),
		"Pause":       edit(backend.TaskEdit{Namespace: ns, Action: backend.QueuePause, Queue: theQueue}),
		"Resume":      edit(backend.TaskEdit{Namespace: ns, Action: backend.QueueResume, Queue: theQueue}),
		"Tasks": func(ctx context.Context) error {
			_, err := be.Tasks(ctx, backend.TasksRequest{Namespace: ns, IDs: []string{"a"}})
			return err
		},
		"Tasks of a queue": func(ctx context.Context) error {
			_, err := be.Tasks(ctx, backend.TasksRequest{Namespace: ns, Queue: theQueue, State: backend.TaskWaiting})
			return err
		},
		"Stats": func(ctx context.Context) error {
			_, err := be.Stats(ctx, backend.StatsRequest{Namespace: ns, Queue: theQueue})
			return err
		},
	}
}
