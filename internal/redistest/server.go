package redistest

import (
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// A Server is a server of one test, which may break it. It starts empty and, unless it was started with
// [AppendOnly], keeps nothing over a restart.
type Server struct {
	tb testing.TB
	p  *process
}

// An Option changes how a server is started.
type Option func(*options)

type options struct{ config []string }

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
	p, err := launch(o.config)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(p.close)
	return &Server{tb, p}
}

// Addr returns the server's host and port, which stay the same over restarts.
func (s *Server) Addr() string { return s.p.addr }

// URL returns the server's URL.
func (s *Server) URL() string { return "redis://" + s.p.addr }

// UserURL returns the server's URL with a user's name and password.
func (s *Server) UserURL(name, password string) string {
	return (&url.URL{Scheme: "redis", User: url.UserPassword(name, password), Host: s.p.addr}).String()
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
