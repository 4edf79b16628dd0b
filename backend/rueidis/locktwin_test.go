package rueidis

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// lockTwin is the same namespace of locks twice: calls on one take the short ways where there are some, calls on the other
// never do.
type lockTwin struct {
	rooms    [2]*lockRoom
	backends [2]*Backend
	tokens   int
	known    []backend.Held                // once asked for
	waited   map[string][]backend.LockItem // what the tokens that were ready to wait asked for: nobody waits for two things under one
}

var lockTwinNames = []string{"a", "b", "c"}

// TestShortWays makes the same random calls on both and compares every reply and every state.
func TestShortWays(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	w := &lockTwin{}
	for i := range w.rooms {
		w.rooms[i] = newLockRoom(t, url)
		w.backends[i] = w.rooms[i].process(url, func(o *options) { o.roundabout = i == 1 })
	}
	rapid.Check(t, func(rt *rapid.T) {
		w.known, w.tokens, w.waited = nil, 0, map[string][]backend.LockItem{}
		for _, r := range w.rooms {
			r.ns.Prefix = redistest.Prefix(t)
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			w.step(rt)
			w.compare(rt)
		}
	})
}

// each does the same in both rooms and wants the same answer.
func (w *lockTwin) each(rt *rapid.T, do func(r *lockRoom, b *Backend) any) {
	one, two := do(w.rooms[0], w.backends[0]), do(w.rooms[1], w.backends[1])
	require.Equal(rt, two, one)
}

// name is mostly the same, so that there are lines.
func (w *lockTwin) name(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "a", "a", "a", "b", "c"}).Draw(rt, "name")
}

// held is a name and a token that may have it.
func (w *lockTwin) held(rt *rapid.T) backend.Held {
	if len(w.known) == 0 || rapid.IntRange(0, 9).Draw(rt, "stranger") == 0 {
		return backend.Held{Member: w.name(rt), Token: "stranger"}
	}
	return w.known[len(w.known)-1-rapid.IntRange(0, min(len(w.known), 6)-1).Draw(rt, "held")]
}

func (w *lockTwin) step(rt *rapid.T) {
	w.each(rt, func(r *lockRoom, b *Backend) any { // it does not fall silent because the machine is slow
		return r.do("ZADD", r.ns.LockProcesses(), "XX", fmt.Sprint(time.Now().Add(time.Hour).UnixMilli()), b.process).Error()
	})
	switch rapid.IntRange(0, 17).Draw(rt, "kind") {
	case 0: // a lock that vanishes
		name := w.name(rt)
		w.each(rt, func(r *lockRoom, _ *Backend) any { return r.do("DEL", r.ns.Lock(name)).Error() })
	case 1: // a lock from outside
		name, value := w.name(rt), rapid.SampledFrom([]string{"1", backend.SharedToken}).Draw(rt, "value")
		w.each(rt, func(r *lockRoom, _ *Backend) any { return r.do("SET", r.ns.Lock(name), value).Error() })
	case 2: // a shared lease that runs out
		h := w.held(rt)
		w.each(rt, func(r *lockRoom, _ *Backend) any {
			return r.number("ZADD", r.ns.LockHolders(h.Member), "XX", "CH", "1", h.Token)
		})
	case 3, 7:
		w.silence(rt)
	case 4:
		req := backend.LimitRequest{Name: w.name(rt), Limit: rapid.IntRange(0, 3).Draw(rt, "limit")}
		w.each(rt, func(r *lockRoom, b *Backend) any {
			req.Namespace = r.ns
			return b.SetLimit(r.Context(), req)
		})
	case 5:
		items := []backend.Held{{Member: w.name(rt)}, {Member: w.name(rt)}}
		w.each(rt, func(r *lockRoom, b *Backend) any {
			got, err := b.Unlock(r.Context(), backend.UnlockRequest{Namespace: r.ns, Force: true, Items: items})
			require.NoError(r, err)
			return got.Unlocked
		})
	case 6:
		h := w.held(rt)
		w.each(rt, func(r *lockRoom, b *Backend) any {
			got, err := b.Leave(r.Context(), backend.LeaveRequest{Namespace: r.ns, Token: h.Token, Names: lockTwinNames})
			require.NoError(r, err)
			return got
		})
	default:
		w.exchange(rt, rapid.SampledFrom([]int{1, 1, 1, 2, 5}).Draw(rt, "parts"))
	}
}

// silence has the process fall silent while somebody may wait, and then one call that has to notice: a name is given back,
// or somebody else joins its line. What need not notice may leave the dead in line, so they are then taken out.
func (w *lockTwin) silence(rt *rapid.T) {
	owner, _ := w.rooms[0].do("GET", w.rooms[0].ns.Lock("a")).ToString()
	if owner == "" || owner == backend.SharedToken {
		return
	}
	w.each(rt, func(r *lockRoom, b *Backend) any {
		return r.number("ZADD", r.ns.LockProcesses(), "XX", "CH", "1", b.process)
	})
	held := []backend.Held{{Member: "a", Token: owner}}
	w.tokens++
	token := fmt.Sprint("t", w.tokens)
	joins := rapid.Bool().Draw(rt, "joins")
	if joins {
		w.known = append(w.known, backend.Held{Member: "a", Token: token})
		w.waited[token] = []backend.LockItem{item("a")}
	}
	w.send(rt, []func(*lockRoom) *part{func(r *lockRoom) *part {
		if joins {
			return &part{lock: &lockOp{req: r.asks(token, item("a")), wait: true, claim: time.Minute}, done: make(chan struct{}, 1)}
		}
		return &part{returns: held, done: make(chan struct{}, 1)}
	}})
	w.compare(rt)
	w.each(rt, func(r *lockRoom, b *Backend) any {
		for _, name := range lockTwinNames {
			states, err := b.Holders(r.Context(), backend.HoldersRequest{Namespace: r.ns, Names: []string{name}})
			require.NoError(r, err)
			require.NoError(r, b.SetLimit(r.Context(), backend.LimitRequest{Namespace: r.ns, Name: name, Limit: states[0].Limit}))
		}
		return nil
	})
}

// part makes one part of a call, for each of both.
func (w *lockTwin) part(rt *rapid.T) func(r *lockRoom) *part {
	kind := rapid.IntRange(0, 11).Draw(rt, "part")
	switch {
	case kind < 3:
		items := []backend.Held{w.held(rt)}
		if rapid.IntRange(0, 3).Draw(rt, "two") == 0 {
			items = append(items, w.held(rt))
		}
		return func(*lockRoom) *part { return &part{returns: items, done: make(chan struct{}, 1)} }
	case kind < 5:
		h, ttl := w.held(rt), rapid.SampledFrom([]time.Duration{time.Hour, backend.NoExpiry}).Draw(rt, "ttl")
		items := []backend.Renewal{{Member: h.Member, Token: h.Token, TTL: ttl}}
		return func(*lockRoom) *part { return &part{renewals: items, done: make(chan struct{}, 1)} }
	}
	w.tokens++
	op := lockOp{req: backend.LockRequest{Token: fmt.Sprint("t", w.tokens)}, claim: time.Minute}
	op.req.TTL = rapid.SampledFrom([]time.Duration{time.Hour, backend.NoExpiry}).Draw(rt, "ttl")
	names := slices.Clone(lockTwinNames[:1+rapid.IntRange(0, 9).Draw(rt, "names")/8])
	names[0] = w.name(rt)
	for _, name := range slices.Compact(names) {
		it := backend.LockItem{Name: name}
		if rapid.IntRange(0, 5).Draw(rt, "shared") == 0 {
			it.Units, it.Limit = 1+rapid.IntRange(0, 1).Draw(rt, "units"), rapid.SampledFrom([]int{0, 2, 3}).Draw(rt, "limit")
		}
		if !slices.ContainsFunc(op.req.Items, func(other backend.LockItem) bool { return other.Name == name }) {
			op.req.Items = append(op.req.Items, it)
		}
	}
	switch kind {
	case 5, 6, 7:
		op.wait, op.priority = true, rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "priority")
		if rapid.IntRange(0, 5).Draw(rt, "once more") == 0 {
			op.req.Token = w.held(rt).Token
		}
		if items, again := w.waited[op.req.Token]; again {
			op.req.Items = items
		}
		w.waited[op.req.Token] = op.req.Items
	case 8:
		op.mark, op.req.Again, op.req.Token = fmt.Sprint("mark", w.tokens), true, w.held(rt).Token
	case 9:
		op.req.Downgrade, op.req.Token = true, w.held(rt).Token
		for i := range op.req.Items {
			op.req.Items[i].Units = max(op.req.Items[i].Units, 1)
		}
	}
	for _, it := range op.req.Items {
		w.known = append(w.known, backend.Held{Member: it.Name, Token: op.req.Token})
	}
	return func(r *lockRoom) *part {
		mine := op
		mine.req.Namespace = r.ns
		return &part{lock: &mine, done: make(chan struct{}, 1)}
	}
}

// exchange sends several parts in one call.
func (w *lockTwin) exchange(rt *rapid.T, n int) {
	parts := make([]func(*lockRoom) *part, n)
	for i := range parts {
		parts[i] = w.part(rt)
	}
	w.send(rt, parts)
}

// send carries out parts in one call and compares what came of them.
func (w *lockTwin) send(rt *rapid.T, parts []func(*lockRoom) *part) {
	var batch [2][]*part
	for i, r := range w.rooms {
		for _, part := range parts {
			batch[i] = append(batch[i], part(r))
		}
	}
	one, err := w.backends[0].space(w.rooms[0].ns)
	require.NoError(rt, err)
	for i, r := range w.rooms {
		sp, err := w.backends[i].space(r.ns)
		require.NoError(r, err)
		if i == 1 && one.each(batch[0]) { // which sends them one by one
			parts := slices.Clone(batch[i])
			slices.SortStableFunc(parts, func(x, y *part) int { return x.rank() - y.rank() })
			for j := range parts {
				sp.lockComb.exchange(nil, parts[j:j+1])
			}
			continue
		}
		sp.lockComb.exchange(nil, batch[i])
	}
	for j, p := range batch[0] {
		q := batch[1][j]
		require.NoError(rt, p.err)
		require.NoError(rt, q.err)
		require.Equal(rt, q.bits, p.bits)
		if p.lock == nil {
			continue
		}
		x, y := p.lock, q.lock
		require.Equal(rt, []any{y.waiting, y.first, y.known, y.refused, y.deadline < 0}, []any{x.waiting, x.first, x.known, x.refused, x.deadline < 0})
		require.Len(rt, x.grants, len(y.grants))
		for k := range x.grants {
			require.Positive(rt, x.grants[k].Fence)
			x.grants[k].Fence = y.grants[k].Fence
		}
		require.Equal(rt, y.grants, x.grants)
	}
	for i := range batch {
		var fences []int64
		for _, p := range batch[i] {
			if p.lock != nil && !p.lock.req.Downgrade {
				for _, g := range p.lock.grants {
					fences = append(fences, g.Fence)
				}
			}
		}
		if i == 1 {
			require.True(rt, slices.IsSorted(fences))
			require.Len(rt, slices.Compact(fences), len(fences))
		}
	}
}

// compare holds both states against each other.
func (w *lockTwin) compare(rt *rapid.T) {
	w.each(rt, func(r *lockRoom, b *Backend) any {
		states, err := b.Holders(r.Context(), backend.HoldersRequest{Namespace: r.ns, Names: lockTwinNames})
		require.NoError(r, err)
		view := map[string]any{}
		for i, name := range lockTwinNames {
			s := states[i]
			sort.Slice(s.Holders, func(i, j int) bool { return s.Holders[i].Token < s.Holders[j].Token })
			for j := range s.Holders {
				s.Holders[j].TTL = min(s.Holders[j].TTL, 1)
			}
			s.TTL = min(s.TTL, 1)
			replies := r.all([]string{"ZRANGE", r.ns.LockLine(name), "0", "-1", "WITHSCORES"}, []string{"GET", r.ns.LockEntriesPrefix() + name},
				[]string{"PTTL", r.ns.Lock(name)}, []string{"PTTL", r.ns.LockEntriesPrefix() + name})
			line, err := replies[0].AsZScores()
			require.NoError(r, err)
			entries, _ := replies[1].ToString()
			lives, err := replies[2].AsInt64()
			require.NoError(r, err)
			counts, err := replies[3].AsInt64()
			require.NoError(r, err)
			view[name] = []any{s, line, entries, lives < 0, counts < 0}
		}
		requests, err := r.do("HKEYS", r.ns.LockRequests()).AsStrSlice()
		require.NoError(r, err)
		slices.Sort(requests)
		view["requests"] = strings.Join(requests, " ")
		view["sequence"], _ = r.do("GET", r.ns.LockSequence()).ToString()
		return view
	})
}
