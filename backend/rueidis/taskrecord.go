package rueidis

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// taskAnswer is how a task stands, as the server tells it.
type taskAnswer struct {
	kind     taskKind
	info     backend.TaskInfo
	finished int64 // server's time in ms when it ended
}

type taskKind uint8

const (
	taskGoes   taskKind = iota // it goes on, and nothing has changed; info has no more than Remaining
	taskStands                 // it has not ended
	taskEnded                  // it has ended, or there is none
)

// taskRecord is the final state of a task as it is kept under its result key. Data is there as text if it is UTF-8, else
// in base64.
type taskRecord struct {
	State     string  `json:"state"`
	Reason    string  `json:"reason"`
	Queue     string  `json:"queue"`
	Class     uint8   `json:"class"`
	Attempts  int     `json:"attempts"`
	Deaths    int     `json:"deaths"`
	Submitted int64   `json:"submitted"`
	Deadline  int64   `json:"deadline"`
	Finished  int64   `json:"finished"`
	Result    *string `json:"result"`
	Result64  *string `json:"result64"`
	Error     *string `json:"error"`
	Error64   *string `json:"error64"`
}

var (
	taskStates  = make(map[string]backend.TaskState)
	taskReasons = make(map[string]backend.TaskReason)
)

func init() {
	for s := backend.TaskScheduled; s <= backend.TaskDead; s++ {
		taskStates[s.String()] = s
	}
	for r := backend.ReasonNone; r <= backend.ReasonForeign; r++ {
		taskReasons[r.String()] = r
	}
}

// decodeRecord reads what stands under the result key of a task; false if that is not ours.
func decodeRecord(id, text string) (a taskAnswer, ok bool) {
	var r taskRecord
	if json.Unmarshal([]byte(text), &r) != nil {
		return a, false
	}
	state := taskStates[r.State]
	result, ok1 := r.data(r.Result, r.Result64)
	fault, ok2 := r.data(r.Error, r.Error64)
	if !state.Final() || !ok1 || !ok2 {
		return a, false
	}
	return taskAnswer{kind: taskEnded, finished: r.Finished, info: backend.TaskInfo{
		ID: id, Queue: r.Queue, State: state, Reason: taskReasons[r.Reason], Class: backend.TaskClass(r.Class),
		Attempts: r.Attempts, Deaths: r.Deaths, Submitted: time.UnixMilli(r.Submitted), Deadline: time.UnixMilli(r.Deadline),
		Result: result, Error: fault,
	}}, true
}

func (*taskRecord) data(text, coded *string) ([]byte, bool) {
	switch {
	case coded != nil:
		data, err := base64.StdEncoding.DecodeString(*coded)
		return data, err == nil
	case text != nil:
		return []byte(*text), true
	}
	return nil, true
}

// foreignTask is what is made of something that is no task of ours.
func foreignTask(id string) taskAnswer {
	return taskAnswer{kind: taskEnded, info: backend.TaskInfo{ID: id, State: backend.TaskDead, Reason: backend.ReasonForeign}}
}

// decodeTaskText reads how a task stands that has not ended, as a message tells it.
func decodeTaskText(id, text string) (taskAnswer, bool) {
	return taskAnswer{}, false
}
