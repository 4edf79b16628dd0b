package backendtest

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var badSpans = []time.Duration{0, -1, -time.Second, time.Millisecond - 1, backend.NoExpiry}

// tooMuch is one byte more than a task may carry.
func tooMuch() []byte { return make([]byte, backend.MaxTaskData+1) }

var invalidTaskCases = []Case{
	taskRefusal("task-namespaces", func(r *room, try func(what string, err error)) {
		for _, ns := range badSpaces {
			for name, call := range r.taskCalls(ns) {
				try(fmt.Sprintf("%s in %+.40q", name, ns), call(r.ctx))
			}
		}
	}),
	taskRefusal("submit", func(r *room, try func(what string, err error)) {
		bad := map[string]func(*backend.SubmitRequest){
			"a class that there is not":       func(q *backend.SubmitRequest) { q.Class = backend.ClassLow + 1 },
			"a negative delay":                func(q *backend.SubmitRequest) { q.Delay = -1 },
			"a delay as long as its time":     func(q *backend.SubmitRequest) { q.Delay, q.Timeout = long, long },
			"a delay longer than its time":    func(q *backend.SubmitRequest) { q.Delay, q.Timeout = 2*long, long },
			"no deaths":                       func(q *backend.SubmitRequest) { q.MaxDeaths = -1 },
			"too many deaths":                 func(q *backend.SubmitRequest) { q.MaxDeaths = backend.MaxDeaths + 1 },
			"too much to forget":              func(q *backend.SubmitRequest) { q.Forget = numberedTasks(backend.MaxForget + 1) },
			"a payload that is too long":      func(q *backend.SubmitRequest) { q.Payload = tooMuch() },
			"meta that is too long":           func(q *backend.SubmitRequest) { q.Meta = tooMuch() },
			"a graveyard for less than a ms":  func(q *backend.SubmitRequest) { q.Graveyard = time.Millisecond - 1 },
			"a graveyard of negative length":  func(q *backend.SubmitRequest) { q.Graveyard = -time.Second },
			"the running one, with bad class": func(q *backend.SubmitRequest) { q.ID, q.Class = "running", 99 },
		}
		for _, name := range badNames {
			bad[fmt.Sprintf("queue %.20q", name)] = func(q *backend.SubmitRequest) { q.Queue = name }
			bad[fmt.Sprintf("id %.20q", name)] = func(q *backend.SubmitRequest) { q.ID = name }
			bad[fmt.Sprintf("to forget %.20q", name)] = func(q *backend.SubmitRequest) { q.Forget = []string{"done", name} }
		}
		for _, d := range badSpans {
			bad["timeout "+d.String()] = func(q *backend.SubmitRequest) { q.Timeout = d }
			bad["retention "+d.String()] = func(q *backend.SubmitRequest) { q.Retention = d }
		}
		for what, change := range bad {
			for _, fresh := range []bool{false, true} {
				req := r.filledSubmit(backend.SubmitRequest{ID: "new", Fresh: fresh, Forget: []string{"done"}})
				change(&req)
				got, err := r.be.Submit(r.ctx, req)
				try("Submit with "+what, err)
				r.equal("the reply to a bad request", got, backend.SubmitReply{})
			}
		}
	}),
	taskRefusal("fetch", func(r *room, try func(what string, err error)) {
		bad := map[string]func(*backend.FetchRequest){
			"negative max":      func(q *backend.FetchRequest) { q.Max = -1 },
			"too large max":     func(q *backend.FetchRequest) { q.Max = backend.BatchLimit + 1 },
			"no queues":         func(q *backend.FetchRequest) { q.Queues, q.Lanes = nil, nil },
			"a queue twice":     func(q *backend.FetchRequest) { q.Queues = append(q.Queues, q.Queues[0]) },
			"negative room":     func(q *backend.FetchRequest) { q.Queues[0].Room = -1 },
			"too much room":     func(q *backend.FetchRequest) { q.Queues[0].Room = backend.BatchLimit + 1 },
			"a lane of nothing": func(q *backend.FetchRequest) { q.Lanes[1].Max = 0 },
			"a large lane":      func(q *backend.FetchRequest) { q.Lanes[1].Max = backend.BatchLimit + 1 },
			"a negative lane":   func(q *backend.FetchRequest) { q.Lanes[1].Queue = -1 },
			"a lane of another": func(q *backend.FetchRequest) { q.Lanes[1].Queue = len(q.Queues) },
			"a strange class":   func(q *backend.FetchRequest) { q.Lanes[1].Class = backend.ClassLow + 1 },
			"too many lanes": func(q *backend.FetchRequest) {
				q.Lanes = slices.Repeat(q.Lanes[:1], backend.MaxLanes+1)
			},
			"too many queues": func(q *backend.FetchRequest) {
				for _, name := range numbered(backend.MaxListened) {
					q.Queues = append(q.Queues, backend.FetchQueue{Name: name})
				}
			},
		}
		for _, name := range badNames {
			bad[fmt.Sprintf("listener %.20q", name)] = func(q *backend.FetchRequest) { q.Listener = name }
			bad[fmt.Sprintf("token %.20q", name)] = func(q *backend.FetchRequest) { q.Token = name }
			bad[fmt.Sprintf("queue %.20q", name)] = func(q *backend.FetchRequest) { q.Queues = append(q.Queues, backend.FetchQueue{Name: name}) }
		}
		for _, d := range badSpans {
			bad["ttl "+d.String()] = func(q *backend.FetchRequest) { q.TTL = d }
			bad["mark "+d.String()] = func(q *backend.FetchRequest) { q.Mark = d }
		}
		for what, change := range bad {
			req := r.listener(theQueue).request(9)
			change(&req)
			got, err := r.be.Fetch(r.ctx, req)
			try("Fetch with "+what, err)
			r.equal("tasks for a bad request", len(got.Tasks), 0)
		}
	}),
	taskRefusal("report", func(r *room, try func(what string, err error)) {
		g := r.refusalGrant()
		good := about(&g, backend.ReportDone, "r")
		report := func(what string, items ...backend.TaskReport) {
			_, err := r.be.Report(r.ctx, backend.ReportRequest{Namespace: r.ns, Items: items})
			try("Report with "+what, err)
		}
		bad := map[string]func(*backend.TaskReport){
			"no kind":                func(it *backend.TaskReport) { it.Kind = 0 },
			"a strange kind":         func(it *backend.TaskReport) { it.Kind = backend.ReportReturn + 1 },
			"too long data":          func(it *backend.TaskReport) { it.Data = tooMuch() },
			"a negative time":        func(it *backend.TaskReport) { it.Kind, it.After = backend.ReportRetry, -1 },
			"a time when it is done": func(it *backend.TaskReport) { it.After = 1 },
			"a time when returned":   func(it *backend.TaskReport) { it.Kind, it.After = backend.ReportReturn, time.Second },
		}
		for _, name := range badNames {
			bad[fmt.Sprintf("id %.20q", name)] = func(it *backend.TaskReport) { it.ID = name }
			bad[fmt.Sprintf("token %.20q", name)] = func(it *backend.TaskReport) { it.Token = name }
		}
		for what, change := range bad {
			it := good
			change(&it)
			report(what, it)
			report(what+", behind a good one", good, it)
		}
		report("no items")
		report("too many items", slices.Repeat([]backend.TaskReport{good}, backend.BatchLimit+1)...)
	}),
	taskRefusal("renew-tasks", func(r *room, try func(what string, err error)) {
		g := r.refusalGrant()
		good := backend.Renewal{Member: g.Task.ID, Token: g.Token, TTL: time.Millisecond}
		renew := func(what string, items ...backend.Renewal) {
			_, err := r.be.RenewTasks(r.ctx, backend.RenewRequest{Namespace: r.ns, Items: items})
			try("RenewTasks with "+what, err)
		}
		for _, name := range badNames {
			renew(fmt.Sprintf("id %.20q", name), good, backend.Renewal{Member: name, Token: "t", TTL: long})
			renew(fmt.Sprintf("token %.20q", name), good, backend.Renewal{Member: "b", Token: name, TTL: long})
		}
		for _, ttl := range badTTLs {
			renew("ttl "+ttl.String(), good, backend.Renewal{Member: "b", Token: "t", TTL: ttl})
		}
		moved := good
		moved.NewToken = "another"
		renew("a new token", moved)
		renew("a new token behind a good one", good, backend.Renewal{Member: "b", Token: "t", TTL: long, NewToken: "u"})
		renew("no items")
		renew("too many items", slices.Repeat([]backend.Renewal{good}, backend.BatchLimit+1)...)
	}),
	taskRefusal("edit-tasks", func(r *room, try func(what string, err error)) {
		edit := func(what string, e backend.TaskEdit) {
			e.Namespace = r.ns
			_, err := r.be.EditTasks(r.ctx, e)
			try("EditTasks with "+what, err)
		}
		edit("no action", backend.TaskEdit{IDs: []string{"running"}})
		edit("a strange action", backend.TaskEdit{Action: backend.QueueResume + 1, IDs: []string{"running"}, Queue: theQueue})
		for _, action := range []backend.TaskAction{backend.TasksCancel, backend.TasksRemove, backend.TasksRevive} {
			all := []string{"running", "waiting", "done", "dead"}
			for _, name := range badNames {
				edit(fmt.Sprintf("id %.20q", name), backend.TaskEdit{Action: action, IDs: append(slices.Clone(all), name)})
			}
			edit("no ids", backend.TaskEdit{Action: action})
			edit("too many ids", backend.TaskEdit{Action: action, IDs: slices.Repeat(all, backend.BatchLimit/4+1)})
		}
		for _, action := range []backend.TaskAction{backend.QueuePause, backend.QueueResume} {
			for _, name := range badNames {
				edit(fmt.Sprintf("queue %.20q", name), backend.TaskEdit{Action: action, Queue: name})
			}
			edit("ids to pause", backend.TaskEdit{Action: action, Queue: theQueue, IDs: []string{"waiting"}})
		}
	}),
	taskRefusal("look-at-tasks", func(r *room, try func(what string, err error)) {
		look := func(what string, req backend.TasksRequest) {
			req.Namespace = r.ns
			_, err := r.be.Tasks(r.ctx, req)
			try("Tasks with "+what, err)
		}
		for _, name := range badNames {
			look(fmt.Sprintf("id %.20q", name), backend.TasksRequest{IDs: []string{"waiting", name}})
			look(fmt.Sprintf("queue %.20q", name), backend.TasksRequest{Queue: name, State: backend.TaskWaiting})
			_, err := r.be.Watch(r.ctx, backend.WatchRequest{Namespace: r.ns, ID: name})
			try(fmt.Sprintf("Watch of %.20q", name), err)
			_, err = r.be.Stats(r.ctx, backend.StatsRequest{Namespace: r.ns, Queue: name})
			try(fmt.Sprintf("Stats of %.20q", name), err)
		}
		for _, state := range []backend.TaskState{backend.TaskUnknown, backend.TaskDone, backend.TaskFailed, backend.TaskExpired, backend.TaskCancelled, 99} {
			look("state "+state.String(), backend.TasksRequest{Queue: theQueue, State: state})
		}
		for _, limit := range []int{-1, backend.BatchLimit + 1} {
			look("a strange limit", backend.TasksRequest{Queue: theQueue, State: backend.TaskWaiting, Limit: limit})
		}
		look("too many ids", backend.TasksRequest{IDs: many()})
		look("nothing", backend.TasksRequest{})
	}),
}

// refusalGrant is the lease on the task that runs in the cases about bad requests.
func (r *room) refusalGrant() backend.TaskGrant {
	r.tb.Helper()
	return backend.TaskGrant{Task: backend.TaskInfo{ID: "running"}, Token: "token"}
}

// taskRefusal is a case with a task in each of several states, which must not change.
func taskRefusal(name string, run func(r *room, try func(what string, err error))) Case {
	return Case{
		Name: name, Sentence: refuses,
		check: func(r *room) {
			done, dead := r.starts("done"), r.starts("dead")
			r.says(about(&done, backend.ReportDone, "r"), about(&dead, backend.ReportDead, "e"))
			r.puts("running")
			l := r.listener(theQueue)
			req := l.request(1)
			req.Token = "token"
			r.same("what was fetched", taskIDs(l.calls(req).Tasks), []string{"running"})
			l.leaves()
			r.puts("waiting")
			ids := []string{"done", "dead", "running", "waiting", "new", "b"}
			look := func() ([]backend.TaskInfo, backend.QueueStats) {
				all, stats := r.looks(ids...), r.stats(theQueue)
				stats.Oldest = 0
				for i := range all {
					if all[i].Remaining > 0 {
						all[i].Remaining = 1
					}
				}
				return all, stats
			}
			tasks, stats := look()
			run(r, r.refused)
			tasks2, stats2 := look()
			if !reflect.DeepEqual(tasks, tasks2) {
				r.Errorf("an invalid request has changed tasks from %+v to %+v", tasks, tasks2)
			}
			r.equal("the numbers of the queue after invalid requests", stats2, stats)
			r.pass(short)
			r.are(backend.TaskRunning, "running") // its lease was not made shorter
		},
	}
}
