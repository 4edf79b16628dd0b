package rueidis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// namesMost is how many names may be in one call that is about many requests, unless one request has more.
const namesMost = 1000

// namesLine is the line of those who wait for names: all lines of the namespace in one, see [line].
type namesLine struct {
	sp *space
	lockKeys
}

// op is the request of w as it is carried out.
func (k namesLine) op(w *waiter) *lockOp {
	return &lockOp{req: w.req.Lock, wait: true, claim: w.claim(), priority: w.req.Priority}
}

func (k namesLine) enter(ctx context.Context, w *waiter) (entered, error) {
	op := k.op(w)
	if err := k.sp.lock(ctx, op); err != nil {
		return entered{}, err // op may still be written to
	}
	return op.entered, nil
}

func (k namesLine) page(list []*waiter) []*waiter {
	return pageOf(list, askPage, func(w *waiter) int { return len(w.req.Lock.Items) })
}

// pageOf gives the beginning of a list of requests, for so many names each, that may travel in one call.
func pageOf[T any](list []T, most int, names func(T) int) []T {
	n := 0
	for i, x := range list {
		n += names(x)
		if i == most || i > 0 && n > namesMost {
			return list[:i]
		}
	}
	return list
}

// rejoin calls lockexchange.lua, apart from what others want. Who cannot be put in line, because a key of one of the names
// is of a wrong type, is told so, as in watch.
func (k namesLine) rejoin(page []*waiter) error {
	batch := make([]*part, len(page))
	for i, w := range page {
		op := k.op(w)
		op.join = true
		batch[i] = &part{lock: op}
	}
	a := argumentLists.Get().(*arguments)
	keys, _ := k.sp.encodeLocks(a, batch)
	_, err := k.sp.callOn(k.sp.b.bounded(), nil, lockExchangeScript, keys, a.argv)
	a.drop()
	if err == nil || len(page) == 0 || !k.sp.b.faulty(err) {
		return err
	}
	if len(page) == 1 {
		k.refuse(page[0], err)
		return nil
	}
	if err := k.rejoin(page[:len(page)/2]); err != nil {
		return err
	}
	return k.rejoin(page[len(page)/2:])
}

// refuse ends the wait of one who cannot be served.
func (k namesLine) refuse(w *waiter, err error) {
	b := k.sp.b
	b.log.Warn("a waiter cannot be served", "namespace", k.sp.ns.String(), "error", err)
	k.sp.lockLine.refuse(w, b.fail(b.ctx, "wait", k.sp.ns, err))
	b.abandoned(k.sp, w.request())
}

func (k namesLine) leaving(list []request) invocation {
	argv := append(make([]string, 0, 1+3*len(list)), k.head)
	for i := range list {
		argv = append(argv, list[i].token, strconv.Itoa(len(list[i].names)))
		argv = append(argv, list[i].names...)
	}
	return invocation{lockLeaveScript, k.keys, argv}
}

// undoing is the call that takes back what lost requests were granted, and takes out of the line those whose callers have
// given up.
func (k namesLine) undoing(list []debt) invocation {
	argv := append(make([]string, 0, 1+4*len(list)), k.head)
	for i := range list {
		x := &list[i]
		argv = append(argv, x.token, string(x.undo), strconv.Itoa(len(x.names)))
		argv = append(argv, x.names...)
	}
	return invocation{lockUndoScript, k.keys, argv}
}

// watch calls lockwatch.lua. Who cannot be served, because a key of one of the names is of a wrong type, is told so; who
// that is among many is found out by halves.
func (k namesLine) watch(page []*waiter, glance bool) (seen, error) {
	if glance && k.locked(page) {
		got := seen{known: true, states: make([]state, len(page))}
		for i := range got.states {
			got.states[i].unchanged = true
		}
		return got, nil
	}
	got, err := k.watchOnce(page, glance)
	if err == nil || len(page) == 0 || !k.sp.b.faulty(err) {
		return got, err
	}
	if len(page) == 1 {
		k.refuse(page[0], err)
		return seen{known: true, sent: time.Now(), states: []state{{unchanged: true}}}, nil
	}
	if got, err = k.watch(page[:len(page)/2], glance); err != nil {
		return got, err
	}
	rest, err := k.watch(page[len(page)/2:], glance)
	got.known, got.states = got.known && rest.known, append(got.states, rest.states...)
	return got, err
}

// locked reports whether all names of some waiters still have their locks: then nothing has come free without a word. It is
// one command, and all that a glance mostly costs. It reports false if it cannot tell.
func (k namesLine) locked(page []*waiter) bool {
	var keys []string
	for _, w := range page {
		for i := range w.req.Lock.Items {
			keys = append(keys, k.lock+w.req.Lock.Items[i].Name)
		}
	}
	b := k.sp.b
	found, err := await(b.ctx, b, func(ctx context.Context) (int64, error) {
		found, err := b.client.Do(ctx, b.client.B().Exists().Key(keys...).Build()).AsInt64()
		b.reach(err)
		return found, err
	})
	return err == nil && found == int64(len(keys))
}

func (k namesLine) watchOnce(page []*waiter, glance bool) (seen, error) {
	sp := k.sp
	how := "0"
	if glance {
		how = "1"
	}
	argv := append(make([]string, 0, 3+3*len(page)), k.head, sp.b.process, how)
	for _, w := range page {
		items := w.req.Lock.Items
		argv = append(argv, w.token(), strconv.Itoa(len(items)))
		for i := range items {
			argv = append(argv, items[i].Name)
		}
	}
	reply, sent, err := sp.question(lockWatchScript, k.keys, argv)
	if err != nil {
		return seen{}, err
	}
	got, fronts, ok := lockSeen(&reply, page)
	if !ok {
		return seen{}, errReply
	}
	got.sent = sent
	sp.lockLine.saw(page, got.states, fronts, sent, glance)
	return got, nil
}

// saw notes who is first in line, as the server said when it was asked at sent. What a message has said since then is not
// taken back: nobody knows which of the two came first.
func (l *line) saw(page []*waiter, states []state, fronts []*time.Duration, sent time.Time, glance bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range page {
		told := w.told.After(sent)
		switch {
		case l.waiters[w.token()] != w:
		case states[i].unchanged:
			if !glance && !told {
				w.nextLapse = time.Time{}
			}
		case fronts[i] != nil:
			before := w.nextLapse
			l.leads(w, *fronts[i])
			if told && !before.IsZero() && (w.nextLapse.IsZero() || before.Before(w.nextLapse)) {
				w.nextLapse = before
			}
		case !told:
			delete(l.fronts, w.token())
		}
	}
}

// lockSeen reads the reply of lockwatch.lua. Of those who are first in line, fronts has the time until the next lease
// ends.
func lockSeen(reply *rueidis.RedisMessage, page []*waiter) (s seen, fronts []*time.Duration, ok bool) {
	list, err := reply.ToArray()
	if err != nil || len(list) != 2+len(page) {
		return s, nil, false
	}
	known, err1 := list[0].AsInt64()
	fence, err2 := list[1].AsInt64()
	if err1 != nil || err2 != nil {
		return s, nil, false
	}
	s = seen{known: known == 1, fence: fence, states: make([]state, len(page))}
	fronts = make([]*time.Duration, len(page))
	for i := range page {
		m := &list[2+i]
		if m.IsArray() {
			if n, err := m.AsIntSlice(); err == nil && len(n) == 1 {
				d := millis(n[0])
				s.states[i].waits, fronts[i] = true, &d
				continue
			}
		} else if n, err := m.AsInt64(); err == nil && n == 2 {
			s.states[i].unchanged = true
			continue
		}
		if s.states[i], ok = stateOf(m, page[i].token()); !ok {
			return s, nil, false
		}
	}
	return s, fronts, true
}
