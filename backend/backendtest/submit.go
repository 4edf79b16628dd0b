package backendtest

import (
	"math"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const sameID = "That it has another queue or payload is an error that matches ErrConflict."

var submitCases = []Case{
	{
		Name:     "waits",
		Sentence: "Submit puts a task into its queue. It does not wait for the task.",
		check: func(r *room) {
			before := r.now()
			r.creates(backend.SubmitRequest{ID: "a", Payload: []byte("p"), Meta: []byte("m"), Class: backend.ClassHigh})
			got := r.task("a")
			r.notBefore("submitted", got.Submitted, before)
			r.notBefore("now", seen(&got), got.Submitted)
			r.lives("what is left of its time", got.Remaining, long)
			want := backend.TaskInfo{
				ID: "a", Queue: theQueue, State: backend.TaskWaiting, Class: backend.ClassHigh, Payload: []byte("p"), Meta: []byte("m"),
				Submitted: got.Submitted, Deadline: got.Deadline, Remaining: long,
			}
			r.sameTask("a new task", got, want)
			if d := got.Deadline.Sub(got.Submitted) - long; d < -rounding || d > rounding {
				r.Errorf("the deadline is %v after the task was submitted, not %v", d+long, long)
			}
			r.counts(backend.QueueStats{Waiting: 1})
		},
	},
	{
		Name:     "scheduled",
		Sentence: "Delay: until it is due; until then it is scheduled.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Delay: long, Timeout: 2 * long})
			got := r.task("a")
			r.equal("state", got.State, backend.TaskScheduled)
			if d := got.Due.Sub(got.Submitted) - long; d < -rounding || d > rounding {
				r.Errorf("it is due %v after it was submitted, not %v", d+long, long)
			}
			r.counts(backend.QueueStats{Scheduled: 1})
			r.pass(2 * short)
			r.drains()
			r.are(backend.TaskScheduled, "a")
		},
	},
	{
		Name:     "joins",
		Sentence: "Submit joins the task that has its id: Task is how it stands.",
		check: func(r *room) {
			req := backend.SubmitRequest{ID: "a", Payload: []byte("p")}
			r.creates(req)
			r.equal("state", r.joins(req).State, backend.TaskWaiting)
			g := r.fetches(theQueue, long, "a")[0]
			r.says(about(&g, backend.ReportProgress, "half"))
			got := r.joins(req)
			r.equal("state", got.State, backend.TaskRunning)
			r.equal("attempts", got.Attempts, 1)
			r.equal("progress", string(got.Progress), "half")
			r.says(again(&g, long/2, "bad luck"))
			got = r.joins(req)
			r.equal("state", got.State, backend.TaskScheduled)
			r.equal("error", string(got.Error), "bad luck")
			r.counts(backend.QueueStats{Scheduled: 1})
		},
	},
	{
		Name:     "joins-final",
		Sentence: "Submit joins the one that has its id, also if it has ended, for as long as its final state is kept.",
		check: func(r *room) {
			for _, end := range []struct {
				kind   backend.ReportKind
				state  backend.TaskState
				result string
			}{
				{backend.ReportDone, backend.TaskDone, "r"}, {backend.ReportFailed, backend.TaskFailed, ""}, {backend.ReportDead, backend.TaskDead, ""},
			} {
				id := end.state.String()
				req := backend.SubmitRequest{ID: id, Payload: []byte("p"), Watch: true}
				g := r.runs(req, long)
				r.says(about(&g, end.kind, "r"))
				got := r.submit(req)
				r.yes("joined "+id, got.Joined)
				r.equal("state", got.Task.State, end.state)
				r.equal("result", string(got.Task.Result), end.result)
				r.equal("what is left of its time", got.Task.Remaining, time.Duration(0))
			}
			r.creates(backend.SubmitRequest{ID: "c"})
			r.cancels("c")
			r.equal("state", r.joins(backend.SubmitRequest{ID: "c"}).State, backend.TaskCancelled)
			r.drains()
		},
	},
	{
		Name: "conflict", Sentence: sameID + " Nothing has changed.",
		check: func(r *room) {
			req := backend.SubmitRequest{ID: "a", Payload: []byte("p"), Meta: []byte("m")}
			r.creates(req)
			other, moved, empty := req, req, req
			other.Payload, moved.Queue, empty.Payload = []byte("other"), "elsewhere", nil
			attack := func(state backend.TaskState) {
				r.tb.Helper()
				before := r.task("a")
				r.equal("state", before.State, state)
				for _, bad := range []backend.SubmitRequest{other, moved, empty} {
					bad.Watch = true
					r.conflicts(bad)
				}
				after := r.task("a")
				r.sameTask("after conflicts", after, before)
				r.equal("the numbers of the other queue", r.stats("elsewhere"), backend.QueueStats{})
			}
			attack(backend.TaskWaiting)
			g := r.fetches(theQueue, long, "a")[0]
			attack(backend.TaskRunning)
			r.says(again(&g, long/2, "e"))
			attack(backend.TaskScheduled)
			r.cancels("a")
			attack(backend.TaskCancelled)
			r.edits(backend.TasksRemove, "a")
			g = r.runs(req, long)
			r.says(about(&g, backend.ReportDone, "r"))
			attack(backend.TaskDone)
		},
	},
	{
		Name: "conflict-dead", Sentence: sameID,
		check: func(r *room) {
			req := backend.SubmitRequest{ID: "a", Payload: []byte("p")}
			g := r.runs(req, long)
			r.says(about(&g, backend.ReportDead, "e"))
			req.Payload = []byte("other")
			r.conflicts(req)
			r.are(backend.TaskDead, "a")
		},
	},
	{
		Name:     "same",
		Sentence: "Requests under one id that have the same queue and payload are the same, whatever else they say. The first one counts.",
		check: func(r *room) {
			req := backend.SubmitRequest{ID: "a", Payload: []byte("p"), Meta: []byte("m")}
			r.creates(req)
			before := r.task("a")
			other := req
			other.Meta, other.Class, other.Delay, other.Timeout = []byte("other"), backend.ClassHigh, long, 2*long
			other.Retention, other.MaxDeaths = 2*long, 9
			r.sameTask("what was joined", withoutPayload(r.joins(other)), withoutPayload(before))
			r.sameTask("the task", r.task("a"), before)
		},
	},
	{
		Name:     "fresh",
		Sentence: "A Fresh request that was sent twice is one task.",
		check: func(r *room) {
			l := r.listener(theQueue)
			id := backend.NewToken()
			req := backend.SubmitRequest{ID: id, Fresh: true, Payload: []byte("p")}
			r.creates(req)
			r.submit(req)
			r.counts(backend.QueueStats{Waiting: 1})
			g := l.gets(2, id)[0]
			r.equal("payload", string(g.Task.Payload), "p")
			r.submit(req)
			l.gets(2)
			r.are(backend.TaskRunning, id)
			r.says(about(&g, backend.ReportDone, "r"))
			r.equal("result", string(r.task(id).Result), "r")
			r.counts(backend.QueueStats{Done: 1})
		},
	},
	{
		Name:     "if-listened",
		Sentence: "IfListened submits only if a listener of the queue is alive.",
		check: func(r *room) {
			req := backend.SubmitRequest{ID: "a", IfListened: true, Watch: true}
			refused := func(why string) {
				r.tb.Helper()
				r.equal("the answer when "+why, r.submit(req), backend.SubmitReply{})
				r.are(backend.TaskUnknown, "a")
				r.counts(backend.QueueStats{})
			}
			refused("nobody listens")
			other := r.listener("other")
			other.idles()
			refused("somebody listens to another queue")
			l := r.listener("other", theQueue)
			l.lives()
			r.creates(req).Watching.Stop()
			r.yes("joined", r.submit(req).Joined)
			l.leaves()
			r.yes("joined, though nobody listens", r.submit(req).Joined)
			req.ID = "b"
			r.equal("the answer when all have left", r.submit(req), backend.SubmitReply{})
		},
	},
	{
		Name:     "delayed-if-listened",
		Sentence: "IfListened: with neither Created nor Joined, nobody listens. What is due later is no exception.",
		check: func(r *room) {
			req := backend.SubmitRequest{ID: "a", IfListened: true, Delay: long / 2}
			r.equal("the answer", r.submit(req), backend.SubmitReply{})
			r.counts(backend.QueueStats{})
			l := r.listener(theQueue)
			l.idles()
			r.creates(req)
			r.counts(backend.QueueStats{Scheduled: 1})
		},
	},
	{
		Name:     "forget",
		Sentence: "Forget removes other tasks of the namespace that are in a final state, in the same step.",
		check: func(r *room) {
			for _, id := range []string{"done", "failed", "running"} {
				r.creates(backend.SubmitRequest{ID: id})
			}
			gs := r.drains("done", "failed", "running")
			r.says(about(&gs[0], backend.ReportDone, "r"), about(&gs[1], backend.ReportFailed, "e"))
			r.puts("cancelled", "kept", "waiting")
			r.cancels("cancelled", "kept")
			r.creates(backend.SubmitRequest{
				ID: "a", Queue: "other", Forget: []string{"done", "running", "failed", "unknown", "waiting", "cancelled", "done"},
			})
			r.are(backend.TaskUnknown, "done", "failed", "cancelled", "unknown")
			r.are(backend.TaskWaiting, "waiting", "a")
			r.are(backend.TaskRunning, "running")
			r.are(backend.TaskCancelled, "kept")
			r.counts(backend.QueueStats{Waiting: 1, Running: 1, Done: 1, Failed: 1, Cancelled: 2})
			many := r.filledSubmit(backend.SubmitRequest{ID: "b", Forget: numberedTasks(backend.MaxForget)})
			r.creates(many)
		},
	},
	{
		Name:     "forget-others",
		Sentence: "Forget removes other tasks; with ErrConflict nothing has changed.",
		check: func(r *room) {
			for _, id := range []string{"a", "b"} {
				g := r.starts(id)
				r.says(about(&g, backend.ReportDone, id))
			}
			r.conflicts(backend.SubmitRequest{ID: "a", Payload: []byte("another"), Forget: []string{"b"}})
			r.are(backend.TaskDone, "a", "b")
			got := r.joins(backend.SubmitRequest{ID: "a", Payload: []byte("payload of a"), Forget: []string{"a", "b"}})
			r.equal("result", string(got.Result), "a")
			r.are(backend.TaskDone, "a")
			r.are(backend.TaskUnknown, "b")
		},
	},
	{
		Name:     "data",
		Sentence: "Payload, meta, result, progress and errors are bytes that the store does not look into and keeps.",
		check: func(r *room) {
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			for id, data := range map[string]string{
				"empty": "", "bytes": string(all), "json": `{"a":"\u0000","b":[1e400,null]}`, "quotes": `"'\"]]`, "zero": "\x00",
				"newlines": "\r\n:1\r\n", "invalid": "\xff\xfe", "separator": "\u2028", "number": "0123", "pickle": "\x80\x04\x95.",
				"message": "5:hello,",
			} {
				r.carries(id, data)
			}
		},
	},
	{
		Name:     "large-data",
		Sentence: "Payload, meta, result, progress and errors may be large.",
		check: func(r *room) {
			r.carries("text", strings.Repeat("0123456789abcdef", 1<<16))
			r.carries("bytes", strings.Repeat("\xff\x00\x80\"\\\n\r\t", 1<<17))
		},
	},
	{
		Name:     "any-name",
		Sentence: "Names, ids and tokens are arbitrary UTF-8 without NUL.",
		check: func(r *room) {
			for _, name := range append(oddNames(), "a||b", backend.Allocated, "|", backend.SharedToken) {
				r.creates(backend.SubmitRequest{ID: name, Queue: name})
				l := r.listener(name)
				l.name = name
				req := l.request(2)
				req.Token = name
				got := l.calls(req)
				r.same("what was fetched", taskIDs(got.Tasks), []string{name})
				if len(got.Tasks) != 1 {
					continue
				}
				g := got.Tasks[0]
				r.equal("queue", g.Task.Queue, name)
				r.yes("renewed "+name, r.prolongsTask(&g, 2*long))
				r.says(about(&g, backend.ReportReturn, ""))
				r.same("listed", r.lists(name, backend.TaskWaiting, 0), []string{name})
				r.cancels(name)
				r.are(backend.TaskCancelled, name)
				r.equal("cancelled", r.stats(name).Cancelled, int64(1))
			}
		},
	},
	{
		Name:     "long-times",
		Sentence: "Timeout, Retention and Graveyard are at least a millisecond, and as long as one likes.",
		check: func(r *room) {
			const ever = time.Duration(math.MaxInt64)
			r.creates(backend.SubmitRequest{ID: "a", Timeout: ever, Retention: ever, Graveyard: ever})
			r.creates(backend.SubmitRequest{ID: "b", Timeout: ever, Delay: ever / 2, Retention: ever})
			if left := r.task("a").Remaining; left < ever/2 {
				r.Errorf("of %v are %v left", ever, left)
			}
			l := r.listener(theQueue)
			l.ttl, l.mark = ever, ever
			g := l.gets(2, "a")[0]
			r.yes("renewed", r.prolongsTask(&g, backend.NoExpiry))
			r.are(backend.TaskRunning, "a")
			r.are(backend.TaskScheduled, "b")
			r.says(about(&g, backend.ReportDone, ""))
			r.are(backend.TaskDone, "a")
			r.equal("listeners", r.stats(theQueue).Listeners, 1)
		},
	},
	{
		Name:     "id-again",
		Sentence: "An id is free again when its final state is not kept any more.",
		check: func(r *room) {
			g := r.runs(backend.SubmitRequest{ID: "a", Retention: short, Payload: []byte("1")}, long)
			r.says(about(&g, backend.ReportDone, "r"))
			r.becomes(backend.TaskUnknown, "a")
			g = r.runs(backend.SubmitRequest{ID: "a", Payload: []byte("2")}, long)
			r.equal("payload", string(g.Task.Payload), "2")
			r.equal("attempts", g.Task.Attempts, 1)
		},
	},
	{
		Name:     "namespaces",
		Sentence: "Namespace says which keys belong together; HashTag makes others of the same prefix and suffix.",
		check: func(r *room) {
			other, tagged := *r, *r
			other.ns.Suffix, tagged.ns.HashTag = "other", true
			rooms := []*room{r, &other, &tagged}
			for i, in := range rooms {
				in.creates(backend.SubmitRequest{ID: "a", Payload: []byte{byte(i)}})
				l := in.listener(theQueue)
				l.lives()
				in.counts(backend.QueueStats{Waiting: 1})
			}
			r.pauses(theQueue, true)
			g := other.fetches(theQueue, long, "a")[0]
			other.says(about(&g, backend.ReportDone, ""))
			other.are(backend.TaskDone, "a")
			tagged.cancels("a")
			r.are(backend.TaskWaiting, "a")
			r.counts(backend.QueueStats{Waiting: 1, Paused: true})
			other.counts(backend.QueueStats{Done: 1})
			tagged.counts(backend.QueueStats{Cancelled: 1})
		},
	},
	{
		Name:     "cancelled",
		Sentence: "A context that has ended changes nothing, and nothing is held.",
		check: func(r *room) {
			g := r.starts("run")
			r.puts("a")
			ctx := cancelled(r.ctx)
			calls := r.taskCalls(r.ns)
			for _, name := range []string{"Submit", "Watch", "Fetch", "Report", "RenewTasks", "EditTasks", "Tasks", "Stats"} {
				r.fails(name, calls[name](ctx), ctx.Err())
			}
			_, err := r.be.Submit(ctx, r.filledSubmit(backend.SubmitRequest{ID: "new", Forget: []string{"a"}}))
			r.fails("Submit", err, ctx.Err())
			l := r.listener(theQueue)
			_, err = r.be.Fetch(ctx, l.request(5))
			r.fails("Fetch", err, ctx.Err())
			_, err = r.be.Report(ctx, backend.ReportRequest{Namespace: r.ns, Items: []backend.TaskReport{about(&g, backend.ReportDone, "")}})
			r.fails("Report", err, ctx.Err())
			_, err = r.be.EditTasks(ctx, backend.TaskEdit{Namespace: r.ns, Action: backend.TasksCancel, IDs: []string{"a", "run"}})
			r.fails("EditTasks", err, ctx.Err())
			_, err = r.be.EditTasks(ctx, backend.TaskEdit{Namespace: r.ns, Action: backend.QueuePause, Queue: theQueue})
			r.fails("EditTasks", err, ctx.Err())
			r.are(backend.TaskUnknown, "new")
			r.are(backend.TaskWaiting, "a")
			r.are(backend.TaskRunning, "run")
			r.equal("the numbers of the queue", r.stats(theQueue).Listeners, 0)
			r.counts(backend.QueueStats{Waiting: 1, Running: 1})
		},
	},
}

// carries lets data travel everywhere.
func (r *room) carries(id, data string) {
	r.tb.Helper()
	same := func(what string, got []byte) {
		r.tb.Helper()
		if string(got) != data {
			r.Errorf("%s of %s: %d bytes, %.40q, came back as %d, %.40q", what, id, len(data), data, len(got), got)
		}
	}
	req := backend.SubmitRequest{ID: id, Payload: []byte(data), Meta: []byte(data), Watch: true, Progress: true}
	watching := r.creates(req).Watching
	defer watching.Stop()
	req.Watch, req.Progress = false, false
	r.joins(req)
	t := r.task(id)
	same("payload", t.Payload)
	same("meta", t.Meta)
	g := r.fetches(theQueue, long, id)[0]
	same("fetched payload", g.Task.Payload)
	same("fetched meta", g.Task.Meta)
	r.says(about(&g, backend.ReportProgress, data))
	same("progress", r.task(id).Progress)
	r.says(again(&g, 0, data))
	same("error of an attempt", r.task(id).Error)
	g = r.fetches(theQueue, long, id)[0]
	same("error of the last attempt", g.Task.Error)
	r.says(about(&g, backend.ReportDone, data))
	t = r.task(id)
	same("result", t.Result)
	same("error of a done task", t.Error)
	t = r.final(watching)
	same("result in a message", t.Result)
	for _, kind := range []backend.ReportKind{backend.ReportFailed, backend.ReportDead} {
		other := id + "/" + string('0'+rune(kind))
		w := r.creates(backend.SubmitRequest{ID: other, Watch: true}).Watching
		g := r.fetches(theQueue, long, other)[0]
		r.says(about(&g, kind, data))
		same("error", r.task(other).Error)
		t := r.final(w)
		same("error in a message", t.Error)
	}
}

// sameTask compares tasks. Nil and empty data are the same, and of what is left of their time only whether there is any.
func (r *room) sameTask(what string, got, want backend.TaskInfo) {
	r.tb.Helper()
	for _, t := range []*backend.TaskInfo{&got, &want} {
		t.Remaining = min(t.Remaining, 1)
		for _, data := range []*[]byte{&t.Result, &t.Error, &t.Progress, &t.Payload, &t.Meta} {
			if len(*data) == 0 {
				*data = nil
			}
		}
		for _, at := range []*time.Time{&t.Submitted, &t.Due, &t.Deadline} {
			if !at.IsZero() {
				*at = at.UTC().Round(0)
			}
		}
	}
	r.equal(what, got, want)
}

// withoutPayload is a task without what is only there if it was asked for.
func withoutPayload(t backend.TaskInfo) backend.TaskInfo {
	t.Payload, t.Meta = nil, nil
	return t
}
