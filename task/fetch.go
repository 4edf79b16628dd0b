package task

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

const (
	// fetchLimit is how many tasks are fetched at once, at most.
	fetchLimit = backend.BatchLimit

	minRetry = 10 * time.Millisecond // after a Fetch or a Report has failed
	maxRetry = time.Second
)

// backoff is how long to wait after something failed so many times, from 1.
func backoff(failed int) time.Duration {
	d := min(minRetry<<min(failed-1, 10), maxRetry)
	return d/2 + rand.N(d/2+1)
}

// dispatcher fetches tasks and begins them.
type dispatcher struct {
	*Server
	wake  <-chan struct{}
	lost  <-chan backend.Held
	token string // for the next call; empty: it needs a new one
	due   bool   // the next call has to be made, whether or not there is room

	at    time.Time // when the next call has to be made at the latest
	timer *time.Timer
	fires time.Time // not after that; zero: never
	fired atomic.Bool

	asked []backend.FetchQueue // with the last call, to be used again
	rooms []int
	began []*attempt

	sent time.Time // when the last call was
}

func newDispatcher(s *Server) *dispatcher {
	d := &dispatcher{Server: s, due: true, rooms: make([]int, len(s.queues))}
	d.timer = time.AfterFunc(math.MaxInt64, func() {
		d.fired.Store(true)
		s.wake()
	})
	return d
}

// serve fetches tasks and begins them until ctx ends, which is no error.
func (d *dispatcher) serve(ctx context.Context) error {
	defer d.timer.Stop()
	s := d.Server
	defer context.AfterFunc(ctx, s.wake)()
	patient, stop := linger(ctx)
	defer stop()
	for failed := 0; ctx.Err() == nil; {
		req, ok := d.plan()
		if !ok {
			d.pause()
			continue
		}
		d.sent = time.Now()
		reply, err := s.be.Fetch(patient, req)
		switch {
		case err == nil:
			failed = 0
			d.accept(ctx, &req, &reply)
		case ctx.Err() != nil:
			d.refuse()
		default:
			d.refuse()
			if hopeless(err) {
				return err
			}
			failed++
			wait := backoff(failed)
			s.logger.Warn("tasks not fetched, trying again", "namespace", s.ns.String(), "backoff", wait, "error", err)
			d.rest(ctx, wait)
		}
	}
	return nil
}

// linger gives a context that ends some time after ctx: what a Fetch under way then brings is put back at once, and need not
// be found later by those who look for what lost calls were granted.
func linger(ctx context.Context) (patient context.Context, stop func()) {
	patient, cancel := context.WithCancel(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, func() {
		t := time.NewTimer(leaveTimeout)
		defer t.Stop()
		select {
		case <-t.C:
		case <-patient.Done():
		}
		cancel()
	})
	return patient, func() {
		detach()
		cancel()
	}
}

// hopeless reports whether it makes no sense to try again.
func hopeless(err error) bool {
	return errors.Is(err, backend.ErrClosed) || errors.Is(err, backend.ErrInvalid) || errors.Is(err, backend.ErrUnsupported)
}

// plan gives the next call, if it is time for one.
func (d *dispatcher) plan() (req backend.FetchRequest, ok bool) {
	s := d.Server
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.due && !s.stale() {
		return req, false
	}
	d.due = false
	if d.token == "" {
		d.token = backend.NewToken()
	}
	req = backend.FetchRequest{
		Namespace: s.ns, Listener: s.listener, Token: d.token, TTL: s.cfg.LeaseTTL, Mark: s.cfg.Mark,
		Max: min(s.places.free(), fetchLimit),
	}
	if d.asked == nil {
		d.asked = make([]backend.FetchQueue, len(s.queues))
	}
	for i, q := range s.queues {
		d.rooms[i] = s.room(q)
		d.asked[i] = backend.FetchQueue{Name: q.name, Room: d.rooms[i]}
	}
	for i, q := range s.queues {
		q.promised = d.rooms[i]
	}
	req.Queues = d.asked
	if req.Max > 0 {
		req.Lanes = s.planner.lanes(req.Max, d.rooms)
	}
	s.places.promised = req.Max
	return req, true
}

// refuse takes back what plan has promised.
func (d *dispatcher) refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token, d.due = "", true
	d.asked, d.planner.asked = nil, nil // the call may not be over everywhere
	d.places.promised = 0
	for _, q := range d.queues {
		q.promised, q.idle = 0, false
	}
	d.freed()
}

// accept begins what was fetched.
func (d *dispatcher) accept(ctx context.Context, req *backend.FetchRequest, reply *backend.FetchReply) {
	d.wake, d.lost = reply.Wake, reply.Lost
	if ctx.Err() != nil {
		d.refuse()
		d.giveBack(reply.Tasks)
		return
	}
	d.plant(reply.Next)
	if len(reply.Tasks) > 0 {
		d.token = ""
	}
	s := d.Server
	began := d.began[:0]
	s.mu.Lock()
	for i := range reply.Tasks {
		g := &reply.Tasks[i]
		for _, q := range s.queues {
			if q.name == g.Task.Queue {
				s.planner.took(q.index, g.Task.Class)
				began = append(began, s.newAttempt(q, g))
				break
			}
		}
	}
	left := req.Max - len(reply.Tasks)
	s.places.promised = 0
	for i, q := range s.queues {
		q.promised = 0
		q.idle = reply.Idle && left > 0 && req.Queues[i].Room > s.planner.taken[i]
	}
	if req.Max > 0 {
		s.planner.settle(reply.Idle, !reply.Idle && left > 0)
	}
	s.freed()
	s.mu.Unlock()
	now := time.Now()
	for _, a := range began {
		a.begin(d.sent, now)
	}
	clear(began)
	d.began = began
}

// giveBack puts tasks back that were fetched when it was too late.
func (d *dispatcher) giveBack(grants []backend.TaskGrant) {
	if len(grants) == 0 {
		return
	}
	items := make([]backend.TaskReport, len(grants))
	for i := range grants {
		items[i] = backend.TaskReport{ID: grants[i].Task.ID, Token: grants[i].Token, Kind: backend.ReportReturn}
	}
	ctx, cancel := context.WithTimeout(d.base, lease.ReleaseTimeout)
	defer cancel()
	if _, err := d.be.Report(ctx, backend.ReportRequest{Namespace: d.ns, Items: items}); err != nil {
		d.logger.Warn("tasks not put back, their leases have to run out", "tasks", len(items), "error", err)
	}
}

// plant sets the time of the next call.
func (d *dispatcher) plant(next time.Duration) {
	if next == 0 {
		d.due = true
	}
	wait := d.cfg.Mark / 3
	if next != backend.NoExpiry {
		wait = min(wait, next)
	}
	d.at = d.sent.Add(wait)
	if d.fires.IsZero() || d.at.Before(d.fires) {
		d.arm()
	}
}

func (d *dispatcher) arm() {
	d.fires = d.at
	d.timer.Reset(time.Until(d.at))
}

// pause waits until there may be something to do.
func (d *dispatcher) pause() {
	select {
	case _, open := <-d.wake:
		d.due = true
		if !open {
			d.wake = nil
		}
	case held := <-d.lost:
		d.cancelled(held)
	case <-d.signal:
		if d.fired.CompareAndSwap(true, false) {
			d.fires = time.Time{}
			if d.due = !time.Now().Before(d.at); !d.due {
				d.arm()
			}
		}
	}
}

// rest waits for some time.
func (d *dispatcher) rest(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case held := <-d.lost:
			d.cancelled(held)
		case <-t.C:
			return
		}
	}
}

// cancelled ends an attempt whose task was cancelled.
func (s *Server) cancelled(held backend.Held) {
	s.mu.Lock()
	i := slices.IndexFunc(s.live, func(a *attempt) bool { return a.info.ID == held.Member && a.token == held.Token })
	if i < 0 {
		s.mu.Unlock()
		return
	}
	a := s.live[i]
	s.mu.Unlock()
	a.end(ErrCancelled)
	a.hold.Lose()
}
