package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

const leavesAlone = "Leave: a request that does not wait is left alone, but for what it was handed and has not renewed."

var lockLeaveCases = []Case{
	{
		Name: "waiting", Sentence: givesBack,
		check: func(r *room) {
			r.has("0", "a")
			ws := r.waitsFor("a", "1", "2", "3")
			r.equal("reply", r.leave("2", "a"), backend.LeaveReply{Waiting: true})
			r.inLine("a", "1", "3")
			r.equal("position of the last", r.queueFor("a", "3").Position, 2)
			r.equal("reply", r.leave("1", "a"), backend.LeaveReply{Waiting: true})
			r.equal("reply", r.leave("1", "a"), backend.LeaveReply{})
			r.lets("0", "a")
			r.handed(ws[2])
			r.inLine("a")
		},
	},
	{
		Name: "granted", Sentence: givesBack,
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: append(alone("a"), units("b", 2, 2)...)})
			items := append(alone("a"), units("b", 1, 2)...)
			w1, w2 := r.waits("1", items), r.waits("2", items)
			r.lets("0", "a", "b")
			r.heldBy("a", "1") // and its message lies unread
			r.equal("reply", r.leave("1", w1.names...), backend.LeaveReply{Returned: 2})
			r.heldBy("a", "2")
			r.sharedBy("b", "2*1")
			r.handed(w2)
			r.no("renewed after leaving", r.prolong("1", "a", long))
			r.no("renewed after leaving", r.prolong("1", "b", long))
			r.equal("reply", r.leave("2", w2.names...), backend.LeaveReply{Returned: 2})
			r.unheld("a", "b")
			r.equal("reply", r.leave("2", w2.names...), backend.LeaveReply{})
		},
	},
	{
		Name: "several", Sentence: givesBack + " All its lines.",
		check: func(r *room) {
			r.has("0", "a", "b", "c")
			r.waits("1", alone("a", "b", "c"))
			w2 := r.waits("2", alone("c", "a"))
			r.equal("reply", r.leave("1", "a", "b", "c"), backend.LeaveReply{Waiting: true})
			r.inLine("a", "2")
			r.inLine("b")
			r.inLine("c", "2")
			r.lets("0", "a", "b", "c")
			r.handed(w2)
			r.has("3", "b")
		},
	},
	{
		Name:     "makes-way",
		Sentence: "Leave: those behind are served when it goes, as far as they come first.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "0", Items: units("a", 1, 3)})
			r.waitsFor("a", "1")
			var ws []waiter
			for _, token := range []string{"2", "3", "4"} {
				ws = append(ws, r.waits(token, units("a", 1, 3)))
			}
			r.inLine("a", "1", "2", "3", "4")
			r.equal("reply", r.leave("1", "a"), backend.LeaveReply{Waiting: true})
			r.handed(ws[0])
			r.handed(ws[1])
			r.inLine("a", "4")
		},
	},
	{
		Name:     "last",
		Sentence: "Leave: when nobody waits any more, Lock grants again.",
		check: func(r *room) {
			r.has("0", "b")
			r.waits("1", alone("a", "b"))
			r.refuses(backend.LockRequest{Token: "2", Items: alone("a")})
			r.leave("1", "a", "b")
			r.has("2", "a")
			r.heldBy("b", "0")
		},
	},
	{
		Name: "at-once", Sentence: leavesAlone + " Also if Enter granted it at once.",
		check: func(r *room) {
			items := append(alone("a"), units("b", 1, 0)...)
			got := r.enter(backend.EnterRequest{Lock: backend.LockRequest{Token: "1", Items: items}})
			r.equal("grants", len(got.Grants), 2)
			r.has("2", "c")
			r.steady("leaving", func() {
				r.equal("reply", r.leave("1", "a", "b"), backend.LeaveReply{})
				r.equal("reply", r.leave("2", "c"), backend.LeaveReply{})
				r.equal("reply", r.leave("nobody", "a", "b", "c", "free"), backend.LeaveReply{})
			}, "a", "b", "c", "free")
			r.lets("1", "a", "b")
		},
	},
	{
		Name: "renewed", Sentence: leavesAlone,
		check: func(r *room) {
			r.has("0", "a", "b", "c")
			w := r.waits("1", append(alone("a", "b"), units("c", 1, 0)...))
			r.lets("0", "a", "b", "c")
			r.handed(w)
			r.yes("renewed", r.prolong("1", "c", long))
			r.yes("renewed", r.prolong("1", "a", long))
			r.equal("reply", r.leave("1", "a", "b", "c"), backend.LeaveReply{Returned: 1})
			r.heldBy("a", "1")
			r.unheld("b")
			r.sharedBy("c", "1*1")
			r.equal("reply", r.leave("1", "a", "b", "c"), backend.LeaveReply{})
			r.lets("1", "a", "c")
		},
	},
	{
		Name:     "lost",
		Sentence: "Leave gives back only what is still its own.",
		check: func(r *room) {
			r.has("0", "a", "b")
			w := r.waits("1", alone("a", "b"))
			r.lets("0", "a", "b")
			r.handed(w)
			r.force("a")
			r.set("b", "by hand", long)
			r.has("2", "a")
			r.steady("leaving", func() { r.equal("reply", r.leave("1", "a", "b"), backend.LeaveReply{}) }, "a", "b")
			r.heldBy("a", "2")
			r.heldBy("b", "by hand")
		},
	},
	{
		Name: "locked-again", Sentence: leavesAlone + " What it has lost since, and then locked, it was not handed.",
		check: func(r *room) {
			for token, items := range map[string][]backend.LockItem{"1": alone("a"), "2": units("a", 2, 0)} {
				r.has("0", "a")
				w := r.waits(token, items)
				r.lets("0", "a")
				r.handed(w)
				r.set("a", "by hand", long)
				r.force("a")
				r.gets(backend.LockRequest{Token: token, Items: alone("a"), Again: true})
				r.equal("reply", r.leave(token, "a"), backend.LeaveReply{})
				r.heldBy("a", token)
				r.lets(token, "a")
			}
		},
	},
	{
		Name:     "enters-again",
		Sentence: "A token that has left may enter again: at the end of the line.",
		check: func(r *room) {
			r.has("0", "a")
			r.waitsFor("a", "1")
			w2 := r.waitsFor("a", "2")[0]
			r.leave("1", "a")
			w1 := r.waitsFor("a", "1")[0]
			r.inLine("a", "2", "1")
			r.lets("0", "a")
			r.handed(w2)
			r.lets("2", "a")
			r.handed(w1)
			r.yes("renewed", r.prolong("1", "a", long))
			r.lets("1", "a")
		},
	},
}
