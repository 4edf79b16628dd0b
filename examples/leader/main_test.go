package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// asProgram in the environment makes this binary the command itself, as a user would start it.
const asProgram = "LEADER_AS_PROGRAM"

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

// said is what was printed, and when.
type said struct {
	mu    sync.Mutex
	lines []string
	at    map[string]time.Time
}

func (s *said) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	s.lines = append(s.lines, line)
	if s.at == nil {
		s.at = make(map[string]time.Time)
	}
	s.at[line] = time.Now()
}

// leaders are those who were elected, in order.
func (s *said) leaders() (ids []string) {
	for _, line := range s.lines {
		if id, ok := strings.CutSuffix(line, " leads"); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestOneLeadsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = time.Second
		var s said
		ns := backend.Namespace{Prefix: "test", Suffix: "leader"}
		require.NoError(t, show(t.Context(), inMemory(), ns, ttl, s.say))
		leaders := s.leaders()
		require.Len(t, leaders, 3, "%q", s.lines)
		first, second, third := leaders[0], leaders[1], leaders[2]
		require.Len(t, map[string]bool{first: true, second: true, third: true}, 3)

		cut, next := s.at["("+first+" is cut off)"], s.at[second+" leads"]
		over := s.at[first+" leads no more: lease expired"]
		require.Less(t, over, next, "who is cut off must know before the next leads: %q", s.lines)
		require.LessOrEqual(t, next.Sub(cut), ttl)
		require.Equal(t, s.at["("+second+" resigns)"], s.at[third+" leads"], "who resigns hands over at once")
		for _, id := range leaders {
			require.Contains(t, s.lines, id+" joined")
		}
		require.Contains(t, s.lines, first+" left")
		require.Contains(t, s.lines, second+" left")
	})
}

func TestCandidatesWithConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	connect := func() (backend.Backend, error) { return rueidis.Open(t.Context(), redistest.URL(t)) }
	var s *said
	for ttl := 2 * time.Second; ; ttl *= 2 { // a machine may be so slow that candidates are taken for dead who are not
		ctx, cancel := context.WithTimeout(t.Context(), 10*ttl)
		s = new(said)
		err := show(ctx, connect, backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "leader"}, ttl, s.say)
		cancel()
		if err == nil {
			break
		}
		require.Less(t, ttl, 30*time.Second, "%v: %q", err, s.lines)
	}
	// A machine that is slow enough has somebody else lead meanwhile.
	leaders := s.leaders()
	require.GreaterOrEqual(t, len(leaders), 3, "%q", s.lines)
	first, second := leaders[0], leaders[1]
	require.NotEqual(t, first, second)
	require.Contains(t, s.lines, "("+first+" is cut off)")
	require.Less(t, slices.IndexFunc(s.lines, func(line string) bool { return strings.HasPrefix(line, first+" leads no more") }),
		slices.Index(s.lines, first+" left"), "%q", s.lines)
}

// candidacy is a process that is a candidate.
type candidacy struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Scanner
}

// launch starts one, which ends with the test.
func launch(t *testing.T, group, id string) *candidacy {
	t.Helper()
	c := &candidacy{Cmd: program("-id", id, "-group", group, "-ttl", "1s"), t: t}
	c.Env = append(c.Env, "REDIS_URL="+redistest.URL(t))
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.lines = bufio.NewScanner(out)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = c.Wait()
	})
	return c
}

// until reads until all lines have been seen.
func (c *candidacy) until(lines ...string) {
	c.t.Helper()
	for len(lines) > 0 {
		require.True(c.t, c.lines.Scan(), "it ended without %q", lines)
		lines = slices.DeleteFunc(lines, func(line string) bool { return line == c.lines.Text() })
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	group := redistest.Prefix(t)
	a := launch(t, group, "a")
	a.until("a joined", "a leads")
	b := launch(t, group, "b")
	b.until("a joined", "b joined")
	a.until("b joined")

	require.NoError(t, a.Process.Kill())
	b.until("b leads", "a left")

	again := launch(t, group, "a")
	b.until("a joined")
	again.until("a joined", "b joined")
	require.NoError(t, b.Process.Signal(syscall.SIGTERM))
	again.until("a leads", "b left")
	for b.lines.Scan() { // to its end
	}
	require.NoError(t, b.Wait())
}

func TestACandidateNeedsTheOthers(t *testing.T) {
	t.Parallel()
	alone := program("-id", "a")
	alone.Env = append(alone.Env, "REDIS_URL=")
	out, err := alone.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "REDIS_URL")
}
