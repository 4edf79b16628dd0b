package task

import (
	"context"
	"sync"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Queue is a queue of tasks with parameters P and results R: a name in a namespace, and a configuration. It holds no
// resources and needs no closing; it may be shared by any number of goroutines. All that name the same queue on the same
// store, in whatever process, submit to it and serve it; they have to agree on P, R and the codec.
type Queue[P, R any] struct {
	core
	local Handler[P, R]
}

// core is what there is of a queue without its types.
type core struct {
	be     Backend
	ns     backend.Namespace
	name   string
	cfg    Config
	broken error // what is wrong with the arguments
	done   *readResults
}

// NewQueue gives the queue of that name. It sends nothing. If something is wrong with its arguments, each call tells so
// with an error that matches backend.ErrInvalid.
func NewQueue[P, R any](be Backend, ns backend.Namespace, name string, cfg Config) *Queue[P, R] {
	q := &Queue[P, R]{core: core{be: be, ns: ns, name: name, cfg: cfg, done: new(readResults)}}
	q.broken = q.cfg.complete()
	if q.broken == nil {
		q.broken = (&backend.StatsRequest{Namespace: ns, Queue: name}).Validate()
	}
	if be == nil {
		q.broken = invalid("backend", "nil", "must not be nil")
	}
	return q
}

// WithLocal gives the same queue with a handler for what is done in this process; see [Policy].
func (q *Queue[P, R]) WithLocal(h Handler[P, R]) *Queue[P, R] {
	local := *q
	local.local = h
	return &local
}

// Name is the name of the queue.
func (q *Queue[P, R]) Name() string { return q.name }

// Query has a task done and gives its result: it submits the task and waits for its end. It takes one round trip and what
// the workers take; to a process that waits, the end is told. With a [Policy] other than [Remote] it may be done in this process.
//
// When ctx ends, Query does so, too, with an error that matches that of ctx. A task that it has named itself is cancelled
// then, which may take up to a second; if that fails, because the store cannot be reached, the error also matches
// backend.ErrUnavailable, and the task may go on. It gets no more time than ctx has. One with an [ID] goes on, for those who
// wait for it elsewhere.
//
// The error of a task that has failed is an [Error]; see also [ErrExpired], [ErrCancelled], [ErrDead], [ErrLost].
func (q *Queue[P, R]) Query(ctx context.Context, params P, opts ...Option) (R, error) {
	var none R
	s, err := q.submission(q.cfg.Policy, opts)
	if err != nil {
		return none, fail("query", q.name, err)
	}
	res, err := q.query(ctx, params, s)
	if err != nil {
		return none, fail("query", q.name, lease.Ended(ctx, err))
	}
	return res, nil
}

// Submit puts a task into the queue and does not wait for it. One round trip. If ctx ends meanwhile, the task may have
// been submitted nevertheless; with an [ID], submitting it again tells.
func (q *Queue[P, R]) Submit(ctx context.Context, params P, opts ...Option) (*Handle[R], error) {
	s, err := q.submission(Remote, opts)
	if err == nil && s.policy != Remote {
		err = invalid("policy", "other than Remote", "is for Query")
	}
	if err != nil {
		return nil, fail("submit", q.name, err)
	}
	if err := q.encodeInto(s, params); err != nil {
		return nil, fail("submit", q.name, err)
	}
	if _, err := q.submit(ctx, s); err != nil {
		return nil, fail("submit", q.name, err)
	}
	return &Handle[R]{core: &q.core, id: s.req.ID, once: s.once}, nil
}

// Handle gives the handle of a task that was submitted elsewhere. It sends nothing. Of the options only [Once] has a
// meaning here.
func (q *Queue[P, R]) Handle(id string, opts ...Option) *Handle[R] {
	var s submission
	for _, o := range opts {
		o.apply(&s)
	}
	return &Handle[R]{core: &q.core, id: id, once: s.once}
}

// Wait waits for a task that was submitted elsewhere; see [Handle.Wait].
func (q *Queue[P, R]) Wait(ctx context.Context, id string) (R, error) { return q.Handle(id).Wait(ctx) }

// Listen serves the queue: it takes tasks as they come, runs at most Config.Server.Concurrency handlers at once, and reports
// what they return. It blocks until ctx ends; then it takes no more, lets those that run finish, for at most
// Config.Server.Drain, gives the rest back, and returns nil. Trouble with the store is survived and logged.
//
// To serve several queues with one set of workers, use a [Server].
func (q *Queue[P, R]) Listen(ctx context.Context, h Handler[P, R]) error {
	s := NewServer(q.be, q.ns, q.cfg.Server)
	if err := Serve(s, q, h, ServeConfig{}); err != nil {
		return err
	}
	return s.Run(ctx)
}

// readResults are the ids of tasks whose results have been read and which nobody else knows of. They are removed with the next
// submissions; those that are left are removed when their retention is over.
type readResults struct {
	mu  sync.Mutex
	ids []string
}

func (r *readResults) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids) < 64*backend.MaxForget {
		r.ids = append(r.ids, id)
	}
}

// some takes ids out.
func (r *readResults) some() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.ids), backend.MaxForget)
	if n == 0 {
		return nil
	}
	rest := len(r.ids) - n
	ids := r.ids[rest:]
	r.ids = r.ids[:rest:rest]
	return ids
}
