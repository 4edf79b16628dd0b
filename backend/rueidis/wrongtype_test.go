package rueidis

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// spoil puts something of another type under a key.
var spoil = map[string]func(r *room, key string){
	"string": func(r *room, key string) { r.do("SET", key, "text") },
	"list":   func(r *room, key string) { r.do("RPUSH", key, "a", "b") },
	"hash":   func(r *room, key string) { r.do("HSET", key, "field", "value") },
	"set":    func(r *room, key string) { r.do("SADD", key, "a") },
}

// TestWrongType puts a value of each wrong type under each key of a pool and makes all calls: each either has nothing
// to do with the key, or fails with ErrWrongType and changes nothing.
func TestWrongType(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL() // to look through all keys again and again, with no others around
	for _, key := range []struct {
		name, kind string
		of         func(backend.Namespace) string
		fails      []string // some that have to
	}{
		{"pool", "hash", backend.Namespace.Pool, []string{"Take", "Return", "Collect", "Inspect", "Extend", "Shrink", "Assign"}},
		{"head", "string", backend.Namespace.PoolHead, []string{"Take", "Extend", "Assign", "Assign nothing", "Inspect"}},
		{"tail", "string", backend.Namespace.PoolTail, []string{"Take", "Return", "Extend", "Shrink", "Inspect"}},
		{"cursor", "string", backend.Namespace.PoolCursor, []string{"Take and collect", "Collect"}},
		{"leases", "zset", backend.Namespace.Leases, []string{"Take", "Return", "Renew", "Extend", "Assign", "Inspect"}},
		{"fence", "string", backend.Namespace.Fence, []string{"Take", "Set", "Enter and Leave"}},
		{"line", "zset", backend.Namespace.Line, []string{"Take", "Return", "Extend", "Inspect", "Queue", "Enter and Leave"}},
		{"requests", "hash", backend.Namespace.LineRequests, []string{"Renew", "Enter and Leave"}},
		{"processes", "zset", backend.Namespace.LineProcesses, []string{"Enter and Leave"}},
		{"sequence", "string", backend.Namespace.LineSequence, []string{"Enter and Leave"}},
		{"lock", "string", func(ns backend.Namespace) string { return ns.Lock("lock") }, []string{"Set", "Get", "Delete"}},
		{"lease", "string", func(ns backend.Namespace) string { return ns.Lock("m00000") }, nil},
		{"free member's lock", "string", func(ns backend.Namespace) string { return ns.Lock("m00003") }, nil},
		{"binding", "string", func(ns backend.Namespace) string { return ns.Binding("name") }, []string{"Take bound", "Get bindings"}},
		{"set", "set", func(ns backend.Namespace) string { ns.Suffix = "lock"; return ns.Pool() }, []string{"Add", "Remove", "Replace", "Members"}},
	} {
		t.Run(key.name, func(t *testing.T) {
			for _, kind := range []string{"list", "hash", "string"} {
				put := spoil[kind]
				if kind == key.kind || kind == "string" && key.kind != "hash" {
					continue
				}
				t.Run(kind, func(t *testing.T) {
					r := newRoom(t, url)
					b := r.process(url)
					failed := map[string]bool{}
					for _, m := range methods() {
						if key.name != "set" && slices.Contains(ofLocks, m.name) {
							continue // which has nothing to do with the pool
						}
						r.do("FLUSHALL")
						r.furnish(b)
						wrong := key.of(r.ns)
						r.do("DEL", wrong)
						put(r, wrong)
						before := r.dump()
						err := m.do(t.Context(), b, r.ns)
						if err == nil {
							continue
						}
						failed[m.name] = true
						require.ErrorIs(t, err, backend.ErrWrongType, m.name)
						require.Equal(t, before, r.dump(), m.name)
					}
					for _, name := range key.fails {
						assert.True(t, failed[name], "%s succeeds", name)
					}
				})
			}
		})
	}
}

// TestWrongTypeOfOne shows that in a shared call one caller's wrong key is nobody else's trouble.
func TestWrongTypeOfOne(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	r := newRoom(t, url)
	b := r.process(url)
	r.extend(b, members(64)...)
	r.do("RPUSH", r.ns.Binding("bad"), "a")
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	var batch []*part
	for i := range 64 {
		p := newPart()
		req := r.request(backend.NewToken())
		if i%20 == 7 {
			req.Binding, req.BindingTTL = "bad", backend.NoExpiry
		}
		p.take = &takeOp{req: req}
		batch = append(batch, p)
	}
	sp.comb.exchange(nil, batch)
	for i, p := range batch {
		if i%20 == 7 {
			require.ErrorIs(t, b.fail(t.Context(), "take", r.ns, p.err), backend.ErrWrongType)
			require.Empty(t, p.take.grants)
			continue
		}
		require.NoError(t, p.err)
		require.Len(t, p.take.grants, 1)
		require.Equal(t, p.take.req.Token, p.take.grants[0].Token)
	}
}
