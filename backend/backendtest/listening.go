package backendtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// listener is one that listens to queues, with short names for what it does. It is one goroutine's.
type listener struct {
	r      *room
	name   string
	queues []backend.FetchQueue
	ttl    time.Duration // of its leases
	mark   time.Duration

	wake <-chan struct{}
	lost <-chan backend.Held
}

// listener gives a new one, which has not called yet.
func (r *room) listener(queues ...string) *listener {
	l := &listener{r: r, name: backend.NewToken(), ttl: long, mark: long}
	for _, q := range queues {
		l.queues = append(l.queues, backend.FetchQueue{Name: q, Room: backend.BatchLimit})
	}
	return l
}

// request asks for so many tasks at most, from all lanes, those of the higher classes first.
func (l *listener) request(most int) backend.FetchRequest {
	req := backend.FetchRequest{
		Namespace: l.r.ns, Listener: l.name, Token: backend.NewToken(), TTL: l.ttl, Mark: l.mark,
		Max: most, Queues: slices.Clone(l.queues),
	}
	for _, class := range allClasses {
		for i := range l.queues {
			req.Lanes = append(req.Lanes, backend.FetchLane{Queue: i, Class: class, Max: backend.BatchLimit})
		}
	}
	return req
}

// calls fetches, and expects the reply to agree with itself and with those before.
func (l *listener) calls(req backend.FetchRequest) backend.FetchReply {
	l.r.tb.Helper()
	got, err := l.r.be.Fetch(l.r.ctx, req)
	l.r.ok(err, "Fetch")
	if len(got.Tasks) > req.Max {
		l.r.Errorf("Fetch of %d tasks gave %d", req.Max, len(got.Tasks))
	}
	if got.Next < 0 && got.Next != backend.NoExpiry {
		l.r.Errorf("Fetch says that the next call is due in %v", got.Next)
	}
	var fences []int64
	for i := range got.Tasks {
		g := &got.Tasks[i]
		l.r.equal("the token of the lease on "+g.Task.ID, g.Token, req.Token)
		l.r.equal("the state of what was fetched, "+g.Task.ID, g.Task.State, backend.TaskRunning)
		if g.TTL-req.TTL > rounding || g.TTL <= 0 {
			l.r.Errorf("the lease on %s lasts for %v, and was asked for %v", g.Task.ID, g.TTL, req.TTL)
		}
		fences = append(fences, g.Fence)
	}
	slices.Sort(fences)
	l.r.ascending("the grants of one step, in their order", fences...)
	if req.Leave {
		return got
	}
	if got.Wake == nil || got.Lost == nil {
		l.r.Fatalf("Fetch gave the channels Wake: %v, Lost: %v", got.Wake != nil, got.Lost != nil)
	}
	if l.wake != nil && l.wake != got.Wake || l.lost != nil && l.lost != got.Lost {
		l.r.Errorf("Fetch gave other channels than before")
	}
	l.wake, l.lost = got.Wake, got.Lost
	return got
}

// takes takes so many tasks at most.
func (l *listener) takes(most int) []backend.TaskGrant {
	l.r.tb.Helper()
	return l.calls(l.request(most)).Tasks
}

// gets takes so many tasks at most, and expects them to be these, in this order.
func (l *listener) gets(most int, want ...string) []backend.TaskGrant {
	l.r.tb.Helper()
	got := l.takes(most)
	l.r.same("what was fetched", taskIDs(got), want)
	if len(got) != len(want) {
		l.r.Fatalf("there is nothing to go on with")
	}
	return got
}

// idles calls, and expects that there is nothing to do.
func (l *listener) idles() backend.FetchReply {
	l.r.tb.Helper()
	got := l.calls(l.request(backend.BatchLimit))
	l.r.same("what there is to do", taskIDs(got.Tasks), nil)
	l.r.yes("idle, where there is nothing to do", got.Idle)
	return got
}

// lives calls without taking anything.
func (l *listener) lives() backend.FetchReply {
	l.r.tb.Helper()
	return l.calls(l.request(0))
}

// leaves ends the listener.
func (l *listener) leaves() {
	l.r.tb.Helper()
	req := l.request(backend.BatchLimit)
	req.Leave = true
	l.r.same("what was fetched on leaving", taskIDs(l.calls(req).Tasks), nil)
	l.wake, l.lost = nil, nil
}

// woken waits until the listener is woken.
func (l *listener) woken() {
	l.r.tb.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	select {
	case _, ok := <-l.wake:
		if !ok {
			l.r.Fatalf("the channel is closed")
		}
	case <-end.C:
		l.r.Fatalf("nobody was woken in %v", patience)
	}
}

// asleep reports whether the listener has not been woken.
func (l *listener) asleep() bool {
	select {
	case <-l.wake:
		return false
	default:
		return true
	}
}

// follows does as a listener should: it calls whenever it is woken, or the time it was told is over, and not else, until it
// has got so many tasks. It gives what the last call has brought.
func (l *listener) follows(n int) backend.TaskGrant {
	l.r.tb.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		got := l.calls(l.request(backend.BatchLimit))
		if n -= len(got.Tasks); n <= 0 && len(got.Tasks) > 0 {
			return got.Tasks[len(got.Tasks)-1]
		}
		next := time.NewTimer(got.Next)
		if got.Next == backend.NoExpiry {
			next.Stop()
		}
		select {
		case <-l.wake:
		case <-next.C:
		case <-end.C:
			l.r.Fatalf("%d tasks did not come in %v; the last call said: Idle %v, Next %v", n, patience, got.Idle, got.Next)
		}
		next.Stop()
	}
}

// loses waits until the listener is told that a lease was taken away.
func (l *listener) loses(g *backend.TaskGrant) {
	l.r.tb.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	select {
	case h := <-l.lost:
		l.r.equal("the lease that was lost", h, backend.Held{Member: g.Task.ID, Token: g.Token})
	case <-end.C:
		l.r.Fatalf("nobody was told in %v that %s is lost", patience, g.Task.ID)
	}
}

func taskIDs(grants []backend.TaskGrant) []string {
	var ids []string
	for i := range grants {
		ids = append(ids, grants[i].Task.ID)
	}
	return ids
}

// numberedTasks gives n ids.
func numberedTasks(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("t%04d", i)
	}
	return ids
}
