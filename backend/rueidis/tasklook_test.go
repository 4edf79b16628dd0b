package rueidis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// pages lists the tasks of the queue that are in a state, and calls between after each page.
func (r watchRoom) pages(b *Backend, state backend.TaskState, limit int, between func()) (ids []string) {
	r.Helper()
	req := backend.TasksRequest{Namespace: r.ns, Queue: "q", State: state, Limit: limit}
	for range 1000 {
		got, err := b.Tasks(r.Context(), req)
		require.NoError(r, err)
		for i := range got.Tasks {
			require.Equal(r, state, got.Tasks[i].State)
			ids = append(ids, got.Tasks[i].ID)
		}
		if req.Cursor = got.Cursor; req.Cursor == "" {
			return ids
		}
		between()
	}
	require.FailNow(r, "no end of pages")
	return nil
}

func (r watchRoom) edits(b *Backend, action backend.TaskAction, ids ...string) []bool {
	r.Helper()
	got, err := b.EditTasks(r.Context(), backend.TaskEdit{Namespace: r.ns, Action: action, IDs: ids})
	require.NoError(r, err)
	return got.Edited
}

func (r watchRoom) task(b *Backend, id string) backend.TaskInfo {
	r.Helper()
	got, err := b.Tasks(r.Context(), backend.TasksRequest{Namespace: r.ns, IDs: []string{id}, Payload: true})
	require.NoError(r, err)
	return got.Tasks[0]
}

// listing is a queue whose tasks move while they are listed.
type listing struct {
	watchRoom
	b       *Backend
	rand    *rand.Rand
	n       int
	touched map[string]bool // not all the time in the state that is listed
}

func (l *listing) adds(n int, change func(*backend.SubmitRequest)) {
	for range n {
		l.n++
		l.submits(l.b, named(fmt.Sprint("t", l.n)), func(r *backend.SubmitRequest) { r.Class = backend.TaskClass(l.rand.IntN(3)) }, change)
	}
}

// some gives tasks that are not to be expected in the list any more.
func (l *listing) some(n int) (ids []string) {
	for range n {
		id := fmt.Sprint("t", 1+l.rand.IntN(l.n))
		l.touched[id] = true
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (l *listing) takes(n int) []backend.TaskGrant {
	req := l.listener("l", n)
	req.Lanes = nil
	for _, class := range l.rand.Perm(3) {
		req.Lanes = append(req.Lanes, backend.FetchLane{Class: backend.TaskClass(class), Max: n})
	}
	got, err := l.b.Fetch(l.Context(), req)
	require.NoError(l, err)
	return got.Tasks
}

func (l *listing) says(kind backend.ReportKind, after time.Duration, grants ...backend.TaskGrant) {
	for _, g := range grants {
		_, err := l.b.Report(l.Context(), backend.ReportRequest{Namespace: l.ns, Items: []backend.TaskReport{
			{ID: g.Task.ID, Token: g.Token, Kind: kind, After: after, Data: []byte("e")},
		}})
		require.NoError(l, err)
	}
}

// TestListMissesNothing: whatever happens to other tasks between two pages, one that stays in its state comes up.
func TestListMissesNothing(t *testing.T) {
	t.Parallel()
	later := func(l *listing) func(*backend.SubmitRequest) {
		return func(r *backend.SubmitRequest) { r.Delay = time.Duration(1+l.rand.IntN(3)) * time.Minute }
	}
	nothing := func(*backend.SubmitRequest) {}
	for state, test := range map[backend.TaskState]struct{ begin, between func(l *listing) }{
		backend.TaskWaiting: {
			func(l *listing) { l.adds(300, nothing) },
			func(l *listing) {
				for _, g := range l.takes(1 + l.rand.IntN(4)) {
					l.touched[g.Task.ID] = true
					switch l.rand.IntN(5) {
					case 0:
						l.says(backend.ReportDone, 0, g)
					case 1, 2:
						l.says(backend.ReportRetry, 0, g)
					case 3:
						l.says(backend.ReportReturn, 0, g)
					case 4:
						l.says(backend.ReportRetry, time.Hour/2, g)
					}
				}
				l.edits(l.b, backend.TasksCancel, l.some(2)...)
				l.adds(1, nothing)
			},
		},
		backend.TaskScheduled: {
			func(l *listing) { l.adds(300, later(l)) },
			func(l *listing) {
				l.edits(l.b, backend.TasksCancel, l.some(5)...)
				l.adds(4, later(l))
			},
		},
		backend.TaskRunning: {
			func(l *listing) { l.adds(300, nothing); l.takes(300) },
			func(l *listing) {
				l.edits(l.b, backend.TasksCancel, l.some(5)...)
				l.adds(3, nothing)
				l.takes(3)
			},
		},
		backend.TaskDead: {
			func(l *listing) { l.adds(300, nothing); l.says(backend.ReportDead, 0, l.takes(300)...) },
			func(l *listing) {
				l.edits(l.b, backend.TasksRemove, l.some(3)...)
				l.edits(l.b, backend.TasksRevive, l.some(2)...)
				l.says(backend.ReportDead, 0, l.takes(1)...)
			},
		},
	} {
		t.Run(state.String(), func(t *testing.T) {
			t.Parallel()
			r := newWatchRoom(t, redistest.URL(t))
			l := &listing{watchRoom: r, b: r.process(r.url), rand: rand.New(rand.NewPCG(1, 2)), touched: make(map[string]bool)}
			test.begin(l)
			all := l.pages(l.b, state, 7, func() {})
			slices.Sort(all)
			require.Len(t, slices.Compact(all), 300)
			begun := l.n
			got := l.pages(l.b, state, 7, func() { test.between(l) })
			for i := range begun {
				if id := fmt.Sprint("t", i+1); !l.touched[id] {
					require.Contains(t, got, id)
				}
			}
			require.NotEmpty(t, l.touched)
		})
	}
}

// TestListOfLargeTasks: a page, and an answer, has not more than some megabytes, and everything comes.
func TestListOfLargeTasks(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	payload := bytes.Repeat([]byte{0, 1, 0xff, '"'}, 1<<18)
	req := backend.TasksRequest{Namespace: r.ns, Payload: true}
	for i := range 12 {
		id := fmt.Sprint(i)
		r.submits(b, named(id), func(s *backend.SubmitRequest) { s.Payload, s.Meta = payload, []byte(id) })
		req.IDs = append(req.IDs, id)
	}
	all, err := b.Tasks(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, all.Tasks, 12)
	req.IDs, req.Queue, req.State = nil, "q", backend.TaskWaiting
	var listed []backend.TaskInfo
	pages := 0
	for {
		page, err := b.Tasks(t.Context(), req)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Tasks), 5)
		listed, pages = append(listed, page.Tasks...), pages+1
		if req.Cursor = page.Cursor; req.Cursor == "" {
			break
		}
	}
	require.Greater(t, pages, 2)
	require.Len(t, listed, 12)
	for i := range listed {
		for _, got := range []backend.TaskInfo{all.Tasks[i], listed[i]} {
			require.True(t, bytes.Equal(payload, got.Payload))
			require.Equal(t, got.ID, string(got.Meta))
		}
	}
}

// TestCursorFromNowhere: one that came from no page gives a page, or none, and breaks nothing.
func TestCursorFromNowhere(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.submits(b)
	r.submits(b, named("later"), func(r *backend.SubmitRequest) { r.Delay = time.Minute })
	for _, cursor := range []string{"x", "0", "0 0", "0 0 nobody", "3 0 id", "1 99999 id", "inf id", "-inf later", "nan x", "1e400 y", "( z", " ", "\n"} {
		for _, state := range []backend.TaskState{backend.TaskWaiting, backend.TaskScheduled} {
			got, err := b.Tasks(t.Context(), backend.TasksRequest{Namespace: r.ns, Queue: "q", State: state, Cursor: cursor})
			if err != nil {
				require.ErrorIs(t, err, backend.ErrInvalid, "%q", cursor)
			}
			require.LessOrEqual(t, len(got.Tasks), 1)
		}
	}
}

// TestResultKey: what stands under the key of a final state is for people to read, too.
func TestResultKey(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	for data, want := range map[string][2]string{
		"plain": {"result", "plain"}, "\"quoted\" \\ on\ntwo lines\x01": {"result", "\"quoted\" \\ on\ntwo lines\x01"}, "日本 \u2028 \x7f": {"result", "日本 \u2028 \x7f"},
		"\xff\x00": {"result64", "/wA="}, `","state":"dead"`: {"result", `","state":"dead"`},
	} {
		id := backend.NewToken()
		r.submits(b, named(id))
		g := r.fetches(b, 1)[0]
		r.reports(b, backend.ReportDone, data, g)
		text, err := r.do("GET", r.ns.TaskResult(id)).ToString()
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &fields), text)
		require.Equal(t, "done", fields["state"])
		require.Equal(t, "q", fields["queue"])
		require.Equal(t, want[1], fields[want[0]])
		require.Equal(t, g.Token, fields["token"])
		require.Equal(t, data, string(r.task(b, id).Result))
	}
}

// TestReviveKeepsTheRecord: a task that was revived outlives its graveyard.
func TestReviveKeepsTheRecord(t *testing.T) {
	t.Parallel()
	r := newWatchRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.submits(b, func(r *backend.SubmitRequest) { r.Graveyard, r.Retention = time.Minute, time.Second })
	for range 2 {
		r.reports(b, backend.ReportDead, "e", r.fetches(b, 1)...)
		require.LessOrEqual(t, r.number("PTTL", r.ns.Task("id")), int(time.Minute.Milliseconds()))
		require.Equal(t, 1, r.number("ZCARD", r.ns.TaskGraveyard("q")))
		require.Equal(t, []bool{true}, r.edits(b, backend.TasksRevive, "id"))
		require.Greater(t, r.number("PTTL", r.ns.Task("id")), int(time.Hour.Milliseconds()))
		require.Zero(t, r.number("ZCARD", r.ns.TaskGraveyard("q")))
		got := r.task(b, "id")
		require.Equal(t, backend.TaskWaiting, got.State)
		require.Equal(t, "e", string(got.Error))
		require.Greater(t, got.Remaining, time.Hour-time.Minute)
	}
}
