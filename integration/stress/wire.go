package stress

import (
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// environment makes this binary a worker: the job, as JSON.
const environment = "REDISALLOC_STRESS_WORKER"

// What a parent says to a worker, a line each.
const (
	sayStop = "stop" // begin nothing new, but serve on
	sayEnd  = "end"  // leave in good order
)

// poisoned is how a process ends that one of its tasks has killed on purpose.
const poisoned = 9

// job is what a worker is told at its start.
type job struct {
	Spaces
	URL  string
	Seed uint64
	Slot int // 0 to the number of workers - 1
	Life int // how often the slot was filled before
	TTL  time.Duration
	Quit bool // do nothing but serve
}

// id names the process among all of a run.
func (j job) id() string { return fmt.Sprintf("%d.%d", j.Slot, j.Life) }

// Spaces are the names that a run uses. Nothing else has its prefix.
type Spaces struct {
	Prefix  string
	HashTag bool
}

func (s Spaces) space(suffix string) backend.Namespace {
	return backend.Namespace{Prefix: s.Prefix, Suffix: suffix, HashTag: s.HashTag}
}

// The namespaces of a run.
func (s Spaces) pool() backend.Namespace    { return s.space("pool") }
func (s Spaces) shared() backend.Namespace  { return s.space("shared") }
func (s Spaces) changes() backend.Namespace { return s.space("changing") }
func (s Spaces) locks() backend.Namespace   { return s.space("locks") }
func (s Spaces) tasks() backend.Namespace   { return s.space("tasks") }

func (s Spaces) all() []backend.Namespace {
	return []backend.Namespace{s.pool(), s.shared(), s.changes(), s.locks(), s.tasks()}
}

// guard is where the model keeps what it knows.
func (s Spaces) guard() string { return s.Prefix + "-guard|" }

// message is what a worker tells, since the last one.
type message struct {
	Process   string            `json:",omitempty"` // backend.ProcessID, in the first message
	Did       map[string]int64  `json:",omitempty"`
	Waits     map[string]*Times `json:",omitempty"`
	Complaint string            `json:",omitempty"`
	Stopped   bool              `json:",omitempty"` // it does nothing any more but serve
}

// Times are durations, counted by their length: each class is a tenth longer than the one before.
type Times struct {
	Counts map[int]int64
	Max    time.Duration
}

const classes = 1.1

func (t *Times) add(d time.Duration) {
	if t.Counts == nil {
		t.Counts = make(map[int]int64)
	}
	t.Counts[int(math.Ceil(math.Log(float64(max(d.Microseconds(), 1)))/math.Log(classes)))]++
	t.Max = max(t.Max, d)
}

func (t *Times) merge(other *Times) {
	if t.Counts == nil {
		t.Counts = make(map[int]int64)
	}
	for class, n := range other.Counts {
		t.Counts[class] += n
	}
	t.Max = max(t.Max, other.Max)
}

// N is how many there are.
func (t *Times) N() (n int64) {
	for c := range maps.Values(t.Counts) {
		n += c
	}
	return n
}

// Quantile is a duration that the share q of them does not exceed, to a tenth; 0 if there are none.
func (t *Times) Quantile(q float64) time.Duration {
	rank, most := int64(math.Ceil(q*float64(t.N()))), 0
	for class := range t.Counts {
		most = max(most, class)
	}
	for class, sum := 0, int64(0); class <= most; class++ {
		if sum += t.Counts[class]; sum >= rank && sum > 0 {
			return min(time.Duration(math.Pow(classes, float64(class)))*time.Microsecond, t.Max)
		}
	}
	return 0
}
