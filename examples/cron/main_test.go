package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// asProgram in the environment makes this binary the command itself, as a user would start it.
const asProgram = "CRON_AS_PROGRAM"

// program starts the command.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(redistest.Wrap(m),
		// The client's, when it tried whether a server is a Cluster: it sleeps for up to a second and does no more.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

var ns = backend.Namespace{Prefix: "test", Suffix: "cron"}

// journal is what was run, by all machines.
type journal struct {
	mu      sync.Mutex
	ticks   []time.Time
	fences  []int64
	by      []int
	running int
	overlap bool
}

// job notes each run, and takes a while.
func (j *journal) job(by int, work time.Duration) func(context.Context, time.Time, int64) error {
	return func(ctx context.Context, tick time.Time, fence int64) error {
		j.mu.Lock()
		j.ticks, j.fences, j.by = append(j.ticks, tick.UTC()), append(j.fences, fence), append(j.by, by)
		j.overlap = j.overlap || j.running > 0
		j.running++
		j.mu.Unlock()
		select {
		case <-time.After(work):
		case <-ctx.Done():
		}
		j.mu.Lock()
		j.running--
		j.mu.Unlock()
		return nil
	}
}

// check finds that the runs came one after the other, each for a later tick.
func (j *journal) check(t *testing.T) {
	t.Helper()
	require.False(t, j.overlap)
	for i := range j.ticks[1:] {
		require.Less(t, j.ticks[i], j.ticks[i+1], "%v", j.ticks)
		require.Less(t, j.fences[i], j.fences[i+1])
	}
}

// machines runs schedules whose clocks differ, for a while.
func machines(t *testing.T, d, every, work time.Duration, clocks ...time.Duration) *journal {
	t.Helper()
	be := memory.New()
	defer be.Close()
	<-time.After(every / 2) // a bubble begins at a tick
	var j journal
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var running sync.WaitGroup
	for i, off := range clocks {
		s := newSchedule(be, ns, "report", every, 3*time.Second)
		s.job, s.say = j.job(i, work), t.Logf
		s.now = func() time.Time { return time.Now().Add(off) }
		running.Go(func() { s.run(ctx) })
	}
	running.Wait()
	return &j
}

func TestEachTickIsRunOnce(t *testing.T) {
	for name, clocks := range map[string][]time.Duration{
		"clocks agree":            {0, 0, 0},
		"clocks differ":           {-200 * time.Millisecond, 0, 300 * time.Millisecond},
		"clocks differ by a lot":  {-4 * time.Second, 0, 4 * time.Second},
		"somebody is quite alone": {0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := machines(t, 100*time.Second, 10*time.Second, time.Second, clocks...)
				j.check(t)
				require.Len(t, j.ticks, 10, "%v", j.ticks)
				for i := range j.ticks[1:] {
					require.Equal(t, 10*time.Second, j.ticks[i+1].Sub(j.ticks[i]))
				}
			})
		})
	}
}

func TestClocksMayDifferByTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := machines(t, 5*time.Minute, 10*time.Second, time.Second, -25*time.Second, 0, 30*time.Second)
		j.check(t)
		for i := range j.ticks[4:] { // until all have had their first tick, the fastest is not always the first
			require.Equal(t, 10*time.Second, j.ticks[i+4].Sub(j.ticks[i+3]), "%v", j.ticks)
		}
	})
}

func TestAJobThatTakesLongerIsRunLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := machines(t, 100*time.Second, 10*time.Second, 25*time.Second, 0, 0)
		j.check(t)
		require.InDelta(t, 4, len(j.ticks), 1)
	})
}

// grave is a backend of a machine that dies: it renews nothing any more, and gives nothing back.
type grave struct {
	backend.Backend
	dead atomic.Bool
}

var errDead = errors.New("dead")

func (g *grave) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	if g.dead.Load() {
		return backend.RenewReply{}, errors.Join(errDead, backend.ErrUnavailable)
	}
	return g.Backend.RenewLocks(ctx, req)
}

func (g *grave) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	if g.dead.Load() {
		return backend.UnlockReply{}, errors.Join(errDead, backend.ErrUnavailable)
	}
	return g.Backend.Unlock(ctx, req)
}

func TestAnotherOneStepsInForOneThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every, ttl = time.Minute, 3 * time.Second
		be := memory.New()
		defer be.Close()
		<-time.After(every / 2) // a bubble begins at a tick
		ctx, cancel := context.WithTimeout(t.Context(), every)
		defer cancel()
		var j journal
		var died, replaced time.Time
		first := &grave{Backend: be}
		one, two := newSchedule(first, ns, "report", every, ttl), newSchedule(be, ns, "report", every, ttl)
		one.say, two.say = t.Logf, t.Logf
		one.job = func(ctx context.Context, tick time.Time, fence int64) error {
			<-time.After(every / 10)
			first.dead.Store(true)
			died = time.Now()
			return j.job(1, time.Hour)(ctx, tick, fence)
		}
		two.now = func() time.Time { return time.Now().Add(-time.Millisecond) } // it comes second
		two.job = func(ctx context.Context, tick time.Time, fence int64) error {
			replaced = time.Now()
			return j.job(2, time.Second)(ctx, tick, fence)
		}
		var running sync.WaitGroup
		running.Go(func() { one.run(ctx) })
		running.Go(func() { two.run(ctx) })
		running.Wait()

		require.Equal(t, []int{1, 2}, j.by)
		require.Equal(t, j.ticks[0], j.ticks[1], "it is run again for that tick")
		require.Less(t, j.fences[0], j.fences[1])
		require.LessOrEqual(t, replaced.Sub(died), ttl)
		require.False(t, j.overlap, "who lost the lock knew it before")
	})
}

func TestAJobThatFailsHadItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		s := newSchedule(be, ns, "report", 10*time.Second, time.Second)
		var said []string
		s.say = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
		runs := 0
		s.job = func(context.Context, time.Time, int64) error {
			runs++
			return errors.New("no paper")
		}
		s.run(ctx)
		require.Equal(t, 3, runs)
		require.Equal(t, []string{"report: no paper", "report: no paper", "report: no paper"}, said)
	})
}

func TestMachinesWithConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	ns := backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "cron"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var j journal
	var running sync.WaitGroup
	for i := range 3 {
		be, err := rueidis.Open(ctx, redistest.URL(t))
		require.NoError(t, err)
		defer be.Close()
		s := newSchedule(be, ns, "report", 100*time.Millisecond, 5*time.Second)
		s.say = func(string, ...any) {}
		note := j.job(i, time.Millisecond)
		s.job = func(ctx context.Context, tick time.Time, fence int64) error {
			defer func() {
				j.mu.Lock()
				defer j.mu.Unlock()
				if len(j.ticks) >= 10 {
					cancel()
				}
			}()
			return note(ctx, tick, fence)
		}
		running.Go(func() { s.run(ctx) })
	}
	running.Wait()
	j.check(t)
}

// launch starts a process with a job, which ends with the test, and gives what that prints.
func launch(t *testing.T, env, name, job string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := program("-name", name, "-every", "300ms", "-ttl", "1s", "--", "sh", "-c", job)
	cmd.Env = append(cmd.Env, env)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	env, name := "REDIS_URL="+redistest.URL(t), redistest.Prefix(t)
	first, said := launch(t, env, name, "echo first; exec sleep 5")
	require.True(t, said.Scan())
	require.Equal(t, "first", said.Text())
	second, said := launch(t, env, name, `echo "$CRON_TICK $CRON_FENCE"`)
	require.NoError(t, first.Process.Kill())

	var before time.Time
	for range 3 {
		require.True(t, said.Scan())
		var text string
		var fence int64
		_, err := fmt.Sscan(said.Text(), &text, &fence)
		require.NoError(t, err)
		tick, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		require.Equal(t, tick, tick.Truncate(300*time.Millisecond))
		require.Less(t, before, tick)
		require.Positive(t, fence)
		before = tick
	}
	require.NoError(t, second.Process.Signal(syscall.SIGTERM))
	for said.Scan() { // to its end
	}
	require.NoError(t, second.Wait())
}

func TestInMemory(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	ended := make(chan error)
	go func() {
		err := run(ctx, config{name: "report", every: 100 * time.Millisecond, ttl: time.Second, copies: 3}, out)
		_ = out.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(in)
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "run by copy")
	cancel()
	for lines.Scan() { // to its end
	}
	require.NoError(t, <-ended)

	require.Error(t, run(t.Context(), config{}, io.Discard))
}
