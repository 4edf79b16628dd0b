package integration

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// forever is when something returns of which nobody knows whether it has happened.
const forever = math.MaxInt64

// units are how many there are of each slot of a thing.
type units [historySlots]int

// leaseStep is what a history of one thing consists of: somebody is granted units of it, all in one step, or ceases to
// have some, because he is about to give them back, because his lease runs out, or because he dies. Whoever asked in vain
// did nothing.
type leaseStep struct {
	who   string
	units units
	end   bool

	// Of a grant: the fencing numbers of its leases. No other grant has one in between. Since they say in which order
	// things were granted, the last one before this is known.
	first, last, before int64
}

// leaseState is the thing as it should stand.
type leaseState struct {
	taken units
	fence int64 // the last
}

// leaseModel says what a thing is whose slots have so many units each: nobody has what somebody else has, and fencing
// numbers grow.
func leaseModel(limit int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return leaseState{} },
		Step: func(state, input, _ any) (bool, any) {
			s, in := state.(leaseState), input.(leaseStep)
			if !in.end && (in.first <= s.fence || in.before != s.fence) {
				return false, s
			}
			sign := -1
			if !in.end {
				s.fence, sign = in.last, 1
			}
			for i, n := range in.units {
				s.taken[i] += sign * n
				if s.taken[i] < 0 || s.taken[i] > limit {
					return false, s
				}
			}
			return true, s
		},
		DescribeOperation: func(input, _ any) string {
			in := input.(leaseStep)
			if in.end {
				return fmt.Sprintf("%s has no longer %v", in.who, in.units)
			}
			return fmt.Sprintf("%s gets %v with %d to %d", in.who, in.units, in.first, in.last)
		},
	}
}

// registerStep is what a holder asks of a register of the store. It shows its fencing number with each of them; see
// [accessScript].
type registerStep struct {
	lease         int
	fence         int64
	write, shared bool // it writes its own number; else it reads
}

// answer is what the store said, if that is known.
type answer struct {
	known, accepted bool
	value           int
}

type registerState struct {
	alone, shared int64 // the largest fencing numbers
	value         int
}

// registerModel says what a register is that refuses older fences.
var registerModel = porcupine.Model{
	Init: func() any { return registerState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(registerState), input.(registerStep), output.(answer)
		if in.fence < s.alone || !in.shared && in.fence < s.shared {
			return !out.known || !out.accepted, s
		}
		if out.known && (!out.accepted || !in.write && out.value != s.value) {
			return false, s
		}
		if in.shared {
			s.shared = max(s.shared, in.fence)
		} else {
			s.alone = in.fence
		}
		if in.write {
			s.value = in.lease
		}
		return true, s
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v: %+v", input, output)
	},
}

// swap is all that a holder has done to a register: it has read who was there before it, and has written itself.
type swap struct {
	lease, before int
	known         bool // that it was written
}

// swapModel says that what holders read and then write is one step: nobody's number is lost.
var swapModel = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, _ any) (bool, any) {
		in := input.(swap)
		if in.before == state.(int) {
			return true, in.lease
		}
		return !in.known, state
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// rotation is what somebody asked of a pool whose members go round: so many of them, and which it got, if that is known.
type rotation struct {
	wanted  int
	members []int // nil: not known
}

// turnModel says what a pool is whose members, so many, go round: from the head to the tail, those of one request
// together. The state is who is at the head.
func turnModel(members int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, _ any) (bool, any) {
			head, in := state.(int), input.(rotation)
			for i, m := range in.members {
				if m != (head+i)%members {
					return false, head
				}
			}
			return in.members == nil || len(in.members) == in.wanted, (head + in.wanted) % members
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
	}
}

// linearizable looks for an order in which the operations have happened one after the other.
func linearizable(m porcupine.Model, history []porcupine.Operation) error {
	const enough = 2 * time.Minute
	result := porcupine.CheckOperationsTimeout(m, history, enough)
	if result == porcupine.Ok {
		return nil
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var all strings.Builder
	for _, o := range history {
		until := "?"
		if o.Return != forever {
			until = time.Duration(o.Return - history[0].Call).String()
		}
		fmt.Fprintf(&all, "\n%v to %s: %s", time.Duration(o.Call-history[0].Call), until, m.DescribeOperation(o.Input, o.Output))
	}
	return fmt.Errorf("not linearizable (%s):%s", result, &all)
}
