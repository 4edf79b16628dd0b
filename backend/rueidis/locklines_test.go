package rueidis

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestLockOrder lets 64 requests of 4 processes and 3 classes wait for a name.
func TestLockOrder(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	var nodes [4]*Backend
	for i := range nodes {
		nodes[i] = r.process(r.url)
	}
	held := r.lock(nodes[0], r.asks("first", item("n")))

	type waiting struct {
		node, priority, arrival int
		handover                <-chan backend.Handover
	}
	line := make([]waiting, 64)
	for i := range line {
		q := waiting{node: rand.IntN(len(nodes)), priority: rand.IntN(3) - 1, arrival: i}
		q.handover = r.wait(nodes[q.node], backend.EnterRequest{
			Lock: r.asks(strconv.Itoa(i), item("n")), Priority: q.priority, ClaimTTL: time.Hour,
		})
		line[i] = q
	}
	slices.SortStableFunc(line, func(a, b waiting) int { return cmp.Compare(b.priority, a.priority) })

	queue, err := nodes[3].Queue(t.Context(), backend.QueueRequest{
		Namespace: r.ns, Name: "n", Token: strconv.Itoa(line[40].arrival), Limit: 64,
	})
	require.NoError(t, err)
	assert.Equal(t, 64, queue.Length)
	assert.Equal(t, 41, queue.Position)
	for i, w := range queue.Waiters {
		assert.Equal(t, strconv.Itoa(line[i].arrival), w.Token)
		assert.Equal(t, line[i].priority, w.Priority)
		assert.Zero(t, w.Count)
		assert.WithinDuration(t, time.Now(), w.Since, time.Minute)
	}
	other, err := nodes[3].Queue(t.Context(), backend.QueueRequest{Namespace: r.ns, Name: "other", Token: "1", Limit: 64})
	require.NoError(t, err)
	assert.Equal(t, backend.QueueReply{}, other)

	fence := held[0].Fence
	for i, q := range line {
		r.unlock(nodes[rand.IntN(len(nodes))], held...)
		h, _ := r.granted(q.handover)
		assert.Equal(t, strconv.Itoa(q.arrival), h.Grants[0].Token)
		assert.Greater(t, h.Grants[0].Fence, fence, "request %d", i)
		fence = h.Grants[0].Fence
		require.True(t, r.extend(nodes[q.node], h.Grants...))
		held = h.Grants
	}
	r.unlock(nodes[0], held...)
	r.clear()
}

// TestQueueTellsUnits: what each of those who wait for a name asked of it.
func TestQueueTellsUnits(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	held := r.lock(b, r.asks("first", item("n"), item("m")))
	r.waitsFor(b, "alone", item("m"), item("n"))
	r.waitsFor(b, "units", backend.LockItem{Name: "m", Units: 7}, backend.LockItem{Name: "n", Units: 3, Limit: 5})
	queue, err := b.Queue(t.Context(), backend.QueueRequest{Namespace: r.ns, Name: "n", Limit: 10})
	require.NoError(t, err)
	require.Len(t, queue.Waiters, 2)
	assert.Equal(t, 0, queue.Waiters[0].Count)
	assert.Equal(t, 3, queue.Waiters[1].Count)
	for _, token := range []string{"alone", "units"} {
		left, err := b.Leave(t.Context(), backend.LeaveRequest{Namespace: r.ns, Token: token, Names: []string{"n", "m"}})
		require.NoError(t, err)
		assert.Equal(t, backend.LeaveReply{Waiting: true}, left)
	}
	r.unlock(b, held...)
	r.clear()
}

// TestReadersEnterTogether as far as they come first, and do not pass a writer.
func TestReadersEnterTogether(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	a, b := r.process(r.url), r.process(r.url)
	held := r.lock(a, r.asks("first", item("n")))
	one, two := r.waitsFor(a, "1", reading("n")), r.waitsFor(b, "2", reading("n"))
	writer := r.waitsFor(b, "writer", item("n"))
	late := r.waitsFor(a, "late", reading("n"))
	r.unlock(b, held...)
	first, _ := r.granted(one)
	second, _ := r.granted(two)
	require.True(t, r.extend(a, first.Grants...))
	require.True(t, r.extend(b, second.Grants...))
	refused, err := a.Lock(t.Context(), r.asks("passing", reading("n")))
	require.NoError(t, err)
	assert.Empty(t, refused.Grants)
	r.unlock(a, first.Grants...)
	r.unlock(b, second.Grants...)
	w, _ := r.granted(writer)
	assert.Empty(t, late)
	require.True(t, r.extend(b, w.Grants...))
	r.unlock(a, w.Grants...)
	r.passes(a, late)
	r.clear()
}

// TestManyNamesWithoutDeadlock: many requests for some of few names, alone and shared, from two processes: all of them
// are served, and nobody has a name while another has it.
func TestManyNamesWithoutDeadlock(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	nodes := []*Backend{r.process(r.url), r.process(r.url)}
	names := []string{"a", "b", "c", "d", "e"}
	var mu sync.Mutex
	users := make(map[string]int) // -1: alone
	use := func(items []backend.LockItem, begin bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, it := range items {
			switch {
			case it.Units == 0 && begin:
				assert.Zero(t, users[it.Name])
				users[it.Name] = -1
			case it.Units == 0:
				users[it.Name] = 0
			case begin:
				assert.GreaterOrEqual(t, users[it.Name], 0)
				users[it.Name]++
			default:
				users[it.Name]--
			}
		}
	}
	together(24, func(i int) {
		b := nodes[i%2]
		for range 10 {
			var items []backend.LockItem
			for _, k := range rand.Perm(len(names))[:1+rand.IntN(3)] {
				items = append(items, backend.LockItem{Name: names[k], Units: rand.IntN(2)})
			}
			got, err := b.Enter(context.Background(), backend.EnterRequest{
				Lock: r.asks(backend.NewToken(), items...), Priority: rand.IntN(2), ClaimTTL: time.Hour,
			})
			if !assert.NoError(t, err) {
				return
			}
			grants := got.Grants
			if got.Handover != nil {
				select {
				case h := <-got.Handover:
					if grants = h.Grants; !assert.NoError(t, h.Err) {
						return
					}
				case <-time.After(patience):
					assert.Fail(t, "deadlock")
					return
				}
			}
			use(items, true)
			use(items, false)
			r.unlock(b, grants...)
		}
	})
	r.clear()
}

// TestLockWaiterWhoseProcessDied: the connection of the first in line breaks without a word.
func TestLockWaiterWhoseProcessDied(t *testing.T) {
	t.Parallel()
	t.Run("just now", func(t *testing.T) { // its claim passes on
		t.Parallel()
		quick(t, time.Second, func() time.Duration {
			r, proxy, dying, other := locksBehindProxy(t)
			held := r.lock(other, r.asks("first", item("n")))
			r.wait(dying, backend.EnterRequest{Lock: r.asks("dying", item("n")), ClaimTTL: 300 * time.Millisecond})
			waiting := r.waitsFor(other, "other", item("n"))
			proxy.Refuse()
			r.unlock(other, held...)
			h, after := r.granted(waiting)
			r.unlock(other, h.Grants...)
			return after
		})
	})
	t.Run("for a while", func(t *testing.T) { // it is passed over at once, in all its lines
		t.Parallel()
		r, proxy, dying, other := locksBehindProxy(t)
		held := r.lock(other, r.asks("first", item("n"), item("m")))
		r.waitsFor(dying, "dying", item("n"), item("m"))
		n, m := r.waitsFor(other, "n", item("n")), r.waitsFor(other, "m", item("m"))
		proxy.Refuse()
		until(t, "the dead waiter is found", func() bool { return r.lines("n") == 1 && r.lines("m") == 1 })
		r.unlock(other, held...)
		for _, waiting := range []<-chan backend.Handover{n, m} {
			h, after := r.granted(waiting)
			assert.Less(t, after, soon)
			r.unlock(other, h.Grants...)
		}
		r.clear()
	})
	t.Run("in front of a free name", func(t *testing.T) { // who waits in one line only for another's sake
		t.Parallel()
		r, proxy, dying, other := locksBehindProxy(t)
		held := r.lock(other, r.asks("first", item("n")))
		r.waitsFor(dying, "dying", item("n"), item("free"))
		waiting := r.waitsFor(other, "other", item("free"))
		proxy.Refuse()
		h, _ := r.granted(waiting)
		r.unlock(other, h.Grants...)
		r.unlock(other, held...)
		r.clear()
	})
}

// TestCloseLeavesTheLinesForNames: who waits elsewhere is served at once after a backend was closed in good order.
func TestCloseLeavesTheLinesForNames(t *testing.T) {
	t.Parallel()
	quick(t, beat, func() time.Duration {
		r := newLockRoom(t, redistest.URL(t))
		leaving, other := r.process(r.url), r.process(r.url)
		held := r.lock(other, r.asks("first", item("n"), item("m")))
		gone := r.waitsFor(leaving, "leaving", item("n"), item("m"))
		waiting := r.waitsFor(other, "other", item("n"))
		begin := time.Now()
		require.NoError(t, leaving.Close())
		require.ErrorIs(t, (<-gone).Err, backend.ErrClosed)
		_, err := leaving.Enter(t.Context(), backend.EnterRequest{Lock: r.asks("late", item("n"))})
		require.ErrorIs(t, err, backend.ErrClosed)
		until(t, "it has left", func() bool { return r.lines("n") == 1 && r.lines("m") == 0 })
		r.unlock(other, held...)
		h, _ := r.granted(waiting)
		after := time.Since(begin)
		r.unlock(other, h.Grants...)
		r.clear()
		return after
	})
}

// TestTwiceInLine: a token waits once.
func TestTwiceInLine(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	held := r.lock(b, r.asks("first", item("n")))
	waiting := r.waitsFor(b, "waiter", item("n"))
	_, err := b.Enter(t.Context(), backend.EnterRequest{Lock: r.asks("waiter", item("m"))})
	require.ErrorIs(t, err, backend.ErrInvalid)
	r.unlock(b, held...)
	r.passes(b, waiting)
	r.clear()
}

// TestNameFreedWithoutAWord: the first in each line notices what Python or an administrator frees.
func TestNameFreedWithoutAWord(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]backend.LockItem{"alone": item("n"), "shared": reading("n")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLockRoom(t, redistest.URL(t))
			b := r.process(r.url)
			quick(t, 400*time.Millisecond, func() time.Duration { // a look every 250 ms, and what a busy machine adds
				var late []time.Duration
				for range 3 {
					r.lock(b, r.asks(backend.NewToken(), held, item("m")))
					both := r.waitsFor(b, backend.NewToken(), item("m"), item("n"))
					waiting := r.waitsFor(b, backend.NewToken(), item("n"))
					r.do("DEL", r.ns.Lock("n"))
					r.do("DEL", r.ns.Lock("m"))
					h, after := r.granted(both)
					late = append(late, after)
					r.unlock(b, h.Grants...)
					r.passes(b, waiting)
				}
				return median(late)
			})
			assert.Zero(t, r.remembered())
			assert.Zero(t, r.number("EXISTS", r.ns.Lock("n"), r.ns.Lock("m")))
		})
	}
}

// TestManyNamesWaitedFor: with thousands of names a free one is found as soon, and each waiter is asked for.
func TestManyNamesWaitedFor(t *testing.T) {
	r := newLockRoom(t, redistest.Start(t).URL())
	holder, b := r.process(r.url), r.process(r.url)
	const n = 2000
	name := func(i int) string { return "n" + strconv.Itoa(i) }
	waiting := make([]<-chan backend.Handover, n)
	for from := 0; from < n; from += backend.MaxLockNames {
		var items []backend.LockItem
		for i := range backend.MaxLockNames {
			items = append(items, item(name(from+i)))
		}
		r.lock(holder, r.asks("holder", items...))
	}
	together(16, func(k int) {
		for i := k; i < n; i += 16 {
			got, err := b.Enter(context.Background(), backend.EnterRequest{
				Lock: r.asks(strconv.Itoa(i), item(name(i))), ClaimTTL: time.Hour,
			})
			if assert.NoError(t, err) {
				waiting[i] = got.Handover
			}
		}
	})
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	sp.lockLine.askedFor(t)
	quick(t, 400*time.Millisecond, func() time.Duration {
		var late []time.Duration
		for range 7 {
			i := rand.IntN(n)
			if waiting[i] == nil {
				continue
			}
			r.do("DEL", r.ns.Lock(name(i)))
			h, after := r.granted(waiting[i])
			late = append(late, after)
			r.unlock(b, h.Grants...)
			waiting[i] = nil
		}
		return median(late)
	})
	require.NoError(t, b.Close())
	until(t, "nobody waits", func() bool { return r.remembered() == 0 })
}

// TestNameWhoseLeaseRanOut: the first in line has it within 50 ms.
func TestNameWhoseLeaseRanOut(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]backend.LockItem{"alone": item("n"), "shared": reading("n")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLockRoom(t, redistest.URL(t))
			b := r.process(r.url)
			quick(t, 80*time.Millisecond, func() time.Duration {
				var late []time.Duration
				for len(late) < 5 {
					req := r.asks(backend.NewToken(), first)
					req.TTL = 200*time.Millisecond + rand.N(60*time.Millisecond)
					r.lock(b, req)
					end := time.Now().Add(req.TTL)
					got, err := b.Enter(t.Context(), backend.EnterRequest{Lock: r.asks(backend.NewToken(), item("n")), ClaimTTL: time.Hour})
					require.NoError(t, err)
					if grants := got.Grants; len(grants) > 0 { // the machine stood still for a moment
						r.unlock(b, grants...)
						continue
					}
					h, _ := r.granted(got.Handover)
					late = append(late, time.Since(end))
					r.unlock(b, h.Grants...)
				}
				return median(late)
			})
			r.clear()
		})
	}
}

// TestLeaseOfTheSecondHolder: whoever becomes first in line learns when to look, also behind a holder that has renewed.
func TestLeaseOfTheSecondHolder(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	a, b := r.process(r.url), r.process(r.url)
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	held := r.lock(a, r.asks("first", item("n")))
	second, third := r.waitsFor(a, "second", item("n")), r.waitsFor(b, "third", item("n"))
	r.unlock(a, held...)
	h, _ := r.granted(second)
	require.True(t, r.extendFor(a, time.Minute, h.Grants...))
	until(t, "it is known when the lease ends", func() bool {
		ends, is := sp.lockLine.front("third")
		return is && time.Until(ends) < 2*time.Minute
	})
	r.unlock(a, h.Grants...)
	r.passes(b, third)
	r.clear()
}

// away is what the scripts take for the names of keys, but for the channels.
func (r *lockRoom) away() string {
	keys := newLockKeys(r.ns).head
	return strings.Replace(keys, r.ns.WakeChannel(""), "nowhere|", 1)
}

// TestLostMessageAboutNames: a hand-over whose message went astray is found by asking.
func TestLostMessageAboutNames(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	giver, taker := r.process(r.url), r.process(r.url)
	held := r.lock(giver, r.asks("first", item("n"), reading("m")))
	waiting := r.waitsFor(taker, "waiter", reading("m"), item("n"))
	argv := []string{r.away(), "2 0 0 mixed", "n", "first", "m", "first"}
	_, err := invocation{lockExchangeScript, newLockKeys(r.ns).keys, argv}.carryOut(t.Context(), giver)
	require.NoError(t, err)
	gave := time.Now()
	h, _ := r.granted(waiting)
	require.Len(t, h.Grants, 2)
	assert.Equal(t, "m", h.Grants[0].Member)
	assert.Greater(t, h.Grants[0].Fence, held[1].Fence)
	assert.Equal(t, time.Hour, h.Grants[0].TTL)
	assert.True(t, h.Since.Before(gave), "it counts from before the hand-over")
	require.True(t, r.extend(taker, h.Grants...))
	r.unlock(taker, h.Grants...)
	r.clear()
}

// TestLostPlaceInLinesForNames: waiters whom the lines have forgotten enter again, in their order.
func TestLostPlaceInLinesForNames(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(r *lockRoom){
		"all data": func(r *lockRoom) {
			keys, err := r.do("KEYS", r.ns.Base()+"*").AsStrSlice()
			require.NoError(r, err)
			r.do(append([]string{"DEL"}, keys...)...)
		},
		"a line":       func(r *lockRoom) { r.do("DEL", r.ns.LockLine("n")) },
		"the requests": func(r *lockRoom) { r.do("DEL", r.ns.LockRequests()) },
		"one of them":  func(r *lockRoom) { r.do("ZREM", r.ns.LockLine("m"), "1") },
		"garbage":      func(r *lockRoom) { r.do("HSET", r.ns.LockRequests(), "1", "garbage") },
		"the process":  func(r *lockRoom) { r.do("DEL", r.ns.LockProcesses()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLockRoom(t, redistest.URL(t))
			b := r.process(r.url)
			held := r.lock(b, r.asks("first", item("m"), item("n")))
			var waiting []<-chan backend.Handover
			for i := range 5 {
				waiting = append(waiting, r.waitsFor(b, strconv.Itoa(i), item("n"), item("m")))
			}
			lose(r)
			if name == "all data" {
				until(t, "the first has it", func() bool { return r.lines("n") == 4 && r.lines("m") == 4 })
			} else {
				until(t, "all are in line again", func() bool {
					return r.lines("n") == 5 && r.lines("m") == 5 && r.remembered() == 5 && b.healthy(r.ns, 5)
				})
				r.unlock(b, held...)
			}
			got := make([]int, 0, 5)
			for end := time.Now().Add(patience); len(got) < 5 && time.Now().Before(end); {
				for i, ch := range waiting {
					select {
					case h := <-ch:
						require.NoError(t, h.Err)
						got = append(got, i)
						r.unlock(b, h.Grants...)
					case <-time.After(50 * time.Millisecond):
					}
				}
			}
			if name == "all data" {
				assert.Equal(t, []int{0, 1, 2, 3, 4}, got)
			} else {
				assert.ElementsMatch(t, []int{0, 1, 2, 3, 4}, got)
			}
			r.clear()
		})
	}
}

// healthy reports whether the server can read what it remembers of so many requests.
func (b *Backend) healthy(ns backend.Namespace, n int) bool {
	queue, err := b.Queue(context.Background(), backend.QueueRequest{Namespace: ns, Name: "n", Limit: n})
	return err == nil && len(queue.Waiters) == n && !slices.ContainsFunc(queue.Waiters, func(w backend.Waiter) bool {
		return w.Since.UnixMicro() == 0
	})
}

// TestForgottenHandoverOfNames: what is remembered of a hand-over to a process that died does not stay.
func TestForgottenHandoverOfNames(t *testing.T) {
	t.Parallel()
	r, proxy, dying, other := locksBehindProxy(t)
	held := r.lock(other, r.asks("first", item("n"), item("m")))
	r.wait(dying, backend.EnterRequest{Lock: r.asks("dying", item("n")), ClaimTTL: 50 * time.Millisecond})
	waiting := r.waitsFor(other, "other", item("m"))
	proxy.Refuse()
	r.unlock(other, held[0])
	until(t, "only one request is remembered", func() bool { return r.remembered() == 1 })
	r.unlock(other, held[1])
	h, _ := r.granted(waiting)
	r.unlock(other, h.Grants...)
	r.clear()
}

// TestNameOfAWrongType: who waits for what cannot be locked learns why, and nobody else suffers.
func TestNameOfAWrongType(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	held := r.lock(b, r.asks("first", item("a"), item("b"), item("c")))
	one, bad, two := r.waitsFor(b, "1", item("a")), r.waitsFor(b, "2", item("b")), r.waitsFor(b, "3", item("c"))
	r.do("DEL", r.ns.Lock("b"))
	r.do("HSET", r.ns.Lock("b"), "f", "v")
	select {
	case h := <-bad:
		require.ErrorIs(t, h.Err, backend.ErrWrongType)
	case <-time.After(patience):
		require.FailNow(t, "it waits")
	}
	r.do("DEL", r.ns.Lock("b"))
	r.do("DEL", r.ns.Lock("a"), r.ns.Lock("c"))
	for _, ch := range []<-chan backend.Handover{one, two} {
		h, after := r.granted(ch)
		assert.Less(t, after, soon)
		r.unlock(b, h.Grants...)
	}
	assert.Len(t, held, 3)
}

// TestLostPlaceOfWhoCannotEnterAgain: because a key of its names is of another type by now; the others can.
func TestLostPlaceOfWhoCannotEnterAgain(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	held := r.lock(b, r.asks("first", item("a"), item("b"), item("c")))
	one, bad, two := r.waitsFor(b, "1", item("a")), r.waitsFor(b, "2", item("b")), r.waitsFor(b, "3", item("c"))
	r.do("DEL", r.ns.LockRequests(), r.ns.LockLine("b"))
	r.do("SET", r.ns.LockLine("b"), "no line")
	select {
	case h := <-bad:
		require.ErrorIs(t, h.Err, backend.ErrWrongType)
	case <-time.After(patience):
		require.FailNow(t, "it waits")
	}
	r.do("DEL", r.ns.LockLine("b"))
	until(t, "the others are in line again", func() bool { return r.remembered() == 2 })
	r.unlock(b, held...)
	r.passes(b, one)
	r.passes(b, two)
	r.clear()
}

// TestLostPlaceUnderANewLimit: who was in line when the limit changed stays there, also after the place was lost.
func TestLostPlaceUnderANewLimit(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	held := r.lock(b, r.asks("first", backend.LockItem{Name: "n", Units: 4, Limit: 5}))
	waiting := r.waitsFor(b, "1", backend.LockItem{Name: "n", Units: 2, Limit: 5})
	require.NoError(t, b.SetLimit(t.Context(), backend.LimitRequest{Namespace: r.ns, Name: "n", Limit: 4}))
	r.do("DEL", r.ns.LockLine("n"))
	until(t, "it is in line again", func() bool { return r.lines("n") == 1 })
	r.unlock(b, held...)
	r.passes(b, waiting)
	r.clear()
}
