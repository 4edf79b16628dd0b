package task

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// State is what a task is waiting for, or how it ended. State.Final tells the two apart, State.String names it.
type State = backend.TaskState

// The states; the package's documentation draws them.
const (
	Unknown   = backend.TaskUnknown // there is no such task
	Scheduled = backend.TaskScheduled
	Waiting   = backend.TaskWaiting
	Running   = backend.TaskRunning
	Done      = backend.TaskDone
	Failed    = backend.TaskFailed
	Expired   = backend.TaskExpired
	Cancelled = backend.TaskCancelled
	Dead      = backend.TaskDead
)

// Status is a task as it stands. Times are the store's.
type Status struct {
	ID        string
	Queue     string
	State     State
	Attempts  int // begun so far
	Deaths    int // of those, so many ended by the death of their worker
	Submitted time.Time
	Due       time.Time // if it is scheduled
	Deadline  time.Time // when it expires, or would have
	Progress  Progress  // what was reported last, while it has not ended

	// Err is what a Wait would return of a task that has ended otherwise than well; else the error of the last attempt that
	// failed, an [Error], if one did.
	Err error
}

// Progress is how far a task has come.
type Progress struct {
	Current int64  `json:"current"`
	Total   int64  `json:"total,omitempty"` // 0: nobody knows
	Message string `json:"message,omitempty"`
}

func decodeProgress(data []byte) (p Progress, ok bool) {
	ok = len(data) > 0 && json.Unmarshal(data, &p) == nil
	return p, ok
}

func statusOf(info *backend.TaskInfo) Status {
	s := Status{
		ID: info.ID, Queue: info.Queue, State: info.State, Attempts: info.Attempts, Deaths: info.Deaths,
		Submitted: info.Submitted, Due: info.Due, Deadline: info.Deadline,
	}
	s.Progress, _ = decodeProgress(info.Progress)
	switch {
	case info.State == Unknown, info.State == Done:
	case info.State.Final():
		s.Err = errorOf(info)
	default:
		if e := reported(info); e != nil {
			s.Err = e
		}
	}
	return s
}

// wireError is an [Error] as it travels.
type wireError struct {
	Code      string `json:"code,omitempty"`
	Message   string `json:"message,omitempty"`
	Retryable bool   `json:"retryable,omitempty"`
}

func encodeError(e Error) []byte {
	data, _ := json.Marshal(wireError(e)) // strings and a bool
	return data
}

// reported is the error that was reported with the last attempt that failed, or nil.
func reported(info *backend.TaskInfo) *Error {
	if len(info.Error) == 0 {
		return nil
	}
	var w wireError
	if err := json.Unmarshal(info.Error, &w); err != nil {
		w = wireError{Message: "error of an unknown form"}
	}
	e := Error(w)
	return &e
}

// errorOf is what those get who wait for a task that ended otherwise than well.
func errorOf(info *backend.TaskInfo) error {
	var err error
	switch info.State {
	case Failed:
		if e := reported(info); e != nil {
			return e
		}
		return &Error{Message: "task failed"}
	case Expired:
		err = ErrExpired
		if info.Reason == backend.ReasonNoListener {
			return fmt.Errorf("%w: %w", err, ErrNoListener)
		}
	case Cancelled:
		return ErrCancelled
	case Dead:
		err = ErrDead
		switch info.Reason {
		case backend.ReasonForeign:
			return fmt.Errorf("%w: %w", err, ErrForeignPayload)
		case backend.ReasonDeaths:
			return fmt.Errorf("%w: %w", err, &Error{Code: CodeDeaths, Message: fmt.Sprintf("%d workers died", info.Deaths)})
		}
	default:
		return ErrLost
	}
	if e := reported(info); e != nil {
		if e.Code == CodePayload {
			err = fmt.Errorf("%w: %w", err, ErrForeignPayload)
		}
		return fmt.Errorf("%w: %w", err, e)
	}
	return err
}

// outcome is what those get who wait for a task.
func outcome[R any](q *core, info *backend.TaskInfo) (res R, err error) {
	if info.State != Done {
		return res, errorOf(info)
	}
	if err := q.cfg.decode("result", info.Result, &res); err != nil {
		var none R
		return none, err
	}
	return res, nil
}
