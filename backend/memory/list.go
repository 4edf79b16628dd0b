package memory

// list is a doubly linked list through the entries themselves. An entry is in one list at most and knows in which.
type list struct {
	head, tail *entry
}

// push puts e at the tail; it must be in no list.
func (l *list) push(e *entry) {
	e.where, e.prev, e.next = l, l.tail, nil
	if l.tail == nil {
		l.head = e
	} else {
		l.tail.next = e
	}
	l.tail = e
}

// remove takes e out; it must be in this list.
func (l *list) remove(e *entry) {
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.where, e.prev, e.next = nil, nil, nil
}
