package rueidis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// locksOf gives the locks in a reply by name.
func locksOf(t *testing.T, reply backend.MembersReply) map[string]backend.Value {
	t.Helper()
	require.Len(t, reply.Locks, len(reply.Names))
	locks := make(map[string]backend.Value, len(reply.Names))
	for i, name := range reply.Names {
		locks[name] = reply.Locks[i]
	}
	return locks
}

func TestMembersWithTheirLocks(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.do("SADD", r.ns.Pool(), "free", "held", "ever", "empty", "hash", "fleeting list")
	r.do("SET", r.ns.Lock("held"), "owner", "EX", "100")
	r.do("SET", r.ns.Lock("ever"), "1")
	r.do("SET", r.ns.Lock("empty"), "", "EX", "100")
	r.do("HSET", r.ns.Lock("hash"), "f", "v")
	r.do("RPUSH", r.ns.Lock("fleeting list"), "v")
	r.do("EXPIRE", r.ns.Lock("fleeting list"), "100")
	r.do("SET", r.ns.Lock("no member"), "owner", "EX", "100")

	check := func(reply backend.MembersReply) {
		locks := locksOf(t, reply)
		for name, v := range locks {
			if v.TTL > 0 {
				assert.InDelta(t, 100*time.Second, v.TTL, float64(90*time.Second), name)
				v.TTL = time.Minute
				locks[name] = v
			}
		}
		assert.Equal(t, map[string]backend.Value{
			"free": {}, "held": {Exists: true, Value: "owner", TTL: time.Minute},
			"ever": {Exists: true, Value: "1", TTL: backend.NoExpiry}, "empty": {Exists: true, TTL: time.Minute},
			"hash": {Exists: true, TTL: backend.NoExpiry}, "fleeting list": {Exists: true, TTL: time.Minute},
		}, locks)
		assert.Equal(t, 6, reply.Total)
		assert.Empty(t, reply.Cursor)
	}
	reply, err := b.Members(t.Context(), backend.MembersRequest{Namespace: r.ns, Locks: true})
	require.NoError(t, err)
	check(reply)
	among := []string{"no member", "hash", "free", "held", "nothing", "empty", "ever", "fleeting list"}
	reply, err = b.Members(t.Context(), backend.MembersRequest{Namespace: r.ns, Among: among, Locks: true})
	require.NoError(t, err)
	check(reply)
	assert.Equal(t, []string{"hash", "free", "held", "empty", "ever", "fleeting list"}, reply.Names)

	reply, err = b.Members(t.Context(), backend.MembersRequest{Namespace: r.ns})
	require.NoError(t, err)
	assert.Nil(t, reply.Locks, "nobody asked")
	assert.Len(t, reply.Names, 6)

	r.do("DEL", r.ns.Pool())
	reply, err = b.Members(t.Context(), backend.MembersRequest{Namespace: r.ns, Locks: true})
	require.NoError(t, err)
	assert.Empty(t, reply)
}

// TestMembersComeInOneStep: as long as a page can hold them, however the server keeps them.
func TestMembersComeInOneStep(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	b := r.process(r.url)
	for _, n := range []int{1, 128, 129, 500, 513, 900, 998, 999, backend.BatchLimit} {
		all := members(n)
		require.NoError(t, b.Replace(t.Context(), backend.SetEdit{Namespace: r.ns, Names: all}))
		words := []string{"MSET"}
		for _, name := range all {
			words = append(words, r.ns.Lock(name), "of "+name)
		}
		r.do(words...)
		for _, limit := range []int{n, 0} {
			reply, err := b.Members(t.Context(), backend.MembersRequest{Namespace: r.ns, Locks: true, Limit: limit})
			require.NoError(t, err)
			assert.Empty(t, reply.Cursor, "%d at most %d", n, limit)
			for name, lock := range locksOf(t, reply) {
				assert.Equal(t, "of "+name, lock.Value)
			}
			slices.Sort(reply.Names)
			assert.Equal(t, all, reply.Names)
		}
	}
}

func TestMembersWithTheirLocksPageByPage(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	b := r.process(r.url)
	all := members(5000)
	_, err := b.Add(t.Context(), backend.SetEdit{Namespace: r.ns, Names: all})
	require.NoError(t, err)
	for _, name := range []string{"m00000", "m02500", "m04999"} {
		r.do("SET", r.ns.Lock(name), name)
	}
	for _, limit := range []int{0, 100} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			seen := map[string]string{}
			req := backend.MembersRequest{Namespace: r.ns, Locks: true, Limit: limit}
			for pages := 1; ; pages++ {
				reply, err := b.Members(t.Context(), req)
				require.NoError(t, err)
				assert.Equal(t, len(all), reply.Total)
				assert.Less(t, len(reply.Names), 3*backend.BatchLimit)
				for name, lock := range locksOf(t, reply) {
					seen[name] = lock.Value
				}
				if req.Cursor = reply.Cursor; req.Cursor == "" {
					assert.Greater(t, pages, 2)
					break
				}
			}
			assert.Len(t, seen, len(all))
			for name, value := range seen {
				if slices.Contains([]string{"m00000", "m02500", "m04999"}, name) {
					assert.Equal(t, name, value)
				} else {
					assert.Empty(t, value)
				}
			}
		})
	}
}

// TestMembersOfAHugeAnswer: more names than a script can unpack at once come from a set that was told to be compact.
func TestMembersOfAHugeAnswer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Config("set-max-intset-entries 100000"))
	r := newRoom(t, server.URL())
	b := r.process(r.url)
	const n = 20000
	for from := range n / 1000 {
		words := []string{"SADD", r.ns.Pool()}
		for i := range 1000 {
			words = append(words, itoa(from*1000+i))
		}
		r.do(words...)
	}
	encoding, err := r.do("OBJECT", "ENCODING", r.ns.Pool()).ToString()
	require.NoError(t, err)
	require.Equal(t, "intset", encoding)
	r.do("SET", r.ns.Lock("19999"), "v")
	reply, err := b.Members(t.Context(), backend.MembersRequest{Namespace: r.ns, Locks: true})
	require.NoError(t, err)
	locks := locksOf(t, reply)
	require.Len(t, locks, n)
	assert.Equal(t, backend.Value{Exists: true, Value: "v", TTL: backend.NoExpiry}, locks["19999"])
	assert.Equal(t, backend.Value{}, locks["0"])
}

func TestMembersOfWhatIsNoSet(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.do("SET", r.ns.Pool(), "text")
	for _, among := range [][]string{nil, {"a"}} {
		_, err := b.Members(t.Context(), backend.MembersRequest{Namespace: r.ns, Among: among, Locks: true})
		require.ErrorIs(t, err, backend.ErrWrongType)
	}
}
