package rueidis

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// damage is what stands in a pool's keys that cannot have been written there.
var damage = []struct {
	name string
	do   func(r *room)
}{
	{"a head that is no member", func(r *room) { r.do("SET", r.ns.PoolHead(), "nobody") }},
	{"a tail that is no member", func(r *room) { r.do("SET", r.ns.PoolTail(), "nobody") }},
	{"no head", func(r *room) { r.do("DEL", r.ns.PoolHead()) }},
	{"no tail", func(r *room) { r.do("DEL", r.ns.PoolTail()) }},
	{"neither", func(r *room) { r.do("DEL", r.ns.PoolHead(), r.ns.PoolTail()) }},
	{"an empty head", func(r *room) { r.do("SET", r.ns.PoolHead(), "") }},
	{"an empty tail", func(r *room) { r.do("SET", r.ns.PoolTail(), "") }},
	{"an allocated head", func(r *room) { r.do("SET", r.ns.PoolHead(), "m00000") }},
	{"an allocated tail", func(r *room) { r.do("SET", r.ns.PoolTail(), "m00001") }},
	{"a head in the middle", func(r *room) { r.do("SET", r.ns.PoolHead(), "m00006") }},
	{"a tail in the middle", func(r *room) { r.do("SET", r.ns.PoolTail(), "m00006") }},
	{"a cursor of text", func(r *room) { r.do("SET", r.ns.PoolCursor(), "over there") }},
	{"a cursor too far", func(r *room) { r.do("SET", r.ns.PoolCursor(), strings.Repeat("9", 30)) }},
	{"a negative cursor", func(r *room) { r.do("SET", r.ns.PoolCursor(), "-1") }},
	{"a fence of text", func(r *room) { r.do("SET", r.ns.Fence(), "tall") }},
	{"an endless fence", func(r *room) { r.do("SET", r.ns.Fence(), "inf") }},
	{"a sequence of text", func(r *room) { r.do("SET", r.ns.LineSequence(), "next please") }},
	{"a half allocated member", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "#ALLOCATED||m00006||-1") }},
	{"the other half", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "m00004||#ALLOCATED||-1") }},
	{"an empty value", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "") }},
	{"a value of text", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "text") }},
	{"a value of bytes", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "\x00\xff||\xfe||") }},
	{"too many links", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "a||b||c||d||-1") }},
	{"a link to itself", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "m00005||m00005||-1") }},
	{"a circle", func(r *room) { r.do("HSET", r.ns.Pool(), "m00006", "m00005||m00004||-1") }},
	{"a link to an allocated one", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "m00004||m00000||-1") }},
	{"a link to nobody", func(r *room) { r.do("HSET", r.ns.Pool(), "m00005", "m00004||nobody||-1") }},
	{"a second list", func(r *room) {
		r.do("HSET", r.ns.Pool(), "x", "||y||-1", "y", "x||||-1")
	}},
	{"a loose member", func(r *room) { r.do("HSET", r.ns.Pool(), "x", "||||-1") }},
	{"a hole", func(r *room) { r.do("HDEL", r.ns.Pool(), "m00005") }},
	{"no members", func(r *room) { r.do("DEL", r.ns.Pool()) }},
	{"an expiry of text", func(r *room) { r.do("HSET", r.ns.Pool(), "m00003", "||m00004||soon") }},
	{"an endless expiry", func(r *room) { r.do("HSET", r.ns.Pool(), "m00003", "||m00004||inf") }},
	{"no expiry", func(r *room) { r.do("HSET", r.ns.Pool(), "m00003", "||m00004||") }},
	{"an empty member", func(r *room) { r.do("HSET", r.ns.Pool(), "", "||||-1") }},
	{"a free member that is locked", func(r *room) { r.do("SET", r.ns.Lock("m00004"), "1") }},
	{"an allocated member that is not", func(r *room) { r.do("DEL", r.ns.Lock("m00000")) }},
	{"a lease of nobody", func(r *room) { r.do("ZADD", r.ns.Leases(), "1", "nobody", "2", "", "-inf", "x") }},
	{"a lease of a free member", func(r *room) { r.do("ZADD", r.ns.Leases(), "1", "m00004") }},
	{"an endless lease", func(r *room) { r.do("ZADD", r.ns.Leases(), "+inf", "m00000") }},
	{"a lease that ran out and goes on", func(r *room) { r.do("ZADD", r.ns.Leases(), "1", "m00000") }},
	{"a binding to nobody", func(r *room) { r.do("SET", r.ns.Binding("name"), "nobody") }},
	{"an empty binding", func(r *room) { r.do("SET", r.ns.Binding("name"), "") }},
	{"waiters of text", func(r *room) {
		r.do("ZADD", r.ns.Line(), "1", "w1", "2", "w2", "3", "w3", "4", "w4", "5", "")
		r.do("HSET", r.ns.LineRequests(), "w1", "text", "w2", "", "w3", "\x93\x01\x02\x03", "", "\xc0")
	}},
	{"waiters without a request", func(r *room) { r.do("ZADD", r.ns.Line(), "1", "w1", "2", "w2") }},
	{"requests of nobody", func(r *room) { r.do("HSET", r.ns.LineRequests(), "w1", "text", "other", "text") }},
	{"a process of nobody", func(r *room) { r.do("ZADD", r.ns.LineProcesses(), "+inf", "p", "-inf", "q") }},
}

// TestGarbage makes all calls on a pool with each kind of damage: none is aborted, and Collect mends what is left.
func TestGarbage(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	r := newRoom(t, url)
	b := r.process(url)
	for _, d := range damage {
		t.Run(d.name, func(t *testing.T) {
			for _, m := range methods() {
				if slices.Contains(ofLocks, m.name) {
					continue // which has nothing to do with the pool
				}
				r.do("FLUSHALL")
				r.furnish(b)
				d.do(r)
				require.NoError(t, m.do(t.Context(), b, r.ns), m.name)
				r.mended(t, b, m.name)
			}
		})
	}
}

// mended collects the whole pool, and expects it to be sound and to serve everybody afterwards.
func (r *room) mended(t require.TestingT, b *Backend, after string) {
	ctx := r.Context()
	_, err := b.Collect(ctx, backend.CollectRequest{Namespace: r.ns, Count: backend.BatchLimit})
	require.NoError(t, err, after)
	pool, err := b.Inspect(ctx, backend.InspectRequest{Namespace: r.ns})
	require.NoError(t, err, after)
	require.Empty(t, backend.CheckPool(pool, true), after)
	n := len(free(pool))
	if n == 0 {
		return
	}
	got, err := b.Take(ctx, backend.TakeRequest{Namespace: r.ns, Token: "all", TTL: backend.NoExpiry, Count: min(n, backend.MaxTake)})
	require.NoError(t, err, after)
	require.Len(t, got.Grants, min(n, backend.MaxTake), after)
}

// TestRandomGarbage writes random values into all keys of a pool and makes random calls.
func TestRandomGarbage(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	r := newRoom(t, url)
	b := r.process(url)
	all := methods()
	rapid.Check(t, func(rt *rapid.T) {
		r.ns.Prefix = redistest.Prefix(t)
		r.furnish(b)
		text := func() string {
			return rapid.OneOf(
				rapid.SampledFrom([]string{"", "||", "#ALLOCATED", "#ALLOCATED||#ALLOCATED||-1", "||||-1", "||m00004||-1", "m00003||m00005||1", "-1", "0", "1e400"}),
				rapid.SampledFrom(members(10)),
				rapid.StringMatching(`(m0000[0-9]|#ALLOCATED|x)?\|\|(m0000[0-9]|#ALLOCATED|x)?\|\|(-1|[0-9]+)`),
				rapid.StringN(0, 10, 40),
			).Draw(rt, "text")
		}
		for range rapid.IntRange(1, 8).Draw(rt, "damages") {
			member := rapid.OneOf(rapid.SampledFrom(members(12)), rapid.Just("")).Draw(rt, "member")
			switch rapid.IntRange(0, 8).Draw(rt, "key") {
			case 0:
				r.do("SET", r.ns.PoolHead(), text())
			case 1:
				r.do("SET", r.ns.PoolTail(), text())
			case 2, 3, 4:
				r.do("HSET", r.ns.Pool(), member, text())
			case 5:
				r.do("ZADD", r.ns.Leases(), fmt.Sprint(rapid.Float64().Draw(rt, "score")), member)
			case 6:
				r.do("SET", rapid.SampledFrom([]string{r.ns.Fence(), r.ns.PoolCursor(), r.ns.LineSequence(), r.ns.Binding("name")}).Draw(rt, "name"), text())
			case 7:
				token := text()
				r.do("ZADD", r.ns.Line(), "1", token)
				r.do("HSET", r.ns.LineRequests(), token, text())
			case 8:
				r.do("DEL", r.ns.Lock(member))
			}
		}
		for range rapid.IntRange(1, 4).Draw(rt, "calls") {
			m := rapid.SampledFrom(all).Draw(rt, "call")
			if err := m.do(r.Context(), b, r.ns); err != nil {
				require.Contains(rt, err.Error(), "granted", m.name) // by Enter, more than there were
			}
		}
		r.mended(rt, b, "random calls")
	})
}
