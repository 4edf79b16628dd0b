package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

// pickle is what Python's pickle.dumps gives of {"id": "py"}.
const pickle = "\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x02id\x94\x8c\x02py\x94s."

// TestPickleIsForeign has tasks of Python's, and a few other things that are none of ours, stand in the list of a queue:
// they stop nobody, and who waits for one of them learns what it is.
func TestPickleIsForeign(t *testing.T) {
	t.Parallel()
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	cli := raw(t, url)
	q := newJobs(open(t, url), ns, task.ServerConfig{LeaseTTL: time.Minute})
	before := submitted(t, q, job{N: 1})
	cli.must(t, "SET", ns.TaskResult("py"), pickle, "EX", "3600")
	cli.must(t, "SET", ns.TaskResult("text"), `{"state":"done"`, "EX", "3600")
	cli.must(t, "SET", ns.Task("string"), "garbage", "EX", "3600")
	cli.must(t, "RPUSH", ns.TaskQueue("jobs"), "py", "nobody", "", "text", "string", "py")
	after := submitted(t, q, job{N: 2})

	foreign := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, task.ErrDead)
		require.ErrorIs(t, err, task.ErrForeignPayload)
	}
	waitFor := func(id string) error {
		_, err := insist(ctx, func() (product, error) { return q.Wait(ctx, id) })
		return err
	}
	foreign(waitFor("py"))
	listenUntil(t, q, (&hand{}).do)
	for i, h := range []*task.Handle[product]{before, after} {
		got, err := waited(t, h)
		require.NoError(t, err)
		assert.Equal(t, i+1, got.N)
	}
	foreign(waitFor("py"))
	foreign(waitFor("text"))
	foreign(waitFor("string"))
	require.ErrorIs(t, waitFor("nobody"), task.ErrLost)
	for _, id := range []string{"py", "text", "string"} {
		_, err := insist(ctx, func() (product, error) { return q.Query(ctx, job{}, task.ID(id)) })
		require.ErrorIs(t, err, task.ErrConflict, id)
	}
	reply := cli.must(t, "GET", ns.TaskResult("py"))
	value, err := reply.ToString()
	require.NoError(t, err)
	assert.Equal(t, pickle, value, "it is not ours to change")
	for range 20 {
		got, err := insist(ctx, func() (product, error) { return q.Query(ctx, job{N: 3}, task.Timeout(patience)) })
		require.NoError(t, err)
		assert.Equal(t, 3, got.N)
	}
}

// TestQueueOutlivesWrongTypes puts values of wrong types under the keys of a queue while it is used, one after the other.
// Whoever asks gets what they asked for, or an error of the contract, and when it is taken away the queue goes on.
func TestQueueOutlivesWrongTypes(t *testing.T) {
	t.Parallel()
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	cli, name := raw(t, url), "jobs"
	q := newJobs(open(t, url), ns, task.ServerConfig{LeaseTTL: 5 * time.Second, Mark: 3 * time.Second})
	listenUntil(t, newJobs(open(t, url), ns, task.ServerConfig{LeaseTTL: 5 * time.Second, Mark: 3 * time.Second}), (&hand{}).do)
	kinds := []job{{N: 7}, {N: 7, Plan: []deed{fails, works}}, {N: 7, Plan: []deed{fails}}, {N: 7, Plan: []deed{fatal}}}
	use := func(long time.Duration) error {
		options := []task.Option{task.Timeout(long), task.Retries(1), task.Class(rand.IntN(3))}
		if rand.IntN(3) == 0 {
			options = append(options, task.Delay(time.Millisecond))
		}
		got, err := q.Query(ctx, kinds[rand.IntN(len(kinds))], options...)
		if err == nil {
			assert.Equal(t, 7, got.N)
		}
		return err
	}
	usual := func(err error) bool { // as if nothing were wrong
		return err == nil || errors.Is(err, errBroken)
	}
	lists := map[string]bool{
		ns.TaskQueue(name): true, ns.TaskLane(name, backend.ClassHigh): true, ns.TaskLane(name, backend.ClassLow): true,
	}
	wrong, total := 0, 0
	for _, key := range []string{
		ns.TaskQueue(name), ns.TaskLane(name, backend.ClassHigh), ns.TaskLane(name, backend.ClassLow), ns.TaskSchedule(name),
		ns.TaskLeases(name), ns.TaskGraveyard(name), ns.TaskListeners(name), ns.TaskIdle(name), ns.TaskTotals(name),
		ns.TaskGhosts(name), ns.TaskIdlers(), ns.TasksPaused(), ns.TaskListen(name), ns.Fence(),
	} {
		aside := ns.Prefix + "-aside"
		spoilt := []string{"RPUSH", key, "garbage"}
		if lists[key] {
			spoilt = []string{"HSET", key, "garbage", ""}
		}
		const away = `
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
redis.call(unpack(ARGV))`
		const back = `
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end`
		cli.must(t, append([]string{"EVAL", away, "2", key, aside}, spoilt...)...)
		for range 3 {
			err := use(200 * time.Millisecond)
			total++
			if usual(err) {
				continue
			}
			wrong++
			assert.True(t, errors.Is(err, backend.ErrWrongType) || errors.Is(err, task.ErrExpired) || errors.Is(err, backend.ErrUnavailable),
				"%s: %v", key, err)
		}
		cli.must(t, "EVAL", back, "2", key, aside)
		var last error
		eventually(t, patience, "it goes on after "+key, func() bool {
			last = use(patience)
			if !usual(last) && !errors.Is(last, backend.ErrUnavailable) {
				require.FailNow(t, "nothing is wrong any more", "%s: %v", key, last)
			}
			return last == nil
		})
	}
	assert.Positive(t, wrong)
	t.Logf("%d of %d were told that something was wrong", wrong, total)
}
