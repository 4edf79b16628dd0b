package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// bind writes a binding by hand.
func (r *room) bind(name, member string) {
	r.tb.Helper()
	_, err := r.be.Set(r.ctx, backend.SetRequest{
		Namespace: r.ns, Kind: backend.KindBinding,
		Items: []backend.SetItem{{Name: name, Value: member, TTL: long}},
	})
	r.ok(err, "Set of a binding")
}

const dropped = "Binding: if the bound member is not in the pool or is locked, the binding is dropped and another member is taken and bound."

var bindingCases = []Case{
	{
		Name:     "binds",
		Sentence: "Binding is a name that prefers the member it had before.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n"}, "a")
			r.equal("bound to", r.bound("n"), "a")
			r.giveBack("a", "1")
			r.free("b", "c", "a")
			r.takes(backend.TakeRequest{Token: "2", Binding: "n"}, "a")
			r.takes(backend.TakeRequest{Token: "3", Binding: "other"}, "b")
			r.equal("bound to", r.bound("other"), "b")
			r.takes(backend.TakeRequest{Token: "4"}, "c")
			r.equal("bound to", r.bound("n"), "a")
		},
	},
	{
		Name:     "ttl",
		Sentence: "BindingTTL counts anew at each use.",
		check: func(r *room) {
			r.extend("a", "b")
			for _, ttl := range []time.Duration{long, 2 * long, backend.NoExpiry, long} {
				r.takes(backend.TakeRequest{Token: "t", Binding: "n", BindingTTL: ttl}, "a")
				r.lives("the binding", r.get(backend.KindBinding, "n").TTL, ttl)
				r.giveBack("a", "t")
			}
			r.takes(backend.TakeRequest{Token: "t", Binding: "n", BindingTTL: short}, "a")
			r.giveBack("a", "t")
			r.eventually("that the binding runs out", func() bool { return r.bound("n") == "" })
			r.takes(backend.TakeRequest{Token: "t", Binding: "n"}, "b")
		},
	},
	{
		Name: "locked", Sentence: dropped,
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n"}, "a")
			r.takes(backend.TakeRequest{Token: "2", Binding: "n"}, "b")
			r.equal("bound to", r.bound("n"), "b")
			r.giveBack("a", "1")
			r.giveBack("b", "2")
			r.takes(backend.TakeRequest{Token: "3", Binding: "n"}, "b")
		},
	},
	{
		Name: "nothing-else", Sentence: dropped,
		check: func(r *room) {
			r.extend("a")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n"}, "a")
			r.takes(backend.TakeRequest{Token: "2", Binding: "n"})
			r.no("a binding to what somebody else has", r.get(backend.KindBinding, "n").Exists)
			r.giveBack("a", "1")
			r.takes(backend.TakeRequest{Token: "3", Binding: "n"}, "a")
			r.equal("bound to", r.bound("n"), "a")
		},
	},
	{
		Name: "left-pool", Sentence: dropped,
		check: func(r *room) {
			r.extend("a", "b")
			r.bind("n", "nowhere")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n"}, "a")
			r.equal("bound to", r.bound("n"), "a")
			r.shrink("a")
			r.giveBack("a", "1")
			r.takes(backend.TakeRequest{Token: "2", Binding: "n"}, "b")
			r.equal("bound to", r.bound("n"), "b")
		},
	},
	{
		Name: "locked-by-hand", Sentence: dropped,
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.bind("n", "b")
			r.lockByHand("b")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n"}, "a")
			r.equal("bound to", r.bound("n"), "a")
		},
	},
	{
		Name:     "lapsed",
		Sentence: "Binding: if the bound member is still in the pool and not locked it is taken.",
		check: func(r *room) {
			r.extend("a", "b")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n", TTL: short}, "a")
			r.gone("a")
			r.takes(backend.TakeRequest{Token: "2", Binding: "n"}, "a")
			r.takes(backend.TakeRequest{Token: "3"}, "b")
		},
	},
	{
		Name:     "first",
		Sentence: "Members are looked for in this order: the one that Binding is bound to, those in Prefer, then from the head.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			r.bind("n", "c")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n", Prefer: []string{"b"}}, "c")
			r.takes(backend.TakeRequest{Token: "2", Binding: "n", Prefer: []string{"b"}}, "b")
			r.equal("bound to", r.bound("n"), "b")
			r.takes(backend.TakeRequest{Token: "3", Binding: "n", Prefer: []string{"b"}}, "a")
			r.equal("bound to", r.bound("n"), "a")
		},
	},
	{
		Name:     "shared",
		Sentence: "Binding is a name that prefers the member it had before, also in shared mode.",
		check: func(r *room) {
			r.extend("a", "b", "c")
			for range 3 {
				r.takes(backend.TakeRequest{Token: "t", Shared: true, Binding: "n"}, "a")
			}
			r.takes(backend.TakeRequest{Token: "t", Shared: true, Binding: "m"}, "b")
			r.lockByHand("a")
			r.takes(backend.TakeRequest{Token: "t", Shared: true, Binding: "n"}, "c")
			r.equal("bound to", r.bound("n"), "c")
		},
	},
	{
		Name:     "no-waiting",
		Sentence: "A name never waits for its member.",
		check: func(r *room) {
			r.extend("a", "b")
			r.takes(backend.TakeRequest{Token: "1", Binding: "n"}, "a")
			got, err := r.be.Enter(r.ctx, backend.EnterRequest{Take: r.filled(backend.TakeRequest{Token: "2", Binding: "n"})})
			r.ok(err, "Enter")
			r.same("members", names(got.Grants), []string{"b"})
			r.equal("bound to", r.bound("n"), "b")
		},
	},
}
