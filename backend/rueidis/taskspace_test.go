package rueidis

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// newTaskSpace gives the tasks of a namespace without a server. The goroutine that would ask is said to run already.
func newTaskSpace() *taskSpace {
	ts := &newSpace(newBackend(nil), backend.Namespace{Prefix: "p", Suffix: "s"}).tasks
	ts.asking, ts.wake = true, make(chan struct{}, 1)
	return ts
}

// waitingTask is a task whose time is over in an hour. now is the server's time in ms.
func waitingTask(id string, now int64) backend.TaskInfo {
	return backend.TaskInfo{
		ID: id, Queue: "q", State: backend.TaskWaiting, Submitted: time.UnixMilli(1), Deadline: time.UnixMilli(now).Add(time.Hour),
		Remaining: time.Hour,
	}
}

func told(t *testing.T, w *backend.Watching) backend.TaskChange {
	t.Helper()
	select {
	case c := <-w.Changes:
		return c
	default:
		require.Fail(t, "nothing was told")
		return backend.TaskChange{}
	}
}

func nothingTold(t *testing.T, w *backend.Watching) {
	t.Helper()
	select {
	case c := <-w.Changes:
		require.Fail(t, "something was told", "%+v", c)
	default:
	}
}

// message makes one of the task queues.
func message(words ...string) string {
	text := ""
	for _, w := range append([]string{"T"}, words...) {
		text += strconv.Itoa(len(w)) + ":" + w
	}
	return text
}

// doneRecord is the record of a task that is done.
func doneRecord(finished int64, result string) string {
	return `{"state":"done","queue":"q","class":0,"attempts":1,"deaths":0,"submitted":1,"deadline":9,"finished":` +
		strconv.FormatInt(finished, 10) + `,"token":"u","result":` + strconv.Quote(result) + `}`
}

func TestWatchEndsWithTheFinalState(t *testing.T) {
	ts := newTaskSpace()
	a := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
	b := ts.began(ts.expectWatch("id", true), waitingTask("id", 100))
	ts.sp.message(message("f", "other", doneRecord(200, "x"), "f", "id", doneRecord(200, "y")))
	for _, w := range []*backend.Watching{a, b} {
		c := told(t, w)
		require.NoError(t, c.Err)
		require.Equal(t, backend.TaskDone, c.Task.State)
		require.Equal(t, "y", string(c.Task.Result))
		require.Equal(t, "q", c.Task.Queue)
	}
	require.Empty(t, ts.watched)
	ts.sp.message(message("f", "id", doneRecord(300, "z")))
	nothingTold(t, a)
	a.Stop()
	b.Stop()
}

func TestWatchThatIsFasterThanItsAnswer(t *testing.T) {
	ts := newTaskSpace()
	w := ts.expectWatch("id", false)
	ts.sp.message(message("f", "id", doneRecord(200, "y")))
	assert.Empty(t, w.changes, "the answer says whether it is this task's")
	got := ts.began(w, waitingTask("id", 100))
	require.Equal(t, "y", string(told(t, got).Task.Result))

	fresh := ts.expectWatch("fresh", false)
	ts.sp.message(message("f", "fresh", doneRecord(200, "y")))
	got = ts.began(fresh, backend.TaskInfo{Remaining: time.Hour})
	require.Equal(t, "y", string(told(t, got).Task.Result))
}

// TestWatchOfAnEarlierLife: what a message says of a task before it was revived is none of the watch's business.
func TestWatchOfAnEarlierLife(t *testing.T) {
	ts := newTaskSpace()
	before := ts.expectWatch("id", false)
	ts.sp.message(message("f", "id", doneRecord(99, "old")))
	w := ts.began(before, waitingTask("id", 100))
	nothingTold(t, w)
	require.True(t, ts.some, "the server is asked")
	ts.sp.message(message("f", "id", doneRecord(99, "old")))
	nothingTold(t, w)
	ts.sp.message(message("f", "id", doneRecord(100, "new")))
	require.Equal(t, "new", string(told(t, w).Task.Result))
}

func TestWatchIsForgotten(t *testing.T) {
	ts := newTaskSpace()
	a := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
	b := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
	a.Stop()
	a.Stop()
	require.Len(t, ts.watched, 1)
	ts.sp.message(message("f", "id", doneRecord(200, "y")))
	nothingTold(t, a)
	told(t, b)
	require.Empty(t, ts.watched)

	c := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
	b.Stop() // of the one before
	require.Len(t, ts.watched, 1)
	c.Stop()
	require.Empty(t, ts.watched)
}

func TestWatchTellsTheLatest(t *testing.T) {
	ts := newTaskSpace()
	plain := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
	w := ts.began(ts.expectWatch("id", true), waitingTask("id", 100))
	x := ts.watched["id"]
	info := waitingTask("id", 150)
	goes := func() { ts.mu.Lock(); ts.goes(x, info); ts.mu.Unlock() }
	goes()
	nothingTold(t, w)
	info.State, info.Attempts = backend.TaskRunning, 1
	goes()
	info.Progress = []byte("half")
	goes()
	goes()
	require.Equal(t, "half", string(told(t, w).Task.Progress))
	nothingTold(t, w)
	info.Progress = []byte("more")
	goes()
	ts.sp.message(message("f", "id", doneRecord(200, "y")))
	last := told(t, w).Task
	require.Equal(t, backend.TaskDone, last.State)
	require.Equal(t, "more", string(last.Progress), "nobody has received it")
	last = told(t, plain).Task
	require.Equal(t, backend.TaskDone, last.State)
	require.Empty(t, last.Progress)
}

func TestTasksClose(t *testing.T) {
	ts := newTaskSpace()
	w := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
	l := ts.listener("l")
	require.Same(t, l, ts.listener("l"))
	ts.close()
	c := told(t, w)
	require.ErrorIs(t, c.Err, backend.ErrClosed)
	require.Equal(t, "id", c.Task.ID)
	_, open := <-l.wake
	require.False(t, open)
	ts.sp.message(message("w", "l", "f", "id", doneRecord(200, "y")))
	ts.check()
	late := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
	require.ErrorIs(t, told(t, late).Err, backend.ErrClosed)
	_, open = <-ts.listener("m").wake
	require.False(t, open)
}

func TestListeners(t *testing.T) {
	ts := newTaskSpace()
	a, b := ts.listener("a"), ts.listener("b")
	ts.sp.message(message("w", "a", "l", "b", "id", "token", "w", "a", "w", "nobody"))
	require.Len(t, a.wake, 1)
	require.Empty(t, b.wake)
	require.Equal(t, backend.Held{Member: "id", Token: "token"}, <-b.lost)
	for range 2 * lostRoom {
		ts.sp.message(message("l", "b", "id", "token"))
	}
	require.Len(t, b.lost, lostRoom)
	ts.check()
	require.Len(t, b.wake, 1)
	ts.leave("a")
	require.NotSame(t, a, ts.listener("a"))
}

// TestTaskMessagesOfUnexpectedForm: they change nothing, and what stands beside them counts.
func TestTaskMessagesOfUnexpectedForm(t *testing.T) {
	for _, words := range [][]string{
		{"w"},
		{"x", "id"},
		{"l", "a"},
		{"l", "a", "id"},
		{"f", "id"},
		{"p", "id"},
		{"f", "id", "text"},
		{"f", "id", "{}"},
		{"f", "id", `{"state":"waiting"}`},
		{"f", "id", `{"state":"done","result64":"?"}`},
		{"f", "id", `{"state":1}`},
		{"p", "id", "text"},
		{"p", "id", doneRecord(200, "y")},
		{""},
		{"", ""},
	} {
		ts := newTaskSpace()
		w := ts.began(ts.expectWatch("id", true), waitingTask("id", 100))
		assert.False(t, ts.events(words), words)
		nothingTold(t, w)
		assert.Len(t, ts.watched, 1)
		if words[0] == "f" || words[0] == "p" {
			assert.Equal(t, len(words) > 2, ts.watched["id"].again, "%q: the server is asked", words)
		}
	}
}
