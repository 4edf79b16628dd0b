package integration

import (
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
)

// TestModels shows each model histories that are right and that are wrong, so that it would find one.
func TestModels(t *testing.T) {
	t.Parallel()
	for name, cases := range map[string][]modelCase{
		"mutex":       mutexCases(),
		"several":     severalCases(),
		"rwmutex":     rwCases(),
		"semaphore":   semaphoreCases(),
		"register":    registerCases(),
		"swap":        swapCases(),
		"shared pool": rotationCases(),
	} {
		for _, c := range cases {
			err := linearizable(c.model, c.history)
			assert.Equal(t, c.right, err == nil, "%s: %s: %v", name, c.name, err)
		}
	}
}

type modelCase struct {
	name    string
	model   porcupine.Model
	right   bool
	history []porcupine.Operation
}

// tells makes a history of leases as the checks do: of what holders have told.
func tells(acquisitions ...*acquisition) []porcupine.Operation {
	return (&story{acquisitions: acquisitions}).grants()
}

// gets is what a holder tells of leases that it got between two moments.
func gets(call, ret moment, leases ...*lease) *acquisition {
	return &acquisition{got: got{Call: call, Return: ret}, leases: leases}
}

// until is a lease on units of a slot that was given up at a moment.
func until(left moment, fence int64, slot, n int) *lease {
	return &lease{part: part{Slots: []int{slot}, Units: n, Fence: fence, Deadline: 100}, name: "holder", leaving: left}
}

// killed is one whose holder died at a moment, if that was not after its end.
func killed(died, deadline moment, fence int64, slot, n int) *lease {
	return &lease{part: part{Slots: []int{slot}, Units: n, Fence: fence, Deadline: deadline}, name: "dead", died: died}
}

// downgraded is a lease of a writer that let readers in at a moment.
func downgraded(sharing, left moment, fence int64) *lease {
	l := until(left, fence, 0, everyone)
	l.sharing = sharing
	return l
}

func mutexCases() []modelCase {
	m := leaseModel(1)
	lock := func(call, ret, left moment, fence int64) *acquisition {
		return gets(call, ret, until(left, fence, 0, 1))
	}
	dead := func(call, ret, died, deadline moment, fence int64) *acquisition {
		return gets(call, ret, killed(died, deadline, fence, 0, 1))
	}
	return []modelCase{
		{"one after the other", m, true, tells(lock(0, 10, 20, 7), lock(40, 50, 60, 8))},
		{"handed over", m, true, tells(lock(0, 10, 20, 7), lock(10, 30, 60, 8))},
		{"asked first, granted second", m, true, tells(lock(0, 30, 40, 8), lock(10, 15, 20, 7))},
		{"the answer came after the end", m, true, tells(lock(0, 30, 20, 7), lock(10, 40, 60, 8))},
		{"a dead one has it no longer", m, true, tells(dead(0, 10, 20, 100, 7), lock(30, 40, 50, 8))},
		{"a dead one had run out", m, true, tells(dead(0, 10, 90, 20, 7), lock(30, 40, 50, 8))},
		{"two holders", m, false, tells(lock(0, 10, 40, 7), lock(20, 30, 60, 8))},
		{"two holders at the end of one", m, false, tells(lock(0, 10, 31, 7), lock(20, 30, 60, 8))},
		{"two holders, one died", m, false, tells(dead(0, 10, 40, 100, 7), lock(20, 30, 60, 8))},
		{"an older fence", m, false, tells(lock(0, 10, 20, 7), lock(40, 50, 60, 6))},
		{"the same fence", m, false, tells(lock(0, 10, 20, 7), lock(40, 50, 60, 7))},
		{"no fence", m, false, tells(lock(0, 10, 20, 0))},
	}
}

// severalCases are of several names, or members of a pool, at once.
func severalCases() []modelCase {
	m := leaseModel(1)
	both := func(left moment, fence int64) *lease {
		l := until(left, fence, 0, 1)
		l.Slots = []int{0, 1}
		return l
	}
	return []modelCase{
		{"each its own", m, true, tells(gets(0, 10, until(50, 7, 0, 1)), gets(20, 30, until(60, 8, 1, 1)))},
		{"two names after one", m, true, tells(gets(0, 10, until(20, 7, 0, 1)), gets(10, 30, both(60, 9)))},
		{"two members, given up one by one", m, true, tells(
			gets(0, 10, until(20, 7, 0, 1), until(60, 8, 1, 1)), gets(10, 30, until(70, 9, 0, 1)), gets(10, 70, until(80, 10, 1, 1)))},
		{"two names, and one of them", m, false, tells(gets(0, 10, both(60, 7)), gets(20, 30, until(40, 8, 1, 1)))},
		{"two members, and one of them", m, false, tells(
			gets(0, 10, until(20, 7, 0, 1), until(60, 8, 1, 1)), gets(30, 40, until(50, 9, 1, 1)))},
		{"one member twice", m, false, tells(gets(0, 10, until(20, 7, 0, 1), until(60, 8, 0, 1)))},
		{"never both free at the same time", m, false, tells(
			gets(0, 10, until(30, 7, 0, 1)), gets(20, 25, until(50, 9, 1, 1)), gets(10, 45, both(70, 10)))},
		{"not in one step", m, false, tells(
			gets(0, 60, until(70, 7, 0, 1), until(70, 9, 1, 1)), gets(0, 60, until(70, 8, 2, 1)))},
	}
}

func rwCases() []modelCase {
	m := leaseModel(everyone)
	write := func(call, ret, left moment, fence int64) *acquisition {
		return gets(call, ret, until(left, fence, 0, everyone))
	}
	read := func(call, ret, left moment, fence int64) *acquisition {
		return gets(call, ret, until(left, fence, 0, 1))
	}
	down := func(call, ret, sharing, left moment, fence int64) *acquisition {
		return gets(call, ret, downgraded(sharing, left, fence))
	}
	return []modelCase{
		{"readers together", m, true, tells(read(0, 10, 60, 7), read(20, 30, 50, 8), write(0, 70, 80, 9))},
		{"a reader beside one who was a writer", m, true, tells(down(0, 10, 20, 60, 7), read(10, 30, 50, 8))},
		{"a reader when the writer ran out while it let him in", m, true, tells(down(0, 10, 20, 15, 7), read(16, 18, 50, 8))},
		{"a writer after one who was a writer", m, true, tells(down(0, 10, 20, 60, 7), write(10, 70, 90, 8))},
		{"a reader beside a writer", m, false, tells(write(0, 10, 60, 7), read(20, 30, 50, 8))},
		{"a writer beside a reader", m, false, tells(read(0, 10, 60, 7), write(20, 30, 50, 8))},
		{"a writer beside the last reader", m, false, tells(read(0, 10, 60, 7), read(0, 10, 20, 8), write(20, 30, 50, 9))},
		{"a writer beside a dead reader", m, false, tells(gets(0, 10, killed(40, 100, 7, 0, 1)), write(20, 30, 50, 8))},
		{"two writers", m, false, tells(write(0, 10, 60, 7), write(20, 30, 50, 8))},
		{"a reader before the writer let him in", m, false, tells(down(0, 10, 40, 60, 7), read(20, 30, 50, 8))},
		{"a writer beside one who was a writer", m, false, tells(down(0, 10, 20, 60, 7), write(20, 30, 50, 8))},
	}
}

func semaphoreCases() []modelCase {
	m := leaseModel(5)
	acquire := func(call, ret, left moment, fence int64, n int) *acquisition {
		return gets(call, ret, until(left, fence, 0, n))
	}
	return []modelCase{
		{"all units", m, true, tells(acquire(0, 10, 60, 7, 2), acquire(0, 10, 60, 8, 3))},
		{"as soon as there are enough", m, true, tells(acquire(0, 10, 20, 7, 2), acquire(0, 10, 60, 8, 3), acquire(0, 30, 60, 9, 2))},
		{"one too many", m, false, tells(acquire(0, 10, 60, 7, 2), acquire(0, 10, 60, 8, 4))},
		{"one too many for a moment", m, false, tells(
			acquire(0, 10, 32, 7, 2), acquire(0, 10, 60, 8, 3), acquire(20, 31, 33, 9, 1))},
		{"one too many, one is dead", m, false, tells(gets(0, 10, killed(40, 100, 7, 0, 3)), acquire(20, 30, 60, 8, 3))},
		{"older fences", m, false, tells(acquire(0, 10, 60, 8, 1), acquire(20, 30, 60, 7, 1))},
	}
}

func registerCases() []modelCase {
	m := registerModel
	op := func(call, ret moment, input registerStep, out answer) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: input, Output: out}
	}
	read := func(call, ret moment, fence int64, out answer) porcupine.Operation {
		return op(call, ret, registerStep{fence: fence}, out)
	}
	share := func(call, ret moment, fence int64, out answer) porcupine.Operation {
		return op(call, ret, registerStep{fence: fence, shared: true}, out)
	}
	write := func(call, ret moment, lease int, fence int64, out answer) porcupine.Operation {
		return op(call, ret, registerStep{lease: lease, fence: fence, write: true}, out)
	}
	yes, no, unknown := answer{known: true, accepted: true}, answer{known: true}, answer{}
	saw := func(n int) answer { return answer{true, true, n} }
	return []modelCase{
		{"what was written is read", m, true, []porcupine.Operation{write(0, 1, 1, 7, yes), read(2, 3, 8, saw(1))}},
		{"the older one is refused", m, true, []porcupine.Operation{read(0, 1, 8, yes), write(2, 3, 1, 7, no)}},
		{"it may have been written", m, true, []porcupine.Operation{write(0, forever, 1, 7, unknown), read(2, 3, 8, saw(1))}},
		{"it may not have been written", m, true, []porcupine.Operation{write(0, forever, 1, 7, unknown), read(2, 3, 8, yes)}},
		{"an older reader beside a newer one", m, true, []porcupine.Operation{share(0, 1, 8, yes), share(2, 3, 7, yes)}},
		{"a writer after a newer reader is refused", m, true, []porcupine.Operation{share(0, 1, 8, yes), write(2, 3, 1, 7, no)}},
		{"the older one is accepted", m, false, []porcupine.Operation{read(0, 1, 8, yes), write(2, 3, 1, 7, yes)}},
		{"the newer one is refused", m, false, []porcupine.Operation{write(0, 1, 1, 7, yes), write(2, 3, 2, 8, no)}},
		{"it was forgotten", m, false, []porcupine.Operation{write(0, 1, 1, 7, yes), read(2, 3, 8, yes)}},
		{"a writer after a newer reader is accepted", m, false, []porcupine.Operation{share(0, 1, 8, yes), write(2, 3, 1, 7, yes)}},
		{"a reader after a newer writer is accepted", m, false, []porcupine.Operation{write(0, 1, 1, 8, yes), share(2, 3, 7, saw(1))}},
	}
}

func swapCases() []modelCase {
	exchange := func(call, ret moment, lease, before int, known bool) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: swap{lease, before, known}}
	}
	m := swapModel
	return []modelCase{
		{"each saw the one before", m, true, []porcupine.Operation{exchange(0, 3, 2, 1, true), exchange(0, 2, 1, 0, true)}},
		{"one may not have written", m, true, []porcupine.Operation{exchange(0, forever, 1, 0, false), exchange(2, 3, 2, 0, true)}},
		{"one may have written", m, true, []porcupine.Operation{exchange(0, forever, 1, 0, false), exchange(2, 3, 2, 1, true)}},
		{"one was lost", m, false, []porcupine.Operation{exchange(0, 3, 1, 0, true), exchange(0, 3, 2, 0, true)}},
	}
}

func rotationCases() []modelCase {
	m := turnModel(3)
	asks := func(call, ret moment, wanted int, members ...int) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: rotation{wanted, members}}
	}
	lost := func(call moment, wanted int) porcupine.Operation { return asks(call, forever, wanted) }
	return []modelCase{
		{"in turn", m, true, []porcupine.Operation{asks(0, 1, 1, 0), asks(2, 3, 1, 1), asks(4, 5, 1, 2), asks(6, 7, 1, 0)}},
		{"two at the same time", m, true, []porcupine.Operation{asks(0, 9, 2, 1, 2), asks(0, 9, 1, 0)}},
		{"an answer was lost", m, true, []porcupine.Operation{asks(0, 1, 1, 0), lost(2, 1), asks(4, 5, 1, 2)}},
		{"a request was lost", m, true, []porcupine.Operation{asks(0, 1, 1, 0), lost(2, 1), asks(4, 5, 1, 1)}},
		{"one was left out", m, false, []porcupine.Operation{asks(0, 1, 1, 0), asks(2, 3, 1, 2)}},
		{"one came twice", m, false, []porcupine.Operation{asks(0, 9, 1, 0), asks(0, 9, 1, 0)}},
		{"not those that stand together", m, false, []porcupine.Operation{asks(0, 1, 2, 0, 2)}},
		{"fewer than were wanted", m, false, []porcupine.Operation{asks(0, 1, 2, 0)}},
	}
}

// TestFencesBack shows it acquisitions of different things.
func TestFencesBack(t *testing.T) {
	t.Parallel()
	first, second := gets(0, 10, until(60, 7, 0, 1)), gets(20, 30, until(60, 8, 0, 1))
	assert.NoError(t, fencesBack([]*acquisition{second, first}))
	assert.NoError(t, fencesBack([]*acquisition{gets(0, 10, until(60, 8, 0, 1)), gets(5, 30, until(60, 7, 0, 1))}), "at the same time")
	assert.Error(t, fencesBack([]*acquisition{first, gets(20, 30, until(60, 6, 0, 1))}))
	assert.Error(t, fencesBack([]*acquisition{first, gets(20, 30, until(60, 8, 0, 1), until(60, 7, 1, 1))}))
}

// TestAccesses shows the check stories of holders that used a register.
func TestAccesses(t *testing.T) {
	t.Parallel()
	// uses is a lease whose holder has read what somebody has left, and has written then, unless it died.
	uses := func(name string, at moment, fence int64, read string, writes bool) *lease {
		l := until(at+20, fence, 0, 1)
		l.name = name
		l.accesses = []*access{{Call: at, Return: at + 1, Values: []*string{&read}}}
		if writes {
			l.accesses = append(l.accesses, &access{Write: true, Call: at + 2, Return: at + 3, Values: []*string{&name}})
		} else {
			l.leaving, l.died = 0, at+10
		}
		return l
	}
	for _, c := range []struct {
		name          string
		right         bool
		first, second *lease
	}{
		{"one after the other", true, uses("a", 20, 7, "", true), uses("b", 60, 8, "a", true)},
		{"nobody knows whether the first wrote, and it has", true, uses("a", 20, 7, "", false), uses("b", 60, 8, "a", true)},
		{"nobody knows whether the first wrote, and it has not", true, uses("a", 20, 7, "", false), uses("b", 60, 8, "", true)},
		{"what the first wrote is lost", false, uses("a", 20, 7, "", true), uses("b", 60, 8, "", true)},
		{"the first reads what was not there", false, uses("a", 20, 7, "b", true), uses("b", 60, 8, "a", true)},
		{"with the same fence", false, uses("a", 20, 7, "", true), uses("b", 22, 7, "", true)},
	} {
		s := &story{kind: kindOf("mutex"), acquisitions: []*acquisition{
			gets(c.first.accesses[0].Call-10, c.first.accesses[0].Call-1, c.first),
			gets(c.second.accesses[0].Call-10, c.second.accesses[0].Call-1, c.second),
		}}
		wrong, operations := s.check(false)
		assert.Equal(t, c.right, len(wrong) == 0, "%s: %v", c.name, wrong)
		assert.GreaterOrEqual(t, operations, 4)
	}
}
