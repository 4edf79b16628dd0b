package stress

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// rig is a run without workers, in which a test does what nobody may.
type rig struct {
	*run
	t    *testing.T
	hand *hand // of a worker in this process
	keys *keys

	mu  sync.Mutex
	out bytes.Buffer // what that worker tells
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r, err := prepare(t.Context(), Config{URL: redistest.URL(t), TTL: time.Minute, patience: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(r.close)
	g := &rig{run: r, t: t}
	w := &worker{job: job{Spaces: r.spaces, TTL: time.Minute}, be: r.be, guard: r.guard, ctx: t.Context(), open: t.Context()}
	w.out = json.NewEncoder(g)
	g.hand = &hand{worker: w, name: "test"}
	g.keys, err = pool.New(r.be, pool.Config[pool.None]{Namespace: r.spaces.pool()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.keys.Close() })
	return g
}

// Write takes what the worker tells.
func (g *rig) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.Write(b)
}

// do sends a command that knows nothing of the library.
func (g *rig) do(words ...string) {
	g.t.Helper()
	require.NoError(g.t, g.client.Do(g.t.Context(), g.client.B().Arbitrary(words...).Build()).Error(), words)
}

func (g *rig) must(err error) {
	g.t.Helper()
	require.NoError(g.t, err)
}

// other is a backend that does not know what the first one holds.
func (g *rig) other() *rueidis.Backend {
	g.t.Helper()
	be, err := connect(g.t.Context(), g.cfg.URL, false)
	g.must(err)
	g.t.Cleanup(func() { _ = be.Close() })
	return be
}

func (g *rig) member() *memberLease {
	g.t.Helper()
	l, err := g.keys.MallocKey(g.t.Context(), pool.TTL(time.Minute))
	g.must(err)
	return l
}

func (g *rig) lock(name string) *lock.Held {
	g.t.Helper()
	held, err := lock.NewMutex(g.be, g.spaces.locks(), name, g.hand.lockConfig()).TryLock(g.t.Context())
	g.must(err)
	return held
}

// takeAway frees a name whoever has it, which they learn with their next renewal.
func (g *rig) takeAway(name string) {
	g.t.Helper()
	_, err := lock.NewKeys(g.other(), g.spaces.locks()).Unlock(g.t.Context(), name)
	g.must(err)
}

// submit registers and submits a task that nobody does.
func (g *rig) submit(sort string) (id string) {
	g.t.Helper()
	id = "0.0.0-" + sort + "-1"
	g.must(g.guard.register(g.t.Context(), id, sort, 7))
	_, err := newQueue(g.be, g.spaces.tasks(), queueNames[0]).Submit(g.t.Context(), params{Sort: sort, N: 7}, task.ID(id))
	g.must(err)
	g.must(g.guard.ack(g.t.Context(), id))
	return id
}

// end ends a task by hand.
func (g *rig) end(id string, kind backend.ReportKind, data string) {
	g.t.Helper()
	ctx := g.t.Context()
	got, err := g.be.Fetch(ctx, backend.FetchRequest{
		Namespace: g.spaces.tasks(), Listener: backend.NewToken(), Token: backend.NewToken(), TTL: time.Minute, Mark: time.Minute, Max: 1,
		Queues: []backend.FetchQueue{{Name: queueNames[0], Room: 1}}, Lanes: []backend.FetchLane{{Max: 1}},
	})
	g.must(err)
	require.Len(g.t, got.Tasks, 1)
	reply, err := g.be.Report(ctx, backend.ReportRequest{Namespace: g.spaces.tasks(), Items: []backend.TaskReport{
		{ID: id, Token: got.Tasks[0].Token, Kind: kind, Data: []byte(data)},
	}})
	g.must(err)
	require.Equal(g.t, []bool{true}, reply.Accepted)
}

func (g *rig) note(id, field, value string) {
	g.t.Helper()
	g.must(g.guard.note(g.t.Context(), id, field, value))
}

// TestPlantedViolationsAreSeen does by hand what must never be, and has the watcher look. Without that it finds nothing.
func TestPlantedViolationsAreSeen(t *testing.T) {
	t.Parallel()
	links := backend.Allocated + backend.LinkSeparator + backend.LinkSeparator + "-1"
	for _, c := range []struct {
		name  string
		plant func(g *rig)
		rule  string
		want  string
	}{
		{"a leased member vanishes", func(g *rig) { g.do("HDEL", g.spaces.pool().Pool(), g.member().Key()) }, "pool", "is lost"},
		{"a free member vanishes", func(g *rig) { g.do("HDEL", g.spaces.pool().Pool(), "m03") }, "pool", "no further free member"},
		{"a member of the shared pool vanishes", func(g *rig) {
			_, err := g.be.Shrink(g.t.Context(), backend.ShrinkRequest{Namespace: g.spaces.shared(), Members: []string{"s01"}})
			g.must(err)
		}, "pool", "s01 is lost"},
		{"a stranger's member", func(g *rig) {
			g.must(g.keys.Extend(g.t.Context(), []string{"stranger"}))
		}, "pool", "none of its own"},
		{"free and locked", func(g *rig) { g.do("SET", g.spaces.pool().Lock("m05"), "1", "EX", "60") }, "pool", "is free and locked"},
		{"half allocated", func(g *rig) { g.do("HSET", g.spaces.pool().Pool(), "m05", links) }, "pool", "half allocated"},
		{"a lease without end", func(g *rig) { g.do("PERSIST", g.spaces.pool().Lock(g.member().Key())) }, "pool", "the longest lease"},

		{"who came later goes first", func(g *rig) {
			first, second := g.waiting(), g.waiting()
			line := g.spaces.pool().Line()
			at, err := g.client.Do(g.t.Context(), g.client.B().Zscore().Key(line).Member(first).Build()).AsFloat64()
			g.must(err)
			g.do("ZADD", line, strconv.FormatFloat(at-0.5, 'f', -1, 64), second)
		}, "line", "stands in front of"},
		{"somebody is never served", func(g *rig) {
			g.waiting()
			g.must(g.watch.look(g.t.Context())) // and sees it for the first time
			for begin := time.Now(); time.Since(begin) <= g.cfg.patience; pause(g.t.Context(), g.cfg.patience/4) {
				g.must(g.watch.look(g.t.Context()))
			}
		}, "line", "of the line for"},

		{"a mutex is shared", func(g *rig) {
			_, err := lock.NewRWMutex(g.be, g.spaces.locks(), mutexNames[0], g.hand.lockConfig()).RLock(g.t.Context())
			g.must(err)
		}, "lock", "nobody has shared it"},
		{"a semaphore is locked", func(g *rig) { g.lock(semaphores[0].name) }, "lock", "nobody has locked it alone"},
		{"too many units", func(g *rig) {
			name := semaphores[0].name
			s := lock.NewSemaphore(g.be, g.spaces.locks(), name, 100, g.hand.lockConfig())
			_, err := s.Acquire(g.t.Context(), semaphores[0].units+1)
			g.must(err)
			g.must(s.Resize(g.t.Context(), semaphores[0].units))
		}, "lock", "more units are out"},
		{"another limit", func(g *rig) {
			g.must(lock.NewSemaphore(g.be, g.spaces.locks(), semaphores[0].name, 100, lock.Config{}).Resize(g.t.Context(), 100))
			_, err := lock.NewSemaphore(g.be, g.spaces.locks(), semaphores[0].name, 100, lock.Config{}).Acquire(g.t.Context(), 1)
			g.must(err)
		}, "lock", "another limit"},
		{"a lock without end", func(g *rig) { g.do("SET", g.spaces.locks().Lock(rwNames[0]), "1") }, "lock", "for longer than anybody"},
		{"a holder without units", func(g *rig) {
			_, err := lock.NewSemaphore(g.be, g.spaces.locks(), semaphores[1].name, semaphores[1].units, g.hand.lockConfig()).
				Acquire(g.t.Context(), 1)
			g.must(err)
			g.do("DEL", g.spaces.locks().LockUnitsPrefix()+semaphores[1].name)
		}, "lock", "a holder without units"},

		{"a task waits twice", func(g *rig) {
			g.do("RPUSH", g.spaces.tasks().TaskQueue(queueNames[0]), g.submit("plain"))
		}, "task", "stands as w, w and is w"},
		{"a task waits and is scheduled", func(g *rig) {
			g.do("ZADD", g.spaces.tasks().TaskSchedule(queueNames[0]), "1", g.submit("plain"))
		}, "task", "stands as w, s and is w"},
		{"a task is not what it seems", func(g *rig) {
			g.do("HSET", g.spaces.tasks().Task(g.submit("plain")), "s", "r")
		}, "task", "stands as w and is r"},
		{"a task ends twice", func(g *rig) {
			g.submit("plain")
			g.do("HINCRBY", g.spaces.tasks().TaskTotals(queueNames[0]), "done", "1")
		}, "task", "the queues know of 2"},
		{"a task vanishes from the numbers", func(g *rig) {
			g.do("LREM", g.spaces.tasks().TaskQueue(queueNames[0]), "1", g.submit("plain"))
		}, "task", "the queues know of 0"},
		{"a task is lost", func(g *rig) { g.do("DEL", g.spaces.tasks().Task(g.submit("plain"))) }, "task", "is lost: it was submitted"},
		{"a task is done by nobody", func(g *rig) {
			id := g.submit("plain")
			g.end(id, backend.ReportDone, `{"N":7,"Fence":5}`)
			g.note(id, "left", "1")
		}, "task", "was done by nobody"},
		{"a task has another result", func(g *rig) {
			id := g.submit("plain")
			g.end(id, backend.ReportDone, `{"N":8,"Fence":5}`)
			g.note(id, "left", "1")
		}, "task", "another result"},
		{"a task ends as it must not", func(g *rig) {
			id := g.submit("plain")
			g.end(id, backend.ReportFailed, `{}`)
			g.note(id, "left", "1")
		}, "task", "has ended as it must not"},
		{"somebody is told another end", func(g *rig) {
			id := g.submit("failed")
			g.end(id, backend.ReportFailed, `{}`)
			g.note(id, "told", "done")
			g.note(id, "left", "1")
		}, "task", "otherwise than somebody was told"},
		{"a task is begun too often", func(g *rig) {
			id := g.submit("failed")
			g.end(id, backend.ReportFailed, `{}`)
			g.note(id, begins+"5", "1")
			g.note(id, begins+"6", "1")
			g.note(id, "left", "1")
		}, "task", "more often than it was given out"},
		{"a task has too few attempts", func(g *rig) {
			id := g.submit("broken")
			g.end(id, backend.ReportDead, `{}`)
			g.note(id, "left", "1")
		}, "task", "the attempts that it should have"},

		{"the dead keep something", func(g *rig) {
			g.lock(mutexNames[0])
			ago := time.Now().Add(-time.Hour)
			g.crew.dead[backend.ProcessID()] = &deadWatch{died: ago, held: ago}
		}, "dead", "still has something"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.must(g.watch.look(t.Context()))
			g.expect("", "")
			c.plant(g)
			g.must(g.watch.look(t.Context()))
			g.expect(c.rule, c.want)
		})
	}
}

// waiting puts somebody into the line of the pool, all of which is taken.
func (g *rig) waiting() (token string) {
	g.t.Helper()
	ctx := g.t.Context()
	for {
		if _, err := g.keys.MallocKey(ctx); err != nil {
			require.ErrorIs(g.t, err, pool.ErrExhausted)
			break
		}
	}
	token = backend.NewToken()
	reply, err := g.be.Enter(ctx, backend.EnterRequest{Take: backend.TakeRequest{
		Namespace: g.spaces.pool(), Token: token, TTL: time.Minute,
	}})
	g.must(err)
	require.Empty(g.t, reply.Grants)
	return token
}

// expect wants one violation among those that were found, or none at all.
func (g *rig) expect(rule, what string) {
	g.t.Helper()
	found, n := g.all()
	if rule == "" {
		require.Zero(g.t, n, found)
		return
	}
	for _, v := range found {
		if v.Rule == rule && strings.Contains(v.What, what) {
			g.t.Log(v)
			return
		}
	}
	assert.Failf(g.t, "nobody has seen it", "%s: %s, but %v", rule, what, found)
}

// TestPlantedLeftoversAreFound leaves something behind, and has the store gone through.
func TestPlantedLeftoversAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		plant func(g *rig)
		rule  string
		want  string
	}{
		{"a lock", func(g *rig) { g.lock(mutexNames[0]) }, "end", "not every lock can be had"},
		{"units", func(g *rig) {
			s := lock.NewSemaphore(g.be, g.spaces.locks(), semaphores[0].name, semaphores[0].units, g.hand.lockConfig())
			_, err := s.Acquire(g.t.Context(), 1)
			g.must(err)
		}, "end", "semaphore00 is not free"},
		{"a member", func(g *rig) { g.member() }, "end", "not all of 24 members"},
		{"somebody in line", func(g *rig) { g.waiting() }, "end", "1 in line"},
		{"a task", func(g *rig) { g.submit("plain") }, "end", "tasks have not ended"},
		{"a listener", func(g *rig) {
			_, err := g.be.Fetch(g.t.Context(), backend.FetchRequest{
				Namespace: g.spaces.tasks(), Listener: backend.NewToken(), Token: backend.NewToken(), TTL: time.Minute, Mark: time.Minute,
				Queues: []backend.FetchQueue{{Name: queueNames[0]}},
			})
			g.must(err)
		}, "end", "or somebody listens"},
		{"an end too many", func(g *rig) {
			g.do("HINCRBY", g.spaces.tasks().TaskTotals(queueNames[0]), "failed", "1")
		}, "end", "has ended 1 tasks as failed, and 0 were"},
		{"a task of the dead", func(g *rig) {
			g.watch.books.never = append(g.watch.books.never, g.submit("plain"))
		}, "end", "has come into being"},
		{"a key", func(g *rig) { g.do("SET", g.spaces.tasks().Base()+"|tasks|other", "1") }, "key", "|tasks|other"},
		{"a key that ought to end", func(g *rig) { g.do("SET", g.spaces.locks().LockSequence(), "1") }, "key", "|locks|sequence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			c.plant(g)
			g.watch.audit(t.Context())
			g.expect(c.rule, c.want)
		})
	}
}

// TestSecondHoldersAreCaught gives what somebody holds to somebody else, behind his back. He touches what it stands for after
// the other, and complains.
func TestSecondHoldersAreCaught(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(g *rig) error
		want string
	}{
		{"member", func(g *rig) error {
			l := g.member()
			g.must(g.hand.touchMember(l))
			theirs, err := pool.New(g.other(), pool.Config[pool.None]{Namespace: g.spaces.pool()})
			g.must(err)
			defer theirs.Close()
			_, err = theirs.FreeKeys(g.t.Context(), []string{l.Key()})
			g.must(err)
			second, err := theirs.MallocKey(g.t.Context(), pool.Only(l.Key()))
			g.must(err)
			g.must(g.hand.touchMember(second))
			return g.hand.touchMember(l)
		}, "has two holders"},
		{"mutex", func(g *rig) error {
			held := g.lock(mutexNames[0])
			g.must(g.hand.touchNames(held, true))
			g.takeAway(mutexNames[0])
			second, err := lock.NewMutex(g.other(), g.spaces.locks(), mutexNames[0], g.hand.lockConfig()).TryLock(g.t.Context())
			g.must(err)
			g.must(g.hand.touchNames(second, true))
			return g.hand.touchNames(held, true)
		}, "has two holders"},
		{"reader beside a writer", func(g *rig) error {
			m := lock.NewRWMutex(g.be, g.spaces.locks(), rwNames[0], g.hand.lockConfig())
			held, err := m.RLock(g.t.Context())
			g.must(err)
			g.must(g.hand.touchNames(held, false))
			g.takeAway(rwNames[0])
			second, err := lock.NewRWMutex(g.other(), g.spaces.locks(), rwNames[0], g.hand.lockConfig()).TryLock(g.t.Context())
			g.must(err)
			g.must(g.hand.touchNames(second, true))
			return g.hand.touchNames(held, false)
		}, "has two holders"},
		{"writer beside a reader", func(g *rig) error {
			held := g.lock(rwNames[0])
			g.must(g.hand.touchNames(held, true))
			g.takeAway(rwNames[0])
			second, err := lock.NewRWMutex(g.other(), g.spaces.locks(), rwNames[0], g.hand.lockConfig()).TryRLock(g.t.Context())
			g.must(err)
			g.must(g.hand.touchNames(second, false))
			return g.hand.touchNames(held, true)
		}, "has two holders"},
		{"one unit too many", func(g *rig) error {
			which := semaphores[0]
			s := lock.NewSemaphore(g.be, g.spaces.locks(), which.name, which.units, g.hand.lockConfig())
			held, err := s.Acquire(g.t.Context(), 1)
			g.must(err)
			ok, _, err := g.guard.enter(g.t.Context(), which.name, held.Token(), 1, which.units, held.Deadline())
			g.must(err)
			require.True(g.t, ok)
			g.takeAway(which.name)
			second, err := lock.NewSemaphore(g.other(), g.spaces.locks(), which.name, which.units, g.hand.lockConfig()).
				TryAcquire(g.t.Context(), which.units)
			g.must(err)
			return g.hand.enterSemaphore(second, which, which.units)
		}, "has 5 units and gives out 6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.ErrorContains(t, c.do(newRig(t)), c.want)
		})
	}
}

// TestSecondAttemptsAreCaught has a task run that the ledger knows to have a newer attempt, and one that has ended.
func TestSecondAttemptsAreCaught(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		plant func(g *rig, id string)
		want  string
	}{
		{"a newer one", func(g *rig, id string) { g.note(id, "newest", number(1<<52)) }, "has two attempts"},
		{"an end", func(g *rig, id string) { g.must(g.guard.strike(g.t.Context(), []string{id})) }, "after its end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			c.plant(g, g.submit("plain"))
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- g.hand.serve(ctx) }()
			assert.Eventually(t, func() bool {
				g.mu.Lock()
				defer g.mu.Unlock()
				return strings.Contains(g.out.String(), c.want)
			}, patience, 5*time.Millisecond)
			stop()
			g.must(<-served)
		})
	}
}

// TestTroubleOfWorkersIsAViolation has a worker complain, and one die.
func TestTroubleOfWorkersIsAViolation(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	p, err := g.crew.start(job{Spaces: g.spaces, URL: "no URL", TTL: time.Minute})
	g.must(err)
	<-p.done
	g.crew.cast = []*process{p}
	g.cfg.URL = "no URL"
	_, err = g.crew.revive(true)
	g.must(err)
	g.expect("worker", "has died by itself")
	g.crew.close()
	g.crew.listen(p, io.MultiReader(strings.NewReader(`{"Complaint":"all is bad"}`+"\n"), strings.NewReader("half a l")))
	g.expect("worker", "all is bad")
}
