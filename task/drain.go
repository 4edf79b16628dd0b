package task

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// leaveTimeout bounds how long the store is told that nobody listens any more.
const leaveTimeout = time.Second

// drain ends what runs. What is said about it by then is given up some time later, by giveUp.
func (d *dispatcher) drain(giveUp func()) {
	s := d.Server
	patience := time.NewTimer(max(s.cfg.Drain, 0))
	defer patience.Stop()
	s.mu.Lock()
	s.phase = draining
	s.mu.Unlock()
	s.endAll(func(a *attempt) bool { return a.parked })
	d.quit()

	if d.idle(patience.C) {
		return
	}
	defer time.AfterFunc(lease.ReleaseTimeout, giveUp).Stop()
	s.endAll(func(*attempt) bool { return true })
	d.idle(nil)
}

// quit says that the server does not listen any more: from now on it is not woken, and does not count.
func (d *dispatcher) quit() {
	s := d.Server
	req := backend.FetchRequest{
		Namespace: s.ns, Listener: s.listener, Token: backend.NewToken(), TTL: s.cfg.LeaseTTL, Mark: s.cfg.Mark, Leave: true,
		Queues: make([]backend.FetchQueue, len(s.queues)),
	}
	for i, q := range s.queues {
		req.Queues[i].Name = q.name
	}
	ctx, cancel := context.WithTimeout(s.base, leaveTimeout)
	defer cancel()
	if _, err := s.be.Fetch(ctx, req); err != nil {
		s.logger.Warn("server ends and could not say so", "namespace", s.ns.String(), "error", err)
	}
}

// endAll ends the contexts of attempts.
func (s *Server) endAll(those func(a *attempt) bool) {
	var all []*attempt
	s.mu.Lock()
	for _, a := range s.live {
		if those(a) {
			all = append(all, a)
		}
	}
	s.mu.Unlock()
	for _, a := range all {
		a.end(ErrDrained)
	}
}

// idle waits until all ends have been told, or until patience is over.
func (d *dispatcher) idle(patience <-chan time.Time) bool {
	for {
		d.mu.Lock()
		busy := d.busy
		d.mu.Unlock()
		if busy == 0 {
			return true
		}
		select {
		case <-d.signal:
		case held := <-d.lost:
			d.cancelled(held)
		case <-patience:
			return false
		}
	}
}
