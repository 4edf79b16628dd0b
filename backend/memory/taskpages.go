package memory

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redisallocator/redisallocator/backend"
)

// Tasks looks at tasks or lists those of a queue; see [backend.Queues].
func (b *Backend) Tasks(ctx context.Context, req backend.TasksRequest) (backend.TasksReply, error) {
	ts, now, err := b.openTasks(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.TasksReply{}, fail("tasks", req.Namespace, err)
	}
	defer ts.unlock()
	if len(req.IDs) > 0 {
		reply := backend.TasksReply{Tasks: make([]backend.TaskInfo, len(req.IDs))}
		for i, id := range req.IDs {
			if t := ts.find(id, now); t != nil {
				reply.Tasks[i] = ts.info(t, now, req.Payload)
			} else {
				reply.Tasks[i].ID = id
			}
		}
		return reply, nil
	}
	from, err := parseTaskCursor(req.Cursor)
	if err != nil {
		return backend.TasksReply{}, fail("tasks", req.Namespace, err)
	}
	return ts.page(&req, from, now), nil
}

// taskCursor says which task was the last one of a page.
type taskCursor struct {
	list int   // which list it was in
	at   int64 // its number there, or its moment in an agenda
	id   string
}

// String is the cursor as callers have it.
func (c *taskCursor) String() string {
	return strconv.Itoa(c.list) + "," + strconv.FormatInt(c.at, 10) + "," + c.id
}

// parseTaskCursor is the opposite; nil starts.
func parseTaskCursor(s string) (*taskCursor, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // there is neither
	}
	list, rest, _ := strings.Cut(s, ",")
	at, id, ok := strings.Cut(rest, ",")
	c, err := &taskCursor{id: id}, error(nil)
	if c.list, err = strconv.Atoi(list); err == nil {
		c.at, err = strconv.ParseInt(at, 10, 64)
	}
	if err != nil || !ok || c.list < 0 || c.list >= lanes {
		return nil, &backend.InvalidError{Field: "cursor", Value: strconv.Quote(s), Reason: "is none"}
	}
	return c, nil
}

// byPriority is the order in which lanes are listed.
var byPriority = [lanes]backend.TaskClass{backend.ClassHigh, backend.ClassNormal, backend.ClassLow}

// page lists tasks of a queue that are in one state.
func (ts *tasks) page(req *backend.TasksRequest, from *taskCursor, now instant) (reply backend.TasksReply) {
	q := ts.queues[req.Queue]
	if q == nil {
		return reply
	}
	limit := req.Limit
	if limit == 0 {
		limit = backend.BatchLimit
	}
	ts.catchUp(q, now, patience)
	var page []*task
	var last *taskCursor
	switch req.State {
	case backend.TaskScheduled:
		page, last = q.scheduled.page(from, limit)
	case backend.TaskRunning:
		page, last = q.running.page(from, limit)
	case backend.TaskDead:
		page, last = ts.listed([]*taskList{&q.dead}, from, limit)
	default:
		var lists [lanes]*taskList
		for i, class := range byPriority {
			lists[i] = &q.lanes[class]
		}
		page, last = ts.listed(lists[:], from, limit)
	}
	if last != nil {
		reply.Cursor = last.String()
	}
	for _, t := range page {
		if ts.settle(t, now) && t.state == req.State {
			reply.Tasks = append(reply.Tasks, ts.info(t, now, req.Payload))
		}
	}
	return reply
}

// listed gives up to limit tasks from lists, and where to go on, if there are more.
func (ts *tasks) listed(lists []*taskList, from *taskCursor, limit int) (page []*task, last *taskCursor) {
	for i, l := range lists {
		t := l.head
		if from != nil {
			if i < from.list {
				continue
			}
			if i == from.list {
				t = ts.after(l, from)
			}
		}
		for ; t != nil; t = t.next {
			if len(page) == limit {
				return page, last
			}
			page = append(page, t)
			last = &taskCursor{list: i, at: t.seq, id: t.id}
		}
	}
	return page, nil
}

// after gives the task behind a cursor: mostly that of the cursor is still there.
func (ts *tasks) after(l *taskList, from *taskCursor) *task {
	if t := ts.byID[from.id]; t != nil && t.list == l && t.seq == from.at {
		return t.next
	}
	t := l.head
	for t != nil && t.seq <= from.at {
		t = t.next
	}
	return t
}

// page gives the next limit tasks in the order of their moments, and where to go on, if there are more.
func (a *agenda) page(from *taskCursor, limit int) (page []*task, last *taskCursor) {
	soonest := make([]appointment, 0, min(2*limit, len(a.slots)))
	cut := func() {
		slices.SortFunc(soonest, func(x, y appointment) int {
			if x.before(&y) {
				return -1
			}
			return 1
		})
		soonest = soonest[:min(limit, len(soonest))]
	}
	n := 0
	for _, p := range a.slots {
		if from != nil && (int64(p.at) < from.at || int64(p.at) == from.at && p.t.id <= from.id) {
			continue
		}
		if n++; len(soonest) == cap(soonest) {
			cut()
		}
		soonest = append(soonest, p)
	}
	cut()
	for _, p := range soonest {
		page = append(page, p.t)
	}
	if n > len(page) {
		end := &soonest[len(soonest)-1]
		last = &taskCursor{at: int64(end.at), id: end.t.id}
	}
	return page, last
}
