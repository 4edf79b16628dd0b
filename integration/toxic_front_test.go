package integration

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// A toxicFront is a toxiproxy in front of a server that owns its connections: it can reset, half close and hang up either
// end, which toxics cannot, and leaves no goroutine behind.
type toxicFront struct {
	tb       testing.TB
	target   string
	listener net.Listener
	proxy    *toxiproxy.Proxy // only its toxics: it does not listen itself
	server   *toxiproxy.ApiServer
	running  sync.WaitGroup
	cuts     *toxicCuts

	mu     sync.Mutex
	closed bool
	links  map[*toxicLink]bool
}

// A toxicLink is one connection through a front.
type toxicLink struct {
	client, server *toxicEnd
}

// A toxicEnd is one end of a connection. Once it cannot be written to any more it takes everything, so that the toxics in
// front of it never stand still.
type toxicEnd struct {
	*net.TCPConn
	gone func()
	once sync.Once
}

func (e *toxicEnd) Write(b []byte) (int, error) {
	_, _ = e.TCPConn.Write(b) // reading tells that it is gone
	return len(b), nil
}

// ReadFrom hides that of the connection, which knows how to fail.
func (e *toxicEnd) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{e}, r)
}

// Close resets the connection.
func (e *toxicEnd) Close() error {
	_ = e.SetLinger(0)
	err := e.TCPConn.Close()
	e.once.Do(e.gone)
	return err
}

// newToxicFront starts a front of a server, which ends with the test.
func newToxicFront(tb testing.TB, addr string) *toxicFront {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	f := &toxicFront{tb: tb, target: addr, listener: listener, links: make(map[*toxicLink]bool)}
	registerToxics()
	f.server = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	f.proxy = toxiproxy.NewProxy(f.server, "front", listener.Addr().String(), addr)
	f.cuts = newToxicCuts(tb)
	for _, direction := range []string{"upstream", "downstream"} {
		f.add(toxicCutType, direction, map[string]any{"cuts": f.cuts.id, "downstream": direction == "downstream"})
	}
	f.running.Go(f.accept)
	tb.Cleanup(func() {
		_ = listener.Close()
		f.mu.Lock()
		f.closed = true
		f.mu.Unlock()
		f.clean()
		f.each(func(l *toxicLink) {
			_ = l.client.Close()
			_ = l.server.Close()
		})
		f.running.Wait()
	})
	return f
}

func (f *toxicFront) url() string { return "redis://" + f.listener.Addr().String() }

func (f *toxicFront) accept() {
	pprof.SetGoroutineLabels(context.Background()) // what a front leaves behind is no fault of who is tested
	for n := 0; ; n++ {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		upstream, err := net.DialTimeout("tcp", f.target, patience)
		if err != nil {
			_ = conn.Close()
			continue
		}
		l := new(toxicLink)
		open := 2
		gone := func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if open--; open == 0 {
				delete(f.links, l)
				f.running.Done()
			}
		}
		l.client = &toxicEnd{TCPConn: conn.(*net.TCPConn), gone: gone}
		l.server = &toxicEnd{TCPConn: upstream.(*net.TCPConn), gone: gone}
		f.mu.Lock()
		f.links[l] = true
		f.running.Add(1)
		closed := f.closed
		f.mu.Unlock()
		if closed {
			_ = l.client.Close()
			_ = l.server.Close()
			return
		}
		name := conn.RemoteAddr().String()
		f.cuts.begin(func() {
			f.proxy.Toxics.StartLink(f.server, name+"up", l.client, l.server, stream.Upstream)
			f.proxy.Toxics.StartLink(f.server, name+"down", l.server, l.client, stream.Downstream)
		})
	}
}

// each does something with all connections.
func (f *toxicFront) each(do func(*toxicLink)) {
	f.mu.Lock()
	list := make([]*toxicLink, 0, len(f.links))
	for l := range f.links {
		list = append(list, l)
	}
	f.mu.Unlock()
	for _, l := range list {
		do(l)
	}
}

// add adds a toxic to all connections, and to those that come.
func (f *toxicFront) add(kind, direction string, attributes map[string]any) {
	f.tb.Helper()
	text, err := json.Marshal(map[string]any{
		"name": kind + direction, "type": kind, "stream": direction, "toxicity": 1, "attributes": attributes,
	})
	require.NoError(f.tb, err)
	_, err = f.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
	require.NoError(f.tb, err)
}

// clean removes all toxics but the cuts. What lost something is reset.
func (f *toxicFront) clean() {
	for _, t := range f.proxy.Toxics.GetToxicArray() {
		if wrapper, ok := t.(*toxics.ToxicWrapper); ok && wrapper.Type != toxicCutType {
			_ = f.proxy.Toxics.RemoveToxic(context.Background(), wrapper.Name)
		}
	}
}
