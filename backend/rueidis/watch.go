package rueidis

import (
	"cmp"
	"slices"
	"time"
)

// While somebody waits in a line, one goroutine watches. Every beat it tells the server that this process lives, and asks
// for each of its waiters whether it still waits: that finds what a lost message would have said, and a hand-over then
// counts from a moment that is not long ago. It asks for askPage of them in one call, which takes the server some tenths
// of a millisecond for a pool or a single name, and up to two milliseconds if each waits for another name.
//
// For those of our own who are first in line it also has the server look for what has come free without a word: at the
// end of the next lease that they wait for, and every glance. In the line of a pool that is one waiter at most. Of those
// who wait for names it may be as many as there are names: a glance at askPage of them is then one EXISTS, as long as none
// has come free.
const (
	// beat is shorter than a third of LIFE in constants.lua.
	beat = 1500 * time.Millisecond
	// glance is the pause between two looks at members that Python or an administrator may have freed.
	glance = 230 * time.Millisecond
	// glancePage members are looked at in each.
	glancePage = 100
	// askPage tokens at most are asked for in one call, and entered again in one.
	askPage = 200
	// beatMost waiters are asked for in one beat, those first who were not for the longest time. With more of them it
	// takes several beats until all are.
	beatMost = 25 * askPage
	// slowMessage is how long a message may take before it counts as lost, where that cannot be asked for.
	slowMessage = time.Second
	// lapsePause is between two looks at leases that have ended, so that many ends are looked at together.
	lapsePause = 5 * time.Millisecond
)

// rouse has the watching goroutine look at what has changed.
func (l *line) rouse() {
	l.mu.Lock()
	wake := l.wake
	l.mu.Unlock()
	select {
	case wake <- struct{}{}: // never, if nobody has watched yet
	default:
	}
}

// check has everyone asked for who waits, if anybody does.
func (l *line) check() {
	l.mu.Lock()
	waiting := len(l.waiters) > 0
	l.recheck = waiting
	l.mu.Unlock()
	if waiting {
		l.rouse()
	}
}

// lead notes that token is first in line, if it is one of ours, and has the next end of a lease watched.
func (l *line) lead(token string, deadline time.Duration) {
	l.mu.Lock()
	w := l.waiters[token]
	late := false
	if w != nil {
		w.told = time.Now()
		l.leads(w, deadline)
		late = l.late(w)
	}
	l.mu.Unlock()
	if late {
		l.rouse()
	}
}

// late reports whether the goroutine that watches has to be roused for w, who is now first in line: because it would look
// too late, or has to listen to the free list. The caller holds the mutex.
func (l *line) late(w *waiter) bool {
	if l.single && l.sp.b.waits.tracker.on.Load() {
		return true
	}
	soon := time.Now().Add(glance)
	if !w.nextLapse.IsZero() && w.nextLapse.Before(soon) {
		soon = w.nextLapse
	}
	return l.looksAt.IsZero() || l.looksAt.After(soon)
}

// leads is lead for those who hold the mutex and have the waiter.
func (l *line) leads(w *waiter, deadline time.Duration) {
	if l.single {
		clear(l.fronts)
	}
	l.fronts[w.token()], w.nextLapse = w, time.Time{}
	if deadline >= 0 {
		w.nextLapse = time.Now().Add(deadline + time.Millisecond)
	}
}

// watch starts the goroutine unless it runs. The caller holds the mutex and has just added a waiter.
func (l *line) watch() {
	if l.watching {
		return
	}
	if l.wake == nil {
		l.wake = make(chan struct{}, 1)
	}
	l.watching = l.sp.b.start(func() { l.keepWatching(l.wake) })
}

// keepWatching runs until nobody waits any more.
func (l *line) keepWatching(wake <-chan struct{}) {
	b := l.sp.b
	w := &watcher{line: l, failures: newBackoff(20*time.Millisecond, time.Second)}
	w.beatAt, w.glanceAt = time.Now().Add(jitter(beat)), time.Now().Add(jitter(glance))
	timer := time.NewTimer(jitter(glance))
	defer timer.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		l.mu.Lock()
		if len(l.waiters) == 0 || l.closed {
			l.watching, l.looksAt = false, time.Time{}
			l.mu.Unlock()
			return
		}
		next := w.due()
		l.looksAt = next
		front := len(l.fronts) > 0
		l.mu.Unlock()
		if front && l.single && b.waits.tracker.on.Load() && !b.cluster { // in a cluster the mailbox is on any node
			b.waits.mailbox.hears(l.sp)
		}
		if time.Until(next) <= 0 {
			w.look()
			l.mu.Lock()
			next = w.due()
			l.looksAt = next
			l.mu.Unlock()
		}
		timer.Reset(time.Until(next))
	}
}

// watcher is the state of the goroutine that watches.
type watcher struct {
	line             *line
	beatAt, glanceAt time.Time
	lapsesAt         time.Time // no sooner is looked at leases that have ended
	failures         *backoff
	failedUntil      time.Time
}

// due is when to look next. The caller holds the line's mutex.
func (w *watcher) due() time.Time {
	l := w.line
	next := w.beatAt
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if l.recheck || l.heard {
		earlier(time.Now())
	}
	if len(l.fronts) > 0 || !l.sp.sub.isUp() {
		earlier(w.glanceAt)
	}
	for _, front := range l.fronts {
		switch {
		case front.nextLapse.IsZero():
		case front.nextLapse.Before(w.lapsesAt):
			earlier(w.lapsesAt)
		default:
			earlier(front.nextLapse)
		}
	}
	if next.Before(w.failedUntil) {
		next = w.failedUntil
	}
	return next
}

// look calls the server for whatever is due.
func (w *watcher) look() {
	l := w.line
	now := time.Now()
	l.mu.Lock()
	glances := !now.Before(w.glanceAt)
	looks := len(l.fronts) > 0 && (l.heard || glances)
	l.heard = false
	all := l.recheck
	l.recheck = false
	beats := all || !now.Before(w.beatAt)
	var waiting []*waiter
	switch {
	case all:
		waiting = l.inLine(0)
	case beats:
		waiting = l.inLine(beatMost)
	case glances && !l.sp.sub.isUp():
		waiting = l.inLine(askPage)
	}
	waiting, fronts := l.inFront(waiting, now)
	if !looks {
		fronts = nil
	}
	l.mu.Unlock()

	var err error
	switch {
	case l.single:
		err = w.ask(append(fronts, waiting...), looks, true)
	case len(waiting) > 0 || len(fronts) == 0:
		err = w.ask(waiting, false, true)
	}
	if !l.single && len(fronts) > 0 && err == nil {
		err = w.ask(fronts, true, true)
	}
	now = time.Now()
	if err != nil {
		l.mu.Lock()
		l.recheck = l.recheck || all || !isReply(err)
		l.mu.Unlock()
		pause := w.failures.next()
		w.failedUntil = now.Add(pause)
		if b := l.sp.b; b.ctx.Err() == nil {
			b.log.Warn("line not watched, trying again", "namespace", l.sp.ns.String(), "backoff", pause,
				"error", b.fail(b.ctx, "watch", l.sp.ns, err))
		}
		return
	}
	w.failures.reset()
	w.lapsesAt = now.Add(lapsePause)
	if looks || glances {
		w.glanceAt = now.Add(jitter(glance))
	}
	if beats {
		w.beatAt = now.Add(jitter(beat))
	}
}

// inLine gives those who wait, in the order of their arrival, or, if most is not 0, so many of them at most, those first
// of whom has not been known for the longest time that they wait. The caller holds the mutex.
func (l *line) inLine(most int) []*waiter {
	list := make([]*waiter, 0, len(l.waiters))
	for _, w := range l.waiters {
		if w.joined {
			list = append(list, w)
		}
	}
	if most > 0 {
		slices.SortFunc(list, func(a, b *waiter) int { return a.since.Compare(b.since) })
		return list[:min(len(list), most)]
	}
	slices.SortFunc(list, byArrival)
	return list
}

func byArrival(a, b *waiter) int { return cmp.Compare(a.arrival, b.arrival) }

// inFront adds those first in line for whom a lease has ended, unless they are in the list, and gives the others apart.
// The caller holds the mutex.
func (l *line) inFront(list []*waiter, now time.Time) (with, others []*waiter) {
	if len(l.fronts) == 0 {
		return list, nil
	}
	l.round++
	for _, w := range list {
		w.round = l.round
	}
	for _, w := range l.fronts {
		switch {
		case w.round == l.round:
		case !w.nextLapse.IsZero() && !now.Before(w.nextLapse):
			list = append(list, w)
		default:
			others = append(others, w)
		}
	}
	return list, others
}
