package rueidis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// unseeing looks at nothing by itself until the test is over: what it learns, it learns from messages.
type unseeing struct {
	lineKind
	over <-chan struct{}
}

func (k unseeing) watch(page []*waiter, glance bool) (seen, error) {
	<-k.over
	return k.lineKind.watch(page, glance)
}

// unseeing gives a process that does not look at lines for names by itself.
func (r *lockRoom) unseeing() (*Backend, *line) {
	r.Helper()
	b := r.process(r.url)
	over := make(chan struct{})
	r.Cleanup(func() { close(over) })
	sp, err := b.space(r.ns)
	require.NoError(r, err)
	sp.lockLine.kind = unseeing{sp.lockLine.kind, over}
	return b, &sp.lockLine
}

// front tells whether a waiter is known to be first in line, and when the next lease ends that it waits for.
func (l *line) front(token string) (ends time.Time, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.fronts[token]; w != nil {
		return w.nextLapse, true
	}
	return time.Time{}, false
}

// TestFrontIsToldWhoOvertakes: the first in line watches the leases of those, too, who come later, of a higher class, and
// are granted at once.
func TestFrontIsToldWhoOvertakes(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b, l := r.unseeing()
	other := r.process(r.url)
	some := func(n int) backend.LockItem { return backend.LockItem{Name: "n", Units: n, Limit: 3} }
	first, second := r.lock(other, r.asks("first", some(1))), r.lock(other, r.asks("second", some(1)))
	waiting := r.waitsFor(b, "waiter", some(2))
	until(t, "it is known whose lease ends first", func() bool {
		ends, is := l.front("waiter")
		return is && time.Until(ends) > time.Minute
	})
	req := r.asks("urgent", some(1))
	req.TTL = time.Minute
	got, err := other.Enter(t.Context(), backend.EnterRequest{Lock: req, Priority: 1})
	require.NoError(t, err)
	require.Len(t, got.Grants, 1)
	until(t, "the new lease is watched", func() bool {
		ends, is := l.front("waiter")
		return is && time.Until(ends) < time.Minute+time.Second
	})
	r.unlock(other, first...)
	r.unlock(other, got.Grants...)
	h, _ := r.granted(waiting)
	r.unlock(b, h.Grants...)
	r.unlock(other, second...)
	r.clear()
}

// TestFrontOfSeveralLines: who is first in line of a name that was handed over still watches the leases on the others that
// it waits for.
func TestFrontOfSeveralLines(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b, l := r.unseeing()
	other := r.process(r.url)
	held := r.lock(other, r.asks("first", item("n")))
	soon := r.asks("second", item("m"))
	soon.TTL = time.Minute
	more := r.lock(other, soon)
	heir := r.wait(other, backend.EnterRequest{Lock: r.asks("heir", item("n")), ClaimTTL: time.Hour})
	waiting := r.waitsFor(b, "waiter", item("n"), item("m"))
	l.mu.Lock()
	w := l.waiters["waiter"]
	l.mu.Unlock()
	r.unlock(other, held...)
	until(t, "it is told that it is first in line", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !w.told.IsZero()
	})
	ends, is := l.front("waiter")
	assert.True(t, is)
	assert.Less(t, time.Until(ends), 2*time.Minute)
	h, _ := r.granted(heir)
	r.unlock(other, h.Grants...)
	r.unlock(other, more...)
	r.passes(b, waiting)
	r.clear()
}

// TestDeadInAnotherLine: who is found to be first in line while another name's line is served is served, too.
func TestDeadInAnotherLine(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	dead, _ := r.unseeing()
	b, _ := r.unseeing()
	other := r.process(r.url)
	held := r.lock(other, r.asks("first", item("n")))
	r.lock(other, r.asks("second", item("m")))
	r.waitsFor(dead, "dead", item("m"))
	second := r.waitsFor(b, "second in m", item("m"))
	both := r.waitsFor(b, "first in n", item("n"), item("m"))
	r.do("DEL", r.ns.Lock("m"))
	r.do("ZADD", r.ns.LockProcesses(), "0", dead.process)
	r.unlock(other, held...)
	h, _ := r.granted(second)
	r.unlock(b, h.Grants...)
	r.passes(b, both)
}

// TestWhatAMessageSaidMeanwhile: an answer from before a message said who is first in line does not undo that.
func TestWhatAMessageSaidMeanwhile(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b, l := r.unseeing()
	other := r.process(r.url)
	held := r.lock(other, r.asks("first", item("n")))
	waiting := r.waitsFor(b, "waiter", item("n"))
	l.mu.Lock()
	page := []*waiter{l.waiters["waiter"]}
	l.mu.Unlock()
	waits, behind, hour := []state{{waits: true}}, []*time.Duration{nil}, time.Hour

	asked := time.Now()
	l.lead("waiter", time.Minute)
	l.saw(page, waits, behind, asked, false)
	_, is := l.front("waiter")
	assert.True(t, is)
	l.saw(page, waits, []*time.Duration{&hour}, asked, false)
	ends, _ := l.front("waiter")
	assert.Less(t, time.Until(ends), 2*time.Minute)

	asked = time.Now()
	l.saw(page, waits, []*time.Duration{&hour}, asked, false)
	ends, _ = l.front("waiter")
	assert.Greater(t, time.Until(ends), 2*time.Minute)
	l.saw(page, waits, behind, asked, false)
	_, is = l.front("waiter")
	assert.False(t, is)

	r.unlock(other, held...)
	r.passes(b, waiting)
	r.clear()
}
