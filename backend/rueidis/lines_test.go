package rueidis

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestOrder lets 64 requests of 8 processes and 3 classes wait for 4 members, and gives those back one by one.
func TestOrder(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	var nodes [8]*Backend
	for i := range nodes {
		nodes[i] = r.process(r.url)
	}
	r.extend(nodes[0], members(4)...)
	free := r.take(nodes[0], "first", 4, time.Hour)

	type request struct {
		node, priority, arrival int
		handover                <-chan backend.Handover
	}
	line := make([]request, 64)
	for i := range line {
		q := request{node: rand.IntN(len(nodes)), priority: rand.IntN(3) - 1, arrival: i}
		q.handover = r.wait(nodes[q.node], backend.EnterRequest{
			Take: r.request(strconv.Itoa(i)), Priority: q.priority, ClaimTTL: time.Hour,
		})
		line[i] = q
	}
	slices.SortStableFunc(line, func(a, b request) int { return cmp.Compare(b.priority, a.priority) })

	queue, err := nodes[3].Queue(t.Context(), backend.QueueRequest{Namespace: r.ns, Token: strconv.Itoa(line[40].arrival), Limit: 64})
	require.NoError(t, err)
	assert.Equal(t, 64, queue.Length)
	assert.Equal(t, 41, queue.Position)
	for i, w := range queue.Waiters {
		assert.Equal(t, strconv.Itoa(line[i].arrival), w.Token)
		assert.Equal(t, line[i].priority, w.Priority)
	}

	fence := free[3].Fence
	for i, q := range line {
		r.giveBack(nodes[rand.IntN(len(nodes))], free[0])
		h, _ := r.granted(q.handover)
		assert.Greater(t, h.Grants[0].Fence, fence, "request %d", i)
		fence = h.Grants[0].Fence
		require.True(t, r.renew(nodes[q.node], h.Grants...))
		free = append(free[1:], h.Grants...)
	}
	r.giveBack(nodes[0], free...)
	r.clean(nodes[0])
}

// TestCrowd has 64 goroutines of 8 processes take turns on 4 members: each acquisition takes one try.
func TestCrowd(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	var nodes [8]*Backend
	for i := range nodes {
		nodes[i] = r.process(r.url)
	}
	r.extend(nodes[0], members(4)...)
	const rounds = 20
	tries := make([]int, 64)
	together(64, func(i int) {
		b := nodes[i%len(nodes)]
		for round := 0; round < rounds; {
			tries[i]++
			got, err := b.Enter(context.Background(), backend.EnterRequest{
				Take: r.request(backend.NewToken()), ClaimTTL: time.Hour,
			})
			if !assert.NoError(t, err) {
				return
			}
			grants := got.Grants
			if got.Handover != nil {
				h := <-got.Handover
				if grants = h.Grants; !assert.NoError(t, h.Err) || !r.renew(b, grants...) {
					continue
				}
			}
			round++
			r.giveBack(b, grants...)
		}
	})
	for _, n := range tries {
		assert.Equal(t, rounds, n, "tries")
	}
	r.clean(nodes[0])
}

// TestWaiterWhoseProcessDied: the connection of the first in line breaks without a word.
func TestWaiterWhoseProcessDied(t *testing.T) {
	t.Parallel()
	t.Run("just now", func(t *testing.T) { // its claim passes on
		t.Parallel()
		quick(t, time.Second, func() time.Duration {
			r := newRoom(t, redistest.URL(t))
			proxy := redistest.NewProxy(t, addr(t, r.url))
			dying, other := r.process(proxy.URL()), r.process(r.url)
			r.extend(other, "m")
			held := r.take(other, "first", 1, time.Hour)
			req := backend.EnterRequest{Take: r.request("dying"), ClaimTTL: 300 * time.Millisecond}
			r.wait(dying, req)
			waiting := r.waitFor(other, "other")
			proxy.Refuse()
			r.giveBack(other, held...)
			h, after := r.granted(waiting)
			require.True(t, r.renew(other, h.Grants...))
			r.giveBack(other, h.Grants...)
			return after
		})
	})
	t.Run("for a while", func(t *testing.T) { // it is passed over at once
		t.Parallel()
		r := newRoom(t, redistest.URL(t))
		proxy := redistest.NewProxy(t, addr(t, r.url))
		dying, other := r.process(proxy.URL()), r.process(r.url)
		r.extend(other, "m")
		held := r.take(other, "first", 1, time.Hour)
		r.waitFor(dying, "dying")
		waiting := r.waitFor(other, "other")
		proxy.Refuse()
		until(t, "the dead waiter is found", func() bool { return r.line() == 1 })
		r.giveBack(other, held...)
		h, after := r.granted(waiting)
		assert.Less(t, after, soon)
		require.True(t, r.renew(other, h.Grants...))
		r.giveBack(other, h.Grants...)
		r.clean(other)
	})
}

// TestCloseLeavesTheLine: who waits elsewhere is served at once after a backend was closed in good order.
func TestCloseLeavesTheLine(t *testing.T) {
	t.Parallel()
	quick(t, beat, func() time.Duration {
		r := newRoom(t, redistest.URL(t))
		leaving, other := r.process(r.url), r.process(r.url)
		r.extend(other, "m")
		held := r.take(other, "first", 1, time.Hour)
		gone := r.waitFor(leaving, "leaving")
		waiting := r.waitFor(other, "other")
		begin := time.Now()
		require.NoError(t, leaving.Close())
		require.ErrorIs(t, (<-gone).Err, backend.ErrClosed)
		until(t, "it has left", func() bool { return r.line() == 1 })
		r.giveBack(other, held...)
		h, _ := r.granted(waiting)
		r.giveBack(other, h.Grants...)
		return time.Since(begin)
	})
}

// TestFreedWithoutAWord: the first in line notices what Python or an administrator frees.
func TestFreedWithoutAWord(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(r *room){
		"a lock is removed": func(r *room) { r.do("DEL", r.ns.Lock("m")) },
		"a member is put back": func(r *room) { // as Python does
			r.do("DEL", r.ns.Lock("m"))
			r.do("HSET", r.ns.Pool(), "m", "||||-1")
			r.do("MSET", r.ns.PoolHead(), "m", r.ns.PoolTail(), "m")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			quick(t, 400*time.Millisecond, func() time.Duration { // a look every 250 ms, and what a busy machine adds
				r := newRoom(t, redistest.URL(t))
				b := r.process(r.url)
				r.extend(b, "m")
				r.take(b, "first", 1, time.Hour)
				waiting := r.waitFor(b, "waiter")
				free(r)
				_, after := r.granted(waiting)
				return after
			})
		})
	}
}

// TestLapseInALargePool: the first in line has a lease that ran out within 50 ms, however large the pool is.
func TestLapseInALargePool(t *testing.T) {
	r := newRoom(t, redistest.Start(t).URL()) // so that nobody else has to look through 100,000 keys
	b := r.process(r.url)
	all := members(100_000)
	r.extend(b, all...)
	for range len(all)/1000 - 1 {
		r.take(b, backend.NewToken(), 1000, time.Hour)
	}
	r.take(b, backend.NewToken(), 999, backend.NoExpiry)
	const ttl = 300 * time.Millisecond
	member := r.take(b, "short", 1, time.Hour)[0]
	quick(t, 50*time.Millisecond, func() time.Duration {
		var late []time.Duration
		for range 5 {
			waiting := r.waitFor(b, backend.NewToken())
			got, err := b.Renew(t.Context(), backend.RenewRequest{
				Namespace: r.ns, Items: []backend.Renewal{{Member: member.Member, Token: member.Token, TTL: ttl}},
			})
			end := time.Now().Add(ttl)
			require.NoError(t, err)
			require.Equal(t, []bool{true}, got.Renewed)
			h, _ := r.granted(waiting)
			late = append(late, time.Since(end))
			assert.Equal(t, member.Member, h.Grants[0].Member)
			require.True(t, r.renew(b, h.Grants...))
			member = h.Grants[0]
		}
		return median(late)
	})
}

// handOverUnheard gives a member back, and has the message that tells who got it go astray.
func (r *room) handOverUnheard(b *Backend, g backend.Grant) {
	r.Helper()
	sp, err := b.space(r.ns)
	require.NoError(r, err)
	args := sp.encode([]*part{{returns: []backend.Held{{Member: g.Member, Token: g.Token}}}})
	args.argv[2] = "nowhere|" // in place of the prefix of the channels
	_, err = sp.call(r.Context(), exchangeScript, args.argv)
	require.NoError(r, err)
}

// TestLostMessage: a hand-over whose message went astray is found by asking.
func TestLostMessage(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	giver, taker := r.process(r.url), r.process(r.url)
	r.extend(giver, "m")
	held := r.take(giver, "first", 1, time.Hour)
	waiting := r.waitFor(taker, "waiter") // with a claim of an hour

	r.handOverUnheard(giver, held[0])
	h, _ := r.granted(waiting)
	assert.Equal(t, "m", h.Grants[0].Member)
	assert.Greater(t, h.Grants[0].Fence, held[0].Fence)
	assert.Equal(t, time.Hour, h.Grants[0].TTL)
	require.True(t, r.renew(taker, h.Grants...))
	r.giveBack(taker, h.Grants...)
	r.clean(giver)
}

// TestLostMessageOfAShare: nothing tells of a grant that is shared but its message. Who has not had that for a while enters
// again.
func TestLostMessageOfAShare(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	giver, taker := r.process(r.url), r.process(r.url)
	r.extend(giver, "m")
	held := r.take(giver, "first", 1, time.Hour)
	req := r.request("waiter")
	req.Shared = true
	waiting := r.wait(taker, backend.EnterRequest{Take: req})

	r.handOverUnheard(giver, held[0])
	h, _ := r.granted(waiting)
	assert.Equal(t, "m", h.Grants[0].Member)
	assert.Zero(t, r.line())
	r.clean(giver)
}

// TestLostPlace: waiters whom the line has forgotten enter again, in their order.
func TestLostPlace(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(r *room){
		"all data": func(r *room) {
			keys, err := r.do("KEYS", r.ns.Base()+"*").AsStrSlice()
			require.NoError(r, err)
			r.do(append([]string{"DEL"}, keys...)...)
		},
		"the line":     func(r *room) { r.do("DEL", r.ns.Line()) },
		"the requests": func(r *room) { r.do("DEL", r.ns.LineRequests()) },
		"one of them":  func(r *room) { r.do("ZREM", r.ns.Line(), "1") },
		"the process":  func(r *room) { r.do("DEL", r.ns.LineProcesses()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, redistest.URL(t))
			b := r.process(r.url)
			r.extend(b, "m")
			r.take(b, "first", 1, time.Hour)
			var waiting []<-chan backend.Handover
			for i := range 5 {
				waiting = append(waiting, r.waitFor(b, strconv.Itoa(i)))
			}
			lose(r)
			until(t, "all are in line again", func() bool { return r.line() == 5 && r.number("HLEN", r.ns.LineRequests()) == 5 })
			if name == "all data" {
				queue, err := b.Queue(t.Context(), backend.QueueRequest{Namespace: r.ns, Limit: 5})
				require.NoError(t, err)
				for i, w := range queue.Waiters {
					assert.Equal(t, strconv.Itoa(i), w.Token)
				}
			}
			r.extend(b, "a", "b", "c", "d", "e")
			for _, ch := range waiting {
				h, _ := r.granted(ch)
				require.True(t, r.renew(b, h.Grants...))
				r.giveBack(b, h.Grants...)
			}
			assert.Zero(t, r.line())
			assert.Zero(t, r.number("HLEN", r.ns.LineRequests()))
		})
	}
}

// TestForgottenHandover: what is remembered of a hand-over to a process that died does not stay.
func TestForgottenHandover(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	dying, other := r.process(proxy.URL()), r.process(r.url)
	r.extend(other, "m")
	held := r.take(other, "first", 1, time.Hour)
	r.wait(dying, backend.EnterRequest{Take: r.request("dying"), ClaimTTL: 50 * time.Millisecond})
	waiting := r.wait(other, backend.EnterRequest{Take: backend.TakeRequest{
		Namespace: r.ns, Token: "other", TTL: time.Hour, Count: 2,
	}})
	proxy.Refuse()
	r.giveBack(other, held...)
	until(t, "only one request is remembered", func() bool { return r.number("HLEN", r.ns.LineRequests()) == 1 })
	r.extend(other, "n")
	h, _ := r.granted(waiting)
	r.giveBack(other, h.Grants...)
}

// TestConstantsOfTheScripts: the script counts a process as dead after some beats that it has missed.
func TestConstantsOfTheScripts(t *testing.T) {
	t.Parallel()
	assert.Contains(t, luascript.Watch, "local LIFE = 5000 ")
	assert.Greater(t, 5*time.Second, 3*beat)
}
