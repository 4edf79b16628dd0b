package memory

import (
	"github.com/redisallocator/redisallocator/backend"
)

// listener is somebody who fetches tasks.
type listener struct {
	token        string
	since, until instant // it counts as alive
	wake         chan struct{}
	lost         chan backend.Held
	posts        []*post // one for each of its queues, in the order of its last call
}

// post is a listener at one queue.
type post struct {
	*listener
	queue *queue
	place int // in queue.posts

	idle       bool // in queue.idle
	prev, next *post
	woken      bool    // since its last call, for a task
	told       instant // until when it will call, for what happens in the queue by itself; never: no word of that

	room int // for the call that runs
}

// clockWatchers is how many of those who are idle are told when something happens in the queue by itself.
const clockWatchers = 3

// listenerOf gives a listener that lives, a new one if need be, with a post at each of its queues.
func (ts *tasks) listenerOf(req *backend.FetchRequest, now instant) *listener {
	l := ts.listeners[req.Listener]
	if l == nil {
		const heldBack = 64
		l = &listener{token: req.Listener, since: now, wake: make(chan struct{}, 1), lost: make(chan backend.Held, heldBack)}
		ts.sweepListeners(now)
		ts.listeners[l.token] = l
	}
	if l.until <= now {
		l.since = now
	}
	l.until = now.after(req.Mark)
	if !l.stands(req.Queues) {
		ts.place(l, req.Queues, now)
	}
	return l
}

// stands reports whether l has its posts at these queues.
func (l *listener) stands(at []backend.FetchQueue) bool {
	if len(l.posts) != len(at) {
		return false
	}
	for i, p := range l.posts {
		if p.queue.name != at[i].Name {
			return false
		}
	}
	return true
}

// place moves l to other queues.
func (ts *tasks) place(l *listener, to []backend.FetchQueue, now instant) {
	old := make(map[*queue]*post, len(l.posts))
	for _, p := range l.posts {
		old[p.queue] = p
	}
	l.posts = make([]*post, len(to))
	for i := range to {
		q := ts.queueOf(to[i].Name)
		p := old[q]
		if p == nil {
			p = &post{listener: l, queue: q, place: len(q.posts), told: never}
			q.posts = append(q.posts, p)
		}
		delete(old, q)
		l.posts[i] = p
	}
	for _, p := range old {
		ts.quit(p, now)
	}
}

// quit ends a post. What it was woken for, and what it was to see to, others have to.
func (ts *tasks) quit(p *post, now instant) {
	q := p.queue
	last := len(q.posts) - 1
	moved := q.posts[last]
	q.posts[p.place], moved.place = moved, p.place
	q.posts[last] = nil
	q.posts = q.posts[:last]
	q.heard = max(q.heard, min(now, p.until))
	promised := p.told != never
	q.idle.remove(p)
	ts.passOn(p, now)
	if promised {
		ts.mind(q, now)
	}
}

// dismiss ends a listener.
func (ts *tasks) dismiss(l *listener, now instant) {
	for _, p := range l.posts {
		ts.quit(p, now)
	}
	l.posts = nil
	delete(ts.listeners, l.token)
}

// sweepListeners forgets listeners that are not alive, when there can be as many of them as of those that are.
func (ts *tasks) sweepListeners(now instant) {
	if !crowded(len(ts.listeners), ts.swept) {
		return
	}
	for _, l := range ts.listeners {
		if l.until <= now {
			ts.dismiss(l, now)
		}
	}
	ts.swept = len(ts.listeners)
}

// listened reports whether a listener of a queue is alive.
func (ts *tasks) listened(name string, now instant) bool {
	q := ts.queues[name]
	return q != nil && q.listened(now)
}

// listened reports whether a listener of the queue is alive.
func (q *queue) listened(now instant) bool {
	for i, p := range q.posts {
		if p.until > now { // the next look finds it first
			q.posts[0], q.posts[i] = p, q.posts[0]
			q.posts[0].place, q.posts[i].place = 0, i
			return true
		}
	}
	return false
}

// listenedAt is listened for a moment that is over.
func (q *queue) listenedAt(at instant) bool {
	if q.heard > at {
		return true
	}
	for _, p := range q.posts {
		if p.since <= at && p.until > at {
			return true
		}
	}
	return false
}

// call wakes whoever has been idle longest, because there is a task.
func (ts *tasks) call(q *queue, now instant) {
	for p := q.idle.head; p != nil && !q.paused; p = q.idle.head {
		q.idle.remove(p)
		if p.until > now {
			p.woken = true
			q.woken++
			p.signal()
			return
		}
	}
}

// heed notes that p has called since it was woken.
func (p *post) heed() {
	if p.woken {
		p.woken = false
		p.queue.woken--
	}
}

// passOn is heed for one who takes nothing more. Whoever is idle is woken in his place, if there is a task that nobody else
// has been woken for.
func (ts *tasks) passOn(p *post, now instant) {
	if p.heed(); p.queue.waiting() > p.queue.woken {
		ts.call(p.queue, now)
	}
}

// mind wakes one of those who are idle, unless somebody will see to what happens next in the queue by itself. He stays
// where he is.
func (ts *tasks) mind(q *queue, now instant) {
	if q.idle.head == nil || q.covered(q.next(), now) {
		return
	}
	for p := q.idle.head; p != nil; p = p.next {
		if p.until > now {
			p.signal()
			return
		}
	}
}

// covered reports whether one of those who watch the clock will call by a certain time.
func (q *queue) covered(at, now instant) bool {
	if at == never {
		return true
	}
	for p, rank := q.idle.head, 0; p != nil && rank < clockWatchers; p, rank = p.next, rank+1 {
		if p.told <= at && p.until > now {
			return true
		}
	}
	return false
}

func (l *listener) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// postList is posts in the order in which their listeners became idle.
type postList struct{ head, tail *post }

// push puts p to the end, unless it is in the list.
func (l *postList) push(p *post) {
	if p.idle {
		return
	}
	p.idle, p.prev, p.next = true, l.tail, nil
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
}

// remove takes p out, if it is in the list.
func (l *postList) remove(p *post) {
	if !p.idle {
		return
	}
	if p.prev == nil {
		l.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.idle, p.prev, p.next, p.told = false, nil, nil, never
}

// early reports whether p is one of those who watch the clock.
func (p *post) early() bool {
	rank := 0
	for ; p.prev != nil && rank < clockWatchers; p = p.prev {
		rank++
	}
	return rank < clockWatchers
}
