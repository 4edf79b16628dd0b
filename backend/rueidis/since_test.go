package rueidis

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestSince: a hand-over counts from a moment before it was made, and not from one long before.
func TestSince(t *testing.T) {
	t.Parallel()
	t.Run("members", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, redistest.URL(t))
		a, b := r.process(r.url), r.process(r.url)
		r.extend(a, "m")
		held := r.take(a, "first", 1, time.Hour)
		sp, err := b.space(r.ns)
		require.NoError(t, err)
		r.waits(&sp.line, func(token string) <-chan backend.Handover { return r.waitFor(b, token) }, func(token string) {
			if token != "" {
				held = []backend.Grant{{Member: "m", Token: token}}
			}
			r.giveBack(a, held...)
		})
	})
	t.Run("names", func(t *testing.T) {
		t.Parallel()
		r := newLockRoom(t, redistest.URL(t))
		a, b := r.process(r.url), r.process(r.url)
		held := r.lock(a, r.asks("first", item("n")))
		sp, err := b.space(r.ns)
		require.NoError(t, err)
		r.waits(&sp.lockLine, func(token string) <-chan backend.Handover { return r.waitsFor(b, token, item("n")) }, func(token string) {
			if token != "" {
				held = []backend.Grant{{Member: "n", Token: token}}
			}
			r.unlock(a, held...)
		})
	})
}

// waits lets 450 requests wait for what one after the other gives back: the first at once, the others when each of them
// has been asked for again.
func (r *room) waits(l *line, enter func(token string) <-chan backend.Handover, giveBack func(token string)) {
	r.Helper()
	const n = 450
	line := make([]<-chan backend.Handover, n)
	entered := make([]time.Time, n)
	for i := range line {
		entered[i] = time.Now()
		line[i] = enter(strconv.Itoa(i))
	}
	last := ""
	pass := func(i int) (since time.Time) {
		giveBack(last)
		gave := time.Now()
		h, _ := r.granted(line[i])
		last = h.Grants[0].Token
		assert.Equal(r, strconv.Itoa(i), last)
		assert.False(r, h.Since.Before(entered[i]), "it counts from before it was asked for")
		assert.False(r, h.Since.After(gave), "it counts from after the hand-over")
		return h.Since
	}
	pass(0)
	begin := time.Now()
	l.askedFor(r)
	for i := 1; i < n; i++ {
		assert.False(r, pass(i).Before(begin), "request %d counts from long before", i)
	}
	giveBack(last)
}

// askedFor waits until the server has said of everybody in line that he waits.
func (l *line) askedFor(t testing.TB) {
	t.Helper()
	begin := time.Now()
	until(t, "everybody is asked for", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, w := range l.waiters {
			if w.since.Before(begin) {
				return false
			}
		}
		return true
	})
}

// TestSinceOfAMessageBeforeTheReply: also who is told of his hand-over before Enter knows that it waits has a moment to
// count from.
func TestSinceOfAMessageBeforeTheReply(t *testing.T) {
	t.Parallel()
	b := newBackend(nil)
	sp := newSpace(b, backend.Namespace{Prefix: "p", Suffix: "s"})
	before := time.Now()
	w := newWaiter(backend.EnterRequest{Take: backend.TakeRequest{Token: "t"}})
	require.NoError(t, sp.line.expect(w))
	sp.message("1:G1:t1:m2:17")
	h := <-w.handover
	assert.False(t, h.Since.Before(before))
	assert.False(t, h.Since.After(time.Now()))
	sp.line.joined(w, entered{sent: time.Now()}) // the reply, late
	assert.Empty(t, sp.line.waiters)
}

// TestOvertakenMessage: a message that was on its way while the server said that nothing was granted does not end the
// wait, because what it speaks of has passed on.
func TestOvertakenMessage(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]backend.LockRequest{
		"members": {}, "names": {Token: "t", Items: []backend.LockItem{item("m")}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(nil)
			sp := newSpace(b, backend.Namespace{Prefix: "p", Suffix: "s"})
			l, letter := &sp.line, "1:G"
			req := backend.EnterRequest{Lock: lock}
			if req.ForLocks() {
				l, letter = &sp.lockLine, "1:L"
			} else {
				req.Take.Token = "t"
			}
			w := newWaiter(req)
			require.NoError(t, l.expect(w))
			sent := time.Now()
			w.since, w.fence = sent, 17
			sp.message(letter + "1:t1:m2:17")
			assert.Empty(t, w.handover)
			l.deliver("t", []backend.Grant{{Member: "m", Token: "t", Fence: 5}}, true)
			assert.Empty(t, w.handover)
			sp.message(letter + "1:t1:m2:18")
			h := <-w.handover
			assert.Equal(t, sent, h.Since)
			assert.EqualValues(t, 18, h.Grants[0].Fence)
		})
	}
}

// TestLateMessage: the same on a server: the message about a hand-over that ran out arrives when the waiter is in line
// again.
func TestLateMessage(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	giver, taker := r.process(r.url), r.process(r.url)
	held := r.lock(giver, r.asks("first", item("n")))
	waiting := r.wait(taker, backend.EnterRequest{Lock: r.asks("waiter", item("n")), ClaimTTL: 100 * time.Millisecond})
	argv := []string{r.away(), "1 0 0 mixed", "n", "first"}
	_, err := invocation{lockExchangeScript, newLockKeys(r.ns).keys, argv}.carryOut(t.Context(), giver)
	require.NoError(t, err)
	fence, err := r.do("GET", r.ns.Fence()).ToString()
	require.NoError(t, err)
	assert.Greater(t, fence, strconv.FormatInt(held[0].Fence, 10))

	thief := func() []backend.Grant { // gets in when the claim has run out
		var got backend.LockReply
		until(t, "the claim has run out", func() bool {
			got, err = giver.Lock(context.Background(), r.asks("thief", item("n")))
			require.NoError(t, err)
			return len(got.Grants) > 0
		})
		return got.Grants
	}()
	until(t, "it has entered again", func() bool { return r.lines("n") == 1 })
	sp, err := taker.space(r.ns)
	require.NoError(t, err)
	until(t, "it knows that it waits", func() bool {
		sp.lockLine.mu.Lock()
		defer sp.lockLine.mu.Unlock()
		w := sp.lockLine.waiters["waiter"]
		return w != nil && w.fence > 0
	})
	r.do("PUBLISH", sp.channel(), "1:L"+netstring("waiter")+netstring("n")+netstring(fence))
	r.unlock(giver, thief...)
	h, _ := r.granted(waiting)
	assert.Greater(t, strconv.FormatInt(h.Grants[0].Fence, 10), fence)
	r.unlock(taker, h.Grants...)
	r.clear()
}

// TestHandoverWhileEnteringAgain: who is handed something while its process puts it in line again keeps it.
func TestHandoverWhileEnteringAgain(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b, other := r.process(r.url), r.process(r.url)
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	l := &sp.lockLine
	slow := slowToRejoin{lineKind: l.kind, done: make(chan struct{}), goOn: make(chan struct{})}
	l.kind = slow
	held := r.lock(other, r.asks("first", item("n")))
	waiting := r.waitsFor(b, "waiter", item("n"))
	r.do("DEL", r.ns.LockLine("n"), r.ns.LockRequests())
	<-slow.done
	r.unlock(other, held...)
	until(t, "the message is there", func() bool { return len(waiting) == 1 })
	close(slow.goOn)
	until(t, "nobody watches and nothing is owed", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		b.waits.debts.mu.Lock()
		defer b.waits.debts.mu.Unlock()
		return !l.watching && b.waits.debts.n == 0
	})
	h, _ := r.granted(waiting)
	require.True(t, r.extend(b, h.Grants...))
	r.unlock(b, h.Grants...)
	r.clear()
}

// slowToRejoin holds up the answer to who has entered again.
type slowToRejoin struct {
	lineKind
	done, goOn chan struct{}
}

func (k slowToRejoin) rejoin(page []*waiter) error {
	err := k.lineKind.rejoin(page)
	close(k.done)
	<-k.goOn
	return err
}
