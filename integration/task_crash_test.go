package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/integration/internal/ends"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

const (
	farmProcesses = 4
	farmTTL       = 1500 * time.Millisecond // of leases
	farmCustomers = 120                     // who have one job done at a time
)

// fate is a kind of jobs, and what has to become of them however often their workers die.
type fate struct {
	name    string
	weight  int
	job     job
	options []task.Option
	cancel  bool
	want    task.State
	ran     int // so many attempts, deaths not counted; 0: it depends
}

var fates = []fate{
	{name: "done", weight: 300, want: task.Done},
	{name: "scheduled", weight: 20, options: []task.Option{task.Delay(200 * time.Millisecond)}, want: task.Done},
	{name: "retried", weight: 20, job: job{Plan: []deed{fails, works}}, options: []task.Option{task.Retries(1)}, want: task.Done},
	{name: "failed", weight: 20, job: job{Plan: []deed{fatal}}, want: task.Failed, ran: 1},
	{name: "broken", weight: 10, job: job{Plan: []deed{fails}}, options: []task.Option{task.Retries(2)}, want: task.Dead, ran: 3},
	{name: "cancelled", weight: 10, job: job{Plan: []deed{endless}}, cancel: true, want: task.Cancelled},
	{name: "expired", weight: 3, job: job{Plan: []deed{endless}}, options: []task.Option{task.Timeout(time.Second)}, want: task.Expired},
	{name: "poisonous", weight: 1, job: job{Plan: []deed{crashes}}, options: []task.Option{task.MaxDeaths(2)}, want: task.Dead},
}

// farm is processes that work, and what those know of it who have jobs done.
type farm struct {
	t      *testing.T
	rand   *rand.Rand
	ns     backend.Namespace
	server *redistest.Server
	ledger string
	cast   []*process

	mu       sync.Mutex
	ends     map[string]ended // by id
	problems []string
}

// ended is how a task has ended.
type ended struct {
	fate *fate
	got  product
	err  error
}

// TestTasksEndOnce has four processes do thousands of jobs while they are killed and stopped and the server is restarted.
// Each task ends exactly once, as it has to, everybody who waits is told the same, and what was done was done by somebody
// who held the lease.
func TestTasksEndOnce(t *testing.T) {
	t.Parallel()
	done := busily(t)
	seed := seed(t)
	f := &farm{
		t: t, rand: rand.New(rand.NewPCG(seed, 0)), ns: newNamespace(t), server: redistest.Start(t, redistest.AppendOnly()), //nolint:gosec // to be repeated
		ledger: filepath.Join(t.TempDir(), "ledger"), cast: make([]*process, farmProcesses), ends: make(map[string]ended),
	}
	for i := range f.cast {
		f.enter(i)
	}
	duration := scaled(t, 12*time.Second)
	over, stop := context.WithTimeout(context.Background(), duration)
	defer stop()
	near, other := open(t, f.server.URL()), open(t, f.server.URL())
	var customers sync.WaitGroup
	for i := range farmCustomers {
		r := rand.New(rand.NewPCG(seed, uint64(1+i))) //nolint:gosec // to be repeated
		customers.Go(func() {
			for n := 0; over.Err() == nil; n++ {
				f.charge(r, fmt.Sprintf("%03d-%05d", i, n), near, other)
			}
		})
	}
	finished := begin(func() (struct{}, error) { customers.Wait(); return struct{}{}, nil })
	begun, faults := time.Now(), f.misfortune(over, finished)
	took := time.Since(begun)
	for _, p := range f.cast {
		p.kill()
	}
	done()
	assert.Empty(t, f.problems)
	f.check(near)
	t.Logf("%d tasks in %v, %s", len(f.ends), took.Round(time.Millisecond), faults)
}

func (f *farm) enter(i int) {
	f.t.Helper()
	f.cast[i] = start(f.t, "tasks", taskArgs{
		URL: f.server.URL(), Namespace: f.ns, Ledger: f.ledger, LeaseTTL: farmTTL, Concurrency: 16,
	})
}

// misfortune has something happen to somebody until time is over, and then lets those finish who wait.
func (f *farm) misfortune(over context.Context, finished <-chan outcome[struct{}]) string {
	f.t.Helper()
	kills, stops, restarts, revived := 0, 0, 0, 0
	between := func(lo, hi time.Duration) time.Duration { return lo + time.Duration(f.rand.Int64N(int64(hi-lo))) }
	for ; over.Err() == nil; pause(over, between(100*time.Millisecond, 600*time.Millisecond)) {
		i := f.rand.IntN(len(f.cast))
		switch n := f.rand.IntN(10); {
		case n < 5:
			f.cast[i].kill()
			f.enter(i)
			kills++
		case n < 8:
			_ = f.cast[i].cmd.Process.Signal(syscall.SIGSTOP)
			pause(over, between(farmTTL/4, 2*farmTTL))
			_ = f.cast[i].cmd.Process.Signal(syscall.SIGCONT)
			stops++
		default:
			f.server.Restart()
			restarts++
		}
		revived += f.revive()
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(3 * patience); ; {
		select {
		case <-finished:
			return fmt.Sprintf("%d processes killed, %d stopped, %d killed by their tasks; %d restarts of the server", kills, stops, revived, restarts)
		case <-tick.C:
			revived += f.revive()
			require.True(f.t, time.Now().Before(limit), "somebody still waits")
		}
	}
}

// revive replaces the processes that have died of their tasks.
func (f *farm) revive() (n int) {
	for i, p := range f.cast {
		select {
		case <-p.done:
			f.enter(i)
			n++
		default:
		}
	}
	return n
}

// charge has one job done, for two who wait.
func (f *farm) charge(r *rand.Rand, id string, near, other task.Backend) {
	weights := 0
	for i := range fates {
		weights += fates[i].weight
	}
	what, n := &fates[0], r.IntN(weights)
	for i := range fates {
		if what = &fates[i]; n < what.weight {
			break
		}
		n -= what.weight
	}
	j := what.job
	j.N, j.Takes = r.Int(), time.Duration(r.IntN(20))*time.Millisecond
	options := append([]task.Option{task.ID(id), task.Retention(time.Hour)}, what.options...)
	query, pauses := r.IntN(2) == 0 && !what.cancel, time.Duration(r.IntN(60))*time.Millisecond

	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	q, o := newJobs(near, f.ns, task.ServerConfig{}), newJobs(other, f.ns, task.ServerConfig{})
	second := make(chan ended, 1)
	wait := func() {
		pause(ctx, pauses)
		got, err := insist(ctx, func() (product, error) { return o.Wait(ctx, id) })
		second <- ended{what, got, err}
	}
	first := ended{fate: what}
	if query {
		first.got, first.err = insist(ctx, func() (product, error) { return q.Query(ctx, j, options...) })
		go wait()
	} else {
		h, err := insist(ctx, func() (*task.Handle[product], error) { return q.Submit(ctx, j, options...) })
		if err != nil {
			f.problem("%s %s: submission: %v", what.name, id, err)
			return
		}
		go wait()
		if what.cancel {
			pause(ctx, pauses)
			_, err := insist(ctx, func() (struct{}, error) { return struct{}{}, h.Cancel(ctx) })
			if err != nil && !errors.Is(err, task.ErrEnded) { // the answer of the first try was lost
				f.problem("%s %s: cancel: %v", what.name, id, err)
			}
		}
		first.got, first.err = insist(ctx, func() (product, error) { return h.Wait(ctx) })
	}
	again := <-second
	switch {
	case ends.Of(first.err) != what.want || first.err == nil && first.got.N != j.N:
		f.problem("%s %s ended with %+v, %v", what.name, id, first.got, first.err)
	case ends.Of(again.err) != what.want || again.got != first.got:
		f.problem("%s %s ended with %+v, %v, and with %+v, %v", what.name, id, first.got, first.err, again.got, again.err)
	case what.name == "poisonous" && !errors.Is(first.err, &task.Error{Code: task.CodeDeaths}),
		what.name == "broken" && !errors.Is(first.err, errBroken):
		f.problem("%s %s: %v", what.name, id, first.err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ends[id] = first
}

func (f *farm) problem(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// check compares what everybody knows.
func (f *farm) check(be task.Backend) {
	t, ctx := f.t, context.Background()
	require.NotEmpty(t, f.ends)
	runs := make(map[string][]attempt)
	accepted := make(map[string][]int64)
	late := 0
	for _, a := range readLedger(t, f.ledger) {
		switch a.What {
		case begins:
			runs[a.ID] = append(runs[a.ID], a)
		case backend.EventDone.String():
			accepted[a.ID] = append(accepted[a.ID], a.Fence)
		case backend.EventLost.String():
			late++
		}
	}
	counts := make(map[task.State]int)
	most := 0
	for id, e := range f.ends {
		counts[e.fate.want]++
		all := runs[id]
		most = max(most, len(all))
		slices.SortFunc(all, func(a, b attempt) int { return cmp.Compare(a.Fence, b.Fence) })
		for i := 1; i < len(all); i++ {
			assert.Less(t, all[i-1].Fence, all[i].Fence, id)
			assert.LessOrEqual(t, all[i-1].Attempt, all[i].Attempt, "%s: the fence grows with the attempts", id)
		}
		if e.err == nil {
			assert.True(t, slices.ContainsFunc(all, func(a attempt) bool { return a.Fence == e.got.Fence }), "%s: done by whom?", id)
		}
		for _, fence := range accepted[id] {
			assert.Equal(t, e.got.Fence, fence, "%s: a result that was accepted, and one that was told", id)
		}
	}
	ids := make([]string, 0, len(f.ends))
	for id := range f.ends {
		ids = append(ids, id)
	}
	deaths := 0
	for page := range slices.Chunk(ids, 500) {
		reply, err := insist(ctx, func() (backend.TasksReply, error) {
			return be.Tasks(ctx, backend.TasksRequest{Namespace: f.ns, IDs: page})
		})
		require.NoError(t, err)
		for _, info := range reply.Tasks {
			e := f.ends[info.ID]
			assert.Equal(t, e.fate.want, info.State, info.ID)
			deaths += info.Deaths
			if e.fate.ran > 0 {
				assert.Equal(t, e.fate.ran, info.Attempts-info.Deaths, "%s %s: attempts that were no deaths", e.fate.name, info.ID)
			}
		}
	}
	s, err := insist(ctx, func() (backend.QueueStats, error) {
		return be.Stats(ctx, backend.StatsRequest{Namespace: f.ns, Queue: "jobs"})
	})
	require.NoError(t, err)
	assert.Zero(t, s.Scheduled+s.Waiting+s.Running, "%+v", s)
	for state, n := range map[task.State]int{
		task.Done: int(s.Done), task.Failed: int(s.Failed), task.Expired: int(s.Expired), task.Cancelled: int(s.Cancelled), task.Dead: s.Dead,
	} {
		assert.Equal(t, counts[state], n, "how often the server has ended something: %s", state)
	}
	var list []string
	for state, n := range counts {
		list = append(list, fmt.Sprintf("%d %s", n, state))
	}
	slices.Sort(list)
	t.Logf("%s; %d deaths, %d runs of a task at most, %d ends too late and refused", strings.Join(list, ", "), deaths, most, late)
}
