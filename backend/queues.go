package backend

import (
	"context"
	"time"
)

// Queues are lists of tasks that listeners take under leases, and whose ends those who wait are told.
//
// A task has an id, unique in its namespace, and is in one of these states:
//
//	scheduled -> waiting -> running -> done
//	    ^           ^          |-----> failed
//	    |           |          |-----> dead
//	    '- retry ---+-- back --'
//
//	scheduled, waiting, running -> expired     its time is over
//	scheduled, waiting, running -> cancelled   by somebody's wish
//	dead -> waiting                            by somebody's wish
//
// Done, failed, expired, cancelled and dead are final. Every transition is one atomic step. What a task is about, its
// payload, result, progress and errors, is bytes that the store does not look into and keeps: who handed a slice over
// does not change it any more.
//
// A running task is under a lease. One that runs out is the death of its holder: the task goes back to the front of its
// queue, or is dead if it has had as many deaths as it may. Deaths, due times and the end of a task's time are noticed by
// the first step that looks at the task or fetches from its queue, in order of time and without scanning. Whoever looks
// at a task whose time is over finds it expired, whether or not anybody has noticed before.
type Queues interface {
	// Submit puts a task into its queue, or joins the one that has its id. It does not wait for the task.
	Submit(ctx context.Context, req SubmitRequest) (SubmitReply, error)

	// Watch tells how a task stands, and what becomes of it.
	Watch(ctx context.Context, req WatchRequest) (WatchReply, error)

	// Fetch takes tasks under leases, for a listener. If there are fewer than it has room for, the listener is idle: it is
	// woken when there is one. A listener that was woken and leaves tasks that wait, because it has no room any more, has
	// another one woken. Each call says that the listener lives. If it fails, nothing is held, or will be as soon as
	// the store can be reached.
	Fetch(ctx context.Context, req FetchRequest) (FetchReply, error)

	// Report tells the progress of running tasks, and how they ended, each for itself. Only the holder of a task's lease can.
	// It tells those who watch.
	Report(ctx context.Context, req ReportRequest) (ReportReply, error)

	// RenewTasks sets the TTL of leases on running tasks, each for itself, if they still are the token's. It never brings
	// back a lease that ran out, and gives none an end after that of the task's time. NewToken must be empty.
	RenewTasks(ctx context.Context, req RenewRequest) (RenewReply, error)

	// EditTasks cancels, removes or revives tasks, each for itself, or pauses or resumes a queue.
	EditTasks(ctx context.Context, req TaskEdit) (TaskEditReply, error)

	// Tasks looks at tasks by id, or lists those of a queue that are in one state, page by page.
	Tasks(ctx context.Context, req TasksRequest) (TasksReply, error)

	// Stats counts a queue.
	Stats(ctx context.Context, req StatsRequest) (QueueStats, error)
}

// MaxTaskData is the largest payload, result, progress or error of a task, in bytes.
const MaxTaskData = 64 << 20

// MaxForget is the largest number of ids in [SubmitRequest.Forget].
const MaxForget = 256

// MaxDeaths is the largest [SubmitRequest.MaxDeaths].
const MaxDeaths = 1000

// MaxLanes is the largest number of lanes of a [FetchRequest], MaxListened that of its queues.
const (
	MaxLanes    = 256
	MaxListened = 100
)

// TaskClass is the priority class of a task. Within one class first come is first served; how listeners choose between
// classes is theirs to decide, by the order and the shares of their lanes.
type TaskClass uint8

// The classes. Those who know no classes, Python among them, use ClassNormal.
const (
	ClassNormal TaskClass = iota
	ClassHigh
	ClassLow
	taskClasses
)

// SubmitRequest is a new task.
type SubmitRequest struct {
	Namespace Namespace
	Queue     string
	ID        string

	// Fresh says that ID has been made by [NewToken] for this request and that nobody else knows it yet. The store
	// then need not look whether there is one. A Fresh request that was sent twice is one task.
	Fresh bool

	Payload []byte // what the task is about
	Meta    []byte // what else listeners have to know; not part of what makes two requests the same

	Class TaskClass
	Delay time.Duration // until it is due; 0: now

	Timeout   time.Duration // of the whole task, from now, more than Delay; then it expires. At least a millisecond
	Retention time.Duration // how long its final state is kept; at least a millisecond
	Graveyard time.Duration // how long it is kept if it is dead; 0: as Retention
	MaxDeaths int           // so many deaths of holders make it dead; 1 to MaxDeaths

	// IfListened submits only if a listener of the queue is alive, or joins.
	IfListened bool

	// Watch has the reply watch the task, in the same step; see [WatchRequest].
	Watch    bool
	Progress bool // with Watch: also tell of progress and of attempts

	// Forget removes other tasks of the namespace that are in a final state, in the same step: those whose result nobody
	// needs any more. Best effort.
	Forget []string
}

// SubmitReply tells what became of the request.
type SubmitReply struct {
	Created bool // there is a new task
	Joined  bool // the id was there; with neither, nobody listens (see IfListened)

	// Task is how it stands if it was joined. That it has another queue or payload is an error that matches [ErrConflict].
	Task TaskInfo

	// Watching is set if Watch was, unless the task is in a final state or nobody listens.
	Watching *Watching
}

// WatchRequest names a task to watch.
type WatchRequest struct {
	Namespace Namespace
	ID        string
	Progress  bool // also tell of progress and of attempts that begin and end, not only of the final state
}

// WatchReply tells how a task stands. A task that there is not has the state TaskUnknown.
type WatchReply struct {
	Task     TaskInfo
	Watching *Watching // nil if there is nothing to wait for: the state is final, or unknown
}

// Watching is a watch under way. It ends when it has told of a final state, or with Stop. The backend asks again when the
// task's time is over, when the store was away, and every few seconds, so that a message that is lost costs no more than
// that.
type Watching struct {
	// Changes receives how the task stands when that has changed. It has room for one, the latest: what was not received in
	// time is replaced by what came after, so that the final state is never lost. With Progress, a final state brings
	// the Progress along that was not received. It is not closed.
	Changes <-chan TaskChange

	// Stop ends the watch. It does not block and sends nothing; calling it again does nothing.
	Stop func()
}

// TaskChange is one message of a watch. A task that vanished, because the store lost its data or somebody removed it, is
// told of with TaskUnknown.
type TaskChange struct {
	Task TaskInfo
	Err  error // why nothing more will come: ErrClosed, or what the store answered
}

// Replace is for backends: c takes the place of a message that was not received.
func (c *TaskChange) Replace(unseen *TaskChange) {
	if c.Task.State.Final() && len(c.Task.Progress) == 0 {
		c.Task.Progress = unseen.Task.Progress
	}
}

// FetchRequest asks for tasks. A listener has one Fetch under way at a time.
type FetchRequest struct {
	Namespace Namespace
	Listener  string // names the listener; a new token for each
	Token     string // of the leases: a new one for each call
	TTL       time.Duration
	Mark      time.Duration // for how long the listener counts as alive without another call; at least a millisecond

	Max    int          // so many tasks in all, at most BatchLimit; 0: none, the listener only says that it lives
	Queues []FetchQueue // all that it listens to, none twice
	Lanes  []FetchLane  // where to look, in this order; the same lane may come twice

	// Leave ends the listener: it takes nothing, is not woken any more and no longer counts.
	Leave bool
}

// FetchQueue is one queue that is listened to.
type FetchQueue struct {
	Name string
	Room int // so many tasks of this queue at most; 0: none now
}

// FetchLane is one class of one queue, and how many tasks to take from there at most.
type FetchLane struct {
	Queue int // index in Queues
	Class TaskClass
	Max   int // positive
}

// FetchReply has tasks.
type FetchReply struct {
	Tasks []TaskGrant

	// Idle says that everything that there was in the lanes has been taken and that there is room left: the listener will
	// be woken.
	Idle bool

	// Wake is the same channel for all calls of a listener. It receives, with room for one, when there may be something to
	// fetch that the last call did not find, and is closed by Close.
	Wake <-chan struct{}

	// Lost is the same channel for all calls of a listener, too. It receives leases of its that were taken away because
	// their tasks were cancelled, as far as there is room: who renews them finds out anyway. It is not closed.
	Lost <-chan Held

	// Next is how long to wait at most before calling again, if nothing wakes earlier: until a task is due or a lease runs
	// out that this listener has to see to. NoExpiry: there is nothing to see to. The listener also has to call before
	// its Mark is over.
	Next time.Duration
}

// TaskGrant is a task under a lease, with payload and meta.
type TaskGrant struct {
	Task  TaskInfo // State is TaskRunning, Attempts counts this one
	Token string
	Fence int64
	TTL   time.Duration // as it was asked for, or less, because a lease does not outlast the task's time
}

// ReportKind is what a listener has to say about a task.
type ReportKind uint8

// What there is to report. Data is what it says there; nil and empty are the same.
const (
	ReportProgress ReportKind = iota + 1 // it goes on; Data: the progress
	ReportDone                           // it is done; Data: the result
	ReportFailed                         // it has failed for good; Data: the error
	ReportRetry                          // the attempt has failed, the task is due again after After; Data: the error
	ReportDead                           // it is dead; Data: the error
	ReportReturn                         // the attempt has not taken place: back to the front of the queue. It does not count
)

// ReportRequest reports on tasks.
type ReportRequest struct {
	Namespace Namespace
	Items     []TaskReport
}

// TaskReport is about one task.
type TaskReport struct {
	ID    string
	Token string
	Kind  ReportKind
	Data  []byte
	After time.Duration // with ReportRetry
}

// ReportReply tells for each item whether it was accepted. What is not is by somebody who does not hold the lease, or came
// too late. A report that ended an attempt may be sent again, if its answer was lost, and is accepted again, unless the task
// has been begun again, cancelled or expired meanwhile.
type ReportReply struct {
	Accepted []bool
}

// TaskAction is what EditTasks does.
type TaskAction uint8

// The actions.
const (
	// TasksCancel ends tasks that have not ended. The holder of one that runs has lost it.
	TasksCancel TaskAction = iota + 1
	// TasksRemove forgets tasks in a final state.
	TasksRemove
	// TasksRevive puts dead tasks back into their queues, with the time and the number of attempts and deaths of new ones.
	TasksRevive
	// QueuePause has Fetch pass a queue over; QueueResume undoes it. What runs goes on, and what is submitted waits.
	QueuePause
	QueueResume
	taskActions
)

// TaskEdit names an action, and the tasks or the queue that it is for.
type TaskEdit struct {
	Namespace Namespace
	Action    TaskAction
	IDs       []string // of tasks
	Queue     string   // to pause or resume
}

// TaskEditReply tells for each id whether it was so, before, that the action could do something.
type TaskEditReply struct {
	Edited []bool
}

// TasksRequest names tasks, or a queue and a state: scheduled, waiting, running or dead.
type TasksRequest struct {
	Namespace Namespace
	IDs       []string
	Queue     string
	State     TaskState
	Cursor    string // empty starts
	Limit     int    // a hint for the length of a page; 0: BatchLimit
	Payload   bool   // with payload and meta
}

// TasksReply has one entry for each id, in their order, with TaskUnknown for what there is not; or one page.
type TasksReply struct {
	Tasks  []TaskInfo
	Cursor string // empty: this was the last page
}

// StatsRequest names a queue.
type StatsRequest struct {
	Namespace Namespace
	Queue     string
}

// QueueStats is a queue in numbers. A task whose time ran out counts as waiting or scheduled until a step notices.
type QueueStats struct {
	Scheduled, Waiting, Running, Dead int

	Oldest    time.Duration // since the first in the queue, of any class, was submitted; 0: none waits
	Listeners int           // that are alive
	Paused    bool

	// How many have ended like this since the queue is known.
	Done, Failed, Expired, Cancelled int64
}
