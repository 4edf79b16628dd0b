package task

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Task is what a handler is given: one attempt at one task. Its methods may be called concurrently.
type Task[P any] struct {
	run    *run
	params P
}

// run is an attempt without its types.
type run struct {
	info    backend.TaskInfo
	fence   int64
	base    *slog.Logger
	logger  atomic.Pointer[slog.Logger] // base with what names the attempt, made when it is first asked for
	attempt *attempt                    // nil: without a server, see [Local]
	decoded bool                        // the payload
}

// ID names the task.
func (t *Task[P]) ID() string { return t.run.info.ID }

// Queue is the name of its queue.
func (t *Task[P]) Queue() string { return t.run.info.Queue }

// Params are what it was submitted with.
func (t *Task[P]) Params() P { return t.params }

// Attempt is the number of this attempt, from 1. Attempts that ended with the death of their worker count.
func (t *Task[P]) Attempt() int { return t.run.info.Attempts }

// Fence is a number that is larger than that of every earlier attempt, at this task and at others of the namespace. Who passes it
// on to what the handler writes to can refuse what an attempt that was thought dead still writes. It is 0 if the task is done
// without the store; see [Local].
func (t *Task[P]) Fence() int64 { return t.run.fence }

// Deadline is when the task expires.
func (t *Task[P]) Deadline() time.Time { return t.run.info.Deadline }

// SubmittedAt is when the task was submitted, by the store's clock.
func (t *Task[P]) SubmittedAt() time.Time { return t.run.info.Submitted }

// Progress tells those who watch the task how far it has come; a total of 0 says that nobody knows. It does not block and costs no
// round trip of its own: it is sent in the background, the latest one ten times a second at most, and the last one
// before the task ends. It fails with an error that matches [ErrTooLarge] if the message is too long.
func (t *Task[P]) Progress(current, total int64, message string) error {
	if t.run.attempt == nil {
		return nil
	}
	return t.run.attempt.tell(Progress{Current: current, Total: total, Message: message})
}

// Logger adds the queue, the id and the attempt to what it is given. It is the one of [Config], or of [Logging].
func (t *Task[P]) Logger() *slog.Logger { return t.run.log() }

func (r *run) log() *slog.Logger {
	if l := r.logger.Load(); l != nil {
		return l
	}
	l := r.named(r.base)
	if !r.logger.CompareAndSwap(nil, l) {
		return r.logger.Load()
	}
	return l
}

// named adds what names the attempt to what a logger is given.
func (r *run) named(l *slog.Logger) *slog.Logger {
	return l.With("queue", r.info.Queue, "id", r.info.ID, "attempt", r.info.Attempts)
}

// wait gives up the worker's place while f waits for something.
func (r *run) wait(f func() error) error {
	a := r.attempt
	if a == nil || !a.park() {
		return f()
	}
	defer a.seize() // if f fails or panics, or the attempt ends
	if err := f(); err != nil {
		return err
	}
	return a.resume()
}
