package rueidis

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// While somebody watches a task, one goroutine asks: for each task when its time is over, for all of them every beat,
// which also has the server remember who watches, and after the store was away. That finds what a lost message would have
// said. Without a subscription it asks at every glance instead, and has the listeners look.

const (
	// taskBeat is the pause from one question for all tasks that are watched to the next.
	taskBeat = 3 * time.Second
	// taskPage tasks at most are asked for in one call, which takes the server some milliseconds.
	taskPage = 1000
	// taskBeatMost tasks are asked for in one beat, those first who were not for the longest time.
	taskBeatMost = 20 * taskPage
	// taskPause is between two looks for tasks whose time is over, so that many ends are asked for together.
	taskPause = 10 * time.Millisecond
)

// tend starts the goroutine if there is something to do for it and it does not run. The caller holds the mutex.
func (ts *taskSpace) tend() {
	if ts.asking || ts.closed || !ts.needed() {
		return
	}
	if ts.wake == nil {
		ts.wake = make(chan struct{}, 1)
	}
	wake := ts.wake
	ts.asking = ts.sp.b.start(func() { ts.keepAsking(wake) })
}

// needed reports whether there is something to do. The caller holds the mutex.
func (ts *taskSpace) needed() bool {
	return len(ts.watched) > 0 || len(ts.listeners) > 0 && !ts.sp.sub.isUp()
}

// rouse has the goroutine look at what has changed. The caller holds the mutex.
func (ts *taskSpace) rouse() {
	select {
	case ts.wake <- struct{}{}: // never, if the goroutine has never been started
	default:
	}
}

// asker is the state of the goroutine that asks.
type asker struct {
	*taskSpace
	beatAt, glanceAt time.Time
	endsAt           time.Time // no sooner is looked for tasks whose time is over
	failedUntil      time.Time
	failures         *backoff
}

// keepAsking runs until there is nothing to do.
func (ts *taskSpace) keepAsking(wake <-chan struct{}) {
	b := ts.sp.b
	a := &asker{taskSpace: ts, failures: newBackoff(20*time.Millisecond, time.Second)}
	a.beatAt, a.glanceAt = time.Now().Add(jitter(taskBeat)), time.Now().Add(jitter(glance))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		ts.mu.Lock()
		if ts.closed || !ts.needed() {
			ts.asking, ts.deadline = false, time.Time{}
			ts.mu.Unlock()
			return
		}
		next := a.due()
		ts.mu.Unlock()
		if time.Until(next) <= 0 {
			a.look()
			ts.mu.Lock()
			next = a.due()
			ts.mu.Unlock()
		}
		timer.Reset(time.Until(next))
	}
}

// due is when to look next. The caller holds the mutex.
func (a *asker) due() time.Time {
	next := a.beatAt
	if a.recheck || a.some {
		next = time.Now()
	}
	if a.glanceAt.Before(next) && !a.sp.sub.isUp() {
		next = a.glanceAt
	}
	if !a.deadline.IsZero() {
		if end := later(a.deadline, a.endsAt); end.Before(next) {
			next = end
		}
	}
	return later(next, a.failedUntil)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// look asks for whatever is due.
func (a *asker) look() {
	now := time.Now()
	a.mu.Lock()
	glances := !now.Before(a.glanceAt) && !a.sp.sub.isUp()
	beats, all := !now.Before(a.beatAt), a.recheck
	a.recheck, a.some = false, false
	var list []*watched
	switch {
	case all:
		list = a.begun(0)
	case beats:
		list = a.begun(taskBeatMost)
	case glances:
		list = a.begun(taskPage)
	}
	list = a.endings(list, now)
	if glances {
		a.wakeAll()
	}
	a.mu.Unlock()

	err := a.ask(list)
	now = time.Now()
	a.endsAt = now.Add(taskPause)
	if err != nil {
		a.mu.Lock()
		a.recheck = true
		a.mu.Unlock()
		pause := a.failures.next()
		a.failedUntil = now.Add(pause)
		if b := a.sp.b; b.ctx.Err() == nil {
			b.log.Warn("tasks not asked for, trying again", "namespace", a.sp.ns.String(), "backoff", pause,
				"error", b.fail(b.ctx, "watch", a.sp.ns, err))
		}
		return
	}
	a.failures.reset()
	if beats || glances {
		a.glanceAt = now.Add(jitter(glance))
	}
	if beats {
		a.beatAt = now.Add(jitter(taskBeat))
	}
}

// begun gives the tasks whose watch the server knows, or, if most is not 0, so many of them at most, those first for whom
// was not asked for the longest time. The caller holds the mutex.
func (ts *taskSpace) begun(most int) []*watched {
	list := make([]*watched, 0, len(ts.watched))
	for _, x := range ts.watched {
		if x.begun {
			list = append(list, x)
		}
	}
	if most > 0 && len(list) > most {
		slices.SortFunc(list, func(a, b *watched) int { return a.asked.Compare(b.asked) })
		list = list[:most]
	}
	return list
}

// endings adds those whose time is over, and those that are to be asked for at once, unless they are in the list, and notes
// when the next one's is. The caller holds the mutex.
func (ts *taskSpace) endings(list []*watched, now time.Time) []*watched {
	ts.round++
	for _, x := range list {
		x.round, x.again = ts.round, false
	}
	ts.deadline = time.Time{}
	for _, x := range ts.watched {
		due := x.again || !now.Before(x.deadline)
		switch {
		case !x.begun:
		case due && x.round != ts.round:
			x.again = false
			list = append(list, x)
		case !due && (ts.deadline.IsZero() || x.deadline.Before(ts.deadline)):
			ts.deadline = x.deadline
		}
	}
	return list
}

// ask asks for tasks, page by page, and tells those who watch what is new.
func (ts *taskSpace) ask(list []*watched) error {
	for len(list) > 0 {
		page := list[:min(len(list), taskPage)]
		n, err := ts.askPage(page)
		if err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// askPage asks for the first of some tasks, and tells how many those were.
func (ts *taskSpace) askPage(page []*watched) (n int, err error) {
	b := ts.sp.b
	questions := make([]taskQuestion, len(page))
	told := make([]uint64, len(page))
	now := time.Now()
	ts.mu.Lock()
	for i, x := range page {
		questions[i] = taskQuestion{id: x.id, mark: x.mark}
		told[i] = x.told
		x.asked = now
	}
	ts.mu.Unlock()
	answers, err := ts.question(b.bounded(), questions)
	if err != nil {
		if refusal := b.classify(err); isReply(err) && (errors.Is(refusal, backend.ErrPermission) || errors.Is(refusal, backend.ErrUnsupported)) {
			ts.refuse(page, b.fail(b.ctx, "watch", ts.sp.ns, err))
			return len(page), nil
		}
		return 0, err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for i := range answers {
		a, x := &answers[i], page[i]
		switch {
		case ts.watched[x.id] != x:
		case a.err != nil && errors.Is(b.classify(a.err), backend.ErrUnavailable): // another time
		case a.err != nil:
			ts.finish(x, backend.TaskChange{Task: backend.TaskInfo{ID: x.id}, Err: b.fail(b.ctx, "watch", ts.sp.ns, a.err)})
		case a.kind == taskEnded:
			ts.finish(x, backend.TaskChange{Task: a.info})
		case x.told != told[i]: // a message knows better
		case a.kind == taskGoes:
			ts.remains(x, a.info.Remaining)
		default:
			x.mark = cmp.Or(a.mark, x.mark)
			ts.goes(x, a.info)
		}
	}
	return len(answers), nil
}

// refuse ends watches that the server does not allow.
func (ts *taskSpace) refuse(page []*watched, err error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, x := range page {
		if ts.watched[x.id] == x {
			ts.finish(x, backend.TaskChange{Task: backend.TaskInfo{ID: x.id}, Err: err})
		}
	}
}
