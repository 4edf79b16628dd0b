package backendtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var taskEndCases = []Case{
	{
		Name:     "watches",
		Sentence: "TaskChange.Err: why nothing more will come: ErrClosed.",
		check: func(r *room) {
			ws := []*backend.Watching{
				r.creates(backend.SubmitRequest{ID: "a", Watch: true, Progress: true}).Watching,
				r.follows("a", false),
				r.creates(backend.SubmitRequest{ID: "b", Watch: true, Delay: long / 2}).Watching,
			}
			stopped := r.follows("b", true)
			stopped.Stop()
			r.close()
			end := time.NewTimer(patience)
			defer end.Stop()
			for i, w := range ws {
				select {
				case c := <-w.Changes:
					r.fails(fmt.Sprintf("watch %d", i), c.Err, backend.ErrClosed)
				case <-end.C:
					r.Fatalf("watch %d goes on after Close", i)
				}
				w.Stop()
			}
			r.silent("a watch that was stopped", stopped)
		},
	},
	{
		Name:     "task-calls",
		Sentence: "Calls after Close get ErrClosed; Close again does nothing.",
		check: func(r *room) {
			r.puts("a")
			r.close()
			for name, call := range r.taskCalls(r.ns) {
				r.fails(name+" after Close", call(r.ctx), backend.ErrClosed)
			}
			r.close()
		},
	},
	{
		Name:     "tasks-running",
		Sentence: "Close while calls are running: they end, with success or with ErrClosed. It does not give leases back.",
		check: func(r *room) {
			begun := make(chan struct{}, 6)
			errs := make(chan error, 6)
			for worker := range 6 {
				go func() {
					l := r.listener(theQueue)
					for round := range 1_000_000 {
						if round == 3 {
							begun <- struct{}{}
						}
						if err := r.turn(l, fmt.Sprintf("%d/%d", worker, round)); err != nil {
							if errors.Is(err, backend.ErrClosed) {
								err = nil
							}
							errs <- err
							return
						}
					}
					errs <- errors.New("calls go on after Close")
				}()
			}
			end := time.NewTimer(patience)
			defer end.Stop()
			for range 6 {
				select {
				case <-begun:
				case err := <-errs:
					r.Fatalf("worker: %v", err)
				case <-end.C:
					r.Fatalf("nothing goes on")
				}
			}
			r.close()
			end.Reset(patience)
			for range 6 {
				select {
				case err := <-errs:
					r.ok(err, "worker")
				case <-end.C:
					r.Fatalf("calls go on %v after Close", patience)
				}
			}
		},
	},
}

// turn submits a task, takes what there is, and reports on it.
func (r *room) turn(l *listener, id string) error {
	if _, err := r.be.Submit(r.ctx, r.filledSubmit(backend.SubmitRequest{ID: id, Watch: true})); err != nil {
		return err
	}
	got, err := r.be.Fetch(r.ctx, l.request(3))
	if err != nil || len(got.Tasks) == 0 {
		return err
	}
	var items []backend.TaskReport
	for i := range got.Tasks {
		items = append(items, done(&got.Tasks[i]))
	}
	_, err = r.be.Report(r.ctx, backend.ReportRequest{Namespace: r.ns, Items: items})
	return err
}
