package redistest

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is a server of one test, which may break it. It starts empty and, unless it was started with
// [AppendOnly], keeps nothing over a restart.
type Server struct {
	tb testing.TB
	p  *process
}

// An Option changes how a server is started.
type Option func(*options)

type options struct {
	config, flags []string
	tls           *certificates
	node          bool // of a Cluster
}

// AppendOnly makes the server write each change to disk before it answers, so that a restart loses nothing.
func AppendOnly() Option { return Config("appendonly yes", "appendfsync always") }

// Config adds lines to the server's configuration file.
func Config(lines ...string) Option {
	return func(o *options) { o.config = append(o.config, lines...) }
}

// User adds a user with a password and ACL rules, such as "~app|*", "&app|*" and "+@all".
func User(name, password string, rules ...string) Option {
	return Config(fmt.Sprintf("user %s on >%s %s", name, password, strings.Join(rules, " ")))
}

// Start starts a server that ends with the test.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	p, err := launch(o)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(p.close)
	return &Server{tb, p}
}

// StartReplica starts a server that copies another one, and returns when it has all of its data. It goes on when that
// one restarts. Replicas of servers with [TLS] are not supported.
func StartReplica(tb testing.TB, primary *Server, opts ...Option) *Server {
	tb.Helper()
	if primary.p.tls != nil {
		tb.Fatalf("redistest: a replica of a server with TLS is not supported")
	}
	host, port, _ := strings.Cut(primary.Addr(), ":")
	s := Start(tb, append([]Option{Config("replicaof " + host + " " + port)}, opts...)...)
	s.await("a copy of "+primary.Addr(), s.copied)
	return s
}

// copied reports whether a replica has the data of its primary.
func (s *Server) copied() bool {
	role, err := s.p.ask("ROLE")
	list, _ := role.([]any)
	return err == nil && len(list) > 3 && list[0] == "slave" && list[3] == "connected"
}

// Addr returns the server's host and port, which stay the same over restarts.
func (s *Server) Addr() string { return s.p.addr }

// URL returns the server's URL, which begins with rediss if it was started with [TLS].
func (s *Server) URL() string { return s.scheme() + "://" + s.p.addr }

// UserURL returns the server's URL with a user's name and password.
func (s *Server) UserURL(name, password string) string {
	return (&url.URL{Scheme: s.scheme(), User: url.UserPassword(name, password), Host: s.p.addr}).String()
}

func (s *Server) scheme() string {
	if s.p.tls != nil {
		return "rediss"
	}
	return "redis"
}

// Do sends one command to this very server, past its ports and all proxies, and returns the answer: a string, an int64, a
// []any of these, or nil. An error fails the test. Sentinels have a server close its connections when it becomes a replica;
// then the command is sent again.
func (s *Server) Do(words ...string) any {
	s.tb.Helper()
	answer, err := s.p.ask(words...)
	for tries := 1; tries < 5 && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)); tries++ {
		answer, err = s.p.ask(words...)
	}
	if err != nil {
		s.tb.Fatalf("redistest: %s %s: %v", s.p.addr, strings.Join(words, " "), err)
	}
	return answer
}

// Kill ends the server as a crash would, with SIGKILL. It does nothing when the server does not run.
func (s *Server) Kill() { s.tb.Helper(); s.must(s.p.stop(syscall.SIGKILL)) }

// Stop asks the server to end, with SIGTERM, and waits for that. It does nothing when the server does not run.
func (s *Server) Stop() { s.tb.Helper(); s.must(s.p.stop(syscall.SIGTERM)) }

// Restart starts the server again at the same address and returns when it answers. A running one is killed
// first.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	s.must(s.p.start())
}

// Pause stops the server's process where it stands: connections stay open and nothing answers.
func (s *Server) Pause() { s.tb.Helper(); s.must(s.p.signal(syscall.SIGSTOP)) }

// Resume lets a paused server go on, with all that was sent to it meanwhile.
func (s *Server) Resume() { s.tb.Helper(); s.must(s.p.signal(syscall.SIGCONT)) }

func (s *Server) must(err error) {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
}

// await looks until it is so.
func (s *Server) await(what string, so func() bool) {
	s.tb.Helper()
	await(s.tb, startTimeout, what, so, s)
}

// await looks until it is so, and fails with what the servers have to say.
func await(tb testing.TB, within time.Duration, what string, so func() bool, servers ...*Server) {
	tb.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(10 * pollInterval)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline.C:
			var logs strings.Builder
			for _, s := range servers {
				fmt.Fprintf(&logs, "\n%s:\n%s", s.p.addr, s.p.log())
			}
			tb.Fatalf("redistest: not within %v: %s%s", within, what, &logs)
		}
	}
}
