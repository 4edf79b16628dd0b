package redistest_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// shake sends PING over TLS.
func shake(s *redistest.Server, conf *tls.Config) (string, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.Addr(), conf)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	fmt.Fprint(conn, "PING\r\n")
	return bufio.NewReader(conn).ReadString('\n')
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, other := redistest.Start(t, redistest.TLS()), redistest.Start(t, redistest.TLS())
	if want := "rediss://" + s.Addr(); s.URL() != want {
		t.Errorf("got %q, want %q", s.URL(), want)
	}
	for range 2 {
		if got, err := shake(s, s.TLSConfig()); err != nil || got != "+PONG\r\n" {
			t.Fatalf("got %q and %v", got, err)
		}
		s.Restart()
	}
	nameless := s.TLSConfig()
	nameless.Certificates = nil
	if got, err := shake(s, nameless); err == nil {
		t.Errorf("a client without a certificate got %q", got)
	}
	stranger := s.TLSConfig()
	stranger.Certificates = other.TLSConfig().Certificates
	if got, err := shake(s, stranger); err == nil {
		t.Errorf("a client with another authority's certificate got %q", got)
	}
	if got, err := shake(s, other.TLSConfig()); err == nil {
		t.Errorf("a client that trusts another authority got %q", got)
	}
}

// become asks for the text under a key until it is this one.
func become(t *testing.T, s *redistest.Server, key, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		got := s.Do("GET", key)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is still %v at %s, not %q", key, got, s.Addr(), want)
		}
	}
}

func TestReplica(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t, redistest.AppendOnly())
	primary.Do("SET", "k", "v")
	replica := redistest.StartReplica(t, primary)
	become(t, replica, "k", "v")
	primary.Restart()
	primary.Do("SET", "k", "w")
	become(t, replica, "k", "w")
}

func TestDo(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	if got := s.Do("GET", "k"); got != nil {
		t.Errorf("got %v", got)
	}
	s.Do("RPUSH", "k", "a\r\nb", "")
	if got := fmt.Sprintf("%q", s.Do("LRANGE", "k", "0", "-1")); got != `["a\r\nb" ""]` {
		t.Errorf("got %s", got)
	}
	if got := s.Do("LLEN", "k"); got != int64(2) {
		t.Errorf("got %v", got)
	}
	expectFailure(t, func(tb testing.TB) { redistest.Start(tb).Do("GET") }, "wrong number of arguments")
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	f := redistest.StartSentinels(t, 2, 3)
	first := f.Primary()
	if first != f.Servers()[0] {
		t.Errorf("%s is the primary, not %s", first.Addr(), f.Servers()[0].Addr())
	}
	u, err := url.Parse(f.URL())
	if err != nil || len(u.Query()["addr"]) != 2 || u.Query().Get("master_set") == "" {
		t.Errorf("got %q and %v", f.URL(), err)
	}
	first.Do("SET", "k", "v")
	first.Do("WAIT", "2", "0")

	second := f.FailOver((*redistest.Server).Kill)
	if second == first || f.Primary() != second {
		t.Errorf("%s is the primary after %s", second.Addr(), first.Addr())
	}
	dial(t, second.Addr()).do("GET k", "$1", "v")

	third := f.FailOver((*redistest.Server).Pause)
	if third == second {
		t.Errorf("%s is the primary still", third.Addr())
	}
	third.Do("SET", "k", "x")
	second.Resume() // and is told whose replica it is
	become(t, second, "k", "x")
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	const key = "{tag}a"
	from, to := c.Owner(key), c.Other(key)
	for _, name := range []string{"a", "b", "c"} {
		from.Do("SET", "{tag}"+name, name)
	}
	expectMoved := func(from, to *redistest.Server) {
		t.Helper()
		dial(t, from.Addr()).do("GET "+key, fmt.Sprintf("-MOVED %d %s", c.Slot(key), to.Addr()))
		dial(t, to.Addr()).do("GET "+key, "$1", "a")
	}

	c.BeginMove(key, to)
	if n := c.MoveKeys(key, to, 1, "{tag}b"); n != 1 {
		t.Errorf("moved %d", n)
	}
	source := dial(t, from.Addr())
	source.do("GET {tag}b", fmt.Sprintf("-ASK %d %s", c.Slot(key), to.Addr()))
	source.do("GET {tag}a", "$1", "a")
	source.send("MGET {tag}a {tag}b")
	if line, err := source.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "-TRYAGAIN") {
		t.Errorf("got %q and %v", line, err)
	}
	for c.MoveKeys(key, to, 1) > 0 {
	}
	c.EndMove(key, to)
	expectMoved(from, to)
	c.Move(key, from)
	expectMoved(to, from)
	if got := c.Owner(key); got != from {
		t.Errorf("the owner is %s, not %s", got.Addr(), from.Addr())
	}

	replica := c.Replica(from)
	c.Switch(replica)
	expectMoved(from, replica)
	from = c.FailOver(key, (*redistest.Server).Kill)
	if from == replica {
		t.Errorf("%s owns the slot still", from.Addr())
	}
	dial(t, from.Addr()).do("GET "+key, "$1", "a")
	replica.Restart()
	back := c.Replica(from)
	if back != replica {
		t.Errorf("%s is the replica, not %s", back.Addr(), replica.Addr())
	}
	c.FailOver(key, (*redistest.Server).Pause)
	from.Resume()
	if got := c.Replica(replica); got != from {
		t.Errorf("%s is the replica, not %s", got.Addr(), from.Addr())
	}
	u, err := url.Parse(c.URL())
	if err != nil || len(u.Query()["addr"]) != 5 {
		t.Errorf("got %q and %v", c.URL(), err)
	}
}
