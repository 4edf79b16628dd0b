// Package ends tells how tasks have ended, for those who were told by an error.
package ends

import (
	"errors"

	"github.com/redisallocator/redisallocator/task"
)

// Of is the state in which a task is for those who waited for it and got err; Unknown if that says nothing of the task.
func Of(err error) task.State {
	var reported *task.Error
	switch {
	case err == nil:
		return task.Done
	case errors.Is(err, task.ErrExpired):
		return task.Expired
	case errors.Is(err, task.ErrCancelled):
		return task.Cancelled
	case errors.Is(err, task.ErrDead):
		return task.Dead
	case errors.As(err, &reported):
		return task.Failed
	default:
		return task.Unknown
	}
}
