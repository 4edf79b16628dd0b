package backend

import "time"

// TaskState is what a task is waiting for, or how it ended.
type TaskState uint8

// The states; see [Queues].
const (
	TaskUnknown TaskState = iota // there is no such task
	TaskScheduled
	TaskWaiting
	TaskRunning
	TaskDone
	TaskFailed
	TaskExpired
	TaskCancelled
	TaskDead
)

var stateNames = [...]string{"unknown", "scheduled", "waiting", "running", "done", "failed", "expired", "cancelled", "dead"}

// String is the state's name in lower case, which also stands in the store.
func (s TaskState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Final reports whether the task has ended.
func (s TaskState) Final() bool { return s >= TaskDone && s <= TaskDead }

// TaskReason says why the store itself has ended a task.
type TaskReason uint8

// The reasons.
const (
	ReasonNone       TaskReason = iota
	ReasonNoListener            // it expired before anybody took it and kept it, and nobody listened at the end
	ReasonDeaths                // it is dead because too many of its holders died
	ReasonForeign               // it is dead because what stood under its id is no task of ours
)

var reasonNames = [...]string{"", "no listener", "deaths", "foreign"}

// String is the reason in a word or two; empty for ReasonNone.
func (r TaskReason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return ""
}

// TaskInfo is a task as it stands. Times are the server's.
type TaskInfo struct {
	ID        string
	Queue     string
	State     TaskState
	Reason    TaskReason
	Class     TaskClass
	Attempts  int // begun so far
	Deaths    int // of those, so many ended by the death of their holder
	Submitted time.Time
	Due       time.Time     // if it is scheduled
	Deadline  time.Time     // when it expires, or would have
	Remaining time.Duration // until then, when the store was asked; 0 if it is in a final state

	Result   []byte // of a task that is done
	Error    []byte // what was reported with the last attempt that failed, whatever the state
	Progress []byte // what was reported last, of a task that is not in a final state; but see Watching

	Payload, Meta []byte // if they were asked for and are still there: not in a final state other than dead
}
