package rueidis

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// reconnections counts what a listener hears.
func reconnections(t *testing.T, b *Backend) *atomic.Int32 {
	t.Helper()
	var n atomic.Int32
	t.Cleanup(b.OnReconnect(func() { n.Add(1) }))
	return &n
}

// subscribed waits until the backend has its connection for messages.
func (r *room) subscribed(b *Backend) {
	r.Helper()
	sp, err := b.space(r.ns)
	require.NoError(r, err)
	require.NoError(r, sp.subscribed(r.Context()))
	require.Equal(r, 1, r.number("PUBLISH", sp.channel(), ""))
}

func TestOnReconnect(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]bool{"listener first": true, "namespace first": false} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, redistest.URL(t))
			proxy := redistest.NewProxy(t, addr(t, r.url))
			b := r.process(proxy.URL())
			var heard *atomic.Int32
			if first {
				heard = reconnections(t, b)
			}
			r.extend(b, "m")
			if !first {
				heard = reconnections(t, b)
			}
			r.subscribed(b)
			assert.Zero(t, heard.Load())
			proxy.Cut() // while nobody calls
			until(t, "the listener is called", func() bool { return heard.Load() == 1 })

			proxy.Refuse()
			_, err := b.Take(t.Context(), r.request("refused"))
			require.ErrorIs(t, err, backend.ErrUnavailable)
			assert.EqualValues(t, 1, heard.Load(), "the server is away")
			proxy.Resume()
			until(t, "the listener is called", func() bool { return heard.Load() >= 2 })
		})
	}
}

func TestOnReconnectEnds(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b := r.process(proxy.URL())
	heard := reconnections(t, b)
	var stopped atomic.Int32
	stop := b.OnReconnect(func() { stopped.Add(1) })
	r.extend(b, "m")
	r.subscribed(b)
	stop()
	stop()
	proxy.Cut()
	until(t, "the listener is called", func() bool { return heard.Load() == 1 })
	assert.Zero(t, stopped.Load())
}

// TestRestart: the server is killed while somebody waits, and comes back.
func TestRestart(t *testing.T) {
	t.Parallel()
	t.Run("with its data", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.AppendOnly())
		r := newRoom(t, server.URL())
		b, other := r.process(r.url), r.process(r.url)
		heard := reconnections(t, b)
		r.extend(b, "m")
		held := r.take(b, "first", 1, time.Hour)
		first, second := r.waitFor(b, "1"), r.waitFor(other, "2")
		server.Kill()
		server.Restart()
		until(t, "the listener is called", func() bool { return heard.Load() > 0 })
		r.back(b, other)
		require.True(t, r.renew(b, held...), "the lease is still valid")
		r.giveBack(b, held...)
		h, _ := r.granted(first)
		require.True(t, r.renew(b, h.Grants...))
		r.giveBack(b, h.Grants...)
		h, _ = r.granted(second)
		require.True(t, r.renew(other, h.Grants...))
		r.giveBack(other, h.Grants...)
		r.clean(b)
	})
	t.Run("without its data", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		r := newRoom(t, server.URL())
		b, other := r.process(r.url), r.process(r.url)
		heard := reconnections(t, b)
		r.extend(b, "m")
		held := r.take(b, "first", 1, time.Hour)
		first, second := r.waitFor(b, "1"), r.waitFor(other, "2")
		server.Kill()
		server.Restart()
		until(t, "the listener is called", func() bool { return heard.Load() > 0 })
		r.back(b, other)
		assert.False(t, r.renew(b, held...), "the lease is lost")
		until(t, "both wait again", func() bool { return r.line() == 2 })
		r.extend(b, "m")
		fence := held[0].Fence
		for range 2 {
			var h backend.Handover
			var by *Backend
			select {
			case h = <-first:
				by = b
			case h = <-second:
				by = other
			case <-time.After(patience):
				require.FailNow(t, "nobody was served")
			}
			require.NoError(t, h.Err)
			assert.Greater(t, h.Grants[0].Fence, fence)
			fence = h.Grants[0].Fence
			require.True(t, r.renew(by, h.Grants...))
			r.giveBack(by, h.Grants...)
		}
		r.clean(b)
	})
}

// TestPausedServer: a server that stands still longer than a process may be silent takes nobody's wait away.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := newRoom(t, server.URL())
	b, other := r.impatient(r.url, time.Second), r.impatient(r.url, time.Second)
	r.extend(b, "m")
	held := r.take(b, "first", 1, time.Hour)
	first, second := r.waitFor(b, "1"), r.waitFor(other, "2")
	server.Pause()
	time.AfterFunc(6*time.Second, server.Resume)
	until(t, "the server answers again", func() bool {
		_, err := b.Queue(t.Context(), backend.QueueRequest{Namespace: r.ns})
		return err == nil
	})
	r.giveBack(b, held...)
	for range 2 {
		select {
		case h := <-first:
			require.True(t, r.renew(b, h.Grants...))
			r.giveBack(b, h.Grants...)
		case h := <-second:
			require.True(t, r.renew(other, h.Grants...))
			r.giveBack(other, h.Grants...)
		case <-time.After(patience):
			require.FailNow(t, "nobody was served")
		}
	}
	r.clean(b)
}

// TestEnterWithoutSubscription: a server that does not allow the channel says so; nothing is left behind.
func TestEnterWithoutSubscription(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.User("mute", "pw", "~*", "&nothing", "+@all"))
	r := newRoom(t, server.URL())
	b, err := Open(t.Context(), server.UserURL("mute", "pw"))
	if err != nil { // it may be known from the start
		require.ErrorIs(t, err, backend.ErrPermission)
		return
	}
	t.Cleanup(func() { _ = b.Close() })
	r.extend(b, "m")
	_, err = b.Enter(t.Context(), backend.EnterRequest{Take: r.request("1")})
	require.ErrorIs(t, err, backend.ErrPermission)
	require.ErrorContains(t, err, "&"+r.ns.Base()+"|*", "the rule that is missing")
	r.clean(b)
}

// TestEnterEndsWithItsContext also while there is no connection.
func TestEnterEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b := r.process(proxy.URL())
	r.extend(b, "m")
	proxy.Drop(redistest.Both)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := b.Enter(ctx, backend.EnterRequest{Take: r.request("1")})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(begin), soon)
	proxy.Resume()
	r.clean(b)
}

// TestCallersClient: a client that is the caller's stays open, and keeps no subscription.
func TestCallersClient(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	b, err := New(t.Context(), r.raw)
	require.NoError(t, err)
	r.extend(b, "m")
	r.take(b, "first", 1, time.Hour)
	r.waitFor(b, "waiter")
	channel := r.ns.WakeChannel(b.process)
	assert.Equal(t, 1, r.number("PUBLISH", channel, ""))
	require.NoError(t, b.Close())
	// Close does not wait until the server has read the end of the subscription.
	until(t, "the subscription is gone", func() bool { return r.number("PUBLISH", channel, "") == 0 })
}
