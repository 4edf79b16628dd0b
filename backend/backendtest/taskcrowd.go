package backendtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const everyTask = "Implementations are safe for concurrent use. A task is one holder's at a time, and no wake-up is lost: whoever calls when " +
	"he is woken gets everything."

// bench is where many listeners work on many tasks.
type bench struct {
	r    *room
	stop chan struct{} // closed when all tasks have ended
	left atomic.Int64  // how many have not

	mu     sync.Mutex
	by     map[string]string // who has what
	fences map[string]int64
	ended  map[string]int
	broken []string
}

func (r *room) bench(tasks int) *bench {
	b := &bench{r: r, stop: make(chan struct{}), by: map[string]string{}, fences: map[string]int64{}, ended: map[string]int{}}
	b.left.Store(int64(tasks))
	return b
}

// begins notes that a task was fetched, ends that it is about to be reported on.
func (b *bench) begins(g *backend.TaskGrant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := g.Task.ID
	if other := b.by[id]; other != "" {
		b.broken = append(b.broken, fmt.Sprintf("%s has %s, which %s has", g.Token, id, other))
	}
	if g.Fence <= b.fences[id] {
		b.broken = append(b.broken, fmt.Sprintf("%s has fence %d after %d", id, g.Fence, b.fences[id]))
	}
	if b.ended[id] > 0 {
		b.broken = append(b.broken, id+" was fetched after it had ended")
	}
	b.by[id], b.fences[id] = g.Token, g.Fence
}

func (b *bench) ends(it *backend.TaskReport) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.by, it.ID)
	switch it.Kind {
	case backend.ReportDone, backend.ReportFailed, backend.ReportDead:
		b.ended[it.ID]++
	}
}

// works is one listener: it does with each task what do says, and calls when it is woken, when the time that it was told is
// over, and after it has reported.
func (b *bench) works(most int, queues []string, do func(g *backend.TaskGrant) backend.TaskReport) error {
	l := b.r.listener(queues...)
	end := time.NewTimer(3 * patience)
	defer end.Stop()
	for {
		got, err := b.r.be.Fetch(b.r.ctx, l.request(most))
		if err != nil {
			return err
		}
		var items []backend.TaskReport
		for i := range got.Tasks {
			b.begins(&got.Tasks[i])
			items = append(items, do(&got.Tasks[i]))
		}
		if len(items) > 0 {
			if err := b.reports(items); err != nil {
				return err
			}
			continue
		}
		if !got.Idle {
			return fmt.Errorf("a listener with room for %d got nothing, and is not idle", most)
		}
		next := time.NewTimer(got.Next)
		if got.Next == backend.NoExpiry {
			next.Stop()
		}
		select {
		case <-got.Wake:
		case <-next.C:
		case <-b.stop:
			next.Stop()
			return nil
		case <-end.C:
			next.Stop()
			return fmt.Errorf("%d tasks have not ended in %v; the last call said %v", b.left.Load(), 3*patience, got.Next)
		}
		next.Stop()
	}
}

func (b *bench) reports(items []backend.TaskReport) error {
	for i := range items {
		b.ends(&items[i])
	}
	got, err := b.r.be.Report(b.r.ctx, backend.ReportRequest{Namespace: b.r.ns, Items: items})
	if err != nil {
		return err
	}
	for i, ok := range got.Accepted {
		if !ok {
			return fmt.Errorf("report %d on %s was not accepted", items[i].Kind, items[i].ID)
		}
		switch items[i].Kind {
		case backend.ReportDone, backend.ReportFailed, backend.ReportDead:
			if b.left.Add(-1) == 0 {
				close(b.stop)
			}
		}
	}
	return nil
}

// together runs all of these at once, and expects them to succeed.
func (b *bench) together(all ...func() error) {
	b.r.tb.Helper()
	errs := make(chan error, len(all))
	for _, do := range all {
		go func() { errs <- do() }()
	}
	for range all {
		if err := <-errs; err != nil {
			b.r.Errorf("worker: %v", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.broken) > 0 {
		b.r.Errorf("%d breaches, the first is: %s", len(b.broken), b.broken[0])
	}
}

// done reports that a task is done; the result says which.
func done(g *backend.TaskGrant) backend.TaskReport {
	return about(g, backend.ReportDone, "of "+g.Task.ID)
}

// submits gives a worker that submits n tasks.
func (b *bench) submits(worker, n int, queue string) func() error {
	return func() error {
		for i := range n {
			req := backend.SubmitRequest{ID: fmt.Sprintf("%d/%d", worker, i), Queue: queue, Class: backend.TaskClass((worker + i) % 3)}
			got, err := b.r.be.Submit(b.r.ctx, b.r.filledSubmit(req))
			if err != nil {
				return err
			}
			if !got.Created {
				return fmt.Errorf("%s was not created: %+v", req.ID, got)
			}
		}
		return nil
	}
}

var taskCrowdCases = []Case{
	{
		Name: "tasks", Sentence: everyTask,
		check: func(r *room) {
			const submitters, each = 8, 40
			b := r.bench(submitters * each)
			var all []func() error
			for i := range submitters {
				all = append(all, b.submits(i, each, ""))
				all = append(all, func() error { return b.works(1+i%3, []string{theQueue}, done) })
			}
			b.together(all...)
			r.drains()
			r.counts(backend.QueueStats{Done: submitters * each})
		},
	},
	{
		Name: "tasks-one-by-one", Sentence: everyTask + " Also where tasks are rare.",
		check: func(r *room) {
			const rounds = 60
			b := r.bench(rounds)
			all := []func() error{func() error {
				for i := range rounds {
					id := fmt.Sprint(i)
					got, err := r.be.Submit(r.ctx, r.filledSubmit(backend.SubmitRequest{ID: id, Watch: true}))
					if err != nil {
						return err
					}
					if err := awaitResult(got.Watching, "of "+id); err != nil {
						return err
					}
				}
				return nil
			}}
			for range 6 {
				all = append(all, func() error { return b.works(1, []string{theQueue}, done) })
			}
			b.together(all...)
		},
	},
	{
		Name: "task-queues", Sentence: everyTask + " In all of its queues.",
		check: func(r *room) {
			queues := []string{"a", "b", "c"}
			b := r.bench(6 * 30)
			var all []func() error
			for i := range 6 {
				all = append(all, b.submits(i, 30, queues[i%3]))
				listens := append([]string{queues[i%3]}, queues[(i+1)%3])
				all = append(all, func() error { return b.works(1+i%2, listens, done) })
			}
			b.together(all...)
			for _, q := range queues {
				got := r.stats(q)
				r.equal("tasks of "+q, []int{got.Waiting, got.Running, int(got.Done)}, []int{0, 0, 60})
			}
		},
	},
	{
		Name: "task-attempts", Sentence: everyTask + " Also what comes back.",
		check: func(r *room) {
			b := r.bench(5 * 20)
			var all []func() error
			var calls atomic.Int64
			for i := range 5 {
				all = append(all, b.submits(i, 20, ""))
				all = append(all, func() error {
					return b.works(1+i, []string{theQueue}, func(g *backend.TaskGrant) backend.TaskReport {
						switch n := calls.Add(1); {
						case g.Task.Attempts > 2 || n > 2000:
							return about(g, backend.ReportFailed, "e")
						case n%5 == 0:
							return about(g, backend.ReportReturn, "")
						case n%5 == 1:
							return again(g, 0, "e")
						case n%5 == 2:
							return again(g, 5*time.Millisecond, "e")
						default:
							return done(g)
						}
					})
				})
			}
			b.together(all...)
			got := r.stats(theQueue)
			r.equal("those that ended", got.Done+got.Failed, int64(100))
			r.equal("those that have not", got.Waiting+got.Running+got.Scheduled, 0)
		},
	},
	{
		Name: "queries", Sentence: "Report tells those who watch: each of them, once, of the one result.",
		check: func(r *room) {
			const askers, rounds = 10, 15
			b := r.bench(rounds * 3)
			var all []func() error
			for i := range askers {
				all = append(all, func() error {
					for round := range rounds {
						id := fmt.Sprintf("%d/%d", i%3, round)
						got, err := r.be.Submit(r.ctx, r.filledSubmit(backend.SubmitRequest{ID: id, Watch: true, Progress: i%2 == 0}))
						if err != nil {
							return err
						}
						if got.Watching == nil {
							if string(got.Task.Result) != "of "+id {
								return fmt.Errorf("%s, which was joined, has the result %q", id, got.Task.Result)
							}
							continue
						}
						if err := awaitResult(got.Watching, "of "+id); err != nil {
							return err
						}
					}
					return nil
				})
			}
			for i := range 3 {
				all = append(all, func() error { return b.works(1+i, []string{theQueue}, done) })
			}
			b.together(all...)
			r.counts(backend.QueueStats{Done: rounds * 3})
		},
	},
	{
		Name: "joins", Sentence: "The id is unique in its namespace: of those who submit it at the same time one creates the task, and the others join it.",
		check: func(r *room) {
			for round := range 10 {
				id := fmt.Sprint(round)
				var created, joined atomic.Int64
				b := r.bench(0)
				var all []func() error
				for range 12 {
					all = append(all, func() error {
						got, err := r.be.Submit(r.ctx, r.filledSubmit(backend.SubmitRequest{ID: id}))
						if got.Created {
							created.Add(1)
						}
						if got.Joined {
							joined.Add(1)
						}
						return err
					})
				}
				b.together(all...)
				r.equal("created and joined", []int64{created.Load(), joined.Load()}, []int64{1, 11})
				r.drains(id)
			}
		},
	},
	{
		Name: "cancels", Sentence: "Every transition is one atomic step: a task is cancelled or done, and never both.",
		check: func(r *room) {
			for round := range 20 {
				id := fmt.Sprint(round)
				g := r.starts(id)
				var cancelled, accepted atomic.Bool
				b := r.bench(0)
				b.together(func() error {
					got, err := r.be.EditTasks(r.ctx, backend.TaskEdit{Namespace: r.ns, Action: backend.TasksCancel, IDs: []string{id}})
					cancelled.Store(err == nil && got.Edited[0])
					return err
				}, func() error {
					got, err := r.be.Report(r.ctx, backend.ReportRequest{Namespace: r.ns, Items: []backend.TaskReport{done(&g)}})
					accepted.Store(err == nil && got.Accepted[0])
					return err
				})
				if cancelled.Load() == accepted.Load() {
					r.Errorf("%s was cancelled: %v, and done: %v", id, cancelled.Load(), accepted.Load())
				}
				want := backend.TaskDone
				if cancelled.Load() {
					want = backend.TaskCancelled
				}
				r.are(want, id)
			}
		},
	},
	{
		Name: "listeners", Sentence: everyTask + " Also while listeners come and go.",
		check: func(r *room) {
			b := r.bench(4 * 30)
			var all []func() error
			for i := range 4 {
				all = append(all, b.submits(i, 30, ""))
				all = append(all, func() error { return b.works(2, []string{theQueue}, done) })
				all = append(all, func() error {
					for range 15 {
						l := r.listener(theQueue)
						got, err := r.be.Fetch(r.ctx, l.request(2))
						if err != nil {
							return err
						}
						for i := range got.Tasks {
							b.begins(&got.Tasks[i])
							if err := b.reports([]backend.TaskReport{done(&got.Tasks[i])}); err != nil {
								return err
							}
						}
						req := l.request(0)
						req.Leave = true
						if _, err := r.be.Fetch(r.ctx, req); err != nil {
							return err
						}
					}
					return nil
				})
			}
			b.together(all...)
			r.counts(backend.QueueStats{Done: 4 * 30})
		},
	},
}

// awaitResult waits for the result of a task that is done.
func awaitResult(w *backend.Watching, want string) error {
	if w == nil {
		return errors.New("nothing is watched")
	}
	end := time.NewTimer(3 * patience)
	defer end.Stop()
	for {
		select {
		case c := <-w.Changes:
			switch {
			case c.Err != nil:
				return c.Err
			case c.Task.State == backend.TaskDone && string(c.Task.Result) == want:
				return nil
			case c.Task.State.Final() || c.Task.State == backend.TaskUnknown:
				return fmt.Errorf("the end of %s is %+v", want, c.Task)
			}
		case <-end.C:
			return fmt.Errorf("nobody was told of %s in %v", want, 3*patience)
		}
	}
}
