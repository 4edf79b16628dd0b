package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const firstCome = "The order is priority class first, then arrival."

var lineCases = []Case{
	{
		Name:     "at-once",
		Sentence: "Enter takes at once, if nobody waits in front and there are enough free members.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			for _, count := range []int{0, 2} {
				got := r.enter(backend.EnterRequest{Take: backend.TakeRequest{Token: "t", Count: count}, Priority: -3})
				r.equal("number of grants", len(got.Grants), max(count, 1))
				for _, g := range got.Grants {
					r.owner(g.Member, "t")
					r.lives("grant", g.TTL, long)
					r.lives("lock", r.lock(g.Member).TTL, long)
					r.equal("token", g.Token, "t")
					r.yes("a fence", g.Fence > 0)
				}
			}
			r.queued()
		},
	},
	{
		Name:     "joins",
		Sentence: "Enter joins the line; Queue looks at it.",
		check: func(r *room) {
			r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "x"}})
			r.extend("a") // handed to x
			r.queued()
			before := time.Now()
			r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "y", Count: 3}, Priority: 7})
			r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "z"}})
			got := r.queue("z")
			r.equal("length and position", []int{got.Length, got.Position}, []int{2, 2})
			if len(got.Waiters) != 2 {
				r.Fatalf("%d waiters are listed, not 2", len(got.Waiters))
			}
			y, z := got.Waiters[0], got.Waiters[1]
			r.equal("tokens", []string{y.Token, z.Token}, []string{"y", "z"})
			r.equal("priorities", []int{y.Priority, z.Priority}, []int{7, 0})
			r.equal("counts", []int{y.Count, z.Count}, []int{3, 1})
			if d := y.Since.Sub(before); d < -time.Minute || d > time.Minute {
				r.Errorf("y waits since %v, having entered at %v", y.Since, before)
			}
			r.no("z arrived before y", z.Since.Before(y.Since))
			r.equal("position of y", r.queue("y").Position, 1)
			r.equal("position of x, which has been served", r.queue("x").Position, 0)
			r.equal("waiting, by Inspect", r.pool().Waiting, 2)
			some, err := r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns, Limit: 1})
			r.ok(err, "Queue")
			r.equal("with Limit 1", []int{some.Length, some.Position, len(some.Waiters)}, []int{2, 0, 1})
			none, err := r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns})
			r.ok(err, "Queue")
			r.equal("with Limit 0", []int{none.Length, len(none.Waiters)}, []int{2, 0})
		},
	},
	{
		Name: "arrival", Sentence: firstCome,
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			ws := r.line("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12")
			r.equal("position of the eleventh", r.queue("11").Position, 11)
			held := "0"
			for _, w := range ws {
				r.yes("given back", r.giveBack("a", held))
				r.owner("a", w.token)
				r.granted(w, "a")
				held = w.token
			}
			r.queued()
		},
	},
	{
		Name: "priority", Sentence: firstCome,
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			ws := map[string]waiter{}
			for _, e := range []struct {
				token    string
				priority int
			}{
				{"c", 0}, {"e", -5}, {"a", backend.MaxPriority}, {"d", 0}, {"f", -backend.MaxPriority}, {"b", 1}, {"a2", backend.MaxPriority},
			} {
				ws[e.token] = r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: e.token}, Priority: e.priority})
			}
			want := []string{"a", "a2", "b", "c", "d", "e", "f"}
			r.queued(want...)
			held := "0"
			for _, token := range want {
				r.yes("given back", r.giveBack("a", held))
				r.granted(ws[token], "a")
				held = token
			}
		},
	},
	{
		Name:     "no-overtaking",
		Sentence: "While somebody waits in line, Take grants nothing from the list: those who wait come first.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("0")
			w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 3}})
			r.unchanged("taking", func() {
				r.takes(backend.TakeRequest{Token: "2"})
				r.takes(backend.TakeRequest{Token: "3", Count: 2})
				r.takes(backend.TakeRequest{Token: "4", Shared: true})
				r.takes(backend.TakeRequest{Token: "5", Collect: backend.BatchLimit})
				r.takes(backend.TakeRequest{Token: "7", Prefer: []string{"b"}})
			})
			r.takes(backend.TakeRequest{Token: "6", Only: true, Prefer: []string{"c"}}, "c")
			r.yes("given back", r.giveBack("a", "0"))
			r.queued("1")
			r.yes("given back", r.giveBack("c", "6"))
			r.granted(w, "b", "a", "c")
		},
	},
	{
		Name:     "joins-behind",
		Sentence: "Enter takes at once only if nobody waits in front: of its own class or a higher one.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.one("0")
			w1 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 3}})
			w2 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "2"}})
			r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "3"}, Priority: -1})
			got := r.enter(backend.EnterRequest{Take: backend.TakeRequest{Token: "4"}, Priority: 1})
			r.same("what a higher class gets at once", names(got.Grants), []string{"b"})
			r.queued("1", "2", "3")
			r.giveBack("b", "4")
			r.giveBack("a", "0")
			r.granted(w1, "c", "b", "a")
			r.giveBack("c", "1")
			r.granted(w2, "c")
			r.queued("3")
		},
	},
	{
		Name:     "several",
		Sentence: "A request for several members stays first in line until there are enough.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "0", Count: 3}, "a", "b", "c")
			w1 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 2}})
			ws := r.line("2", "3")
			r.giveBack("a", "0")
			r.queued("1", "2", "3")
			r.free("a")
			r.giveBack("b", "0")
			r.owner("a", "1")
			r.owner("b", "1")
			r.granted(w1, "a", "b")
			r.queued("2", "3")
			r.giveBack("c", "0")
			r.granted(ws[0], "c")
			r.giveBack("a", "1")
			r.granted(ws[1], "a")
			r.giveBack("b", "1")
			r.free("b")
		},
	},
	{
		Name:     "shared",
		Sentence: "Lines: those who wait for a member in shared mode are handed one, each of them.",
		check: func(r *room) {
			w1 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Shared: true}})
			w2 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "2", Shared: true}})
			r.extend("a")
			for _, w := range []waiter{w1, w2} {
				h := r.granted(w, "a")
				r.equal("grant", h.Grants[0], backend.Grant{Member: "a", Token: w.token, TTL: backend.NoExpiry})
			}
			r.queued()
			r.free("a")
			r.no("locked", r.lock("a").Exists)
		},
	},
	{
		Name:     "separate",
		Sentence: "There is one line for each pool.",
		check: func(r *room) {
			other := *r
			other.ns.Suffix = "other"
			w := r.line("1")[0]
			other.extend("a")
			other.takes(backend.TakeRequest{Token: "2"}, "a")
			other.queued()
			r.queued("1")
			r.extend("b")
			r.granted(w, "b")
		},
	},
}
