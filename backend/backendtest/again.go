package backendtest

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const countsEntries = "A token that was given the same name several times, with Again, gives it back as often."

var againCases = []Case{
	{
		Name: "counted", Sentence: countsEntries,
		check: func(r *room) {
			again := backend.LockRequest{Token: "t", Items: alone("a"), Again: true}
			fences := []int64{r.gets(again)[0].Fence, r.gets(again)[0].Fence, r.gets(again)[0].Fence}
			r.ascending("one token's grants", fences...)
			for range 2 {
				r.yes("given back", r.unlock("t", "a"))
				r.heldBy("a", "t")
				r.refuses(backend.LockRequest{Token: "u", Items: alone("a")})
			}
			r.yes("given back", r.unlock("t", "a"))
			r.unheld("a")
			r.no("given back once too often", r.unlock("t", "a"))
			r.has("u", "a")
			r.lets("u", "a")
			r.unheld("a")
		},
	},
	{
		Name: "counted-shared", Sentence: countsEntries,
		check: func(r *room) {
			r.shares("0", "a", 1)
			again := backend.LockRequest{Token: "t", TTL: 2 * long, Items: units("a", 2, 0), Again: true}
			r.gets(again)
			r.gets(again)
			r.sharedBy("a", "0*1", "t*2")
			r.yes("given back", r.unlock("t", "a"))
			r.sharedBy("a", "0*1", "t*2")
			r.yes("given back", r.unlock("t", "a"))
			r.sharedBy("a", "0*1")
			r.no("given back once too often", r.unlock("t", "a"))
			r.lets("0", "a")
			r.unheld("a")
		},
	},
	{
		Name: "one-step", Sentence: countsEntries + " Also within one request.",
		check: func(r *room) {
			r.has("t", "a", "b")
			r.gets(backend.LockRequest{Token: "t", Items: alone("c", "a"), Again: true})
			items := []backend.Held{{Member: "a", Token: "t"}, {Member: "b", Token: "t"}, {Member: "a", Token: "t"}, {Member: "a", Token: "t"}}
			r.equal("given back", r.unlocks(backend.UnlockRequest{Items: items}), []bool{true, true, true, false})
			r.unheld("a", "b")
			r.lets("t", "c")
			r.unheld("c")
		},
	},
	{
		Name:     "same-way",
		Sentence: "Again grants names also to a token that holds them already, in the same way (alone, or so many units).",
		check: func(r *room) {
			r.has("t", "a")
			r.shares("t", "b", 2)
			r.steady("asking for it in another way", func() {
				for _, items := range [][]backend.LockItem{
					units("a", 1, 0), alone("b"), units("b", 1, 0), units("b", 3, 0), append(alone("c"), units("b", 1, 0)...),
				} {
					r.refuses(backend.LockRequest{Token: "t", Items: items, Again: true})
				}
			}, "a", "b", "c")
			r.lets("t", "a", "b")
			r.unheld("a", "b", "c")
		},
	},
	{
		Name:     "ttl",
		Sentence: "Again: their leases then last for the new TTL at least. While they have to be given back several times, nothing shortens them.",
		check: func(r *room) {
			r.gets(backend.LockRequest{Token: "t", TTL: long / 2, Items: alone("a")})
			r.gets(backend.LockRequest{Token: "t", TTL: long / 2, Items: units("b", 1, 0)})
			both := append(alone("a"), units("b", 1, 0)...)
			last := func(ttl time.Duration) {
				for _, name := range []string{"a", "b"} {
					r.lives("the lock of "+name, r.lock(name).TTL, ttl)
					r.lives("the state of "+name, r.lockState(name).TTL, ttl)
				}
				r.sharedBy("b", "t*1")
			}
			most := long
			for _, ttl := range []time.Duration{long, 2 * long, long, short, backend.NoExpiry, 3 * long} {
				r.gets(backend.LockRequest{Token: "t", TTL: ttl, Items: both, Again: true})
				if ttl == backend.NoExpiry || most != backend.NoExpiry && ttl > most {
					most = ttl
				}
				last(most)
				r.yes("renewed", r.prolong("t", "a", long/2))
				r.yes("renewed", r.prolong("t", "b", long/2))
				last(most)
			}
			for range 6 {
				r.lets("t", "a", "b")
			}
			last(backend.NoExpiry)
			r.yes("renewed", r.prolong("t", "a", long))
			r.yes("renewed", r.prolong("t", "b", long))
			last(long)
			r.lets("t", "a", "b")
			r.unheld("a", "b")
		},
	},
	{
		Name:     "others-wait",
		Sentence: "Again grants names to a token that holds them already: no others come out of turn for that.",
		check: func(r *room) {
			r.has("t", "a")
			r.gets(backend.LockRequest{Token: "s", Items: units("b", 1, 1)})
			wa := r.waitsFor("a", "1")[0]
			wb := r.waits("2", units("b", 1, 1))
			r.gets(backend.LockRequest{Token: "t", Items: alone("a"), Again: true})
			r.gets(backend.LockRequest{Token: "s", Items: units("b", 1, 1), Again: true})
			r.refuses(backend.LockRequest{Token: "u", Items: alone("a"), Again: true})
			r.lets("t", "a")
			r.lets("s", "b")
			r.inLine("a", "1")
			r.inLine("b", "2")
			r.lets("t", "a")
			r.lets("s", "b")
			r.handed(wa)
			r.handed(wb)
		},
	},
	{
		Name:     "starts-anew",
		Sentence: countsEntries + " What it lost does not count.",
		check: func(r *room) {
			twice := func(token string, ttl time.Duration, items []backend.LockItem) {
				r.gets(backend.LockRequest{Token: token, Items: items, TTL: ttl})
				r.gets(backend.LockRequest{Token: token, Items: items, Again: true, TTL: ttl})
			}
			for how, lose := range map[string]func(string){
				"by force": func(name string) { r.force(name) },
				"by hand":  func(name string) { r.unlockByHand(name) },
			} {
				for name, items := range map[string][]backend.LockItem{"a": alone("a"), "b": units("b", 1, 0)} {
					twice("t", long, items)
					lose(name)
					r.gets(backend.LockRequest{Token: "t", Items: items})
					r.lets("t", name)
					r.unheld(name)
					r.no("held once more than taken, after it was lost "+how, r.unlock("t", name))
				}
			}
			r.shares("u", "b", 1) // and so the name does not come free
			for name, items := range map[string][]backend.LockItem{"a": alone("a"), "b": units("b", 1, 0)} {
				others := r.lockState(name).Units
				twice("t", short, items)
				r.eventually("that the lease of t runs out", func() bool {
					s := r.lockState(name)
					return s.Owner == "" && s.Units == others
				})
				r.gets(backend.LockRequest{Token: "t", Items: items})
				r.lets("t", name)
				r.no("held once more than taken, after it ran out", r.unlock("t", name))
			}
			r.unheld("a")
			r.sharedBy("b", "u*1")
		},
	},
	{
		Name:     "downgrade",
		Sentence: "Downgrade grants only names that the token holds alone, and turns that into the units that are asked for.",
		check: func(r *room) {
			old := r.has("t", "a", "b")
			got := r.gets(backend.LockRequest{
				Token: "t", TTL: 2 * long, Items: append(units("b", 1, 0), units("a", 2, 3)...), Downgrade: true,
			})
			r.ascending("grants", old[1].Fence, got[0].Fence, got[1].Fence)
			r.sharedBy("a", "t*2")
			r.sharedBy("b", "t*1")
			r.lives("the lock", r.lock("a").TTL, 2*long)
			r.equal("the limit of a", r.lockState("a").Limit, 3)
			r.gets(backend.LockRequest{Token: "u", TTL: 3 * long, Items: units("a", 1, 3)})
			r.refuses(backend.LockRequest{Token: "v", Items: units("a", 1, 3)}, backend.LockRequest{Token: "v", Items: alone("b")})
			r.sharedBy("a", "t*2", "u*1")
			r.lets("t", "a", "b")
			r.sharedBy("a", "u*1")
			r.unheld("b")
		},
	},
	{
		Name:     "downgrade-others",
		Sentence: "Downgrade grants only names that the token holds alone.",
		check: func(r *room) {
			r.has("t", "a")
			r.has("u", "b")
			r.shares("t", "c", 1)
			r.steady("downgrading what is not held alone", func() {
				for _, name := range []string{"b", "c", "free"} {
					r.refuses(
						backend.LockRequest{Token: "t", Items: units(name, 1, 0), Downgrade: true},
						backend.LockRequest{Token: "t", Items: append(units("a", 1, 0), units(name, 1, 0)...), Downgrade: true},
					)
				}
			}, "a", "b", "c", "free")
			r.heldBy("a", "t")
		},
	},
	{
		Name:     "downgrade-keeps-count",
		Sentence: "Downgrade: how often the name has to be given back stays.",
		check: func(r *room) {
			r.has("t", "a")
			r.gets(backend.LockRequest{Token: "t", Items: alone("a"), Again: true})
			r.gets(backend.LockRequest{Token: "t", Items: units("a", 1, 0), Downgrade: true})
			r.gets(backend.LockRequest{Token: "t", Items: units("a", 1, 0), Again: true})
			for range 3 {
				r.sharedBy("a", "t*1")
				r.yes("given back", r.unlock("t", "a"))
			}
			r.unheld("a")
			r.no("given back once too often", r.unlock("t", "a"))
		},
	},
	{
		Name:     "downgrade-lets-in",
		Sentence: "Downgrade: those who wait for units may enter in the same step.",
		check: func(r *room) {
			r.has("t", "a")
			var ws []waiter
			for _, token := range []string{"1", "2"} {
				ws = append(ws, r.waits(token, units("a", 1, 0)))
			}
			r.waitsFor("a", "3")
			r.waits("4", units("a", 1, 0))
			r.inLine("a", "1", "2", "3", "4")
			r.gets(backend.LockRequest{Token: "t", TTL: 2 * long, Items: units("a", 1, 0), Downgrade: true})
			r.sameSet("those who share", r.sharers("a"), []string{"t*1", "1*1", "2*1"})
			for _, w := range ws {
				r.handed(w)
			}
			r.inLine("a", "3", "4")
		},
	},
}
