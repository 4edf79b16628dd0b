package rueidis

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// taskAnswer is how a task stands, as the server tells it.
type taskAnswer struct {
	kind     taskKind
	info     backend.TaskInfo
	finished int64  // server's time in ms when it ended
	mark     string // tells one progress from another; see taskwatch.lua
	err      error  // why that cannot be told
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
	State     string `json:"state"`
	Reason    string `json:"reason"`
	Queue     string `json:"queue"`
	Class     uint8  `json:"class"`
	Attempts  int    `json:"attempts"`
	Deaths    int    `json:"deaths"`
	Submitted int64  `json:"submitted"`
	Deadline  int64  `json:"deadline"`
	Finished  int64  `json:"finished"`
	Result    string `json:"result"`
	Result64  string `json:"result64"`
	Error     string `json:"error"`
	Error64   string `json:"error64"`
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
	if !r.plain(text) {
		if r, ok = anyRecord(text); !ok {
			return a, false
		}
	}
	state := taskStates[r.State]
	result, ok1 := taskData(r.Result, r.Result64)
	fault, ok2 := taskData(r.Error, r.Error64)
	if !state.Final() || !ok1 || !ok2 || r.Class > uint8(backend.ClassLow) {
		return a, false
	}
	return taskAnswer{kind: taskEnded, finished: r.Finished, info: backend.TaskInfo{
		ID: id, Queue: r.Queue, State: state, Reason: taskReasons[r.Reason], Class: backend.TaskClass(r.Class),
		Attempts: r.Attempts, Deaths: r.Deaths, Submitted: time.UnixMilli(r.Submitted), Deadline: time.UnixMilli(r.Deadline),
		Result: result, Error: fault,
	}}, true
}

// anyRecord reads a record in whatever form of JSON.
func anyRecord(text string) (r taskRecord, ok bool) {
	ok = json.Unmarshal([]byte(text), &r) == nil
	return r, ok
}

// taskData gives what was written as text or in base64.
func taskData(text, coded string) (data []byte, ok bool) {
	if coded == "" {
		return bytesOf(text), true
	}
	data, err := base64.StdEncoding.DecodeString(coded)
	return data, err == nil
}

// foreignTask is what is made of something that is no task of ours.
func foreignTask(id string) taskAnswer {
	return taskAnswer{kind: taskEnded, info: backend.TaskInfo{ID: id, State: backend.TaskDead, Reason: backend.ReasonForeign}}
}

// decodeTask reads how a task stands as the scripts tell it: the milliseconds until its time is over, a number below zero,
// a record, or a list; see taskanswers.lua and info() in tasks.lua.
func decodeTask(id string, m *rueidis.RedisMessage) (a taskAnswer, err error) {
	if err := m.Error(); err != nil {
		return a, err
	}
	if ms, err := m.AsInt64(); m.IsInt64() && err == nil {
		switch {
		case ms == -1:
			return taskAnswer{kind: taskEnded, info: backend.TaskInfo{ID: id}}, nil
		case ms < 0:
			return foreignTask(id), nil
		}
		return taskAnswer{kind: taskGoes, info: backend.TaskInfo{ID: id, Remaining: millis(ms)}}, nil
	}
	ok := false
	if m.IsString() {
		text, _ := m.ToString()
		if a, ok = decodeRecord(id, text); !ok {
			a = foreignTask(id)
		}
		return a, nil
	}
	words, err := m.AsStrSlice()
	if err == nil {
		a, ok = decodeTaskWords(id, words)
	}
	if !ok {
		return a, unexpected("task", m)
	}
	return a, nil
}

// decodeTaskText reads how a task stands that has not ended, as a message tells it.
func decodeTaskText(id, text string) (a taskAnswer, ok bool) {
	var room [taskWords]string
	words, ok := netstrings(room[:0], text)
	if ok {
		a, ok = decodeTaskWords(id, words)
	}
	return a, ok && a.kind == taskStands
}

// taskWords is the number of words in which a task is told of.
const taskWords = 11

// stateLetters are those of tasks that are kept as hashes.
var stateLetters = map[string]backend.TaskState{
	"s": backend.TaskScheduled, "w": backend.TaskWaiting, "r": backend.TaskRunning, "d": backend.TaskDead,
}

// decodeTaskWords reads state, now, queue, class, attempts, deaths, submitted, deadline, due, error and progress, and if
// they are there payload, meta, reason and mark.
func decodeTaskWords(id string, words []string) (a taskAnswer, ok bool) {
	if len(words) < taskWords {
		return a, false
	}
	var n [7]int64
	for i, at := range [...]int{1, 3, 4, 5, 6, 7, 8} {
		v, err := strconv.ParseInt(words[at], 10, 64)
		if err != nil {
			return a, false
		}
		n[i] = v
	}
	now, class, attempts, deaths, submitted, deadline, due := n[0], n[1], n[2], n[3], n[4], n[5], n[6]
	state, known := stateLetters[words[0]]
	fault, sound := decodeFault(words[9])
	if !known || !sound || class < 0 || class > int64(backend.ClassLow) {
		return a, false
	}
	a.kind = taskStands
	a.info = backend.TaskInfo{
		ID: id, Queue: words[2], State: state, Class: backend.TaskClass(class), Attempts: int(attempts), Deaths: int(deaths),
		Submitted: time.UnixMilli(submitted), Deadline: time.UnixMilli(deadline), Error: fault,
	}
	if state == backend.TaskDead {
		a.kind = taskEnded
	} else {
		a.info.Remaining = millis(max(deadline-now, 0))
		a.info.Progress = bytesOf(words[10])
	}
	if state == backend.TaskScheduled {
		a.info.Due = time.UnixMilli(due)
	}
	more := words[taskWords:]
	if len(more) > 1 {
		a.info.Payload, a.info.Meta = bytesOf(more[0]), bytesOf(more[1])
	}
	if len(more) > 2 {
		a.info.Reason = taskReasons[more[2]]
	}
	if len(more) > 3 {
		a.mark = more[3]
	}
	return a, true
}

// decodeFault reads the member of a JSON object that an error is kept as.
func decodeFault(text string) (fault []byte, ok bool) {
	if text == "" {
		return nil, true
	}
	var r taskRecord
	text = "{" + text + "}"
	if !r.plain(text) {
		if r, ok = anyRecord(text); !ok {
			return nil, false
		}
	}
	return taskData(r.Error, r.Error64)
}

func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
