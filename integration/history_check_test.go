package integration

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
)

// acquisition is what was acquired in one step, as far as it is known.
type acquisition struct {
	got
	by     *process
	leases []*lease
}

// lease is one of its leases.
type lease struct {
	part
	name     string
	got      moment
	accesses []*access
	sharing  moment // 0: it was alone, or not, until the end
	leaving  moment // 0: it is not known how it ended
	died     moment // 0: its process was not killed while it had it
}

// request is what was asked of a pool whose members go round.
type request struct {
	turning
	turned *turned // nil: nobody knows
}

// end tells when the time of a holder ended: not before it was about to give the lease back, died, or saw that it had run
// out. In the store it ended then or later. Nobody but those who come after it can tell the difference, so the earliest
// is as good as any.
func (l *lease) end() moment {
	if l.leaving != 0 {
		return l.leaving
	}
	return min(cmp.Or(l.died, forever), l.Deadline)
}

// story is all that has happened to one thing.
type story struct {
	kind
	resource     string
	acquisitions []*acquisition
	requests     []*request
}

// check gives what is wrong with a story. Without promised, leases are not looked at, but for what their fences guard.
func (s *story) check(promised bool) (wrong []error, operations int) {
	decide := func(m porcupine.Model, history []porcupine.Operation) {
		operations += len(history)
		if err := linearizable(m, history); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", s.resource, err))
		}
	}
	switch {
	case promised && s.inTurn:
		decide(turnModel(s.slots), s.turns())
	case promised:
		decide(leaseModel(s.limit), s.grants())
	}
	for slot := range s.slots {
		if s.registers {
			accesses, swaps := s.accesses(slot)
			decide(registerModel, accesses)
			decide(swapModel, swaps)
		}
	}
	return wrong, operations
}

func (s *story) turns() (history []porcupine.Operation) {
	for i, r := range s.requests {
		o := porcupine.Operation{ClientId: i, Call: r.Call, Return: forever, Input: rotation{wanted: r.Members}}
		if r.turned != nil {
			o.Return, o.Input = r.turned.Return, rotation{r.Members, r.turned.Members}
		}
		history = append(history, o)
	}
	return history
}

// grants gives who got what, and until when it was his.
func (s *story) grants() (history []porcupine.Operation) {
	last := func(a *acquisition) int64 {
		return slices.MaxFunc(a.leases, func(x, y *lease) int { return cmp.Compare(x.Fence, y.Fence) }).Fence
	}
	slices.SortFunc(s.acquisitions, func(a, b *acquisition) int { return cmp.Compare(last(a), last(b)) })
	before := int64(0)
	for i, a := range s.acquisitions {
		step := leaseStep{who: a.leases[0].name, first: forever, last: last(a), before: before}
		before = step.last
		until := a.Return // it was granted
		end := func(l *lease, at moment, n int) {
			until = min(until, at-1)
			history = append(history, porcupine.Operation{
				ClientId: i, Call: at, Return: at, Input: leaseStep{who: l.name, units: l.of(n), end: true},
			})
		}
		for _, l := range a.leases {
			step.first = min(step.first, l.Fence)
			for slot, n := range l.of(l.Units) {
				step.units[slot] += n
			}
			rest := l.Units
			if l.sharing != 0 {
				end(l, min(l.sharing, l.end()), rest-1)
				rest = 1
			}
			end(l, l.end(), rest)
		}
		history = append(history, porcupine.Operation{ClientId: i, Call: min(a.Call, until), Return: until, Input: step})
	}
	return history
}

// of gives n units of each slot.
func (l *lease) of(n int) (u units) {
	for _, slot := range l.Slots {
		u[slot] = n
	}
	return u
}

// accesses gives what holders have done to the register of a slot.
func (s *story) accesses(slot int) (accesses, swaps []porcupine.Operation) {
	number := make(map[string]int) // 0 is nobody
	for _, a := range s.acquisitions {
		for _, l := range a.leases {
			number[l.name] = len(number) + 1
		}
	}
	for _, a := range s.acquisitions {
		for _, l := range a.leases {
			place := slices.Index(l.Slots, slot)
			if place < 0 {
				continue
			}
			me := number[l.name]
			use := func(a *access, ret moment, out answer) {
				accesses = append(accesses, porcupine.Operation{
					ClientId: me, Call: a.Call, Return: ret, Input: registerStep{me, l.Fence, a.Write, a.Shared}, Output: out,
				})
			}
			var read *access // while it was alone
			before := 0
			for _, a := range l.accesses {
				value := a.Values[place]
				out := answer{known: true, accepted: value != nil}
				if value != nil {
					out.value = number[*value]
				}
				use(a, a.Return, out)
				switch {
				case a.Shared || value == nil:
				case !a.Write:
					read, before = a, out.value
				case read != nil:
					swaps = append(swaps, porcupine.Operation{ClientId: me, Call: read.Call, Return: a.Return, Input: swap{me, before, true}})
					read = nil
				}
			}
			next := l.next()
			if next == nil {
				continue
			}
			use(next, forever, answer{})
			if read != nil && next.Write {
				swaps = append(swaps, porcupine.Operation{ClientId: me, Call: read.Call, Return: forever, Input: swap{me, before, false}})
			}
		}
	}
	return accesses, swaps
}

// next gives the access of which nobody was told any more, if there may have been one.
func (l *lease) next() *access {
	if l.leaving != 0 {
		return nil
	}
	next := &access{Shared: l.Shared, Call: l.got}
	switch n := len(l.accesses); {
	case n == 1:
		next.Write = !l.Shared
	case n == 2 && l.sharing != 0:
		next.Shared = true
	case n > 1:
		return nil
	}
	if n := len(l.accesses); n > 0 {
		next.Call = l.accesses[n-1].Return
	}
	return next
}

// fencesBack finds an acquisition that began after another one had been there, and has a fence that is not larger.
func fencesBack(acquisitions []*acquisition) error {
	byReturn := slices.SortedFunc(slices.Values(acquisitions), func(a, b *acquisition) int { return cmp.Compare(a.Return, b.Return) })
	byCall := slices.SortedFunc(slices.Values(acquisitions), func(a, b *acquisition) int { return cmp.Compare(a.Call, b.Call) })
	newest, i := int64(0), 0
	for _, a := range byCall {
		for ; byReturn[i].Return < a.Call; i++ {
			for _, l := range byReturn[i].leases {
				newest = max(newest, l.Fence)
			}
		}
		for _, l := range a.leases {
			if l.Fence <= newest {
				return fmt.Errorf("%s: %d came after %d", a.Resource, l.Fence, newest)
			}
		}
	}
	return nil
}

// check looks at all stories.
func (th *theatre) check(promised bool) (tallies []*tally) {
	th.t.Helper()
	stories, spaces := th.stories()
	for _, all := range spaces {
		assert.NoError(th.t, fencesBack(all), "there is one sequence of fencing numbers in a namespace")
	}
	byKind := make(map[string]*tally)
	for _, k := range kinds() {
		byKind[k.name] = &tally{scene: th.name, kind: k.name}
		tallies = append(tallies, byKind[k.name])
	}
	work := make(chan *story)
	var mu sync.Mutex
	var checkers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		checkers.Go(func() {
			for s := range work {
				wrong, operations := s.check(promised)
				mu.Lock()
				for _, err := range wrong {
					assert.NoError(th.t, err)
				}
				byKind[s.name].count(s, operations)
				mu.Unlock()
			}
		})
	}
	for _, s := range stories {
		work <- s
	}
	close(work)
	checkers.Wait()
	for _, c := range tallies {
		assert.Positive(th.t, c.acquisitions, "of kind %s", c.kind)
	}
	return tallies
}

// stories sorts all that was told by what it is about, and acquisitions by the namespace in which they got their fences.
func (th *theatre) stories() (stories map[string]*story, spaces map[string][]*acquisition) {
	stories, spaces = make(map[string]*story), make(map[string][]*acquisition)
	about := func(resource string) *story {
		s := stories[resource]
		if s == nil {
			name, _, _ := strings.Cut(resource, "-")
			s = &story{kind: kindOf(name), resource: resource}
			stories[resource] = s
		}
		return s
	}
	for _, a := range th.acquisitions {
		s := about(a.Resource)
		s.acquisitions = append(s.acquisitions, a)
		space := "locks"
		if a.Kind == "pool" {
			space = a.Resource
		}
		spaces[space] = append(spaces[space], a)
	}
	for _, r := range th.requests {
		s := about(r.Resource)
		s.requests = append(s.requests, r)
	}
	return stories, spaces
}
