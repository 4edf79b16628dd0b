package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

const inAllLines = "A request for several names waits in all their lines, at the same place in each, holds none of them " +
	"meanwhile, and is granted when it is first in all of them and all can be had."

var multiCases = []Case{
	{
		Name: "all-or-none", Sentence: inAllLines,
		check: func(r *room) {
			r.has("0", "a")
			r.has("00", "c")
			w := r.waits("1", alone("c", "b", "a"))
			for _, name := range []string{"a", "b", "c"} {
				r.inLine(name, "1")
			}
			r.unheld("b")
			r.lets("0", "a")
			r.unheld("a", "b")
			r.lets("00", "c")
			for _, name := range []string{"a", "b", "c"} {
				r.heldBy(name, "1")
				r.inLine(name)
			}
			h := r.handed(w)
			r.ascending("grants", h.Grants[0].Fence, h.Grants[1].Fence, h.Grants[2].Fence)
		},
	},
	{
		Name: "keeps-its-turn", Sentence: inAllLines + " Nobody gets one of them out of turn.",
		check: func(r *room) {
			r.has("0", "a")
			w1 := r.waits("1", alone("a", "b"))
			r.unheld("b")
			r.refuses(backend.LockRequest{Token: "2", Items: alone("b")}, backend.LockRequest{Token: "2", Items: alone("c", "b")})
			w3 := r.waits("3", alone("b"))
			w4 := r.waits("4", alone("c", "b"))
			r.inLine("b", "1", "3", "4")
			r.unheld("b", "c")
			r.refuses(backend.LockRequest{Token: "2", Items: alone("c")})
			r.lets("0", "a")
			r.handed(w1)
			r.inLine("b", "3", "4")
			r.lets("1", "b")
			r.handed(w3)
			r.heldBy("a", "1")
			r.lets("3", "b")
			r.handed(w4)
			r.lets("4", "b", "c")
			r.lets("1", "a")
			r.unheld("a", "b", "c")
		},
	},
	{
		Name: "same-place", Sentence: inAllLines,
		check: func(r *room) {
			r.has("0", "a", "b", "c")
			enter := func(token string, priority int, names ...string) {
				r.wait(backend.EnterRequest{Lock: backend.LockRequest{Token: token, Items: alone(names...)}, Priority: priority})
			}
			enter("1", 0, "a")
			enter("2", 0, "c", "a", "b")
			enter("3", 0, "b")
			enter("4", 1, "b", "c")
			enter("5", 0, "b", "a")
			enter("6", 1, "a", "c")
			r.inLine("a", "6", "1", "2", "5")
			r.inLine("b", "4", "2", "3", "5")
			r.inLine("c", "4", "6", "2")
			held := []struct {
				token string
				names []string
			}{{"0", []string{"a", "b", "c"}}}
			for _, next := range []struct {
				token string
				names []string
			}{
				{"4", []string{"b", "c"}},
				{"6", []string{"a", "c"}},
				{"1", []string{"a"}},
				{"2", []string{"c", "a", "b"}},
				{"3", []string{"b"}},
				{"5", []string{"b", "a"}},
			} {
				last := held[len(held)-1]
				r.lets(last.token, last.names...)
				for _, n := range next.names {
					r.heldBy(n, next.token)
				}
				held = append(held, next)
			}
		},
	},
	{
		Name: "crossing", Sentence: inAllLines + " Whatever their order, requests do not block each other for ever.",
		check: func(r *room) {
			r.has("0", "a")
			r.has("00", "b")
			w1, w2 := r.waits("1", alone("a", "b")), r.waits("2", alone("b", "a"))
			r.lets("0", "a")
			r.unheld("a")
			r.lets("00", "b")
			r.handed(w1)
			r.inLine("a", "2")
			r.inLine("b", "2")
			r.lets("1", "a", "b")
			r.handed(w2)
			r.lets("2", "a", "b")
			r.unheld("a", "b")
		},
	},
	{
		Name:     "chain",
		Sentence: "When somebody is granted or leaves, the lines of all names it waited for move on.",
		check: func(r *room) {
			r.has("0", "a")
			r.waits("1", alone("a", "b"))
			w2 := r.waits("2", alone("b", "c"))
			w3 := r.waits("3", alone("c", "d"))
			w4 := r.waits("4", alone("d"))
			r.unheld("b", "c", "d")
			r.equal("leaving", r.leave("1", "a", "b"), backend.LeaveReply{Waiting: true})
			r.handed(w2)
			r.inLine("c", "3")
			r.inLine("d", "3", "4")
			r.unheld("d")
			r.lets("2", "b", "c")
			r.handed(w3)
			r.inLine("d", "4")
			r.lets("3", "c", "d")
			r.handed(w4)
			r.heldBy("a", "0")
		},
	},
	{
		Name: "mixed", Sentence: inAllLines + " Some of them alone, of others units.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: append(units("s", 2, 3), alone("a")...)})
			both := func(n int) []backend.LockItem { return append(alone("a"), units("s", n, 3)...) }
			w1 := r.waits("1", both(2))
			w2 := r.waits("2", units("s", 1, 3))
			r.lets("0", "a")
			r.unheld("a")
			r.sharedBy("s", "0*2")
			r.lets("0", "s")
			r.handed(w1)
			r.handed(w2)
			r.heldBy("a", "1")
			r.sameSet("those who share", r.sharers("s"), []string{"1*2", "2*1"})
			r.lets("1", "s")
			w3 := r.waits("3", both(1))
			r.sharedBy("s", "2*1")
			r.lets("1", "a")
			r.handed(w3)
		},
	},
	{
		Name: "many-lines", Sentence: inAllLines + " Also of MaxLockNames.",
		check: func(r *room) {
			all := numbered(backend.MaxLockNames)
			r.has("0", all...)
			w := r.waits("1", alone(all...))
			tail := r.waitsFor(all[len(all)-1], "2")[0]
			for i, name := range all[1:] {
				r.lets("0", name)
				if i%20 == 0 {
					r.inLine(name, "1")
				}
			}
			r.lets("0", all[0])
			r.handed(w)
			r.lets("1", all...)
			r.handed(tail)
			r.unheld(all[:len(all)-1]...)
		},
	},
	{
		Name:     "twice-first",
		Sentence: "It is granted when it is first in all of them: being first in some is not enough.",
		check: func(r *room) {
			r.has("0", "a", "b", "c")
			w1 := r.waits("1", alone("a", "b"))
			w2 := r.waits("2", alone("b", "c"))
			w3 := r.waits("3", alone("c", "a"))
			r.lets("0", "b", "c", "a")
			r.handed(w1)
			r.unheld("c")
			for i, name := range []string{"c", "a"} {
				r.inLine(name, [][]string{{"2", "3"}, {"3"}}[i]...)
			}
			r.lets("1", "a", "b")
			r.handed(w2)
			r.unheld("a")
			r.lets("2", "b", "c")
			r.handed(w3)
			r.heldBy("c", "3")
			r.heldBy("a", "3")
			r.unheld("b")
		},
	},
}
