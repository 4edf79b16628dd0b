package main

import (
	"errors"
	"fmt"
	"sync"
)

// errStale refuses whoever comes with the fence of a lock that somebody else has got since.
var errStale = errors.New("the lock is somebody else's by now")

// store keeps the counter. It stands for a database or a file server: for anything that remembers the largest fence
// that it has seen, and refuses smaller ones.
//
// Reading has to tell the fence, too. Otherwise a late write could come between the read and the write of the next
// holder: nobody would have written with a newer fence yet, so it would be accepted, and then be overwritten.
type store struct {
	mu      sync.Mutex
	value   int
	fence   int64 // the largest that was seen
	refused int
}

func (s *store) read(fence int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value, s.admit(fence)
}

func (s *store) write(fence int64, value int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(fence); err != nil {
		return err
	}
	s.value = value
	return nil
}

func (s *store) admit(fence int64) error {
	if fence < s.fence {
		s.refused++
		return fmt.Errorf("fence %d after %d: %w", fence, s.fence, errStale)
	}
	s.fence = fence
	return nil
}
