package rueidis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// poolLine is the line of those who wait for members of a pool.
type poolLine struct{ sp *space }

// op is the request of w as the combiner carries it out.
func (k poolLine) op(w *waiter) *takeOp {
	return &takeOp{req: w.req.Take, wait: true, claim: w.claim(), priority: w.req.Priority}
}

func (k poolLine) enter(ctx context.Context, w *waiter) (entered, error) {
	op := k.op(w)
	if err := k.sp.take(ctx, op); err != nil {
		return entered{}, err // op may still be written to
	}
	return op.entered, nil
}

func (k poolLine) page(list []*waiter) []*waiter { return list[:min(len(list), askPage)] }

func (k poolLine) rejoin(page []*waiter) error {
	batch := make([]*part, len(page))
	for i, w := range page {
		op := k.op(w)
		op.join = true
		batch[i] = &part{take: op}
	}
	args := k.sp.encode(batch)
	defer args.drop()
	_, err := k.sp.call(k.sp.b.bounded(), exchangeScript, args.argv)
	return err
}

func (k poolLine) leaving(list []request) invocation {
	argv := make([]string, 0, len(k.sp.head)+len(list))
	argv = append(argv, k.sp.head...)
	for _, r := range list {
		argv = append(argv, r.token)
	}
	return invocation{leaveScript, k.sp.keys, argv}
}

// watch calls watch.lua.
func (k poolLine) watch(page []*waiter, glance bool) (seen, error) {
	sp := k.sp
	collect := 0
	if glance {
		collect = glancePage
	}
	argv := make([]string, 0, len(sp.head)+2+len(page))
	argv = append(append(argv, sp.head...), sp.b.process, strconv.Itoa(collect))
	for _, w := range page {
		argv = append(argv, w.token())
	}
	reply, sent, err := sp.question(watchScript, sp.keys, argv)
	if err != nil {
		return seen{}, err
	}
	got, front, deadline, ok := poolSeen(&reply, page)
	if !ok {
		return seen{}, errReply
	}
	got.sent = sent
	sp.line.sawFirst(front, deadline, sent)
	return got, nil
}

// sawFirst notes who is first in the line of a pool, as the server said when it was asked at sent, unless a message has
// said since then that somebody of our own is: see [line.saw].
func (l *line) sawFirst(token string, deadline time.Duration, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.fronts {
		if w.told.After(sent) {
			return
		}
	}
	if w := l.waiters[token]; w != nil {
		l.leads(w, deadline)
	} else {
		clear(l.fronts)
	}
}

// poolSeen reads the reply of watch.lua.
func poolSeen(reply *rueidis.RedisMessage, page []*waiter) (s seen, front string, deadline time.Duration, ok bool) {
	list, err := reply.ToArray()
	if err != nil || len(list) != 4+len(page) {
		return s, front, deadline, false
	}
	known, err1 := list[0].AsInt64()
	front, err2 := list[1].ToString()
	ms, err3 := list[2].AsInt64()
	fence, err4 := list[3].AsInt64()
	if errors.Join(err1, err2, err3, err4) != nil {
		return s, front, deadline, false
	}
	s = seen{known: known == 1, fence: fence, states: make([]state, len(page))}
	for i := range page {
		if s.states[i], ok = stateOf(&list[4+i], page[i].token()); !ok {
			return s, front, deadline, false
		}
	}
	return s, front, millis(ms), true
}

// stateOf reads what a script says of a waiter: 1, 0, or pairs of what was granted and its fence.
func stateOf(m *rueidis.RedisMessage, token string) (s state, ok bool) {
	if !m.IsArray() {
		n, err := m.AsInt64()
		return state{waits: n == 1}, err == nil
	}
	pairs, err := m.AsStrSlice()
	if err != nil {
		return s, false
	}
	s.grants, ok = grantsOf(token, pairs)
	return s, ok
}
