package rueidis

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

const (
	// maxWires is how many connections a backend keeps for lone callers: as many as the calls of one namespace that are
	// under way at once.
	maxWires = maxFlying
	// wirePause is the time from one attempt to make a wire that has failed to the next: the server may have as many
	// connections as it wants.
	wirePause = time.Second
)

// A wire is a connection for one caller at a time, who writes and reads on the goroutine it already has: handing a lone
// call to another goroutine and back takes longer than the server takes to answer it. Nobody else uses the connection,
// so the end of the caller's context may cut it.
type wire struct {
	client rueidis.Client

	mu   sync.Mutex
	conn net.Conn
	over bool
}

// cut ends the call that is under way, and the wire.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.conn != nil {
		_ = w.conn.Close()
	}
}

func (w *wire) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// wires are those of a backend that are not in use. There are none for a client that is the caller's, for a Cluster or
// Sentinels, whose connections the client itself has to choose, and for client-side caching, which wants all calls on
// one connection.
type wires struct {
	option rueidis.ClientOption
	on     bool

	mu     sync.Mutex
	idle   []*wire
	made   int // idle or in use
	making bool
	after  time.Time // no sooner is one made
	closed bool
}

// allowWires has the backend make wires as it needs them. The client has been made with option.
func (b *Backend) allowWires(option rueidis.ClientOption) {
	if b.opts.tracking || b.client.Mode() != rueidis.ClientModeStandalone {
		return
	}
	option.ForceSingleClient = true
	option.DisableRetry = true
	option.PipelineMultiplex = -1 // one connection
	b.wires.option, b.wires.on = option, true
}

// wire gives an idle wire. If there is none it gives nil, and has one made for the next.
func (b *Backend) wire() *wire {
	ws := &b.wires
	if !ws.on {
		return nil
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if last := len(ws.idle) - 1; last >= 0 {
		w := ws.idle[last]
		ws.idle[last] = nil
		ws.idle = ws.idle[:last]
		return w
	}
	if ws.made < maxWires && !ws.making && !ws.closed && !time.Now().Before(ws.after) {
		ws.making = true
		ws.made++
		if !b.start(b.addWire) {
			ws.making = false
			ws.made--
		}
	}
	return nil
}

func (b *Backend) addWire() {
	ws := &b.wires
	w, err := ws.dial(b.ctx)
	ws.mu.Lock()
	ws.making = false
	if err != nil {
		ws.made--
		ws.after = time.Now().Add(wirePause)
	}
	ws.mu.Unlock()
	if err == nil {
		ws.done(w, true)
	}
}

// dial makes a wire.
func (ws *wires) dial(ctx context.Context) (*wire, error) {
	w := new(wire)
	option := ws.option
	dial := dialer(option)
	option.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
		conn, err := dial(ctx, addr, d, conf)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.over {
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		w.conn = conn
		return conn, nil
	}
	client, err := connect(ctx, option)
	if err != nil {
		return nil, err
	}
	w.client = client
	return w, nil
}

// done takes a wire back. One that is no longer good takes the idle ones with it: what broke it, a restart mostly, has
// broken them, too.
func (ws *wires) done(w *wire, good bool) {
	var old []*wire
	ws.mu.Lock()
	if good && !ws.closed && !w.isCut() {
		ws.idle = append(ws.idle, w)
	} else {
		old = append(old, w)
		if !good && !w.isCut() {
			old = append(old, ws.idle...)
			ws.idle = nil
		}
		ws.made -= len(old)
	}
	ws.mu.Unlock()
	hangUp(old)
}

// close ends all wires. None is in use any more.
func (ws *wires) close() {
	ws.mu.Lock()
	old := ws.idle
	ws.idle, ws.closed = nil, true
	ws.mu.Unlock()
	hangUp(old)
}

func hangUp(old []*wire) {
	for _, w := range old {
		w.cut()
		w.client.Close()
	}
}
