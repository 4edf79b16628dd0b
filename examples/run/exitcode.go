package main

import (
	"errors"
	"os/exec"

	"github.com/redisallocator/redisallocator/pool"
)

// failure is the exit code for an error of our own, chosen as env and timeout do.
func failure(err error) int {
	var signal interrupted
	var command *exec.Error
	switch {
	case errors.As(err, &signal):
		return signalled(signal.by)
	case errors.Is(err, pool.ErrExhausted):
		return 124
	case errors.Is(err, exec.ErrNotFound):
		return 127
	case errors.As(err, &command):
		return 126
	default:
		return 125
	}
}
