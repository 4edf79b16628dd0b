package rueidis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// tasksBehindProxy gives a process behind a proxy and one that looks on, and has the scripts on tasks loaded.
func tasksBehindProxy(t *testing.T) (watchRoom, *redistest.Proxy, *Backend, *Backend) {
	t.Helper()
	r := newWatchRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b, other := r.process(proxy.URL()), r.process(r.url)
	for _, b := range []*Backend{b, other} {
		r.submits(b, named("warm"))
		r.reports(b, backend.ReportDone, "", r.fetches(b, 1)...)
		r.edits(b, backend.TasksRemove, "warm")
	}
	return r, proxy, b, other
}

// counts gives the numbers of the queue that waits.
func (r watchRoom) counts(b *Backend) backend.QueueStats {
	r.Helper()
	got, err := b.Stats(r.Context(), backend.StatsRequest{Namespace: r.ns, Queue: "q"})
	require.NoError(r, err)
	return got
}

// TestFetchWithoutAnswer: what a lost Fetch was granted waits again when the connection is back, at the front, and the
// attempt does not count.
func TestFetchWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for name, timeout := range map[string]time.Duration{"uncapped": 2 * time.Hour, "capped": 30 * time.Minute} {
			t.Run(at+", "+name, func(t *testing.T) {
				t.Parallel()
				r, proxy, b, other := tasksBehindProxy(t)
				for i := range 3 {
					r.submits(other, named(fmt.Sprint(i)), func(r *backend.SubmitRequest) { r.Timeout = timeout })
				}
				kept := r.fetches(other, 1)
				fired := cut(proxy, callFor("lost"))
				req := r.listener("l", 1)
				req.Token = "lost"
				_, err := b.Fetch(t.Context(), req)
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				until(t, "what was lost is dealt with", func() bool { return b.owes() == 0 })
				stats := r.counts(other)
				assert.Equal(t, []int{2, 1}, []int{stats.Waiting, stats.Running})
				again := r.fetches(other, 1)[0]
				assert.Equal(t, "1", again.Task.ID)
				assert.Equal(t, 1, again.Task.Attempts)
				assert.Zero(t, again.Task.Deaths)
				r.reports(other, backend.ReportDone, "", append(kept, again)...)
			})
		}
	}
}

// TestManyFetchesWithoutAnswer: also many tasks of many fetches, among more leases than are looked at in one call.
func TestManyFetchesWithoutAnswer(t *testing.T) {
	t.Parallel()
	r, proxy, b, other := tasksBehindProxy(t)
	const kept, lost = leasePage + 100, 200
	for i := range kept + lost {
		r.submits(other, named(fmt.Sprint(i)))
	}
	for left := kept; left > 0; left -= 100 {
		r.fetches(other, 100)
	}
	fired := proxy.CutReply(callFor("lost"))
	req := r.listener("l", lost)
	req.Token = "lost"
	_, err := b.Fetch(t.Context(), req)
	require.ErrorIs(t, err, backend.ErrUnavailable)
	<-fired
	until(t, "what was lost is dealt with", func() bool { return b.owes() == 0 })
	stats := r.counts(other)
	assert.Equal(t, []int{lost, kept}, []int{stats.Waiting, stats.Running})
}

// TestSubmitWithoutAnswer: a request that is sent again is the same task, fresh or not.
func TestSubmitWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		for _, fresh := range []bool{false, true} {
			t.Run(fmt.Sprint(at, " fresh ", fresh), func(t *testing.T) {
				t.Parallel()
				r, proxy, b, other := tasksBehindProxy(t)
				req := backend.SubmitRequest{
					Namespace: r.ns, Queue: "q", ID: "lost", Fresh: fresh, Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 1,
					Watch: true,
				}
				fired := cut(proxy, callFor("lost"))
				_, err := b.Submit(t.Context(), req)
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				assert.Zero(t, r.watched(b))
				var got backend.SubmitReply
				r.patiently("submit again", func() (err error) {
					got, err = b.Submit(t.Context(), req)
					return err
				})
				assert.Equal(t, at == "reply", got.Joined)
				assert.Equal(t, 1, r.counts(other).Waiting)
				r.reports(other, backend.ReportDone, "r", r.fetches(other, 1)...)
				assert.Equal(t, "r", string(r.ends(got.Watching, backend.TaskDone).Result))
				got, err = b.Submit(t.Context(), req)
				require.NoError(t, err)
				assert.Equal(t, backend.TaskDone, got.Task.State, "sent once more after the end")
			})
		}
	}
}

// TestReportWithoutAnswer: a report that is sent again is accepted once more, and counts once.
func TestReportWithoutAnswer(t *testing.T) {
	t.Parallel()
	kinds := map[backend.ReportKind]backend.TaskState{
		backend.ReportDone: backend.TaskDone, backend.ReportFailed: backend.TaskFailed, backend.ReportDead: backend.TaskDead,
		backend.ReportRetry: backend.TaskWaiting, backend.ReportReturn: backend.TaskWaiting, backend.ReportProgress: backend.TaskRunning,
	}
	for at, cut := range cuts {
		for kind, state := range kinds {
			t.Run(fmt.Sprint(at, " ", kind), func(t *testing.T) {
				t.Parallel()
				r, proxy, b, other := tasksBehindProxy(t)
				r.submits(other, named("lost"))
				g := r.fetches(other, 1)[0]
				req := backend.ReportRequest{Namespace: r.ns, Items: []backend.TaskReport{
					{ID: "lost", Token: g.Token, Kind: kind, Data: []byte("data")},
				}}
				fired := cut(proxy, callFor("lost"))
				_, err := b.Report(t.Context(), req)
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				for range 2 {
					r.patiently("report again", func() error {
						got, err := b.Report(t.Context(), req)
						if err == nil {
							assert.Equal(t, []bool{true}, got.Accepted)
						}
						return err
					})
				}
				assert.Equal(t, state, r.task(other, "lost").State)
				stats := r.counts(other)
				if state == backend.TaskDone {
					assert.EqualValues(t, 3, stats.Done, "with the two that warmed up, this one once")
				}
				if state == backend.TaskWaiting {
					assert.Equal(t, 1, stats.Waiting)
				}
			})
		}
	}
}

// TestCancelledFetchesLeaveNothing: many calls whose context ends at any moment, on a connection that is cut again and
// again.
func TestCancelledFetchesLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, cutting := range []bool{false, true} {
		t.Run(fmt.Sprintf("cutting %v", cutting), func(t *testing.T) {
			t.Parallel()
			r, proxy, b, other := tasksBehindProxy(t)
			const tasks = 10
			for i := range tasks {
				r.submits(other, named(fmt.Sprint(i)), func(r *backend.SubmitRequest) { r.MaxDeaths = 1 })
			}
			stop := cutAgainAndAgain(proxy, cutting)
			together(32, func(i int) {
				for range 20 {
					ctx, cancel := context.WithTimeout(context.Background(), rand.N(4*time.Millisecond))
					r.fetchAndReturn(ctx, b, fmt.Sprint(i))
					cancel()
				}
			})
			stop()
			until(t, "what was lost is dealt with", func() bool { return b.owes() == 0 })
			until(t, "all wait", func() bool { return r.counts(other).Waiting == tasks })
			for _, g := range r.fetches(other, tasks) {
				assert.Zero(t, g.Task.Deaths)
				assert.Equal(t, 1, g.Task.Attempts)
			}
		})
	}
}

// fetchAndReturn takes two tasks at most, if ctx lasts so long, and says that nothing has come of that.
func (r watchRoom) fetchAndReturn(ctx context.Context, b *Backend, listener string) {
	got, err := b.Fetch(ctx, r.listener(listener, 2))
	if err != nil || len(got.Tasks) == 0 {
		return
	}
	req := backend.ReportRequest{Namespace: r.ns}
	for _, g := range got.Tasks {
		req.Items = append(req.Items, backend.TaskReport{ID: g.Task.ID, Token: g.Token, Kind: backend.ReportReturn})
	}
	for {
		_, err := b.Report(context.Background(), req)
		if err == nil || !errors.Is(err, backend.ErrUnavailable) {
			assert.NoError(r, err)
			return
		}
	}
}
