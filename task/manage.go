package task

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/redisallocator/redisallocator/backend"
)

// Stats is a queue in numbers.
type Stats = backend.QueueStats

// DeadTask is one of those that [Queue.Dead] lists.
type DeadTask[P any] struct {
	Status
	Params    P
	ParamsErr error // why Params are not there: the payload cannot be decoded
}

// Stats counts what waits, runs and is dead, what has ended how, and who listens, in one round trip.
func (q *Queue[P, R]) Stats(ctx context.Context) (Stats, error) {
	if q.broken != nil {
		return Stats{}, fail("stats of", q.name, q.broken)
	}
	stats, err := q.be.Stats(ctx, backend.StatsRequest{Namespace: q.ns, Queue: q.name})
	return stats, fail("stats of", q.name, err)
}

// Pause has no more tasks of the queue begun, by any listener, until [Queue.Resume]. What runs goes on, what is submitted
// waits, what expires does so. One round trip.
func (q *Queue[P, R]) Pause(ctx context.Context) error {
	return q.switchTo(ctx, "pause", backend.QueuePause)
}

// Resume undoes [Queue.Pause]. One round trip.
func (q *Queue[P, R]) Resume(ctx context.Context) error {
	return q.switchTo(ctx, "resume", backend.QueueResume)
}

func (q *Queue[P, R]) switchTo(ctx context.Context, op string, action backend.TaskAction) error {
	if q.broken != nil {
		return fail(op, q.name, q.broken)
	}
	_, err := q.be.EditTasks(ctx, backend.TaskEdit{Namespace: q.ns, Action: action, Queue: q.name})
	return fail(op, q.name, err)
}

// Dead lists the dead tasks, the longest dead first, a page of some hundred for each round trip. An error is the last.
func (q *Queue[P, R]) Dead(ctx context.Context) iter.Seq2[DeadTask[P], error] {
	return func(yield func(DeadTask[P], error) bool) {
		for info, err := range q.list(ctx, Dead, true) {
			if err != nil {
				yield(DeadTask[P]{}, err)
				return
			}
			d := DeadTask[P]{Status: statusOf(&info)}
			if info.Reason == backend.ReasonForeign {
				d.ParamsErr = ErrForeignPayload
			} else {
				d.ParamsErr = q.decodeParams(&info, &d.Params)
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// decodeParams reads the payload of a task.
func (q *Queue[P, R]) decodeParams(info *backend.TaskInfo, params *P) error {
	m, err := decodeMeta(info.Meta)
	if err != nil {
		return fmt.Errorf("meta: %w: %w", ErrForeignPayload, err)
	}
	if name := cmp.Or(m.Codec, JSON.Name()); name != q.cfg.Codec.Name() {
		return fmt.Errorf("payload of codec %.40q: %w", name, ErrForeignPayload)
	}
	return q.cfg.decode("payload", info.Payload, params)
}

// List lists the tasks in one state, which is [Scheduled], [Waiting], [Running] or [Dead], in their order. While others work
// on the queue it may miss what moves. An error is the last.
func (q *Queue[P, R]) List(ctx context.Context, state State) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		for info, err := range q.list(ctx, state, false) {
			if !yield(statusOf(&info), err) {
				return
			}
		}
	}
}

func (q *core) list(ctx context.Context, state State, payload bool) iter.Seq2[backend.TaskInfo, error] {
	const page = 200
	return func(yield func(backend.TaskInfo, error) bool) {
		req := backend.TasksRequest{Namespace: q.ns, Queue: q.name, State: state, Limit: page, Payload: payload}
		for {
			err := q.broken
			var reply backend.TasksReply
			if err == nil {
				reply, err = q.be.Tasks(ctx, req)
			}
			if err != nil {
				yield(backend.TaskInfo{}, fail("list", q.name, err))
				return
			}
			for _, info := range reply.Tasks {
				if !yield(info, nil) {
					return
				}
			}
			if req.Cursor = reply.Cursor; req.Cursor == "" {
				return
			}
		}
	}
}

// Revive puts dead tasks back into the queue, with new attempts, deaths and time. It tells how many it could; the error is
// [ErrNotDead] if that is not all. One round trip for a thousand.
func (q *Queue[P, R]) Revive(ctx context.Context, ids ...string) (int, error) {
	return q.editAll(ctx, "revive", backend.TasksRevive, ErrNotDead, ids)
}

// Remove forgets tasks that have ended, dead ones among them. It tells how many it could; the error is [ErrRunning] if that is
// not all. One round trip for a thousand.
func (q *Queue[P, R]) Remove(ctx context.Context, ids ...string) (int, error) {
	return q.editAll(ctx, "remove", backend.TasksRemove, ErrRunning, ids)
}

func (q *core) editAll(
	ctx context.Context, op string, action backend.TaskAction, refused error, ids []string,
) (n int, err error) {
	if q.broken != nil {
		return 0, fail(op, q.name, q.broken)
	}
	for all := ids; len(all) > 0; {
		page := all[:min(len(all), backend.BatchLimit)]
		all = all[len(page):]
		reply, err := q.be.EditTasks(ctx, backend.TaskEdit{Namespace: q.ns, Action: action, IDs: page})
		if err != nil {
			return n, fail(op, q.name, err)
		}
		for _, did := range reply.Edited {
			if did {
				n++
			}
		}
	}
	if n < len(ids) {
		return n, fail(op, q.name, refused)
	}
	return n, nil
}
