package rueidis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// What is handed to a waiter, its process learns from a message: one channel for each process and namespace, whatever it
// waits for there. All of them are subscribed to on one connection, which the backend keeps as long as it lives, and
// which also tells it when the server was away. What a message looks like is in message.go.
//
// A message may be lost, when the connection is. So the backend asks for all its waiters each time it has subscribed
// anew, and for each of them every few seconds (see watch.go).

const (
	// subscribePatience is how long Enter and Fetch wait for the first subscription to a channel. Without one it is polled
	// for what they wait for.
	subscribePatience = time.Second
	// refusalPause is the time from one attempt to subscribe, which the server has refused, to the next.
	refusalPause = 5 * time.Second
)

// mailbox is the connection on which messages arrive, and what it is for.
type mailbox struct {
	mu       sync.Mutex
	begun    bool
	channels map[string]*space
	wanted   []*space      // not yet subscribed to
	wake     chan struct{} // has room for one

	heads   map[string]*space // free lists that are listened to, or are about to be, by the key of their head; see tracking.go
	unheard []*space          // not yet listened to
}

// subscription is the state of the one for a namespace.
type subscription struct {
	mu      sync.Mutex
	begun   bool          // the mailbox knows of it
	up      bool          // confirmed, and not known to be broken
	had     bool          // it was up once
	err     error         // why it is not, if somebody has tried
	changed chan struct{} // closed when up or err change
}

// set notes that the subscription is up, or why not, and tells whether it has been up before.
func (s *subscription) set(up bool, err error) (had bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had = s.had
	s.up, s.err = up, err
	s.had = s.had || up
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return had
}

func (s *subscription) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

// patience is how long to wait for the subscription: one that was there and broke no longer than until it is polled.
func (s *subscription) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.had {
		return glance
	}
	return subscribePatience
}

// listen has the channel of a namespace subscribed to, once.
func (sp *space) listen() {
	s := &sp.sub
	s.mu.Lock()
	begun := s.begun
	s.begun = true
	s.mu.Unlock()
	if !begun {
		sp.b.receive(sp)
	}
}

// subscribed waits until messages arrive, or until it is known that there is no waiting for that. It fails if ctx
// ends, after Close, and if the server does not allow the channel.
func (sp *space) subscribed(ctx context.Context) error {
	sp.listen()
	s := &sp.sub
	var patience <-chan time.Time
	for {
		s.mu.Lock()
		up, tried := s.up, s.err
		if up {
			s.mu.Unlock()
			return nil
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()

		if tried != nil && isReply(tried) {
			if errors.Is(sp.b.classify(tried), backend.ErrPermission) {
				return tried
			}
			return nil // a server that does not know how to
		}
		if patience == nil {
			t := time.NewTimer(s.patience())
			defer t.Stop()
			patience = t.C
		}
		select {
		case <-changed:
		case <-patience:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-sp.b.ctx.Done():
			return backend.ErrClosed
		}
	}
}

func (sp *space) channel() string { return sp.ns.WakeChannel(sp.b.process) }

// receive starts the mailbox, or has a namespace subscribed to.
func (b *Backend) receive(sp *space) {
	m := &b.waits.mailbox
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake == nil {
		m.channels, m.wake = make(map[string]*space), make(chan struct{}, 1)
	}
	if sp != nil {
		m.channels[sp.channel()] = sp
		m.wanted = append(m.wanted, sp)
		m.rouse()
	}
	if !m.begun {
		m.begun = b.start(b.keepReceiving)
	}
}

// rouse has the mailbox's goroutine look at what is wanted.
func (m *mailbox) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// keepReceiving keeps the connection until Close.
func (b *Backend) keepReceiving() {
	m := &b.waits.mailbox
	pause := newBackoff(10*time.Millisecond, time.Second)
	for b.ctx.Err() == nil {
		begin := time.Now()
		err := b.receiveOn()
		if b.ctx.Err() != nil {
			return
		}
		b.broke()
		m.mu.Lock()
		clear(m.heads)
		m.wanted, m.unheard = m.wanted[:0], nil
		for _, sp := range m.channels {
			m.wanted = append(m.wanted, sp)
			sp.unsubscribed(err)
		}
		m.mu.Unlock()
		if time.Since(begin) > time.Second {
			pause.reset()
		}
		d := pause.next()
		b.log.Warn("connection for messages lost, trying again", "backoff", d, "error", err)
		pauseFor(b.ctx, d)
	}
}

// receiveOn receives on one connection until it breaks, or until Close.
func (b *Backend) receiveOn() error {
	conn, release := b.client.Dedicate()
	defer release()
	defer conn.Close() // with its subscriptions: the client may be the caller's
	m := &b.waits.mailbox
	broken := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(msg rueidis.PubSubMessage) {
			if sp := m.space(msg.Channel); sp != nil {
				sp.message(msg.Message)
			}
		},
		OnSubscription: func(s rueidis.PubSubSubscription) {
			if sp := m.space(s.Channel); sp != nil && s.Kind == "subscribe" {
				sp.confirmed()
			}
		},
	})
	if b.waits.tracker.on.Load() {
		broken = conn.SetOnInvalidations(m.invalidated)
	}
	bounded := func(call func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(b.ctx, b.opts.callTimeout)
		defer cancel()
		return call(ctx)
	}
	call := func(cmd rueidis.Completed) error {
		return bounded(func(ctx context.Context) error { return conn.Do(ctx, cmd).Error() })
	}
	if err := call(conn.B().Ping().Build()); err != nil && !isReply(err) {
		return err
	}
	b.worked()

	var refused []*space
	again := time.NewTicker(refusalPause)
	defer again.Stop()
	for {
		m.mu.Lock()
		wanted, unheard := m.wanted, m.unheard
		m.wanted, m.unheard = nil, nil
		m.mu.Unlock()
		for _, sp := range wanted {
			err := call(conn.B().Subscribe().Channel(sp.channel()).Build())
			if err != nil && !isReply(err) {
				return err
			}
			if err != nil {
				sp.unsubscribed(err)
				refused = append(refused, sp)
				b.log.Warn("no subscription, waits are polled for", "namespace", sp.ns.String(), "error", err)
			}
		}
		for _, sp := range unheard {
			if err := bounded(func(ctx context.Context) error { return sp.hear(ctx, conn) }); err != nil {
				return err
			}
		}
		select {
		case err := <-broken:
			if err == nil {
				err = errors.New("connection closed")
			}
			return err
		case <-m.wake:
		case <-again.C:
			m.mu.Lock()
			m.wanted = append(m.wanted, refused...)
			m.mu.Unlock()
			refused = nil
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
}

// space gives the namespace that a channel belongs to.
func (m *mailbox) space(channel string) *space {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.channels[channel]
}

// confirmed is told that the server has the subscription. It runs on the goroutine that reads the connection.
func (sp *space) confirmed() {
	again := sp.sub.set(true, nil)
	sp.tasks.check()
	if !again {
		return
	}
	for _, l := range sp.lines() {
		l.check()
	}
}

// unsubscribed is told that there is no subscription, and why.
func (sp *space) unsubscribed(err error) {
	sp.sub.set(false, err)
	sp.tasks.unheard()
	for _, l := range sp.lines() {
		l.rouse()
	}
}
