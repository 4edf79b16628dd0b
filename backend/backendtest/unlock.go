package backendtest

import (
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

const givesNames = "Unlock gives names back, each for itself: those that are held under the given token."

var unlockCases = []Case{
	{
		Name: "token", Sentence: givesNames,
		check: func(r *room) {
			r.has("1", "a")
			r.shares("1", "b", 1)
			r.steady("a stranger", func() {
				for _, name := range []string{"a", "b", "free"} {
					r.no("given back by a stranger", r.unlock("2", name))
				}
			}, "a", "b", "free")
			r.yes("given back", r.unlock("1", "a"))
			r.yes("given back", r.unlock("1", "b"))
			r.unheld("a", "b")
			r.no("given back twice", r.unlock("1", "a"))
			r.no("given back twice", r.unlock("1", "b"))
		},
	},
	{
		Name: "batch", Sentence: givesNames,
		check: func(r *room) {
			r.has("1", "a", "c")
			r.has("2", "b")
			r.shares("1", "d", 1)
			r.shares("2", "d", 1)
			got := r.unlocks(backend.UnlockRequest{Items: []backend.Held{
				{Member: "c", Token: "1"},
				{Member: "b", Token: "1"},
				{Member: "a", Token: "1"},
				{Member: "d", Token: "3"},
				{Member: "d", Token: "1"},
				{Member: "none", Token: "1"},
				{Member: "a", Token: "1"},
				{Member: "b", Token: "2"},
			}})
			r.equal("given back", got, []bool{true, false, true, false, true, false, false, true})
			r.unheld("a", "b", "c")
			r.sharedBy("d", "2*1")
		},
	},
	{
		Name:     "next-holder",
		Sentence: "Unlock never removes another's: also not after the lease ran out.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "old", TTL: short, Items: alone("a")})
			r.gone("a")
			r.has("new", "a")
			r.no("given back by the former holder", r.unlock("old", "a"))
			r.heldBy("a", "new")
		},
	},
	{
		Name:     "large-batch",
		Sentence: "A batch of BatchLimit items is one step.",
		check: func(r *room) {
			all := numbered(backend.BatchLimit)
			var items []backend.Held
			for part := range slices.Chunk(all, backend.MaxLockNames) {
				r.has("t", part...)
			}
			for _, n := range all {
				items = append(items, backend.Held{Member: n, Token: "t"})
			}
			for _, s := range r.lockStates(all...) {
				r.equal("owner", s.Owner, "t")
			}
			r.no("a name that was lost", slices.Contains(r.unlocks(backend.UnlockRequest{Items: items}), false))
			for _, s := range r.lockStates(all...) {
				r.no("locked", s.Locked)
			}
		},
	},
	{
		Name:     "force",
		Sentence: "With Force it frees names whoever holds them; tokens are not looked at.",
		check: func(r *room) {
			r.has("1", "a")
			r.gets(backend.LockRequest{Token: "1", Items: alone("a"), Again: true})
			r.shares("1", "b", 1)
			r.gets(backend.LockRequest{Token: "2", TTL: backend.NoExpiry, Items: units("b", 3, 0)})
			r.set("c", "by hand", backend.NoExpiry)
			r.has("1", "d")
			r.equal("given back", r.force("a", "b", "c", "free"), []bool{true, true, true, false})
			r.unheld("a", "b", "c", "free")
			r.no("given back after force", r.unlock("1", "a"))
			r.no("given back after force", r.unlock("2", "b"))
			r.equal("renewed after force", r.prolongs(
				backend.Renewal{Member: "a", Token: "1", TTL: long}, backend.Renewal{Member: "b", Token: "2", TTL: long},
			), []bool{false, false})
			r.equal("given back", r.unlocks(backend.UnlockRequest{
				Force: true, Items: []backend.Held{{Member: "d", Token: "somebody"}, {Member: "d", Token: backend.SharedToken}},
			}), []bool{true, false})
			r.unheld("d")
			r.shares("3", "b", 1)
			r.sharedBy("b", "3*1")
		},
	},
	{
		Name:     "force-keeps-limit",
		Sentence: "The limit of a name stays for as long as nobody calls SetLimit.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "1", Items: units("a", 2, 2)})
			r.force("a")
			r.equal("the limit", r.lockState("a").Limit, 2)
			r.otherLimit(backend.LockRequest{Token: "2", Items: units("a", 1, 1)}, "a", 1, 2)
			r.gets(backend.LockRequest{Token: "2", Items: units("a", 2, 2)})
		},
	},
}
