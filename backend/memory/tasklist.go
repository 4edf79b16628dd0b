package memory

// taskList is tasks one behind the other. A task is in one list at most.
type taskList struct {
	head, tail  *task
	n           int
	first, last int64 // numbers of the tasks that were put to the front and to the end last
}

// push puts t to the end.
func (l *taskList) push(t *task) {
	l.last++
	t.list, t.seq, t.prev, t.next = l, l.last, l.tail, nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
	l.n++
}

// pushFront puts t to the front.
func (l *taskList) pushFront(t *task) {
	l.first--
	t.list, t.seq, t.prev, t.next = l, l.first, nil, l.head
	if l.head == nil {
		l.tail = t
	} else {
		l.head.prev = t
	}
	l.head = t
	l.n++
}

// leave takes t out of its list, if it is in one.
func (t *task) leave() {
	l := t.list
	if l == nil {
		return
	}
	if t.prev == nil {
		l.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.list, t.prev, t.next = nil, nil, nil
	l.n--
}
