package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	death     = "A lease that runs out is the death of its holder: the task goes back to the front of its queue."
	capped    = "RenewTasks gives no lease an end after that of the task's time."
	noRevival = "RenewTasks never brings back a lease that ran out."
)

var taskLeaseCases = []Case{
	{
		Name: "death", Sentence: death,
		check: func(r *room) {
			r.puts("a", "b")
			l := r.listener(theQueue)
			l.ttl = short
			g := l.gets(1, "a")[0]
			got := r.dies("a", 1)
			r.notBefore("the death", seen(&got), seen(&g.Task).Add(g.TTL))
			r.equal("state", got.State, backend.TaskWaiting)
			r.equal("attempts", got.Attempts, 1)
			r.counts(backend.QueueStats{Waiting: 2})
			r.puts("c")
			next := r.drains("a", "b", "c")[0]
			r.equal("attempts and deaths", []int{next.Task.Attempts, next.Task.Deaths}, []int{2, 1})
			r.ascending("the dead holder and the next", g.Fence, next.Fence)
			r.saysInVain(about(&g, backend.ReportDone, ""), about(&g, backend.ReportReturn, ""), about(&g, backend.ReportProgress, ""))
			r.no("renewed by the dead", r.prolongsTask(&g, long))
			r.says(about(&next, backend.ReportDone, "r"))
			got = r.task("a")
			r.equal("attempts and deaths", []int{got.Attempts, got.Deaths}, []int{2, 1})
		},
	},
	{
		Name:     "noticed",
		Sentence: "Deaths are noticed by the first step that looks at the task or fetches from its queue.",
		check: func(r *room) {
			// Fetch, and nothing else, notices.
			g := r.runs(backend.SubmitRequest{ID: "a"}, short)
			r.pass(g.TTL + rounding)
			next := r.drains("a")[0]
			r.equal("deaths", next.Task.Deaths, 1)
			// Fetch that takes nothing does.
			g = r.runs(backend.SubmitRequest{ID: "b"}, short)
			r.pass(g.TTL + rounding)
			r.listener(theQueue).lives()
			r.counts(backend.QueueStats{Waiting: 1, Running: 1})
			r.drains("b")
			// Submit and Watch look at it.
			g = r.runs(backend.SubmitRequest{ID: "c"}, short)
			r.pass(g.TTL + rounding)
			r.equal("deaths", r.joins(backend.SubmitRequest{ID: "c"}).Deaths, 1)
			r.drains("c")
			g = r.runs(backend.SubmitRequest{ID: "d"}, short)
			r.pass(g.TTL + rounding)
			w := r.watches("d", false)
			r.equal("state", w.Task.State, backend.TaskWaiting)
			w.Watching.Stop()
		},
	},
	{
		Name:     "late",
		Sentence: "What is not accepted came too late: when the lease had run out, whether or not anybody has noticed.",
		check: func(r *room) {
			for _, kind := range []backend.ReportKind{
				backend.ReportProgress, backend.ReportDone, backend.ReportFailed, backend.ReportDead, backend.ReportRetry, backend.ReportReturn,
			} {
				g := r.runs(backend.SubmitRequest{ID: "a"}, short)
				r.pass(g.TTL + rounding)
				r.saysInVain(about(&g, kind, "late"))
				got := r.task("a")
				r.equal("state", got.State, backend.TaskWaiting)
				r.equal("deaths", got.Deaths, 1)
				r.equal("error", string(got.Error), "")
				r.cancels("a")
				r.edits(backend.TasksRemove, "a")
			}
		},
	},
	{
		Name:     "max-deaths",
		Sentence: "MaxDeaths: so many deaths of holders make it dead.",
		check: func(r *room) {
			for _, most := range []int{1, 3} {
				r.creates(backend.SubmitRequest{ID: "a", MaxDeaths: most, Payload: []byte("p")})
				for n := 1; n <= most; n++ {
					r.are(backend.TaskWaiting, "a")
					r.fetches(theQueue, short, "a")
					r.dies("a", n)
				}
				got := r.task("a")
				r.equal("state", got.State, backend.TaskDead)
				r.equal("reason", got.Reason, backend.ReasonDeaths)
				r.equal("attempts", got.Attempts, most)
				r.equal("payload", string(got.Payload), "p")
				r.drains()
				r.counts(backend.QueueStats{Dead: 1})
				r.equal("removed", r.edits(backend.TasksRemove, "a"), []bool{true})
			}
		},
	},
	{
		Name:     "not-deaths",
		Sentence: "Deaths: of the attempts, so many ended by the death of their holder: no others count.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", MaxDeaths: 1})
			for n := range 4 {
				g := r.drains("a")[0]
				r.equal("attempts", g.Task.Attempts, n+1)
				r.says(again(&g, 0, "e"))
			}
			for range 3 {
				g := r.drains("a")[0]
				r.says(about(&g, backend.ReportReturn, ""))
			}
			got := r.task("a")
			r.equal("state", got.State, backend.TaskWaiting)
			r.equal("attempts and deaths", []int{got.Attempts, got.Deaths}, []int{4, 0})
		},
	},
	{
		Name:     "each-class",
		Sentence: death + " To that of its class.",
		check: func(r *room) {
			r.classes(2, theQueue)
			l := r.listener(theQueue)
			l.ttl = short
			req := l.request(9)
			l.fetchesLanes(req, []backend.FetchLane{{Class: backend.ClassLow, Max: 1}, {Class: backend.ClassHigh, Max: 1}}, "low0", "high0")
			r.dies("low0", 1)
			r.dies("high0", 1)
			r.drains("high0", "high1", "normal0", "normal1", "low0", "low1")
		},
	},
	{
		Name:     "renew",
		Sentence: "RenewTasks sets the TTL of leases on running tasks.",
		check: func(r *room) {
			for ttl := range r.longerAndLonger() {
				g := r.runs(backend.SubmitRequest{ID: "a"}, ttl)
				if !r.prolongsTask(&g, long) {
					r.cancels("a")
					r.edits(backend.TasksRemove, "a")
					continue
				}
				r.pass(ttl + short)
				r.are(backend.TaskRunning, "a")
				r.drains()
				r.says(about(&g, backend.ReportProgress, ""))
				r.equal("deaths", r.task("a").Deaths, 0)
				return
			}
		},
	},
	{
		Name:     "shorter",
		Sentence: "RenewTasks sets the TTL, also to less: the lease runs out then.",
		check: func(r *room) {
			g := r.starts("a")
			before := r.now()
			r.yes("renewed", r.prolongsTask(&g, short))
			got := r.dies("a", 1)
			r.notBefore("the death", seen(&got), before.Add(short))
			r.saysInVain(about(&g, backend.ReportDone, ""))
		},
	},
	{
		Name:     "renew-each",
		Sentence: "RenewTasks: each for itself, if they still are the token's.",
		check: func(r *room) {
			g := r.starts("a")
			h := r.starts("b")
			r.puts("c")
			it := func(id, token string) backend.Renewal { return backend.Renewal{Member: id, Token: token, TTL: short} }
			r.equal("renewed", r.prolongsTasks(
				it("a", h.Token), it("c", g.Token), it("unknown", g.Token), it("b", "another"),
				backend.Renewal{Member: "a", Token: g.Token, TTL: 2 * long},
			), []bool{false, false, false, false, true})
			r.pass(2 * short)
			r.are(backend.TaskRunning, "a", "b")
			r.are(backend.TaskWaiting, "c")
			r.drains("c")
		},
	},
	{
		Name: "no-revival", Sentence: noRevival,
		check: func(r *room) {
			g := r.runs(backend.SubmitRequest{ID: "a"}, short)
			r.pass(g.TTL + rounding)
			r.no("renewed, before anybody noticed", r.prolongsTask(&g, long))
			r.dies("a", 1)
			r.no("renewed, after that was noticed", r.prolongsTask(&g, long))
			next := r.drains("a")[0]
			r.no("renewed, when another has it", r.prolongsTask(&g, long))
			r.says(about(&next, backend.ReportDone, ""))
			r.no("renewed what is done", r.prolongsTask(&next, long))
			r.are(backend.TaskDone, "a")
		},
	},
	{
		Name:     "capped",
		Sentence: "TTL: as it was asked for, or less, because a lease does not outlast the task's time.",
		check: func(r *room) {
			g := r.runs(backend.SubmitRequest{ID: "a", Timeout: long / 2}, 2*long)
			r.lives("the lease", g.TTL, long/2)
			if g.TTL > g.Task.Remaining+rounding {
				r.Errorf("the lease lasts for %v, the task for %v", g.TTL, g.Task.Remaining)
			}
		},
	},
	{
		Name: "capped-renewal", Sentence: capped,
		check: func(r *room) {
			for _, renewal := range []time.Duration{backend.NoExpiry, 2 * long} {
				for timeout := range r.longerAndLonger() {
					id := renewal.String() + timeout.String()
					g, ok := r.catches(backend.SubmitRequest{ID: id, Timeout: timeout}, long)
					if !ok || !r.prolongsTask(&g, renewal) {
						continue // the machine stood still for a moment
					}
					got := r.becomes(backend.TaskExpired, id)
					r.equal("attempts and deaths", []int{got.Attempts, got.Deaths}, []int{1, 0})
					r.no("renewed what is over", r.prolongsTask(&g, long))
					break
				}
			}
		},
	},
	{
		Name:     "dead-listener",
		Sentence: "A lease that runs out is the death of its holder: whether or not the listener is alive, and of what it still has nothing changes.",
		check: func(r *room) {
			r.puts("a", "b")
			l := r.listener(theQueue)
			g := l.gets(1, "a")[0]
			l.ttl = short
			l.gets(1, "b")
			r.dies("b", 1)
			l.ttl = long
			l.gets(9, "b")
			r.are(backend.TaskRunning, "a", "b")
			r.says(about(&g, backend.ReportDone, ""))
		},
	},
	{
		Name:     "many-deaths",
		Sentence: "Deaths are noticed without scanning, however many there are: those of a whole batch come back, each once.",
		check: func(r *room) {
			ids := numberedTasks(350)
			for _, id := range ids {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true})
			}
			l := r.listener(theQueue)
			l.ttl = short
			l.gets(backend.BatchLimit, ids...)
			r.pass(2 * short)
			other := r.listener(theQueue)
			var got []string
			r.eventually("that all are there again", func() bool {
				for _, g := range other.takes(backend.BatchLimit) {
					r.equal("attempts and deaths", []int{g.Task.Attempts, g.Task.Deaths}, []int{2, 1})
					got = append(got, g.Task.ID)
				}
				return len(got) >= len(ids)
			})
			r.sameSet("what came back", got, ids)
			other.idles()
		},
	},
}
