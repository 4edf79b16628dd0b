package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// asProgram in the environment makes this binary the command itself, as a user would start it.
const asProgram = "REDLOCK_AS_PROGRAM"

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
	goleak.VerifyTestMain(m)
}

// copyOf is one running service.
type copyOf struct {
	cmd   *exec.Cmd
	url   string
	lines []string // what it said before it listened
	ended chan struct{}
	state *os.ProcessState
}

// launch starts the service, which ends with the test.
func launch(t *testing.T, env []string, args ...string) *copyOf {
	t.Helper()
	c := &copyOf{cmd: program(append([]string{"-addr", "127.0.0.1:0", "-server-timeout", "3s"}, args...)...), ended: make(chan struct{})}
	c.cmd.Env = append(c.cmd.Env, env...)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	listening := make(chan string)
	go func() {
		defer close(c.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			if url, ok := strings.CutPrefix(s.Text(), "listening on "); ok {
				listening <- url
				_, _ = io.Copy(io.Discard, out)
				break
			}
			c.lines = append(c.lines, s.Text())
		}
		_ = c.cmd.Wait()
		c.state = c.cmd.ProcessState
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
	})
	select {
	case c.url = <-listening:
	case <-c.ended:
		require.Fail(t, "the service did not start", "%v", c.lines)
	}
	return c
}

// stop asks the service to end.
func (c *copyOf) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
}

// post asks for a report.
func post(url, id string) (status int, retryAfter string, report Report, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(url+"/reports/"+id, "", nil)
	if err != nil {
		return 0, "", report, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		err = json.NewDecoder(resp.Body).Decode(&report)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), report, err
}

// A race is several posts for the same report at once. Their answers come in the order in which they arrive.
func race(id string, urls ...string) <-chan answer {
	answers := make(chan answer, len(urls))
	for _, url := range urls {
		go func() {
			var a answer
			a.status, a.retryAfter, a.report, a.err = post(url, id)
			answers <- a
		}()
	}
	return answers
}

type answer struct {
	status     int
	retryAfter string
	report     Report
	err        error
}

// contend posts for the same report at both until one of them is told that the other makes it: on a slow machine they may
// come one after the other. The other's answer is still to come.
func contend(t *testing.T, id string, urls ...string) (loser answer, rest <-chan answer) {
	t.Helper()
	for range 20 {
		rest = race(id, urls...)
		if loser = <-rest; loser.err == nil && loser.status == http.StatusLocked {
			break
		}
		<-rest
	}
	require.NoError(t, loser.err)
	require.Equal(t, http.StatusLocked, loser.status)
	return loser, rest
}

// eventually posts until the answer is the one that is wanted.
func eventually(t *testing.T, url string, want int) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, _, _, err := post(url, "any")
		return err == nil && status == want
	}, time.Minute, 10*time.Millisecond)
}

func TestOneOfSeveralCopiesMakesAReport(t *testing.T) {
	t.Parallel()
	var urls []string
	servers := make([]*redistest.Server, 3)
	for i := range servers {
		servers[i] = redistest.Start(t, redistest.AppendOnly())
		urls = append(urls, servers[i].URL())
	}
	env := []string{"REDIS_URLS=" + strings.Join(urls, ",")}
	a, b := launch(t, env, "-work", "1s"), launch(t, env, "-work", "1s")
	quick := launch(t, env, "-work", "1ms")
	require.Len(t, a.lines, 3)

	loser, both := contend(t, "june", a.url, b.url)
	require.NotEmpty(t, loser.retryAfter)
	status, _, _, err := post(quick.url, "july")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	winner := <-both
	require.NoError(t, winner.err)
	require.Equal(t, http.StatusOK, winner.status)
	require.Equal(t, "june", winner.report.ID)
	require.NotEmpty(t, winner.report.Maker)
	status, _, _, err = post(quick.url, "june")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	servers[0].Kill()
	status, _, _, err = post(quick.url, "one-is-down")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	c := launch(t, env, "-work", "1ms")
	require.Contains(t, c.lines[0], "is away")
	status, _, _, err = post(c.url, "one-was-down-from-the-beginning")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	servers[1].Kill()
	eventually(t, quick.url, http.StatusServiceUnavailable)
	status, retryAfter, _, err := post(c.url, "two-are-down")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotEmpty(t, retryAfter)
	servers[0].Restart()
	eventually(t, quick.url, http.StatusOK)
	eventually(t, c.url, http.StatusOK)
}

func TestTheServiceFinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	c := launch(t, []string{"REDIS_URLS="}, "-work", "1s")
	require.Len(t, c.lines, 3, "it has started three servers")
	_, both := contend(t, "june", c.url, c.url)
	c.stop(t)
	require.Equal(t, http.StatusOK, (<-both).status)
	<-c.ended
	require.Zero(t, c.state.ExitCode())
	for _, line := range c.lines {
		_, addr, ok := strings.Cut(line, "redis://")
		require.True(t, ok, line)
		_, err := net.DialTimeout("tcp", addr, time.Second)
		require.Error(t, err, "the servers have ended, too")
	}
}

func TestWithoutRedisMemoryWillDo(t *testing.T) {
	t.Parallel()
	c := launch(t, []string{"REDIS_URLS=", "PATH="}, "-work", "1ms")
	require.Len(t, c.lines, 1)
	require.Contains(t, c.lines[0], "memory")
	status, _, _, err := post(c.url, "june")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	c.stop(t)
	<-c.ended
	require.Zero(t, c.state.ExitCode())
}

func TestReportsThatTakeTooLongAreGivenUpAtTheEnd(t *testing.T) {
	t.Parallel()
	c := launch(t, []string{"REDIS_URLS=", "PATH="}, "-work", "1h", "-grace", "10ms")
	_, both := contend(t, "june", c.url, c.url)
	c.stop(t)
	require.Equal(t, http.StatusServiceUnavailable, (<-both).status)
	<-c.ended
	require.Zero(t, c.state.ExitCode())
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	backends := []lock.RedlockBackend{memory.New(), memory.New(), memory.New()}
	locks, err := lock.NewRedlock(backends, backend.Namespace{Prefix: "test", Suffix: "reports"}, lock.RedlockConfig{
		Tries: 1, TTL: 6 * time.Second, ServerTimeout: 4 * time.Second,
	})
	require.NoError(t, err)
	defer locks.Close()
	for name, c := range map[string]struct {
		path string
		job  job
		want int
	}{
		"a name with NUL": {"/reports/a%00b", nil, http.StatusBadRequest},
		"a failure": {"/reports/a", func(context.Context, string) (Report, error) {
			return Report{}, io.ErrUnexpectedEOF
		}, http.StatusInternalServerError},
		"a lost lock": {"/reports/b", func(ctx context.Context, id string) (Report, error) {
			for _, be := range backends {
				if _, err := be.Unlock(ctx, backend.UnlockRequest{
					Namespace: backend.Namespace{Prefix: "test", Suffix: "reports"}, Items: []backend.Held{{Member: id}}, Force: true,
				}); err != nil {
					return Report{}, err
				}
			}
			<-ctx.Done()
			return Report{}, context.Cause(ctx)
		}, http.StatusServiceUnavailable},
		"another path": {"/", nil, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			newService(locks, c.job).ServeHTTP(w, httptest.NewRequest(http.MethodPost, c.path, nil))
			require.Equal(t, c.want, w.Code)
		})
	}
}
