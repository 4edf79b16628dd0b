package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// toxicTTL is that of all leases, claims and tasks' leases in these tests: nothing comes back by itself while they wait,
// which they do for patience at most.
const toxicTTL = 3 * patience

// toxicMembers is how many members the pools of these tests have.
const toxicMembers = 4

// A toxicStage is a namespace as seen from behind a front and from beside it.
type toxicStage struct {
	t         *testing.T
	ns        backend.Namespace
	front     *toxicFront
	far, near *rueidis.Backend
	cli       *redisCLI

	keys, others *Keys           // the pool from behind the front and from beside it
	leftovers    func() []string // what keeps the part that is tested from being idle, and whom it has lost

	finishing atomic.Pointer[func()] // is called when a task is about to be done
}

// newToxicStage opens a stage that ends with the test, which fails if a goroutine is left then.
func newToxicStage(t *testing.T, options ...rueidis.Option) *toxicStage {
	t.Helper()
	url := redistest.URL(t) // whose goroutines are none of this stage's
	noGoroutineLeft(t)
	s := &toxicStage{t: t, ns: newNamespace(t), front: newToxicFront(t, address(url)), cli: raw(t, url)}
	s.far = open(t, s.front.url(), options...)
	s.near = open(t, url, rueidis.CallTimeout(patience))
	return s
}

// enter begins with one part.
func (s *toxicStage) enter(part string, listens bool) {
	s.t.Helper()
	switch part {
	case "pool":
		cfg := pool.Config[pool.None]{Namespace: s.ns, TTL: toxicTTL, ClaimTTL: toxicTTL}
		s.keys, s.others = newPool(s.t, joining{s.far}, cfg), newPool(s.t, s.near, cfg)
		s.leftovers = s.poolLeftovers
		require.NoError(s.t, s.others.Extend(context.Background(), members(toxicMembers)))
	case "lock":
		s.leftovers = s.lockLeftovers
	case "task":
		s.leftovers = s.taskLeftovers
		listening := s.near
		if listens {
			listening = s.far
		}
		listenUntil(s.t, s.jobs(listening), s.finish)
	}
}

// jobs is a queue whose tasks are taken for a long time.
func (s *toxicStage) jobs(be *rueidis.Backend) *jobs {
	return newJobs(be, s.ns, task.ServerConfig{LeaseTTL: toxicTTL, Mark: toxicTTL})
}

// finish does a job.
func (s *toxicStage) finish(_ context.Context, t *task.Task[job]) (product, error) {
	if f := s.finishing.Swap(nil); f != nil {
		(*f)()
	}
	return product{N: t.Params().N, Attempt: t.Attempt(), Fence: t.Fence()}, nil
}

// noGoroutineLeft fails the test if, after all other cleanups, a goroutine is there that it has started, or one that one
// of these has started.
func noGoroutineLeft(t *testing.T) {
	name := redistest.Prefix(t)
	t.Cleanup(func() {
		pprof.SetGoroutineLabels(context.Background())
		var left []string
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for left = goroutinesOf(name); len(left) > 0 && ctx.Err() == nil; left = goroutinesOf(name) {
			pause(ctx, 5*time.Millisecond)
		}
		if len(left) > 0 {
			t.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
		}
	})
	markGoroutines(name)
}

const toxicLabel = "scenario"

// markGoroutines has this goroutine, and all that it starts from now on, be those of a scenario.
func markGoroutines(name string) {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(toxicLabel, name)))
}

// goroutinesOf gives the stacks of the goroutines of a scenario.
func goroutinesOf(name string) (stacks []string) {
	var text bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1)
	for _, stack := range strings.Split(text.String(), "\n\n") {
		if strings.Contains(stack, fmt.Sprintf("%q:%q", toxicLabel, name)) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// undocumented tells what is wrong with an error that something ended with, if it is none of those that its
// documentation names. ctx is what the caller gave: only its own end is an error of its.
func undocumented(ctx context.Context, what string, err error, documented ...error) string {
	if err == nil || errors.Is(err, backend.ErrUnavailable) {
		return ""
	}
	if over := ctx.Err(); over != nil && errors.Is(err, over) {
		return ""
	}
	for _, d := range documented {
		if errors.Is(err, d) {
			return ""
		}
	}
	return fmt.Sprintf("%s: not an error that is documented: %v", what, err)
}

// poolLeftovers tells what keeps the pool of a stage from being idle, and whom it has lost.
func (s *toxicStage) poolLeftovers() []string {
	seen := look(s.t, s.near, s.ns)
	left := leftovers(seen)
	names := make([]string, len(seen.Members))
	for i := range seen.Members {
		names[i] = seen.Members[i].Name
	}
	slices.Sort(names)
	if all := members(toxicMembers); !slices.Equal(names, all) {
		left = append(left, fmt.Sprintf("the members are %q", names))
	}
	return left
}

// lockLeftovers tells what keeps the locks of a stage from being idle.
func (s *toxicStage) lockLeftovers() []string {
	return lockLeftovers(s.t, s.cli, s.ns, s.ns.LockLimits())
}

// taskLeftovers tells what keeps the queue of a stage from being idle.
func (s *toxicStage) taskLeftovers() []string {
	reply := s.cli.must(s.t, "KEYS", s.ns.Base()+"|tasks|task:*")
	left, err := reply.AsStrSlice()
	require.NoError(s.t, err)
	stats, err := s.near.Stats(context.Background(), backend.StatsRequest{Namespace: s.ns, Queue: "jobs"})
	require.NoError(s.t, err)
	if n := stats.Scheduled + stats.Waiting + stats.Running + stats.Dead; n > 0 {
		left = append(left, fmt.Sprintf("%d tasks have not ended: %+v", n, stats))
	}
	return left
}

// toxicIdle waits until nothing is left behind, only looking, and tells how long that took since a moment. toxicTTL is far
// from over then.
func (s *toxicStage) toxicIdle(since time.Time, leftovers func() []string) time.Duration {
	s.t.Helper()
	var left []string
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if left = leftovers(); len(left) == 0 {
			return time.Since(since)
		}
		if ctx.Err() != nil {
			require.FailNow(s.t, "something was left behind", "after %v: %q", patience, left)
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// toxicRow is what one kind of faults has led to.
type toxicRow struct {
	fault, part         string
	operations, refused int
	recovered           []time.Duration
	note                string
}

// toxicTable collects rows.
type toxicTable struct {
	mu   sync.Mutex
	rows []toxicRow
}

func (table *toxicTable) add(row toxicRow) {
	table.mu.Lock()
	defer table.mu.Unlock()
	table.rows = append(table.rows, row)
}

// log prints all rows, in order.
func (table *toxicTable) log(tb testing.TB) {
	tb.Helper()
	table.mu.Lock()
	defer table.mu.Unlock()
	slices.SortFunc(table.rows, func(a, b toxicRow) int {
		return strings.Compare(a.part+"\x00"+a.fault, b.part+"\x00"+b.fault)
	})
	var text strings.Builder
	fmt.Fprintf(&text, "%-5s %-50s %10s %7s %10s %10s", "part", "fault", "operations", "errors", "recovered", "at most")
	for _, row := range table.rows {
		p50, most := quantile(row.recovered, 0.5), quantile(row.recovered, 1)
		fmt.Fprintf(&text, "\n%-5s %-50s %10d %7d %10v %10v  %s", row.part, row.fault, row.operations, row.refused,
			p50.Round(10*time.Microsecond), most.Round(10*time.Microsecond), row.note)
	}
	tb.Log("\n" + text.String())
}
