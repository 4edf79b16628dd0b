package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// runLocal does a task in this process: one attempt.
func (q *Queue[P, R]) runLocal(ctx context.Context, params P, s *submission) (none R, err error) {
	if q.local == nil {
		return none, ErrNoLocal
	}
	begin := time.Now()
	if err := pause(ctx, s.req.Delay); err != nil {
		return none, err
	}
	limit, why := begin.Add(s.req.Timeout), ErrExpired
	if at := time.Now().Add(s.meta.AttemptTimeout); s.meta.AttemptTimeout > 0 && at.Before(limit) {
		limit, why = at, ErrTimeout
	}
	limited, cancel := context.WithDeadlineCause(ctx, limit, why)
	defer cancel()

	l := &local[P, R]{q: q, task: Task[P]{params: params}, done: make(chan struct{})}
	l.run = run{base: q.cfg.Logger, info: backend.TaskInfo{
		ID: s.req.ID, Queue: q.name, State: backend.TaskRunning, Class: s.req.Class, Attempts: 1, Submitted: begin, Deadline: begin.Add(s.req.Timeout),
	}}
	l.task.run = &l.run
	go l.main(limited)
	if !l.wait(limited) {
		l.run.log().Warn("handler goes on although its context has ended", "cause", context.Cause(limited))
		return none, l.ended(ctx, limited, s, nil)
	}
	if l.err != nil {
		return none, l.ended(ctx, limited, s, l.err)
	}
	return l.res, nil
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// local is an attempt without a server.
type local[P, R any] struct {
	q    *Queue[P, R]
	run  run
	task Task[P]
	done chan struct{}
	res  R
	err  error
}

// main is the goroutine of the handler.
func (l *local[P, R]) main(ctx context.Context) {
	defer close(l.done) // also if the handler ends its goroutine
	begin := time.Now()
	l.observe(backend.Event{Kind: backend.EventStarted, Count: 1, Duration: begin.Sub(l.run.info.Submitted)})
	l.err = errExited
	defer func() {
		if p := recover(); p != nil {
			l.err = caught(&l.run, p)
		}
		e := backend.Event{Kind: backend.EventDone, Duration: time.Since(begin), Err: l.err}
		if l.err != nil {
			e.Kind = backend.EventFailed
		}
		l.observe(e)
	}()
	l.res, l.err = l.q.local(ctx, &l.task)
}

func (l *local[P, R]) observe(e backend.Event) {
	if o := l.q.cfg.Observer; o != nil {
		e.Namespace, e.Member = l.q.ns, l.run.info.ID
		lease.Observe(o, l.q.cfg.Logger, e)
	}
}

// wait waits for the handler, when its context has ended only a little longer. It reports whether it has returned.
func (l *local[P, R]) wait(ctx context.Context) bool {
	select {
	case <-l.done:
		return true
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-l.done:
		return true
	case <-t.C:
		return false
	}
}

// ended completes the error of an attempt whose context may have ended: err is that of the handler, or nil if it has not
// returned.
func (l *local[P, R]) ended(ctx, limited context.Context, s *submission, err error) error {
	why := context.Cause(limited)
	switch {
	case ctx.Err() != nil:
		why = ended(ctx)
	case limited.Err() == nil:
		return err
	case errors.Is(why, ErrTimeout):
		why = tookTooLong(s.meta.AttemptTimeout)
	}
	if err == nil || errors.Is(err, why) {
		return why
	}
	return fmt.Errorf("%w: %w", why, err)
}

// tookTooLong is what has become of an attempt whose time was over.
func tookTooLong(limit time.Duration) *Error {
	return &Error{Code: CodeTimeout, Message: fmt.Sprintf("attempt took longer than %v", limit), Retryable: true}
}
