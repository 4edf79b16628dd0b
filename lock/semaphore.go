package lock

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/redisallocator/redisallocator/backend"
)

// Semaphore is a number of units that many hold together, each some of them: seats of a licence, slots on a machine. What
// is said of [Mutex] holds here, too: it is a name and a configuration, waits are fair, and each holder has a lease, a
// fence and a context of its own. The units of a process that died come back when its lease runs out.
//
// Who wants many units is not overtaken by those who want few and come later.
//
// The limit stands in the store. The first to acquire units sets it, and a process that believes in another one gets
// a backend.LimitError, which shows both, until it has been told with [Semaphore.Resize], or with a new Semaphore.
type Semaphore struct {
	core
	name  [1]backend.LockItem
	limit atomic.Int64

	resizing chan struct{} // has room for the Resize that is under way
}

// NewSemaphore gives the semaphore of that name with limit units, 1 to backend.MaxUnits. It sends nothing. If something is
// wrong with its arguments, each call tells so with an error that matches backend.ErrInvalid.
func NewSemaphore(be Backend, ns backend.Namespace, name string, limit int, cfg Config) *Semaphore {
	s := &Semaphore{name: [1]backend.LockItem{{Name: name, Units: 1, Limit: limit}}, resizing: make(chan struct{}, 1)}
	s.limit.Store(int64(limit))
	s.init(be, ns, cfg, s.name[:])
	if err := checkLimit(limit); err != nil {
		s.err = and(s.err, err)
	}
	return s
}

func checkLimit(limit int) error {
	if limit < 1 || limit > backend.MaxUnits {
		return invalid("limit", strconv.Itoa(limit), "must be 1 to "+strconv.Itoa(backend.MaxUnits))
	}
	return nil
}

// Name is the name of the semaphore.
func (s *Semaphore) Name() string { return s.name[0].Name }

// Acquire takes n units, and waits its turn until there are so many, as [Mutex.Lock] waits. More than the limit is
// refused at once, with an error that matches backend.ErrInvalid. One round trip if there are enough, else one to join
// the line.
//
// Where ctx says that units are held already (see [WithHeld]; [Semaphore.Do] has said so), the handle is on those, and no
// further ones are taken; more than those are refused with [ErrUpgrade].
func (s *Semaphore) Acquire(ctx context.Context, n int, opts ...Option) (*Held, error) {
	return s.take(ctx, "acquire", n, true, opts)
}

// TryAcquire is Acquire that does not wait: it fails with [ErrLocked] if there are not so many units, or if somebody waits.
// One round trip.
func (s *Semaphore) TryAcquire(ctx context.Context, n int, opts ...Option) (*Held, error) {
	return s.take(ctx, "try acquire", n, false, opts)
}

func (s *Semaphore) take(ctx context.Context, op string, n int, wait bool, opts []Option) (*Held, error) {
	limit := int(s.limit.Load())
	if s.err == nil && (n < 1 || n > limit) {
		return nil, fail(op, s.name[:], invalid("units", strconv.Itoa(n), "must be 1 to the limit of "+strconv.Itoa(limit)))
	}
	for {
		items := []backend.LockItem{{Name: s.Name(), Units: n, Limit: limit}}
		held, err := s.acquire(ctx, &request{op: op, items: items, wait: wait, reenter: true}, opts)
		if !errors.Is(err, backend.ErrLimit) {
			return held, err
		}
		// The store may know already of a Resize of ours that we do not know of yet.
		believed := limit
		if limit = s.settled(ctx); limit == believed || limit < n {
			return nil, err
		}
	}
}

// settled is the limit when no Resize is under way, unless ctx ends.
func (s *Semaphore) settled(ctx context.Context) int {
	select {
	case s.resizing <- struct{}{}:
		<-s.resizing
	case <-ctx.Done():
	}
	return s.Limit()
}

// Do acquires n units, calls f and gives them back, as [Mutex.Do] does.
func (s *Semaphore) Do(ctx context.Context, n int, f func(ctx context.Context) error, opts ...Option) error {
	held, err := s.Acquire(ctx, n, opts...)
	return do(ctx, held, err, f)
}

// Resize changes the limit, in the store and for this Semaphore, and serves those who wait. Units that are held beyond a
// lower limit stay with their holders. Who waits for more units than a lower limit allows gets a backend.LimitError
// when it is his turn. One round trip.
func (s *Semaphore) Resize(ctx context.Context, limit int) error {
	err := s.err
	if err == nil {
		err = checkLimit(limit)
	}
	if err == nil {
		err = s.resize(ctx, limit)
	}
	return fail("resize", s.name[:], err)
}

// resize is one at a time, so that the last limit in the store is the last one here.
func (s *Semaphore) resize(ctx context.Context, limit int) error {
	select {
	case s.resizing <- struct{}{}:
		defer func() { <-s.resizing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.be.SetLimit(ctx, backend.LimitRequest{Namespace: s.ns, Name: s.Name(), Limit: limit}); err != nil {
		return err
	}
	s.limit.Store(int64(limit))
	return nil
}

// Limit is the number of units as this Semaphore believes. [State.Limit] is what the store says.
func (s *Semaphore) Limit() int { return int(s.limit.Load()) }

// State tells how many units are held, by whom and for how long, the limit, and how many wait. One round trip.
func (s *Semaphore) State(ctx context.Context) (State, error) {
	states, err := s.look(ctx, "state", s.name[:])
	if err != nil {
		return State{}, err
	}
	return states[0], nil
}
