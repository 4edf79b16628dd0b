package task_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/task"
)

// store is the memory backend with a hook before and one after each of a worker's calls.
type store struct {
	*memory.Backend

	mu      sync.Mutex
	before  func(ctx context.Context, req any) error
	after   func(req any) error
	fetches []backend.FetchRequest
	reports []backend.TaskReport
	lost    chan backend.Held // if not nil, what a Fetch gives instead of its own
}

// on sets the hook before each call: if it fails, the call does, and nothing has happened.
func (s *store) on(before func(ctx context.Context, req any) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// answer sets the hook after each call that went well: if it fails, the answer is lost.
func (s *store) answer(after func(req any) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = after
}

func call[T any](ctx context.Context, s *store, req any, f func() (T, error)) (reply T, err error) {
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, req); err != nil {
			return reply, err
		}
	}
	reply, err = f()
	if err == nil && after != nil {
		if err := after(req); err != nil {
			var none T
			return none, err
		}
	}
	return reply, err
}

func (s *store) Fetch(ctx context.Context, req backend.FetchRequest) (backend.FetchReply, error) {
	s.mu.Lock()
	s.fetches = append(s.fetches, req)
	s.mu.Unlock()
	return call(ctx, s, req, func() (backend.FetchReply, error) {
		reply, err := s.Backend.Fetch(ctx, req)
		if err == nil && s.lost != nil {
			reply.Lost = s.lost
		}
		return reply, err
	})
}

func (s *store) Report(ctx context.Context, req backend.ReportRequest) (backend.ReportReply, error) {
	s.mu.Lock()
	s.reports = append(s.reports, req.Items...)
	s.mu.Unlock()
	return call(ctx, s, req, func() (backend.ReportReply, error) { return s.Backend.Report(ctx, req) })
}

func (s *store) RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return call(ctx, s, req, func() (backend.RenewReply, error) { return s.Backend.RenewTasks(ctx, req) })
}

// fetched gives the calls to Fetch since it was asked last.
func (s *store) fetched() []backend.FetchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.fetches
	s.fetches = nil
	return all
}

// reported gives the reports since it was asked last.
func (s *store) reported() []backend.TaskReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.reports
	s.reports = nil
	return all
}

// rig is a store in a bubble, and what is told about it.
type rig struct {
	*testing.T
	*store
	log    *bytes.Buffer // of cfg
	events []backend.Event
	mu     sync.Mutex
	cfg    task.Config
	ends   []func()
}

// on memory runs a test in a bubble.
func onMemory(t *testing.T, test func(r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, store: &store{Backend: memory.New()}, log: new(bytes.Buffer)}
		r.cfg = task.Config{
			Logger:   slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Observer: backend.ObserverFunc(r.observe),
			Backoff:  backoffOf(0),
		}
		defer func() {
			for _, end := range slices.Backward(r.ends) {
				end()
			}
			require.NoError(t, r.Close())
		}()
		test(r)
	})
}

func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// logged is what has been logged so far.
func (r *rig) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// observe remembers what a worker tells. That something was submitted may be told after that it was done.
func (r *rig) observe(e backend.Event) {
	if e.Kind == backend.EventSubmitted {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// observed are the kinds of events since it was asked last.
func (r *rig) observed() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	for _, e := range r.events {
		kinds = append(kinds, e.Kind.String())
	}
	r.events = nil
	return kinds
}

// run runs a server until the test ends, or until what it gives is called.
func (r *rig) run(run func(ctx context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		assert.NoError(r, <-ended)
	})
	r.ends = append(r.ends, end)
	synctest.Wait()
	return end
}

func queueOf[P, R any](r *rig, name string) *task.Queue[P, R] {
	return task.NewQueue[P, R](r.store, ns, name, r.cfg)
}

// listen serves a queue.
func listen[P, R any](r *rig, q *task.Queue[P, R], h task.Handler[P, R]) (end func()) {
	return r.run(func(ctx context.Context) error { return q.Listen(ctx, h) })
}

// submit submits a task that has to be accepted.
func submit[P, R any](r *rig, q *task.Queue[P, R], params P, opts ...task.Option) *task.Handle[R] {
	r.Helper()
	h, err := q.Submit(context.Background(), params, opts...)
	require.NoError(r, err)
	return h
}

// stateOf is how a task stands when everybody waits.
func stateOf[R any](r *rig, h *task.Handle[R]) task.Status {
	r.Helper()
	synctest.Wait()
	s, err := h.State(context.Background())
	require.NoError(r, err)
	return s
}

// echo gives what it gets.
func echo[P any](_ context.Context, t *task.Task[P]) (P, error) { return t.Params(), nil }

func errIs(err, target error) bool { return errors.Is(err, target) }
