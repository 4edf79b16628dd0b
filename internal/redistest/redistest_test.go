package redistest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(redistest.Wrap(m))
}

// patience is for what must happen, however slow the machine is.
const patience = time.Minute

// A client speaks to a server in plain lines.
type client struct {
	net.Conn
	tb testing.TB
	r  *bufio.Reader
}

func dial(tb testing.TB, addr string) *client {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return &client{conn, tb, bufio.NewReader(conn)}
}

func (c *client) send(command string) {
	c.tb.Helper()
	if _, err := c.Write([]byte(command + "\r\n")); err != nil {
		c.tb.Fatalf("%s: %v", command, err)
	}
}

// expect reads one line for each of want.
func (c *client) expect(want ...string) {
	c.tb.Helper()
	for _, line := range want {
		got, err := c.r.ReadString('\n')
		if err != nil {
			c.tb.Fatalf("waiting for %q: %v", line, err)
		}
		if got = strings.TrimSuffix(got, "\r\n"); got != line {
			c.tb.Fatalf("got %q, want %q", got, line)
		}
	}
}

// expectEnd reads to the end of the connection, of which nothing may be left to come.
func (c *client) expectEnd() {
	c.tb.Helper()
	got, err := c.r.ReadString('\n')
	if err == nil || os.IsTimeout(err) || got != "" {
		c.tb.Fatalf("got %q and %v, want the end of the connection", got, err)
	}
}

// expectSilence looks whether anything comes within a moment.
func (c *client) expectSilence() {
	c.tb.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		c.tb.Fatal(err)
	}
	if got, err := c.r.ReadString('\n'); !os.IsTimeout(err) {
		c.tb.Fatalf("got %q and %v, want silence", got, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.tb.Fatal(err)
	}
}

// becomes asks for the text under a key until it is this one.
func (c *client) becomes(key, want string) {
	c.tb.Helper()
	for end := time.Now().Add(patience); ; {
		c.send("GET " + key)
		size, err := c.r.ReadString('\n')
		if err != nil {
			c.tb.Fatal(err)
		}
		got := ""
		if size != "$-1\r\n" {
			if got, err = c.r.ReadString('\n'); err != nil {
				c.tb.Fatal(err)
			}
		}
		if strings.TrimSuffix(got, "\r\n") == want {
			return
		}
		if time.Now().After(end) {
			c.tb.Fatalf("%s is still %q, not %q", key, got, want)
		}
	}
}

func (c *client) do(command string, want ...string) {
	c.tb.Helper()
	c.send(command)
	c.expect(want...)
}

func TestURLNamesOneServerForAllTests(t *testing.T) {
	url := redistest.URL(t)
	if again := redistest.URL(t); again != url {
		t.Errorf("got %q, then %q", url, again)
	}
	if os.Getenv("REDIS_URL") == "" {
		dial(t, strings.TrimPrefix(url, "redis://")).do("PING", "+PONG")
	}
}

func TestServe(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	url, stop, err := redistest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, strings.TrimPrefix(url, "redis://"))
	c.do("PING", "+PONG")
	stop()
	c.expectEnd()
}

func TestServePrefersTheEnvironment(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://example:1/2")
	url, stop, err := redistest.Serve()
	if err != nil || url != "redis://example:1/2" {
		t.Errorf("got %q and %v", url, err)
	}
	stop()
}

// failure is a test that is expected to fail.
type failure struct {
	testing.TB
	message string
}

func (*failure) Helper() {}

func (f *failure) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func expectFailure(t *testing.T, run func(testing.TB), want string) {
	t.Helper()
	f := &failure{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(f)
	}()
	<-done
	if !strings.Contains(f.message, want) {
		t.Errorf("got %q, want something with %q", f.message, want)
	}
}

func TestMissingServerFailsTheTest(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	expectFailure(t, func(tb testing.TB) { redistest.Start(tb) }, "neither redis-server nor valkey-server is on PATH")
}

func TestServerThatCannotStartFailsTheTestWithItsLog(t *testing.T) {
	expectFailure(t, func(tb testing.TB) { redistest.Start(tb, redistest.Config("no-such-directive yes")) }, "no-such-directive")
}

func TestPrefix(t *testing.T) {
	t.Run("a name: {with} all|sorts*", func(t *testing.T) {
		first, second := redistest.Prefix(t), redistest.Prefix(t)
		if want := "TestPrefix_a_name___with__all_sorts_-"; !strings.HasPrefix(first, want) {
			t.Errorf("got %q, want it to start with %q", first, want)
		}
		if first == second {
			t.Errorf("got %q twice", first)
		}
	})
}

func TestServerForgetsItsDataAtRestart(t *testing.T) {
	for _, end := range []struct {
		name string
		end  func(*redistest.Server)
	}{
		{"killed", (*redistest.Server).Kill},
		{"stopped", (*redistest.Server).Stop},
		{"running", func(*redistest.Server) {}},
	} {
		t.Run(end.name, func(t *testing.T) {
			s := redistest.Start(t)
			addr := s.Addr()
			dial(t, addr).do("SET k v", "+OK")
			end.end(s)
			s.Restart()
			if s.Addr() != addr {
				t.Errorf("moved from %s to %s", addr, s.Addr())
			}
			dial(t, addr).do("GET k", "$-1")
		})
	}
}

func TestAppendOnlyServerKeepsItsData(t *testing.T) {
	s := redistest.Start(t, redistest.AppendOnly())
	dial(t, s.Addr()).do("SET k v", "+OK")
	s.Kill()
	s.Restart()
	c := dial(t, s.Addr())
	c.do("GET k", "$1", "v")
	c.do("SET k w", "+OK")
	s.Stop()
	s.Restart()
	dial(t, s.Addr()).do("GET k", "$1", "w")
}

func TestKillAndStopEndTheServerOnce(t *testing.T) {
	s := redistest.Start(t)
	c := dial(t, s.Addr())
	c.do("PING", "+PONG")
	s.Kill()
	c.expectEnd()
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Error("a killed server accepts connections")
	}
	s.Kill()
	s.Stop()
}

func TestPause(t *testing.T) {
	s := redistest.Start(t)
	c := dial(t, s.Addr())
	s.Pause()
	c.send("PING")
	c.expectSilence()
	s.Resume()
	c.expect("+PONG")

	s.Pause()
	s.Stop()
	c.expectEnd()
}

func TestUser(t *testing.T) {
	s := redistest.Start(t, redistest.User("app", "s3cret/", "~app|*", "&app|*", "+get", "+ping"), redistest.Config("user default off"))
	if got, want := s.UserURL("app", "s3cret/"), "redis://app:s3cret%2F@"+s.Addr(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c := dial(t, s.Addr())
	c.do("PING", "-NOAUTH Authentication required.")
	c.do("AUTH app s3cret/", "+OK")
	c.do("GET app|x", "$-1")
	c.send("GET other")
	if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "-NOPERM") {
		t.Errorf("got %q and %v, want a NOPERM", line, err)
	}
}

func TestServersOfTestsRunSideBySide(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			dial(t, s.Addr()).do("INCR k", ":1")
		})
	}
}
