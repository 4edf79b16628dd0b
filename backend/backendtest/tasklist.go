package backendtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var taskListCases = []Case{
	{
		Name:     "ids",
		Sentence: "Tasks has one entry for each id, in their order, with TaskUnknown for what there is not.",
		check: func(r *room) {
			r.puts("a", "b")
			got := r.looks("b", "none", "a", "b")
			for i, want := range []string{"b", "", "a", "b"} {
				if want == "" {
					r.equal("state", got[i].State, backend.TaskUnknown)
					continue
				}
				r.equal("id", got[i].ID, want)
				r.equal("state", got[i].State, backend.TaskWaiting)
				r.equal("payload", string(got[i].Payload), "payload of "+want)
			}
		},
	},
	{
		Name:     "payload",
		Sentence: "Payload, with payload and meta: if they were asked for.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Payload: []byte("p"), Meta: []byte("m")})
			for _, want := range []bool{false, true} {
				for _, req := range []backend.TasksRequest{{IDs: []string{"a"}}, {Queue: theQueue, State: backend.TaskWaiting}} {
					req.Namespace, req.Payload = r.ns, want
					got, err := r.be.Tasks(r.ctx, req)
					r.ok(err, "Tasks")
					if len(got.Tasks) != 1 {
						r.Fatalf("Tasks gave %d", len(got.Tasks))
					}
					data := []string{"", ""}
					if want {
						data = []string{"p", "m"}
					}
					r.same("payload and meta", []string{string(got.Tasks[0].Payload), string(got.Tasks[0].Meta)}, data)
				}
			}
		},
	},
	{
		Name:     "many-ids",
		Sentence: "Tasks looks at tasks by id: up to BatchLimit.",
		check: func(r *room) {
			ids := numberedTasks(backend.BatchLimit)
			for _, id := range ids[:backend.BatchLimit/2] {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true})
			}
			for i, t := range r.looks(ids...) {
				if want := i < backend.BatchLimit/2; (t.State == backend.TaskWaiting) != want || want && t.ID != ids[i] {
					r.Errorf("entry %d, of %s, is %+v", i, ids[i], t)
				}
			}
		},
	},
	{
		Name:     "states",
		Sentence: "Tasks lists those of a queue that are in one state: scheduled, waiting, running or dead.",
		check: func(r *room) {
			var gs []backend.TaskGrant
			for _, id := range []string{"running1", "running2", "dead1", "dead2", "done"} {
				gs = append(gs, r.starts(id))
			}
			r.says(about(&gs[2], backend.ReportDead, "e"), about(&gs[3], backend.ReportDead, "e"), about(&gs[4], backend.ReportDone, ""))
			r.classes(2, theQueue)
			for _, id := range []string{"scheduled1", "scheduled2"} {
				r.creates(backend.SubmitRequest{ID: id, Delay: long / 2})
			}
			r.puts("cancelled")
			r.cancels("cancelled")
			r.creates(backend.SubmitRequest{ID: "elsewhere", Queue: "other"})
			for _, limit := range []int{0, 1, 2, backend.BatchLimit} {
				for state, want := range map[backend.TaskState][]string{
					backend.TaskRunning: {"running1", "running2"}, backend.TaskDead: {"dead1", "dead2"}, backend.TaskScheduled: {"scheduled1", "scheduled2"},
					backend.TaskWaiting: {"high0", "high1", "normal0", "normal1", "low0", "low1"},
				} {
					r.sameSet(fmt.Sprintf("%v tasks, %d by %d", state, len(want), limit), r.lists(theQueue, state, limit), want)
				}
			}
			r.same("those of the other queue", r.lists("other", backend.TaskWaiting, 0), []string{"elsewhere"})
			r.same("those of a queue that there is not", r.lists("none", backend.TaskWaiting, 0), nil)
		},
	},
	{
		Name:     "entries",
		Sentence: "Tasks gives tasks as they stand, listed or by their ids.",
		check: func(r *room) {
			g := r.starts("running")
			r.says(about(&g, backend.ReportProgress, "half"))
			d := r.starts("dead")
			r.says(about(&d, backend.ReportDead, "e"))
			s := r.starts("scheduled")
			r.says(again(&s, long/2, "e"))
			r.puts("waiting")
			for state, id := range map[backend.TaskState]string{
				backend.TaskRunning: "running", backend.TaskDead: "dead", backend.TaskScheduled: "scheduled", backend.TaskWaiting: "waiting",
			} {
				got, err := r.be.Tasks(r.ctx, backend.TasksRequest{Namespace: r.ns, Queue: theQueue, State: state, Payload: true})
				r.ok(err, "Tasks")
				if len(got.Tasks) != 1 {
					r.Fatalf("there are %d %v tasks", len(got.Tasks), state)
				}
				want := r.task(id)
				if state != backend.TaskDead {
					r.lives("what is left of its time", got.Tasks[0].Remaining, long)
				}
				r.sameTask("the entry", got.Tasks[0], want)
			}
		},
	},
	{
		Name:     "pages",
		Sentence: "Tasks lists page by page; Limit is a hint for the length of a page.",
		check: func(r *room) {
			ids := numberedTasks(150)
			for i, id := range ids {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true, Class: backend.TaskClass(i % 3)})
			}
			for _, limit := range []int{7, 50, 100, backend.BatchLimit} {
				got := r.lists(theQueue, backend.TaskWaiting, limit)
				r.same(fmt.Sprintf("pages of %d", limit), slices.Sorted(slices.Values(got)), ids)
			}
			first, err := r.be.Tasks(r.ctx, backend.TasksRequest{Namespace: r.ns, Queue: theQueue, State: backend.TaskWaiting, Limit: 7})
			r.ok(err, "Tasks")
			if n := len(first.Tasks); n > 70 || first.Cursor == "" {
				r.Errorf("a page of 7 has %d tasks, and the cursor %q", n, first.Cursor)
			}
		},
	},
	{
		Name:     "pages-that-change",
		Sentence: "Tasks lists page by page: what stays is on one of them, whatever comes and goes meanwhile.",
		check: func(r *room) {
			ids := numberedTasks(120)
			for _, id := range ids {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true, Delay: long / 2})
			}
			gone := map[string]bool{}
			r.pagesThrough(backend.TaskScheduled, ids, gone, func(page int) {
				for _, id := range []string{ids[page%len(ids)], ids[(page*7+50)%len(ids)]} {
					gone[id] = gone[id] || r.edits(backend.TasksCancel, id)[0]
				}
				r.submit(backend.SubmitRequest{ID: fmt.Sprintf("new%d", page), Delay: long * 2 / 3})
			})
		},
	},
	{
		Name:     "pages-that-move",
		Sentence: "Tasks lists page by page: what stays is on one of them, also if those before it are fetched meanwhile, or come back.",
		check: func(r *room) {
			ids := numberedTasks(120)
			for _, id := range ids {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true})
			}
			gone := map[string]bool{}
			l := r.listener(theQueue)
			r.pagesThrough(backend.TaskWaiting, ids, gone, func(page int) {
				gs := l.takes(4)
				for i := range gs {
					gone[gs[i].Task.ID] = true
				}
				if page%2 == 0 && len(gs) > 0 {
					r.says(about(&gs[0], backend.ReportReturn, ""))
				}
				r.submit(backend.SubmitRequest{ID: fmt.Sprintf("new%d", page)})
			})
		},
	},
	{
		Name:     "stats",
		Sentence: "Stats counts a queue.",
		check: func(r *room) {
			r.equal("a queue that there is not", r.stats(theQueue), backend.QueueStats{})
			var gs []backend.TaskGrant
			for _, id := range numberedTasks(8) {
				gs = append(gs, r.starts(id))
			}
			r.says(
				about(&gs[0], backend.ReportDone, ""), about(&gs[1], backend.ReportDone, ""), about(&gs[2], backend.ReportFailed, ""),
				about(&gs[3], backend.ReportDead, ""), again(&gs[4], long/2, ""), again(&gs[5], 0, ""),
			)
			r.classes(1, theQueue)
			r.cancels("low0")
			r.creates(backend.SubmitRequest{ID: "e", Timeout: short})
			r.becomes(backend.TaskExpired, "e")
			r.counts(backend.QueueStats{Scheduled: 1, Waiting: 3, Running: 2, Dead: 1, Done: 2, Failed: 1, Cancelled: 1, Expired: 1})
			r.equal("listeners", r.stats(theQueue).Listeners, 0)
			r.equal("another queue", r.stats("other"), backend.QueueStats{})
			r.edits(backend.TasksRemove, "t0000", "t0001", "t0002")
			r.equal("done", r.stats(theQueue).Done, int64(2))
		},
	},
	{
		Name:     "oldest",
		Sentence: "Oldest: since the first in the queue, of any class, was submitted; 0: none waits.",
		check: func(r *room) {
			oldest := func(id string) {
				r.tb.Helper()
				first := r.task(id).Submitted
				from := r.now()
				got := r.stats(theQueue).Oldest
				to := r.now()
				if got < from.Sub(first)-rounding || got > to.Sub(first)+rounding {
					r.Errorf("the first, %s, was submitted %v to %v ago, not %v", id, from.Sub(first), to.Sub(first), got)
				}
			}
			r.puts("running")
			r.creates(backend.SubmitRequest{ID: "scheduled", Delay: long / 2})
			r.drains("running")
			r.pass(short)
			r.equal("oldest, where none waits", r.stats(theQueue).Oldest, time.Duration(0))
			r.creates(backend.SubmitRequest{ID: "gone", Class: backend.ClassLow})
			r.pass(short)
			r.creates(backend.SubmitRequest{ID: "low", Class: backend.ClassLow})
			r.pass(short)
			r.puts("a", "b")
			r.pass(short)
			oldest("gone")
			r.cancels("gone")
			oldest("low")
			r.drains("a", "b", "low")
			r.equal("oldest, where none waits", r.stats(theQueue).Oldest, time.Duration(0))
		},
	},
}

// pagesThrough lists tasks, changes something after each page, and expects those that were not touched on one of them.
func (r *room) pagesThrough(state backend.TaskState, ids []string, gone map[string]bool, change func(page int)) {
	r.tb.Helper()
	seen := map[string]bool{}
	req := backend.TasksRequest{Namespace: r.ns, Queue: theQueue, State: state, Limit: 10}
	for page := 0; ; page++ {
		got, err := r.be.Tasks(r.ctx, req)
		r.ok(err, "Tasks")
		for i := range got.Tasks {
			seen[got.Tasks[i].ID] = true
		}
		if got.Cursor == "" {
			break
		}
		if req.Cursor = got.Cursor; page > 1000 {
			r.Fatalf("the pages do not end")
		}
		change(page)
	}
	for _, id := range ids {
		if !gone[id] && !seen[id] {
			r.Errorf("%s was there all the time, and on no page", id)
		}
	}
}
