package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

const (
	onlyHolder  = "Report: only the holder of a task's lease can."
	onceMore    = "A report that ended an attempt may be sent again, if its answer was lost, and is accepted again."
	toTheFront  = "Return: the attempt has not taken place: back to the front of the queue. It does not count."
	retryAfter  = "Retry: the attempt has failed, the task is due again after After."
	eachForSelf = "Report tells the progress of running tasks, and how they ended, each for itself."
)

var reportCases = []Case{
	{
		Name:     "done",
		Sentence: "Done: it is done; Data: the result.",
		check: func(r *room) {
			g := r.runs(backend.SubmitRequest{ID: "a", Payload: []byte("p"), Class: backend.ClassHigh}, long)
			before := r.task("a")
			r.says(about(&g, backend.ReportProgress, "half"), about(&g, backend.ReportDone, "r"))
			want := withoutPayload(before)
			want.State, want.Result, want.Progress, want.Remaining = backend.TaskDone, []byte("r"), nil, 0
			r.sameTask("the task", r.task("a"), want)
			r.counts(backend.QueueStats{Done: 1})
			r.drains()
		},
	},
	{
		Name:     "failed",
		Sentence: "Failed: it has failed for good; Data: the error.",
		check: func(r *room) {
			g := r.runs(backend.SubmitRequest{ID: "a", Payload: []byte("p")}, long)
			want := withoutPayload(r.task("a"))
			r.says(about(&g, backend.ReportFailed, "e"))
			want.State, want.Error, want.Remaining = backend.TaskFailed, []byte("e"), 0
			r.sameTask("the task", r.task("a"), want)
			r.counts(backend.QueueStats{Failed: 1})
			r.drains()
		},
	},
	{
		Name:     "dead",
		Sentence: "Dead: it is dead; Data: the error. Payload and meta are still there.",
		check: func(r *room) {
			g := r.runs(backend.SubmitRequest{ID: "a", Payload: []byte("p"), Meta: []byte("m")}, long)
			want := r.task("a")
			r.says(about(&g, backend.ReportDead, "e"))
			want.State, want.Error, want.Remaining = backend.TaskDead, []byte("e"), 0
			r.sameTask("the task", r.task("a"), want)
			r.counts(backend.QueueStats{Dead: 1})
			r.same("dead tasks", r.lists(theQueue, backend.TaskDead, 0), []string{"a"})
			r.drains()
		},
	},
	{
		Name:     "progress",
		Sentence: "Progress: what was reported last, of a task that is not in a final state.",
		check: func(r *room) {
			g := r.starts("a")
			for _, p := range []string{"1", "2", "3"} {
				r.says(about(&g, backend.ReportProgress, p))
				r.equal("progress", string(r.task("a").Progress), p)
			}
			r.counts(backend.QueueStats{Running: 1})
			r.says(again(&g, 0, "e"))
			got := r.task("a")
			r.equal("progress before the second attempt", string(got.Progress), "3")
			r.equal("error", string(got.Error), "e")
			g = r.drains("a")[0]
			r.equal("progress of the second attempt", string(g.Task.Progress), "3")
			r.says(about(&g, backend.ReportProgress, "4"), about(&g, backend.ReportDone, "r"))
			r.equal("progress of a done task", string(r.task("a").Progress), "")
		},
	},
	{
		Name:     "error-stays",
		Sentence: "Error: what was reported with the last attempt that failed, whatever the state.",
		check: func(r *room) {
			g := r.starts("a")
			r.says(again(&g, 0, "first"))
			g = r.drains("a")[0]
			r.equal("error of a running task", string(g.Task.Error), "first")
			r.says(again(&g, long/2, "second"))
			r.equal("error of a scheduled task", string(r.task("a").Error), "second")
			r.cancels("a")
			r.equal("error of a cancelled task", string(r.task("a").Error), "second")
			g = r.starts("b")
			r.says(again(&g, 0, "e"))
			g = r.drains("b")[0]
			r.says(about(&g, backend.ReportReturn, ""))
			g = r.drains("b")[0]
			r.says(about(&g, backend.ReportDone, "r"))
			got := r.task("b")
			r.same("error and result of a done task", []string{string(got.Error), string(got.Result)}, []string{"e", "r"})
		},
	},
	{
		Name: "retry-at-once", Sentence: retryAfter + " After 0: to the end of its class.",
		check: func(r *room) {
			r.puts("a", "b")
			r.creates(backend.SubmitRequest{ID: "high", Class: backend.ClassHigh})
			l := r.listener(theQueue)
			gs := l.gets(2, "high", "a")
			r.says(again(&gs[1], 0, "e"), again(&gs[0], 0, "e"))
			got := r.task("a")
			r.equal("state", got.State, backend.TaskWaiting)
			r.equal("attempts and deaths", []int{got.Attempts, got.Deaths}, []int{1, 0})
			r.counts(backend.QueueStats{Waiting: 3})
			r.puts("c")
			gs = l.gets(9, "high", "b", "a", "c")
			r.equal("attempts", gs[2].Task.Attempts, 2)
		},
	},
	{
		Name: "retry-later", Sentence: retryAfter,
		check: func(r *room) {
			g := r.starts("a")
			before := r.now()
			r.says(again(&g, long/2, "e"))
			got := r.task("a")
			r.equal("state", got.State, backend.TaskScheduled)
			r.notBefore("due", got.Due, before.Add(long/2))
			r.lives("until it is due", got.Due.Sub(r.now()), long/2)
			r.counts(backend.QueueStats{Scheduled: 1})
			r.drains()
			g = r.starts("b")
			before = r.now()
			r.says(again(&g, short, "e"))
			l := r.listener(theQueue)
			g = l.follows(1)
			r.equal("what is due", g.Task.ID, "b")
			r.equal("attempts", g.Task.Attempts, 2)
			r.notBefore("the second attempt", seen(&g.Task), before.Add(short))
			r.are(backend.TaskScheduled, "a")
		},
	},
	{
		Name: "return", Sentence: toTheFront,
		check: func(r *room) {
			r.classes(2, theQueue)
			l := r.listener(theQueue)
			gs := l.gets(3, "high0", "high1", "normal0")
			r.says(about(&gs[2], backend.ReportReturn, ""))
			got := r.task("normal0")
			r.equal("state", got.State, backend.TaskWaiting)
			r.equal("attempts and deaths", []int{got.Attempts, got.Deaths}, []int{0, 0})
			r.says(about(&gs[0], backend.ReportReturn, ""))
			gs = l.gets(9, "high0", "normal0", "normal1", "low0", "low1")
			r.equal("attempts", gs[1].Task.Attempts, 1)
			r.says(about(&gs[1], backend.ReportDone, ""))
			r.equal("attempts of a done task", r.task("normal0").Attempts, 1)
		},
	},
	{
		Name:     "after",
		Sentence: "What is not accepted is by somebody who does not hold the lease: of an attempt that is over.",
		check: func(r *room) {
			g := r.starts("a")
			r.says(about(&g, backend.ReportReturn, ""))
			all := func() {
				r.tb.Helper()
				before := r.task("a")
				for _, kind := range []backend.ReportKind{backend.ReportProgress, backend.ReportDone, backend.ReportFailed, backend.ReportDead, backend.ReportRetry} {
					r.saysInVain(about(&g, kind, "late"))
				}
				r.no("renewed what is over", r.prolongsTask(&g, long))
				after := r.task("a")
				r.sameTask("the task", after, before)
			}
			all()
			next := r.drains("a")[0]
			all()
			r.saysInVain(about(&g, backend.ReportReturn, ""))
			r.says(again(&next, long/2, "e"))
			all()
			r.saysInVain(about(&next, backend.ReportReturn, ""), about(&next, backend.ReportDone, ""), about(&next, backend.ReportProgress, ""))
			r.are(backend.TaskScheduled, "a")
		},
	},
	{
		Name: "stranger", Sentence: onlyHolder,
		check: func(r *room) {
			g := r.starts("a")
			r.puts("b")
			before := r.task("a")
			for kind := backend.ReportProgress; kind <= backend.ReportReturn; kind++ {
				other := about(&g, kind, "x")
				other.Token = backend.NewToken()
				waiting := about(&g, kind, "x")
				waiting.ID = "b"
				unknown := about(&g, kind, "x")
				unknown.ID = "c"
				r.saysInVain(other, waiting, unknown)
			}
			after := r.task("a")
			r.sameTask("the task", after, before)
			r.are(backend.TaskWaiting, "b")
			r.are(backend.TaskUnknown, "c")
			r.says(about(&g, backend.ReportDone, ""))
			r.counts(backend.QueueStats{Waiting: 1, Done: 1})
		},
	},
	{
		Name: "each", Sentence: eachForSelf,
		check: func(r *room) {
			r.puts("a", "b", "c", "d", "e", "f")
			l := r.listener(theQueue)
			gs := l.gets(9, "a", "b", "c", "d", "e", "f")
			bad := about(&gs[0], backend.ReportDone, "x")
			bad.Token = "another"
			r.equal("accepted", r.reports(
				bad, about(&gs[1], backend.ReportDone, "1"), about(&gs[2], backend.ReportFailed, "2"), about(&gs[3], backend.ReportReturn, ""),
				about(&gs[4], backend.ReportDead, "4"), bad, about(&gs[0], backend.ReportProgress, "5"), again(&gs[5], 0, "6"),
			), []bool{false, true, true, true, true, false, true, true})
			var states []backend.TaskState
			for _, t := range r.looks("a", "b", "c", "d", "e", "f") {
				states = append(states, t.State)
			}
			r.equal("states", states, []backend.TaskState{
				backend.TaskRunning, backend.TaskDone, backend.TaskFailed, backend.TaskWaiting, backend.TaskDead, backend.TaskWaiting,
			})
			r.counts(backend.QueueStats{Waiting: 2, Running: 1, Done: 1, Failed: 1, Dead: 1})
		},
	},
	{
		Name: "in-order", Sentence: eachForSelf + " One after the other.",
		check: func(r *room) {
			g := r.starts("a")
			r.equal("accepted", r.reports(
				about(&g, backend.ReportProgress, "1"), about(&g, backend.ReportProgress, "2"), about(&g, backend.ReportDone, "r"),
				about(&g, backend.ReportProgress, "3"), about(&g, backend.ReportFailed, "e"), about(&g, backend.ReportDone, "r"),
			), []bool{true, true, true, false, false, true})
			r.equal("result", string(r.task("a").Result), "r")
			r.counts(backend.QueueStats{Done: 1})
		},
	},
	{
		Name:     "many",
		Sentence: "Report of up to BatchLimit tasks is one step.",
		check: func(r *room) {
			ids := numberedTasks(backend.BatchLimit)
			for _, id := range ids {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true})
			}
			l := r.listener(theQueue)
			gs := l.gets(backend.BatchLimit, ids...)
			var progress, done []backend.TaskReport
			var renewals []backend.Renewal
			for i := range gs {
				progress = append(progress, about(&gs[i], backend.ReportProgress, ids[i]))
				done = append(done, about(&gs[i], backend.ReportDone, ids[i]))
				renewals = append(renewals, backend.Renewal{Member: ids[i], Token: gs[i].Token, TTL: 2 * long})
			}
			r.says(progress...)
			for i, ok := range r.prolongsTasks(renewals...) {
				r.yes("renewed "+ids[i], ok)
			}
			r.says(done...)
			for _, t := range r.looks(ids...) {
				r.equal("result", string(t.Result), t.ID)
			}
			r.counts(backend.QueueStats{Done: backend.BatchLimit})
		},
	},
	repeated("done", backend.ReportDone, backend.QueueStats{Waiting: 1, Done: 1}),
	repeated("failed", backend.ReportFailed, backend.QueueStats{Waiting: 1, Failed: 1}),
	repeated("dead", backend.ReportDead, backend.QueueStats{Waiting: 1, Dead: 1}),
	repeated("retry", backend.ReportRetry, backend.QueueStats{Waiting: 2}),
	repeated("return", backend.ReportReturn, backend.QueueStats{Waiting: 2}),
	{
		Name: "scheduled-again", Sentence: onceMore + " Nothing changes.",
		check: func(r *room) {
			g := r.starts("a")
			r.says(again(&g, long/2, "e"))
			before := r.task("a")
			r.pass(short)
			r.says(again(&g, long/2, "e"))
			after := r.task("a")
			r.sameTask("the task", after, before)
			r.counts(backend.QueueStats{Scheduled: 1})
		},
	},
	{
		Name:     "again-too-late",
		Sentence: onceMore[:len(onceMore)-1] + ", unless the task has been begun again, cancelled or expired meanwhile.",
		check: func(r *room) {
			for _, kind := range []backend.ReportKind{backend.ReportRetry, backend.ReportReturn} {
				g := r.starts("a")
				r.says(about(&g, kind, "e"))
				r.cancels("a")
				r.saysInVain(about(&g, kind, "e"))

				g = r.starts("b")
				r.says(about(&g, kind, "e"))
				next := r.fetches(theQueue, long, "b")
				r.saysInVain(about(&g, kind, "e"))
				r.says(about(&next[0], backend.ReportDone, ""))
				r.edits(backend.TasksRemove, "a", "b")

				for timeout := range r.longerAndLonger() {
					g, ok := r.catches(backend.SubmitRequest{ID: "c", Timeout: timeout}, long)
					ok = ok && r.reports(about(&g, kind, "e"))[0]
					r.becomes(backend.TaskExpired, "c")
					r.saysInVain(about(&g, kind, "e"))
					r.edits(backend.TasksRemove, "c")
					if ok {
						break
					}
				}
			}
		},
	},
	{
		Name:     "retention",
		Sentence: "Retention: how long its final state is kept.",
		check: func(r *room) {
			for _, kind := range []backend.ReportKind{backend.ReportDone, backend.ReportFailed, backend.ReportDead} {
				g := r.runs(backend.SubmitRequest{ID: "a", Retention: short}, long)
				before := r.now()
				r.says(about(&g, kind, ""))
				r.becomes(backend.TaskUnknown, "a")
				r.notBefore("the end of its state", r.now(), before.Add(short))
				r.saysInVain(about(&g, kind, ""))
				r.are(backend.TaskUnknown, "a")
			}
			r.creates(backend.SubmitRequest{ID: "c", Retention: short})
			r.cancels("c")
			r.becomes(backend.TaskUnknown, "c")
			r.same("dead tasks", r.lists(theQueue, backend.TaskDead, 0), nil)
			r.buries(0)
			r.counts(backend.QueueStats{Done: 1, Failed: 1, Cancelled: 1})
		},
	},
	{
		Name:     "graveyard",
		Sentence: "Graveyard: how long it is kept if it is dead.",
		check: func(r *room) {
			g := r.runs(backend.SubmitRequest{ID: "a", Retention: short, Graveyard: long}, long)
			h := r.runs(backend.SubmitRequest{ID: "b", Retention: long, Graveyard: short}, long)
			k := r.runs(backend.SubmitRequest{ID: "c", Retention: long, Graveyard: short}, long)
			before := r.now()
			r.says(about(&g, backend.ReportDead, "e"), about(&h, backend.ReportDead, "e"), about(&k, backend.ReportDone, "r"))
			r.becomes(backend.TaskUnknown, "b")
			r.notBefore("the end of its state", r.now(), before.Add(short))
			r.pass(short)
			got := r.task("a")
			r.equal("state", got.State, backend.TaskDead)
			r.equal("payload and error", []string{string(got.Payload), string(got.Error)}, []string{"", "e"})
			r.are(backend.TaskDone, "c")
			r.same("dead tasks", r.lists(theQueue, backend.TaskDead, 0), []string{"a"})
			r.buries(1)
		},
	},
}

// buries looks until so many dead tasks are counted: those that are not kept any more are not.
func (r *room) buries(left int) {
	r.tb.Helper()
	r.eventually("that the dead are counted without those that are gone", func() bool {
		r.lists(theQueue, backend.TaskDead, 0)
		r.drains()
		return r.stats(theQueue).Dead == left
	})
}

// repeated is a case about a report whose answer was lost, with another task in the queue.
func repeated(name string, kind backend.ReportKind, want backend.QueueStats) Case {
	return Case{
		Name: "again-" + name, Sentence: onceMore + " Nothing changes.",
		check: func(r *room) {
			g := r.starts("a")
			r.puts("b")
			it := about(&g, kind, "data")
			r.says(it)
			before := r.looks("a", "b")
			r.says(it, it)
			r.pass(short)
			r.says(it)
			after := r.looks("a", "b")
			for i := range after {
				r.sameTask("the task", after[i], before[i])
			}
			r.counts(want)
			for other := backend.ReportProgress; other <= backend.ReportReturn; other++ {
				if other != kind {
					r.saysInVain(about(&g, other, "data"))
				}
			}
			order := map[backend.ReportKind][]string{backend.ReportRetry: {"b", "a"}, backend.ReportReturn: {"a", "b"}}[kind]
			if order == nil {
				order = []string{"b"}
			}
			r.drains(order...)
		},
	}
}
