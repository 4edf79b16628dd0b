package backendtest

import (
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	firstServed = "Within one class first come is first served."
	laneOrder   = "Lanes: where to look, in this order; the same lane may come twice."
)

var fetchCases = []Case{
	{
		Name:     "grants",
		Sentence: "Fetch takes tasks under leases: State is TaskRunning, Attempts counts this one.",
		check: func(r *room) {
			r.creates(backend.SubmitRequest{ID: "a", Payload: []byte("p"), Meta: []byte("m"), Class: backend.ClassLow})
			before := r.task("a")
			l := r.listener(theQueue)
			g := l.gets(5, "a")[0]
			r.lives("the lease", g.TTL, long)
			r.lives("what is left of its time", g.Task.Remaining, long)
			want := before
			want.State, want.Attempts = backend.TaskRunning, 1
			r.sameTask("the grant", g.Task, want)
			r.sameTask("the task", r.task("a"), want)
			r.counts(backend.QueueStats{Running: 1})
			r.are(backend.TaskRunning, "a")
			r.idlesFor(2*short, "a")
		},
	},
	{
		Name: "first-come", Sentence: firstServed,
		check: func(r *room) {
			ids := numberedTasks(30)
			r.puts(ids...)
			l := r.listener(theQueue)
			l.gets(1, ids[0])
			l.gets(4, ids[1:5]...)
			r.puts("last")
			l.gets(backend.BatchLimit, append(ids[5:], "last")...)
			l.idles()
		},
	},
	{
		Name: "lanes", Sentence: laneOrder,
		check: func(r *room) {
			r.classes(3, theQueue)
			l := r.listener(theQueue)
			req := l.request(100)
			l.fetchesLanes(req, []backend.FetchLane{{Class: backend.ClassLow, Max: 2}, {Class: backend.ClassHigh, Max: 1}}, "low0", "low1", "high0")
			l.fetchesLanes(req, []backend.FetchLane{
				{Class: backend.ClassNormal, Max: 1},
				{Class: backend.ClassHigh, Max: 1},
				{Class: backend.ClassNormal, Max: 1},
				{Class: backend.ClassHigh, Max: 5},
			}, "normal0", "high1", "normal1", "high2")
			l.fetchesLanes(req, []backend.FetchLane{{Class: backend.ClassHigh, Max: 9}, {Class: backend.ClassLow, Max: 9}}, "low2")
			r.counts(backend.QueueStats{Waiting: 1, Running: 8})
		},
	},
	{
		Name:     "class-order",
		Sentence: "How listeners choose between classes is theirs to decide, by the order and the shares of their lanes.",
		check: func(r *room) {
			r.classes(2, theQueue)
			l := r.listener(theQueue)
			l.gets(3, "high0", "high1", "normal0")
			r.creates(backend.SubmitRequest{ID: "late", Class: backend.ClassHigh})
			l.gets(9, "late", "normal1", "low0", "low1")
		},
	},
	{
		Name:     "max",
		Sentence: "Max: so many tasks in all; of a lane and of a queue its own.",
		check: func(r *room) {
			for _, q := range []string{"one", "two"} {
				r.classes(4, q)
			}
			l := r.listener("one", "two")
			lanes := []backend.FetchLane{
				{Queue: 0, Class: backend.ClassHigh, Max: 3},
				{Queue: 1, Class: backend.ClassHigh, Max: 3},
				{Queue: 0, Class: backend.ClassNormal, Max: 3},
			}
			req := l.request(2)
			l.fetchesLanes(req, lanes, "one/high0", "one/high1")
			req = l.request(20)
			req.Queues[0].Room = 3
			l.fetchesLanes(req, lanes, "one/high2", "one/high3", "two/high0", "two/high1", "two/high2", "one/normal0")
			req.Queues[0].Room = 0
			l.fetchesLanes(req, lanes, "two/high3")
			req = l.request(0)
			l.fetchesLanes(req, lanes)
			req = l.request(5)
			req.Queues[0].Room = 1
			l.fetchesLanes(req, lanes, "one/normal1")
		},
	},
	{
		Name:     "several-queues",
		Sentence: "Queues: all that it listens to. A lane is one class of one queue.",
		check: func(r *room) {
			for _, q := range []string{"a", "b", "c"} {
				r.creates(backend.SubmitRequest{ID: "of " + q, Queue: q})
			}
			l := r.listener("c", "a")
			got := l.gets(9, "of c", "of a")
			r.equal("queue", got[1].Task.Queue, "a")
			r.are(backend.TaskWaiting, "of b")
			for _, q := range []string{"a", "c"} {
				r.equal("listeners of "+q, r.stats(q).Listeners, 1)
				r.equal("running tasks of "+q, r.stats(q).Running, 1)
			}
			r.equal("listeners of b", r.stats("b").Listeners, 0)
		},
	},
	{
		Name:     "no-lanes",
		Sentence: "Max 0, or no lanes: none, the listener only says that it lives.",
		check: func(r *room) {
			r.puts("a")
			l := r.listener(theQueue)
			l.lives()
			req := l.request(5)
			req.Lanes = nil
			r.same("what was fetched", taskIDs(l.calls(req).Tasks), nil)
			r.equal("listeners", r.stats(theQueue).Listeners, 1)
			r.counts(backend.QueueStats{Waiting: 1})
		},
	},
	{
		Name:     "idle",
		Sentence: "Idle says that everything that there was in the lanes has been taken and that there is room left.",
		check: func(r *room) {
			l := r.listener(theQueue)
			l.idles()
			r.classes(2, theQueue)
			one := func(class backend.TaskClass, most, lane int, want bool, ids ...string) {
				r.tb.Helper()
				req := l.request(most)
				req.Lanes = []backend.FetchLane{{Class: class, Max: lane}}
				got := l.calls(req)
				r.same("what was fetched", taskIDs(got.Tasks), ids)
				r.equal(fmt.Sprintf("idle with room for %d, after it has got %q of %d", most, ids, class), got.Idle, want)
			}
			one(backend.ClassHigh, 1, 5, false, "high0")
			one(backend.ClassHigh, 5, 5, true, "high1")
			one(backend.ClassNormal, 5, 1, false, "normal0")
			one(backend.ClassNormal, 1, 1, false, "normal1")
			one(backend.ClassLow, 5, 5, true, "low0", "low1")
			r.no("idle without room", l.lives().Idle)
		},
	},
	{
		Name:     "channels",
		Sentence: "Wake and Lost are the same channels for all calls of a listener.",
		check: func(r *room) {
			a, b := r.listener(theQueue), r.listener(theQueue, "other")
			for range 3 {
				a.idles() // compares them with those before
				b.idles()
				a.lives()
			}
			if a.wake == b.wake || a.lost == b.lost {
				r.Errorf("two listeners have the same channels")
			}
		},
	},
	{
		Name:     "fences",
		Sentence: "A grant's fence is larger than that of every earlier grant in the namespace: of tasks, of names and of members.",
		check: func(r *room) {
			r.extend("m")
			var fences []int64
			g := r.starts("a")
			fences = append(fences, g.Fence, r.one("1").Fence)
			r.says(about(&g, backend.ReportReturn, ""))
			fences = append(fences, r.fetches(theQueue, long, "a")[0].Fence, r.has("2", "x")[0].Fence, r.starts("b").Fence)
			r.ascending("all grants", fences...)
		},
	},
	{
		Name:     "once",
		Sentence: "A running task is under a lease: nobody else gets it until that has run out.",
		check: func(r *room) {
			g := r.starts("a")
			for range 3 {
				r.drains()
				r.pass(short)
			}
			r.are(backend.TaskRunning, "a")
			r.equal("attempts", r.task("a").Attempts, 1)
			r.says(about(&g, backend.ReportDone, ""))
			r.drains()
		},
	},
	{
		Name:     "listeners",
		Sentence: "Each call says that the listener lives, for as long as its Mark. Leave ends it: it no longer counts.",
		check: func(r *room) {
			count := func() int { return r.stats(theQueue).Listeners }
			a, b, c := r.listener(theQueue), r.listener(theQueue, "other"), r.listener(theQueue)
			a.idles()
			b.lives()
			a.idles()
			r.equal("listeners", count(), 2)
			b.leaves()
			r.equal("listeners", count(), 1)
			r.equal("listeners of the other queue", r.stats("other").Listeners, 0)
			c.mark = short
			before := r.now()
			c.idles()
			r.eventually("that a listener that does not call does not count", func() bool { return count() == 1 })
			r.notBefore("the end of the mark", r.now(), before.Add(short))
			c.leaves()
			c.mark = long
			c.idles()
			r.equal("listeners", count(), 2)
			a.leaves()
			c.leaves()
			r.equal("listeners", count(), 0)
			c.leaves()
		},
	},
	{
		Name:     "longest-mark",
		Sentence: "IfListened submits only if a listener of the queue is alive: as long as any of them is.",
		check: func(r *room) {
			listened := func(id string, want bool) {
				r.tb.Helper()
				r.equal("created "+id, r.submit(backend.SubmitRequest{ID: id, IfListened: true}).Created, want)
			}
			lapses := func(left int) {
				r.tb.Helper()
				r.eventually("that a mark is over", func() bool { return r.stats(theQueue).Listeners == left })
			}
			a, b, c := r.listener(theQueue), r.listener(theQueue), r.listener(theQueue)
			b.mark = short
			a.idles()
			b.idles()
			lapses(1)
			listened("1", true)
			b.lives()
			a.leaves()
			lapses(0)
			listened("2", false)
			a.mark = short
			a.lives()
			c.lives()
			a.leaves()
			listened("3", true)
			c.mark = short
			c.lives()
			lapses(0)
			listened("4", false)
		},
	},
	{
		Name:     "leave",
		Sentence: "Leave ends the listener: it takes nothing. What it has it keeps.",
		check: func(r *room) {
			r.puts("a", "b")
			l := r.listener(theQueue)
			g := l.gets(1, "a")[0]
			l.leaves()
			r.are(backend.TaskRunning, "a")
			r.are(backend.TaskWaiting, "b")
			r.yes("renewed", r.prolongsTask(&g, 2*long))
			r.says(about(&g, backend.ReportDone, ""))
			r.listener("never called").leaves() // does no harm
		},
	},
	{
		Name:     "large-batch",
		Sentence: "Max: so many tasks in all, at most BatchLimit.",
		check: func(r *room) {
			ids := numberedTasks(backend.BatchLimit + 5)
			for _, id := range ids {
				r.submit(backend.SubmitRequest{ID: id, Fresh: true})
			}
			l := r.listener(theQueue)
			l.gets(backend.BatchLimit, ids[:backend.BatchLimit]...)
			got := l.calls(l.request(backend.BatchLimit))
			r.same("what was left", taskIDs(got.Tasks), ids[backend.BatchLimit:])
			r.yes("idle", got.Idle)
		},
	},
	{
		Name:     "many-queues",
		Sentence: "MaxListened is the largest number of queues of a FetchRequest, MaxLanes that of its lanes.",
		check: func(r *room) {
			queues := numbered(backend.MaxListened)
			l := r.listener(queues...)
			req := l.request(backend.BatchLimit)
			req.Lanes = req.Lanes[:backend.MaxLanes]
			l.calls(req)
			r.creates(backend.SubmitRequest{ID: "a", Queue: queues[0], Class: backend.ClassHigh})
			r.creates(backend.SubmitRequest{ID: "b", Queue: queues[backend.MaxListened-1], Class: backend.ClassHigh})
			req.Token = backend.NewToken()
			r.same("what was fetched", taskIDs(l.calls(req).Tasks), []string{"a", "b"})
			l.queues = l.queues[:1]
			l.leaves()
		},
	},
}

// classes submits n tasks of each class to a queue: "high0", "high1", ..., with the name of the queue before it if that is
// another one than usual.
func (r *room) classes(n int, queue string) {
	r.tb.Helper()
	for i, class := range []string{"normal", "high", "low"} {
		for j := range n {
			id := fmt.Sprintf("%s%d", class, j)
			if queue != theQueue {
				id = queue + "/" + id
			}
			r.creates(backend.SubmitRequest{ID: id, Queue: queue, Class: backend.TaskClass(i)})
		}
	}
}

// fetchesLanes fetches from these lanes, and expects these tasks, in this order.
func (l *listener) fetchesLanes(req backend.FetchRequest, lanes []backend.FetchLane, want ...string) {
	l.r.tb.Helper()
	req.Token, req.Lanes = backend.NewToken(), lanes
	l.r.same("what was fetched", taskIDs(l.calls(req).Tasks), want)
}

// idlesFor lets time pass, and expects tasks to be running all the same.
func (r *room) idlesFor(d time.Duration, ids ...string) {
	r.tb.Helper()
	r.pass(d)
	r.drains()
	r.are(backend.TaskRunning, ids...)
}
