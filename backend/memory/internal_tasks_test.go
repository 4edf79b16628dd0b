package memory

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// check holds the queues of a namespace against what their parts promise each other.
func (ts *tasks) check(t *testing.T) {
	t.Helper()
	ts.space.mu.Lock()
	defer ts.space.mu.Unlock()
	now, n := ts.clock.now(), 0
	for _, q := range ts.queues {
		for i := range q.lanes {
			n += q.lanes[i].check(t)
		}
		n += q.scheduled.check(t) + q.running.check(t) + q.dead.check(t)
		require.Len(t, q.graves.slots, q.dead.n)
		q.graves.check(t)
		q.check(t, now)
	}
	for i := range ts.ended {
		kept := ts.ended[i].check(t)
		require.True(t, kept == 0 || ts.filled&(1<<i) != 0)
		n += kept
	}
	require.Len(t, ts.byID, n, "each task is in one place")
	watched := 0
	for id, task := range ts.byID {
		require.Equal(t, id, task.id)
		task.check(t, ts)
		if task.watchers != nil {
			watched++
		}
	}
	require.Equal(t, watched, ts.alarms.check(t))
	require.LessOrEqual(t, ts.wakeAt, ts.alarms.next(), "who watches is told in time")
}

func (task *task) check(t *testing.T, ts *tasks) {
	t.Helper()
	q, at := task.queue, task.deadline
	switch task.state {
	case backend.TaskScheduled:
		at = min(at, task.at)
		require.Equal(t, appointment{at, task}, q.scheduled.slots[task.slot-1])
	case backend.TaskWaiting:
		require.Same(t, &q.lanes[task.class], task.list)
		require.Zero(t, task.slot)
	case backend.TaskRunning:
		at = task.at
		require.Equal(t, appointment{at, task}, q.running.slots[task.slot-1])
		require.LessOrEqual(t, at, task.deadline)
		require.NotNil(t, task.holder)
		require.NotEmpty(t, task.token)
	case backend.TaskDead:
		require.Same(t, &q.dead, task.list)
		require.Equal(t, appointment{task.at, task}, q.graves.slots[task.slot-1])
	default:
		require.Same(t, &ts.ended[bucket(task.retention)], task.list)
		require.Zero(t, task.slot)
		require.Empty(t, task.payload)
	}
	if task.state != backend.TaskRunning {
		require.Nil(t, task.holder)
	}
	require.Equal(t, task.watchers == nil, task.alarm == 0)
	if task.watchers != nil {
		require.False(t, task.state.Final())
		require.LessOrEqual(t, ts.alarms.slots[task.alarm-1].at, at)
	}
}

func (l *taskList) check(t *testing.T) (n int) {
	t.Helper()
	var last *task
	for task := l.head; task != nil; task = task.next {
		require.Same(t, l, task.list)
		require.Same(t, last, task.prev)
		require.True(t, last == nil || last.seq < task.seq)
		last = task
		n++
	}
	require.Same(t, last, l.tail)
	require.Equal(t, n, l.n)
	return n
}

func (a *agenda) check(t *testing.T) int {
	t.Helper()
	for i := range a.slots {
		require.Equal(t, i, a.place(a.slots[i].t))
		require.False(t, i > 0 && a.slots[i].before(&a.slots[(i-1)/2]), "the heap is in order")
	}
	return len(a.slots)
}

// check expects that nobody is idle while there is something to do that nobody has been woken for.
func (q *queue) check(t *testing.T, now instant) {
	t.Helper()
	idle, woken := 0, 0
	for i, p := range q.posts {
		require.Equal(t, i, p.place)
		require.Same(t, q, p.queue)
		if p.woken {
			woken++
		}
		if p.idle {
			idle++
		} else {
			require.Equal(t, never, p.told)
		}
	}
	var last *post
	for p := q.idle.head; p != nil; p = p.next {
		require.True(t, p.idle)
		require.Same(t, last, p.prev)
		require.Greater(t, p.until, now)
		last = p
		idle--
	}
	require.Same(t, last, q.idle.tail)
	require.Zero(t, idle)
	require.Equal(t, q.woken, woken)
	if q.idle.head != nil && !q.paused {
		require.LessOrEqual(t, q.waiting(), woken, "there is work, and somebody idle who has not been told")
	}
}

func TestEndedTasksAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTaskPlay(t, nil)
		for i := range 50_000 {
			id, long := strconv.Itoa(i), time.Duration(1+i%7)*time.Millisecond
			_, err := p.b.Submit(t.Context(), backend.SubmitRequest{
				Namespace: testSpace, Queue: "q", ID: id, Fresh: true, Timeout: time.Hour, Retention: long, MaxDeaths: 1,
			})
			require.NoError(t, err)
			p.end(id, i%2 == 0)
			if i%100 == 0 {
				<-time.After(time.Millisecond)
			}
		}
		ts := p.b.space(testSpace).tasks
		require.Less(t, len(ts.byID), 3000)
		ts.check(t)
	})
}

// end ends a task that waits.
func (p *taskPlay) end(id string, cancel bool) {
	var err error
	if cancel {
		_, err = p.b.EditTasks(p.t.Context(), backend.TaskEdit{Namespace: testSpace, Action: backend.TasksCancel, IDs: []string{id}})
		require.NoError(p.t, err)
		return
	}
	reply, err := p.b.Fetch(p.t.Context(), backend.FetchRequest{
		Namespace: testSpace, Listener: "l", Token: "t", TTL: time.Hour, Mark: time.Hour, Max: 1,
		Queues: []backend.FetchQueue{{Name: "q", Room: 1}}, Lanes: []backend.FetchLane{{Max: 1}},
	})
	require.NoError(p.t, err)
	require.Equal(p.t, id, reply.Tasks[0].Task.ID)
	_, err = p.b.Report(p.t.Context(), backend.ReportRequest{Namespace: testSpace, Items: []backend.TaskReport{
		{ID: id, Token: "t", Kind: backend.ReportDead},
	}})
	require.NoError(p.t, err)
}

func TestNobodyHasToListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTaskPlay(t, nil)
		for i := range 20_000 {
			_, err := p.b.Submit(t.Context(), backend.SubmitRequest{
				Namespace: testSpace, Queue: "q", ID: strconv.Itoa(i), Fresh: true, MaxDeaths: 1,
				Delay: time.Duration(i%2) * time.Millisecond, Timeout: time.Second, Retention: time.Millisecond,
			})
			require.NoError(t, err)
			if i%100 == 0 {
				<-time.After(100 * time.Millisecond)
			}
		}
		ts := p.b.space(testSpace).tasks
		require.Less(t, len(ts.byID), 3000)
		ts.check(t)
	})
}

func TestListenersThatFellSilentAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTaskPlay(t, nil)
		for i := range 5000 {
			_, err := p.b.Fetch(t.Context(), backend.FetchRequest{
				Namespace: testSpace, Listener: strconv.Itoa(i), Token: "t", TTL: time.Hour, Mark: time.Millisecond, Max: 1,
				Queues: []backend.FetchQueue{{Name: "q", Room: 1}, {Name: "r", Room: 1}},
			})
			require.NoError(t, err)
			if i%10 == 0 {
				<-time.After(time.Millisecond)
			}
		}
		ts := p.b.space(testSpace).tasks
		require.Less(t, len(ts.listeners), 200)
		require.Less(t, len(ts.queues["q"].posts), 200)
	})
}
