package integration

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// Toxics of our own: toxiproxy's, but that they leave no goroutine behind when they close a connection, and one that cuts
// at a given byte.
const (
	toxicCutType   = "cut"
	toxicResetType = "reset"
	toxicHoleType  = "hole"
)

var registerToxics = sync.OnceFunc(func() {
	zerolog.SetGlobalLevel(zerolog.Disabled) // one of them knows no other logger
	toxics.Register(toxicCutType, new(toxicCut))
	toxics.Register(toxicResetType, new(toxicReset))
	toxics.Register(toxicHoleType, new(toxicHole))
})

// drain takes what comes until the connection is closed.
func drain(in <-chan *stream.StreamChunk) {
	for range in {
	}
}

// toxicReset is toxiproxy's reset_peer: a connection is reset when something comes on it.
type toxicReset struct{ toxics.ResetToxic }

func (t *toxicReset) Pipe(stub *toxics.ToxicStub) {
	t.ResetToxic.Pipe(stub)
	if stub.Closed() {
		drain(stub.Input)
	}
}

// toxicHole is toxiproxy's timeout: nothing passes. Removed, it closes what was connected.
type toxicHole struct{ toxics.TimeoutToxic }

func (t *toxicHole) Pipe(stub *toxics.ToxicStub) {
	t.TimeoutToxic.Pipe(stub)
	if stub.Closed() {
		drain(stub.Input)
	}
}

func (t *toxicHole) Cleanup(stub *toxics.ToxicStub) {
	t.TimeoutToxic.Cleanup(stub)
	go drain(stub.Input)
}

// toxicCut resets a connection after a byte of a request, a reply or a message, as the cuts of its front say.
type toxicCut struct {
	Cuts       int  `json:"cuts"`
	Downstream bool `json:"downstream"`
}

// NewState gives the connection that is about to begin.
func (t *toxicCut) NewState() any {
	allToxicCuts.Lock()
	defer allToxicCuts.Unlock()
	return allToxicCuts.of[t.Cuts].beginning
}

func (t *toxicCut) Pipe(stub *toxics.ToxicStub) {
	conn := stub.State.(*toxicConn)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			data, cut := conn.cuts.pass(conn, t.Downstream, c.Data)
			if len(data) > 0 {
				stub.Output <- &stream.StreamChunk{Data: data, Timestamp: c.Timestamp}
			}
			if cut {
				stub.Close()
				drain(stub.Input)
				return
			}
		}
	}
}

// toxicWhat is what is cut.
type toxicWhat string

const (
	toxicRequest toxicWhat = "request" // the first one that has the text
	toxicReply   toxicWhat = "reply"   // to that
	toxicMessage toxicWhat = "message" // or reply: the first one that has the text
)

// A toxicOrder is one connection to cut: where a text passes.
type toxicOrder struct {
	what  toxicWhat
	text  []byte
	after int           // bytes, then the connection is reset; negative: only count
	fired chan struct{} // closed when that is done
	at    time.Time     // when

	conn   *toxicConn // where it is
	passed int
	size   int // of what passed in one piece
}

func newToxicOrder(what toxicWhat, text string, after int) *toxicOrder {
	return &toxicOrder{what: what, text: []byte(text), after: after, fired: make(chan struct{})}
}

// toxicCuts are the orders for one front.
type toxicCuts struct {
	id        int
	beginning *toxicConn // that is about to begin

	mu    sync.Mutex
	order *toxicOrder
}

// allToxicCuts are those of all fronts: a toxic knows its own by their number.
var allToxicCuts struct {
	sync.Mutex
	last int
	of   map[int]*toxicCuts
}

func newToxicCuts(tb testing.TB) *toxicCuts {
	all := &allToxicCuts
	all.Lock()
	defer all.Unlock()
	if all.of == nil {
		all.of = make(map[int]*toxicCuts)
	}
	all.last++
	c := &toxicCuts{id: all.last}
	all.of[c.id] = c
	tb.Cleanup(func() {
		all.Lock()
		defer all.Unlock()
		delete(all.of, c.id)
	})
	return c
}

// toxicConn is one connection.
type toxicConn struct{ cuts *toxicCuts }

// begin has both directions that start begins belong to one connection.
func (c *toxicCuts) begin(start func()) {
	c.beginning = &toxicConn{c}
	start()
}

// set gives an order, or none, instead of the one before, about which there is nothing new then.
func (c *toxicCuts) set(o *toxicOrder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order = o
}

// carriedOut tells whether there is nothing left to do for an order.
func (c *toxicCuts) carriedOut(o *toxicOrder) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order != o || o.after < 0 && o.size > 0
}

// pass tells how much of some data goes on, and whether the connection is cut then.
func (c *toxicCuts) pass(conn *toxicConn, downstream bool, data []byte) (out []byte, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.order
	if o == nil {
		return data, false
	}
	if o.conn == nil && downstream == (o.what == toxicMessage) && bytes.Contains(data, o.text) {
		o.conn = conn
		if o.what == toxicReply {
			return data, false
		}
	}
	if o.conn != conn || downstream == (o.what == toxicRequest) {
		return data, false
	}
	if o.size == 0 {
		o.size = len(data)
	}
	if o.after < 0 {
		return data, false
	}
	left := o.after - o.passed
	if len(data) < left {
		o.passed += len(data)
		return data, false
	}
	c.order, o.at = nil, time.Now()
	close(o.fired)
	return data[:left], true
}
