package backend_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
)

func TestAFinalStateBringsTheProgressThatWasNotReceived(t *testing.T) {
	half := backend.TaskInfo{State: backend.TaskRunning, Progress: []byte("half")}
	for state := backend.TaskUnknown; state <= backend.TaskDead; state++ {
		c := backend.TaskChange{Task: backend.TaskInfo{State: state}}
		c.Replace(&backend.TaskChange{Task: half})
		assert.Equal(t, state.Final(), string(c.Task.Progress) == "half", state)
	}
	ready := backend.TaskChange{Task: backend.TaskInfo{State: backend.TaskDone, Progress: []byte("ready")}}
	ready.Replace(&backend.TaskChange{Task: half})
	assert.Equal(t, "ready", string(ready.Task.Progress))
}
