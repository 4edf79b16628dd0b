package rueidis

import (
	"context"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// seen is what the server says of some waiters.
type seen struct {
	known  bool      // the line knew of this process
	fence  int64     // the last one of the namespace
	sent   time.Time // before the question left
	states []state
}

// state is what became of a waiter. One that neither waits nor was granted anything has lost its place.
type state struct {
	grants    []backend.Grant // granted, and not yet renewed
	waits     bool
	unchanged bool // at a glance; it says nothing else
}

// question calls a script that asks about a line, and gives the time before the call left that was answered. A server that
// does not answer holds up neither Close nor anything else for long.
func (sp *space) question(script *rueidis.Lua, keys, argv []string) (reply rueidis.RedisMessage, sent time.Time, err error) {
	type answer struct {
		reply rueidis.RedisMessage
		sent  time.Time
	}
	got, err := await(sp.b.ctx, sp.b, func(ctx context.Context) (a answer, err error) {
		err = sp.b.onceMoved(func() (err error) {
			a.sent = time.Now()
			a.reply, err = sp.callOn(ctx, nil, script, keys, argv)
			return err
		})
		return a, err
	})
	return got.reply, got.sent, err
}

// ask tells the server that this process waits, and asks what became of the waiters given. Those it does not know any
// more are entered again.
func (w *watcher) ask(waiting []*waiter, glance, again bool) error {
	l := w.line
	var missing []*waiter
	for first := true; first || len(waiting) > 0; first = false {
		page := l.kind.page(waiting)
		waiting = waiting[len(page):]
		got, err := l.kind.watch(page, glance && (first || !l.single))
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.recheck = l.recheck || !got.known && again // the next round asks for everyone
		for i, s := range got.states {
			if s.waits {
				page[i].since = got.sent
			}
			if !s.unchanged && len(s.grants) == 0 {
				page[i].fence = got.fence
			}
		}
		l.mu.Unlock()
		for i, s := range got.states {
			switch {
			case s.waits, s.unchanged:
				page[i].unheardOf = time.Time{}
			case len(s.grants) > 0:
				l.deliver(page[i].token(), s.grants, false)
			case page[i].lostPlace(got):
				missing = append(missing, page[i])
			}
		}
	}
	if len(missing) == 0 || !again {
		return nil
	}
	if err := w.enterAgain(missing); err != nil {
		return err
	}
	return w.ask(missing, false, false) // which serves the line
}

// lostPlace reports whether w, which neither waits nor was granted anything as far as the server knows, has lost its place.
// A grant of what is shared leaves nothing to ask for: then the message that tells of it may still be on its way.
func (w *waiter) lostPlace(got seen) bool {
	if !w.req.Take.Shared || !got.known {
		return true
	}
	if w.unheardOf.IsZero() {
		w.unheardOf = got.sent
	}
	return got.sent.Sub(w.unheardOf) >= slowMessage
}

// enterAgain puts waiters in line that have lost their place, in the order in which they came. What is free is handed
// to them afterwards, by the line: so it is known to be theirs, whatever becomes of this call.
func (w *watcher) enterAgain(missing []*waiter) error {
	l := w.line
	b, name := l.sp.b, l.sp.ns.String()
	slices.SortFunc(missing, byArrival)
	for len(missing) > 0 {
		page := l.kind.page(missing)
		missing = missing[len(page):]
		page = slices.DeleteFunc(slices.Clone(page), func(w *waiter) bool {
			waits, _ := l.waits(w)
			return !waits
		})
		if len(page) == 0 {
			continue
		}
		err := l.kind.rejoin(page)
		for _, w := range page {
			if _, left := l.waits(w); left { // meanwhile, perhaps before this call
				b.abandoned(l.sp, w.request())
			}
		}
		if err != nil {
			return err
		}
		b.log.Warn("waiters had lost their place in line and have entered again", "namespace", name, "waiters", len(page))
	}
	return nil
}
