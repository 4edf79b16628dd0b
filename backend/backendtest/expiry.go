package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brief is a short membership. It is rounded up to two seconds, counted from the last full second of the server's
// clock: it lasts for one at least, and has ended after outlived.
const (
	brief    = time.Second + time.Millisecond
	outlived = 2100 * time.Millisecond
)

const dropsExpired = "Expired members met on the way are dropped."

var expiryCases = []Case{
	{
		Name: "take", Sentence: dropsExpired,
		check: func(r *room) {
			r.extendFor(brief, "a", "b")
			r.extend("c", "d")
			r.pass(outlived)
			r.takes(backend.TakeRequest{Token: "1", Count: 3})
			r.takes(backend.TakeRequest{Token: "2"}, "c")
			r.members("c", "d")
			r.takes(backend.TakeRequest{Token: "3"}, "d")
			r.free()
		},
	},
	{
		Name: "shared", Sentence: dropsExpired + " Also in shared mode.",
		check: func(r *room) {
			r.extendFor(brief, "a")
			r.extend("b")
			r.pass(outlived)
			r.takes(backend.TakeRequest{Token: "1", Shared: true}, "b")
			r.members("b")
			r.free("b")
		},
	},
	{
		Name: "prefer", Sentence: "An expired member is not handed out, whoever prefers it.",
		check: func(r *room) {
			r.extendFor(brief, "a", "b", "c")
			r.extend("d", "e")
			r.bind("n", "a")
			r.pass(outlived)
			r.takes(backend.TakeRequest{Token: "1", Binding: "n"}, "d")
			r.equal("bound to", r.bound("n"), "d")
			r.takes(backend.TakeRequest{Token: "2", Only: true, Prefer: []string{"b"}})
			r.takes(backend.TakeRequest{Token: "3", Prefer: []string{"c"}}, "e")
			r.takes(backend.TakeRequest{Token: "4"})
			r.free()
		},
	},
	{
		Name: "collect", Sentence: "Collect: an expired one is dropped.",
		check: func(r *room) {
			r.extend("a", "b", "c", "d", "e")
			r.one("held")
			r.one("lost")
			r.unlockByHand("b")
			r.extendFor(brief, "a", "b", "c", "d")
			r.pass(outlived)
			got := r.collect(backend.BatchLimit)
			r.equal("reply", got, backend.CollectReply{Dropped: 4})
			r.members("e")
			r.free("e")
			r.yes("the holder gives back", r.giveBack("a", "held"))
			r.members("e")
		},
	},
	{
		Name: "lapsed", Sentence: "An expired member is not handed out, also when its lease has run out or was given back.",
		check: func(r *room) {
			r.extend("a", "b")
			r.one("1")
			r.one("2")
			r.extendFor(brief, "a", "b")
			r.renew("a", "1", short)
			r.pass(outlived)
			r.takes(backend.TakeRequest{Token: "3"})
			r.yes("given back", r.giveBack("b", "2"))
			r.takes(backend.TakeRequest{Token: "4"})
			r.takes(backend.TakeRequest{Token: "5", Collect: backend.BatchLimit})
			r.members()
		},
	},
	{
		Name: "extended", Sentence: "Extend: those that are members already get a new expiry.",
		check: func(r *room) {
			r.extendFor(brief, "a", "b", "c")
			r.extend("b")
			r.extendFor(long, "c")
			r.pass(outlived)
			r.equal("reply", r.collect(backend.BatchLimit), backend.CollectReply{Dropped: 1})
			r.free("b", "c")
		},
	},
	{
		Name: "returned", Sentence: "MemberTTL becomes the new expiry of the membership.",
		check: func(r *room) {
			r.extend("a", "b")
			r.takes(backend.TakeRequest{Token: "t", Count: 2}, "a", "b")
			r.extendFor(brief, "a")
			r.returns(backend.ReturnRequest{Force: true, MemberTTL: long, Items: []backend.Held{{Member: "a"}}})
			r.returns(backend.ReturnRequest{Force: true, MemberTTL: brief, Items: []backend.Held{{Member: "b"}}})
			r.pass(outlived)
			r.takes(backend.TakeRequest{Token: "u", Count: 1}, "a")
			r.takes(backend.TakeRequest{Token: "v", Count: 1})
			r.members("a")
		},
	},
	{
		Name: "line", Sentence: "An expired member is not handed to those who wait.",
		check: func(r *room) {
			r.extend("a")
			r.one("1")
			w := r.wait(backend.EnterRequest{Take: backend.TakeRequest{Token: "2"}})
			r.extendFor(brief, "a")
			r.pass(outlived)
			r.yes("given back", r.giveBack("a", "1"))
			r.queued("2")
			r.extend("b")
			r.granted(w, "b")
		},
	},
}
