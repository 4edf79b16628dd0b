package rueidis

import (
	"cmp"
	"context"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// Tasks implements [backend.Queues]: one round trip, but for tasks with so much data that they do not fit into one answer.
func (b *Backend) Tasks(ctx context.Context, req backend.TasksRequest) (backend.TasksReply, error) {
	sp, err := b.ready(ctx, "tasks", req.Namespace, req.Validate())
	if err != nil {
		return backend.TasksReply{}, err
	}
	if len(req.IDs) == 0 {
		return sp.listTasks(ctx, &req)
	}
	list := make([]backend.TaskInfo, 0, len(req.IDs))
	for len(list) < len(req.IDs) {
		ids := req.IDs[len(list):]
		reply, err := sp.onTasks(ctx, "tasks", taskLookScript, append([]string{flag(req.Payload)}, ids...)...)
		if err != nil {
			return backend.TasksReply{}, err
		}
		all, err := reply.ToArray()
		if err != nil || len(all) == 0 || len(all) > len(ids) {
			return backend.TasksReply{}, b.fail(ctx, "tasks", sp.ns, unexpected("tasks", &reply))
		}
		for i := range all {
			a, err := decodeTask(ids[i], &all[i])
			if err != nil {
				return backend.TasksReply{}, b.fail(ctx, "tasks", sp.ns, err)
			}
			list = append(list, a.info)
		}
	}
	return backend.TasksReply{Tasks: list}, nil
}

// listTasks gives one page of the tasks of a queue that are in one state.
func (sp *space) listTasks(ctx context.Context, req *backend.TasksRequest) (backend.TasksReply, error) {
	if err := checkTaskCursor(req); err != nil {
		return backend.TasksReply{}, sp.b.fail(ctx, "tasks", sp.ns, err)
	}
	limit := cmp.Or(req.Limit, backend.BatchLimit)
	reply, err := sp.onTasks(ctx, "tasks", taskListScript,
		flag(req.Payload), req.Queue, req.State.String(), req.Cursor, itoa(limit))
	if err != nil {
		return backend.TasksReply{}, err
	}
	page, err := decodeTaskPage(&reply)
	return page, sp.b.fail(ctx, "tasks", sp.ns, err)
}

// laneCursor is what tasklist.lua gives for a page of waiting tasks.
var laneCursor = regexp.MustCompile(`(?s)^[012] [0-9]+ .`)

// checkTaskCursor refuses a cursor that cannot have come from an earlier page.
func checkTaskCursor(req *backend.TasksRequest) error {
	ok := req.Cursor == ""
	if req.State == backend.TaskWaiting {
		ok = ok || laneCursor.MatchString(req.Cursor)
	} else if score, id, found := strings.Cut(req.Cursor, " "); found && id != "" {
		n, err := strconv.ParseFloat(score, 64)
		ok = ok || err == nil && !math.IsNaN(n)
	}
	if !ok {
		return &backend.InvalidError{Field: "cursor", Value: strconv.Quote(req.Cursor), Reason: "came from no reply"}
	}
	return nil
}

// decodeTaskPage reads {cursor, id, task, id, task, ...}.
func decodeTaskPage(m *rueidis.RedisMessage) (page backend.TasksReply, err error) {
	list, err := m.ToArray()
	if err != nil || len(list)%2 != 1 || into(&list[0], &page.Cursor) != nil {
		return backend.TasksReply{}, unexpected("tasks", m)
	}
	page.Tasks = make([]backend.TaskInfo, 0, len(list)/2)
	for list = list[1:]; len(list) > 0; list = list[2:] {
		var id string
		if into(&list[0], &id) != nil {
			return backend.TasksReply{}, unexpected("tasks", m)
		}
		a, err := decodeTask(id, &list[1])
		if err != nil {
			return backend.TasksReply{}, err
		}
		page.Tasks = append(page.Tasks, a.info)
	}
	return page, nil
}
