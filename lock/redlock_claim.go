package lock

import (
	"context"
	"sync"

	"github.com/redisallocator/redisallocator/backend"
)

// redlockClaim is one token for one name at all servers, from the first request to the release. Calls to one server
// follow each other in the order in which they were begun, so that a release overtakes nothing.
type redlockClaim struct {
	r    *Redlock
	held backend.Held

	mu    sync.Mutex
	seats []redlockSeat
}

// redlockSeat is what is known of one server.
type redlockSeat struct {
	state redlockState
	err   error         // what was wrong with the last answer
	last  chan struct{} // closed when the last call that was begun is over
}

type redlockState uint8

const (
	redlockAsked   redlockState = iota // for a lease, without an answer yet
	redlockGranted                     // and, for all we know, still ours
	redlockRefused                     // somebody else has it
	redlockUnknown                     // there was no answer. The backend gives back what it was granted, and so do we
	redlockGone                        // it was ours
)

// redlockAnswer is what one server says: yes, no, or an error.
type redlockAnswer struct {
	server int
	ok     bool
	err    error
}

func newRedlockClaim(r *Redlock, name string) *redlockClaim {
	return &redlockClaim{
		r:     r,
		held:  backend.Held{Member: name, Token: newToken(r.tokenText)},
		seats: make([]redlockSeat, len(r.servers)),
	}
}

// ask calls all servers at once. The channel has room for all answers, one from each server.
func (c *redlockClaim) ask(
	ctx context.Context, call func(context.Context, *redlockServer) (bool, error),
) <-chan redlockAnswer {
	answers := make(chan redlockAnswer, len(c.seats))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.seats {
		before, done := c.seats[i].last, make(chan struct{})
		c.seats[i].last = done
		c.r.start(func() {
			defer close(done)
			if before != nil {
				<-before
			}
			ok, err := call(ctx, c.r.servers[i])
			answers <- redlockAnswer{i, ok, err}
		})
	}
	return answers
}

// lock asks all servers for a lease.
func (c *redlockClaim) lock(ctx context.Context) <-chan redlockAnswer {
	return c.ask(ctx, func(ctx context.Context, s *redlockServer) (bool, error) {
		ok, err := s.lock(ctx, c.held)
		switch {
		case err != nil:
			c.set(s, redlockUnknown, err)
		case !ok:
			c.set(s, redlockRefused, ErrLocked)
		default:
			c.set(s, redlockGranted, nil)
		}
		return ok, err
	})
}

// renew gives all leases their whole TTL.
func (c *redlockClaim) renew(ctx context.Context) <-chan redlockAnswer {
	return c.ask(ctx, func(ctx context.Context, s *redlockServer) (bool, error) {
		if c.state(s) != redlockGranted {
			return false, nil
		}
		ok, err := s.renew(ctx, c.held)
		switch {
		case err != nil:
			c.set(s, redlockGranted, err)
		case !ok:
			c.set(s, redlockGone, ErrNotHeld)
		default:
			c.set(s, redlockGranted, nil)
		}
		return ok, err
	})
}

// release gives all leases back. Where that fails, and where nobody knows whether there is one, it goes on in the
// background.
func (c *redlockClaim) release(ctx context.Context) <-chan redlockAnswer {
	return c.ask(ctx, func(ctx context.Context, s *redlockServer) (bool, error) {
		switch c.state(s) {
		case redlockUnknown:
			s.owe(c.held)
			return false, nil
		case redlockRefused:
			return false, nil
		default:
		}
		ok, err := s.unlock(ctx, c.held)
		if err != nil {
			s.owe(c.held)
		}
		c.set(s, redlockGone, err)
		return ok, err
	})
}

func (c *redlockClaim) set(s *redlockServer, state redlockState, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seats[s.index].state, c.seats[s.index].err = state, err
}

func (c *redlockClaim) state(s *redlockServer) redlockState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seats[s.index].state
}

// errs is what is wrong with those servers that do not hold the lock, or did not answer the last time.
func (c *redlockClaim) errs() (errs []*ServerError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.seats {
		if err := c.seats[i].err; err != nil {
			errs = append(errs, c.r.servers[i].fail(err))
		}
	}
	return errs
}

// redlockTally counts answers.
type redlockTally struct {
	r       *Redlock
	yes, no int
	failed  []*ServerError
	granted []bool // by server
}

func (r *Redlock) newTally() *redlockTally {
	return &redlockTally{r: r, granted: make([]bool, len(r.servers))}
}

func (t *redlockTally) count(a redlockAnswer) {
	switch {
	case a.err != nil:
		t.failed = append(t.failed, t.r.servers[a.server].fail(a.err))
	case a.ok:
		t.yes++
		t.granted[a.server] = true
	default:
		t.no++
	}
}

func (t *redlockTally) open() int { return len(t.r.servers) - t.yes - t.no - len(t.failed) }

// reached reports whether a quorum agreed.
func (t *redlockTally) reached() bool { return t.yes >= t.r.cfg.Quorum }

// decided reports whether further answers make no difference.
func (t *redlockTally) decided() bool { return t.reached() || t.yes+t.open() < t.r.cfg.Quorum }

// refused reports whether so many servers said no that the others are no quorum.
func (t *redlockTally) refused() bool { return len(t.r.servers)-t.no < t.r.cfg.Quorum }

// mute reports whether so many servers failed that the others are no quorum.
func (t *redlockTally) mute() bool { return len(t.r.servers)-len(t.failed) < t.r.cfg.Quorum }

func (t *redlockTally) fail(op, name string, kind error) *RedlockError {
	return &RedlockError{
		Op: op, Name: name, Servers: len(t.r.servers), Quorum: t.r.cfg.Quorum,
		Agreed: t.yes, Refused: t.no, Failed: t.failed, kind: kind,
	}
}
