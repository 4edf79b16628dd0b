package task

import (
	"math"
	"sync/atomic"
	"time"
)

// maxIdle is how many goroutines wait for something to do, at most.
const maxIdle = 64

// worker is a goroutine that runs handlers, one after the other, because a stack that has grown is worth keeping. It ends with
// a handler that ends its goroutine.
type worker struct {
	jobs  chan *attempt // has room for one
	timer *time.Timer   // of the attempt that runs
	now   atomic.Pointer[attempt]
}

// employ gives an attempt to a worker that has nothing to do, or to a new one. The caller holds s.mu.
func (s *Server) employ(a *attempt) {
	if n := len(s.workers); n > 0 {
		a.worker = s.workers[n-1]
		s.workers = s.workers[:n-1]
		return
	}
	w := &worker{jobs: make(chan *attempt, 1)}
	w.timer = time.AfterFunc(math.MaxInt64, w.tick)
	a.worker = w
	go w.run()
}

// run runs what it is given until there is no more.
func (w *worker) run() {
	for a := range w.jobs {
		a.main()
		if !a.server.rest(w) {
			return
		}
	}
}

// tick is what the timer runs. It may be late, and find another attempt.
func (w *worker) tick() {
	if a := w.now.Load(); a != nil {
		a.tick()
	}
}

// rest has w wait for more to do. It reports false if there is not going to be any.
func (s *Server) rest(w *worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == after || len(s.workers) == maxIdle {
		return false
	}
	s.workers = append(s.workers, w)
	return true
}

// dismiss ends the workers, those who are busy when they have finished.
func (s *Server) dismiss() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = after
	for _, w := range s.workers {
		close(w.jobs)
	}
	s.workers = nil
}
