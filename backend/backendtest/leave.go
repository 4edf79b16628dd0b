package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

const givesBack = "Leave takes a request out of the line and gives back what was handed over to it, whether or not it has " +
	"learnt of it."

var leaveCases = []Case{
	{
		Name: "waiting", Sentence: givesBack,
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			ws := r.line("1", "2", "3")
			r.equal("reply", r.leave("2"), backend.LeaveReply{Waiting: true})
			r.queued("1", "3")
			r.equal("position of the last", r.queue("3").Position, 2)
			r.equal("reply", r.leave("1"), backend.LeaveReply{Waiting: true})
			r.equal("reply", r.leave("1"), backend.LeaveReply{})
			r.giveBack("a", "0")
			r.granted(ws[2], "a")
			r.queued()
		},
	},
	{
		Name: "granted", Sentence: givesBack,
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			ws := r.line("1", "2")
			r.giveBack("a", "0")
			r.owner("a", "1") // and its message lies unread
			r.equal("reply", r.leave("1"), backend.LeaveReply{Returned: 1})
			r.owner("a", "2")
			r.granted(ws[1], "a")
			r.no("renewed after leaving", r.renew("a", "1", long))
			r.equal("reply", r.leave("2"), backend.LeaveReply{Returned: 1})
			r.free("a")
			r.takes(backend.TakeRequest{Token: "3"}, "a")
		},
	},
	{
		Name: "left-pool", Sentence: givesBack + " The lock goes, also if the member has left the pool.",
		check: func(r *room) {
			w := r.line("1")[0]
			r.extend("a")
			r.granted(w, "a")
			r.shrink("a")
			r.owner("a", "1")
			r.equal("reply", r.leave("1"), backend.LeaveReply{Returned: 1})
			r.no("the lock is left", r.lock("a").Exists)
			r.members()
		},
	},
	{
		Name: "several", Sentence: givesBack,
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "0", Count: 3}, "a", "b", "c")
			w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 2}})
			r.giveBack("b", "0")
			r.giveBack("c", "0")
			r.granted(w, "b", "c")
			r.equal("reply", r.leave("1"), backend.LeaveReply{Returned: 2})
			r.free("b", "c")
		},
	},
	{
		Name:     "makes-way",
		Sentence: "Leave: those behind a request for several members are served when it goes.",
		check: func(r *room) {
			r.extend("a", "b")
			r.one("0")
			w1 := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 2}})
			w2 := r.line("2")[0]
			r.queued("1", "2")
			r.equal("reply", r.leave(w1.token), backend.LeaveReply{Waiting: true})
			r.granted(w2, "b")
			r.queued()
		},
	},
	{
		Name:     "last",
		Sentence: "Leave: when nobody waits any more, Take grants again.",
		check: func(r *room) {
			r.extend("a")
			r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 2}})
			r.takes(backend.TakeRequest{Token: "2"})
			r.leave("1")
			r.takes(backend.TakeRequest{Token: "3"}, "a")
		},
	},
	{
		Name:     "unknown",
		Sentence: "Leave: a request that does not wait is left alone.",
		check: func(r *room) {
			r.extend("a", "b")
			r.one("0")
			r.set("lock", "0", long)
			r.unchanged("leaving", func() {
				r.equal("reply", r.leave("nobody"), backend.LeaveReply{})
				r.equal("reply", r.leave("nobody"), backend.LeaveReply{})
			})
		},
	},
	{
		Name:     "renewed",
		Sentence: "Leave: a request that does not wait is left alone, but for what it was handed and has not renewed.",
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			w := r.line("1")[0]
			r.giveBack("a", "0")
			r.granted(w, "a")
			r.yes("renewed", r.renew("a", "1", long))
			r.equal("reply", r.leave("1"), backend.LeaveReply{})
			r.owner("a", "1")
			r.yes("given back", r.giveBack("a", "1"))
		},
	},
	{
		Name:     "partly-renewed",
		Sentence: "Leave: a request that does not wait is left alone, but for what it was handed and has not renewed.",
		check: func(r *room) {
			r.extend("a", "b")
			r.takes(backend.TakeRequest{Token: "0", Count: 2}, "a", "b")
			w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "1", Count: 2}})
			r.giveBack("a", "0")
			r.giveBack("b", "0")
			r.granted(w, "a", "b")
			r.yes("renewed", r.renew("a", "1", long))
			r.equal("reply", r.leave("1"), backend.LeaveReply{Returned: 1})
			r.owner("a", "1")
			r.free("b")
		},
	},
	{
		Name:     "returned",
		Sentence: "Leave gives back only what is still its own.",
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			w := r.line("1")[0]
			r.giveBack("a", "0")
			r.granted(w, "a")
			r.yes("given back", r.giveBack("a", "1"))
			r.one("2")
			r.unchanged("leaving", func() { r.equal("reply", r.leave("1"), backend.LeaveReply{}) })
			r.owner("a", "2")
		},
	},
	{
		Name:     "at-once",
		Sentence: "Leave: a request that does not wait is left alone, also if Enter granted it at once.",
		check: func(r *room) {
			r.extend("a", "b")
			r.equal("grants", len(r.enter(backend.EnterRequest{Take: backend.TakeRequest{Token: "1"}}).Grants), 1)
			r.one("2")
			r.unchanged("leaving", func() {
				r.equal("reply", r.leave("1"), backend.LeaveReply{})
				r.equal("reply", r.leave("2"), backend.LeaveReply{})
			})
			r.owner("a", "1")
			r.yes("given back", r.giveBack("a", "1"))
		},
	},
}
