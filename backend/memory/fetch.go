package memory

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Fetch takes tasks under leases; see [backend.Queues].
func (b *Backend) Fetch(ctx context.Context, req backend.FetchRequest) (backend.FetchReply, error) {
	ts, now, err := b.openTasks(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.FetchReply{}, fail("fetch", req.Namespace, err)
	}
	defer ts.unlock()
	l := ts.listenerOf(&req, now)
	reply := backend.FetchReply{Wake: l.wake, Lost: l.lost, Next: backend.NoExpiry}
	if req.Leave {
		ts.dismiss(l, now)
		return reply, nil
	}
	more := false
	for i, p := range l.posts {
		if ts.catchUp(p.queue, now, patience) == 0 {
			more = true
		}
		p.room = req.Queues[i].Room
	}
	room := req.Max
	for i := range req.Lanes {
		lane := &req.Lanes[i]
		p := l.posts[lane.Queue]
		if p.queue.paused {
			continue
		}
		n := min(lane.Max, room, p.room)
		taken, rest := ts.take(&reply, &req, p, lane.Class, n, now)
		room -= taken
		p.room -= taken
		more = more || rest
	}
	ts.rest(&reply, &req, l, room, more, now)
	return reply, nil
}

// take takes up to n tasks of one lane. It tells how many, and whether it passed so many over whose time is over that it
// gave up.
func (ts *tasks) take(reply *backend.FetchReply, req *backend.FetchRequest, p *post, class backend.TaskClass, n int, now instant) (
	taken int, more bool,
) {
	lane := &p.queue.lanes[class]
	for passed := 0; taken < n && lane.head != nil; {
		t := lane.head
		if t.deadline <= now {
			ts.expire(t)
			if passed++; passed == patience {
				return taken, true
			}
			continue
		}
		if reply.Tasks == nil {
			reply.Tasks = make([]backend.TaskGrant, 0, min(n, lane.n))
		}
		reply.Tasks = append(reply.Tasks, ts.begin(t, req, p.listener, now))
		taken++
	}
	return taken, false
}

// begin starts an attempt.
func (ts *tasks) begin(t *task, req *backend.FetchRequest, l *listener, now instant) backend.TaskGrant {
	t.leave()
	t.state, t.token, t.holder, t.reported = backend.TaskRunning, req.Token, l, 0
	t.attempts++
	ts.lease(t, now.after(req.TTL))
	ts.tell(t, now)
	return backend.TaskGrant{
		Task: ts.info(t, now, true), Token: t.token, Fence: ts.space.nextFence(now), TTL: min(req.TTL, time.Duration(t.at-now)),
	}
}

// lease gives a running task the end of its lease.
func (ts *tasks) lease(t *task, end instant) {
	t.at = min(end, t.deadline)
	t.queue.running.set(t, t.at)
	ts.alert(t, t.at)
}

// rest says what becomes of a listener with so much room left.
func (ts *tasks) rest(reply *backend.FetchReply, req *backend.FetchRequest, l *listener, room int, more bool, now instant) {
	next, idle := never, false
	for _, p := range l.posts {
		q := p.queue
		if room > 0 && p.room > 0 {
			idle = true
			p.heed()
			q.idle.push(p)
			p.told = never
			if at := q.next(); at != never && (p.early() || !q.covered(at, now)) {
				p.told = at
				next = min(next, at)
			}
			continue
		}
		q.idle.remove(p)
		ts.passOn(p, now)
		// Those who are idle have not been told of what is due, and there is nobody else to see to it.
		if at := q.scheduled.next(); q.idle.head != nil && !q.covered(at, now) {
			next = min(next, at)
		}
	}
	switch {
	case more:
		reply.Next = 0
	case next != never:
		reply.Next = time.Duration(next - now)
	}
	reply.Idle = idle && !more && !l.leaves(req, room)
}

// leaves reports whether there is more in the lanes for which there is room.
func (l *listener) leaves(req *backend.FetchRequest, room int) bool {
	for i := range req.Lanes {
		lane := &req.Lanes[i]
		p := l.posts[lane.Queue]
		if room > 0 && p.room > 0 && !p.queue.paused && p.queue.lanes[lane.Class].n > 0 {
			return true
		}
	}
	return false
}
