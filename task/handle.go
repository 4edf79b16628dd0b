package task

import (
	"context"
	"iter"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Handle is one task with results R, seen from outside. It holds no resources; its methods may be called concurrently.
type Handle[R any] struct {
	core *core
	id   string
	once bool
}

// ID names the task, also in other processes.
func (h *Handle[R]) ID() string { return h.id }

// Wait waits for the end of the task, or until ctx ends, and gives its result. It may be called before, during and after the
// task, also several times: one round trip, and then the end is told. The errors are those of [Queue.Query]; a task that is
// not, or no longer, there is [ErrLost].
func (h *Handle[R]) Wait(ctx context.Context) (R, error) {
	var none R
	info, err := h.await(ctx)
	if err != nil {
		return none, fail("wait for", h.id, lease.Ended(ctx, err))
	}
	if h.once && info.State.Final() && info.State != backend.TaskDead {
		h.core.remove(ctx, h.id)
	}
	res, err := outcome[R](h.core, &info)
	return res, fail("wait for", h.id, err)
}

func (h *Handle[R]) await(ctx context.Context) (backend.TaskInfo, error) {
	reply, err := h.watch(ctx, false)
	if err != nil {
		return backend.TaskInfo{}, err
	}
	return await(ctx, reply.Task, reply.Watching)
}

func (h *Handle[R]) watch(ctx context.Context, progress bool) (backend.WatchReply, error) {
	if h.core.broken != nil {
		return backend.WatchReply{}, h.core.broken
	}
	return h.core.be.Watch(ctx, backend.WatchRequest{Namespace: h.core.ns, ID: h.id, Progress: progress})
}

// Progress lists what the handler has reported with [Task.Progress], beginning with the latest, as it comes, until the task
// has ended. What comes faster than it is read is left out, but not the last, unless its message is lost. If it cannot go on,
// because ctx has ended or the task is not there, it gives an error, which is the last.
func (h *Handle[R]) Progress(ctx context.Context) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		reply, err := h.watch(ctx, true)
		if err != nil {
			yield(Progress{}, fail("progress of", h.id, err))
			return
		}
		if reply.Watching != nil {
			defer reply.Watching.Stop()
		}
		var last Progress
		told := false
		for info := reply.Task; ; {
			if info.State == backend.TaskUnknown {
				yield(Progress{}, fail("progress of", h.id, ErrLost))
				return
			}
			if p, ok := decodeProgress(info.Progress); ok && (p != last || !told) {
				if last, told = p, true; !yield(p, nil) {
					return
				}
			}
			if info.State.Final() {
				return
			}
			select {
			case c := <-reply.Watching.Changes:
				if c.Err != nil {
					yield(Progress{}, fail("progress of", h.id, c.Err))
					return
				}
				info = c.Task
			case <-ctx.Done():
				yield(Progress{}, fail("progress of", h.id, ended(ctx)))
				return
			}
		}
	}
}

// Cancel ends the task, at once: those who wait get [ErrCancelled]. If it runs, the context of its handler ends with that
// cause, and whatever it returns is not looked at. A task that has ended, or is not there, is [ErrEnded]. One round trip.
func (h *Handle[R]) Cancel(ctx context.Context) error {
	return h.act(ctx, "cancel", backend.TasksCancel, ErrEnded)
}

// Remove forgets the task and its result. One that has not ended is [ErrRunning]; one that is not there is no error. One
// round trip, or two.
func (h *Handle[R]) Remove(ctx context.Context) error {
	err := h.act(ctx, "remove", backend.TasksRemove, ErrRunning)
	if err == nil {
		return nil
	}
	if s, failed := h.State(ctx); failed == nil && s.State == Unknown {
		return nil
	}
	return err
}

func (h *Handle[R]) act(ctx context.Context, op string, action backend.TaskAction, refused error) error {
	if h.core.broken != nil {
		return fail(op, h.id, h.core.broken)
	}
	did, err := h.core.edit(ctx, action, h.id)
	if err == nil && !did {
		err = refused
	}
	return fail(op, h.id, err)
}

// State tells how the task stands. One that is not there has the state [Unknown], without an error. One round trip.
func (h *Handle[R]) State(ctx context.Context) (Status, error) {
	if h.core.broken != nil {
		return Status{}, fail("state of", h.id, h.core.broken)
	}
	reply, err := h.core.be.Tasks(ctx, backend.TasksRequest{Namespace: h.core.ns, IDs: []string{h.id}})
	if err != nil {
		return Status{}, fail("state of", h.id, err)
	}
	return statusOf(&reply.Tasks[0]), nil
}
