package task

import "context"

// Handler does a task. Its context ends when the task's or the attempt's time is over, when the task was cancelled, when its lease
// was lost, and when the server does not wait any longer for it; [context.Cause] tells which: [ErrExpired], [ErrTimeout],
// [ErrCancelled], [ErrLost], [ErrDrained]. Its Err is context.DeadlineExceeded for the first two, else context.Canceled. What
// it returns then is not looked at, but for a result that comes soon after ErrDrained. A handler that goes on for more than a
// second is reported, and occupies its place.
//
// So does one that waits for another task: where all places are taken by handlers that wait for tasks of queues that only they
// serve, nothing goes on until their time is over.
//
// The error, if there is one, decides what becomes of the task; see [Error], [Final], [RetryAfter].
type Handler[P, R any] func(ctx context.Context, t *Task[P]) (R, error)

// Middleware puts something around a handler: a log, a limit, a lease.
type Middleware[P, R any] func(Handler[P, R]) Handler[P, R]

// Chain puts middleware around a handler, the first outermost.
func Chain[P, R any](h Handler[P, R], around ...Middleware[P, R]) Handler[P, R] {
	for i := len(around) - 1; i >= 0; i-- {
		h = around[i](h)
	}
	return h
}
