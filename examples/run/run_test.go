//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

// ours is one pool "gpus" that a test has to itself.
type ours struct {
	t      *testing.T
	prefix string
}

func newPool(t *testing.T) ours {
	t.Parallel()
	return ours{t, redistest.Prefix(t)}
}

// running is a run that was started.
type running struct {
	*exec.Cmd
	t      *testing.T
	out    *bufio.Reader // what the command prints
	errors *bytes.Buffer // what run and the command print to stderr
}

// start starts run, without a terminal, as a service manager would.
func (o ours) start(args ...string) *running {
	o.t.Helper()
	args = append([]string{"-url", redistest.URL(o.t), "-prefix", o.prefix, "-pool", "gpus"}, args...)
	r := &running{Cmd: program(args...), t: o.t, errors: new(bytes.Buffer)}
	r.Stderr = r.errors
	r.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Not a StdoutPipe, which Wait would close: the command may print more after run has ended.
	out, in, err := os.Pipe()
	require.NoError(o.t, err)
	r.Stdout = in
	r.out = bufio.NewReader(out)
	require.NoError(o.t, r.Start())
	_ = in.Close()
	o.t.Cleanup(func() {
		_ = r.Process.Kill()
		_ = r.Wait()
		_ = out.Close()
	})
	return r
}

// line is the next line that the command prints.
func (r *running) line() string {
	r.t.Helper()
	line, err := r.out.ReadString('\n')
	require.NoError(r.t, err, "%s", r.errors)
	return strings.TrimSuffix(line, "\n")
}

// rest is all that the command prints until it, and all that it has started, has ended.
func (r *running) rest() string {
	r.t.Helper()
	rest, err := io.ReadAll(r.out)
	require.NoError(r.t, err)
	return string(rest)
}

// exitCode waits for the end of run.
func (r *running) exitCode() int {
	_ = r.Wait()
	return r.ProcessState.ExitCode()
}

// members opens the pool beside those who run.
func (o ours) members() *pool.Allocator[pool.None] {
	o.t.Helper()
	be, err := rueidis.Open(o.t.Context(), redistest.URL(o.t))
	require.NoError(o.t, err)
	o.t.Cleanup(func() { _ = be.Close() })
	members, err := pool.New(be, pool.Config[pool.None]{
		Namespace: backend.Namespace{Prefix: o.prefix, Suffix: "gpus"},
	})
	require.NoError(o.t, err)
	o.t.Cleanup(func() { _ = members.Close() })
	return members
}

func TestTheCommandKnowsItsMember(t *testing.T) {
	o := newPool(t)
	started := time.Now().Truncate(time.Second)
	r := o.start("-extend", "gpu0", "-ttl", "1m", "--", "sh", "-c", `echo "$POOL_MEMBER,$POOL_FENCE,$POOL_DEADLINE"`)
	told := strings.Split(r.line(), ",")
	require.Equal(t, 0, r.exitCode(), "%s", r.errors)

	require.Len(t, told, 3)
	assert.Equal(t, "gpu0", told[0])
	fence, err := strconv.ParseInt(told[1], 10, 64)
	require.NoError(t, err)
	deadline, err := time.Parse(time.RFC3339, told[2])
	require.NoError(t, err)
	assert.WithinRange(t, deadline, started.Add(58*time.Second), time.Now().Add(time.Minute))

	// And it was given back: the next one has it at once, with a larger fence.
	lease, err := o.members().MallocKey(t.Context())
	require.NoError(t, err)
	assert.Greater(t, lease.Fence(), fence)
	assert.NoError(t, lease.Release(t.Context()))
}

func TestTheExitCodeIsThatOfTheCommand(t *testing.T) {
	o := newPool(t)
	for script, code := range map[string]int{
		"exit 0":        0,
		"exit 7":        7,
		"kill -KILL $$": 128 + 9,
		"kill -TERM $$": 128 + 15,
	} {
		r := o.start("-extend", "gpu0", "--", "sh", "-c", script)
		assert.Equal(t, code, r.exitCode(), "%s: %s", script, r.errors)
	}
}

func TestAMistakeIsToldBeforeAnybodyWaits(t *testing.T) {
	o := newPool(t) // of nothing: who waits here waits for ever
	for code, args := range map[int][]string{
		125: {"--"},
		126: {"--", "/"},
		127: {"--", "no-such-command"},
	} {
		r := o.start(args...)
		assert.Equal(t, code, r.exitCode(), "%v", args)
		assert.NotEmpty(t, r.errors.String(), "%v", args)
	}
}

func TestAWaitMayHaveAnEnd(t *testing.T) {
	r := newPool(t).start("-wait", "50ms", "--", "true")
	assert.Equal(t, 124, r.exitCode(), "%s", r.errors)
}

func TestASignalEndsAWait(t *testing.T) {
	o := newPool(t)
	r := o.start("--", "true")
	o.waitForWaiters(1)
	require.NoError(t, r.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, 128+15, r.exitCode(), "%s", r.errors)
	o.waitForWaiters(0)
}

func TestSignalsReachTheCommandOnce(t *testing.T) {
	o := newPool(t)
	r := o.start("-extend", "gpu0", "--", "sh", "-c", `
		trap 'echo USR1' USR1
		trap 'echo TERM; exit 3' TERM
		echo ready
		while :; do sleep 0.05; done`)
	require.Equal(t, "ready", r.line())
	require.NoError(t, r.Process.Signal(syscall.SIGUSR1))
	require.Equal(t, "USR1", r.line())
	require.NoError(t, r.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, "TERM\n", r.rest())
	assert.Equal(t, 3, r.exitCode())
}

func TestTheLeaseIsRenewedWhileTheCommandRuns(t *testing.T) {
	o := newPool(t)
	r := o.start("-extend", "gpu0", "-ttl", "6s", "--", "sh", "-c", "trap 'echo done; exit 0' USR1; echo ready; while :; do sleep 0.05; done")
	require.Equal(t, "ready", r.line())
	members := o.members()
	left := func() time.Duration {
		seen, err := members.Snapshot(t.Context())
		require.NoError(t, err)
		require.Len(t, seen.Members, 1)
		return seen.Members[0].TTL
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	before := left()
	for now := before; now <= before; now = left() { // it goes down until it is renewed
		require.Positive(t, now)
		before = now
		<-tick.C
	}
	require.NoError(t, r.Process.Signal(syscall.SIGUSR1))
	assert.Equal(t, "done\n", r.rest())
	assert.Equal(t, 0, r.exitCode(), "%s", r.errors)
}

func TestTheCommandDiesWithItsLease(t *testing.T) {
	o := newPool(t)
	members := o.members()
	r := o.start("-extend", "gpu0", "-ttl", "6s", "--", "sh", "-c", "echo ready; sleep 60; echo survived")
	require.Equal(t, "ready", r.line())
	_, err := members.FreeKeys(t.Context(), []string{"gpu0"})
	require.NoError(t, err)
	assert.Empty(t, r.rest()) // which ends when sleep does, so that was killed as well
	assert.Equal(t, 125, r.exitCode())
	assert.Contains(t, r.errors.String(), pool.ErrLost.Error())
}

func TestTheNextInLineHasTheMemberOfAKilledRun(t *testing.T) {
	o := newPool(t)
	killed := o.start("-extend", "gpu0", "-ttl", "2s", "--", "sh", "-c", `echo "$POOL_FENCE"; exec sleep 60`)
	fence := killed.line()

	next := o.start("--", "sh", "-c", `echo "$POOL_MEMBER"; echo "$POOL_FENCE"`)
	o.waitForWaiters(1)
	require.NoError(t, killed.Process.Kill())

	assert.Equal(t, "gpu0", next.line())
	assert.Greater(t, next.line(), fence) // as long as they have as many digits, which takes 200 years to change
	assert.Equal(t, 0, next.exitCode(), "%s", next.errors)
	if runtime.GOOS == "linux" {
		assert.Empty(t, killed.rest()) // which ends with the command
	}
}

// waitForWaiters looks until so many wait in line.
func (o ours) waitForWaiters(n int) {
	o.t.Helper()
	members := o.members()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	tooLate := time.After(time.Minute)
	for {
		waiting, err := members.Waiting(o.t.Context())
		require.NoError(o.t, err)
		if waiting == n {
			return
		}
		select {
		case <-tick.C:
		case <-tooLate:
			o.t.Fatalf("%d wait instead of %d", waiting, n)
		}
	}
}
