package memory

// agenda is a heap of tasks by the moment at which something happens to them, soonest first and, within one moment, by
// id, as a sorted set of Redis has them.
type agenda struct {
	slots []appointment
	alarm bool // task.alarm is the place of a task, from 1, and not task.slot
}

type appointment struct {
	at instant
	t  *task
}

// next is the first moment; never if there is none.
func (a *agenda) next() instant {
	if len(a.slots) == 0 {
		return never
	}
	return a.slots[0].at
}

// place is where t stands, -1 if it does not.
func (a *agenda) place(t *task) int {
	if a.alarm {
		return int(t.alarm) - 1
	}
	return int(t.slot) - 1
}

// set gives t a moment, whether it had one or not.
func (a *agenda) set(t *task, at instant) {
	i := a.place(t)
	if i < 0 {
		i = len(a.slots)
		a.slots = append(a.slots, appointment{})
	}
	a.settle(i, appointment{at, t})
}

// advance gives t a moment unless it has an earlier one.
func (a *agenda) advance(t *task, at instant) {
	if i := a.place(t); i < 0 || a.slots[i].at > at {
		a.set(t, at)
	}
}

// remove takes t out, if it is in.
func (a *agenda) remove(t *task) {
	i := a.place(t)
	if i < 0 {
		return
	}
	last := len(a.slots) - 1
	moved := a.slots[last]
	a.slots[last] = appointment{}
	a.slots = a.slots[:last]
	if i < last {
		a.settle(i, moved)
	}
	a.note(t, -1)
}

// settle finds the place of an appointment that may take place i.
func (a *agenda) settle(i int, moved appointment) {
	for i > 0 {
		parent := (i - 1) / 2
		if !moved.before(&a.slots[parent]) {
			break
		}
		a.put(i, a.slots[parent])
		i = parent
	}
	for {
		child := 2*i + 1
		if child >= len(a.slots) {
			break
		}
		if child+1 < len(a.slots) && a.slots[child+1].before(&a.slots[child]) {
			child++
		}
		if !a.slots[child].before(&moved) {
			break
		}
		a.put(i, a.slots[child])
		i = child
	}
	a.put(i, moved)
}

func (p *appointment) before(q *appointment) bool {
	return p.at < q.at || p.at == q.at && p.t.id < q.t.id
}

func (a *agenda) put(i int, p appointment) {
	a.slots[i] = p
	a.note(p.t, i)
}

func (a *agenda) note(t *task, i int) {
	if a.alarm {
		t.alarm = int32(i + 1)
	} else {
		t.slot = int32(i + 1)
	}
}
