package integration

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
)

// forever is when something returns of which nobody knows whether it has happened.
const forever = math.MaxInt64

// lockStep is what a history of one name consists of: somebody gets the lock, or his time with it ends, because he gives
// it back, because it runs out, or because he dies. Whoever asked in vain did nothing.
type lockStep struct {
	holder int
	fence  int64
	end    bool
}

// lockState is the name as it should stand. Holders count from 1.
type lockState struct {
	holder int
	fence  int64 // the last
}

// mutexModel says what a mutex is, one whose fencing numbers grow.
var mutexModel = porcupine.Model{
	Init: func() any { return lockState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(lockState), input.(lockStep)
		if in.end {
			return s.holder == in.holder, lockState{fence: s.fence}
		}
		return s.holder == 0 && in.fence > s.fence, lockState{in.holder, in.fence}
	},
	DescribeOperation: func(input, _ any) string {
		in := input.(lockStep)
		if in.end {
			return fmt.Sprintf("the end of %d", in.holder)
		}
		return fmt.Sprintf("lock by %d with %d", in.holder, in.fence)
	},
}

// access is what a holder asks of the store that is protected. It shows its fencing number with each of them; the store
// refuses one that is smaller than the largest it has seen.
type access struct {
	holder int
	fence  int64
	write  bool // of the holder's number; else it reads
}

// answer is what the store said, if that is known.
type answer struct {
	known, accepted bool
	value           int
}

type storeState struct {
	fence int64
	value int
}

// storeModel says what a register is that refuses older fences.
var storeModel = porcupine.Model{
	Init: func() any { return storeState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(storeState), input.(access), output.(answer)
		if in.fence < s.fence {
			return !out.known || !out.accepted, s
		}
		if out.known && (!out.accepted || !in.write && out.value != s.value) {
			return false, s
		}
		s.fence = in.fence
		if in.write {
			s.value = in.holder
		}
		return true, s
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(access), output.(answer)
		return fmt.Sprintf("access %+v: %+v", in, out)
	},
}

// swap is all that a holder has done to the store: it has read who was there before it, and has written itself.
type swap struct {
	holder, before int
	known          bool // that it was written
}

// swapModel says that what holders read and then write is one step: nobody's number is lost.
var swapModel = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, _ any) (bool, any) {
		in := input.(swap)
		if in.before == state.(int) {
			return true, in.holder
		}
		return !in.known, state
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
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

// TestModels shows the models histories that are wrong, so that they would find one.
func TestModels(t *testing.T) {
	t.Parallel()
	op := func(call, ret int64, input, output any) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: input, Output: output}
	}
	lock := func(call, ret int64, holder int, fence int64) porcupine.Operation {
		return op(call, ret, lockStep{holder: holder, fence: fence}, nil)
	}
	end := func(call, ret int64, holder int) porcupine.Operation {
		return op(call, ret, lockStep{holder: holder, end: true}, nil)
	}
	read := func(call, ret int64, fence int64, out answer) porcupine.Operation {
		return op(call, ret, access{fence: fence}, out)
	}
	write := func(call, ret int64, holder int, fence int64, out answer) porcupine.Operation {
		return op(call, ret, access{holder, fence, true}, out)
	}
	yes, no, unknown := answer{known: true, accepted: true}, answer{known: true}, answer{}
	exchange := func(call, ret int64, holder, before int, known bool) porcupine.Operation {
		return op(call, ret, swap{holder, before, known}, nil)
	}
	for _, c := range []struct {
		name    string
		model   porcupine.Model
		right   bool
		history []porcupine.Operation
	}{
		{"one after the other", mutexModel, true, []porcupine.Operation{lock(0, 1, 1, 7), end(2, 3, 1), lock(4, 5, 2, 8), end(6, 7, 2)}},
		{"handed over", mutexModel, true, []porcupine.Operation{lock(0, 1, 1, 7), end(2, 9, 1), lock(1, 3, 2, 8), end(6, 7, 2)}},
		{"nobody knows whether it was given back", mutexModel, true, []porcupine.Operation{lock(0, 1, 1, 7), end(2, forever, 1), lock(4, 5, 2, 8)}},
		{"two holders", mutexModel, false, []porcupine.Operation{lock(0, 1, 1, 7), end(4, 5, 1), lock(2, 3, 2, 8), end(6, 7, 2)}},
		{"two holders, one died", mutexModel, false, []porcupine.Operation{lock(0, 1, 1, 7), end(4, forever, 1), lock(2, 3, 2, 8)}},
		{"an older fence", mutexModel, false, []porcupine.Operation{lock(0, 1, 1, 7), end(2, 3, 1), lock(4, 5, 2, 6), end(6, 7, 2)}},
		{"the same fence", mutexModel, false, []porcupine.Operation{lock(0, 1, 1, 7), end(2, 3, 1), lock(4, 5, 2, 7), end(6, 7, 2)}},
		{"what was written is read", storeModel, true, []porcupine.Operation{write(0, 1, 1, 7, yes), read(2, 3, 8, answer{true, true, 1})}},
		{"the older one is refused", storeModel, true, []porcupine.Operation{read(0, 1, 8, yes), write(2, 3, 1, 7, no)}},
		{"it may have been written", storeModel, true, []porcupine.Operation{write(0, forever, 1, 7, unknown), read(2, 3, 8, answer{true, true, 1})}},
		{"it may not have been written", storeModel, true, []porcupine.Operation{write(0, forever, 1, 7, unknown), read(2, 3, 8, yes)}},
		{"the older one is accepted", storeModel, false, []porcupine.Operation{read(0, 1, 8, yes), write(2, 3, 1, 7, yes)}},
		{"the newer one is refused", storeModel, false, []porcupine.Operation{write(0, 1, 1, 7, yes), write(2, 3, 2, 8, no)}},
		{"it was forgotten", storeModel, false, []porcupine.Operation{write(0, 1, 1, 7, yes), read(2, 3, 8, yes)}},
		{"each saw the one before", swapModel, true, []porcupine.Operation{exchange(0, 3, 2, 1, true), exchange(0, 2, 1, 0, true)}},
		{"one may not have written", swapModel, true, []porcupine.Operation{exchange(0, forever, 1, 0, false), exchange(2, 3, 2, 0, true)}},
		{"one may have written", swapModel, true, []porcupine.Operation{exchange(0, forever, 1, 0, false), exchange(2, 3, 2, 1, true)}},
		{"one was lost", swapModel, false, []porcupine.Operation{exchange(0, 3, 1, 0, true), exchange(0, 3, 2, 0, true)}},
	} {
		err := linearizable(c.model, c.history)
		assert.Equal(t, c.right, err == nil, "%s: %v", c.name, err)
	}
}
