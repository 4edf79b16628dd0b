package backendtest_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenEdits end, remove, revive and pause as they should not.
func brokenEdits() []mutant {
	var dead sync.Map
	only := func(action backend.TaskAction, keep func(backend.TaskInfo) bool) broken {
		return broken{tasks: brokenQueues{edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
			if req.Action != action || req.Validate() != nil {
				return be.EditTasks(ctx, req)
			}
			reply := backend.TaskEditReply{Edited: make([]bool, len(req.IDs))}
			for i, id := range req.IDs {
				if t := taskOf(ctx, be, req.Namespace, id); keep(t) {
					one := req
					one.IDs = []string{id}
					got, err := be.EditTasks(ctx, one)
					if err != nil {
						return reply, err
					}
					reply.Edited[i] = got.Edited[0]
				}
			}
			return reply, nil
		}}}
	}
	says := func(action backend.TaskAction, act bool) broken {
		return broken{tasks: brokenQueues{edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
			if req.Action != action || req.Validate() != nil {
				return be.EditTasks(ctx, req)
			}
			var err error
			if act {
				_, err = be.EditTasks(ctx, req)
			}
			return backend.TaskEditReply{Edited: slices.Repeat([]bool{true}, len(req.IDs))}, err
		}}}
	}
	return []mutant{
		{"what is running is not cancelled", "task-edit/cancel", only(backend.TasksCancel, func(t backend.TaskInfo) bool { return t.State != backend.TaskRunning })},
		{"what is scheduled is not cancelled", "task-edit/cancel", only(backend.TasksCancel, func(t backend.TaskInfo) bool { return t.State != backend.TaskScheduled })},
		{"what has ended is cancelled", "task-edit/cancel-final", says(backend.TasksCancel, true)},
		{"nobody is told what he has lost", "task-edit/lost", broken{tasks: brokenQueues{
			fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				got, err := be.Fetch(ctx, req)
				if got.Lost != nil {
					lost, _ := dead.LoadOrStore(got.Lost, make(chan backend.Held))
					got.Lost = lost.(chan backend.Held)
				}
				return got, err
			},
		}}},
		{"what is lost is told to all", "task-edit/lost", broken{tasks: brokenQueues{
			fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
				got, err := be.Fetch(ctx, req)
				if got.Lost != nil {
					lost, _ := dead.LoadOrStore(req.Namespace, got.Lost)
					got.Lost = lost.(<-chan backend.Held)
				}
				return got, err
			},
		}}},
		{"removing ends tasks", "task-edit/remove", broken{tasks: brokenQueues{
			edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
				if req.Action == backend.TasksRemove && req.Validate() == nil {
					does(ctx, be, req.Namespace, backend.TasksCancel, req.IDs...)
				}
				return be.EditTasks(ctx, req)
			},
		}}},
		{"nothing is removed", "task-edit/remove", says(backend.TasksRemove, false)},
		{"the dead are not removed", "task-edit/remove", only(backend.TasksRemove, func(t backend.TaskInfo) bool { return t.State != backend.TaskDead })},
		{"the dead stay dead", "task-edit/revive", says(backend.TasksRevive, false)},
		{"who is revived keeps his attempts", "task-edit/revive", afterFetch(func(_ *backend.FetchRequest, got *backend.FetchReply) {
			for i := range got.Tasks {
				if t := &got.Tasks[i].Task; len(t.Error) > 0 && t.Attempts == 1 {
					t.Attempts = 3
				}
			}
		})},
		{"all are revived", "task-edit/revive-others", says(backend.TasksRevive, true)},
		{"who is revived has his reason still", "task-edit/revive-deaths", afterLooking(func(t *backend.TaskInfo) {
			if t.State == backend.TaskWaiting && t.Attempts == 0 {
				t.Reason = backend.ReasonDeaths
			}
		})},
		{"who is revived is buried", "task-edit/revive-outlives", broken{tasks: brokenQueues{
			edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
				got, err := be.EditTasks(ctx, req)
				for i, id := range req.IDs {
					if req.Action == backend.TasksRevive && err == nil && got.Edited[i] {
						dead.Store(req.Namespace.Task(id), time.Now().Add(200*time.Millisecond))
					}
				}
				return got, err
			},
			look: func(ctx context.Context, be backend.Backend, req backend.TasksRequest) (backend.TasksReply, error) {
				got, err := be.Tasks(ctx, req)
				for i := range got.Tasks {
					if end, ok := dead.Load(req.Namespace.Task(got.Tasks[i].ID)); ok && time.Now().After(end.(time.Time)) {
						got.Tasks[i] = backend.TaskInfo{}
					}
				}
				return got, err
			},
		}}},
		{"edits are all or none", "task-edit/each", broken{tasks: brokenQueues{
			edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
				for _, id := range req.IDs {
					if req.Validate() == nil && taskOf(ctx, be, req.Namespace, id).State == backend.TaskUnknown {
						return backend.TaskEditReply{Edited: make([]bool, len(req.IDs))}, nil
					}
				}
				return be.EditTasks(ctx, req)
			},
		}}},
		{"queues do not pause", "task-edit/pause", broken{tasks: brokenQueues{
			edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
				if req.Action == backend.QueuePause && req.Validate() == nil {
					return backend.TaskEditReply{}, nil
				}
				return be.EditTasks(ctx, req)
			},
		}}},
		{"all queues pause", "task-edit/pause", broken{tasks: brokenQueues{
			edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
				if req.Action == backend.QueuePause && req.Validate() == nil {
					other := req
					other.Queue = "other"
					_, _ = be.EditTasks(ctx, other)
				}
				return be.EditTasks(ctx, req)
			},
		}}},
		{"what was cancelled is still in line", "task-edit/ghosts", func() broken {
			var ghosts sync.Map
			return broken{tasks: brokenQueues{
				edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
					for _, id := range req.IDs {
						if req.Action == backend.TasksCancel && req.Validate() == nil && taskOf(ctx, be, req.Namespace, id).State == backend.TaskWaiting {
							ghosts.Store(req.Namespace.Task(id), true)
						}
					}
					return be.EditTasks(ctx, req)
				},
				fetch: func(ctx context.Context, be backend.Backend, req backend.FetchRequest) (backend.FetchReply, error) {
					got, err := be.Fetch(ctx, req)
					slices.SortStableFunc(got.Tasks, func(a, b backend.TaskGrant) int {
						_, ghostA := ghosts.Load(req.Namespace.Task(a.Task.ID))
						_, ghostB := ghosts.Load(req.Namespace.Task(b.Task.ID))
						switch {
						case ghostA == ghostB:
							return 0
						case ghostA:
							return -1
						default:
							return 1
						}
					})
					return got, err
				},
			}}
		}()},
		{"tasks have no end", "task-expiry/waiting", beforeSubmit(func(q *backend.SubmitRequest) { q.Timeout = max(q.Timeout, time.Hour) })},
		{"what has expired says no reason", "task-expiry/reason", afterLooking(func(t *backend.TaskInfo) { t.Reason = backend.ReasonNone })},
		{"what has expired says that nobody listened", "task-expiry/reason", afterLooking(func(t *backend.TaskInfo) {
			if t.State == backend.TaskExpired {
				t.Reason = backend.ReasonNoListener
			}
		})},
		{"what is due last comes first", "task-expiry/due", beforeSubmit(func(q *backend.SubmitRequest) {
			if q.Delay > 0 && q.Delay < time.Second {
				q.Delay = 480*time.Millisecond - q.Delay
			}
		})},
		{"what is due is due at once", "task-expiry/not-before", beforeSubmit(func(q *backend.SubmitRequest) { q.Delay = min(q.Delay, time.Millisecond) })},
		{"what has expired is found when somebody fetches", "task-expiry/unnoticed", afterLooking(func(t *backend.TaskInfo) {
			if t.State == backend.TaskExpired {
				t.State = backend.TaskWaiting
			}
		})},
		{"bad ids are skipped", "invalid/edit-tasks", broken{tasks: brokenQueues{
			edit: func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
				req.IDs = slices.DeleteFunc(slices.Clone(req.IDs), func(id string) bool { return backend.ValidateName(id) != nil })
				return be.EditTasks(ctx, req)
			},
		}}},
	}
}

// brokenCounts look and count as they should not.
func brokenCounts() []mutant {
	removed := map[backend.Namespace]int64{}
	stats := func(change func(backend.StatsRequest, *backend.QueueStats)) broken {
		return broken{tasks: brokenQueues{stats: func(ctx context.Context, be backend.Backend, req backend.StatsRequest) (backend.QueueStats, error) {
			got, err := be.Stats(ctx, req)
			if err == nil {
				change(req, &got)
			}
			return got, err
		}}}
	}
	pages := func(change func(*backend.TasksRequest, *backend.TasksReply)) broken {
		return broken{tasks: brokenQueues{look: func(ctx context.Context, be backend.Backend, req backend.TasksRequest) (backend.TasksReply, error) {
			got, err := be.Tasks(ctx, req)
			if err == nil {
				change(&req, &got)
			}
			return got, err
		}}}
	}
	shrinking := stats(func(req backend.StatsRequest, got *backend.QueueStats) { got.Done -= removed[req.Namespace] })
	shrinking.tasks.edit = func(ctx context.Context, be backend.Backend, req backend.TaskEdit) (backend.TaskEditReply, error) {
		for _, id := range req.IDs {
			if req.Action == backend.TasksRemove && taskOf(ctx, be, req.Namespace, id).State == backend.TaskDone {
				removed[req.Namespace]++
			}
		}
		return be.EditTasks(ctx, req)
	}
	return []mutant{
		{"tasks come in their own order", "tasks/ids", pages(func(q *backend.TasksRequest, got *backend.TasksReply) {
			if len(q.IDs) > 0 {
				slices.SortStableFunc(got.Tasks, func(a, b backend.TaskInfo) int { return strings.Compare(a.ID, b.ID) })
			}
		})},
		{"tasks that there are not are left out", "tasks/ids", pages(func(q *backend.TasksRequest, got *backend.TasksReply) {
			got.Tasks = slices.DeleteFunc(got.Tasks, func(t backend.TaskInfo) bool { return t.State == backend.TaskUnknown })
		})},
		{"payloads always come", "tasks/payload", broken{tasks: brokenQueues{
			look: func(ctx context.Context, be backend.Backend, req backend.TasksRequest) (backend.TasksReply, error) {
				req.Payload = true
				return be.Tasks(ctx, req)
			},
		}}},
		{"there is one page", "tasks/pages", pages(func(_ *backend.TasksRequest, got *backend.TasksReply) { got.Cursor = "" })},
		{"pages have any length", "tasks/pages", broken{tasks: brokenQueues{
			look: func(ctx context.Context, be backend.Backend, req backend.TasksRequest) (backend.TasksReply, error) {
				if req.Validate() == nil {
					req.Limit = 0
				}
				return be.Tasks(ctx, req)
			},
		}}},
		{"only normal tasks are listed", "tasks/states", pages(func(q *backend.TasksRequest, got *backend.TasksReply) {
			if len(q.IDs) == 0 {
				got.Tasks = slices.DeleteFunc(got.Tasks, func(t backend.TaskInfo) bool { return t.Class != backend.ClassNormal })
			}
		})},
		{"what is listed has no progress", "tasks/entries", pages(func(q *backend.TasksRequest, got *backend.TasksReply) {
			for i := range got.Tasks {
				if len(q.IDs) == 0 {
					got.Tasks[i].Progress = nil
				}
			}
		})},
		{"cursors are places in a list", "tasks/pages-that-change", byPlace()},
		{"cursors are places in a lane", "tasks/pages-that-move", byPlace()},
		{"what was cancelled waits", "tasks/stats", stats(func(_ backend.StatsRequest, got *backend.QueueStats) { got.Waiting += int(got.Cancelled) })},
		{"what runs waits", "tasks/stats", stats(func(_ backend.StatsRequest, got *backend.QueueStats) {
			got.Waiting, got.Running = got.Waiting+got.Running, 0
		})},
		{"totals shrink", "tasks/stats", shrinking},
		{"queues have no age", "tasks/oldest", stats(func(_ backend.StatsRequest, got *backend.QueueStats) { got.Oldest = 0 })},
		{"queues get older though nothing waits", "tasks/oldest", stats(func(_ backend.StatsRequest, got *backend.QueueStats) { got.Oldest += 10 * time.Millisecond })},
		{"closed queues can be counted", "end/task-calls", broken{tasks: brokenQueues{
			stats: func(ctx context.Context, be backend.Backend, req backend.StatsRequest) (backend.QueueStats, error) {
				got, _ := be.Stats(ctx, req)
				return got, nil
			},
		}}},
		{"final states can be listed", "invalid/look-at-tasks", broken{tasks: brokenQueues{
			look: func(ctx context.Context, be backend.Backend, req backend.TasksRequest) (backend.TasksReply, error) {
				if req.State.Final() && req.State != backend.TaskDead {
					return backend.TasksReply{}, nil
				}
				return be.Tasks(ctx, req)
			},
		}}},
	}
}

// byPlace cuts pages out of the whole list.
func byPlace() broken {
	return broken{tasks: brokenQueues{look: func(ctx context.Context, be backend.Backend, req backend.TasksRequest) (backend.TasksReply, error) {
		if len(req.IDs) > 0 || req.Limit == 0 || req.Validate() != nil {
			return be.Tasks(ctx, req)
		}
		from, _ := strconv.Atoi(req.Cursor)
		whole := req
		whole.Limit, whole.Cursor = 0, ""
		got, err := be.Tasks(ctx, whole)
		if err != nil {
			return got, err
		}
		to := min(from+req.Limit, len(got.Tasks))
		got.Tasks, got.Cursor = got.Tasks[min(from, to):to], strconv.Itoa(to)
		if len(got.Tasks) == 0 {
			got.Cursor = ""
		}
		return got, nil
	}}}
}
