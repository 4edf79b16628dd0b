package rueidis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestEnterForNamesWithoutAnswer: who gets an error neither holds nor waits.
func TestEnterForNamesWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for _, ttl := range []time.Duration{time.Hour, backend.NoExpiry} {
			t.Run(fmt.Sprint("granted, ", at, ttl), func(t *testing.T) {
				t.Parallel()
				r, proxy, b, _ := locksBehindProxy(t)
				r.waitsNowhere(b)
				fired := cut(proxy, callFor("lost"))
				req := r.asks("lost", item("n"), backend.LockItem{Name: "m", Units: 3})
				req.TTL = ttl
				_, err := b.Enter(t.Context(), backend.EnterRequest{Lock: req})
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				assert.Less(t, until(t, "the names are free", func() bool { return r.left() == "" }), soon)
			})
		}
		t.Run("waiting, "+at, func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := locksBehindProxy(t)
			held := r.lock(other, r.asks("first", item("n")))
			r.waitsNowhere(b)
			fired := cut(proxy, callFor("lost"))
			_, err := b.Enter(t.Context(), backend.EnterRequest{Lock: r.asks("lost", item("m"), item("n"))})
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			after := until(t, "nobody waits", func() bool { return r.lines("n")+r.lines("m")+r.remembered() == 0 })
			assert.Less(t, after, soon)
			r.unlock(other, held...)
			r.clear()
		})
	}
}

// waitsNowhere has a process subscribe and load the scripts, so that the next call is the only one that is cut.
func (r *lockRoom) waitsNowhere(b *Backend) {
	r.Helper()
	got, err := b.Enter(r.Context(), backend.EnterRequest{Lock: r.asks("warm", item("warm"))})
	require.NoError(r, err)
	r.unlock(b, got.Grants...)
}

// TestHandoverOfNamesWithoutConnection: a name is handed over while the connection is cut, and the wait goes on.
func TestHandoverOfNamesWithoutConnection(t *testing.T) {
	t.Parallel()
	r, proxy, b, other := locksBehindProxy(t)
	held := r.lock(other, r.asks("first", item("n")))
	waiting := r.waitsFor(b, "waiter", item("n"))
	proxy.Refuse()
	r.unlock(other, held...)
	proxy.Resume()
	h, _ := r.granted(waiting)
	require.True(t, r.extend(b, h.Grants...))
	r.unlock(b, h.Grants...)
	r.clear()
}

// TestDroppedMessage: also when the connection does not break but nothing comes through for a while.
func TestDroppedMessage(t *testing.T) {
	t.Parallel()
	r, proxy, b, other := locksBehindProxy(t)
	held := r.lock(other, r.asks("first", item("n")))
	waiting := r.waitsFor(b, "waiter", item("n"))
	proxy.Drop(redistest.Replies)
	r.unlock(other, held...)
	proxy.Resume()
	h, _ := r.granted(waiting)
	r.unlock(b, h.Grants...)
	r.clear()
}

// TestLeaveNamesWithoutAnswer: who has left is out of the lines as soon as the connection is back, and gives back what
// was handed to him and nothing else.
func TestLeaveNamesWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for _, granted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, granted %v", at, granted), func(t *testing.T) {
				t.Parallel()
				r, proxy, b, other := locksBehindProxy(t)
				held := r.lock(other, r.asks("first", item("n"), reading("m")))
				waiting := r.waitsFor(b, "waiter", item("n"), reading("m"))
				if granted {
					r.unlock(other, held...)
					r.granted(waiting)
				}
				fired := cut(proxy, callFor("waiter"))
				_, err := b.Leave(t.Context(), backend.LeaveRequest{
					Namespace: r.ns, Token: "waiter", Names: []string{"n", "m"},
				})
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				until(t, "it has left", func() bool { return r.lines("n")+r.lines("m")+r.remembered() == 0 })
				if !granted {
					r.unlock(other, held...)
				}
				r.clear()
			})
		}
	}
}

// TestLeaveSparesWhatWasRenewed: only what was handed over and not renewed goes back.
func TestLeaveSparesWhatWasRenewed(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	held := r.lock(b, r.asks("first", item("n"), item("m")))
	waiting := r.waitsFor(b, "waiter", item("n"), item("m"))
	behind := r.waitsFor(b, "behind", item("m"))
	r.unlock(b, held...)
	h, _ := r.granted(waiting)
	require.True(t, r.extend(b, h.Grants[0]))
	left, err := b.Leave(t.Context(), backend.LeaveRequest{Namespace: r.ns, Token: "waiter", Names: []string{"n", "m"}})
	require.NoError(t, err)
	assert.Equal(t, backend.LeaveReply{Returned: 1}, left)
	r.passes(b, behind)
	require.True(t, r.extend(b, h.Grants[0]))
	r.unlock(b, h.Grants[0])
	r.clear()
}

// TestCancelledWaitsForNamesLeaveNothing: many calls whose context ends at any moment, on a connection that is cut again
// and again.
func TestCancelledWaitsForNamesLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, cutting := range []bool{false, true} {
		t.Run(fmt.Sprintf("cutting %v", cutting), func(t *testing.T) {
			r, proxy, b, other := locksBehindProxy(t)
			stop := cutAgainAndAgain(proxy, cutting)
			together(64, func(i int) {
				for range 20 {
					ctx, cancel := context.WithTimeout(context.Background(), rand.N(4*time.Millisecond))
					r.cancelled(ctx, b)
					cancel()
				}
			})
			stop()
			r.unlock(other, r.enters(other, item("n0"), item("n1"), item("n2"))...)
			r.clear()
		})
	}
}

// enters waits for names as long as it takes.
func (r *lockRoom) enters(b *Backend, items ...backend.LockItem) []backend.Grant {
	r.Helper()
	got, err := b.Enter(r.Context(), backend.EnterRequest{Lock: r.asks(backend.NewToken(), items...)})
	require.NoError(r, err)
	if got.Handover == nil {
		return got.Grants
	}
	h, _ := r.granted(got.Handover)
	return h.Grants
}

// cancelled waits for some of three names until ctx ends, and gives back what it gets.
func (r *lockRoom) cancelled(ctx context.Context, b *Backend) {
	req := r.asks(backend.NewToken())
	var names []string
	for _, k := range rand.Perm(3)[:1+rand.IntN(2)] {
		names = append(names, fmt.Sprint("n", k))
		req.Items = append(req.Items, backend.LockItem{Name: fmt.Sprint("n", k), Units: rand.IntN(2)})
	}
	got, err := b.Enter(ctx, backend.EnterRequest{Lock: req})
	if err != nil {
		return
	}
	if got.Handover != nil {
		select {
		case <-got.Handover:
		case <-ctx.Done():
		}
		// If it fails, the backend goes on trying.
		_, _ = b.Leave(context.Background(), backend.LeaveRequest{Namespace: r.ns, Token: req.Token, Names: names})
		return
	}
	back := backend.UnlockRequest{Namespace: r.ns}
	for _, g := range got.Grants {
		back.Items = append(back.Items, backend.Held{Member: g.Member, Token: g.Token})
	}
	for {
		if _, err := b.Unlock(context.Background(), back); err == nil || !errors.Is(err, backend.ErrUnavailable) {
			return
		}
	}
}

// TestRestartUnderWaitersForNames: the server is killed while somebody waits, and comes back.
func TestRestartUnderWaitersForNames(t *testing.T) {
	t.Parallel()
	t.Run("with its data", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.AppendOnly())
		r := newLockRoom(t, server.URL())
		b, other := r.process(r.url), r.process(r.url)
		held := r.lock(b, r.asks("first", item("n")))
		first, second := r.waitsFor(b, "1", item("n")), r.waitsFor(other, "2", item("n"))
		server.Kill()
		server.Restart()
		r.back(b, other)
		require.True(t, r.extend(b, held...), "the lease is still valid")
		r.unlock(b, held...)
		r.passes(b, first)
		r.passes(other, second)
		r.clear()
	})
	t.Run("without its data", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		r := newLockRoom(t, server.URL())
		b := r.process(r.url)
		r.lock(b, r.asks("first", item("n")))
		var waiting []<-chan backend.Handover
		for i := range 10 {
			waiting = append(waiting, r.waitsFor(b, fmt.Sprint(i), item("n")))
		}
		server.Kill()
		server.Restart()
		r.back(b)
		fence := int64(0)
		for _, ch := range waiting { // in their order
			h, _ := r.granted(ch)
			assert.Greater(t, h.Grants[0].Fence, fence)
			fence = h.Grants[0].Fence
			require.True(t, r.extend(b, h.Grants...))
			r.unlock(b, h.Grants...)
		}
		r.clear()
	})
}

// TestPausedServerUnderWaitersForNames: a server that stands still longer than a process may be silent takes nobody's
// wait away.
func TestPausedServerUnderWaitersForNames(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := newLockRoom(t, server.URL())
	b := r.impatient(r.url, time.Second)
	held := r.lock(b, r.asks("first", item("n")))
	first, second := r.waitsFor(b, "1", item("n")), r.waitsFor(b, "2", item("n"))
	server.Pause()
	time.AfterFunc(6*time.Second, server.Resume)
	until(t, "the server answers again", func() bool {
		_, err := b.Queue(t.Context(), backend.QueueRequest{Namespace: r.ns, Name: "n"})
		return err == nil
	})
	r.unlock(b, held...)
	for range 2 {
		select {
		case h := <-first:
			r.unlock(b, h.Grants...)
		case h := <-second:
			r.unlock(b, h.Grants...)
		case <-time.After(patience):
			require.FailNow(t, "nobody was served")
		}
	}
	r.clear()
}
