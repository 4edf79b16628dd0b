package memory

import (
	"context"

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
	return backend.TasksReply{}, fail("tasks", req.Namespace, backend.ErrUnsupported)
}
