package model_test

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestTasksInMemoryAgainstItself(t *testing.T) {
	a, b := memory.New(), memory.New()
	defer a.Close()
	defer b.Close()
	compareTasks(t, a, b)
}

func TestTasksInMemoryAgainstRedis(t *testing.T) {
	t.Parallel()
	redis, err := rueidis.Open(t.Context(), redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	here := memory.New()
	defer here.Close()
	compareTasks(t, here, redis)
}

// Names are few, so that requests meet.
var (
	queueNames    = []string{"q", "é|:"}
	taskIDs       = []string{"a", "b", "c", "d", `e|"'`, "{f}"}
	listenerNames = []string{"l1", "l2", "l3", "l4"}
	payloads      = []string{"", "p"}
	taskClasses   = []backend.TaskClass{backend.ClassNormal, backend.ClassHigh, backend.ClassLow}
)

// tasks is two backends in one run about tasks.
type tasks struct {
	*pair
	ids       []string // those of the run
	listening map[string]*listening
	left      map[string]int // how often a listener of this name has left
	leases    []backend.Held // that were ever granted, the last one at the end
	watches   []*watched
}

// compareTasks runs random operations on two backends. To see one run again, use -rapid.seed, or the file that rapid names.
func compareTasks(t *testing.T, a, b backend.Backend) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		p := &tasks{
			pair: &pair{
				t: t, ctx: ctx, be: [2]backend.Backend{a, b},
				ns: backend.Namespace{Prefix: "model-" + suffix(), Suffix: "task", HashTag: rapid.Bool().Draw(t, "hash tag")},
			},
			ids: slices.Clone(taskIDs), listening: map[string]*listening{}, left: map[string]int{},
		}
		defer p.end()
		t.Repeat(p.actions())
	})
}

// actions are what clients do. After each of them both sides are compared.
func (p *tasks) actions() map[string]func(*rapid.T) {
	actions := map[string]func(){
		"submit": p.submit, "submit more": p.submit, "submit yet more": p.submit, "submit what expires": p.submitBriefly, "submit later": p.submitLater,
		"fetch": p.fetch, "fetch more": p.fetch, "fetch briefly": p.fetchBriefly, "leave": p.leaves, "report": p.report, "report more": p.report,
		"retry briefly": p.retryBriefly, "renew": p.renew, "renew briefly": p.renewBriefly, "edit": p.edit, "pause": p.pause, "watch": p.watch,
	}
	all := map[string]func(*rapid.T){"": func(t *rapid.T) { p.t = t; p.check() }}
	for name, act := range actions {
		all[name] = func(t *rapid.T) { p.t = t; act() }
	}
	return all
}

// end lets nobody listen or watch when the run is over.
func (p *tasks) end() {
	for _, w := range p.watches {
		for _, side := range w.on {
			side.Stop()
		}
	}
	for _, be := range p.be {
		for name := range p.listening {
			_, _ = be.Fetch(p.ctx, backend.FetchRequest{
				Namespace: p.ns, Listener: name, Token: "end", TTL: long, Mark: long, Leave: true, Queues: everyQueue(),
			})
		}
		_, _ = be.EditTasks(p.ctx, backend.TaskEdit{Namespace: p.ns, Action: backend.TasksCancel, IDs: p.ids})
		_, _ = be.EditTasks(p.ctx, backend.TaskEdit{Namespace: p.ns, Action: backend.TasksRemove, IDs: p.ids})
	}
}

// everyQueue is what all listeners listen to.
func everyQueue() []backend.FetchQueue {
	var all []backend.FetchQueue
	for _, name := range queueNames {
		all = append(all, backend.FetchQueue{Name: name, Room: backend.BatchLimit})
	}
	return all
}
