package rueidis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// cuts are the two ways to lose an answer.
var cuts = map[string]func(*redistest.Proxy, redistest.Match) <-chan struct{}{
	"request": (*redistest.Proxy).CutRequest,
	"reply":   (*redistest.Proxy).CutReply,
}

// callFor matches a script call one of whose arguments is word.
func callFor(word string) redistest.Match {
	return func(request []string) bool {
		if !strings.HasPrefix(strings.ToUpper(request[0]), "EVAL") {
			return false
		}
		for _, w := range request[1:] {
			if w == word {
				return true
			}
		}
		return false
	}
}

// behindProxy gives a process behind a proxy and one that looks on, and has the scripts loaded.
func behindProxy(t *testing.T) (*room, *redistest.Proxy, *Backend, *Backend) {
	t.Helper()
	r := newRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b, other := r.process(proxy.URL()), r.process(r.url)
	r.extend(other, "m")
	r.giveBack(other, r.take(other, "warm", 1, time.Hour)...)
	return r, proxy, b, other
}

// TestTakeWithoutAnswer: what a lost Take was granted comes back when the connection does, not when its TTL ends.
func TestTakeWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for _, ttl := range []time.Duration{time.Hour, backend.NoExpiry} {
			t.Run(fmt.Sprint(at, ttl), func(t *testing.T) {
				t.Parallel()
				r, proxy, b, other := behindProxy(t)
				fired := cut(proxy, callFor("lost"))
				_, err := b.Take(t.Context(), backend.TakeRequest{Namespace: r.ns, Token: "lost", TTL: ttl})
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				assert.Less(t, until(t, "the member is free", func() bool { return r.leftOver(other) == "" }), soon)
			})
		}
	}
}

// TestManyTakesWithoutAnswer: also one of many, and only what was lost.
func TestManyTakesWithoutAnswer(t *testing.T) {
	t.Parallel()
	r, proxy, b, other := behindProxy(t)
	r.extend(other, members(3000)...)
	kept := r.take(other, "kept", 1000, time.Hour) // whose deadlines lie in the same window
	fired := proxy.CutReply(callFor("lost-0"))
	var failed atomic.Int32
	together(100, func(i int) {
		req := r.request(fmt.Sprintf("lost-%d", i))
		req.Count = 10
		got, err := b.Take(context.Background(), req)
		if err != nil {
			failed.Add(1)
			return
		}
		r.giveBack(b, got.Grants...)
	})
	<-fired
	require.Positive(t, failed.Load())
	until(t, "all others are free", func() bool {
		got, err := other.Inspect(t.Context(), backend.InspectRequest{Namespace: r.ns})
		require.NoError(t, err)
		free := 0
		for i := range got.Members {
			if got.Members[i].Free() {
				free++
			}
		}
		return free == len(got.Members)-len(kept)
	})
	assert.True(t, r.renew(other, kept...))
	r.giveBack(other, kept...)
	r.clean(other)
}

// TestEnterWithoutAnswer: who gets an error neither holds nor waits.
func TestEnterWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		t.Run("granted, "+at, func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := behindProxy(t)
			fired := cut(proxy, callFor("lost"))
			_, err := b.Enter(t.Context(), backend.EnterRequest{Take: r.request("lost")})
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			assert.Less(t, until(t, "the member is free", func() bool { return r.leftOver(other) == "" }), soon)
		})
		t.Run("waiting, "+at, func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := behindProxy(t)
			held := r.take(other, "first", 1, time.Hour)
			fired := cut(proxy, callFor("lost"))
			_, err := b.Enter(t.Context(), backend.EnterRequest{Take: r.request("lost")})
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			assert.Less(t, until(t, "nobody waits", func() bool { return r.line() == 0 }), soon)
			r.giveBack(other, held...)
			r.clean(other)
		})
	}
}

// TestHandoverWithoutConnection: the member is handed over while the connection is cut, and the wait goes on.
func TestHandoverWithoutConnection(t *testing.T) {
	t.Parallel()
	r, proxy, b, other := behindProxy(t)
	held := r.take(other, "first", 1, time.Hour)
	waiting := r.waitFor(b, "waiter")
	proxy.Refuse()
	r.giveBack(other, held...)
	proxy.Resume()
	h, _ := r.granted(waiting)
	require.True(t, r.renew(b, h.Grants...))
	r.giveBack(b, h.Grants...)
	r.clean(other)
}

// TestReturnAndRenewWithoutAnswer: both can be asked for again, and Renew confirms a hand-over also then.
func TestReturnAndRenewWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := behindProxy(t)
			held := r.take(other, "first", 1, time.Hour)
			waiting := r.waitFor(b, "waiter")
			r.giveBack(other, held...)
			h, _ := r.granted(waiting)
			fired := cut(proxy, callFor("waiter"))
			_, err := b.Renew(t.Context(), backend.RenewRequest{
				Namespace: r.ns, Items: []backend.Renewal{{Member: "m", Token: "waiter", TTL: time.Hour}},
			})
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			until(t, "the renewal succeeds", func() bool {
				got, err := b.Renew(t.Context(), backend.RenewRequest{
					Namespace: r.ns, Items: []backend.Renewal{{Member: "m", Token: "waiter", TTL: time.Hour}},
				})
				return err == nil && got.Renewed[0]
			})
			assert.Greater(t, r.number("PTTL", r.ns.Lock("m")), 3_000_000)

			fired = cut(proxy, callFor("waiter"))
			back := backend.ReturnRequest{Namespace: r.ns, Items: []backend.Held{{Member: h.Grants[0].Member, Token: "waiter"}}}
			_, err = b.Return(t.Context(), back)
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			until(t, "it is given back", func() bool {
				_, err := b.Return(t.Context(), back)
				return err == nil
			})
			r.clean(other)
		})
	}
}

// TestLeaveWithoutAnswer: who has left is out of the line as soon as the connection is back.
func TestLeaveWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for _, granted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, granted %v", at, granted), func(t *testing.T) {
				t.Parallel()
				r, proxy, b, other := behindProxy(t)
				held := r.take(other, "first", 1, time.Hour)
				waiting := r.waitFor(b, "waiter")
				if granted {
					r.giveBack(other, held...)
					r.granted(waiting)
				}
				fired := cut(proxy, callFor("waiter"))
				_, err := b.Leave(t.Context(), backend.LeaveRequest{Namespace: r.ns, Token: "waiter"})
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				until(t, "it has left", func() bool { return r.line() == 0 && r.number("HLEN", r.ns.LineRequests()) == 0 })
				if !granted {
					r.giveBack(other, held...)
				}
				r.clean(other)
			})
		}
	}
}

// cutAgainAndAgain cuts all connections every few milliseconds, or none, until it is stopped.
func cutAgainAndAgain(proxy *redistest.Proxy, cutting bool) (stop func()) {
	if !cutting {
		return func() {}
	}
	over := make(chan struct{})
	var knife sync.WaitGroup
	knife.Go(func() {
		tick := time.NewTicker(17 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				proxy.Cut()
			}
		}
	})
	return func() {
		close(over)
		knife.Wait()
	}
}

// TestCancelledCallsLeaveNothing: many calls whose context ends at any moment, on a connection that is cut again and
// again.
func TestCancelledCallsLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, cutting := range []bool{false, true} {
		t.Run(fmt.Sprintf("cutting %v", cutting), func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := behindProxy(t)
			r.extend(other, members(3)...)
			stop := cutAgainAndAgain(proxy, cutting)
			together(64, func(i int) {
				for range 20 {
					ctx, cancel := context.WithTimeout(context.Background(), rand.N(4*time.Millisecond))
					r.cancelled(ctx, b, i%2 == 0)
					cancel()
				}
			})
			stop()
			r.clean(other)
		})
	}
}

// cancelled takes or waits until ctx ends, and gives back what it gets.
func (r *room) cancelled(ctx context.Context, b *Backend, wait bool) {
	req := r.request(backend.NewToken())
	var grants []backend.Grant
	if wait {
		got, err := b.Enter(ctx, backend.EnterRequest{Take: req})
		if err != nil {
			return
		}
		if grants = got.Grants; grants == nil {
			select {
			case <-got.Handover:
			case <-ctx.Done():
			}
			// If it fails, the backend goes on trying.
			_, _ = b.Leave(context.Background(), backend.LeaveRequest{Namespace: r.ns, Token: req.Token})
			return
		}
	} else {
		got, err := b.Take(ctx, req)
		if err != nil {
			return
		}
		grants = got.Grants
	}
	for len(grants) > 0 {
		_, err := b.Return(context.Background(), backend.ReturnRequest{
			Namespace: r.ns, Items: []backend.Held{{Member: grants[0].Member, Token: grants[0].Token}},
		})
		if err == nil || !errors.Is(err, backend.ErrUnavailable) {
			return
		}
	}
}

// TestBlackHole: what was asked while nothing came through is undone when something does again.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for name, direction := range map[string]redistest.Direction{
		"requests": redistest.Requests, "replies": redistest.Replies, "both": redistest.Both,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, redistest.URL(t))
			proxy := redistest.NewProxy(t, addr(t, r.url))
			b, other := r.impatient(proxy.URL(), 200*time.Millisecond), r.process(r.url)
			r.extend(other, "m")
			r.warm(b)
			r.clean(other)
			proxy.Drop(direction)
			_, err := b.Take(t.Context(), r.request("lost"))
			require.ErrorIs(t, err, backend.ErrUnavailable)
			proxy.Resume()
			r.clean(other)
			r.warm(b)
		})
	}
}

// TestHeldBack: a request that arrives long after its caller has given up is undone, too.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b, other := r.impatient(proxy.URL(), 100*time.Millisecond), r.process(r.url)
	r.extend(other, "m")
	r.warm(b)
	r.clean(other)
	proxy.Hold(redistest.Requests)
	_, err := b.Take(t.Context(), r.request("late"))
	require.ErrorIs(t, err, backend.ErrUnavailable)
	_, err = b.Enter(t.Context(), backend.EnterRequest{Take: r.request("late, too")})
	require.Error(t, err)
	proxy.Resume()
	r.clean(other)
}
