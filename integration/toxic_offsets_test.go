package integration

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// toxicSample is how many offsets of each request, reply or message are cut at, if INTEGRATION_SECONDS does not say that there
// is time for more of them.
const toxicSample = 8

// toxicStraggler is how long a listener has to say what it did.
const toxicStraggler = 5 * time.Second

// A toxicCall is one call of which something is cut.
type toxicCall struct {
	name    string
	whats   []toxicWhat
	text    string // where to cut; empty: where its mark passes
	listens bool   // a listener behind the front does the tasks, and none beside it

	// do makes the call, and gives its error if it is one that it may have. The mark is like no other; arm has the
	// connection cut from now on.
	do func(s *toxicStage, mark string, arm func()) error
}

var both = []toxicWhat{toxicRequest, toxicReply}

// TestToxicCutAtEveryByte resets the connection of each call that a holder, a waiter or a worker makes often, at each byte of
// the request, of the reply, and of the message that it waits for. The call fails as it is documented, or does what it was
// to do; and nothing is left behind, long before a lease runs out.
func TestToxicCutAtEveryByte(t *testing.T) {
	t.Parallel()
	test := toxicOffsets{seed: seed(t), time: scaled(t, 0)}
	redistest.URL(t)
	t.Run("calls", func(t *testing.T) {
		for part, calls := range map[string][]toxicCall{"pool": toxicPoolCalls, "lock": toxicLockCalls, "task": toxicTaskCalls} {
			for _, call := range calls {
				t.Run(part+" "+call.name, func(t *testing.T) {
					t.Parallel()
					test.run(t, part, &call, "")
				})
				t.Run(part+" "+call.name+", one connection", func(t *testing.T) {
					t.Parallel()
					test.run(t, part, &call, ", one connection", rueidis.Tracking())
				})
			}
		}
	})
	test.table.log(t)
}

// toxicOffsets is one run of the test.
type toxicOffsets struct {
	seed  uint64
	time  time.Duration // that there is
	table toxicTable
}

// sample is how many offsets there is time for. There are about twenty bytes of requests to one of replies and messages.
func (test *toxicOffsets) sample(what toxicWhat, way string) int {
	switch {
	case test.time >= 20*time.Second && what != toxicRequest, test.time >= time.Minute && way == "":
		return math.MaxInt
	case test.time >= time.Minute:
		return 8 * toxicSample
	default:
		return toxicSample
	}
}

// run cuts one call.
func (test *toxicOffsets) run(t *testing.T, part string, call *toxicCall, way string, options ...rueidis.Option) {
	h := fnv.New64()
	_, _ = h.Write([]byte(t.Name()))
	r := rand.New(rand.NewPCG(test.seed, h.Sum64())) //nolint:gosec // to be repeated
	s := newToxicStage(t, append(options, rueidis.CallTimeout(patience))...)
	s.enter(part, call.listens)
	for n := range 3 { // so that what is done only once is done
		_ = call.do(s, newToxicMark(n), func() {})
	}
	for _, what := range call.whats {
		row := call.cut(s, what, test.sample(what, way), r)
		row.part, row.fault = part, row.fault+way
		test.table.add(row)
	}
}

// cut does the call again and again, each time with another byte at which the connection is reset.
func (call *toxicCall) cut(s *toxicStage, what toxicWhat, sample int, r *rand.Rand) toxicRow {
	row := toxicRow{fault: fmt.Sprintf("%s: %s cut", call.name, what)}
	size := call.measure(s, what)
	offsets := make([]int, size+1)
	for i := range offsets {
		offsets[i] = i
	}
	if size >= sample {
		r.Shuffle(len(offsets), func(i, j int) { offsets[i], offsets[j] = offsets[j], offsets[i] })
		offsets = append(offsets[:sample-4], 0, 1, size-1, size)
	}
	for n, offset := range offsets {
		mark := newToxicMark(n)
		order, err := call.ordered(s, mark, what, offset)
		select {
		case <-order.fired:
		default: // it was shorter this time, or met a connection that had just been cut
			s.toxicIdle(time.Now(), s.leftovers)
			continue
		}
		row.operations++
		if err != nil {
			row.refused++
		}
		took := s.toxicIdle(order.at, s.leftovers)
		row.recovered = append(row.recovered, took)
	}
	row.note = fmt.Sprintf("at %d of %d bytes", row.operations, size)
	require.Positive(s.t, row.operations, "%s: times that anything was cut", row.fault)
	return row
}

// measure tells how many bytes there are to cut at, at least: what goes with them, and how, is not always the same.
func (call *toxicCall) measure(s *toxicStage, what toxicWhat) (size int) {
	for n, seen := 0, 0; seen < 3; n++ {
		require.Less(s.t, n, 20, "%s: no %s comes by", call.name, what)
		order, _ := call.ordered(s, newToxicMark(n), what, -1)
		s.toxicIdle(time.Now(), s.leftovers)
		if order.size > 0 && (size == 0 || order.size < size) {
			size = order.size
		}
		seen += min(order.size, 1)
	}
	return size
}

// ordered does the call under an order.
func (call *toxicCall) ordered(s *toxicStage, mark string, what toxicWhat, after int) (*toxicOrder, error) {
	order := newToxicOrder(what, cmp.Or(call.text, mark), after)
	err := call.do(s, mark, func() { s.front.cuts.set(order) })
	if call.listens { // it may be under way still when who asks has the result
		ctx, cancel := context.WithTimeout(context.Background(), toxicStraggler)
		defer cancel()
		for ; ctx.Err() == nil && !s.front.cuts.carriedOut(order); pause(ctx, time.Millisecond) {
		}
	}
	s.front.cuts.set(nil)
	return order, err
}

// newToxicMark names a call, with a text that no other has in it, all of the same length.
func newToxicMark(n int) string { return fmt.Sprintf("mark-%06d-%08x-", n, rand.Uint32()) }
