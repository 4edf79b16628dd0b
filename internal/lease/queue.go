package lease

import (
	"math/bits"
	"time"
)

// queue orders holds by the moment at which somebody has to look at them. Inserting and removing take constant time
// and no memory: there is one list for each length of wait, and who comes later waits until later, so that every
// list is in order by itself. Lengths are rounded down to eight steps per power of two. Who is woken too early because
// of that is put back with what is left of the wait; for a renewal, a little early is as good as in time.
type queue struct {
	lists  [slots]list
	filled [(slots + 63) / 64]uint64 // which lists are not empty
}

const (
	stepBits  = 3  // eight steps per power of two
	firstBits = 20 // waits below 2^20 ns, a millisecond, all go to list 0
	slots     = 1 + (63-firstBits)<<stepBits
)

type list struct {
	head, tail *Hold
}

// slotFor gives the list for a wait of at most d, and how long one waits there.
func slotFor(d time.Duration) (slot int, wait time.Duration) {
	if d < 1<<firstBits {
		return 0, max(d, 0)
	}
	exp := bits.Len64(uint64(d)) - 1
	step := uint64(d) >> (exp - stepBits) // 8 to 15: the leading one and three bits
	return 1 + (exp-firstBits)<<stepBits + int(step&(1<<stepBits-1)), time.Duration(step << (exp - stepBits))
}

// slack is how much earlier than its time one in this list may be looked at, so that many are looked at together.
func slack(slot int) time.Duration {
	if slot == 0 {
		return 0
	}
	exp := (slot-1)>>stepBits + firstBits
	return 1 << (exp - stepBits)
}

// insert puts h at a place where it is found at about the moment at, and tells when: not later, but for list 0, where
// one may stand behind another that is due a millisecond later.
func (q *queue) insert(h *Hold, now, at Instant) Instant {
	slot, wait := slotFor(at.Sub(now))
	h.due, h.slot = now.add(wait), int16(slot)
	l := &q.lists[slot]
	l.push(h)
	q.filled[slot/64] |= 1 << (slot % 64)
	return h.due
}

// remove takes h out.
func (q *queue) remove(h *Hold) {
	slot := int(h.slot)
	l := &q.lists[slot]
	l.remove(h)
	if l.head == nil {
		q.filled[slot/64] &^= 1 << (slot % 64)
	}
}

// each calls f for the lists that are not empty until it returns false.
func (q *queue) each(f func(slot int, l *list) bool) {
	for i, set := range q.filled {
		for ; set != 0; set &= set - 1 {
			slot := i*64 + bits.TrailingZeros64(set)
			if !f(slot, &q.lists[slot]) {
				return
			}
		}
	}
}

// next is the moment at which the first is due.
func (q *queue) next() Instant {
	at := never
	q.each(func(_ int, l *list) bool {
		at = min(at, l.head.due)
		return true
	})
	return at
}

func (l *list) push(h *Hold) {
	h.prev, h.next = l.tail, nil
	if l.tail == nil {
		l.head = h
	} else {
		l.tail.next = h
	}
	l.tail = h
}

func (l *list) remove(h *Hold) {
	if h.prev == nil {
		l.head = h.next
	} else {
		h.prev.next = h.next
	}
	if h.next == nil {
		l.tail = h.prev
	} else {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
}
