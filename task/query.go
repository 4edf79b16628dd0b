package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// cancelTimeout bounds what a Query that was given up still says to the store.
const cancelTimeout = time.Second

// query has a task done where its policy says.
func (q *Queue[P, R]) query(ctx context.Context, params P, s *submission) (res R, err error) {
	switch s.policy {
	case Local:
		return q.runLocal(ctx, params, s)
	case LocalFirst:
		begin := time.Now()
		res, err := q.runLocal(ctx, params, s)
		if err == nil || final(err) || ctx.Err() != nil {
			return res, err
		}
		s.waited(time.Since(begin))
		res, remote := q.runRemote(ctx, params, s)
		if remote != nil {
			return res, fmt.Errorf("%w (after it failed in this process: %w)", remote, err)
		}
		return res, nil
	case RemoteFirst:
		s.req.IfListened = true
		begin := time.Now()
		res, err := q.runRemote(ctx, params, s)
		if err == nil || !another(err) || ctx.Err() != nil {
			return res, err
		}
		s.waited(time.Since(begin))
		res, local := q.runLocal(ctx, params, s)
		if local != nil {
			return res, fmt.Errorf("%w (after it failed elsewhere: %w)", local, err)
		}
		return res, nil
	case Auto:
		s.req.IfListened = true
		res, err := q.runRemote(ctx, params, s)
		if !errors.Is(err, ErrNoListener) || errors.Is(err, ErrExpired) || ctx.Err() != nil {
			return res, err
		}
		res, local := q.runLocal(ctx, params, s)
		if errors.Is(local, ErrNoLocal) {
			return res, fmt.Errorf("%w, %w", err, local)
		}
		return res, local
	default:
		return q.runRemote(ctx, params, s)
	}
}

// another reports whether it makes sense to try in this process what has failed elsewhere.
func another(err error) bool {
	for _, no := range []error{ErrCancelled, ErrConflict, ErrTooLarge, backend.ErrInvalid, backend.ErrClosed} {
		if errors.Is(err, no) {
			return false
		}
	}
	return !final(err)
}

// runRemote submits the task and waits for its end.
func (q *Queue[P, R]) runRemote(ctx context.Context, params P, s *submission) (none R, err error) {
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if err := q.encodeInto(s, params); err != nil {
		return none, err
	}
	cut := s.cut(ctx)
	s.req.Watch = true
	reply, err := q.submit(ctx, s)
	if err != nil {
		return none, q.givenUp(ctx, s, err)
	}
	if !reply.Created && !reply.Joined {
		return none, ErrNoListener
	}
	info, err := await(ctx, reply.Task, reply.Watching)
	if err != nil {
		return none, q.givenUp(ctx, s, err)
	}
	switch {
	case info.State == backend.TaskDead:
	case s.once:
		q.remove(ctx, info.ID)
	case !s.named:
		q.done.add(info.ID)
	}
	res, err := outcome[R](&q.core, &info)
	if cut && info.State == backend.TaskExpired { // ctx ends in this moment, too
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return res, err
}

// cut gives a task no more time than those have who wait for it alone.
func (s *submission) cut(ctx context.Context) bool {
	until, ok := ctx.Deadline()
	if !ok || s.named {
		return false
	}
	left := max(time.Until(until), time.Millisecond)
	if least := s.req.Delay + time.Millisecond; left < least { // ctx ends before the task is due, and cancels it
		s.req.Timeout = min(s.req.Timeout, least)
		return false
	}
	if left >= s.req.Timeout {
		return false
	}
	s.req.Timeout = left
	return true
}

// waited takes off the delay what has passed of it.
func (s *submission) waited(d time.Duration) { s.req.Delay = max(s.req.Delay-d, 0) }

// remove forgets the final state of a task that has been read.
func (q *core) remove(ctx context.Context, id string) {
	if _, err := q.edit(ctx, backend.TasksRemove, id); err != nil {
		q.cfg.Logger.Warn("result was not removed", "queue", q.name, "id", id, "error", err)
	}
}

// await waits for the end of a task.
func await(ctx context.Context, info backend.TaskInfo, w *backend.Watching) (backend.TaskInfo, error) {
	if w == nil {
		return info, nil
	}
	defer w.Stop()
	for {
		select {
		case c := <-w.Changes:
			if c.Err != nil {
				return c.Task, c.Err
			}
			if c.Task.State.Final() || c.Task.State == backend.TaskUnknown {
				return c.Task, nil
			}
		case <-ctx.Done():
			return info, ended(ctx)
		}
	}
}

// ended is the error of who waited until ctx has ended.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// givenUp cancels a task if nobody waits for it any more, and completes the error of its Query.
func (q *core) givenUp(ctx context.Context, s *submission, why error) error {
	if ctx.Err() == nil || s.named {
		return why
	}
	taken, err := q.abandon(ctx, s.req.ID)
	switch {
	case err != nil:
		return fmt.Errorf("%w (the task was not cancelled and may go on: %w)", why, lease.Unavailable(err))
	case !taken:
		return fmt.Errorf("%w: %w", why, ErrNoListener)
	}
	return why
}

// abandon cancels a task. It reports false if nobody had taken it and nobody listens.
func (q *core) abandon(ctx context.Context, id string) (taken bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	cancelled, err := q.edit(ctx, backend.TasksCancel, id)
	if err != nil {
		q.cfg.Logger.Warn("task was not cancelled, it goes on", "queue", q.name, "id", id, "error", err)
		return true, err
	}
	look, failed := q.be.Tasks(ctx, backend.TasksRequest{Namespace: q.ns, IDs: []string{id}})
	if failed != nil { // it is cancelled all the same
		return true, nil
	}
	info := &look.Tasks[0]
	if info.State.Final() && info.State != backend.TaskDead {
		q.done.add(id)
	}
	if !cancelled || info.Attempts > 0 {
		return info.Reason != backend.ReasonNoListener, nil
	}
	stats, failed := q.be.Stats(ctx, backend.StatsRequest{Namespace: q.ns, Queue: q.name})
	return failed != nil || stats.Listeners > 0, nil
}

// edit acts on one task.
func (q *core) edit(ctx context.Context, action backend.TaskAction, id string) (bool, error) {
	reply, err := q.be.EditTasks(ctx, backend.TaskEdit{Namespace: q.ns, Action: action, IDs: []string{id}})
	return err == nil && len(reply.Edited) == 1 && reply.Edited[0], err
}
