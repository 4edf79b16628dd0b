package backendtest

import (
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	isWoken    = "If there are fewer than it has room for, the listener is idle: it is woken when there is one."
	longest    = "The listener that has been idle longest is woken, and nobody else."
	watchClock = "Next: until a task is due or a lease runs out that this listener has to see to."
)

var wakeCases = []Case{
	{
		Name: "submit", Sentence: isWoken,
		check: func(r *room) {
			l := r.listener(theQueue)
			for i := range 5 {
				l.idles()
				id := fmt.Sprint(i)
				r.puts(id)
				l.woken()
				l.gets(1, id)
			}
		},
	},
	{
		Name: "longest-idle", Sentence: longest,
		check: func(r *room) {
			r.oneOnly(func(queue string) bool {
				var ls []*listener
				for range 4 {
					ls = append(ls, r.listener(queue))
					ls[len(ls)-1].idles()
				}
				ls[0].idles() // keeps its place
				exact := true
				for i, l := range ls {
					id := fmt.Sprint(queue, i)
					r.creates(backend.SubmitRequest{ID: id, Queue: queue})
					l.woken()
					for _, other := range ls[i+1:] {
						exact = other.asleep() && exact
					}
					l.gets(1, id)
				}
				return exact
			})
		},
	},
	{
		Name: "burst", Sentence: isWoken + " One listener for each task.",
		check: func(r *room) {
			var ls []*listener
			for range 5 {
				ls = append(ls, r.listener(theQueue))
				ls[len(ls)-1].idles()
			}
			r.puts("a", "b", "c", "d", "e")
			for _, l := range ls {
				l.woken()
			}
			for i, l := range ls {
				l.gets(1, string(rune('a'+i)))
			}
		},
	},
	{
		Name:     "meanwhile",
		Sentence: "Wake receives when there may be something to fetch that the last call did not find, also if nobody receives just then.",
		check: func(r *room) {
			l := r.listener(theQueue)
			l.idles()
			r.puts("a", "b", "c")
			r.eventually("that the channel is not empty", func() bool { return len(l.wake) == 1 })
			r.equal("room", cap(l.wake), 1)
			l.woken()
			l.gets(9, "a", "b", "c")
			l.idles()
			r.puts("d")
			l.woken()
			l.gets(9, "d")
		},
	},
	{
		Name: "room-left", Sentence: isWoken + " Also if it has some.",
		check: func(r *room) {
			l := r.listener(theQueue)
			r.puts("a")
			l.gets(2, "a")
			r.puts("b")
			l.woken()
			l.gets(1, "b")
		},
	},
	{
		Name: "full", Sentence: "A listener that has no room is not woken: another one is.",
		check: func(r *room) {
			r.oneOnly(func(queue string) bool {
				full, other := r.listener(queue), r.listener(queue)
				full.idles()
				r.creates(backend.SubmitRequest{ID: queue + "a", Queue: queue})
				full.woken()
				full.gets(1, queue+"a")
				full.lives()
				other.idles()
				r.creates(backend.SubmitRequest{ID: queue + "b", Queue: queue})
				other.woken()
				exact := full.asleep()
				other.gets(1, queue+"b")
				return exact
			})
		},
	},
	{
		Name: "no-room-in-queue", Sentence: "A listener that has no room in a queue is not woken for it: another one is. In others it is.",
		check: func(r *room) {
			r.oneOnly(func(queue string) bool {
				a, b := r.listener(queue, queue+"2"), r.listener(queue, queue+"2")
				a.queues[0].Room = 0
				a.idles()
				b.idles()
				r.creates(backend.SubmitRequest{ID: queue + "x", Queue: queue})
				b.woken()
				exact := a.asleep()
				r.creates(backend.SubmitRequest{ID: queue + "y", Queue: queue + "2"})
				a.woken()
				a.gets(1, queue+"y")
				b.gets(1, queue+"x")
				return exact
			})
		},
	},
	{
		Name: "other-queue", Sentence: isWoken + " In one of its queues.",
		check: func(r *room) {
			r.oneOnly(func(queue string) bool {
				a, b, c := r.listener(queue+"1"), r.listener(queue+"2"), r.listener(queue+"3", queue+"1")
				for _, l := range []*listener{a, b, c} {
					l.idles()
				}
				r.creates(backend.SubmitRequest{ID: queue + "x", Queue: queue + "2"})
				b.woken()
				exact := a.asleep() && c.asleep()
				r.creates(backend.SubmitRequest{ID: queue + "y", Queue: queue + "3"})
				c.woken()
				exact = exact && a.asleep()
				b.gets(1, queue+"x")
				c.gets(1, queue+"y")
				return exact
			})
		},
	},
	{
		Name: "left", Sentence: "Leave ends the listener: it is not woken any more.",
		check: func(r *room) {
			r.oneOnly(func(queue string) bool {
				a, b := r.listener(queue), r.listener(queue)
				a.idles()
				b.idles()
				was := a.wake
				a.leaves()
				r.creates(backend.SubmitRequest{ID: queue + "x", Queue: queue})
				b.woken()
				a.wake = was
				exact := a.asleep()
				b.gets(1, queue+"x")
				return exact
			})
		},
	},
	{
		Name: "dead-listener", Sentence: "Mark: for how long the listener counts as alive without another call. Who does not is not woken instead of another.",
		check: func(r *room) {
			a, b := r.listener(theQueue), r.listener(theQueue)
			a.mark = short
			a.idles()
			b.idles()
			r.eventually("that one of them does not count any more", func() bool { return r.stats(theQueue).Listeners == 1 })
			r.puts("x")
			b.woken()
			b.gets(1, "x")
		},
	},
	{
		Name: "passed-on", Sentence: isWoken + " One that was woken and takes something else does not keep it from another.",
		check: func(r *room) {
			a, b := r.listener("other", theQueue), r.listener(theQueue)
			a.idles()
			b.idles()
			r.puts("x")
			a.woken()
			r.creates(backend.SubmitRequest{ID: "y", Queue: "other"})
			a.gets(1, "y")
			b.woken()
			b.gets(1, "x")
		},
	},
	{
		Name: "passed-on-leaving", Sentence: isWoken + " One that was woken and leaves does not keep it from another.",
		check: func(r *room) {
			a, b := r.listener(theQueue), r.listener(theQueue)
			a.idles()
			b.idles()
			r.puts("x")
			a.woken()
			a.leaves()
			b.woken()
			b.gets(1, "x")
		},
	},
	{
		Name: "return", Sentence: isWoken + " Also by a task that comes back.",
		check: func(r *room) {
			worker, l := r.listener(theQueue), r.listener(theQueue)
			next := func() *backend.TaskGrant {
				r.tb.Helper()
				g := worker.gets(1, "a")[0]
				l.idles()
				return &g
			}
			r.puts("a")
			r.says(about(next(), backend.ReportReturn, ""))
			l.woken()
			r.says(again(next(), 0, "e"))
			l.woken()
			r.says(about(next(), backend.ReportDead, "e"))
			r.edits(backend.TasksRevive, "a")
			l.woken()
			l.gets(1, "a")
		},
	},
	{
		Name: "death", Sentence: isWoken + " Also by one that comes back because its holder died, and somebody noticed.",
		check: func(r *room) {
			worker, l := r.listener(theQueue), r.listener(theQueue)
			for ttl := range r.longerAndLonger() {
				id := ttl.String()
				r.puts(id)
				worker.ttl = ttl
				worker.gets(1, id)
				if len(l.takes(1)) > 0 {
					continue // the machine stood still for a moment
				}
				r.dies(id, 1)
				l.woken()
				l.gets(1, id)
				return
			}
		},
	},
	{
		Name: "resume", Sentence: "QueueResume wakes listeners: what waited in the queue comes.",
		check: func(r *room) {
			l := r.listener(theQueue)
			l.idles()
			r.pauses(theQueue, true)
			r.puts("a", "b")
			l.gets(9)
			l.asleep() // whatever it was told before
			r.pauses(theQueue, false)
			l.woken()
			l.gets(9, "a", "b")
		},
	},
	{
		Name: "next", Sentence: watchClock + " NoExpiry: there is nothing to see to.",
		check: func(r *room) {
			l := r.listener(theQueue, "other")
			r.equal("next, in empty queues", l.idles().Next, backend.NoExpiry)
			r.creates(backend.SubmitRequest{ID: "later", Delay: long / 2})
			r.lives("next", l.idles().Next, long/2)
			g := r.runs(backend.SubmitRequest{ID: "a", Queue: "other"}, long/3)
			r.lives("next", l.idles().Next, long/3)
			r.creates(backend.SubmitRequest{ID: "soon", Queue: "other", Delay: long / 4})
			r.lives("next", l.idles().Next, long/4)
			r.cancels("soon")
			r.lives("next", l.idles().Next, long/3)
			r.yes("renewed", r.prolongsTask(&g, long))
			r.lives("next", l.idles().Next, long/2)
			r.cancels("later")
			r.lives("next", l.idles().Next, long)
			r.says(about(&g, backend.ReportDone, ""))
			r.equal("next, when all is over", l.idles().Next, backend.NoExpiry)
		},
	},
	{
		Name: "earlier", Sentence: watchClock + " One that comes to be due earlier wakes an idle listener, so that it learns of it.",
		check: func(r *room) {
			l, other := r.listener(theQueue), r.listener(theQueue)
			l.idles()
			r.creates(backend.SubmitRequest{ID: "a", Delay: long / 2})
			l.woken()
			r.lives("next", l.idles().Next, long/2)
			worker := r.starts("b")
			other.idles()
			r.says(again(&worker, long/4, "e"))
			l.woken()
			r.lives("next", l.idles().Next, long/4)
		},
	},
	{
		Name: "follows-delay", Sentence: watchClock + " Who calls then, or when he is woken, gets everything.",
		check: func(r *room) {
			l := r.listener(theQueue)
			l.idles()
			r.creates(backend.SubmitRequest{ID: "a", Delay: 2 * short})
			r.creates(backend.SubmitRequest{ID: "b", Delay: 3 * short})
			r.equal("what came last", l.follows(2).Task.ID, "b")
		},
	},
	{
		Name: "follows-retry", Sentence: watchClock + " Who calls then, or when he is woken, gets everything.",
		check: func(r *room) {
			l := r.listener(theQueue)
			r.puts("a")
			g := l.gets(1, "a")[0]
			l.idles()
			r.says(again(&g, 2*short, "e"))
			got := l.follows(1)
			r.equal("attempts", got.Task.Attempts, 2)
		},
	},
	{
		Name: "follows-death", Sentence: watchClock + " Who calls then, or when he is woken, gets what the dead have left.",
		check: func(r *room) {
			first, l, dead := r.listener(theQueue), r.listener(theQueue), r.listener(theQueue)
			l.idles()
			first.idles()
			dead.ttl = 3 * short
			r.puts("a", "b")
			dead.gets(2, "a", "b")
			r.yes("two tasks", l.follows(2).Task.Deaths == 1)
		},
	},
	{
		Name: "follows-shorter", Sentence: watchClock + " Whatever becomes of the leases meanwhile.",
		check: func(r *room) {
			l, dead := r.listener(theQueue), r.listener(theQueue)
			r.puts("a")
			g := dead.gets(1, "a")[0]
			l.idles()
			r.yes("renewed", r.prolongsTask(&g, 2*short))
			r.equal("deaths", l.follows(1).Task.Deaths, 1)
		},
	},
	{
		Name: "watchers-leave", Sentence: watchClock + " Who leaves does not take that with it.",
		check: func(r *room) {
			var ls []*listener
			for range 5 {
				ls = append(ls, r.listener(theQueue))
				ls[len(ls)-1].idles()
			}
			r.creates(backend.SubmitRequest{ID: "a", Delay: long / 2})
			for _, l := range ls[:4] {
				l.leaves()
			}
			r.lives("next", ls[4].idles().Next, long/2)
		},
	},
	{
		Name: "watchers-turn", Sentence: watchClock + " However many listeners take turns, somebody does.",
		check: func(r *room) {
			var ls []*listener
			for range 6 {
				ls = append(ls, r.listener(theQueue))
				ls[len(ls)-1].idles()
			}
			r.creates(backend.SubmitRequest{ID: "later", Delay: long / 2})
			next := make(map[*listener]time.Duration)
			for range 2 {
				for i, l := range ls {
					r.puts(fmt.Sprint(len(next), i))
					g := l.takes(1)
					r.equal("tasks", len(g), 1)
					r.says(about(&g[0], backend.ReportDone, ""))
					next[l] = l.idles().Next
				}
			}
			known := 0
			for _, d := range next {
				if d != backend.NoExpiry && d <= long/2 {
					known++
				}
			}
			r.yes("somebody knows when to call", known > 0)
		},
	},
	{
		Name: "closed", Sentence: "Wake is closed by Close. Lost is not.",
		check: func(r *room) {
			l := r.listener(theQueue)
			l.idles()
			r.close()
			end := time.NewTimer(patience)
			defer end.Stop()
			for open := true; open; {
				select {
				case _, open = <-l.wake:
				case <-end.C:
					r.Fatalf("Wake is open %v after Close", patience)
				}
			}
			select {
			case h, ok := <-l.lost:
				r.Errorf("Lost is closed: %v, or has %v", !ok, h)
			default:
			}
		},
	},
}

// oneOnly tries something in several queues until nobody was woken without need: a store that was away for a moment may wake
// all.
func (r *room) oneOnly(try func(queue string) bool) {
	r.tb.Helper()
	for i := range 3 {
		if try(fmt.Sprintf("queue%d/", i)) {
			return
		}
	}
	r.Errorf("others were woken, too, each time")
}
