package rueidis

import (
	"context"

	"github.com/redisallocator/redisallocator/backend"
)

// taskActions are the names that taskedit.lua has for what EditTasks does.
var taskActions = map[backend.TaskAction]string{
	backend.TasksCancel: "cancel", backend.TasksRemove: "remove", backend.TasksRevive: "revive",
	backend.QueuePause: "pause", backend.QueueResume: "resume",
}

// EditTasks implements [backend.Queues]: one round trip.
func (b *Backend) EditTasks(ctx context.Context, req backend.TaskEdit) (backend.TaskEditReply, error) {
	sp, err := b.ready(ctx, "edit tasks", req.Namespace, req.Validate())
	if err != nil {
		return backend.TaskEditReply{}, err
	}
	names := req.IDs
	if req.Queue != "" && len(names) == 0 {
		names = []string{req.Queue}
	}
	reply, err := sp.onTasks(ctx, "edit tasks", taskEditScript, append([]string{taskActions[req.Action]}, names...)...)
	if err != nil {
		return backend.TaskEditReply{}, err
	}
	var text string
	if err := into(&reply, &text); err != nil || len(text) != len(req.IDs) {
		return backend.TaskEditReply{}, b.fail(ctx, "edit tasks", sp.ns, unexpected("edit tasks", &reply))
	}
	edited, _, err := digits(text, len(req.IDs))
	return backend.TaskEditReply{Edited: edited}, b.fail(ctx, "edit tasks", sp.ns, err)
}
