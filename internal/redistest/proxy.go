package redistest

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Direction is one way through a proxy, or both.
type Direction uint8

// The directions.
const (
	Requests Direction = 1 << iota // from the client to the server
	Replies                        // from the server to the client
	Both     = Requests | Replies
)

// A Proxy passes connections on to a server and breaks them when told to. It understands the protocol, so
// that it can cut a connection exactly before a request or its reply. Its methods may be called at any time
// and from any goroutine.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu            sync.Mutex
	refusing      bool
	held, dropped Direction
	changed       chan struct{} // closed when one of the three changes
	faults        []*fault
	links         map[*link]bool
}

// A Match picks a request by its words, the command's name first. A proxy shows it each request that is about
// to be forwarded, one at a time, until it says yes.
type Match func(request []string) bool

// Nth matches the nth request, counted from one, among those with the given commands or, with none given,
// among all.
func Nth(n int, commands ...string) Match {
	return func(request []string) bool {
		counts := len(commands) == 0
		for _, command := range commands {
			counts = counts || len(request) > 0 && strings.EqualFold(request[0], command)
		}
		if counts {
			n--
		}
		return counts && n == 0
	}
}

// A fault waits for its request.
type fault struct {
	match Match
	at    Direction // Requests: cut before the request, Replies: before its reply
	fired chan struct{}
}

// A link is one connection through the proxy. The proxy's mutex guards it.
type link struct {
	client, server net.Conn
	gone           chan struct{} // closed when the link is cut
	lost           Direction     // where bytes were dropped
	pending        []*fault      // of each request whose reply is still to come its fault, or nil
	subscribed     bool
}

// NewProxy starts a proxy in front of the server at addr, which need not run yet. It ends with the test.
func NewProxy(tb testing.TB, addr string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	p := &Proxy{
		target:   addr,
		listener: listener,
		changed:  make(chan struct{}),
		links:    make(map[*link]bool),
	}
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		p.Refuse()
		_ = listener.Close() // ends accept
		p.running.Wait()
	})
	return p
}

// Addr returns the proxy's host and port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL returns the URL of the server as seen through the proxy.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Cut closes all connections at both ends. New ones are welcome.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAll()
}

// Refuse closes all connections and, until [Proxy.Resume], each new one as soon as it is made.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	p.cutAll()
}

// Drop makes the proxy a black hole: connections stay open and can be made, and what is sent in direction d
// vanishes, as does the news that a connection was closed. A connection that lost something this way is cut
// at [Proxy.Resume], because a stream with a hole in it cannot go on.
func (p *Proxy) Drop(d Direction) { p.set(func() { p.dropped |= d; p.held &^= d }) }

// Hold keeps back what is sent in direction d until [Proxy.Resume], which delivers it all in order.
func (p *Proxy) Hold(d Direction) { p.set(func() { p.held |= d; p.dropped &^= d }) }

// Resume ends [Proxy.Refuse], [Proxy.Drop] and [Proxy.Hold].
func (p *Proxy) Resume() { p.set(func() { p.refusing, p.held, p.dropped = false, 0, 0 }) }

// CutRequest cuts the connection of the first request that match picks, before any of it is forwarded.
// Replies to earlier requests of that connection may be lost with it. The channel is closed when it is done.
func (p *Proxy) CutRequest(match Match) <-chan struct{} { return p.add(match, Requests) }

// CutReply forwards the first request that match picks and cuts its connection when the server has carried
// it out, before any of the reply is delivered. Earlier requests get their replies. The channel is closed
// when it is done.
func (p *Proxy) CutReply(match Match) <-chan struct{} { return p.add(match, Replies) }

func (p *Proxy) add(match Match, at Direction) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &fault{match, at, make(chan struct{})}
	p.faults = append(p.faults, f)
	return f.fired
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	for l := range p.links {
		if l.lost&^p.dropped != 0 {
			p.cut(l)
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) cutAll() {
	for l := range p.links {
		p.cut(l)
	}
}

// cut closes both ends of a link. The caller holds the mutex.
func (p *Proxy) cut(l *link) {
	if !p.links[l] {
		return
	}
	delete(p.links, l)
	close(l.gone)
	l.client.Close()
	if l.server != nil {
		l.server.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.refusing {
			client.Close()
		} else {
			l := &link{client: client, gone: make(chan struct{})}
			p.links[l] = true
			p.running.Go(func() { p.connect(l) })
		}
		p.mu.Unlock()
	}
}

func (p *Proxy) connect(l *link) {
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.cut(l)
	case !p.links[l]:
		server.Close()
	default:
		l.server = server
		p.running.Go(func() { p.pump(l, Requests, l.client, l.server, p.request) })
		p.running.Go(func() { p.pump(l, Replies, l.server, l.client, p.reply) })
	}
}

// pump passes on what comes from src until the link is cut. Of each frame admit says whether it goes on.
func (p *Proxy) pump(l *link, d Direction, src, dst net.Conn, admit func(*link, []byte) bool) {
	r := bufio.NewReader(src)
	for {
		frame, err := readFrame(r)
		if err != nil {
			p.await(l, d)
			break
		}
		if p.drops(l, d) {
			continue
		}
		if !admit(l, frame) {
			break
		}
		if _, err := dst.Write(frame); err != nil {
			p.await(l, Both&^d) // the way that the news of it takes
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut(l)
}

// await returns when direction d is open or the link is cut.
func (p *Proxy) await(l *link, d Direction) {
	p.hold(l, func() bool { return (p.held|p.dropped)&d == 0 })
}

// drops waits while direction d is held and reports whether it then is a black hole.
func (p *Proxy) drops(l *link, d Direction) (dropped bool) {
	p.hold(l, func() bool {
		dropped = p.dropped&d != 0
		if dropped {
			l.lost |= d
		}
		return p.held&d == 0
	})
	return dropped
}

// hold returns when open, which it calls with the mutex held, says so or the link is cut.
func (p *Proxy) hold(l *link, open func() bool) {
	for {
		p.mu.Lock()
		changed, done := p.changed, open()
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-l.gone:
			return
		}
	}
}

// request looks for a fault that waits for this request, and carries it out or leaves it for the reply.
func (p *Proxy) request(l *link, frame []byte) bool {
	request, err := words(frame)
	if err != nil || len(request) == 0 {
		return err == nil // an empty line gets no reply
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var found *fault
	for i, f := range p.faults {
		if f.match(request) {
			found = f
			p.faults = append(p.faults[:i:i], p.faults[i+1:]...)
			break
		}
	}
	if found != nil && found.at == Requests {
		p.cut(l)
		close(found.fired)
		return false
	}
	if subscribes(request) {
		l.subscribed = true // and is answered by pushes
	} else {
		l.pending = append(l.pending, found)
	}
	return true
}

// reply finds the request that a reply belongs to, and carries out the fault that was left for it.
func (p *Proxy) reply(l *link, frame []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(l.pending) == 0 || isPush(frame, l.subscribed) {
		return true
	}
	f := l.pending[0]
	l.pending = l.pending[1:]
	if f == nil {
		return true
	}
	p.cut(l)
	close(f.fired)
	return false
}

func subscribes(request []string) bool {
	return strings.HasSuffix(strings.ToLower(request[0]), "subscribe")
}

// isPush reports whether a frame is no reply to a request. Before RESP3 such frames look like replies, but
// for their first word.
func isPush(frame []byte, subscribed bool) bool {
	if frame[0] == '>' {
		return true
	}
	if !subscribed || frame[0] != '*' {
		return false
	}
	list, err := words(frame)
	return err == nil && len(list) > 0 && (subscribes(list) || strings.HasSuffix(list[0], "message"))
}
