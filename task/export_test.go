package task

import "reflect"

// Books are what a server counts. When nothing runs and nothing is told any more all of it is zero.
type Books struct {
	Live, Busy, Waiting, Running, Stuck, Parked, Reporting, Promised int
	OfQueues                                                         [][3]int // running, parked, promised
}

// BooksOf looks into the books of a server.
func BooksOf(s *Server) Books {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.places
	b := Books{
		Live: len(s.live), Busy: s.busy, Waiting: len(p.waiting), Running: p.running, Stuck: p.stuck, Parked: p.parked,
		Reporting: p.reporting, Promised: p.promised,
	}
	for _, q := range s.queues {
		b.OfQueues = append(b.OfQueues, [3]int{q.running, q.parked, q.promised})
	}
	return b
}

// Balanced reports whether nothing is left in the books.
func (b Books) Balanced() bool {
	for _, q := range b.OfQueues {
		if q != [3]int{} {
			return false
		}
	}
	b.OfQueues = nil
	return reflect.ValueOf(b).IsZero()
}

// Workers is how many goroutines of a server wait for a handler to run.
func Workers(s *Server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers)
}
