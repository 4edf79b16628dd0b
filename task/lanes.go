package task

import (
	"cmp"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// shared is several that take turns by weight: whoever will have had the least for its weight is next.
type shared struct {
	strides []int64 // what one task counts for each of them
	passes  []int64 // what each has had so far, counted so
}

const strideUnit = 1 << 20

func newShared(weights ...int) shared {
	s := shared{strides: make([]int64, len(weights)), passes: make([]int64, len(weights))}
	for i, w := range weights {
		s.strides[i] = strideUnit / int64(w)
	}
	return s
}

// deal gives out n turns, no more to each than there is room for.
func (s *shared) deal(n int, room []int, quotas []int) {
	clear(quotas)
	if len(quotas) == 1 {
		quotas[0] = min(n, room[0])
		return
	}
	for ; n > 0; n-- {
		next, least := -1, int64(0)
		for i, pass := range s.passes {
			pass += int64(quotas[i]+1) * s.strides[i]
			if (next < 0 || pass < least) && quotas[i] < room[i] {
				next, least = i, pass
			}
		}
		if next < 0 {
			return
		}
		quotas[next]++
	}
}

// order lists all, whose turn it is first.
func (s *shared) order(into []int) {
	for i := range into {
		into[i] = i
	}
	if len(into) == 1 {
		return
	}
	slices.SortStableFunc(into, func(i, j int) int { return cmp.Compare(s.passes[i]+s.strides[i], s.passes[j]+s.strides[j]) })
}

// settle counts what each has taken. Those that had no more to take save nothing up for later.
func (s *shared) settle(taken []int, drained func(i int) bool) {
	least := int64(-1)
	for i := range s.passes {
		s.passes[i] += int64(taken[i]) * s.strides[i]
		if !drained(i) && (least < 0 || s.passes[i] < least) {
			least = s.passes[i]
		}
	}
	if least < 0 {
		clear(s.passes)
		return
	}
	for i := range s.passes {
		if drained(i) {
			s.passes[i] = max(s.passes[i], least)
		}
		s.passes[i] -= least
	}
}

// planner says where to look for tasks, so that queues and classes get their shares and no place stays free while there is
// a task.
type planner struct {
	strict bool
	queues shared
	lines  []line

	asked []backend.FetchLane // that were given last, and will be overwritten with the next
	free  int
	even  bool // nobody has had more than others
	again bool // nobody had when lanes were given last

	rooms, left, quotas, taken, first []int
}

// line is what a planner knows of one queue.
type line struct {
	strict  bool
	classes shared
	quotas  [classes]int
	taken   [classes]int
	drained [classes]bool
}

const classes = 3

// classWeights are the shares of the classes in their order.
var classWeights = [classes]int{6, 3, 1}

// byRank are the classes in their order.
var byRank = [classes]backend.TaskClass{backend.ClassHigh, backend.ClassNormal, backend.ClassLow}

// rankOf is the opposite of byRank.
var rankOf = [classes]int{backend.ClassHigh: 0, backend.ClassNormal: 1, backend.ClassLow: 2}

// maxServed is how many queues can be looked at with one call, all their classes.
const maxServed = backend.MaxLanes / classes

func newPlanner(strict bool, queues []ServeConfig) *planner {
	n := len(queues)
	p := &planner{
		strict: strict, lines: make([]line, n), even: true,
		rooms: make([]int, n), left: make([]int, n), quotas: make([]int, n), taken: make([]int, n), first: make([]int, n),
	}
	weights := make([]int, n)
	for i := range queues {
		weights[i] = queues[i].Weight
		p.lines[i] = line{strict: queues[i].StrictClasses, classes: newShared(classWeights[:]...)}
	}
	p.queues = newShared(weights...)
	return p
}

// lanes says where to look for tasks, in which order, if there are so many places free, and so many for each queue.
func (p *planner) lanes(free int, rooms []int) []backend.FetchLane {
	if p.even && p.again && free == p.free && p.asked != nil && slices.Equal(rooms, p.rooms) {
		return p.asked
	}
	p.again = p.even
	copy(p.rooms, rooms)
	if p.strict {
		for i := range p.first {
			p.first[i] = i
			p.quotas[i] = min(free, rooms[i])
		}
	} else {
		p.queues.deal(free, p.rooms, p.quotas)
		p.queues.order(p.first)
	}
	open := 0
	for _, room := range rooms {
		if room > 0 {
			open++
		}
	}
	lanes := p.asked[:0]
	most := backend.MaxLanes - classes*open
	for _, i := range p.first {
		if rooms[i] > 0 {
			lanes = p.shares(lanes, i, most)
			if p.strict {
				lanes = p.rest(lanes, i)
				most += classes
			}
		}
	}
	if !p.strict {
		for _, i := range p.first {
			if rooms[i] > 0 {
				lanes = p.rest(lanes, i)
			}
		}
	}
	p.asked, p.free = lanes, free
	return lanes
}

// shares adds the lanes in which queue i finds its own share.
func (p *planner) shares(lanes []backend.FetchLane, i, most int) []backend.FetchLane {
	l := &p.lines[i]
	quota := p.quotas[i]
	clear(l.quotas[:])
	if l.strict {
		if quota > 0 && len(lanes)+2 <= most {
			// All of the first class come before any of the next. What the queue takes beyond its share it will pay for.
			l.quotas[0] = p.rooms[i]
			lanes = append(lanes, backend.FetchLane{Queue: i, Class: byRank[0], Max: p.rooms[i]},
				backend.FetchLane{Queue: i, Class: byRank[1], Max: quota})
		}
		return lanes
	}
	const round = 6 + 3 + 1 // in which each class has its turns
	l.classes.deal(quota%round, []int{quota, quota, quota}, l.quotas[:])
	for rank, weight := range classWeights {
		l.quotas[rank] += quota / round * weight
	}
	var order [classes]int
	l.classes.order(order[:])
	for _, rank := range order {
		if len(lanes) >= most {
			l.quotas[rank] = 0
		}
		if n := l.quotas[rank]; n > 0 {
			lanes = append(lanes, backend.FetchLane{Queue: i, Class: byRank[rank], Max: n})
		}
	}
	return lanes
}

// rest adds the lanes in which queue i finds whatever others leave.
func (p *planner) rest(lanes []backend.FetchLane, i int) []backend.FetchLane {
	l, room := &p.lines[i], p.rooms[i]
	order := [classes]int{0, 1, 2}
	if !l.strict {
		l.classes.order(order[:])
	}
	for _, rank := range order {
		if l.quotas[rank] < room { // else the lane is there
			lanes = append(lanes, backend.FetchLane{Queue: i, Class: byRank[rank], Max: room})
		}
	}
	return lanes
}

// took notes one task that was found.
func (p *planner) took(queue int, class backend.TaskClass) {
	p.taken[queue]++
	p.lines[queue].taken[rankOf[class]]++
}

// settle is called when all that was found has been noted. idle says that there was nothing more where there was room, cut
// that the call ended before it had looked everywhere.
func (p *planner) settle(idle, cut bool) {
	p.even = idle
	for i, room := range p.rooms {
		p.even = p.even && room > p.taken[i]
	}
	if p.even {
		p.forget()
		return
	}
	if !cut {
		p.replay()
	}
	for i := range p.lines {
		l := &p.lines[i]
		if !l.strict {
			l.classes.settle(l.taken[:], func(c int) bool { return l.drained[c] })
		}
	}
	p.queues.settle(p.taken, func(i int) bool {
		return p.rooms[i] == 0 || p.lines[i].drained == [classes]bool{true, true, true}
	})
	for i := range p.lines {
		clear(p.lines[i].taken[:])
		clear(p.lines[i].drained[:])
	}
	clear(p.taken)
}

// forget makes all even.
func (p *planner) forget() {
	clear(p.queues.passes)
	clear(p.taken)
	for i := range p.lines {
		l := &p.lines[i]
		clear(l.classes.passes)
		clear(l.taken[:])
	}
}

// replay finds out which lanes were drained: those that gave less than they were asked for while there was room.
func (p *planner) replay() {
	free := p.free
	copy(p.left, p.rooms)
	for i := range p.lines {
		p.lines[i].quotas = p.lines[i].taken // what is still to be told where it came from
	}
	for i := range p.asked {
		lane := &p.asked[i]
		l, rank := &p.lines[lane.Queue], rankOf[lane.Class]
		wanted := min(lane.Max, free, p.left[lane.Queue])
		n := min(wanted, l.quotas[rank])
		l.quotas[rank] -= n
		p.left[lane.Queue] -= n
		free -= n
		l.drained[rank] = l.drained[rank] || n < wanted
	}
}
