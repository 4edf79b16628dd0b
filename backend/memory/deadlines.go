package memory

// deadlines is a heap of the members that can come free by the mere passing of time, soonest first and, within one
// moment, by name, as a sorted set of Redis has them.
//
// It is lazy. An entry has one slot at most. A lease that is renewed or given back leaves its slot where it is; who
// meets the slot at the top puts it right. So the hot path mostly finds the slot it needs in place, and nothing is ever
// overlooked, because a slot is never later than what it stands for.
type deadlines struct {
	slots []slot // from 0; entry.slot is the index plus 1
	stale int    // slots of entries that need not be watched any more
}

type slot struct {
	at instant
	e  *entry
}

// watch makes sure that e is looked at when its lock or its lease ends.
func (s *space) watch(e *entry) {
	d, at := &s.index, s.due(e)
	if at == never {
		return
	}
	if !e.watched {
		e.watched = true
		if e.slot != 0 {
			d.stale--
		}
	}
	switch {
	case e.slot == 0:
		d.slots = append(d.slots, slot{at, e})
		e.slot = len(d.slots)
		d.up(e.slot - 1)
	case at < d.slots[e.slot-1].at:
		d.slots[e.slot-1].at = at
		d.up(e.slot - 1)
	}
}

// unwatch ends that.
func (s *space) unwatch(e *entry) {
	if !e.watched {
		return
	}
	e.watched = false
	d := &s.index
	d.stale++
	const few = 64
	if d.stale > few && d.stale > len(d.slots)/2 {
		d.tidy()
	}
}

// due is the next moment at which something happens to e by itself: its lease ends, or the lock without which it is not
// kept out of the free list.
func (s *space) due(e *entry) instant {
	at := never
	if e.leased {
		at = e.deadline
	}
	if e.end != 0 && e.end < at && s.isAllocated(e) {
		at = e.end
	}
	return at
}

// lapse makes everything happen that time has brought about: members whose lease ran out go to the tail of the free
// list in the order of their deadlines. It counts them, and those that were dropped instead.
func (s *space) lapse(now instant) (freed, dropped int) {
	d := &s.index
	for len(d.slots) > 0 && d.slots[0].at <= now {
		e, at := d.slots[0].e, never
		if e.watched {
			at = s.due(e)
		} else {
			d.stale--
		}
		if at != never && at > d.slots[0].at { // renewed meanwhile
			d.slots[0].at = at
			d.down(0)
			continue
		}
		d.pop()
		e.watched = false
		if at == never {
			continue
		}
		member, free := e.member, s.isFree(e)
		s.settle(e, now)
		s.watch(e)
		switch {
		case member && !e.member:
			dropped++
		case !free && s.isFree(e):
			freed++
		}
	}
	return freed, dropped
}

// settle does what is due for e.
func (s *space) settle(e *entry, now instant) {
	if !e.locked(now) {
		s.unlock(e)
	}
	over := e.leased && e.deadline <= now
	switch {
	case over && e.end != 0: // locked anew without a word
		e.deadline = e.end
		return
	case over:
		e.leased = false
	}
	if e.end != 0 || s.isFree(e) {
		return
	}
	switch {
	case !e.member:
		if !e.leased {
			s.forget(e)
		}
	case over:
		s.putBack(e, now)
	default:
		s.orphan(e, now)
	}
}

// orphan treats an allocated member whose lock vanished before its deadline, if it has one: whoever waits in line shall
// have it, otherwise it is for Collect to find, and remembered for whoever joins the line first.
func (s *space) orphan(e *entry, now instant) {
	switch {
	case s.line.n > 0:
		s.putBack(e, now)
	case e.where == nil:
		s.orphans.push(e)
	}
}

// pop removes the top.
func (d *deadlines) pop() {
	last := len(d.slots) - 1
	d.slots[0].e.slot = 0
	if last > 0 {
		d.slots[0] = d.slots[last]
		d.slots[0].e.slot = 1
	}
	d.slots[last] = slot{}
	d.slots = d.slots[:last]
	d.down(0)
}

// tidy removes the stale slots.
func (d *deadlines) tidy() {
	kept := d.slots[:0]
	for _, sl := range d.slots {
		if sl.e.watched {
			kept = append(kept, sl)
			sl.e.slot = len(kept)
		} else {
			sl.e.slot = 0
		}
	}
	clear(d.slots[len(kept):])
	d.slots, d.stale = kept, 0
	for i := len(kept)/2 - 1; i >= 0; i-- {
		d.down(i)
	}
}

func (a *slot) before(b *slot) bool { return a.at < b.at || a.at == b.at && a.e.name < b.e.name }

func (d *deadlines) up(i int) {
	moved := d.slots[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !moved.before(&d.slots[parent]) {
			break
		}
		d.put(i, d.slots[parent])
		i = parent
	}
	d.put(i, moved)
}

func (d *deadlines) down(i int) {
	n := len(d.slots)
	if i >= n {
		return
	}
	moved := d.slots[i]
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && d.slots[child+1].before(&d.slots[child]) {
			child++
		}
		if !d.slots[child].before(&moved) {
			break
		}
		d.put(i, d.slots[child])
		i = child
	}
	d.put(i, moved)
}

func (d *deadlines) put(i int, sl slot) {
	d.slots[i] = sl
	sl.e.slot = i + 1
}
