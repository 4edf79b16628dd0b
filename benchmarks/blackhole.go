package benchmarks

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
)

// A blackHole passes connections on to a server until it is open: then whatever is sent vanishes.
type blackHole struct {
	url  string // of the server, through here
	open atomic.Bool

	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

// newBlackHole gives one for the server at that URL, not yet open.
func newBlackHole(server string) (*blackHole, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	h := &blackHole{target: u.Host}
	if h.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	u.Host = h.listener.Addr().String()
	h.url = u.String()
	h.running.Go(h.accept)
	return h, nil
}

func (h *blackHole) accept() {
	for {
		client, err := h.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", h.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !h.keep(client, server) {
			return
		}
		h.running.Go(func() { h.pass(server, client) })
		h.running.Go(func() { h.pass(client, server) })
	}
}

// keep has close close connections, and closes them itself if it is too late for that.
func (h *blackHole) keep(conns ...net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		closeAll(conns)
		return false
	}
	h.conns = append(h.conns, conns...)
	return true
}

func (h *blackHole) pass(dst io.Writer, src io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if err == nil && !h.open.Load() {
			_, err = dst.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// close ends all connections.
func (h *blackHole) close() {
	_ = h.listener.Close()
	h.mu.Lock()
	h.closed = true
	closeAll(h.conns)
	h.mu.Unlock()
	h.running.Wait()
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
