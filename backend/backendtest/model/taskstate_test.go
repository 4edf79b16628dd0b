package model_test

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// taskStates is what can be compared of the tasks of two sides: no clocks, no fences.
type taskStates struct {
	Tasks []backend.TaskInfo
	Stats []backend.QueueStats
	Lists map[string][]string // by queue and state
}

// look reads the state of one side, and checks that it agrees with itself.
func (p *tasks) look(side int) taskStates {
	p.t.Helper()
	s := taskStates{Lists: map[string][]string{}}
	for _, t := range p.infos(side, p.ids...) {
		s.Tasks = append(s.Tasks, timeless(t))
	}
	for _, queue := range queueNames {
		stats, err := p.be[side].Stats(p.ctx, backend.StatsRequest{Namespace: p.ns, Queue: queue})
		if err != nil {
			p.t.Fatalf("Stats: %v", err)
		}
		if stats.Oldest < 0 || stats.Oldest > 0 && stats.Waiting == 0 {
			p.t.Fatalf("side %d: of %q none waits, the oldest for %v", side, queue, stats.Oldest)
		}
		stats.Oldest = 0
		s.Stats = append(s.Stats, stats)
		for state, count := range map[backend.TaskState]int{
			backend.TaskScheduled: stats.Scheduled, backend.TaskWaiting: stats.Waiting, backend.TaskRunning: stats.Running, backend.TaskDead: stats.Dead,
		} {
			got, err := p.be[side].Tasks(p.ctx, backend.TasksRequest{Namespace: p.ns, Queue: queue, State: state})
			if err != nil || got.Cursor != "" {
				p.t.Fatalf("Tasks: %v, cursor %q", err, got.Cursor)
			}
			var ids, want []string
			for i := range got.Tasks {
				ids = append(ids, got.Tasks[i].ID)
			}
			for _, t := range s.Tasks {
				if t.Queue == queue && t.State == state {
					want = append(want, t.ID)
				}
			}
			slices.Sort(ids)
			slices.Sort(want)
			if !slices.Equal(ids, want) || count != len(want) {
				p.t.Fatalf("side %d: of %q are %v: %q; listed are %q, counted %d", side, queue, state, want, ids, count)
			}
			s.Lists[queue+" "+state.String()] = ids
		}
	}
	return s
}

// check compares both sides. What listeners and watchers are told may take its time.
func (p *tasks) check() {
	s := [2]taskStates{p.look(0), p.look(1)}
	a, b := &s[0], &s[1]
	if !reflect.DeepEqual(a, b) {
		p.mismatch("state", *a, *b)
	}
	if !p.heard(&s) {
		defer func() {
			for name, l := range p.listening {
				p.t.Logf("%s: woken %v, idle %v, has lost %v", name, l.woken, l.idle, l.told)
			}
		}()
		p.until("that listeners are told what they should", func() bool { return p.heard(&s) })
	}
	p.watches = slices.DeleteFunc(p.watches, func(w *watched) bool {
		i := slices.Index(p.ids, w.id)
		if state := a.Tasks[i].State; !state.Final() && state != backend.TaskUnknown {
			return false
		}
		p.over(w)
		return true
	})
}

// over expects a watch to tell the same end on both sides.
func (p *tasks) over(w *watched) {
	var ends [2]backend.TaskInfo
	for side, on := range w.on {
		p.until("that the end of "+w.id+" is told", func() bool {
			select {
			case c := <-on.Changes:
				if c.Err != nil {
					p.t.Fatalf("watching %s: %v", w.id, c.Err)
				}
				ends[side] = timeless(c.Task)
				return c.Task.State.Final()
			default:
				return false
			}
		})
		ends[side].Payload, ends[side].Meta = nil, nil
	}
	if !reflect.DeepEqual(ends[0], ends[1]) {
		p.mismatch("the end of "+w.id, ends[0], ends[1])
	}
}

func cmpHeld(a, b backend.Held) int {
	return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Token, b.Token))
}
