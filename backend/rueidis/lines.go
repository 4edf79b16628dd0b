package rueidis

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// partingTimeout bounds what Close still says to the server.
const partingTimeout = time.Second

// lines is what the backend knows of all lines.
type lines struct {
	mailbox mailbox
	debts   debts
	reached reachability
	tracker tracker
}

// line is what the backend knows of those of its own who wait in a namespace: for members of its pool, or for names. All
// lines for names are one here, because a request may be in several of them.
type line struct {
	sp     *space
	kind   lineKind
	single bool // the line of a pool: not more than one waiter is in front

	mu      sync.Mutex
	closed  bool
	arrived uint64             // number of the last arrival
	waiters map[string]*waiter // by token

	// For the goroutine that watches, see watch.go.
	watching bool
	looksAt  time.Time          // when it looks next, unless it is roused; zero: not known
	wake     chan struct{}      // has room for one
	fronts   map[string]*waiter // those who are first in line
	round    uint64             // of looking at them
	recheck  bool               // something may have been lost: ask for everyone
	heard    bool               // something may have come free
}

// lineKind is what differs from one kind of line to another: how the server is talked to.
type lineKind interface {
	// enter takes what w asks for, or joins the line. The error is complete.
	enter(ctx context.Context, w *waiter) (entered, error)

	// watch says that the process lives and asks what became of some waiters, as many as page gave. It notes who is first
	// in line. A glance has the server look for what has come free without a word; it need not tell of those for whom
	// there is nothing.
	watch(page []*waiter, glance bool) (seen, error)

	// rejoin puts waiters in line that have lost their place, and takes nothing.
	rejoin(page []*waiter) error

	// leaving is the call that takes requests out of the line and gives back what they were granted and have not renewed.
	leaving(list []request) invocation

	// page gives the beginning of a list that may travel in one call.
	page(list []*waiter) []*waiter
}

// entered is what came of an attempt to take, or to lock, at once or by joining the line.
type entered struct {
	grants   []backend.Grant // granted, if not empty
	waiting  bool            // it has joined the line
	first    bool            // nobody is in front; for names: in one of the lines
	deadline time.Duration   // until the next lease ends that it waits for, if it is first; negative if none does
	known    bool            // the line knew of this process before
	sent     time.Time       // before the call left
}

// waiter is a request that waits, or whose Enter is under way.
type waiter struct {
	req      backend.EnterRequest
	arrival  uint64 // orders the waiters of this process
	joined   bool   // the server has said that it waits
	left     bool   // its caller has given up, or was told that there will be nothing
	handover chan backend.Handover

	since     time.Time // when the last call left that showed that it had been granted nothing
	fence     int64     // the last one that the namespace had given out when nothing was granted, as far as is known
	nextLapse time.Time // of the first in line: when the next lease ends that it waits for, if one does
	told      time.Time // when a message has said last that it is first in line
	round     uint64    // the last one in which it was asked for
	unheardOf time.Time // since when the server knows nothing of it; for the watching goroutine alone
}

func newWaiter(req backend.EnterRequest) *waiter {
	return &waiter{req: req, since: time.Now(), handover: make(chan backend.Handover, 1)}
}

func (w *waiter) token() string { return w.req.Owner() }

// claim is the TTL of what is handed to w.
func (w *waiter) claim() time.Duration {
	if w.req.ClaimTTL == 0 {
		return backend.DefaultClaimTTL
	}
	return w.req.ClaimTTL
}

// request is who waits, or has waited.
func (w *waiter) request() request {
	r := request{token: w.token()}
	for i := range w.req.Lock.Items {
		r.names = append(r.names, w.req.Lock.Items[i].Name)
	}
	return r
}

// request is who asks for members or, if there are any, for names.
type request struct {
	token string
	names []string
}

// line gives the one that a request is for.
func (sp *space) lineOf(names []string) *line {
	if len(names) > 0 {
		return &sp.lockLine
	}
	return &sp.line
}

func (sp *space) lines() [2]*line { return [2]*line{&sp.line, &sp.lockLine} }

// openLines is called once, at the end of construction. It does not wait for the connection.
func (b *Backend) openLines(context.Context) error {
	b.receive(nil)
	return nil
}

// closeLines is called once, by Close, after b.ctx has ended. It ends all waits, and says so to the server, as far as
// that can be reached at once: those who wait elsewhere need not find out.
func (b *Backend) closeLines() {
	ctx, cancel := context.WithTimeout(context.Background(), partingTimeout)
	var parting sync.WaitGroup
	for _, sp := range b.allSpaces() {
		sp.tasks.close()
		for _, l := range sp.lines() {
			if list := l.close(); len(list) > 0 {
				parting.Go(func() {
					for len(list) > 0 {
						page := pageOf(list, debtPage, func(r request) int { return len(r.names) })
						if l.depart(ctx, page) != nil {
							return
						}
						list = list[len(page):]
					}
				})
			}
		}
	}
	parting.Go(func() { b.settleLast(ctx) })
	parting.Wait()
	cancel()
}

// close ends all waits and gives those who are in line.
func (l *line) close() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var list []request
	for _, w := range l.waiters {
		w.left = true
		if w.joined {
			list = append(list, w.request())
		}
		w.handover <- backend.Handover{Err: backend.ErrClosed, Since: w.since}
	}
	clear(l.waiters)
	clear(l.fronts)
	return list
}

// Enter takes at once or joins the line; see [backend.Lines]. It is one round trip, but for the first one in a namespace,
// which subscribes to the channel on which this backend is told of hand-overs.
func (b *Backend) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	ns := req.Space()
	if err := req.Validate(); err != nil {
		return backend.EnterReply{}, b.fail(ctx, "enter", ns, err)
	}
	sp, err := b.space(ns)
	if err != nil {
		return backend.EnterReply{}, b.fail(ctx, "enter", ns, err)
	}
	if err := sp.subscribed(ctx); err != nil {
		return backend.EnterReply{}, b.fail(ctx, "enter", ns, err)
	}
	l := &sp.line
	if req.ForLocks() {
		l = &sp.lockLine
	}
	w := newWaiter(req)
	if err := l.expect(w); err != nil { // before anything is sent: the message may be faster than the reply
		return backend.EnterReply{}, b.fail(ctx, "enter", ns, err)
	}
	got, err := l.kind.enter(ctx, w)
	if err != nil || len(got.grants) > 0 {
		l.forget(w.token())
		return backend.EnterReply{Grants: got.grants}, err
	}
	l.joined(w, got)
	return backend.EnterReply{Handover: w.handover}, nil
}

// expect makes w known, so that a message for it finds it.
func (l *line) expect(w *waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return backend.ErrClosed
	}
	if l.waiters[w.token()] != nil {
		return &backend.InvalidError{Field: "token", Value: strconv.Quote(w.token()), Reason: "waits already"}
	}
	if l.waiters == nil {
		l.waiters, l.fronts = make(map[string]*waiter), make(map[string]*waiter)
	}
	l.arrived++
	w.arrival = l.arrived
	l.waiters[w.token()] = w
	return nil
}

// forget takes a waiter out; false if there is none under that token.
func (l *line) forget(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.take(token)
	if w == nil {
		return false
	}
	w.left = true
	return true
}

// take is forget for those who hold the mutex, and gives the waiter.
func (l *line) take(token string) *waiter {
	w := l.waiters[token]
	delete(l.waiters, token)
	delete(l.fronts, token)
	return w
}

// waits reports whether w still waits, or whether it has left; else it was handed something, or told why not.
func (l *line) waits(w *waiter) (waits, left bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiters[w.token()] == w, w.left
}

// joined notes that the server has put w in line, and has somebody watch.
func (l *line) joined(w *waiter, got entered) {
	l.mu.Lock()
	if l.waiters[w.token()] != w { // handed over meanwhile, or closed
		l.mu.Unlock()
		return
	}
	w.joined = true
	w.since = got.sent
	if got.first && w.told.IsZero() { // else a message knows better: it came after w had joined
		l.leads(w, got.deadline)
	}
	if !got.known && len(l.waiters) > 1 {
		l.recheck = true
	}
	rouse := got.first || l.recheck
	l.watch()
	l.mu.Unlock()
	if rouse {
		l.rouse()
	}
}

// deliver hands grants to the waiter under token. Without one they are left to whoever gave up that wait: Leave, or
// the backend itself, gives them back. What was told comes from a message; a message that was on its way while the
// server said that nothing was granted speaks of an earlier hand-over, which is over.
func (l *line) deliver(token string, grants []backend.Grant, told bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waiters[token]
	if w == nil || !w.fits(grants) {
		return
	}
	ttl := w.claim()
	if w.req.Take.Shared {
		ttl = backend.NoExpiry
	}
	for i := range grants {
		grants[i].TTL = ttl
		if told && w.fence > 0 && grants[i].Fence <= w.fence && !w.req.Take.Shared {
			return
		}
	}
	l.take(token)
	w.handover <- backend.Handover{Grants: grants, Since: w.since}
}

// fits reports whether grants can be what w asked for.
func (w *waiter) fits(grants []backend.Grant) bool {
	items := w.req.Lock.Items
	if len(items) == 0 {
		return true
	}
	if len(grants) != len(items) {
		return false
	}
	for i := range items {
		if grants[i].Member != items[i].Name {
			return false
		}
	}
	return true
}

// refuse ends the wait of w without a grant.
func (l *line) refuse(w *waiter, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiters[w.token()] == w {
		l.take(w.token())
		w.left = true
		w.handover <- backend.Handover{Err: err, Since: w.since}
	}
}

// refuseToken is refuse for whoever waits under a token.
func (l *line) refuseToken(token string, err error) {
	l.mu.Lock()
	w := l.waiters[token]
	l.mu.Unlock()
	if w != nil {
		l.refuse(w, err)
	}
}

// Leave takes a request out of the line and gives back what it was granted; see [backend.Lines]. If the server cannot
// be asked now, that is done as soon as it can, whatever the error says.
func (b *Backend) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	var none backend.LeaveReply
	if err := req.Validate(); err != nil {
		return none, b.fail(ctx, "leave", req.Namespace, err)
	}
	sp, err := b.space(req.Namespace)
	if err != nil {
		return none, b.fail(ctx, "leave", req.Namespace, err)
	}
	r := request{token: req.Token, names: req.Names}
	l := sp.lineOf(r.names)
	l.forget(req.Token)
	call := l.kind.leaving([]request{r})
	reply, err := b.exec(ctx, "leave", sp.ns, call.script, call.keys, call.argv)
	if err != nil {
		if !isReply(err) {
			b.abandoned(sp, r)
		}
		return none, err
	}
	counts, err := reply.AsIntSlice()
	if err != nil || len(counts) != 2 {
		return none, b.fail(ctx, "leave", sp.ns, errReply)
	}
	return backend.LeaveReply{Waiting: counts[0] == 1, Returned: int(counts[1])}, nil
}

// depart takes requests out of the line, and gives back what they were granted and have not renewed.
func (l *line) depart(ctx context.Context, list []request) error {
	_, err := l.kind.leaving(list).carryOut(ctx, l.sp.b)
	return err
}

// invocation is a call of a script.
type invocation struct {
	script     *rueidis.Lua
	keys, argv []string
}

// carryOut calls it on the calling goroutine. The error is as the client gave it.
func (c invocation) carryOut(ctx context.Context, b *Backend) (rueidis.RedisMessage, error) {
	var reply rueidis.RedisMessage
	err := b.onceMoved(func() (err error) {
		reply, err = c.script.Exec(ctx, b.client, c.keys, c.argv).ToMessage()
		return err
	})
	b.waits.tracker.changed(c.script)
	b.reach(err)
	return reply, err
}
