package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
)

// server is a Redis server that need not be there when the service starts. Until it has been reached for the first time,
// calls fail at once; from then on the client itself connects again.
type server struct {
	be     atomic.Pointer[rueidis.Backend]
	cancel context.CancelFunc
	opened chan struct{} // closed when it has been reached
	done   chan struct{} // closed when nobody tries to any more
	err    atomic.Value  // why not, wrapped in a refusal
}

type refusal struct{ error }

// dial begins to reach for a server.
func dial(url string) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{cancel: cancel, opened: make(chan struct{}), done: make(chan struct{})}
	s.err.Store(refusal{errors.New("not reached yet")})
	go s.open(ctx, url)
	return s
}

func (s *server) open(ctx context.Context, url string) {
	defer close(s.done)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		be, err := rueidis.Open(ctx, url)
		if err == nil {
			s.be.Store(be)
			close(s.opened)
			return
		}
		s.err.Store(refusal{err})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// wait returns when the server has been reached, or says why not.
func (s *server) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-s.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return s.err.Load().(refusal)
	}
}

func (s *server) close() {
	s.cancel()
	<-s.done
	if be := s.be.Load(); be != nil {
		_ = be.Close()
	}
}

// reach gives the backend, if there is one.
func (s *server) reach() (*rueidis.Backend, error) {
	if be := s.be.Load(); be != nil {
		return be, nil
	}
	return nil, fmt.Errorf("%w: %v", backend.ErrUnavailable, s.err.Load())
}

func (s *server) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	be, err := s.reach()
	if err != nil {
		return backend.LockReply{}, err
	}
	return be.Lock(ctx, req)
}

func (s *server) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	be, err := s.reach()
	if err != nil {
		return backend.UnlockReply{}, err
	}
	return be.Unlock(ctx, req)
}

func (s *server) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	be, err := s.reach()
	if err != nil {
		return backend.RenewReply{}, err
	}
	return be.RenewLocks(ctx, req)
}
