package task

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// grace is how long a handler may go on after its context has ended, before it is reported.
const grace = time.Second

// attempt is one run of a handler on a server. It is the handler's context, too; see context.go.
type attempt struct {
	run
	server *Server
	queue  *served
	worker *worker
	token  string
	meta   meta
	hold   lease.Hold
	begun  time.Time
	limit  time.Time // when its time is over
	why    error     // what that means

	result []byte // what the handler returned
	err    error  // the same, or before that why there is nothing to run

	parked bool // guarded by the server's mutex, as is place
	place  int  // in the server's live

	inner     atomic.Pointer[inner]
	mu        sync.Mutex
	progress  *progress // nil: nothing was said of it
	armed     bool      // the worker's timer is ours
	cause     error     // why the context has ended
	overdue   time.Time // when it should have returned then
	returned  bool      // the handler has
	abandoned bool      // it has not, and its end was told without it
}

// newAttempt gives an attempt at what was fetched a place. The caller holds s.mu and calls begin.
func (s *Server) newAttempt(q *served, g *backend.TaskGrant) *attempt {
	a := &attempt{
		server: s, queue: q, token: g.Token,
		run: run{info: g.Task, fence: g.Fence, base: q.core.cfg.Logger},
	}
	a.attempt = a
	s.enter(q, 1)
	a.place = len(s.live)
	s.live = append(s.live, a)
	s.busy++
	s.employ(a)
	return a
}

// begin starts the handler. The task was asked for at sent.
func (a *attempt) begin(sent, now time.Time) {
	s := a.server
	a.begun = now
	a.meta, _ = decodeMeta(a.info.Meta) // else the payload is not looked at either
	a.limit, a.why = sent.Add(a.info.Remaining), ErrExpired
	if d := a.meta.AttemptTimeout; d > 0 && a.begun.Add(d).Before(a.limit) {
		a.limit, a.why = a.begun.Add(d), ErrTimeout
	}
	grant := backend.Grant{Member: a.info.ID, Token: a.token, Fence: a.fence}
	// A grant does not outlast the task's time, but what comes after that is no concern of the lease.
	terms := lease.Terms{TTL: s.cfg.LeaseTTL, Renew: true, Owner: a}
	if err := s.group.Start(s.base, &a.hold, grant, s.group.At(sent), terms); err != nil {
		a.err = err
	}
	a.worker.jobs <- a
}

// tooLate gives back what took so long to fetch that its lease is over.
func (a *attempt) tooLate() {
	s := a.server
	s.logger.Warn("task was fetched too slowly for its lease, it goes back", a.attrs("error", a.err)...)
	if err := a.hold.Discard(s.base); err != nil {
		s.logger.Warn("task not put back", a.attrs("error", err)...)
	}
	a.vacate()
	a.settled()
}

// main is the attempt from its beginning to its end.
func (a *attempt) main() {
	if a.err != nil {
		a.tooLate()
		return
	}
	a.arm()
	defer a.finish() // also if the handler ends its goroutine
	a.invoke()
}

var (
	errExited = &Error{Code: CodePanic, Message: "handler ended its goroutine", Retryable: true}
	errDecode = errors.New("panic while it was decoded")
)

// invoke runs the handler.
func (a *attempt) invoke() {
	a.err = errExited
	defer func() {
		if p := recover(); p != nil {
			a.err = caught(&a.run, p)
		}
	}()
	a.observe(backend.Event{
		Kind: backend.EventStarted, Count: a.info.Attempts, Duration: a.info.Deadline.Add(-a.info.Remaining).Sub(a.info.Submitted),
	})
	a.result, a.err = a.queue.do(a, &a.run)
}

// caught logs a panic and gives the error that stands for it.
func caught(r *run, p any) error {
	r.log().Error("handler panicked", "panic", p, "stack", string(debug.Stack()))
	if !r.decoded && r.attempt != nil {
		return &payloadError{errDecode}
	}
	const readable = 200
	return &Error{Code: CodePanic, Message: fmt.Sprintf("panic: %.*s", readable, fmt.Sprint(p)), Retryable: true}
}

// abandon tells the end of an attempt whose handler does not return.
func (a *attempt) abandon(cause error) {
	s := a.server
	s.mu.Lock()
	s.places.stuck++
	s.mu.Unlock()
	a.queue.logger.Warn("handler goes on although its context has ended", a.attrs("cause", cause)...)
	a.tellEnd(a.verdict(cause))
}

// finish is called when the handler has returned.
func (a *attempt) finish() {
	a.mu.Lock()
	a.returned = true
	abandoned, cause := a.abandoned, a.cause
	a.worker.now.Store(nil)
	a.worker.timer.Stop()
	a.mu.Unlock()
	if c := a.inner.Load(); c != nil {
		c.cancel()
	}
	if abandoned {
		a.queue.logger.Warn("handler has returned at last", a.attrs("cause", cause, "after", time.Since(a.begun))...)
		a.server.mu.Lock()
		a.server.places.stuck--
		a.server.mu.Unlock()
		a.vacate()
		return
	}
	a.vacate()
	a.tellEnd(a.verdict(cause))
}

// vacate frees the place of an attempt.
func (a *attempt) vacate() {
	s := a.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seize(a)
	s.leave(a.queue, 1)
	if !a.abandoned {
		s.places.reporting++
	}
	s.freed()
}

// settled is called when the end of an attempt has been told.
func (a *attempt) settled() {
	s := a.server
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.live) - 1
	s.live[a.place], s.live[last].place = s.live[last], a.place
	s.live[last] = nil
	s.live = s.live[:last]
	if !a.abandoned {
		s.places.reporting--
	}
	s.busy--
	s.freed()
}

// attrs are what a log says of the attempt.
func (a *attempt) attrs(more ...any) []any {
	return append([]any{"queue", a.info.Queue, "id", a.info.ID, "attempt", a.info.Attempts}, more...)
}

// observe tells the observer.
func (a *attempt) observe(e backend.Event) {
	o := a.queue.observer
	if o == nil {
		return
	}
	e.Namespace, e.Member, e.Token, e.Fence = a.server.ns, a.info.ID, a.token, a.fence
	if e.Duration == 0 {
		e.Duration = time.Since(a.begun)
	}
	lease.Observe(o, a.queue.logger, e)
}
