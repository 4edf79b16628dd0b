package rueidis

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// twin is the same pool twice: calls on one take the short way where there is one, calls on the other never do.
type twin struct {
	rooms    [2]*room
	backends [2]*Backend
	tokens   int
	held     []backend.Held // once granted, not necessarily still
}

// TestFastPath makes the same random calls on both and compares every reply and every state.
func TestFastPath(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	w := &twin{}
	for i := range w.rooms {
		w.rooms[i] = newRoom(t, url)
		w.backends[i] = w.rooms[i].process(url, func(o *options) { o.roundabout = i == 1 })
	}
	rapid.Check(t, func(rt *rapid.T) {
		w.held, w.tokens = nil, 0
		for _, r := range w.rooms {
			r.ns.Prefix = redistest.Prefix(t)
		}
		pool := rapid.SampledFrom([][]string{members(3), members(12), members(200), {"a|", "b", "c|", "d|e", "b|"}}).Draw(rt, "pool")
		w.each(func(r *room, b *Backend) any { r.extend(b, pool...); return nil })
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			w.step(rt, pool)
			w.compare(t, rt)
		}
	})
}

// each does the same in both rooms and gives both answers.
func (w *twin) each(do func(r *room, b *Backend) any) [2]any {
	var answers [2]any
	for i, r := range w.rooms {
		answers[i] = do(r, w.backends[i])
	}
	return answers
}

func (w *twin) step(rt *rapid.T, pool []string) {
	one := func() string { return rapid.SampledFrom(pool).Draw(rt, "member") }
	switch kind := rapid.IntRange(0, 19).Draw(rt, "kind"); kind {
	case 0: // a lock that vanishes
		name := one()
		w.each(func(r *room, _ *Backend) any { return r.do("DEL", r.ns.Lock(name)) })
	case 1: // a lock from outside
		name := one()
		w.each(func(r *room, _ *Backend) any { return r.do("SET", r.ns.Lock(name), "1") })
	case 2: // a lease that runs out
		name := one()
		w.each(func(r *room, _ *Backend) any {
			if r.number("ZCOUNT", r.ns.Leases(), "-inf", "+inf") > 0 && r.do("ZSCORE", r.ns.Leases(), name).Error() == nil {
				r.do("DEL", r.ns.Lock(name))
				r.do("ZADD", r.ns.Leases(), "1", name)
			}
			return nil
		})
	case 3: // a membership that ends
		name := one()
		w.each(func(r *room, _ *Backend) any {
			value, err := r.do("HGET", r.ns.Pool(), name).ToString()
			if err == nil {
				r.do("HSET", r.ns.Pool(), name, value[:strings.LastIndex(value, "||")]+"||1")
			}
			return nil
		})
	case 4:
		gone := []string{one(), one()}
		w.each(func(r *room, b *Backend) any {
			_, err := b.Shrink(r.Context(), backend.ShrinkRequest{Namespace: r.ns, Members: gone})
			require.NoError(r, err)
			return nil
		})
	case 5:
		fresh := []string{one(), one()}
		w.each(func(r *room, b *Backend) any { r.extend(b, fresh...); return nil })
	default:
		w.exchange(rt, pool)
	}
}

// exchange sends the same batch in both rooms.
func (w *twin) exchange(rt *rapid.T, pool []string) {
	var batch [2][]*part
	add := func(make func(r *room) *part) {
		for i, r := range w.rooms {
			batch[i] = append(batch[i], make(r))
		}
	}
	some := func(what string) []backend.Held {
		var list []backend.Held
		for range rapid.IntRange(1, 3).Draw(rt, what) {
			h := backend.Held{Member: rapid.SampledFrom(pool).Draw(rt, "member"), Token: "wrong"}
			if len(w.held) > 0 && rapid.IntRange(0, 5).Draw(rt, "right") > 0 {
				h = rapid.SampledFrom(w.held).Draw(rt, "held")
			}
			list = append(list, h)
		}
		return list
	}
	ride := rapid.SampledFrom([]int{0, 0, 0, 300}).Draw(rt, "collect") // of a part, the clock decides
	for range rapid.IntRange(1, 6).Draw(rt, "parts") {
		switch rapid.IntRange(0, 3).Draw(rt, "part") {
		case 0:
			items := some("returns")
			add(func(*room) *part { p := newPart(); p.returns = items; return p })
		case 1:
			var items []backend.Renewal
			for _, h := range some("renewals") {
				ttl := rapid.SampledFrom([]time.Duration{time.Hour, backend.NoExpiry}).Draw(rt, "ttl")
				items = append(items, backend.Renewal{Member: h.Member, Token: h.Token, TTL: ttl})
			}
			add(func(*room) *part { p := newPart(); p.renewals = items; return p })
		default:
			w.tokens++
			token := fmt.Sprint("token", w.tokens)
			ttl := rapid.SampledFrom([]time.Duration{time.Hour, backend.NoExpiry}).Draw(rt, "ttl")
			add(func(r *room) *part {
				p := newPart()
				p.take = &takeOp{req: backend.TakeRequest{Namespace: r.ns, Token: token, TTL: ttl, Collect: ride}}
				return p
			})
		}
	}
	for i, r := range w.rooms {
		sp, err := w.backends[i].space(r.ns)
		require.NoError(r, err)
		sp.comb.exchange(nil, batch[i])
	}
	for j, p := range batch[0] {
		q := batch[1][j]
		require.NoError(rt, p.err)
		require.NoError(rt, q.err)
		require.Equal(rt, q.bits, p.bits)
		if p.take == nil {
			continue
		}
		require.Len(rt, p.take.grants, len(q.take.grants))
		for k, g := range p.take.grants {
			require.Equal(rt, q.take.grants[k].Member, g.Member)
			w.held = append(w.held, backend.Held{Member: g.Member, Token: g.Token})
		}
	}
	for i := range batch {
		var fences []int64
		for _, p := range batch[i] {
			if p.take != nil && len(p.take.grants) > 0 {
				fences = append(fences, p.take.grants[0].Fence)
			}
		}
		require.True(rt, slices.IsSorted(fences))
		require.Equal(rt, len(slices.Compact(slices.Clone(fences))), len(fences))
	}
}

// compare holds both pools against the invariants and each other.
func (w *twin) compare(t *testing.T, rt *rapid.T) {
	views := w.each(func(r *room, b *Backend) any {
		pool, err := b.Inspect(t.Context(), backend.InspectRequest{Namespace: r.ns})
		require.NoError(rt, err)
		require.Empty(rt, backend.CheckPool(pool, false))
		view := map[string]string{"": fmt.Sprintf("%q %q", pool.Head, pool.Tail)}
		var scores [][]string
		for _, m := range pool.Members {
			scores = append(scores, []string{"ZSCORE", r.ns.Leases(), m.Name})
		}
		replies := r.all(scores...)
		for i, m := range pool.Members {
			view[m.Name] = fmt.Sprintf("%q %q %v %v %q ends %v leased %v", m.Prev, m.Next, !m.Expiry.IsZero(),
				m.Locked, m.Owner, m.TTL > 0, !m.Deadline.IsZero())
			if score, err := replies[i].AsFloat64(); err == nil {
				view[m.Name] += fmt.Sprint(" indexed, for ever ", score > forever)
			}
		}
		return view
	})
	require.Equal(rt, views[1], views[0])
}
