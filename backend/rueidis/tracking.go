package rueidis

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// cacheLife is for how long a value is kept that the server says nothing of: it says when a value changes, and what is
// cached goes with its connection. It is long enough to be told from a TTL, which is how a value without one is known.
const cacheLife = 100 * 365 * 24 * time.Hour

// tracker is the state of client-side caching.
//
// The server tells of a change after it has answered whoever made it. So that we read what we have written, the first
// look after a call of our own goes to the server: its answer comes behind what there was to tell, on the one connection
// that there then is.
type tracker struct {
	on      atomic.Bool
	calls   atomic.Uint64 // of our own that may have changed something, and have ended
	settled atomic.Uint64 // so many of them when the last look at the server began
	aborted atomic.Int32  // looks at the cache, one after the other, that came to nothing though the server answers
}

// maxAborted is how many they may be before it is clear that it is not the connection's fault: the user may lack rights.
const maxAborted = 3

// trackWith prepares what a client needs for client-side caching, if Tracking was asked for. It is called before
// the client is made, and not at all for a client that is the caller's.
func (b *Backend) trackWith(option *rueidis.ClientOption) {
	option.DisableCache = !b.opts.tracking
	b.waits.tracker.on.Store(b.opts.tracking)
	if b.opts.tracking {
		option.PipelineMultiplex = -1 // one connection
	}
}

// changed notes that a call has ended that may have changed something.
func (t *tracker) changed(script *rueidis.Lua) {
	if !t.on.Load() {
		return
	}
	switch script {
	case getScript, scanScript, inspectScript, queueScript, membersScript:
	default:
		t.calls.Add(1)
	}
}

// untrack notes that there is no client-side caching after all, and says so once.
func (b *Backend) untrack(why error) {
	if b.waits.tracker.on.Swap(false) {
		b.log.Warn("no client-side caching: values are read from the server, and what others free is looked for every "+
			glance.String(), "error", why)
	}
}

// cached looks at values in the cache, which asks the server for what it lacks. It reports false if it is not to be had
// now, with a function to be called when the server has been asked all the same.
func (b *Backend) cached(ctx context.Context, keys []string) (values []backend.Value, ok bool, asked func(), err error) {
	t := &b.waits.tracker
	if !t.on.Load() {
		return nil, false, func() {}, nil
	}
	if calls := t.calls.Load(); t.settled.Load() != calls {
		return nil, false, func() { t.settled.Store(calls) }, nil
	}
	results, err := await(ctx, b, func(ctx context.Context) ([]rueidis.RedisResult, error) {
		cmds := make([]rueidis.CacheableTTL, len(keys))
		for i, key := range keys {
			cmds[i] = rueidis.CT(b.client.B().Get().Key(key).Cache(), cacheLife)
		}
		return b.client.DoMultiCache(ctx, cmds...), nil
	})
	if err != nil {
		return nil, true, nil, err
	}
	values = make([]backend.Value, len(keys))
	for i := range results {
		text, err := results[i].ToString()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if errors.Is(err, rueidis.ErrDoCacheAborted) {
			return nil, false, func() {
				if t.aborted.Add(1) == maxAborted {
					b.untrack(err)
				}
			}, nil
		}
		b.reach(err)
		if err != nil {
			return nil, true, nil, err
		}
		left := results[i].CachePTTL()
		if left < 0 {
			b.untrack(nil)
			return nil, false, func() {}, nil
		}
		t.aborted.Store(0)
		values[i] = backend.Value{Exists: true, Value: text, TTL: cachedTTL(left)}
	}
	return values, true, nil, nil
}

// cachedTTL is what is left of a value that the cache keeps for so many milliseconds.
func cachedTTL(ms int64) time.Duration {
	if ms > (cacheLife / 2).Milliseconds() {
		return backend.NoExpiry
	}
	return time.Duration(max(1, min(ms, math.MaxInt64/int64(time.Millisecond)))) * time.Millisecond
}

// While one of ours is first in line, the mailbox also hears when the head of the free list changes: that is how somebody
// who knows nothing of lines frees a member.

// hears has the head of a namespace's free list listened to, unless it is.
func (m *mailbox) hears(sp *space) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heads == nil {
		m.heads = make(map[string]*space)
	}
	key := sp.ns.PoolHead()
	if m.heads[key] != nil {
		return
	}
	m.heads[key] = sp
	m.unheard = append(m.unheard, sp)
	m.rouse()
}

// hear asks the server to tell of the next change, on the mailbox's connection. What is free already counts as one.
func (sp *space) hear(ctx context.Context, conn rueidis.DedicatedClient) error {
	results := conn.DoMulti(ctx, conn.B().ClientCaching().Yes().Build(), conn.B().Get().Key(sp.ns.PoolHead()).Build())
	for _, r := range results {
		if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
			if isReply(err) {
				sp.b.untrack(err)
				return nil
			}
			return err
		}
	}
	if head, err := results[1].ToString(); err == nil && head != "" {
		sp.freed()
	}
	return nil
}

// invalidated is told which keys have changed, by nil that it could be any.
func (m *mailbox) invalidated(keys []rueidis.RedisMessage) {
	var changed []*space
	m.mu.Lock()
	if keys == nil {
		for _, sp := range m.heads {
			changed = append(changed, sp)
		}
		clear(m.heads)
	}
	for i := range keys {
		key, err := keys[i].ToString()
		if sp := m.heads[key]; err == nil && sp != nil {
			delete(m.heads, key)
			changed = append(changed, sp)
		}
	}
	m.mu.Unlock()
	for _, sp := range changed {
		sp.freed()
	}
}

// freed has the watching goroutine look at once.
func (sp *space) freed() {
	l := &sp.line
	l.mu.Lock()
	l.heard = len(l.fronts) > 0
	l.mu.Unlock()
	l.rouse()
}
