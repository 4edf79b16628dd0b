package memory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func (r rig) submitAs(req backend.SubmitRequest) backend.SubmitReply {
	r.t.Helper()
	req.Namespace = ns
	if req.Queue == "" {
		req.Queue = "q"
	}
	if req.Timeout == 0 {
		req.Timeout = time.Hour
	}
	if req.Retention == 0 {
		req.Retention = time.Hour
	}
	if req.MaxDeaths == 0 {
		req.MaxDeaths = 3
	}
	reply, err := r.Submit(r.t.Context(), req)
	require.NoError(r.t, err)
	return reply
}

func (r rig) submit(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		require.True(r.t, r.submitAs(backend.SubmitRequest{ID: id}).Created)
	}
}

// fetchAs is a call of a listener that lives for an hour, and listens to q alone unless it says otherwise.
func (r rig) fetchAs(req backend.FetchRequest) backend.FetchReply {
	r.t.Helper()
	req.Namespace, req.Mark = ns, time.Hour
	req.Token = req.Listener + "'s"
	if req.TTL == 0 {
		req.TTL = time.Minute
	}
	if req.Queues == nil {
		req.Queues = []backend.FetchQueue{{Name: "q", Room: 1000}}
	}
	for i := range req.Queues {
		for _, class := range []backend.TaskClass{backend.ClassHigh, backend.ClassNormal, backend.ClassLow} {
			req.Lanes = append(req.Lanes, backend.FetchLane{Queue: i, Class: class, Max: 1000})
		}
	}
	reply, err := r.Fetch(r.t.Context(), req)
	require.NoError(r.t, err)
	return reply
}

func (r rig) fetch(listener string, most int, want ...string) backend.FetchReply {
	r.t.Helper()
	reply := r.fetchAs(backend.FetchRequest{Listener: listener, Max: most})
	require.Equal(r.t, want, ids(reply.Tasks))
	return reply
}

func ids(grants []backend.TaskGrant) (ids []string) {
	for i := range grants {
		ids = append(ids, grants[i].Task.ID)
	}
	return ids
}

// report is by whoever has fetched last under this name.
func (r rig) report(id, listener string, kind backend.ReportKind, after time.Duration) bool {
	r.t.Helper()
	reply, err := r.Report(r.t.Context(), backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{
		{ID: id, Token: listener + "'s", Kind: kind, After: after},
	}})
	require.NoError(r.t, err)
	return reply.Accepted[0]
}

func (r rig) watch(id string) (backend.TaskInfo, <-chan backend.TaskChange) {
	r.t.Helper()
	reply, err := r.Watch(r.t.Context(), backend.WatchRequest{Namespace: ns, ID: id})
	require.NoError(r.t, err)
	if reply.Watching == nil {
		return reply.Task, nil
	}
	return reply.Task, reply.Watching.Changes
}

func (r rig) task(id string) backend.TaskInfo {
	r.t.Helper()
	reply, err := r.Tasks(r.t.Context(), backend.TasksRequest{Namespace: ns, IDs: []string{id}})
	require.NoError(r.t, err)
	return reply.Tasks[0]
}

func (r rig) editTask(action backend.TaskAction, id string) bool {
	r.t.Helper()
	reply, err := r.EditTasks(r.t.Context(), backend.TaskEdit{Namespace: ns, Action: action, IDs: []string{id}})
	require.NoError(r.t, err)
	return reply.Edited[0]
}

func (r rig) pause(action backend.TaskAction) {
	r.t.Helper()
	_, err := r.EditTasks(r.t.Context(), backend.TaskEdit{Namespace: ns, Action: action, Queue: "q"})
	require.NoError(r.t, err)
}

func TestWhoWatchesIsToldAtTheExactMoment(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		start := time.Now()
		told := func(changes <-chan backend.TaskChange, want backend.TaskState, after time.Duration) backend.TaskInfo {
			t.Helper()
			c := <-changes
			require.NoError(t, c.Err)
			require.Equal(t, want, c.Task.State)
			require.Equal(t, after, time.Since(start))
			return c.Task
		}
		late := r.submitAs(backend.SubmitRequest{ID: "late", Timeout: 10 * time.Second, Watch: true})
		lone := r.submitAs(backend.SubmitRequest{ID: "lone", Queue: "lone", Timeout: 2 * time.Second, Watch: true})
		ill := r.submitAs(backend.SubmitRequest{ID: "ill", MaxDeaths: 1, Watch: true, Class: backend.ClassHigh})
		r.fetchAs(backend.FetchRequest{Listener: "l", Max: 1, TTL: 5 * time.Second})
		r.fetch("l", 1, "late")
		info := told(lone.Watching.Changes, backend.TaskExpired, 2*time.Second)
		require.Equal(t, backend.ReasonNoListener, info.Reason)
		info = told(ill.Watching.Changes, backend.TaskDead, 5*time.Second)
		require.Equal(t, backend.ReasonDeaths, info.Reason)
		require.Equal(t, 1, info.Deaths)
		info = told(late.Watching.Changes, backend.TaskExpired, 10*time.Second)
		require.Equal(t, backend.ReasonNone, info.Reason)
	})
}

func TestWhatIsWatchedGoesOnWithoutAnybodyLooking(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		idle := r.fetch("l", 1)
		r.submitAs(backend.SubmitRequest{ID: "a", Delay: 3 * time.Second, Watch: true})
		<-idle.Wake // to learn when it is due
		start := time.Now()
		<-idle.Wake
		require.Equal(t, 3*time.Second, time.Since(start))
		r.fetchAs(backend.FetchRequest{Listener: "other", Max: 1, TTL: time.Second})
		r.fetch("l", 1)
		<-idle.Wake
		require.Equal(t, 4*time.Second, time.Since(start))
		require.Equal(t, 1, r.fetch("l", 1, "a").Tasks[0].Task.Deaths)
	})
}

func TestThingsHappenInOrderOfTimeHoweverLateTheyAreNoticed(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.submitAs(backend.SubmitRequest{ID: "dead", Timeout: 5 * time.Second, MaxDeaths: 1})
		r.submitAs(backend.SubmitRequest{ID: "died", Timeout: 5 * time.Second, MaxDeaths: 2})
		r.submitAs(backend.SubmitRequest{ID: "gone", Timeout: 5 * time.Second, Retention: 5 * time.Second})
		r.fetchAs(backend.FetchRequest{Listener: "l", Max: 2, TTL: 4 * time.Second})
		pass(6 * time.Second)
		require.Equal(t, backend.TaskDead, r.task("dead").State)
		died := r.task("died")
		require.Equal(t, backend.TaskExpired, died.State)
		require.Equal(t, 1, died.Deaths)
		pass(4 * time.Second)
		require.Equal(t, backend.TaskUnknown, r.task("gone").State, "kept from when its time was over")
		require.Equal(t, backend.TaskDead, r.task("dead").State)
		pass(time.Hour - 6*time.Second)
		require.Equal(t, backend.TaskUnknown, r.task("dead").State)
		require.Equal(t, backend.TaskExpired, r.task("died").State)
	})
}

func TestWhetherAnybodyListenedAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		reason := func(id string) backend.TaskReason { return r.task(id).Reason }
		brief := func(ids ...string) {
			for _, id := range ids {
				r.submitAs(backend.SubmitRequest{ID: id, Timeout: time.Second})
			}
		}
		brief("nobody")
		pass(2 * time.Second)
		r.fetch("l", 0)
		require.Equal(t, backend.ReasonNoListener, reason("nobody"), "it came too late")

		brief("listened", "left")
		pass(time.Second)
		require.Equal(t, backend.ReasonNone, reason("listened"))
		pass(time.Second)
		r.fetchAs(backend.FetchRequest{Listener: "l", Leave: true})
		require.Equal(t, backend.ReasonNone, reason("left"), "it left later")

		brief("without")
		r.fetch("m", 0)
		r.fetchAs(backend.FetchRequest{Listener: "m", Leave: true})
		pass(2 * time.Second)
		require.Equal(t, backend.ReasonNoListener, reason("without"))

		brief("taken")
		r.fetch("m", 1, "taken")
		require.True(t, r.report("taken", "m", backend.ReportReturn, 0))
		r.fetchAs(backend.FetchRequest{Listener: "m", Leave: true})
		pass(2 * time.Second)
		require.Equal(t, backend.ReasonNoListener, reason("taken"), "what was put back was not taken")
	})
}

func TestPagesOfTasks(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		var want []string
		for _, class := range []backend.TaskClass{backend.ClassHigh, backend.ClassNormal, backend.ClassLow} {
			for i := range 5 {
				id := fmt.Sprint(class, "/", i)
				r.submitAs(backend.SubmitRequest{ID: id, Class: class})
				r.submitAs(backend.SubmitRequest{ID: "due " + id, Class: class, Delay: time.Duration(i%3) + 1})
				want = append(want, id)
			}
		}
		req := backend.TasksRequest{Namespace: ns, Queue: "q", State: backend.TaskWaiting, Limit: 4}
		list := func(between func(last string)) (ids []string) {
			t.Helper()
			for req.Cursor = ""; ; {
				page, err := r.Tasks(t.Context(), req)
				require.NoError(t, err)
				for _, info := range page.Tasks {
					ids = append(ids, info.ID)
				}
				if req.Cursor = page.Cursor; req.Cursor == "" {
					return ids
				}
				between(ids[len(ids)-1])
			}
		}
		require.Equal(t, want, list(func(string) {}))
		require.Equal(t, want, list(func(last string) { require.True(t, r.editTask(backend.TasksCancel, last)) }))
		require.Len(t, list(func(string) {}), len(want)-3)

		req.State, req.Limit = backend.TaskScheduled, 2
		got := list(func(string) {})
		require.Len(t, got, len(want))
		require.ElementsMatch(t, got, list(func(last string) { require.True(t, r.editTask(backend.TasksCancel, last)) }))

		for _, cursor := range []string{"x", "1,2", ",,", "9,1,a", "-1,1,a", "0,x,a"} {
			req.Cursor = cursor
			_, err := r.Tasks(t.Context(), req)
			require.ErrorIs(t, err, backend.ErrInvalid, cursor)
		}
	})
}

func TestCloseEndsWatchesAndListeners(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		idle := r.fetch("l", 1)
		reply := r.submitAs(backend.SubmitRequest{ID: "a", Watch: true})
		_, changes := r.watch("a")
		<-idle.Wake
		require.NoError(t, r.Close())
		for _, ch := range []<-chan backend.TaskChange{changes, reply.Watching.Changes} {
			require.ErrorIs(t, (<-ch).Err, backend.ErrClosed)
		}
		_, open := <-idle.Wake
		require.False(t, open)
		reply.Watching.Stop()
		_, err := r.Submit(t.Context(), backend.SubmitRequest{
			Namespace: ns, Queue: "q", ID: "b", Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 1,
		})
		require.ErrorIs(t, err, backend.ErrClosed)
	})
}

func TestManyEndAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		const n = 5000
		all := make([]*backend.Watching, n)
		for i := range all {
			all[i] = r.submitAs(backend.SubmitRequest{ID: fmt.Sprint(i), Timeout: time.Second, Watch: true}).Watching
		}
		pass(time.Second)
		for _, w := range all {
			require.Len(t, w.Changes, 1)
		}
	})
}
