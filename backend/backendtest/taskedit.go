package backendtest

import (
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	cancels    = "TasksCancel ends tasks that have not ended."
	revives    = "TasksRevive puts dead tasks back into their queues, with the time and the number of attempts and deaths of new ones."
	tellsEach  = "EditTasks, each for itself: it tells for each id whether it was so, before, that the action could do something."
	passesOver = "QueuePause has Fetch pass a queue over; QueueResume undoes it. What runs goes on, and what is submitted waits."
)

var taskEditCases = []Case{
	{
		Name: "cancel", Sentence: cancels,
		check: func(r *room) {
			g := r.starts("running")
			r.puts("waiting", "other")
			r.creates(backend.SubmitRequest{ID: "scheduled", Delay: long / 2, Payload: []byte("p")})
			r.cancels("waiting", "scheduled", "running")
			for _, t := range r.looks("waiting", "scheduled", "running") {
				r.equal("state of "+t.ID, t.State, backend.TaskCancelled)
				r.equal("reason", t.Reason, backend.ReasonNone)
				r.equal("payload", string(t.Payload), "")
			}
			r.counts(backend.QueueStats{Waiting: 1, Cancelled: 3})
			r.drains("other")
			for kind := backend.ReportProgress; kind <= backend.ReportReturn; kind++ {
				r.saysInVain(about(&g, kind, "late"))
			}
			r.no("renewed", r.prolongsTask(&g, long))
			r.are(backend.TaskCancelled, "waiting", "scheduled", "running")
		},
	},
	{
		Name: "cancel-final", Sentence: cancels + " Others it leaves alone.",
		check: func(r *room) {
			gs := append(r.fetchesNew("done"), r.fetchesNew("dead")...)
			r.says(about(&gs[0], backend.ReportDone, "r"), about(&gs[1], backend.ReportDead, "e"))
			r.puts("a")
			r.cancels("a")
			r.equal("cancelled", r.edits(backend.TasksCancel, "done", "dead", "a", "unknown"), []bool{false, false, false, false})
			r.are(backend.TaskDone, "done")
			r.are(backend.TaskDead, "dead")
			r.counts(backend.QueueStats{Done: 1, Dead: 1, Cancelled: 1})
		},
	},
	{
		Name:     "lost",
		Sentence: "Lost receives leases of the listener's that were taken away because their tasks were cancelled.",
		check: func(r *room) {
			r.puts("a", "b", "c")
			l, other := r.listener(theQueue), r.listener(theQueue)
			gs := l.gets(2, "a", "b")
			h := other.gets(1, "c")[0]
			r.cancels("b")
			l.loses(&gs[1])
			r.cancels("c")
			other.loses(&h)
			r.cancels("a")
			l.loses(&gs[0])
			r.saysInVain(about(&gs[0], backend.ReportDone, ""), about(&gs[1], backend.ReportReturn, ""))
		},
	},
	{
		Name: "remove", Sentence: "TasksRemove forgets tasks in a final state.",
		check: func(r *room) {
			var gs []backend.TaskGrant
			for _, id := range []string{"done", "failed", "dead", "running"} {
				gs = append(gs, r.fetchesNew(id)...)
			}
			r.says(about(&gs[0], backend.ReportDone, ""), about(&gs[1], backend.ReportFailed, ""), about(&gs[2], backend.ReportDead, ""))
			r.puts("cancelled", "waiting")
			r.cancels("cancelled")
			r.creates(backend.SubmitRequest{ID: "scheduled", Delay: long / 2})
			r.equal("removed", r.edits(backend.TasksRemove,
				"done", "waiting", "failed", "running", "dead", "unknown", "cancelled", "scheduled", "done",
			), []bool{true, false, true, false, true, false, true, false, false})
			r.are(backend.TaskUnknown, "done", "failed", "dead", "cancelled")
			r.are(backend.TaskRunning, "running")
			r.are(backend.TaskWaiting, "waiting")
			r.are(backend.TaskScheduled, "scheduled")
			r.counts(backend.QueueStats{Waiting: 1, Scheduled: 1, Running: 1, Done: 1, Failed: 1, Cancelled: 1})
			r.same("dead tasks", r.lists(theQueue, backend.TaskDead, 0), nil)
			r.says(about(&gs[3], backend.ReportDone, ""))
			r.creates(backend.SubmitRequest{ID: "done", Payload: []byte("another")})
		},
	},
	{
		Name: "revive", Sentence: revives,
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Payload: []byte("p"), Meta: []byte("m"), Class: backend.ClassHigh, MaxDeaths: 1})
			g := r.drains("a")[0]
			r.says(again(&g, 0, "first"))
			g = r.drains("a")[0]
			r.says(about(&g, backend.ReportProgress, "half"), about(&g, backend.ReportDead, "e"))
			r.pass(short)
			r.creates(backend.SubmitRequest{ID: "high", Class: backend.ClassHigh})
			before := r.now()
			r.equal("revived", r.edits(backend.TasksRevive, "a"), []bool{true})
			got := r.task("a")
			r.equal("state", got.State, backend.TaskWaiting)
			r.equal("attempts and deaths", []int{got.Attempts, got.Deaths}, []int{0, 0})
			r.same("error and progress", []string{string(got.Error), string(got.Progress)}, []string{"e", ""})
			r.equal("reason", got.Reason, backend.ReasonNone)
			r.notBefore("the new deadline", got.Deadline, before.Add(long))
			r.lives("what is left of its time", got.Remaining, long)
			r.counts(backend.QueueStats{Waiting: 2})
			r.saysInVain(about(&g, backend.ReportDone, ""))
			r.puts("normal")
			gs := r.drains("high", "a", "normal")
			r.equal("attempts", gs[1].Task.Attempts, 1)
			r.same("payload and meta", []string{string(gs[1].Task.Payload), string(gs[1].Task.Meta)}, []string{"p", "m"})
			r.says(about(&gs[1], backend.ReportDone, "r"))
			r.counts(backend.QueueStats{Running: 2, Done: 1})
		},
	},
	{
		Name: "revive-deaths", Sentence: revives,
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", MaxDeaths: 1})
			for range 2 {
				r.fetches(theQueue, short, "a")
				got := r.dies("a", 1)
				r.equal("reason", got.Reason, backend.ReasonDeaths)
				r.equal("revived", r.edits(backend.TasksRevive, "a"), []bool{true})
				got = r.task("a")
				r.equal("state", got.State, backend.TaskWaiting)
				r.equal("reason", got.Reason, backend.ReasonNone)
			}
			r.same("dead tasks", r.lists(theQueue, backend.TaskDead, 0), nil)
		},
	},
	{
		Name: "revive-others", Sentence: "TasksRevive puts dead tasks back; of others there is nothing to revive.",
		check: func(r *room) {
			gs := append(r.fetchesNew("done"), r.fetchesNew("failed")...)
			r.says(about(&gs[0], backend.ReportDone, ""), about(&gs[1], backend.ReportFailed, ""))
			r.starts("running")
			r.puts("cancelled", "waiting")
			r.cancels("cancelled")
			ids := []string{"done", "failed", "running", "cancelled", "waiting", "unknown"}
			r.equal("revived", r.edits(backend.TasksRevive, ids...), make([]bool, len(ids)))
			r.counts(backend.QueueStats{Waiting: 1, Running: 1, Done: 1, Failed: 1, Cancelled: 1})
			r.drains("waiting")
		},
	},
	{
		Name: "revive-outlives", Sentence: "TasksRevive puts dead tasks back into their queues: the end of the graveyard is none of theirs any more.",
		check: func(r *room) {
			for grave := range r.longerAndLonger() {
				g := r.runs(backend.SubmitRequest{ID: "a", Retention: grave}, long)
				r.says(about(&g, backend.ReportDead, "e"))
				if !r.edits(backend.TasksRevive, "a")[0] {
					continue // the machine stood still for a moment
				}
				r.pass(grave + short)
				r.are(backend.TaskWaiting, "a")
				r.drains("a")
				return
			}
		},
	},
	{
		Name: "each", Sentence: tellsEach,
		check: func(r *room) {
			r.puts("a", "b", "c")
			r.equal("cancelled", r.edits(backend.TasksCancel, "b", "none", "a", "b"), []bool{true, false, true, false})
			r.are(backend.TaskCancelled, "a", "b")
			r.drains("c")
		},
	},
	{
		Name: "many", Sentence: tellsEach,
		check: func(r *room) {
			ids := numberedTasks(backend.BatchLimit)
			for _, id := range ids {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true})
			}
			r.cancels(ids...)
			r.counts(backend.QueueStats{Cancelled: backend.BatchLimit})
			r.puts("a")
			l := r.listener(theQueue)
			r.equal("what was fetched", l.follows(1).Task.ID, "a")
			for i, ok := range r.edits(backend.TasksRemove, ids...) {
				r.yes("removed "+ids[i], ok)
			}
		},
	},
	{
		Name: "ghosts", Sentence: "What was cancelled is not in its queue any more: one submitted again under its id is another one, and comes once, when it is its turn.",
		check: func(r *room) {
			r.puts("a", "b", "c")
			r.cancels("a", "c")
			r.edits(backend.TasksRemove, "a", "c")
			r.puts("d", "a")
			r.counts(backend.QueueStats{Waiting: 3, Cancelled: 2})
			r.sameSet("waiting", r.lists(theQueue, backend.TaskWaiting, 0), []string{"a", "b", "d"})
			l := r.listener(theQueue)
			l.gets(9, "b", "d", "a")
			l.idles()
			r.counts(backend.QueueStats{Running: 3, Cancelled: 2})
		},
	},
	{
		Name: "ghosts-of-other-classes", Sentence: "What was cancelled is not in its queue any more, also if another one under its id is in another queue or class.",
		check: func(r *room) {
			r.puts("a", "x")
			r.cancels("a", "x")
			r.edits(backend.TasksRemove, "a", "x")
			r.creates(backend.SubmitRequest{ID: "a", Class: backend.ClassLow})
			r.creates(backend.SubmitRequest{ID: "x", Queue: "other"})
			r.puts("b")
			r.counts(backend.QueueStats{Waiting: 2, Cancelled: 2})
			l := r.listener(theQueue)
			req := l.request(9)
			l.fetchesLanes(req, []backend.FetchLane{{Class: backend.ClassLow, Max: 9}, {Class: backend.ClassNormal, Max: 9}}, "a", "b")
			r.fetches("other", long, "x")
			r.counts(backend.QueueStats{Running: 2, Cancelled: 2})
		},
	},
	{
		Name: "pause", Sentence: passesOver,
		check: func(r *room) {
			g := r.starts("running")
			r.puts("a")
			r.creates(backend.SubmitRequest{ID: "other", Queue: "other"})
			r.pauses(theQueue, true)
			r.pauses(theQueue, true)
			r.puts("b")
			l := r.listener(theQueue, "other")
			l.gets(9, "other")
			r.counts(backend.QueueStats{Waiting: 2, Running: 1, Paused: true})
			r.no("the other queue is paused", r.stats("other").Paused)
			r.yes("renewed", r.prolongsTask(&g, 2*long))
			r.says(about(&g, backend.ReportReturn, ""))
			r.pauses("other", false)
			l.gets(9)
			r.pauses(theQueue, false)
			l.gets(9, "running", "a", "b")
			r.counts(backend.QueueStats{Running: 3})
		},
	},
	{
		Name: "pause-time", Sentence: passesOver + " Time goes on.",
		check: func(r *room) {
			r.pauses(theQueue, true)
			r.creates(backend.SubmitRequest{ID: "expires", Timeout: short})
			r.creates(backend.SubmitRequest{ID: "due", Delay: short})
			r.becomes(backend.TaskExpired, "expires")
			r.pass(short + rounding)
			r.listener(theQueue).lives()
			r.counts(backend.QueueStats{Waiting: 1, Expired: 1, Paused: true})
			r.pauses(theQueue, false)
			g := r.fetches(theQueue, short, "due")[0]
			r.pauses(theQueue, true)
			r.dies("due", 1)
			r.saysInVain(about(&g, backend.ReportDone, ""))
			r.listener(theQueue).gets(9)
			r.pauses(theQueue, false)
			r.drains("due")
		},
	},
	{
		Name: "cancel-again", Sentence: "A final state is final: whoever reports, cancels or lets time pass afterwards does not change it.",
		check: func(r *room) {
			for timeout := range r.longerAndLonger() {
				id := fmt.Sprint("t", timeout)
				g, ok := r.catches(backend.SubmitRequest{ID: id, Timeout: timeout}, long)
				if !ok || !r.reports(about(&g, backend.ReportDone, "r"))[0] {
					continue // the machine stood still for a moment
				}
				r.drains()
				before, counted := r.task(id), r.stats(theQueue)
				r.equal("cancelled", r.edits(backend.TasksCancel, id), []bool{false})
				r.pass(timeout + short)
				r.saysInVain(about(&g, backend.ReportFailed, "e"))
				r.says(about(&g, backend.ReportDone, "other"))
				r.drains()
				r.sameTask("the task", r.task(id), before)
				r.counts(counted)
				r.equal("what is left of its time", before.Remaining, time.Duration(0))
				return
			}
		},
	},
}

// fetchesNew submits a task of which nothing is special, and takes it.
func (r *room) fetchesNew(id string) []backend.TaskGrant {
	r.tb.Helper()
	return []backend.TaskGrant{r.starts(id)}
}
