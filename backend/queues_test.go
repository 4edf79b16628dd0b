package backend_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func TestAFinalStateBringsTheProgressThatWasNotReceived(t *testing.T) {
	half := backend.TaskInfo{State: backend.TaskRunning, Progress: []byte("half")}
	for state := backend.TaskUnknown; state <= backend.TaskDead; state++ {
		c := backend.TaskChange{Task: backend.TaskInfo{State: state}}
		c.Replace(&backend.TaskChange{Task: half})
		assert.Equal(t, state.Final(), string(c.Task.Progress) == "half", state)
	}
	ready := backend.TaskChange{Task: backend.TaskInfo{State: backend.TaskDone, Progress: []byte("ready")}}
	ready.Replace(&backend.TaskChange{Task: half})
	assert.Equal(t, "ready", string(ready.Task.Progress))
}

// submitRequest is good until it is changed.
func submitRequest(change func(*backend.SubmitRequest)) *backend.SubmitRequest {
	r := &backend.SubmitRequest{
		Namespace: ns, Queue: "q", ID: "1", Timeout: time.Minute, Retention: time.Hour, MaxDeaths: 1,
	}
	change(r)
	return r
}

// fetchRequest is good until it is changed.
func fetchRequest(change func(*backend.FetchRequest)) *backend.FetchRequest {
	r := &backend.FetchRequest{
		Namespace: ns, Listener: "l", Token: "t", TTL: time.Second, Mark: time.Second, Max: 1,
		Queues: []backend.FetchQueue{{Name: "q", Room: 1}, {Name: "r"}},
		Lanes:  []backend.FetchLane{{Queue: 0, Max: 1}, {Queue: 1, Class: backend.ClassLow, Max: 1}},
	}
	change(r)
	return r
}

func report(r backend.TaskReport) *backend.ReportRequest {
	return &backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{r}}
}

func TestRequestsForTasksAcceptWhatTheContractAllows(t *testing.T) {
	submit := func(change func(*backend.SubmitRequest)) request { return submitRequest(change) }
	fetch := func(change func(*backend.FetchRequest)) request { return fetchRequest(change) }
	good := map[string]request{
		"submit": submit(func(*backend.SubmitRequest) {}),
		"submit the most": submit(func(r *backend.SubmitRequest) {
			r.Payload, r.Meta = make([]byte, backend.MaxTaskData), make([]byte, backend.MaxTaskData)
			r.MaxDeaths, r.Class = backend.MaxDeaths, backend.ClassLow
			r.Forget = makeIDs(backend.MaxForget)
		}),
		"submit the least": submit(func(r *backend.SubmitRequest) {
			r.Timeout, r.Retention, r.Graveyard = time.Millisecond, time.Millisecond, time.Millisecond
		}),
		"submit for later": submit(func(r *backend.SubmitRequest) { r.Delay, r.Timeout = time.Second, time.Second+1 }),
		"watch":            &backend.WatchRequest{Namespace: ns, ID: "1"},
		"fetch":            fetch(func(*backend.FetchRequest) {}),
		"fetch nothing":    fetch(func(r *backend.FetchRequest) { r.Max, r.Lanes = 0, nil }),
		"fetch the most": fetch(func(r *backend.FetchRequest) {
			r.Max, r.Queues, r.Lanes = backend.BatchLimit, nil, nil
			for i := range backend.MaxListened {
				r.Queues = append(r.Queues, backend.FetchQueue{Name: strconv.Itoa(i), Room: backend.BatchLimit})
			}
			for range backend.MaxLanes {
				r.Lanes = append(r.Lanes, backend.FetchLane{Queue: backend.MaxListened - 1, Max: backend.BatchLimit})
			}
		}),
		"report the most":  report(backend.TaskReport{ID: "1", Token: "t", Kind: backend.ReportDone, Data: make([]byte, backend.MaxTaskData)}),
		"report a retry":   report(backend.TaskReport{ID: "1", Token: "t", Kind: backend.ReportRetry, After: time.Hour}),
		"pause":            &backend.TaskEdit{Namespace: ns, Action: backend.QueuePause, Queue: "q"},
		"resume":           &backend.TaskEdit{Namespace: ns, Action: backend.QueueResume, Queue: "q"},
		"tasks by id":      &backend.TasksRequest{Namespace: ns, IDs: makeIDs(backend.BatchLimit)},
		"tasks by a limit": &backend.TasksRequest{Namespace: ns, Queue: "q", State: backend.TaskDead, Limit: backend.BatchLimit},
		"stats":            &backend.StatsRequest{Namespace: ns, Queue: "q"},
	}
	for kind := backend.ReportProgress; kind <= backend.ReportReturn; kind++ {
		good["report "+strconv.Itoa(int(kind))] = report(backend.TaskReport{ID: "1", Token: "t", Kind: kind})
	}
	for _, action := range []backend.TaskAction{backend.TasksCancel, backend.TasksRemove, backend.TasksRevive} {
		good["edit "+strconv.Itoa(int(action))] = &backend.TaskEdit{Namespace: ns, Action: action, IDs: makeIDs(backend.BatchLimit)}
	}
	for _, state := range []backend.TaskState{backend.TaskScheduled, backend.TaskWaiting, backend.TaskRunning, backend.TaskDead} {
		good["tasks "+state.String()] = &backend.TasksRequest{Namespace: ns, Queue: "q", State: state}
	}
	for name, r := range good {
		assert.NoError(t, r.Validate(), name)
	}
}

// What is wrong with a request is named by its field.
func TestRequestsForTasksRefuseWhatTheContractDoesNot(t *testing.T) {
	submit := func(change func(*backend.SubmitRequest)) request { return submitRequest(change) }
	fetch := func(change func(*backend.FetchRequest)) request { return fetchRequest(change) }
	tooLong := make([]byte, backend.MaxTaskData+1)
	none := backend.Namespace{}
	for field, bad := range map[string][]request{
		"prefix": {
			submit(func(r *backend.SubmitRequest) { r.Namespace = none }), fetch(func(r *backend.FetchRequest) { r.Namespace = none }),
			&backend.WatchRequest{ID: "1"}, &backend.ReportRequest{Items: []backend.TaskReport{{ID: "1", Token: "t", Kind: backend.ReportDone}}},
			&backend.TaskEdit{Action: backend.QueuePause, Queue: "q"}, &backend.TasksRequest{IDs: []string{"1"}}, &backend.StatsRequest{Queue: "q"},
		},
		"queue": {
			submit(func(r *backend.SubmitRequest) { r.Queue = "" }), fetch(func(r *backend.FetchRequest) { r.Queues[1].Name = "" }),
			fetch(func(r *backend.FetchRequest) { r.Queues[1].Name = "q" }), &backend.TaskEdit{Namespace: ns, Action: backend.QueueResume},
			&backend.TasksRequest{Namespace: ns, State: backend.TaskWaiting}, &backend.StatsRequest{Namespace: ns},
		},
		"id": {
			submit(func(r *backend.SubmitRequest) { r.ID = "" }), submit(func(r *backend.SubmitRequest) { r.Forget = []string{"2", ""} }),
			&backend.WatchRequest{Namespace: ns}, report(backend.TaskReport{Token: "t", Kind: backend.ReportDone}),
			&backend.TaskEdit{Namespace: ns, Action: backend.TasksCancel, IDs: []string{"1", "\x00"}},
			&backend.TasksRequest{Namespace: ns, IDs: []string{"1", ""}},
		},
		"payload": {submit(func(r *backend.SubmitRequest) { r.Payload = tooLong })},
		"meta":    {submit(func(r *backend.SubmitRequest) { r.Meta = tooLong })},
		"data":    {report(backend.TaskReport{ID: "1", Token: "t", Kind: backend.ReportDone, Data: tooLong})},
		"class": {
			submit(func(r *backend.SubmitRequest) { r.Class = backend.ClassLow + 1 }),
			fetch(func(r *backend.FetchRequest) { r.Lanes[1].Class = backend.ClassLow + 1 }),
		},
		"delay": {submit(func(r *backend.SubmitRequest) { r.Delay = -1 })},
		"timeout": {
			submit(func(r *backend.SubmitRequest) { r.Timeout = 0 }), submit(func(r *backend.SubmitRequest) { r.Timeout = time.Millisecond - 1 }),
			submit(func(r *backend.SubmitRequest) { r.Timeout, r.Delay = time.Second, time.Second }),
		},
		"deaths": {
			submit(func(r *backend.SubmitRequest) { r.MaxDeaths = 0 }),
			submit(func(r *backend.SubmitRequest) { r.MaxDeaths = backend.MaxDeaths + 1 }),
		},
		"graveyard": {submit(func(r *backend.SubmitRequest) { r.Graveyard = -1 })},
		"retention": {submit(func(r *backend.SubmitRequest) { r.Retention = backend.NoExpiry })},
		"forget":    {submit(func(r *backend.SubmitRequest) { r.Forget = makeIDs(backend.MaxForget + 1) })},
		"listener":  {fetch(func(r *backend.FetchRequest) { r.Listener = "" })},
		"token": {
			fetch(func(r *backend.FetchRequest) { r.Token = "" }),
			report(backend.TaskReport{ID: "1", Kind: backend.ReportDone}),
		},
		"ttl":    {fetch(func(r *backend.FetchRequest) { r.TTL = backend.NoExpiry })},
		"mark":   {fetch(func(r *backend.FetchRequest) { r.Mark = time.Microsecond })},
		"max":    {fetch(func(r *backend.FetchRequest) { r.Max = -1 }), fetch(func(r *backend.FetchRequest) { r.Max = backend.BatchLimit + 1 })},
		"queues": {fetch(func(r *backend.FetchRequest) { r.Queues, r.Lanes = nil, nil }), fetch(func(r *backend.FetchRequest) { r.Queues = make([]backend.FetchQueue, backend.MaxListened+1) })},
		"room":   {fetch(func(r *backend.FetchRequest) { r.Queues[0].Room = -1 }), fetch(func(r *backend.FetchRequest) { r.Queues[0].Room = backend.BatchLimit + 1 })},
		"lanes":  {fetch(func(r *backend.FetchRequest) { r.Lanes = make([]backend.FetchLane, backend.MaxLanes+1) })},
		"lane": {
			fetch(func(r *backend.FetchRequest) { r.Lanes[0].Queue = -1 }), fetch(func(r *backend.FetchRequest) { r.Lanes[0].Queue = 2 }),
			fetch(func(r *backend.FetchRequest) { r.Lanes[0].Max = 0 }), fetch(func(r *backend.FetchRequest) { r.Lanes[0].Max = backend.BatchLimit + 1 }),
		},
		"items":  {&backend.ReportRequest{Namespace: ns}},
		"report": {report(backend.TaskReport{ID: "1", Token: "t"}), report(backend.TaskReport{ID: "1", Token: "t", Kind: backend.ReportReturn + 1})},
		"after": {
			report(backend.TaskReport{ID: "1", Token: "t", Kind: backend.ReportRetry, After: -1}),
			report(backend.TaskReport{ID: "1", Token: "t", Kind: backend.ReportFailed, After: 1}),
		},
		"action": {&backend.TaskEdit{Namespace: ns, IDs: []string{"1"}}, &backend.TaskEdit{Namespace: ns, Action: backend.QueueResume + 1, Queue: "q"}},
		"ids": {
			&backend.TaskEdit{Namespace: ns, Action: backend.TasksRemove}, &backend.TasksRequest{Namespace: ns, IDs: makeIDs(backend.BatchLimit + 1)},
			&backend.TaskEdit{Namespace: ns, Action: backend.QueuePause, Queue: "q", IDs: []string{"1"}},
		},
		"limit": {&backend.TasksRequest{Namespace: ns, IDs: []string{"1"}, Limit: -1}},
		"state": {
			&backend.TasksRequest{Namespace: ns, Queue: "q"}, &backend.TasksRequest{Namespace: ns, Queue: "q", State: backend.TaskDone},
		},
	} {
		for i, r := range bad {
			var invalid *backend.InvalidError
			require.ErrorAs(t, r.Validate(), &invalid, "%s %d", field, i)
			assert.Equal(t, field, invalid.Field, "%v", invalid)
			assert.NotEmpty(t, invalid.Reason)
			assert.Less(t, len(invalid.Error()), 300, "an error is for reading")
		}
	}
}

func makeIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	return ids
}

func TestRequestsAreTheSameByQueueAndPayload(t *testing.T) {
	digest := func(queue, payload string) string {
		return submitRequest(func(r *backend.SubmitRequest) { r.Queue, r.Payload = queue, []byte(payload) }).Digest()
	}
	same := digest("q", "payload")
	assert.Len(t, same, 22)
	assert.Equal(t, same, submitRequest(func(r *backend.SubmitRequest) {
		r.Payload, r.ID, r.Meta, r.Class, r.Timeout = []byte("payload"), "other", []byte("meta"), backend.ClassHigh, time.Hour
	}).Digest(), "nothing else counts")
	for _, other := range []string{digest("q", "other"), digest("r", "payload"), digest("qpayload", ""), digest("", "qpayload")} {
		assert.NotEqual(t, same, other)
	}
	assert.Empty(t, submitRequest(func(r *backend.SubmitRequest) { r.Fresh = true }).Digest(), "nobody else knows its id")
}

// The names stand in the store: a process of another version reads them.
func TestStatesAndReasonsHaveTheirNames(t *testing.T) {
	for state, name := range map[backend.TaskState]string{
		backend.TaskUnknown: "unknown", backend.TaskScheduled: "scheduled", backend.TaskWaiting: "waiting",
		backend.TaskRunning: "running", backend.TaskDone: "done", backend.TaskFailed: "failed", backend.TaskExpired: "expired",
		backend.TaskCancelled: "cancelled", backend.TaskDead: "dead", backend.TaskDead + 1: "unknown",
	} {
		assert.Equal(t, name, state.String())
		assert.Equal(t, state >= backend.TaskDone && state <= backend.TaskDead, state.Final(), name)
	}
	for reason, name := range map[backend.TaskReason]string{
		backend.ReasonNone: "", backend.ReasonNoListener: "no listener", backend.ReasonDeaths: "deaths",
		backend.ReasonForeign: "foreign", backend.ReasonForeign + 1: "",
	} {
		assert.Equal(t, name, reason.String())
	}
}
