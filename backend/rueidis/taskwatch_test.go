package rueidis

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// watchRoom is a room for tasks, all of one queue.
type watchRoom struct{ *room }

func newWatchRoom(t testing.TB, url string) watchRoom {
	t.Helper()
	return watchRoom{newRoom(t, url)}
}

func (r watchRoom) submits(b *Backend, change ...func(*backend.SubmitRequest)) backend.SubmitReply {
	r.Helper()
	req := backend.SubmitRequest{
		Namespace: r.ns, Queue: "q", ID: "id", Payload: []byte("p"), Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 3,
	}
	for _, f := range change {
		f(&req)
	}
	got, err := b.Submit(r.Context(), req)
	require.NoError(r, err)
	return got
}

func named(id string) func(*backend.SubmitRequest) {
	return func(r *backend.SubmitRequest) { r.ID = id }
}

// fetches takes tasks that must be there.
func (r watchRoom) fetches(b *Backend, n int) []backend.TaskGrant {
	r.Helper()
	got, err := b.Fetch(r.Context(), r.listener("l", n))
	require.NoError(r, err)
	require.Len(r, got.Tasks, n)
	return got.Tasks
}

func (r watchRoom) listener(name string, n int) backend.FetchRequest {
	return backend.FetchRequest{
		Namespace: r.ns, Listener: name, Token: backend.NewToken(), TTL: time.Hour, Mark: time.Hour, Max: n,
		Queues: []backend.FetchQueue{{Name: "q", Room: n}}, Lanes: []backend.FetchLane{{Max: max(n, 1)}},
	}
}

func (r watchRoom) reports(b *Backend, kind backend.ReportKind, data string, grants ...backend.TaskGrant) {
	r.Helper()
	req := backend.ReportRequest{Namespace: r.ns}
	for _, g := range grants {
		req.Items = append(req.Items, backend.TaskReport{ID: g.Task.ID, Token: g.Token, Kind: kind, Data: []byte(data)})
	}
	got, err := b.Report(r.Context(), req)
	require.NoError(r, err)
	require.NotContains(r, got.Accepted, false)
}

func (r watchRoom) watch(b *Backend, id string, progress bool) backend.WatchReply {
	r.Helper()
	got, err := b.Watch(r.Context(), backend.WatchRequest{Namespace: r.ns, ID: id, Progress: progress})
	require.NoError(r, err)
	return got
}

func (r watchRoom) watches(b *Backend, id string) *backend.Watching {
	r.Helper()
	got := r.watch(b, id, false)
	require.NotNil(r, got.Watching, "%+v", got.Task)
	return got.Watching
}

// change waits for what a watch tells.
func (r watchRoom) change(w *backend.Watching) backend.TaskChange {
	r.Helper()
	select {
	case c := <-w.Changes:
		return c
	case <-time.After(patience):
		require.FailNow(r, "nothing was told")
		return backend.TaskChange{}
	}
}

// ends waits for the final state.
func (r watchRoom) ends(w *backend.Watching, want backend.TaskState) backend.TaskInfo {
	r.Helper()
	c := r.change(w)
	require.NoError(r, c.Err)
	require.Equal(r, want, c.Task.State, "%+v", c.Task)
	return c.Task
}

// tasks gives how many tasks a backend watches.
func (r watchRoom) watched(b *Backend) int {
	r.Helper()
	sp, err := b.space(r.ns)
	require.NoError(r, err)
	sp.tasks.mu.Lock()
	defer sp.tasks.mu.Unlock()
	return len(sp.tasks.watched)
}

// TestWatchFindsOutByItself: what happens to a task without a message is told all the same.
func TestWatchFindsOutByItself(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		happens func(r watchRoom, other *Backend)
		state   backend.TaskState
	}{
		"nobody remembers who watches": {func(r watchRoom, other *Backend) {
			r.do("HDEL", r.ns.Task("id"), "w")
			r.reports(other, backend.ReportDone, "result", r.fetches(other, 1)...)
		}, backend.TaskDone},
		"the task vanishes":    {func(r watchRoom, _ *Backend) { r.do("DEL", r.ns.Task("id")) }, backend.TaskUnknown},
		"the store is emptied": {func(r watchRoom, _ *Backend) { r.do("DEL", r.ns.Task("id"), r.ns.TaskQueue("q"), r.ns.Fence()) }, backend.TaskUnknown},
		"the record is spoilt": {func(r watchRoom, _ *Backend) { r.do("HSET", r.ns.Task("id"), "x", "soon") }, backend.TaskDead},
		"the key is of a list": {func(r watchRoom, _ *Backend) {
			r.do("RPUSH", r.ns.Task("other"), "a")
			r.do("RENAME", r.ns.Task("other"), r.ns.Task("id"))
		}, backend.TaskDead},
		"Python's result": {func(r watchRoom, _ *Backend) {
			r.do("SET", r.ns.TaskResult("id"), "\x80\x04K\x01.")
			r.do("DEL", r.ns.Task("id"))
		}, backend.TaskDead},
		"the deadline is lowered": {func(r watchRoom, _ *Backend) { r.do("HSET", r.ns.Task("id"), "x", "1") }, backend.TaskExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWatchRoom(t, redistest.URL(t))
			b, other := r.process(r.url), r.process(r.url)
			r.submits(b)
			w := r.watches(b, "id")
			loud := r.watch(b, "id", true).Watching
			test.happens(r, other)
			got := r.ends(w, test.state)
			if test.state == backend.TaskDone {
				require.Equal(t, "result", string(got.Result))
			}
			if test.state == backend.TaskDead {
				require.Equal(t, backend.ReasonForeign, got.Reason)
			}
			for c := r.change(loud); c.Task.State != test.state; c = r.change(loud) {
				require.False(t, c.Task.State.Final())
			}
			require.Zero(t, r.watched(b))
		})
	}
}

// TestWatchRegistersAgain: a process that the store has forgotten is told by message again.
func TestWatchRegistersAgain(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.submits(b)
	defer r.watches(b, "id").Stop()
	defer r.watch(b, "id", true).Watching.Stop()
	r.do("HDEL", r.ns.Task("id"), "w")
	until(t, "the process is known again", func() bool {
		text, _ := r.do("HGET", r.ns.Task("id"), "w").ToString()
		return text == "+"+b.process+" "
	})
}

// TestWatchLosesMessages: the connection for messages is killed again and again while tasks end.
func TestWatchLosesMessages(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.Start(t).URL())
	b, other := r.process(r.url), r.process(r.url)
	const n = 200
	watches := make([]*backend.Watching, n)
	for i := range watches {
		watches[i] = r.submits(b, named(fmt.Sprint(i)), func(r *backend.SubmitRequest) { r.Watch = true }).Watching
	}
	grants := r.fetches(other, n)
	ctx, cancel := context.WithCancel(t.Context())
	var killing sync.WaitGroup
	killing.Go(func() {
		for ctx.Err() == nil {
			r.do("CLIENT", "KILL", "TYPE", "pubsub")
			pauseFor(ctx, 5*time.Millisecond)
		}
	})
	for _, g := range grants {
		r.reports(other, backend.ReportDone, g.Task.ID, g)
	}
	cancel()
	killing.Wait()
	for i, w := range watches {
		require.Equal(t, fmt.Sprint(i), string(r.ends(w, backend.TaskDone).Result))
	}
	require.Zero(t, r.watched(b))
}

// TestWatchWhileTheServerIsAway: what happened meanwhile is told, and listeners look.
func TestWatchWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b, other := r.process(proxy.URL()), r.process(r.url)
	r.submits(other)
	w := r.watches(b, "id")
	idle, err := b.Fetch(t.Context(), func() backend.FetchRequest {
		req := r.listener("idle", 1)
		req.Queues[0].Name = "another"
		return req
	}())
	require.NoError(t, err)
	require.True(t, idle.Idle)

	proxy.Refuse()
	r.reports(other, backend.ReportDone, "result", r.fetches(other, 1)...)
	proxy.Resume()
	require.Equal(t, "result", string(r.ends(w, backend.TaskDone).Result))
	select {
	case <-idle.Wake:
	case <-time.After(patience):
		require.Fail(t, "the listener was not woken")
	}
}

// TestWatchAfterRestart: the server comes back without its data.
func TestWatchAfterRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := newWatchRoom(t, server.URL())
	b := r.process(r.url)
	r.submits(b)
	w := r.watches(b, "id")
	server.Kill()
	server.Restart()
	r.ends(w, backend.TaskUnknown)
}

// TestWatchWithoutSubscription: a user who may not subscribe polls.
func TestWatchWithoutSubscription(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.user(append(ACLRules(), "~*", "resetchannels")...))
	other := r.process(r.url)
	r.submits(other)
	w := r.watches(b, "id")
	req := r.listener("idle", 1)
	req.Queues[0].Name = "another"
	idle, err := b.Fetch(t.Context(), req)
	require.NoError(t, err)
	require.True(t, idle.Idle)
	for range 3 { // it has nothing else to be woken by
		select {
		case <-idle.Wake:
		case <-time.After(patience):
			require.FailNow(t, "the listener does not look")
		}
	}
	r.reports(other, backend.ReportDone, "result", r.fetches(other, 1)...)
	r.ends(w, backend.TaskDone)
}

// TestWatchOfMany: ten thousand tasks are watched with few calls, and all their ends are told.
func TestWatchOfMany(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.Start(t).URL())
	b, other := r.process(r.url), r.process(r.url)
	const n = 10_000
	var submitting sync.WaitGroup
	watches := make([]*backend.Watching, n)
	for worker := range 16 {
		submitting.Go(func() {
			for i := worker; i < n; i += 16 {
				got, err := b.Submit(t.Context(), backend.SubmitRequest{
					Namespace: r.ns, Queue: "q", ID: backend.NewToken(), Fresh: true, Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 1, Watch: true,
				})
				if assert.NoError(t, err) {
					watches[i] = got.Watching
				}
			}
		})
	}
	submitting.Wait()
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	asked := func() bool { // for each of them, once at least
		sp.tasks.mu.Lock()
		defer sp.tasks.mu.Unlock()
		for _, x := range sp.tasks.watched {
			if x.round == 0 {
				return false
			}
		}
		return true
	}
	before := r.scripts()
	until(t, "all are asked for", asked)
	require.Less(t, r.scripts()-before, 20*n/taskPage)

	for range n / backend.BatchLimit {
		r.reports(other, backend.ReportDone, "result", r.fetches(other, backend.BatchLimit)...)
	}
	for _, w := range watches {
		r.ends(w, backend.TaskDone)
	}
	require.Zero(t, r.watched(b))
}

// TestWatchStops: a watch whose caller gives up, or stops, is forgotten.
func TestWatchStops(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.submits(b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Watch(ctx, backend.WatchRequest{Namespace: r.ns, ID: "id"})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, r.watched(b))
	w := r.watches(b, "id")
	w.Stop()
	require.Zero(t, r.watched(b))
	require.Nil(t, r.watch(b, "nobody", true).Watching)
	require.Zero(t, r.watched(b))
	w = r.watches(b, "id")
	require.NoError(t, b.Close())
	require.ErrorIs(t, r.change(w).Err, backend.ErrClosed)
}
