package stress

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// deed is what an attempt at a task does.
type deed string

const (
	works    deed = "works"    // for a moment, unless its context ends
	fails    deed = "fails"    // with errBroken
	fatal    deed = "fatal"    // fails, and says that this is final
	endless  deed = "endless"  // goes on until its context ends
	crashes  deed = "crashes"  // and its process with it
	proceeds deed = "proceeds" // works, and says how far it has come
)

// steps is how far a task comes that proceeds.
const steps = 5

var errBroken = &task.Error{Code: "broken", Message: "does not work", Retryable: true}

// sort is a kind of tasks, and what has to become of them however often their workers die.
type sort struct {
	name    string
	weight  int
	plan    []deed // of each attempt, the last one of all that follow
	options func(ttl time.Duration) []task.Option
	cancel  bool
	ends    []task.State
	ran     int // so many attempts, deaths not counted; 0: it depends
}

func just(options ...task.Option) func(time.Duration) []task.Option {
	return func(time.Duration) []task.Option { return options }
}

var sorts = []sort{
	{name: "plain", weight: 1500, plan: []deed{works}, ends: []task.State{task.Done}},
	{
		name: "delayed", weight: 100, plan: []deed{works}, ends: []task.State{task.Done},
		options: func(ttl time.Duration) []task.Option { return []task.Option{task.Delay(ttl / 8)} },
	},
	{name: "retried", weight: 100, plan: []deed{fails, works}, options: just(task.Retries(1)), ends: []task.State{task.Done}},
	{name: "proceeding", weight: 100, plan: []deed{proceeds}, ends: []task.State{task.Done}},
	{name: "failed", weight: 100, plan: []deed{fatal}, ends: []task.State{task.Failed}, ran: 1},
	{name: "broken", weight: 50, plan: []deed{fails}, options: just(task.Retries(2)), ends: []task.State{task.Dead}, ran: 3},
	{ // it expires if who was to cancel it is killed
		name: "cancelled", weight: 50, plan: []deed{endless}, cancel: true, ends: []task.State{task.Cancelled, task.Expired},
		options: func(ttl time.Duration) []task.Option { return []task.Option{task.Timeout(3 * ttl)} },
	},
	{
		name: "expired", weight: 15, plan: []deed{endless}, ends: []task.State{task.Expired},
		options: func(ttl time.Duration) []task.Option { return []task.Option{task.Timeout(ttl / 2)} },
	},
	{name: "poisonous", weight: 1, plan: []deed{crashes}, options: just(task.MaxDeaths(2)), ends: []task.State{task.Dead}},
}

// sortOf gives the sort of that name; nil if there is none.
func sortOf(name string) *sort {
	for i := range sorts {
		if sorts[i].name == name {
			return &sorts[i]
		}
	}
	return nil
}

// anySort gives one by their weights.
func (h *hand) anySort() *sort {
	sum := 0
	for i := range sorts {
		sum += sorts[i].weight
	}
	n := h.IntN(sum)
	for i := range sorts {
		if n -= sorts[i].weight; n < 0 {
			return &sorts[i]
		}
	}
	return &sorts[0]
}

// params are what a task is given.
type params struct {
	Sort  string
	N     int64
	Takes time.Duration
}

// product is what it gives.
type product struct {
	N     int64
	Fence int64
}

type queue = task.Queue[params, product]

// queueNames are the queues of a run, all of which each worker serves.
var queueNames = []string{"jobs", "more"}

func newQueue(be task.Backend, ns backend.Namespace, name string) *queue {
	return task.NewQueue[params, product](be, ns, name, task.Config{
		Timeout:   10 * patience,
		Retention: 10 * patience, // the accountant comes by earlier
		Graveyard: guardTTL,
		MaxDeaths: backend.MaxDeaths, // there is much dying
		Backoff:   func(int, error) time.Duration { return 20 * time.Millisecond },
	})
}
