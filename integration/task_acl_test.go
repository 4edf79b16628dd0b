package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

// TestUserOfOneNamespaceCanQueue lets a user have the keys and channels of one namespace and the commands that the
// documentation names, and does all there is to do with queues.
func TestUserOfOneNamespaceCanQueue(t *testing.T) {
	t.Parallel()
	for _, tagged := range []bool{false, true} {
		name := "plain"
		if tagged {
			name = "hash tag"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := backend.Namespace{Prefix: "rights", Suffix: "tasks", HashTag: tagged}
			server := redistest.Start(t, redistest.User("app", "secret", rueidis.ACLRules(ns)...))
			queueEverything(t, server.UserURL("app", "secret"), ns)
			// Nothing was written outside the namespace.
			reply := raw(t, server.URL()).must(t, "KEYS", "*")
			all, err := reply.AsStrSlice()
			require.NoError(t, err)
			for _, key := range all {
				assert.Contains(t, key, ns.Base())
			}
		})
	}
}

// queueEverything does whatever can be done with queues, and expects no error.
func queueEverything(t *testing.T, url string, ns backend.Namespace) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	is := func(want error) func(product, error) {
		return func(_ product, err error) { t.Helper(); require.ErrorIs(t, err, want) }
	}
	be := open(t, url, rueidis.CallTimeout(patience))
	q := newJobs(open(t, url, rueidis.CallTimeout(patience)), ns, task.ServerConfig{})
	_, err := q.Query(ctx, job{}, task.Timeout(50*time.Millisecond))
	require.ErrorIs(t, err, task.ErrNoListener)
	is(task.ErrNoLocal)(q.Query(ctx, job{}, task.Auto))

	// Classes and delays, before anybody listens.
	var early []*task.Handle[product]
	for _, o := range []task.Option{task.High, task.Normal, task.Low, task.Delay(10 * time.Millisecond), task.At(time.Now())} {
		early = append(early, submitted(t, q, job{N: 7}, o))
	}
	for _, s := range []task.State{task.Scheduled, task.Waiting, task.Running, task.Dead} {
		for _, err := range q.List(ctx, s) {
			ok(err)
		}
	}
	h := &hand{tell: func(any) {}, in: make(chan string)}
	server := task.ServerConfig{Concurrency: 2, LeaseTTL: renewedTTL}
	end := listenUntil(t, newJobs(be, ns, server), func(ctx context.Context, t *task.Task[job]) (product, error) {
		if err := t.Progress(int64(t.Attempt()), 2, "going"); err != nil {
			return product{}, err
		}
		return h.do(ctx, t)
	})
	for _, e := range early {
		got, err := e.Wait(ctx)
		ok(err)
		assert.Equal(t, 7, got.N)
	}

	// All ends.
	got, err := q.Query(ctx, job{N: 8, Plan: []deed{fails, works}}, task.Retries(1), task.Once())
	ok(err)
	assert.Equal(t, 2, got.Attempt)
	is(errBroken)(q.Query(ctx, job{Plan: []deed{fatal}}))
	is(task.ErrDead)(q.Query(ctx, job{Plan: []deed{fails}}, task.Retries(1)))
	is(task.ErrExpired)(q.Query(ctx, job{Plan: []deed{endless}}, task.Timeout(100*time.Millisecond)))
	impatient, over := context.WithTimeout(ctx, 100*time.Millisecond)
	defer over()
	is(context.DeadlineExceeded)(q.Query(impatient, job{Plan: []deed{endless}}))

	// One that goes on for longer than its lease lasts, and tells how it goes.
	long := submitted(t, q, job{N: 9, Plan: []deed{holds}})
	for p, err := range long.Progress(ctx) {
		ok(err)
		assert.Equal(t, "going", p.Message)
		break
	}
	pause(ctx, renewedTTL)
	assert.Equal(t, task.Running, stateOf(t, long).State)
	assert.Zero(t, stateOf(t, long).Deaths)
	h.in <- "end"
	got, err = long.Wait(ctx)
	ok(err)
	assert.Equal(t, 9, got.N)
	ok(long.Remove(ctx))

	// Held back, cancelled, put back, removed.
	ok(q.Pause(ctx))
	held := submitted(t, q, job{})
	ok(held.Cancel(ctx))
	is(task.ErrCancelled)(held.Wait(ctx))
	ok(q.Resume(ctx))
	running := submitted(t, q, job{Plan: []deed{endless}})
	eventually(t, patience, "it runs", func() bool { return stateOf(t, running).State == task.Running })
	ok(running.Cancel(ctx))
	is(task.ErrCancelled)(running.Wait(ctx))
	var dead []string
	for d, err := range q.Dead(ctx) {
		ok(err)
		dead = append(dead, d.ID)
	}
	require.Len(t, dead, 1)
	n, err := q.Revive(ctx, dead...)
	ok(err)
	assert.Equal(t, 1, n)
	is(task.ErrDead)(q.Wait(ctx, dead[0]))
	_, err = q.Remove(ctx, dead...)
	ok(err)

	// A server that ends puts back what it has.
	end()
	server.Drain = -1
	end = listenUntil(t, newJobs(be, ns, server), h.do)
	back := submitted(t, q, job{Plan: []deed{endless}})
	eventually(t, patience, "it runs", func() bool { return stateOf(t, back).State == task.Running })
	end()
	eventually(t, patience, "it is put back", func() bool { return stateOf(t, back).State == task.Waiting })
	assert.Zero(t, stateOf(t, back).Attempts)
	ok(back.Cancel(ctx))
	s, err := q.Stats(ctx)
	ok(err)
	assert.Zero(t, s.Scheduled+s.Waiting+s.Running+s.Dead+s.Listeners, "%+v", s)
	assert.Positive(t, s.Done)
}

// TestMissingPermissionToQueueIsNamed takes something from what a user needs: the error says what.
func TestMissingPermissionToQueueIsNamed(t *testing.T) {
	t.Parallel()
	ns := backend.Namespace{Prefix: "rights", Suffix: "tasks"}
	var rules []string
	for _, rule := range rueidis.ACLRules(ns) {
		if rule != "~rights|tasks*" {
			rules = append(rules, rule)
		}
	}
	server := redistest.Start(t, redistest.User("nokeys", "secret", rules...))
	ctx := context.Background()
	q := newJobs(open(t, server.UserURL("nokeys", "secret")), ns, task.ServerConfig{})
	for _, err := range []error{
		func() error { _, err := q.Query(ctx, job{}); return err }(),
		func() error { _, err := q.Wait(ctx, "m"); return err }(),
		func() error { _, err := q.Stats(ctx); return err }(),
		q.Pause(ctx),
		q.Handle("m").Cancel(ctx),
	} {
		require.ErrorIs(t, err, backend.ErrPermission)
		assert.ErrorContains(t, err, "~rights|tasks*")
	}
	reply := raw(t, server.URL()).must(t, "KEYS", "*")
	keys, err := reply.AsStrSlice()
	require.NoError(t, err)
	assert.Empty(t, keys)
}
