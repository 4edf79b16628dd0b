package rueidis

import (
	"context"
	"errors"

	"github.com/redisallocator/redisallocator/backend"
)

// Watch implements [backend.Queues]: one round trip, but for the first one in a namespace, which subscribes to the channel
// on which this backend is told of tasks. Without one, what becomes of the task is polled for.
func (b *Backend) Watch(ctx context.Context, req backend.WatchRequest) (backend.WatchReply, error) {
	sp, err := b.ready(ctx, "watch", req.Namespace, req.Validate())
	if err != nil {
		return backend.WatchReply{}, err
	}
	if err := sp.awaitTasks(ctx); err != nil {
		return backend.WatchReply{}, b.fail(ctx, "watch", sp.ns, err)
	}
	first := markFirst
	if req.Progress {
		first = markProgress
	}
	w := sp.tasks.expectWatch(req.ID, req.Progress)
	answers, err := await(ctx, b, func(ctx context.Context) ([]taskAnswer, error) {
		return sp.tasks.question(ctx, []taskQuestion{{id: req.ID, mark: first}})
	})
	if err == nil {
		err = answers[0].err
	}
	if err != nil || answers[0].kind == taskEnded {
		sp.tasks.forget(w)
		if err != nil {
			return backend.WatchReply{}, b.fail(ctx, "watch", sp.ns, err)
		}
		return backend.WatchReply{Task: answers[0].info}, nil
	}
	info := answers[0].info
	return backend.WatchReply{Task: info, Watching: sp.tasks.began(w, info)}, nil
}

// awaitTasks waits until messages arrive, as [space.subscribed] does, but for a server that does not allow them.
func (sp *space) awaitTasks(ctx context.Context) error {
	err := sp.subscribed(ctx)
	if isReply(err) && errors.Is(sp.b.classify(err), backend.ErrPermission) {
		return nil
	}
	return err
}

// A taskQuestion is about a task that is watched.
type taskQuestion struct {
	id   string
	mark string // what is known, see taskwatch.lua
}

// Marks of questions.
const (
	markNone     = ""  // only the end is of interest
	markFirst    = "?" // and how it stands now
	markProgress = "+" // and progress; with the mark of the last answer behind, if there was one
)

// question asks the server how tasks stand, and has it remember who watches them. The answers are for the first of the
// tasks, one at least. The error is as the client gave it.
func (ts *taskSpace) question(ctx context.Context, list []taskQuestion) ([]taskAnswer, error) {
	sp := ts.sp
	argv := make([]string, 0, 2+2*len(list))
	argv = append(argv, sp.taskKeys.head, sp.b.process)
	for i := range list {
		argv = append(argv, list[i].mark, list[i].id)
	}
	reply, err := invocation{taskWatchScript, sp.taskKeys.keys, argv}.carryOut(ctx, sp.b)
	if err != nil {
		return nil, err
	}
	all, err := reply.ToArray()
	if err != nil || len(all) == 0 || len(all) > len(list) {
		return nil, unexpected("watch", &reply)
	}
	answers := make([]taskAnswer, len(all))
	for i := range all {
		a := &answers[i]
		*a, err = decodeTask(list[i].id, &all[i])
		if isReply(err) {
			a.err, err = err, nil
		}
		if err == nil && a.err == nil && a.kind == taskGoes && list[i].mark == markFirst {
			err = unexpected("watch", &reply)
		}
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}
