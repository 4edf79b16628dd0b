// Package task is a typed task queue with request and response: a function in one process is called from another.
//
//	resize := task.NewQueue[Params, Result](be, ns, "resize", task.Config{})
//
//	go resize.Listen(ctx, func(ctx context.Context, t *task.Task[Params]) (Result, error) { ... }) // in the workers
//
//	res, err := resize.Query(ctx, Params{Width: 640}, task.Timeout(time.Minute)) // anywhere else
//
// # States
//
//	         Submit            due, retry              fetched
//	Delay ---------> scheduled --------> waiting ------------------> running
//	                     ^                  ^ ^                        |
//	                     |                  | '--- put back, death ----+
//	                     '--- retry later --|--------------------------+
//	                                        |                          +--> done       the handler returned a result
//	                                        |                          +--> failed     a final error, or no retries were asked for
//	                                      Revive                       +--> dead       retries or deaths are used up, or it
//	                                        |                          |               cannot be decoded
//	                                      dead <-----------------------'
//
//	scheduled, waiting, running ----> expired      its Timeout is over
//	scheduled, waiting, running ----> cancelled    Cancel
//
// Done, failed, expired, cancelled and dead are final. A task ends exactly once, but for what [Queue.Revive] puts back.
//
// # What is promised
//
// A task runs at least once before it is done or failed. It runs under a lease that its worker renews; when a worker dies
// the lease runs out and another one begins the task again: not a failed attempt, but a death, of which there is a limit of
// their own ([Config].MaxDeaths). What a worker has to say whose lease is over is refused. A worker that was stopped for
// longer than its lease can still be at work beside its successor: [Task.Fence] tells the two apart, where it is passed on.
//
// Who waits gets the final state, whether they begin before, during or after the task, and also after they lost their
// connection or were started anew, for as long as it is retained. A submitted task wakes one idle listener and nobody else,
// and an end is told to those who wait. A process that waits or listens also says every few seconds that it does, and hears
// then what a lost message would have said.
//
// The id of a task is an idempotency key: who submits the same again under the same id joins the task, while it lives and
// while its result is kept. Something else under that id is [ErrConflict].
//
// # Errors
//
// An error of a handler crosses the wire as code, message and whether another attempt may help; see [Error]. A panic fails
// the attempt with the code "panic"; its stack goes into the log of the worker, not over the wire.
package task
