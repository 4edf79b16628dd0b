package backendtest

import (
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

func item(name, value string, cond backend.Condition, operand string) backend.SetItem {
	return backend.SetItem{Name: name, Value: value, TTL: long, Cond: cond, Operand: operand}
}

// sets writes items, all or none, and gives the reply.
func (r *room) sets(items ...backend.SetItem) []bool {
	r.tb.Helper()
	got, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Items: items})
	r.ok(err, "Set")
	return got.Set
}

// deletes removes items, all or none, and gives the reply.
func (r *room) deletes(items ...backend.DeleteItem) []bool {
	r.tb.Helper()
	got, err := r.be.Delete(r.ctx, backend.DeleteRequest{Namespace: r.ns, Items: items})
	r.ok(err, "Delete")
	return got.Deleted
}

// numeric are comparisons of an operand with a stored value, and which conditions they satisfy.
var numeric = []struct {
	operand, stored string
	satisfied       []backend.Condition
}{
	{"6", "5", greater},
	{"4", "5", less},
	{"5", "5", same},
	{"-1", "-2", greater},
	{"-2", "-1", less},
	{"10", "9", greater},
	{"1e3", "1000", same},
	{"+5", "5.0", same},
	{"0.5", ".5", same},
	{"-0", "0", same},
	{"1e300", "-1e300", greater},
	{"5e-1", "0.25", greater},
	// Within the tolerance, numbers count as equal where equality takes part; IfGreater and IfLess look at the bare
	// difference.
	{"5.0000005", "5", append(slices.Clone(same), backend.IfGreater)},
	{"4.9999995", "5", append(slices.Clone(same), backend.IfLess)},
	{"5.000002", "5", greater},
	{"4.999998", "5", less},
	{"1700000000.5", "1700000000.25", greater},
}

var (
	greater = []backend.Condition{backend.IfGreater, backend.IfGreaterOrEqual, backend.IfNumNotEqual}
	less    = []backend.Condition{backend.IfLess, backend.IfLessOrEqual, backend.IfNumNotEqual}
	same    = []backend.Condition{backend.IfGreaterOrEqual, backend.IfLessOrEqual, backend.IfNumEqual}
	// numericConditions are all that compare numbers.
	numericConditions = []backend.Condition{
		backend.IfGreater, backend.IfGreaterOrEqual, backend.IfLess, backend.IfLessOrEqual, backend.IfNumEqual,
		backend.IfNumNotEqual,
	}
)

// noNumbers are stored values that numeric conditions refuse.
var noNumbers = []string{"", "abc", "0x10", "inf", "-inf", "nan", " 5", "5 ", "1_0", "1e999", "5,5", "1e", "--5", "5\n"}

var conditionCases = []Case{
	{
		Name:     "set",
		Sentence: "Condition decides whether a value is written: always, if absent, if equal, if absent or equal.",
		check: func(r *room) {
			for _, c := range []struct {
				cond                       backend.Condition
				absent, equal, other, none bool // no value; the operand; another value; the empty value
			}{
				{backend.Always, true, true, true, true},
				{backend.IfAbsent, true, false, false, false},
				{backend.IfEqual, false, true, false, false},
				{backend.IfAbsentOrEqual, true, true, false, false},
			} {
				r.unlockByHand("absent")
				r.set("equal", "op", long)
				r.set("other", "OP", long)
				r.set("none", "", long)
				for name, want := range map[string]bool{
					"absent": c.absent, "equal": c.equal, "other": c.other, "none": c.none,
				} {
					before := r.lock(name).Value
					if got := r.sets(item(name, "new", c.cond, "op")); len(got) != 1 || got[0] != want {
						r.Errorf("condition %d on %s: got %v, want %v", c.cond, name, got, want)
					}
					if want {
						before = "new"
					}
					r.equal("value of "+name, r.lock(name).Value, before)
				}
			}
		},
	},
	{
		Name:     "set-numeric",
		Sentence: "Numeric conditions compare the operand with the stored value, in that order, with Tolerance where equality takes part.",
		check: func(r *room) {
			for _, n := range numeric {
				for _, cond := range numericConditions {
					r.set("n", n.stored, long)
					want := slices.Contains(n.satisfied, cond)
					if got := r.sets(item("n", "new", cond, n.operand)); len(got) != 1 || got[0] != want {
						r.Errorf("condition %d, operand %s, stored %s: got %v, want %v", cond, n.operand, n.stored, got, want)
					}
					r.equal("written", r.lock("n").Value == "new", want)
				}
			}
		},
	},
	{
		Name:     "delete",
		Sentence: "Delete: a value that does not exist cannot be IfEqual, satisfies every other condition, and is not counted as removed.",
		check: func(r *room) {
			for cond, want := range map[backend.Condition]struct{ equal, other bool }{
				backend.Always: {true, true}, backend.IfAbsent: {}, backend.IfEqual: {equal: true},
				backend.IfAbsentOrEqual: {equal: true},
				backend.IfGreater:       {other: true}, backend.IfLess: {}, backend.IfNumEqual: {equal: true},
				backend.IfNumNotEqual: {other: true}, backend.IfGreaterOrEqual: {equal: true, other: true},
				backend.IfLessOrEqual: {equal: true},
			} {
				r.set("equal", "5", long)
				r.set("other", "4", long)
				for name, want := range map[string]bool{"equal": want.equal, "other": want.other} {
					if got := r.deletes(backend.DeleteItem{Name: name, Cond: cond, Operand: "5"}); len(got) != 1 || got[0] != want {
						r.Errorf("condition %d on %s: got %v, want %v", cond, name, got, want)
					}
					r.equal(name+" is left", r.lock(name).Exists, !want)
				}
				// In a batch, a condition that fails shows: it holds up the others.
				r.set("there", "v", long)
				got := r.deletes(backend.DeleteItem{Name: "there"}, backend.DeleteItem{Name: "missing", Cond: cond, Operand: "5"})
				r.equal("removing an existing and a missing value", got, []bool{cond != backend.IfEqual, false})
				r.equal("the existing one is left", r.lock("there").Exists, cond == backend.IfEqual)
			}
		},
	},
	{
		Name:     "numeric-missing",
		Sentence: "Numeric conditions are satisfied by a missing value.",
		check: func(r *room) {
			for _, cond := range numericConditions {
				r.unlockByHand("n")
				r.equal("writing a missing value", r.sets(item("n", "1", cond, "5")), []bool{true})
				r.equal("value", r.lock("n").Value, "1")
			}
		},
	},
	{
		Name:     "no-number",
		Sentence: "Numeric conditions fail with ErrNotNumber on a stored value that is no number. Nothing has changed.",
		check: func(r *room) {
			for _, each := range []bool{false, true} {
				for _, stored := range noNumbers {
					r.set("n", stored, long)
					r.unlockByHand("good")
					_, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Each: each, Items: []backend.SetItem{
						item("good", "v", backend.Always, ""), item("n", "1", backend.IfGreater, "5"),
					}})
					r.fails("Set over "+stored, err, backend.ErrNotNumber)
					r.no("the other item of the batch was written", r.lock("good").Exists)
					r.set("good", "v", long)
					_, err = r.be.Delete(r.ctx, backend.DeleteRequest{Namespace: r.ns, Each: each, Items: []backend.DeleteItem{
						{Name: "good"}, {Name: "n", Cond: backend.IfNumEqual, Operand: "5"},
					}})
					r.fails("Delete of "+stored, err, backend.ErrNotNumber)
					r.yes("the other item of the batch is left", r.lock("good").Exists)
					r.equal("value", r.lock("n").Value, stored)
				}
			}
		},
	},
	{
		Name:     "batch-all-or-none",
		Sentence: "Set writes all of them or, if one condition fails, none; Delete removes all or none.",
		check: func(r *room) {
			r.set("taken", "x", long)
			for _, bad := range []int{0, 1, 2} {
				items := []backend.SetItem{
					item("a", "v", backend.IfAbsent, ""), item("b", "v", backend.Always, ""), item("c", "v", backend.IfAbsentOrEqual, "w"),
				}
				items[bad] = item("taken", "v", backend.IfAbsent, "")
				got, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Items: items, Fence: true})
				r.ok(err, "Set")
				r.equal("written", got.Set, []bool{false, false, false})
				r.equal("fences", got.Fences, []int64{0, 0, 0})
				for _, n := range []string{"a", "b", "c"} {
					r.no(n+" was written", r.lock(n).Exists)
				}
				r.equal("the one in the way", r.lock("taken").Value, "x")
			}
			r.equal("written", r.sets(item("a", "v", backend.IfAbsent, ""), item("b", "v", backend.Always, "")), []bool{true, true})
			del := []backend.DeleteItem{{Name: "a"}, {Name: "taken", Cond: backend.IfEqual, Operand: "y"}, {Name: "b"}}
			r.equal("removed", r.deletes(del...), []bool{false, false, false})
			r.yes("a and b are left", r.lock("a").Exists && r.lock("b").Exists)
			del[1].Operand = "x"
			r.equal("removed", r.deletes(del...), []bool{true, true, true})
		},
	},
	{
		Name:     "batch-each",
		Sentence: "With Each set, each for itself.",
		check: func(r *room) {
			r.set("taken", "x", long)
			got, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Each: true, Fence: true, Items: []backend.SetItem{
				item("a", "v", backend.IfAbsent, ""), item("taken", "v", backend.IfAbsent, ""), item("b", "v", backend.Always, ""),
			}})
			r.ok(err, "Set")
			r.equal("written", got.Set, []bool{true, false, true})
			if len(got.Fences) != 3 || got.Fences[0] <= 0 || got.Fences[1] != 0 || got.Fences[2] <= 0 {
				r.Errorf("fences: got %v, want a number for the first and the third", got.Fences)
			}
			r.equal("the one in the way", r.lock("taken").Value, "x")
			removed, err := r.be.Delete(r.ctx, backend.DeleteRequest{Namespace: r.ns, Each: true, Items: []backend.DeleteItem{
				{Name: "a"}, {Name: "missing"}, {Name: "taken", Cond: backend.IfEqual, Operand: "y"}, {Name: "b", Cond: backend.IfEqual, Operand: "v"},
			}})
			r.ok(err, "Delete")
			r.equal("removed", removed.Deleted, []bool{true, false, false, true})
			r.yes("taken is left", r.lock("taken").Exists)
		},
	},
	{
		Name:     "fences",
		Sentence: "Fence: draw a fencing number for each value written. They only grow.",
		check: func(r *room) {
			var all []int64
			draw := func(names ...string) {
				req := backend.SetRequest{Namespace: r.ns, Fence: true}
				for _, n := range names {
					req.Items = append(req.Items, item(n, "v", backend.Always, ""))
				}
				got, err := r.be.Set(r.ctx, req)
				r.ok(err, "Set")
				if len(got.Fences) != len(names) {
					r.Fatalf("%d fences for %d values", len(got.Fences), len(names))
				}
				all = append(all, slices.Sorted(slices.Values(got.Fences))...)
			}
			draw("a")
			draw("b")
			draw("a", "b", "c")
			r.unlockByHand("a", "b", "c")
			draw("a")
			r.extend("m", "n")
			all = append(all, r.one("t").Fence)
			draw("a")
			all = append(all, r.one("t").Fence)
			r.ascending("values and grants", all...)
		},
	},
	{
		Name:     "no-fences",
		Sentence: "Fences only with Fence.",
		check: func(r *room) {
			got, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Items: []backend.SetItem{item("a", "v", backend.Always, "")}})
			r.ok(err, "Set")
			r.equal("number of fences", len(got.Fences), 0)
		},
	},
}
