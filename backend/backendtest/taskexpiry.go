package backendtest

import (
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	findsExpired = "Whoever looks at a task whose time is over finds it expired, whether or not anybody has noticed before."
	overAll      = "Scheduled, waiting, running -> expired: its time is over."
	inTimeOrder  = "Due times are noticed in order of time."
)

var taskExpiryCases = []Case{
	{
		Name: "waiting", Sentence: findsExpired,
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Timeout: short, Payload: []byte("p")})
			got := r.becomes(backend.TaskExpired, "a")
			r.notBefore("the end of its time", r.now(), got.Deadline)
			r.equal("reason", got.Reason, backend.ReasonNoListener)
			r.equal("payload", string(got.Payload), "")
			r.equal("what is left of its time", got.Remaining, time.Duration(0))
			r.drains()
			r.counts(backend.QueueStats{Expired: 1})
		},
	},
	{
		Name: "scheduled", Sentence: overAll,
		check: func(r *room) {
			for timeout := range r.longerAndLonger() {
				id := timeout.String()
				g, ok := r.catches(backend.SubmitRequest{ID: id, Timeout: timeout}, long)
				if !ok || !r.reports(again(&g, long, "e"))[0] {
					continue // the machine stood still for a moment
				}
				got := r.becomes(backend.TaskExpired, id)
				r.notBefore("the end of its time", r.now(), got.Deadline)
				r.equal("reason", got.Reason, backend.ReasonNone)
				r.equal("error", string(got.Error), "e")
				r.drains()
				r.same("scheduled tasks", r.lists(theQueue, backend.TaskScheduled, 0), nil)
				return
			}
		},
	},
	{
		Name: "running", Sentence: overAll + " Its holder has lost it.",
		check: func(r *room) {
			for timeout := range r.longerAndLonger() {
				id := timeout.String()
				g, ok := r.catches(backend.SubmitRequest{ID: id, Timeout: timeout}, long)
				if !ok {
					continue // the machine stood still for a moment
				}
				got := r.becomes(backend.TaskExpired, id)
				r.notBefore("the end of its time", r.now(), got.Deadline)
				r.equal("reason", got.Reason, backend.ReasonNone)
				r.equal("attempts and deaths", []int{got.Attempts, got.Deaths}, []int{1, 0})
				for kind := backend.ReportProgress; kind <= backend.ReportReturn; kind++ {
					r.saysInVain(about(&g, kind, "late"))
				}
				r.no("renewed", r.prolongsTask(&g, long))
				r.drains()
				r.same("running tasks", r.lists(theQueue, backend.TaskRunning, 0), nil)
				return
			}
		},
	},
	{
		Name: "unnoticed", Sentence: findsExpired,
		check: func(r *room) {
			for _, id := range []string{"submit", "watch", "cancel", "remove", "tasks"} {
				r.creates(backend.SubmitRequest{ID: id, Timeout: short})
			}
			r.pass(short + rounding)
			r.equal("joined", r.joins(backend.SubmitRequest{ID: "submit"}).State, backend.TaskExpired)
			r.equal("watched", r.watches("watch", true).Task.State, backend.TaskExpired)
			r.equal("cancelled", r.edits(backend.TasksCancel, "cancel"), []bool{false})
			r.are(backend.TaskExpired, "cancel")
			r.equal("removed", r.edits(backend.TasksRemove, "remove"), []bool{true})
			r.are(backend.TaskUnknown, "remove")
			r.are(backend.TaskExpired, "tasks")
			r.drains()
			r.counts(backend.QueueStats{Expired: 5})
		},
	},
	{
		Name: "unnoticed-report", Sentence: findsExpired + " Report comes too late then, also with a lease that was to last longer.",
		check: func(r *room) {
			for _, kind := range []backend.ReportKind{backend.ReportDone, backend.ReportRetry, backend.ReportReturn, backend.ReportDead} {
				for timeout := range r.longerAndLonger() {
					g, ok := r.catches(backend.SubmitRequest{ID: "a", Timeout: timeout}, long)
					if !ok {
						r.edits(backend.TasksRemove, "a")
						continue // the machine stood still for a moment
					}
					r.pass(timeout + rounding)
					r.saysInVain(about(&g, kind, "late"))
					r.are(backend.TaskExpired, "a")
					r.equal("removed", r.edits(backend.TasksRemove, "a"), []bool{true})
					break
				}
			}
		},
	},
	{
		Name: "skipped", Sentence: "Fetch passes over what has expired.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Timeout: short})
			r.puts("b")
			r.creates(backend.SubmitRequest{ID: "c", Timeout: short})
			r.puts("d")
			r.pass(short + rounding)
			l := r.listener(theQueue)
			l.gets(1, "b")
			l.gets(1, "d")
			l.idles()
			r.are(backend.TaskExpired, "a", "c")
		},
	},
	{
		Name:     "reason",
		Sentence: "ReasonNoListener: it expired before anybody took it, and nobody listened at the end.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "alone", Timeout: short})
			r.equal("reason, if nobody listens", r.becomes(backend.TaskExpired, "alone").Reason, backend.ReasonNoListener)
			l := r.listener(theQueue)
			l.lives()
			r.creates(backend.SubmitRequest{ID: "busy", Timeout: short})
			r.equal("reason, if somebody listens", r.becomes(backend.TaskExpired, "busy").Reason, backend.ReasonNone)
			for timeout := range r.longerAndLonger() {
				id := timeout.String()
				g, ok := r.catches(backend.SubmitRequest{ID: id, Timeout: timeout}, long)
				if !ok || !r.reports(again(&g, 0, "e"))[0] {
					continue // the machine stood still for a moment
				}
				l.leaves()
				r.equal("reason, if somebody took it once", r.becomes(backend.TaskExpired, id).Reason, backend.ReasonNone)
				break
			}
			l.leaves()
			r.creates(backend.SubmitRequest{ID: "left", Timeout: short, Delay: short / 2})
			r.equal("reason, if all have left", r.becomes(backend.TaskExpired, "left").Reason, backend.ReasonNoListener)
			for timeout := range r.longerAndLonger() {
				id := "returned after " + timeout.String()
				g, ok := r.catches(backend.SubmitRequest{ID: id, Timeout: timeout}, long)
				if ok && r.reports(about(&g, backend.ReportReturn, ""))[0] {
					r.equal("reason, if it was put back", r.becomes(backend.TaskExpired, id).Reason, backend.ReasonNoListener)
					break
				}
			}
		},
	},
	{
		Name: "retention", Sentence: "Retention: how long its final state is kept, from its end.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Timeout: short, Retention: long})
			r.creates(backend.SubmitRequest{ID: "b", Timeout: short, Retention: short})
			r.becomes(backend.TaskUnknown, "b")
			r.are(backend.TaskExpired, "a")
			r.puts("b")
			r.drains("b")
		},
	},
	{
		Name: "due", Sentence: inTimeOrder + " What is due comes to the end of its class.",
		check: func(r *room) {
			r.puts("first")
			delays := map[string]time.Duration{"c": 5 * short, "a": 3 * short, "b": 4 * short}
			for _, id := range []string{"c", "a", "b"} {
				r.creates(backend.SubmitRequest{ID: id, Delay: delays[id]})
			}
			r.creates(backend.SubmitRequest{ID: "never", Delay: long / 2})
			r.pass(6 * short)
			got := r.listener(theQueue).takes(9)
			due := func(t *backend.TaskInfo) time.Time { return t.Submitted.Add(delays[t.ID]) }
			want := slices.SortedStableFunc(slices.Values(got), func(a, b backend.TaskGrant) int { return due(&a.Task).Compare(due(&b.Task)) })
			r.same("what is due, in the order of time", taskIDs(got), taskIDs(want))
			r.sameSet("what is due", taskIDs(got), []string{"first", "a", "b", "c"})
			r.counts(backend.QueueStats{Scheduled: 1, Running: 4})
		},
	},
	{
		Name: "not-before", Sentence: "Delay: until it is due nobody gets it.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Delay: 3 * short})
			l := r.listener(theQueue)
			g := l.follows(1)
			got := r.task("a")
			r.notBefore("when it was fetched", seen(&g.Task), got.Submitted.Add(3*short))
			r.equal("due, of a running task", got.Due.IsZero(), true)
		},
	},
	{
		Name: "due-noticed", Sentence: "Due times are noticed by the first step that looks at the task or fetches from its queue.",
		check: func(r *room) {
			for _, id := range []string{"tasks", "watch", "submit"} {
				r.creates(backend.SubmitRequest{ID: id, Delay: short})
			}
			r.pass(short + rounding)
			r.are(backend.TaskWaiting, "tasks")
			r.equal("watched", r.watches("watch", false).Task.State, backend.TaskWaiting)
			r.equal("joined", r.joins(backend.SubmitRequest{ID: "submit"}).State, backend.TaskWaiting)
			r.counts(backend.QueueStats{Waiting: 3})
			r.creates(backend.SubmitRequest{ID: "fetch", Delay: short})
			r.pass(short + rounding)
			r.listener(theQueue).lives()
			r.counts(backend.QueueStats{Waiting: 4})
		},
	},
	{
		Name: "due-class", Sentence: "What is due comes to the end of its class.",
		check: func(r *room) {
			r.classes(1, theQueue)
			for i, id := range []string{"low", "high"} {
				r.creates(backend.SubmitRequest{ID: id, Delay: short, Class: []backend.TaskClass{backend.ClassLow, backend.ClassHigh}[i]})
			}
			r.pass(short + rounding)
			r.drains("high0", "high", "normal0", "low0", "low")
		},
	},
	{
		Name: "many", Sentence: "What is due is noticed without scanning, however much there is, in order of time.",
		check: func(r *room) {
			ids := numberedTasks(350)
			for i := len(ids); i > 0; i-- {
				r.submit(backend.SubmitRequest{ID: ids[i-1], Delay: time.Duration(1000+i) * time.Millisecond, Fresh: true})
			}
			r.eventually("that all are due", func() bool { return r.now().After(r.task(ids[0]).Submitted.Add(1400 * time.Millisecond)) })
			l := r.listener(theQueue)
			var got []string
			r.eventually("that all have come", func() bool {
				got = append(got, taskIDs(l.takes(backend.BatchLimit))...)
				return len(got) >= len(ids)
			})
			r.sameSet("what was due", got, ids)
			l.idles()
		},
	},
	{
		Name: "long-lane", Sentence: "Expired tasks do not pile up: those that are submitted and fetched after many that expired are served.",
		check: func(r *room) {
			for _, id := range numberedTasks(300) {
				r.submit(backend.SubmitRequest{ID: id, Timeout: short, Fresh: true})
			}
			r.pass(2*short + rounding)
			r.puts("a")
			l := r.listener(theQueue)
			r.equal("what was fetched", l.follows(1).Task.ID, "a")
			l.idles()
			r.counts(backend.QueueStats{Running: 1, Expired: 300})
			r.equal("listed", r.lists(theQueue, backend.TaskWaiting, 0), []string(nil))
		},
	},
}

// catches submits a task and takes it, if that succeeds before its time is over.
func (r *room) catches(req backend.SubmitRequest, ttl time.Duration) (backend.TaskGrant, bool) {
	r.tb.Helper()
	r.creates(req)
	l := r.listener(theQueue)
	defer l.leaves()
	l.ttl = ttl
	got := l.takes(1)
	if len(got) == 0 {
		return backend.TaskGrant{}, false
	}
	r.equal("what was fetched", got[0].Task.ID, req.ID)
	return got[0], true
}
