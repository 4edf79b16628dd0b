package redistest_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// behindProxy returns a server's proxy and two clients: one through it and one past it.
func behindProxy(t *testing.T) (proxy *redistest.Proxy, through, past *client) {
	t.Helper()
	server := redistest.Start(t)
	proxy = redistest.NewProxy(t, server.Addr())
	through, past = dial(t, proxy.Addr()), dial(t, server.Addr())
	through.do("PING", "+PONG")
	return proxy, through, past
}

func expectFired(t *testing.T, fired <-chan struct{}) {
	t.Helper()
	select {
	case <-fired:
	case <-time.After(patience):
		t.Fatal("the fault did not fire")
	}
}

// lines returns the lines of a RESP array of strings.
func lines(values ...string) []string {
	list := []string{"*" + strconv.Itoa(len(values))}
	for _, value := range values {
		list = append(list, "$"+strconv.Itoa(len(value)), value)
	}
	return list
}

func request(words ...string) string { return strings.Join(lines(words...), "\r\n") }

func TestProxyPassesEverything(t *testing.T) {
	proxy, c, _ := behindProxy(t)
	if want := "redis://" + proxy.Addr(); proxy.URL() != want {
		t.Errorf("got %q, want %q", proxy.URL(), want)
	}
	big := strings.Repeat("x", 1<<20)
	c.do(request("SET", "k", big), "+OK")
	c.do(request("GET", "k"), "$1048576", big)
	c.do(request("EVAL", "return {1, {'a', false}, {}}", "0"), "*3", ":1", "*2", "$1", "a", "$-1", "*0")
	c.do(request("SET", "empty", ""), "+OK")
	c.do(request("GET", "empty"), "$0", "")
	c.do("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: ")
	c.send("PING\r\nPING\r\nINCR n")
	c.expect("+PONG", "+PONG", ":1")
}

func TestCut(t *testing.T) {
	proxy, c, _ := behindProxy(t)
	proxy.Cut()
	c.expectEnd()
	dial(t, proxy.Addr()).do("PING", "+PONG")
}

func TestRefuse(t *testing.T) {
	proxy, c, _ := behindProxy(t)
	proxy.Refuse()
	c.expectEnd()
	dial(t, proxy.Addr()).expectEnd()
	proxy.Resume()
	dial(t, proxy.Addr()).do("PING", "+PONG")
}

func TestProxyOfAServerThatIsDown(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	c := dial(t, proxy.Addr())
	c.do("PING", "+PONG")
	server.Kill()
	c.expectEnd()
	dial(t, proxy.Addr()).expectEnd()
	server.Restart()
	dial(t, proxy.Addr()).do("PING", "+PONG")
}

func TestDropRequests(t *testing.T) {
	proxy, c, past := behindProxy(t)
	proxy.Drop(redistest.Requests)
	c.send("INCR n")
	c.expectSilence()
	past.do("GET n", "$-1")
	proxy.Resume()
	c.expectEnd()
	past.do("GET n", "$-1")
}

func TestDropReplies(t *testing.T) {
	proxy, c, past := behindProxy(t)
	proxy.Drop(redistest.Replies)
	c.send("INCR n")
	past.becomes("n", "1")
	c.expectSilence()
	proxy.Resume()
	c.expectEnd()
}

func TestDropSparesWhoeverIsSilent(t *testing.T) {
	proxy, c, _ := behindProxy(t)
	proxy.Drop(redistest.Both)
	proxy.Resume()
	c.do("PING", "+PONG")
}

func TestDropHidesTheEndOfAConnection(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	c := dial(t, proxy.Addr())
	c.do("PING", "+PONG")
	proxy.Drop(redistest.Replies)
	server.Kill()
	c.expectSilence()
	proxy.Resume()
	c.expectEnd()

	server.Restart()
	c, past := dial(t, proxy.Addr()), dial(t, server.Addr())
	c.do("CLIENT SETNAME c", "+OK")
	proxy.Drop(redistest.Requests)
	c.Close()
	listed := func() bool {
		past.send("CLIENT LIST")
		var n int
		if _, err := fmt.Fscanf(past.r, "$%d\r\n", &n); err != nil {
			t.Fatal(err)
		}
		list := make([]byte, n+2)
		if _, err := io.ReadFull(past.r, list); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(list), " name=c ")
	}
	if !listed() {
		t.Error("the server knows that the client is gone")
	}
	proxy.Resume()
	for deadline := time.Now().Add(patience); listed(); {
		if time.Now().After(deadline) {
			t.Fatal("the server never learned that the client is gone")
		}
	}
}

func TestHold(t *testing.T) {
	for _, d := range []redistest.Direction{redistest.Requests, redistest.Replies, redistest.Both} {
		proxy, c, past := behindProxy(t)
		proxy.Hold(d)
		c.send("INCR n\r\nINCR n")
		if d == redistest.Replies {
			past.becomes("n", "2")
		}
		c.expectSilence()
		if d != redistest.Replies {
			past.do("GET n", "$-1")
		}
		proxy.Resume()
		c.expect(":1", ":2")
	}
}

func TestHeldRequestsOfACutConnectionAreLost(t *testing.T) {
	proxy, c, past := behindProxy(t)
	proxy.Hold(redistest.Requests)
	c.send("INCR n")
	c.expectSilence()
	proxy.Cut()
	c.expectEnd()
	proxy.Resume()
	past.do("GET n", "$-1")
}

func TestCutRequest(t *testing.T) {
	proxy, c, past := behindProxy(t)
	fired := proxy.CutRequest(redistest.Nth(2, "incr"))
	c.do("INCR n", ":1")
	c.do("PING", "+PONG")
	c.send(request("INCR", "n"))
	expectFired(t, fired)
	c.expectEnd()
	past.do("GET n", "$1", "1")
	dial(t, proxy.Addr()).do("INCR n", ":2")
}

func TestCutReply(t *testing.T) {
	proxy, c, past := behindProxy(t)
	other := dial(t, proxy.Addr())
	fired := proxy.CutReply(redistest.Nth(2, "INCR"))
	c.send("INCR n\r\nPING\r\nINCR n\r\nPING")
	c.expect(":1", "+PONG")
	c.expectEnd()
	expectFired(t, fired)
	past.do("GET n", "$1", "2")
	other.do("INCR n", ":3")
}

func TestNthWithoutCommandsCountsAll(t *testing.T) {
	proxy, c, past := behindProxy(t)
	proxy.CutRequest(redistest.Nth(3))
	c.do("INCR n", ":1")
	c.do("PING", "+PONG")
	c.send("INCR n")
	c.expectEnd()
	past.do("GET n", "$1", "1")
}

func TestFaultsFireOneAfterTheOther(t *testing.T) {
	proxy, c, past := behindProxy(t)
	seen := 0
	first := proxy.CutReply(func(request []string) bool { seen++; return request[len(request)-1] == "a b" })
	second := proxy.CutRequest(redistest.Nth(1, "SET"))
	c.send(request("SET", "k", "a b"))
	c.expectEnd()
	expectFired(t, first)
	again := dial(t, proxy.Addr())
	again.send(request("SET", "k", "c"))
	again.expectEnd()
	expectFired(t, second)
	past.do("GET k", "$3", "a b")
	if seen != 1 {
		t.Errorf("the first fault saw %d requests, want none after its own", seen)
	}
}

// Messages come between replies and must not be counted as such.
func TestCutReplyAmongMessages(t *testing.T) {
	t.Run("RESP3", func(t *testing.T) {
		proxy, c, past := behindProxy(t)
		fired := proxy.CutReply(redistest.Nth(1, "INCR"))
		c.send("HELLO 3")
		for line := ""; line != "modules\r\n"; {
			var err error
			if line, err = c.r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		c.expect("*0")
		c.do("SUBSCRIBE news", ">3", "$9", "subscribe", "$4", "news", ":1")
		past.do("PUBLISH news one", ":1")
		c.expect(">3", "$7", "message", "$4", "news", "$3", "one")
		c.do("PING", "+PONG")
		c.send("INCR n")
		c.expectEnd()
		expectFired(t, fired)
	})
	t.Run("RESP2", func(t *testing.T) {
		proxy, c, past := behindProxy(t)
		fired := proxy.CutReply(redistest.Nth(2, "PING"))
		c.do("SUBSCRIBE news", "*3", "$9", "subscribe", "$4", "news", ":1")
		past.do("PUBLISH news one", ":1")
		c.expect(lines("message", "news", "one")...)
		c.do("PING", lines("pong", "")...)
		past.do("PUBLISH news two", ":1")
		c.expect(lines("message", "news", "two")...)
		c.send("PING")
		c.expectEnd()
		expectFired(t, fired)
	})
}

func TestProxyWithoutAServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dial(t, redistest.NewProxy(t, addr).Addr()).expectEnd()
}
