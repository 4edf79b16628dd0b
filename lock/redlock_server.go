package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// redlockServer is one of the servers of a Redlock.
type redlockServer struct {
	r     *Redlock
	be    RedlockBackend
	index int
	name  string

	mu      sync.Mutex
	failing bool         // the last call did
	owed    []redlockDue // what has still to be given back
	paying  bool         // a goroutine does so
}

// redlockDue is a lease that ends by itself at until.
type redlockDue struct {
	held  backend.Held
	until time.Time
}

// How long to wait before a server that failed is asked again to take back what it is owed.
const (
	minOwedPause = 50 * time.Millisecond
	maxOwedPause = 2 * time.Second
)

// call bounds a call by the server timeout. It takes values from ctx, but not its end: what was cut off might have had
// its effect. An error that only says that the time was over becomes one of the store's.
func (s *redlockServer) call(ctx context.Context, f func(context.Context) (bool, error)) (bool, error) {
	timeout := s.r.cfg.ServerTimeout
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	ok, err := f(bounded)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: no answer within %v", backend.ErrUnavailable, timeout)
	}
	s.heard(ctx, err)
	return ok && err == nil, err
}

// heard has the log say when a server begins to fail, and when it answers again.
func (s *redlockServer) heard(ctx context.Context, err error) {
	s.mu.Lock()
	changed := s.failing != (err != nil)
	s.failing = err != nil
	s.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		s.r.cfg.Logger.WarnContext(ctx, "redlock: server failed", "server", s.name, "error", err)
	default:
		s.r.cfg.Logger.InfoContext(ctx, "redlock: server answers again", "server", s.name)
	}
}

func (s *redlockServer) fail(err error) *ServerError {
	return &ServerError{Index: s.index, Name: s.name, Err: err}
}

// lock asks for a lease; false: somebody else has one.
func (s *redlockServer) lock(ctx context.Context, held backend.Held) (bool, error) {
	return s.call(ctx, func(ctx context.Context) (bool, error) {
		reply, err := s.be.Lock(ctx, backend.LockRequest{
			Namespace: s.r.ns, Token: held.Token, TTL: s.r.cfg.TTL, Items: []backend.LockItem{{Name: held.Member}},
		})
		return len(reply.Grants) == 1, err
	})
}

// renew gives a lease its whole TTL; false: it is no longer ours.
func (s *redlockServer) renew(ctx context.Context, held backend.Held) (bool, error) {
	return s.call(ctx, func(ctx context.Context) (bool, error) {
		reply, err := s.be.RenewLocks(ctx, backend.RenewRequest{Namespace: s.r.ns, Items: []backend.Renewal{
			{Member: held.Member, Token: held.Token, TTL: s.r.cfg.TTL},
		}})
		return len(reply.Renewed) == 1 && reply.Renewed[0], err
	})
}

// unlock gives a lease back; false: it was no longer ours.
func (s *redlockServer) unlock(ctx context.Context, held backend.Held) (bool, error) {
	return s.call(ctx, func(ctx context.Context) (bool, error) {
		reply, err := s.be.Unlock(ctx, backend.UnlockRequest{Namespace: s.r.ns, Items: []backend.Held{held}})
		return len(reply.Unlocked) == 1 && reply.Unlocked[0], err
	})
}

// owe has a lease given back in the background, as soon as the server can be asked, unless it ends before. One
// goroutine does so for all leases on one server.
func (s *redlockServer) owe(held backend.Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed = append(s.owed, redlockDue{held, time.Now().Add(s.r.cfg.TTL)})
	if !s.paying {
		s.paying = true
		s.r.start(s.pay)
	}
}

// pay gives back what is owed, until that is nothing, or the Redlock is closed.
func (s *redlockServer) pay() {
	pause := minOwedPause
	for {
		batch := s.due()
		if batch == nil {
			return
		}
		_, err := s.call(context.Background(), func(ctx context.Context) (bool, error) {
			_, err := s.be.Unlock(ctx, backend.UnlockRequest{Namespace: s.r.ns, Items: batch})
			return true, err
		})
		if err == nil || !errors.Is(err, backend.ErrUnavailable) {
			s.settle(len(batch))
			pause = minOwedPause
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-s.r.closing:
			t.Stop()
		}
		pause = min(2*pause, maxOwedPause)
	}
}

// due gives the oldest that are owed, at most as many as go into one call. Nil: there are none, and whoever asks is done.
func (s *redlockServer) due() []backend.Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	over := 0
	for over < len(s.owed) && !s.owed[over].until.After(now) {
		over++
	}
	if s.owed = s.owed[over:]; len(s.owed) == 0 || s.r.isClosed() {
		s.owed, s.paying = nil, false
		return nil
	}
	batch := make([]backend.Held, min(len(s.owed), backend.BatchLimit))
	for i := range batch {
		batch[i] = s.owed[i].held
	}
	return batch
}

// settle forgets the first n.
func (s *redlockServer) settle(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed = s.owed[n:]
}
