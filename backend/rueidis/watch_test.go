package rueidis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
)

// TestWhatAMessageSaidOfAPool: an answer from before a message said who is first in line does not undo that.
func TestWhatAMessageSaidOfAPool(t *testing.T) {
	t.Parallel()
	w := newWaiter(backend.EnterRequest{Take: backend.TakeRequest{Token: "ours"}})
	l := &line{
		sp: &space{b: &Backend{}}, single: true,
		waiters: map[string]*waiter{"ours": w}, fronts: make(map[string]*waiter),
	}
	asked := time.Now()
	l.lead("ours", time.Minute)
	for _, token := range []string{"", "another's", "ours"} {
		l.sawFirst(token, time.Hour, asked)
		ends, is := l.front("ours")
		assert.True(t, is)
		assert.Less(t, time.Until(ends), 2*time.Minute)
	}

	asked = time.Now()
	l.sawFirst("ours", time.Hour, asked)
	ends, is := l.front("ours")
	assert.True(t, is)
	assert.Greater(t, time.Until(ends), 2*time.Minute)
	l.sawFirst("another's", time.Hour, asked)
	_, is = l.front("ours")
	assert.False(t, is)
}

// TestASlowMessageIsWaitedFor: who is granted something to share is in no line any more before it has heard of that, and
// must not enter again meanwhile. Whoever else is unheard of has lost its place.
func TestASlowMessageIsWaitedFor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	alone, shares := newWaiter(backend.EnterRequest{}), newWaiter(backend.EnterRequest{Take: backend.TakeRequest{Shared: true}})
	assert.True(t, alone.lostPlace(seen{known: true, sent: now}))
	assert.False(t, shares.lostPlace(seen{known: true, sent: now}))
	assert.False(t, shares.lostPlace(seen{known: true, sent: now.Add(slowMessage - 1)}))
	assert.True(t, shares.lostPlace(seen{known: true, sent: now.Add(slowMessage)}))
	assert.True(t, shares.lostPlace(seen{sent: now}), "the whole line was lost")
}

// TestRousedForAFront checks that whoever is told that it is first in line has the goroutine that watches roused if that
// would look too late, and not otherwise.
func TestRousedForAFront(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		looksAt, lapse time.Time
		single, tracks bool
		want           bool
	}{
		"nobody knows when it looks": {want: true},
		"at a beat":                  {looksAt: now.Add(time.Hour), want: true},
		"at a glance":                {looksAt: now},
		"before a lease ends":        {looksAt: long.Add(-1), lapse: long},
		"after a lease ends":         {looksAt: long.Add(1), lapse: long, want: true},
		"at a glance, for a pool":    {looksAt: now, single: true},
		"to listen":                  {looksAt: now, single: true, tracks: true, want: true},
		"names are not listened to":  {looksAt: now, tracks: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &Backend{}
			b.waits.tracker.on.Store(c.tracks)
			l := &line{sp: &space{b: b}, single: c.single, looksAt: c.looksAt}
			assert.Equal(t, c.want, l.late(&waiter{nextLapse: c.lapse}))
		})
	}

	l := &line{sp: &space{b: &Backend{}}, wake: make(chan struct{}, 1), fronts: make(map[string]*waiter)}
	w := newWaiter(backend.EnterRequest{Lock: backend.LockRequest{Token: "t", Items: []backend.LockItem{item("n")}}})
	l.waiters = map[string]*waiter{w.token(): w}
	l.looksAt = now
	l.lead("t", time.Hour)
	assert.Equal(t, w, l.fronts["t"])
	assert.Empty(t, l.wake)
	l.looksAt = now.Add(time.Hour)
	l.lead("t", time.Hour)
	assert.Len(t, l.wake, 1)
}
