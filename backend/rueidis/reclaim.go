package rueidis

import (
	"context"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	// debtPage tokens at most are dealt with in one call.
	debtPage = 500
	// leasePage leases are looked at in one call.
	leasePage = 1000
	// lateness is how long after the connection is back the server is asked once more: it may read what was sent
	// on the old one only after the first time.
	lateness = time.Second
	// clockSlack covers that the server's clock and ours do not go alike.
	clockSlack = 100 * time.Millisecond
	// debtLife is for how long a request is tried to be taken out of the line. By then the server has passed it over.
	debtLife = time.Minute
	// maxDebts bounds the memory for what is to be given back. Beyond it leases come back when they run out.
	maxDebts = 100_000
	// partingAttempts of Close to give back; see settleLast.
	partingAttempts = 4
)

// lost is a Take, a Lock, an Enter or a Fetch of which nobody knows what became of it.
type lost struct {
	request
	undo   undo
	ttl    time.Duration // of the lease that it asked for
	sent   time.Time     // before the call left
	queues []string      // of a Fetch
}

// undo is what has to be taken back of a request for names, as lockundo.lua takes it.
type undo string

const (
	undoLine undo = "line" // it waits no more, and gives back what was handed to it and not renewed
	undoAll  undo = "all"  // and whatever it has of the names, too
	undoHave undo = "have" // whatever it has of the names
)

// undoMark takes back what a request with a mark was counted for.
func undoMark(mark string) undo { return undo("+" + mark) }

// debts are what this backend has to give back, or take out of a line, and could not yet. One goroutine works on them
// as long as there are any.
type debts struct {
	mu      sync.Mutex
	open    map[*space][]debt
	n       int  // of them, and of those that are being dealt with
	full    bool // and said so
	working bool
	failing bool          // the last attempt has failed: the next one waits, or comes when the server can be reached
	wake    chan struct{} // has room for one
}

// debt is one request.
type debt struct {
	lost
	known bool      // it is known what the server did: the line is the only place to look
	asked bool      // once since the connection is back
	due   time.Time // when to ask
}

// over reports whether there is nothing left to give back, whatever happened.
func (d *debt) over(now time.Time) bool {
	if d.ttl == backend.NoExpiry && !d.known {
		return false
	}
	return d.sent.Add(max(d.ttl, debtLife)).Before(now)
}

// lost sees to it that what these requests were granted is given back, and that they do not wait, as soon as the
// server can be reached. It does not block.
func (b *Backend) lost(sp *space, requests []lost) {
	b.broke()
	b.unknown(sp, requests)
}

// unknown is lost for calls that we ended ourselves: it says nothing about the server.
func (b *Backend) unknown(sp *space, requests []lost) {
	now := time.Now()
	list := make([]debt, len(requests))
	for i, x := range requests {
		if x.sent.IsZero() {
			x.sent = now
		}
		list[i] = debt{lost: x, due: now}
	}
	b.owe(sp, list)
}

// abandoned takes a request out of the line that its caller has given up, and gives back what it was granted. It
// does not block.
func (b *Backend) abandoned(sp *space, r request) {
	now := time.Now()
	b.owe(sp, []debt{{lost: lost{request: r, undo: undoLine, sent: now}, known: true, due: now}})
}

// owe adds to the debts. After Close they are left to the server, where they run out.
func (b *Backend) owe(sp *space, list []debt) {
	d := &b.waits.debts
	d.mu.Lock()
	defer d.mu.Unlock()
	if room := maxDebts - d.n; len(list) > room {
		if !d.full {
			d.full = true
			b.log.Warn("too much to give back, some members come back when their leases run out",
				"namespace", sp.ns.String(), "waiting to be given back", d.n)
		}
		list = list[:room]
	}
	if len(list) == 0 {
		return
	}
	if d.open == nil {
		d.open, d.wake = make(map[*space][]debt), make(chan struct{}, 1)
	}
	d.open[sp] = append(d.open[sp], list...)
	d.n += len(list)
	if !d.working {
		d.working = b.start(b.settle)
		return
	}
	if !d.failing {
		d.rouse()
	}
}

// rouse has the goroutine look at once. It is also called when the server can be reached again.
func (d *debts) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// settle works until there is nothing left.
func (b *Backend) settle() {
	d := &b.waits.debts
	pause := newBackoff(5*time.Millisecond, 250*time.Millisecond)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.ctx.Done(): // what the attempt had in hand that this has ended is back by now
			ctx, cancel := context.WithTimeout(context.Background(), partingTimeout)
			b.settleLast(ctx)
			cancel()
			return
		case <-d.wake:
		case <-timer.C:
		}
		err := b.settleDue(b.ctx, time.Now())
		wait := time.Duration(0)
		if err != nil {
			wait = pause.next()
		} else {
			pause.reset()
		}
		d.mu.Lock()
		d.failing = err != nil
		if d.n == 0 {
			d.working, d.full = false, false
			d.mu.Unlock()
			return
		}
		if err == nil {
			wait = time.Until(d.nextDue())
		}
		d.mu.Unlock()
		timer.Reset(wait)
	}
}

// nextDue is when to go on. The caller holds the mutex.
func (d *debts) nextDue() time.Time {
	next := time.Now().Add(time.Hour)
	for _, list := range d.open {
		for i := range list {
			if list[i].due.Before(next) {
				next = list[i].due
			}
		}
	}
	return next
}

// settleLast tries once more, for Close; and anew if that fails, because each of the client's connections may have been cut
// and not have told yet. What fails then is left to the server.
func (b *Backend) settleLast(ctx context.Context) {
	due := time.Now().Add(lateness)
	for range partingAttempts {
		if b.settleDue(ctx, due) == nil {
			return
		}
	}
}

// settleDue deals with what is due.
func (b *Backend) settleDue(ctx context.Context, now time.Time) error {
	d := &b.waits.debts
	d.mu.Lock()
	due := make(map[*space][]debt)
	for sp, list := range d.open {
		rest := list[:0]
		for _, x := range list {
			switch {
			case x.over(now):
				d.n--
			case x.due.After(now):
				rest = append(rest, x)
			default:
				due[sp] = append(due[sp], x)
			}
		}
		d.set(sp, rest)
	}
	d.mu.Unlock()

	var failed error
	for sp, list := range due {
		left, err := sp.settle(ctx, list)
		if err != nil {
			failed = err
		}
		d.mu.Lock()
		d.n -= len(list) - len(left)
		d.set(sp, append(d.open[sp], left...))
		d.mu.Unlock()
	}
	return failed
}

// set replaces the debts of a space. The caller holds the mutex.
func (d *debts) set(sp *space, list []debt) {
	if len(list) == 0 {
		delete(d.open, sp)
	} else {
		d.open[sp] = list
	}
}
