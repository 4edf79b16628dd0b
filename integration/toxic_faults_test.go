package integration

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

const (
	// toxicTimeout is the bound of a call in these tests. A fault that nobody is told of lasts longer than that.
	toxicTimeout = time.Second
	toxicShort   = 300 * time.Millisecond
	toxicLong    = toxicTimeout * 3 / 2
	// toxicRounds is how often each fault comes, if INTEGRATION_SECONDS says that there is time.
	toxicRounds = 10
)

// A toxicFault is what happens to all connections through a front, until it is clean again.
type toxicFault struct {
	name  string
	lasts time.Duration
	begin func(*toxicFront)
}

// toxicEver is as long as anything lasts.
const toxicEver = int(time.Hour / time.Millisecond)

var toxicFaults = []toxicFault{
	{"latency", toxicShort, toxicBoth("latency", map[string]any{"latency": 20})},
	{"jitter", toxicShort, toxicBoth("latency", map[string]any{"latency": 15, "jitter": 15})},
	{"bandwidth of 16 KB/s", toxicShort, toxicBoth("bandwidth", map[string]any{"rate": 16})},
	{"slices of 16 bytes", toxicShort, toxicBoth("slicer", map[string]any{"average_size": 16, "size_variation": 8, "delay": 50})},
	{"slow close", toxicShort, func(f *toxicFront) {
		toxicBoth("slow_close", map[string]any{"delay": toxicShort.Milliseconds() / 2})(f)
		f.each(func(l *toxicLink) { _ = l.server.Close() })
	}},
	{"half-open, the server is gone", toxicLong, func(f *toxicFront) {
		f.add("slow_close", "downstream", map[string]any{"delay": toxicEver})
		f.each(func(l *toxicLink) { _ = l.server.Close() })
	}},
	{"half-open, the client is gone", toxicLong, func(f *toxicFront) {
		f.add("slow_close", "upstream", map[string]any{"delay": toxicEver})
		f.each(func(l *toxicLink) { _ = l.client.Close() })
	}},
	{"half-closed by the server", toxicShort, func(f *toxicFront) {
		f.each(func(l *toxicLink) { _ = l.client.CloseWrite() })
	}},
	{"half-closed by the client", toxicShort, func(f *toxicFront) {
		f.each(func(l *toxicLink) { _ = l.server.CloseWrite() })
	}},
	{"requests vanish", toxicLong, func(f *toxicFront) { f.add(toxicHoleType, "upstream", nil) }},
	{"replies vanish", toxicLong, func(f *toxicFront) { f.add(toxicHoleType, "downstream", nil) }},
	{"everything vanishes", toxicLong, toxicBoth(toxicHoleType, nil)},
	{"each request resets", toxicShort, func(f *toxicFront) { f.add(toxicResetType, "upstream", nil) }},
	{"each reply resets", toxicShort, func(f *toxicFront) { f.add(toxicResetType, "downstream", nil) }},
}

// toxicBoth adds a toxic in both directions.
func toxicBoth(kind string, attributes map[string]any) func(*toxicFront) {
	return func(f *toxicFront) {
		f.add(kind, "upstream", attributes)
		f.add(kind, "downstream", attributes)
	}
}

// TestToxicFaults has users of pools, locks and tasks go on while each fault comes and goes. They meet no error but those
// that are documented; when it has gone all of them get what they want again; and when they stop nothing is left behind,
// long before a lease runs out.
func TestToxicFaults(t *testing.T) {
	t.Parallel()
	random, rounds := seed(t), 1
	if scaled(t, 0) >= time.Minute {
		rounds = toxicRounds
	}
	redistest.URL(t)
	table := new(toxicTable)
	room := make(chan struct{}, 4) // so that the times are those of the library more than of a busy machine
	t.Run("faults", func(t *testing.T) {
		for i, fault := range toxicFaults {
			for j, part := range []string{"pool", "lock", "task"} {
				t.Run(fault.name+", "+part, func(t *testing.T) {
					t.Parallel()
					room <- struct{}{}
					defer func() { <-room }()
					r := rand.New(rand.NewPCG(random, uint64(100*i+j))) //nolint:gosec // to be repeated
					table.add(fault.run(t, part, rounds, r))
				})
			}
		}
	})
	table.log(t)
}

// run has a crowd go on while the fault comes and goes.
func (fault *toxicFault) run(t *testing.T, part string, rounds int, r *rand.Rand) toxicRow {
	t.Helper()
	s := newToxicStage(t, rueidis.CallTimeout(toxicTimeout))
	s.enter(part, true)
	c := s.crowd(part, r)
	row := toxicRow{part: part, fault: fault.name}
	for range rounds {
		c.served("before it")
		fault.begin(s.front)
		pause(t.Context(), fault.lasts)
		s.front.clean()
		row.recovered = append(row.recovered, c.served("after it")...)
	}
	c.stop()
	idle := s.toxicIdle(time.Now(), s.leftovers)
	require.Empty(t, c.problems)
	row.operations, row.refused = c.operations, c.refused
	row.note = "nothing left after " + idle.Round(10*time.Microsecond).String()
	return row
}
