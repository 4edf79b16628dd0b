package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var lockLineCases = []Case{
	{
		Name:     "at-once",
		Sentence: "Enter takes at once, if nobody waits in front and what is asked for can be had.",
		check: func(r *room) {
			for token, items := range map[string][]backend.LockItem{
				"1": alone("a"), "2": alone("c", "b"), "3": units("d", 2, 3), "4": append(units("e", 1, 0), alone("f")...),
			} {
				got := r.enter(backend.EnterRequest{Lock: backend.LockRequest{Token: token, Items: items}, Priority: -3, ClaimTTL: time.Millisecond})
				var want []string
				for _, it := range items {
					want = append(want, it.Name)
				}
				r.same("names", names(got.Grants), want)
				for _, g := range got.Grants {
					r.equal("token", g.Token, token)
					r.yes("a fence", g.Fence > 0)
					r.lives("the grant", g.TTL, long)
					r.lives("the lock", r.lock(g.Member).TTL, long)
					r.inLine(g.Member)
				}
			}
			for name, token := range map[string]string{"a": "1", "b": "2", "c": "2", "f": "4"} {
				r.heldBy(name, token)
			}
			r.sharedBy("d", "3*2")
			r.sharedBy("e", "4*1")
		},
	},
	{
		Name:     "joins",
		Sentence: "Enter joins the line; Queue looks at it: whose line, the pool's or that of Name.",
		check: func(r *room) {
			r.has("0", "a")
			r.gets(backend.LockRequest{Token: "0", Items: units("b", 3, 3)})
			before := time.Now()
			r.waits("x", alone("a"))
			r.wait(backend.EnterRequest{
				Lock: backend.LockRequest{Token: "y", Items: append(alone("a"), units("b", 2, 3)...)}, Priority: 7,
			})
			r.waits("z", units("b", 1, 3))
			got := r.queueFor("b", "z")
			r.equal("length and position", []int{got.Length, got.Position}, []int{2, 2})
			r.inLine("b", "y", "z")
			r.inLine("a", "y", "x")
			y, z := got.Waiters[0], got.Waiters[1]
			r.equal("priorities", []int{y.Priority, z.Priority}, []int{7, 0})
			r.equal("units", []int{y.Count, z.Count, r.queueFor("a", "").Waiters[0].Count}, []int{2, 1, 0})
			if d := y.Since.Sub(before); d < -time.Minute || d > time.Minute {
				r.Errorf("y waits since %v, having entered at %v", y.Since, before)
			}
			r.no("z arrived before y", z.Since.Before(y.Since))
			r.equal("position of x", r.queueFor("a", "x").Position, 2)
			r.equal("position of x, which does not wait for b", r.queueFor("b", "x").Position, 0)
			r.equal("waiting, by Holders", []int{r.lockState("a").Waiting, r.lockState("b").Waiting}, []int{2, 2})
			r.queued()
			for limit := range 2 {
				some, err := r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns, Name: "b", Limit: limit})
				r.ok(err, "Queue")
				r.equal("with a limit", []int{some.Length, some.Position, len(some.Waiters)}, []int{2, 0, limit})
			}
			r.inLine("none")
		},
	},
	{
		Name: "arrival", Sentence: firstCome,
		check: func(r *room) {
			tokens := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}
			r.has("0", "a")
			ws := r.waitsFor("a", tokens...)
			r.equal("position of the eleventh", r.queueFor("a", "11").Position, 11)
			held := "0"
			for i, w := range ws {
				r.lets(held, "a")
				r.heldBy("a", w.token)
				r.handed(w)
				r.inLine("a", tokens[i+1:]...)
				held = w.token
			}
		},
	},
	{
		Name: "priority", Sentence: firstCome,
		check: func(r *room) {
			r.has("0", "a", "z")
			ws := map[string]waiter{}
			for _, e := range []struct {
				token    string
				priority int
			}{
				{"c", 0}, {"e", -5}, {"a", backend.MaxPriority}, {"d", 0}, {"f", -backend.MaxPriority}, {"b", 1}, {"a2", backend.MaxPriority},
			} {
				ws[e.token] = r.wait(backend.EnterRequest{
					Lock: backend.LockRequest{Token: e.token, Items: alone("a", "z")}, Priority: e.priority,
				})
			}
			want := []string{"a", "a2", "b", "c", "d", "e", "f"}
			r.inLine("a", want...)
			r.inLine("z", want...)
			held := "0"
			for _, token := range want {
				r.lets(held, "a", "z")
				r.handed(ws[token])
				held = token
			}
		},
	},
	{
		Name:     "no-overtaking",
		Sentence: "While somebody waits in line for a name nobody gets it out of turn.",
		check: func(r *room) {
			ask := func(token string, n int) backend.LockRequest {
				return backend.LockRequest{Token: token, Items: units("a", n, 3)}
			}
			r.gets(ask("0", 2))
			w1 := r.waits("1", units("a", 2, 3))
			r.steady("asking out of turn", func() {
				r.refuses(ask("2", 1), backend.LockRequest{Token: "2", Items: alone("a")}, backend.LockRequest{
					Token: "2", Items: append(alone("free"), units("a", 1, 3)...),
				}, backend.LockRequest{Token: "2", Items: units("a", 1, 3), Again: true})
			}, "a", "free")
			w3 := r.waits("3", units("a", 1, 3))
			r.inLine("a", "1", "3")
			r.has("2", "free")
			r.lets("0", "a")
			r.handed(w1)
			r.handed(w3)
			r.sameSet("those who share", r.sharers("a"), []string{"1*2", "3*1"})
			r.refuses(ask("4", 1))
			r.lets("3", "a")
			r.gets(ask("4", 1))
		},
	},
	{
		Name:     "joins-behind",
		Sentence: "Enter takes at once only if nobody waits in front: of its own class or a higher one.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: units("a", 2, 3)})
			ask := func(token string, n, priority int) backend.EnterRequest {
				return backend.EnterRequest{Lock: backend.LockRequest{Token: token, Items: units("a", n, 3)}, Priority: priority}
			}
			w1 := r.wait(ask("1", 3, 0))
			w2 := r.wait(ask("2", 1, 0))
			w3 := r.wait(ask("3", 1, -1))
			got := r.enter(ask("4", 1, 1))
			r.same("what a higher class gets at once", names(got.Grants), []string{"a"})
			r.inLine("a", "1", "2", "3")
			r.lets("4", "a")
			r.inLine("a", "1", "2", "3")
			r.lets("0", "a")
			r.handed(w1)
			r.lets("1", "a")
			r.handed(w2)
			r.handed(w3)
			r.inLine("a")
		},
	},
	{
		Name:     "readers-together",
		Sentence: "Those who share a name enter together, as far as they come first.",
		check: func(r *room) {
			r.has("0", "a")
			var first, last []waiter
			for _, token := range []string{"1", "2", "3"} {
				first = append(first, r.waits(token, units("a", 1, 0)))
			}
			writer := r.waitsFor("a", "4")[0]
			for _, token := range []string{"5", "6"} {
				last = append(last, r.waits(token, units("a", 1, 0)))
			}
			r.inLine("a", "1", "2", "3", "4", "5", "6")
			r.lets("0", "a")
			r.sameSet("those who share", r.sharers("a"), []string{"1*1", "2*1", "3*1"})
			var fences []int64
			for _, w := range first {
				fences = append(fences, r.handed(w).Grants[0].Fence)
			}
			r.ascending("those who enter together", fences...)
			r.inLine("a", "4", "5", "6")
			r.lets("2", "a")
			r.lets("1", "a")
			r.inLine("a", "4", "5", "6")
			r.lets("3", "a")
			r.handed(writer)
			r.heldBy("a", "4")
			r.inLine("a", "5", "6")
			r.lets("4", "a")
			for _, w := range last {
				r.handed(w)
			}
			r.sameSet("those who share", r.sharers("a"), []string{"5*1", "6*1"})
		},
	},
	{
		Name:     "writer-first",
		Sentence: "Nobody overtakes one who waits for a name alone.",
		check: func(r *room) {
			r.shares("0", "a", 1)
			writer := r.waitsFor("a", "1")[0]
			r.refuses(backend.LockRequest{Token: "2", Items: units("a", 1, 0)})
			reader := r.waits("3", units("a", 1, 0))
			r.sharedBy("a", "0*1")
			r.inLine("a", "1", "3")
			r.lets("0", "a")
			r.handed(writer)
			r.heldBy("a", "1")
			r.lets("1", "a")
			r.handed(reader)
			r.sharedBy("a", "3*1")
		},
	},
	{
		Name:     "units-in-turn",
		Sentence: "Nobody overtakes one who waits for more units than there are.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: units("a", 2, 4)})
			r.gets(backend.LockRequest{Token: "00", Items: units("a", 2, 4)})
			large := r.waits("1", units("a", 3, 4))
			var small []waiter
			for _, token := range []string{"2", "3"} {
				small = append(small, r.waits(token, units("a", 1, 4)))
			}
			r.lets("0", "a")
			r.inLine("a", "1", "2", "3")
			r.sharedBy("a", "00*2")
			r.lets("00", "a")
			r.handed(large)
			r.handed(small[0])
			r.inLine("a", "3")
			r.lets("2", "a")
			r.handed(small[1])
			r.sameSet("those who share", r.sharers("a"), []string{"1*3", "3*1"})
		},
	},
	{
		Name:     "separate",
		Sentence: "There is one line for each pool, and one for each name that can be locked.",
		check: func(r *room) {
			r.exclusive = false
			other := *r
			other.ns.Suffix = "other"
			for _, in := range []*room{r, &other} {
				in.has("0", "a", "b")
			}
			pool := r.line("1")[0]
			wa, wb := r.waits("1", alone("a")), r.waits("2", alone("b"))
			r.queued("1")
			r.inLine("a", "1")
			r.inLine("b", "2")
			other.inLine("a")
			other.lets("0", "a")
			other.has("3", "a")
			r.lets("0", "b")
			r.handed(wb)
			r.inLine("a", "1")
			r.extend("m")
			r.granted(pool, "m")
			r.queued()
			r.inLine("a", "1")
			r.lets("0", "a")
			r.handed(wa)
		},
	},
}
