package backendtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	tellsEnd    = "Watch tells what becomes of a task: Report tells those who watch."
	tellsAlways = "It ends when it has told of a final state, or with Stop."
)

var taskWatchCases = []Case{
	{
		Name:     "state",
		Sentence: "Watch tells how a task stands. A task that there is not has the state TaskUnknown. Watching is nil if there is nothing to wait for.",
		check: func(r *room) {
			r.equal("a task that there is not", r.watches("a", true).Task.State, backend.TaskUnknown)
			r.creates(backend.SubmitRequest{ID: "a", Payload: []byte("p"), Delay: long / 2})
			look := func(want backend.TaskState) {
				r.tb.Helper()
				got := r.watches("a", false)
				r.sameTask("the task", withoutPayload(got.Task), withoutPayload(r.task("a")))
				r.equal("state", got.Task.State, want)
				if got.Watching != nil {
					got.Watching.Stop()
				}
			}
			look(backend.TaskScheduled)
			r.cancels("a")
			look(backend.TaskCancelled)
			r.edits(backend.TasksRemove, "a")
			r.puts("a")
			look(backend.TaskWaiting)
			g := r.drains("a")[0]
			r.says(about(&g, backend.ReportProgress, "half"))
			look(backend.TaskRunning)
			r.says(about(&g, backend.ReportDone, "r"))
			look(backend.TaskDone)
		},
	},
	{
		Name: "final", Sentence: tellsEnd,
		check: func(r *room) {
			for _, end := range []struct {
				kind  backend.ReportKind
				state backend.TaskState
			}{{backend.ReportDone, backend.TaskDone}, {backend.ReportFailed, backend.TaskFailed}, {backend.ReportDead, backend.TaskDead}} {
				id := end.state.String()
				early := r.creates(backend.SubmitRequest{ID: id, Watch: true}).Watching
				waiting := r.follows(id, false)
				g := r.fetches(theQueue, long, id)[0]
				running := r.follows(id, false)
				r.says(about(&g, end.kind, "data"))
				want := withoutPayload(r.task(id))
				for _, w := range []*backend.Watching{early, waiting, running} {
					r.sameTask("the message", withoutPayload(r.firstTold(w, end.state)), want)
				}
			}
			w := r.creates(backend.SubmitRequest{ID: "c", Watch: true}).Watching
			r.cancels("c")
			r.firstTold(w, backend.TaskCancelled)
			w = r.creates(backend.SubmitRequest{ID: "d", Delay: long / 2, Watch: true}).Watching
			r.cancels("d")
			r.firstTold(w, backend.TaskCancelled)
			g := r.starts("e")
			w = r.follows("e", false)
			r.cancels("e")
			r.firstTold(w, backend.TaskCancelled)
			r.saysInVain(about(&g, backend.ReportDone, ""))
		},
	},
	{
		Name:     "only-final",
		Sentence: "Progress: also tell of progress and of attempts that begin and end, not only of the final state.",
		check: func(r *room) {
			w := r.creates(backend.SubmitRequest{ID: "a", Watch: true}).Watching
			loud := r.follows("a", true)
			g := r.drains("a")[0]
			r.says(about(&g, backend.ReportProgress, "1"))
			r.says(again(&g, 0, "e"))
			g = r.drains("a")[0]
			r.told(loud, "the second attempt", func(t *backend.TaskInfo) bool { return t.Attempts == 2 })
			r.silent("before the end", w)
			r.says(about(&g, backend.ReportDone, "r"))
			r.final(loud)
			r.firstTold(w, backend.TaskDone)
		},
	},
	{
		Name:     "progress",
		Sentence: "Changes receives how the task stands when that has changed: with Progress, also progress and attempts that begin and end.",
		check: func(r *room) {
			first := r.creates(backend.SubmitRequest{ID: "a", Watch: true, Progress: true}).Watching
			both := []*backend.Watching{first, r.follows("a", true)}
			told := func(what string, is func(*backend.TaskInfo) bool) {
				r.tb.Helper()
				for _, w := range both {
					r.told(w, what, is)
				}
			}
			g := r.drains("a")[0]
			told(inState(backend.TaskRunning, 1))
			for _, p := range []string{"1", "2"} {
				r.says(about(&g, backend.ReportProgress, p))
				told("progress "+p, func(t *backend.TaskInfo) bool { return string(t.Progress) == p })
			}
			r.says(again(&g, 0, "0"))
			told(inState(backend.TaskWaiting, 1))
			g = r.drains("a")[0]
			told(inState(backend.TaskRunning, 2))
			r.says(about(&g, backend.ReportReturn, ""))
			told(inState(backend.TaskWaiting, 1))
			g = r.drains("a")[0]
			r.says(again(&g, long/2, "bad"))
			told("the end of the attempt", func(t *backend.TaskInfo) bool {
				return t.State == backend.TaskScheduled && string(t.Error) == "bad" && !t.Due.IsZero()
			})
			r.cancels("a")
			told("the final state", func(t *backend.TaskInfo) bool { return t.State == backend.TaskCancelled })
		},
	},
	{
		Name:     "upgrade",
		Sentence: "Progress: each watch has its own. One that wants it is told, whoever else watches without.",
		check: func(r *room) {
			w := r.creates(backend.SubmitRequest{ID: "a", Watch: true}).Watching
			loud := r.follows("a", true)
			quiet := r.follows("a", false)
			g := r.drains("a")[0]
			r.says(about(&g, backend.ReportProgress, "1"))
			r.told(loud, "progress", func(t *backend.TaskInfo) bool { return string(t.Progress) == "1" })
			loud.Stop()
			r.says(about(&g, backend.ReportDone, "r"))
			r.firstTold(w, backend.TaskDone)
			r.firstTold(quiet, backend.TaskDone)
		},
	},
	{
		Name:     "latest",
		Sentence: "It has room for one, the latest: what was not received in time is replaced by what came after, so that the final state is never lost.",
		check: func(r *room) {
			w := r.creates(backend.SubmitRequest{ID: "a", Watch: true, Progress: true}).Watching
			seer := r.follows("a", true)
			g := r.drains("a")[0]
			for i := range 20 {
				r.says(about(&g, backend.ReportProgress, fmt.Sprint(i)))
			}
			r.told(seer, "the last progress", func(t *backend.TaskInfo) bool { return string(t.Progress) == "19" })
			r.pass(short)
			r.says(about(&g, backend.ReportDone, "r"))
			r.equal("result", string(r.final(seer).Result), "r")
			r.pass(short)
			r.eventually("that the final state has come", func() bool { return len(w.Changes) == 1 })
			r.equal("room", cap(w.Changes), 1)
			r.equal("result", string(r.final(w).Result), "r")
			r.pass(short)
			r.silent("after the final state", w)
			r.silent("after the final state", seer)
		},
	},
	{
		Name:     "several",
		Sentence: tellsAlways + " Of several watches of one task each is told.",
		check: func(r *room) {
			r.puts("a", "b")
			var all []*backend.Watching
			for range 20 {
				all = append(all, r.follows("a", len(all)%2 == 0))
			}
			other := r.follows("b", true)
			for _, w := range all[:5] {
				w.Stop()
			}
			g := r.fetches(theQueue, long, "a")[0]
			r.says(about(&g, backend.ReportDone, "r"))
			for _, w := range all[5:] {
				r.equal("result", string(r.final(w).Result), "r")
			}
			r.silent("the watch of another task", other)
			other.Stop()
		},
	},
	{
		Name:     "stop",
		Sentence: "Stop ends the watch. Calling it again does nothing.",
		check: func(r *room) {
			w := r.creates(backend.SubmitRequest{ID: "a", Watch: true, Progress: true}).Watching
			other := r.follows("a", false)
			w.Stop()
			w.Stop()
			g := r.drains("a")[0]
			r.says(about(&g, backend.ReportProgress, "1"), about(&g, backend.ReportDone, "r"))
			r.final(other)
			r.pass(short)
			r.silent("after Stop", w)
			w.Stop()
			other.Stop()
		},
	},
	{
		Name:     "stop-and-again",
		Sentence: "Stop ends the watch, and no other, also not a later one of the same task.",
		check: func(r *room) {
			r.puts("a")
			for range 5 {
				w := r.follows("a", true)
				w.Stop()
			}
			w := r.follows("a", false)
			old := r.follows("a", false)
			old.Stop()
			g := r.drains("a")[0]
			old.Stop()
			r.says(about(&g, backend.ReportDone, "r"))
			r.equal("result", string(r.firstTold(w, backend.TaskDone).Result), "r")
		},
	},
	{
		Name:     "context",
		Sentence: tellsAlways + " Not with the context of the call that began it.",
		check: func(r *room) {
			ctx, cancel := context.WithCancel(r.ctx)
			got, err := r.be.Submit(ctx, r.filledSubmit(backend.SubmitRequest{ID: "a", Watch: true}))
			r.ok(err, "Submit")
			more, err := r.be.Watch(ctx, backend.WatchRequest{Namespace: r.ns, ID: "a"})
			r.ok(err, "Watch")
			cancel()
			r.pass(short)
			g := r.drains("a")[0]
			r.says(about(&g, backend.ReportDone, "r"))
			r.equal("result", string(r.final(got.Watching).Result), "r")
			r.equal("result", string(r.final(more.Watching).Result), "r")
		},
	},
	{
		Name:     "joined",
		Sentence: "Watch has the reply watch the task, in the same step, also if it was joined.",
		check: func(r *room) {
			req := backend.SubmitRequest{ID: "a", Watch: true, Progress: true}
			first := r.creates(req).Watching
			second := r.submit(req).Watching
			g := r.drains("a")[0]
			req.Progress = false
			third := r.submit(req).Watching
			r.says(about(&g, backend.ReportDone, "r"))
			for _, w := range []*backend.Watching{first, second, third} {
				r.equal("result", string(r.final(w).Result), "r")
			}
		},
	},
	{
		Name:     "deadline",
		Sentence: "The backend asks again when the task's time is over: who watches is told that it expired, though nobody looks.",
		check: func(r *room) {
			reply := r.creates(backend.SubmitRequest{ID: "a", Watch: true, Timeout: 2 * short, Delay: short})
			r.firstTold(reply.Watching, backend.TaskExpired)
			reply = r.creates(backend.SubmitRequest{ID: "c", Watch: true, Progress: true, Timeout: short})
			got := r.final(reply.Watching)
			r.equal("state", got.State, backend.TaskExpired)
			r.equal("reason", got.Reason, backend.ReasonNoListener)
		},
	},
	{
		Name:     "deaths",
		Sentence: "Watch tells what becomes of a task: that it is dead because too many of its holders died.",
		check: func(r *room) {
			w := r.creates(backend.SubmitRequest{ID: "a", Watch: true, MaxDeaths: 2}).Watching
			loud := r.follows("a", true)
			r.fetches(theQueue, short, "a")
			r.dies("a", 1)
			what, is := inState(backend.TaskWaiting, 1)
			r.told(loud, what, is)
			r.fetches(theQueue, short, "a")
			r.dies("a", 2)
			for _, w := range []*backend.Watching{w, loud} {
				got := r.final(w)
				r.equal("state", got.State, backend.TaskDead)
				r.equal("reason and deaths", []int{int(got.Reason), got.Deaths}, []int{int(backend.ReasonDeaths), 2})
			}
		},
	},
	{
		Name:     "large-result",
		Sentence: tellsEnd + " However large the result is.",
		check: func(r *room) {
			w := r.creates(backend.SubmitRequest{ID: "a", Watch: true, Progress: true, Payload: []byte(strings.Repeat("p", 1<<20))}).Watching
			g := r.drains("a")[0]
			large := strings.Repeat("\x00\xffab", 1<<18)
			r.says(about(&g, backend.ReportProgress, large))
			r.told(w, "the progress", func(t *backend.TaskInfo) bool { return string(t.Progress) == large })
			r.says(about(&g, backend.ReportDone, large))
			got := r.final(w)
			r.yes("the result came whole", string(got.Result) == large)
		},
	},
	{
		Name:     "many",
		Sentence: tellsEnd + " However many are watched.",
		check: func(r *room) {
			ids := numberedTasks(300)
			var ws []*backend.Watching
			for _, id := range ids {
				ws = append(ws, r.creates(backend.SubmitRequest{ID: id, Watch: true}).Watching)
			}
			l := r.listener(theQueue)
			var items []backend.TaskReport
			for _, g := range l.gets(backend.BatchLimit, ids...) {
				items = append(items, about(&g, backend.ReportDone, g.Task.ID))
			}
			r.says(items...)
			for i, w := range ws {
				r.equal("result", string(r.firstTold(w, backend.TaskDone).Result), ids[i])
			}
		},
	},
	{
		Name:     "short-retention",
		Sentence: "Changes: the final state is never lost. Its message comes before its retention is over, and who was told knows.",
		check: func(r *room) {
			for retention := range r.longerAndLonger() {
				id := retention.String()
				w := r.creates(backend.SubmitRequest{ID: id, Watch: true, Retention: retention}).Watching
				g := r.drains(id)[0]
				r.says(about(&g, backend.ReportDone, "r"))
				got := r.told(w, "the end", func(t *backend.TaskInfo) bool { return t.State.Final() || t.State == backend.TaskUnknown })
				if got.State == backend.TaskUnknown {
					continue // the machine stood still for a moment
				}
				r.equal("result", string(got.Result), "r")
				r.becomes(backend.TaskUnknown, id)
				return
			}
		},
	},
}
