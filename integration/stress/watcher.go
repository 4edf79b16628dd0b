package stress

import (
	"context"
	"errors"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/task"
)

// lookPause is how long the watcher waits between two looks.
const lookPause = 100 * time.Millisecond

// watcher looks at everything from outside.
type watcher struct {
	*findings
	run    *run
	be     *rueidis.Backend
	pools  []*poolWatch
	locks  *lockWatch
	lines  []*lineWatch
	tasks  *taskWatch
	books  *accountant
	looks  int
	missed int // looks that the server did not answer
}

func newWatcher(r *run) *watcher {
	s, be := r.spaces, r.be
	w := &watcher{
		findings: r.findings, run: r, be: be,
		pools: []*poolWatch{
			{findings: r.findings, be: be, space: s.pool(), exclusive: true, members: exclusiveMembers, longest: r.cfg.longest()},
			{findings: r.findings, be: be, space: s.shared(), members: sharedMembers, longest: r.cfg.longest()},
			{findings: r.findings, be: be, space: s.changes(), exclusive: true, longest: r.cfg.longest()},
		},
		locks: &lockWatch{findings: r.findings, be: be, space: s.locks(), longest: r.cfg.longest()},
		tasks: &taskWatch{findings: r.findings, be: be, client: r.client, guard: r.guard, space: s.tasks()},
		books: &accountant{
			findings: r.findings, be: be, guard: r.guard, space: s.tasks(), gone: r.crew.gone,
			ended: make(map[task.State]int64),
		},
	}
	line := func(space backend.Namespace, name string) {
		w.lines = append(w.lines, &lineWatch{findings: r.findings, be: be, space: space, name: name, longest: r.cfg.patience})
	}
	line(s.pool(), "")
	line(s.changes(), "")
	for _, name := range lockNames() {
		line(s.locks(), name)
	}
	return w
}

// furnish fills the pools.
func (w *watcher) furnish(ctx context.Context) error {
	for i, members := range [][]string{exclusiveMembers, sharedMembers, changingMembers} {
		req := backend.ExtendRequest{Namespace: w.pools[i].space, Members: members, TTL: backend.NoExpiry}
		if _, err := w.be.Extend(ctx, req); err != nil {
			return err
		}
	}
	return nil
}

// resume has all queues go on.
func (w *watcher) resume(ctx context.Context) error {
	for _, name := range queueNames {
		q := newQueue(w.be, w.tasks.space, name)
		if _, err := again(ctx, func() (struct{}, error) { return struct{}{}, q.Resume(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// loop looks until ctx ends.
func (w *watcher) loop(ctx context.Context) {
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for answered := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch err := w.look(ctx); {
		case err == nil:
			answered = time.Now()
		case ctx.Err() != nil:
		case errors.Is(err, backend.ErrWrongType), time.Since(answered) > w.run.cfg.patience:
			w.add("end", "the watcher cannot look: %v", err)
		default:
			w.missed++
		}
	}
}

// look looks once at everything.
func (w *watcher) look(ctx context.Context) error {
	looked := time.Now()
	tokens, err := w.locks.look(ctx)
	if err != nil {
		return err
	}
	for _, p := range w.pools {
		seen, err := p.look(ctx)
		if err != nil {
			return err
		}
		tokens = append(tokens, holders(&seen)...)
	}
	w.run.crew.watchDead(looked, tokens, &w.run.report.Recovery)
	for _, l := range w.lines {
		if err := l.look(ctx); err != nil {
			return err
		}
	}
	if err := w.tasks.look(ctx); err != nil {
		return err
	}
	if err := w.books.look(ctx); err != nil {
		return err
	}
	w.looks++
	return nil
}
