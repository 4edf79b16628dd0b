//go:build !memory

package lock_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// outsider talks to a server as those do who know nothing of us: redis-cli, or Python.
type outsider struct {
	testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func newOutsider(t testing.TB, server string) *outsider {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	conn, err := net.Dial("tcp", u.Host)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	o := &outsider{t, conn, bufio.NewReader(conn)}
	if password, ok := u.User.Password(); ok {
		o.do("AUTH", password)
	}
	return o
}

// do sends a command and gives the reply: strings and numbers as text, "nil", lists with blanks in between.
func (o *outsider) do(words ...string) string {
	o.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	_, err := io.WriteString(o.conn, b.String())
	require.NoError(o, err)
	return o.read()
}

func (o *outsider) read() string {
	o.Helper()
	line, err := o.r.ReadString('\n')
	require.NoError(o, err)
	kind, rest := line[0], strings.TrimSpace(line[1:])
	if kind == '+' || kind == ':' || kind == '-' {
		return rest
	}
	n, err := strconv.Atoi(rest)
	require.NoError(o, err)
	if n < 0 {
		return "nil"
	}
	if kind == '$' {
		text := make([]byte, n+2)
		_, err := io.ReadFull(o.r, text)
		require.NoError(o, err)
		return string(text[:n])
	}
	list := make([]string, n)
	for i := range list {
		list[i] = o.read()
	}
	return strings.Join(list, " ")
}

// says expects a reply.
func (o *outsider) says(want string, words ...string) {
	o.Helper()
	require.Equal(o, want, o.do(words...), strings.Join(words, " "))
}

// lasts expects a key that was set a moment ago to live for so many seconds.
func (o *outsider) lasts(seconds int, key string) {
	o.Helper()
	left, err := strconv.Atoi(o.do("TTL", key))
	require.NoError(o, err)
	require.InDelta(o, seconds-seconds/4, left, float64(seconds/4))
}

// process is a backend on a server that has nothing in common with others.
func process(t testing.TB, url string, opts ...rueidis.Option) *rueidis.Backend {
	t.Helper()
	var be *rueidis.Backend
	eventually(t, "the server", func() (opened bool) { // in spite of a short CallTimeout
		var err error
		if be, err = rueidis.Open(context.Background(), url, append([]rueidis.Option{rueidis.CallTimeout(patience)}, opts...)...); err != nil {
			require.ErrorIs(t, err, backend.ErrUnavailable)
		}
		return err == nil
	})
	t.Cleanup(func() { assert.NoError(t, be.Close()) })
	return be
}

// onRedis gives a backend, somebody else on the same server, and a namespace with a suffix.
func onRedis(t testing.TB, suffix string) (*rueidis.Backend, *outsider, backend.Namespace) {
	t.Helper()
	url := redistest.URL(t)
	return process(t, url), newOutsider(t, url), backend.Namespace{Prefix: redistest.Prefix(t), Suffix: suffix}
}

// eventually looks until seen is satisfied.
func eventually(t testing.TB, what string, seen func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !seen(); <-tick.C {
		require.True(t, time.Now().Before(end), "waited in vain: %s", what)
	}
}

func TestPythonsLocksAreRespectedAndRespectOurs(t *testing.T) {
	t.Parallel()
	be, python, ns := onRedis(t, "lock")
	k, ctx, job := lock.NewKeys(be, ns), t.Context(), ns.Lock("job")

	python.says("OK", "SET", job, "1", "EX", "120", "NX")
	yes(t, false)(k.Lock(ctx, "job", "go", time.Minute))
	yes(t, false)(k.RLock(ctx, "job", "go", time.Minute))
	state, err := k.State(ctx, "job")
	require.NoError(t, err)
	assert.Equal(t, "1", state.Value)
	assert.InDelta(t, 90*time.Second, state.TTL, float64(30*time.Second))
	assert.Equal(t, lock.StatusLocked, state.Status(2*time.Minute))
	assert.Equal(t, lock.StatusUnavailable, state.Status(time.Minute))
	_, err = lock.NewMutex(be, ns, "job", lock.Config{}).TryLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
	yes(t, true)(k.RLock(ctx, "job", "1", time.Hour))
	assert.Greater(t, len(python.do("PTTL", job)), len("120000"))
	yes(t, true)(k.Unlock(ctx, "job"))
	python.says("0", "EXISTS", job)

	yes(t, true)(k.Lock(ctx, "job", "go", time.Minute))
	python.says("nil", "SET", job, "1", "EX", "120", "NX")
	python.says("go", "GET", job)
	python.lasts(60, job)
	python.says("1", "DEL", job) // its unlock
	yes(t, false)(k.Unlock(ctx, "job"))

	python.says("OK", "SET", job, "1")
	status, err := k.Status(ctx, "job", time.Hour)
	require.NoError(t, err)
	assert.Equal(t, lock.StatusError, status)
	require.NoError(t, k.Update(ctx, "job", "1", 2*time.Minute))
	python.lasts(120, job)
	require.NoError(t, k.Update(ctx, "job", "1", backend.NoExpiry))
	python.says("-1", "TTL", job)
}

func TestPythonsUpdateTakesAMutexAway(t *testing.T) {
	t.Parallel()
	be, python, ns := onRedis(t, "lock")
	m := lock.NewMutex(be, ns, "job", lock.Config{TTL: 3 * time.Second})
	held := hold(t, m)
	python.says("nil", "SET", ns.Lock("job"), "1", "EX", "120", "NX")
	python.says("OK", "SET", ns.Lock("job"), "1", "EX", "120")
	<-held.Context().Done()
	require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
	require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
	python.says("1", "GET", ns.Lock("job"))
}

// compareAndSet does what Python's set* do for one comparison: the number that is given against the one that is stored.
const compareAndSet = `
local stored = tonumber(redis.call('GET', KEYS[1]))
if stored and not (tonumber(ARGV[1]) > stored) then return 0 end
redis.call('SET', KEYS[1], tonumber(ARGV[2]))
return 1`

func TestNumbersOfPythonsAndOursCompare(t *testing.T) {
	t.Parallel()
	be, python, ns := onRedis(t, "lock")
	k, ctx, n := lock.NewKeys(be, ns), t.Context(), ns.Lock("n")
	python.says("1", "EVAL", compareAndSet, "1", n, "0.1", "0.1")
	yes(t, true)(k.SetIf(ctx, "n", lock.EQ, 0.1, "", backend.NoExpiry)) // which it wrote as 0.10000000000000001
	yes(t, false)(k.SetIf(ctx, "n", lock.GT, 0.1, "", backend.NoExpiry))
	yes(t, true)(k.SetIf(ctx, "n", lock.GT, 1e6, "", time.Hour))
	python.says("1000000", "GET", n)
	python.says("0", "EVAL", compareAndSet, "1", n, "1000000", "7")
	python.says("1", "EVAL", compareAndSet, "1", n, "1000000.5", "7")
	yes(t, false)(k.DeleteIf(ctx, "n", lock.LT, 7))
	yes(t, true)(k.DeleteIf(ctx, "n", lock.LE, 7))
	python.says("0", "EXISTS", n)

	for _, text := range []string{"me", "", " 1", "0x10", "inf", "nan"} {
		python.says("OK", "SET", n, text, "EX", "100")
		_, err := k.SetIf(ctx, "n", lock.GT, 1, "", backend.NoExpiry)
		require.ErrorIs(t, err, backend.ErrNotNumber, text)
		_, err = k.DeleteIf(ctx, "n", lock.GT, 1)
		require.ErrorIs(t, err, backend.ErrNotNumber, text)
		python.says(text, "GET", n)
		assert.NotEqual(t, "-1", python.do("TTL", n))
	}
}

func TestWhatIsNoStringIsNoLock(t *testing.T) {
	t.Parallel()
	be, other, ns := onRedis(t, "lock")
	k, ctx := lock.NewKeys(be, ns), t.Context()
	other.says("1", "HSET", ns.Lock("a"), "field", "value")
	_, locked := k.Lock(ctx, "a", "v", time.Minute)
	_, relocked := k.RLock(ctx, "a", "v", time.Minute)
	_, looked := k.IsLocked(ctx, "a")
	_, set := k.SetIf(ctx, "a", lock.GT, 1, "", time.Minute)
	_, deleted := k.DeleteIf(ctx, "a", lock.GT, 1)
	for _, err := range []error{locked, relocked, k.Update(ctx, "a", "v", time.Minute), looked, set, deleted} {
		require.ErrorIs(t, err, backend.ErrWrongType)
	}
	other.says("field value", "HGETALL", ns.Lock("a"))
}

func TestKeysAreListedOnRedis(t *testing.T) {
	t.Parallel()
	be, other, ns := onRedis(t, "lock")
	k, ctx := lock.NewKeys(be, ns), t.Context()
	other.says("OK", "SET", ns.Lock("python"), "1", "EX", "120")
	other.says("OK", "SET", ns.Base()+"x:other", "1")
	yes(t, true)(k.Lock(ctx, "go", "v", time.Minute))
	seen := map[string]string{}
	for s, err := range k.All(ctx) {
		require.NoError(t, err)
		seen[s.Name] = s.Value
	}
	assert.Equal(t, map[string]string{"python": "1", "go": "v"}, seen)
}

func TestAPoolIsPythonsPool(t *testing.T) {
	t.Parallel()
	be, python, ns := onRedis(t, "lock-pool")
	p, ctx := lock.NewPool(be, ns), t.Context()
	python.says("4", "SADD", ns.Pool(), "a", "b", "hash", "list")
	python.says("OK", "SET", ns.Lock("b"), "1", "EX", "120")
	python.says("1", "HSET", ns.Lock("hash"), "f", "v")
	python.says("1", "RPUSH", ns.Lock("list"), "v")
	python.says("1", "EXPIRE", ns.Lock("list"), "120")
	assert.Equal(t, []string{"a", "b", "hash", "list"}, members(t, p))
	all := states(t, p)
	for name, want := range map[string]lock.Status{
		"a": lock.StatusFree, "b": lock.StatusLocked, "hash": lock.StatusError, "list": lock.StatusLocked,
	} {
		assert.Equal(t, want, all[name].Status(2*time.Minute), name)
	}
	assert.Equal(t, "1", all["b"].Value)
	assert.Empty(t, all["hash"].Value)
	locked, free, err := p.Counts(ctx)
	require.NoError(t, err)
	assert.Equal(t, []int{3, 1}, []int{locked, free})

	_, err = p.Extend(ctx, []string{"c"})
	require.NoError(t, err)
	python.says("1", "SISMEMBER", ns.Pool(), "c")
	yes(t, true)(p.Locks().Lock(ctx, "c", "1", 2*time.Minute))
	python.says("1 1", "MGET", ns.Lock("b"), ns.Lock("c"))
	require.NoError(t, p.Assign(ctx, []string{"x"}))
	python.says("x", "SMEMBERS", ns.Pool())
	require.NoError(t, p.Clear(ctx))
	python.says("0", "EXISTS", ns.Pool())
	python.says("2", "EXISTS", ns.Lock("b"), ns.Lock("c"))

	python.says("OK", "SET", ns.Pool(), "text")
	_, err = p.Extend(ctx, []string{"c"})
	require.ErrorIs(t, err, backend.ErrWrongType)
	_, _, err = p.Counts(ctx)
	require.ErrorIs(t, err, backend.ErrWrongType)
	require.ErrorIs(t, p.Clear(ctx), backend.ErrWrongType)
}

func TestALargePoolOnRedis(t *testing.T) {
	t.Parallel()
	be, other, ns := onRedis(t, "lock-pool")
	p, ctx := lock.NewPool(be, ns), t.Context()
	all := make([]string, 5000)
	for i := range all {
		all[i] = fmt.Sprintf("m%04d", i)
	}
	added, err := p.Extend(ctx, all)
	require.NoError(t, err)
	assert.Equal(t, len(all), added)
	for i := 0; i < len(all); i += 100 {
		other.says("OK", "SET", ns.Lock(all[i]), "1", "EX", "120")
	}
	assert.Equal(t, all, members(t, p))
	locked, free, err := p.Counts(ctx)
	require.NoError(t, err)
	assert.Equal(t, []int{50, 4950}, []int{locked, free})
	n, err := p.Len(ctx)
	require.NoError(t, err)
	assert.Equal(t, len(all), n)
	require.NoError(t, p.Assign(ctx, all[2000:]))
	n, err = p.Len(ctx)
	require.NoError(t, err)
	assert.Equal(t, 3000, n)
}

func TestAHeartbeatIsPythonsHealthCheckPool(t *testing.T) {
	t.Parallel()
	be, python, ns := onRedis(t, "thread-health-check-pool")
	const ttl = 3 * time.Second
	b := lock.NewHeartbeat(be, ns, lock.HeartbeatConfig{TTL: ttl})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := watching(ctx, b)
	python.says("OK", "SET", ns.Lock("4711"), "1", "EX", "60") // its initialize
	python.says("1", "SADD", ns.Pool(), "4711")
	require.Equal(t, "joined 4711", <-told)

	p := join(t, b, "go")
	require.Equal(t, "joined go", <-told)
	python.says("2", "SCARD", ns.Pool())
	python.says("1", "SISMEMBER", ns.Pool(), "go")
	python.says(p.Token(), "GET", ns.Lock("go"))
	python.says("OK", "SET", ns.Lock("4711"), "1", "EX", "60") // its update
	<-time.After(ttl + ttl/4)
	require.NoError(t, p.Err())
	python.says("1", "EXISTS", ns.Lock("go"))
	assert.Equal(t, []string{"4711", "go"}, ids(t, b))

	python.says("1", "SREM", ns.Pool(), "4711") // its finalize
	python.says("1", "DEL", ns.Lock("4711"))
	require.Equal(t, "left 4711", <-told)
	leave(t, p)
	python.says("0", "EXISTS", ns.Pool(), ns.Lock("go"))
	require.Equal(t, "left go", <-told)
	cancel()
	_, more := <-told
	require.False(t, more)
}

func TestAProcessThatDiesIsMissed(t *testing.T) {
	t.Parallel()
	be, other, ns := onRedis(t, "heartbeat")
	const ttl = 3 * time.Second
	b := lock.NewHeartbeat(be, ns, lock.HeartbeatConfig{TTL: ttl})
	alive := join(t, b, "alive")

	u, err := url.Parse(redistest.URL(t))
	require.NoError(t, err)
	proxy := redistest.NewProxy(t, u.Host)
	victim := join(t, lock.NewHeartbeat(process(t, proxy.URL()), ns, lock.HeartbeatConfig{TTL: ttl}), "victim")
	told := watching(t.Context(), b)
	require.Equal(t, "joined alive", <-told)
	require.Equal(t, "joined victim", <-told)

	proxy.Drop(redistest.Both) // nothing of it is heard any more, not even that its connections are closed
	eventually(t, "its end", func() bool { return other.do("EXISTS", ns.Lock("victim")) == "0" })
	require.ErrorIs(t, victim.Err(), lock.ErrExpired, "it knows before anybody else")
	<-victim.Context().Done()
	require.ErrorIs(t, context.Cause(victim.Context()), lock.ErrExpired)
	require.Equal(t, "left victim", <-told)
	gone, err := b.Prune(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"victim"}, gone)
	other.says("alive", "SMEMBERS", ns.Pool())
	require.NoError(t, alive.Err())
	proxy.Resume()
}

func TestAServerThatStallsEndsItsMembersInTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const ttl = 3 * time.Second
	b := lock.NewHeartbeat(process(t, server.URL(), rueidis.CallTimeout(500*time.Millisecond)),
		backend.Namespace{Prefix: "stall", Suffix: "heartbeat"}, lock.HeartbeatConfig{TTL: ttl})
	joined := func() *lock.Presence {
		var p *lock.Presence
		eventually(t, "a member", func() (in bool) {
			var err error
			if p, err = b.Join(t.Context(), "p"); err != nil {
				require.ErrorIs(t, err, backend.ErrUnavailable)
			}
			return err == nil
		})
		t.Cleanup(func() { _ = p.Leave(context.Background()) })
		return p
	}
	p := joined()
	ctx, cancel := context.WithCancel(t.Context())
	told := watching(ctx, b)
	hears := func(what string) {
		for text := range told {
			if strings.HasPrefix(text, what) {
				return
			}
		}
		require.Fail(t, "the watch has ended")
	}
	hears("joined p")
	server.Pause()
	<-time.After(ttl - lease.Margin(ttl))
	require.ErrorIs(t, p.Err(), lock.ErrExpired)
	<-p.Context().Done()
	require.ErrorIs(t, context.Cause(p.Context()), lock.ErrExpired)
	hears("unknown ")
	server.Resume()
	require.Error(t, p.Err(), "nothing revives it")
	again := joined()
	hears("joined p")
	leave(t, again)
	cancel()
}
