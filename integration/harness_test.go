package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	redis "github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

// patience is how long a test waits for what has to happen some time, on however slow a machine.
const patience = time.Minute

// renewedTTL leaves a busy machine some seconds for a renewal, which is due after a third of it.
const renewedTTL = 9 * time.Second

// Keys is a pool without objects.
type Keys = pool.Allocator[pool.None]

// Lease is a lease without an object.
type Lease = pool.Lease[pool.None]

// newNamespace gives a namespace that no other test has.
func newNamespace(tb testing.TB) backend.Namespace {
	return backend.Namespace{Prefix: redistest.Prefix(tb), Suffix: "pool"}
}

// open connects to a server until the test ends. A test that fails shows what the backend has logged.
func open(tb testing.TB, url string, options ...rueidis.Option) *rueidis.Backend {
	tb.Helper()
	log := new(journal)
	options = append(options, rueidis.Logger(slog.New(slog.NewTextHandler(log, nil))))
	be, err := connect(url, options...)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		_ = be.Close()
		if tb.Failed() && log.Len() > 0 {
			tb.Logf("log of the backend at %s:\n%s", url, log)
		}
	})
	return be
}

// connect opens a backend, also on a machine that is too busy for that at first.
func connect(url string, options ...rueidis.Option) (*rueidis.Backend, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		be, err := rueidis.Open(ctx, url, options...)
		if err == nil || !errors.Is(err, backend.ErrUnavailable) || ctx.Err() != nil {
			return be, err
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// journal keeps what is logged first.
type journal struct{ bytes.Buffer }

// Write is called by one goroutine at a time.
func (j *journal) Write(b []byte) (int, error) {
	const enough = 1 << 14
	if j.Len() < enough {
		j.Buffer.Write(b)
	}
	return len(b), nil
}

// newPool opens a pool until the test ends.
func newPool(tb testing.TB, be pool.Backend, cfg pool.Config[pool.None]) *Keys {
	tb.Helper()
	keys, err := pool.New(be, cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = keys.Close() })
	return keys
}

// raw connects to a server without the library, as redis-cli does.
func raw(tb testing.TB, url string) *redisCLI {
	tb.Helper()
	cli, err := dialRaw(url)
	require.NoError(tb, err)
	tb.Cleanup(cli.client.Close)
	return cli
}

// redisCLI sends commands that know nothing of the library.
type redisCLI struct{ client redis.Client }

func dialRaw(url string) (*redisCLI, error) {
	option, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	option.DisableCache = true
	option.Dialer.Timeout, option.ConnWriteTimeout = patience, patience
	client, err := redis.NewClient(option)
	return &redisCLI{client}, err
}

// do sends one command. A nil reply is no error.
func (c *redisCLI) do(words ...string) (redis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, err := c.client.Do(ctx, c.client.B().Arbitrary(words...).Build()).ToMessage()
	if redis.IsRedisNil(err) {
		err = nil
	}
	return reply, err
}

// must sends one command, which has to succeed.
func (c *redisCLI) must(tb testing.TB, words ...string) redis.RedisMessage {
	tb.Helper()
	reply, err := c.do(words...)
	require.NoError(tb, err, words)
	return reply
}

// int is must for a command that answers with a number.
func (c *redisCLI) int(tb testing.TB, words ...string) int64 {
	tb.Helper()
	reply := c.must(tb, words...)
	n, err := reply.AsInt64()
	require.NoError(tb, err, words)
	return n
}

// pause lets d pass, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// working is held by the one test that keeps the machine busy.
var working sync.Mutex

// busily makes a test the only one that keeps the machine busy, until it is done or calls the function. The others run
// besides it, because they mostly wait.
func busily(tb testing.TB) (done func()) {
	working.Lock()
	done = sync.OnceFunc(working.Unlock)
	tb.Cleanup(done)
	return done
}

// outcome is what something on another goroutine has led to.
type outcome[T any] struct {
	got T
	err error
}

// begin does something on a goroutine.
func begin[T any](do func() (T, error)) <-chan outcome[T] {
	done := make(chan outcome[T], 1)
	go func() {
		got, err := do()
		done <- outcome[T]{got, err}
	}()
	return done
}

// await waits for what was begun.
func await[T any](tb testing.TB, done <-chan outcome[T]) outcome[T] {
	tb.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(patience):
		require.FailNow(tb, "what was begun does not come back")
		return outcome[T]{}
	}
}

// eventually waits until cond holds and tells how long that took.
func eventually(tb testing.TB, within time.Duration, what string, cond func() bool) time.Duration {
	tb.Helper()
	begin := time.Now()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			require.FailNow(tb, "waited too long", "%s: not within %v", what, within)
		}
	}
	return time.Since(begin)
}

// renewed waits until a lease is renewed in the background.
func renewed(tb testing.TB, h holder) {
	tb.Helper()
	before := h.Deadline()
	eventually(tb, patience, "it is renewed", func() bool {
		require.NoError(tb, h.Context().Err())
		return h.Deadline().After(before)
	})
}

// look inspects the whole pool, which changes nothing.
func look(tb testing.TB, be backend.Pools, ns backend.Namespace) (seen backend.InspectReply) {
	tb.Helper()
	goingOn(tb, func() (err error) {
		seen, err = be.Inspect(context.Background(), backend.InspectRequest{Namespace: ns})
		return err
	})
	return seen
}

// goingOn does something once more as long as it meets connections that have not noticed yet that their server was
// restarted.
func goingOn(tb testing.TB, do func() error) {
	tb.Helper()
	var err error
	for range 10 {
		if err = do(); !errors.Is(err, backend.ErrUnavailable) {
			break
		}
	}
	require.NoError(tb, err)
}

// leftovers tells what keeps a pool from being idle: locks, allocated members, those who wait, broken invariants.
func leftovers(seen backend.InspectReply) []string {
	left := backend.CheckPool(seen, true)
	for i := range seen.Members {
		switch m := &seen.Members[i]; {
		case m.Locked:
			left = append(left, m.Name+" is locked by "+m.Owner)
		case !m.Free():
			left = append(left, m.Name+" is allocated")
		}
	}
	if seen.Waiting > 0 {
		left = append(left, "somebody waits")
	}
	return left
}

// expectIdle waits until nothing is held and nobody waits, only looking, and tells how long that took.
func expectIdle(tb testing.TB, be backend.Pools, ns backend.Namespace, within time.Duration) time.Duration {
	tb.Helper()
	var left []string
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		if left = leftovers(look(tb, be, ns)); len(left) == 0 {
			return time.Since(begin)
		}
		if ctx.Err() != nil {
			require.FailNow(tb, "something was left behind", "after %v: %q", within, left)
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// members names n members.
func members(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("m%05d", i)
	}
	return list
}

// lateness tells by how much a timer that is due at that moment, and a round trip, are late: what can be expected at
// best, there and then, of whoever has to do something at that moment. Nobody must need more than ten times as much,
// which is what [excess] leaves out.
func lateness(cli *redisCLI, at time.Time) <-chan time.Duration {
	late := make(chan time.Duration, 1)
	go func() {
		pause(context.Background(), time.Until(at))
		_, _ = cli.do("PING") // the tests see it if the server does not answer
		late <- time.Since(at)
	}()
	return late
}

// excess is what is left of a time if the machine's own lateness is left out.
func excess(took time.Duration, late <-chan time.Duration) time.Duration { return took - 10*<-late }

// quantile gives the value below which the share q of a list lies.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// grantedAt is when the server granted a lease, by its clock, which is this machine's. Fencing numbers follow it in
// microseconds; only grants within the same one go ahead of it, by as many.
func grantedAt(fence int64) time.Time { return time.UnixMicro(fence) }

// isRefusal reports whether an allocation found nothing to give.
func isRefusal(err error) bool { return errors.Is(err, pool.ErrExhausted) }
