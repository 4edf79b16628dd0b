package rueidis

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func (r *room) get(b *Backend, names ...string) []backend.Value {
	r.Helper()
	got, err := b.Get(r.Context(), backend.GetRequest{Namespace: r.ns, Names: names})
	require.NoError(r, err)
	return got
}

// reads counts what the server does while call runs.
func (r *room) reads(call func()) int {
	r.Helper()
	count := func() (n int) {
		info, err := r.do("INFO", "commandstats").ToString()
		require.NoError(r, err)
		for _, line := range strings.Split(info, "\r\n") {
			name, rest, _ := strings.Cut(line, ":calls=")
			switch name {
			case "cmdstat_get", "cmdstat_eval", "cmdstat_evalsha":
				digits, _, _ := strings.Cut(rest, ",")
				for _, d := range digits {
					n = 10*n + int(d-'0')
				}
			}
		}
		return n
	}
	before := count()
	call()
	return count() - before
}

// TestCache: what does not change is read from memory; what others change shows soon.
func TestCache(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := newRoom(t, server.URL())
	b := r.process(r.url, Tracking())
	for name, ttl := range map[string]string{"short": "50000", "long": "31536000000", "longer": "9223372036000"} {
		r.do("SET", r.ns.Lock(name), "v-"+name, "PX", ttl)
	}
	r.do("SET", r.ns.Lock("ever"), "v-ever")
	names := []string{"short", "long", "longer", "ever", "none"}
	check := func() {
		got := r.get(b, names...)
		for i, name := range names[:4] {
			assert.True(t, got[i].Exists)
			assert.Equal(t, "v-"+name, got[i].Value)
		}
		assert.InDelta(t, 50*time.Second, got[0].TTL, float64(40*time.Second))
		assert.InDelta(t, 365*24*time.Hour, got[1].TTL, float64(time.Minute))
		assert.Equal(t, backend.NoExpiry, got[2].TTL, "290 years are as good as")
		assert.Equal(t, backend.NoExpiry, got[3].TTL)
		assert.Equal(t, backend.Value{}, got[4])
	}
	check()
	check()
	assert.Zero(t, r.reads(func() {
		for range 100 {
			r.get(b, "short", "long", "ever", "none")
		}
	}))

	r.do("SET", r.ns.Lock("none"), "some")
	until(t, "a new value shows", func() bool { return r.get(b, "none")[0].Value == "some" })
	r.do("DEL", r.ns.Lock("ever"))
	until(t, "a value is gone", func() bool { return !r.get(b, "ever")[0].Exists })
	r.do("SET", r.ns.Lock("brief"), "v", "PX", "30")
	until(t, "a value runs out", func() bool { return !r.get(b, "brief")[0].Exists })
	r.do("FLUSHALL")
	until(t, "all are gone", func() bool { return !r.get(b, "short")[0].Exists })

	// What we do ourselves shows at once.
	for range 100 {
		token := backend.NewToken()
		_, err := b.Set(t.Context(), backend.SetRequest{
			Namespace: r.ns, Items: []backend.SetItem{{Name: "own", Value: token, TTL: time.Minute}},
		})
		require.NoError(t, err)
		require.Equal(t, token, r.get(b, "own")[0].Value)
		require.Equal(t, token, r.get(b, "own")[0].Value)
	}

	r.do("RPUSH", r.ns.Lock("list"), "v")
	r.get(b, "own")
	_, err := b.Get(t.Context(), backend.GetRequest{Namespace: r.ns, Names: []string{"own", "list"}})
	require.ErrorIs(t, err, backend.ErrWrongType)
}

// TestCacheOfALostConnection is not believed.
func TestCacheOfALostConnection(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b := r.process(proxy.URL(), Tracking())
	r.do("SET", r.ns.Lock("k"), "old")
	require.Equal(t, "old", r.get(b, "k")[0].Value)
	require.Equal(t, "old", r.get(b, "k")[0].Value)
	proxy.Refuse()
	r.do("SET", r.ns.Lock("k"), "new")
	proxy.Resume()
	until(t, "the new value shows", func() bool {
		got, err := b.Get(t.Context(), backend.GetRequest{Namespace: r.ns, Names: []string{"k"}})
		return err == nil && got[0].Value == "new"
	})
}

// logbook is a log that a test can read.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// TestNoCache: without RESP3 everything works, and the log says once that nothing is cached.
func TestNoCache(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	option, err := rueidis.ParseURL(r.url)
	require.NoError(t, err)
	option.AlwaysRESP2 = true
	var log logbook
	b, err := OpenOption(t.Context(), option, Tracking(), Logger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	r.do("SET", r.ns.Lock("k"), "v")
	for range 3 {
		assert.Equal(t, "v", r.get(b, "k")[0].Value)
	}
	assert.Equal(t, 1, log.count("no client-side caching"))
}

// TestCacheRights: a user who lacks rights for it does without a cache; with those that are documented there is one.
func TestCacheRights(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]string{
		"none": nil,
		"some": {"+client|tracking"},
		"more": {"+client|tracking", "+client|caching"},
		"all":  {"+client|tracking", "+client|caching", "+multi", "+exec"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := backend.Namespace{Prefix: "p", Suffix: "allocator"}
			server := redistest.Start(t, redistest.User("app", "pw", append(ACLRules(ns), rules...)...))
			r := newRoom(t, server.URL())
			r.ns = ns
			var log logbook
			b := r.process(server.UserURL("app", "pw"), Tracking(), Logger(slog.New(slog.NewTextHandler(&log, nil))))
			r.do("SET", r.ns.Lock("k"), "v")
			for range 5 {
				assert.Equal(t, "v", r.get(b, "k")[0].Value)
			}
			if name == "all" {
				assert.Zero(t, log.count("\n"), "lines in the log")
			} else {
				assert.Equal(t, 1, log.count("no client-side caching"))
			}
			r.extend(b, "m")
			held := r.take(b, "first", 1, time.Hour)
			waiting := r.waitFor(b, "waiter")
			r.giveBack(b, held...)
			r.granted(waiting)
		})
	}
}

// TestHeardAtOnce: the first in line learns from the server that somebody who knows nothing of lines has freed a member.
func TestHeardAtOnce(t *testing.T) {
	r := newRoom(t, redistest.URL(t))
	b := r.process(r.url, Tracking())
	r.extend(b, "m")
	held := r.take(b, "first", 1, time.Hour)
	quick(t, 100*time.Millisecond, func() time.Duration {
		var late []time.Duration
		for range 7 {
			waiting := r.waitFor(b, backend.NewToken())
			until(t, "the free list is listened to", func() bool {
				return r.number("HLEN", r.ns.Pool()) == 1 && b.waits.mailbox.hearing(r.ns)
			})
			r.do("DEL", r.ns.Lock("m"))
			r.do("HSET", r.ns.Pool(), "m", "||||-1")
			r.do("MSET", r.ns.PoolHead(), "m", r.ns.PoolTail(), "m")
			h, after := r.granted(waiting)
			late = append(late, after)
			assert.NotEqual(t, held[0].Token, h.Grants[0].Token)
			require.True(t, r.renew(b, h.Grants...))
		}
		return median(late)
	})
}

// hearing reports whether the server has been asked about the head of a namespace.
func (m *mailbox) hearing(ns backend.Namespace) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heads[ns.PoolHead()] != nil && len(m.unheard) == 0
}

func TestCachedTTL(t *testing.T) {
	t.Parallel()
	assert.Equal(t, time.Millisecond, cachedTTL(0))
	assert.Equal(t, time.Second, cachedTTL(1000))
	assert.Equal(t, backend.NoExpiry, cachedTTL(cacheLife.Milliseconds()-1000))
	assert.Equal(t, backend.NoExpiry, cachedTTL(math.MaxInt64))
}

func BenchmarkGet(b *testing.B) {
	for name, opts := range map[string][]Option{"server": nil, "cache": {Tracking()}} {
		b.Run(name, func(b *testing.B) {
			r := newRoom(b, redistest.URL(b))
			be := r.process(r.url, opts...)
			r.do("SET", r.ns.Lock("k"), "v")
			req := backend.GetRequest{Namespace: r.ns, Names: []string{"k"}}
			for b.Loop() {
				if _, err := be.Get(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
