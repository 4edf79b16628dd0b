package stress

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/lock"
)

// The names that are locked: alone, several of these at once, for reading and writing, and in units.
var (
	mutexNames = names("mutex", 6)
	rwNames    = names("rw", 2)
	semaphores = []semaphore{{"semaphore00", 5}, {"semaphore01", 3}}
)

type semaphore struct {
	name  string
	units int
}

// lockNames is all of them.
func lockNames() []string {
	all := append(append([]string(nil), mutexNames...), rwNames...)
	for _, s := range semaphores {
		all = append(all, s.name)
	}
	return all
}

func (w *worker) useLocks(hands *sync.WaitGroup) {
	w.begin(hands, "mutex", 2, useMutex)
	w.begin(hands, "several locks", 1, useSeveral)
	w.begin(hands, "rw lock", 2, useRW)
	w.begin(hands, "semaphore", 2, useSemaphore)
}

func (h *hand) lockConfig() lock.Config { return lock.Config{TTL: h.TTL, ClaimTTL: h.TTL / 4} }

// lockOptions gives those of one acquisition, and whether what is got will be forgotten.
func (h *hand) lockOptions() (options []lock.Option, forgotten bool) {
	options = []lock.Option{lock.Priority(h.IntN(3)), lock.MaxWait(h.some(10*time.Millisecond, h.TTL))}
	if h.odds(4) {
		options = append(options, lock.TTL(h.some(h.TTL/4, h.TTL)))
	}
	if forgotten = h.odds(20); forgotten {
		options = append(options, lock.NoRenewal(), lock.TTL(h.some(10*time.Millisecond, h.TTL/4)))
	}
	return options, forgotten
}

// hold acquires something, uses it, and gives it back, unless it is forgotten.
func (h *hand) hold(
	acquire, try func(context.Context, ...lock.Option) (*lock.Held, error), use func(*lock.Held) error,
) error {
	options, forgotten := h.lockOptions()
	ctx := h.ctx
	if h.odds(8) { // gives up at any moment
		impatient, cancel := context.WithTimeout(ctx, h.some(100*time.Microsecond, 10*time.Millisecond))
		defer cancel()
		ctx = impatient
	}
	began := time.Now()
	if h.odds(3) {
		acquire = try
	}
	held, err := acquire(ctx, options...)
	if no, err := h.refused(ctx, err); no {
		h.rest()
		return err
	}
	h.waited("lock", began)
	h.count(h.name + ": held")
	err = use(held)
	if forgotten {
		h.count(h.name + ": forgotten")
		return err
	}
	switch h.IntN(10) {
	case 0:
		err = errors.Join(err, forgive(held.Extend(h.ctx, h.some(time.Millisecond, h.TTL))))
	case 1:
		err = errors.Join(err, forgive(held.SetTTL(h.ctx, h.some(h.TTL/4, h.TTL))))
	}
	err = errors.Join(err, forgive(held.Unlock(h.ctx)))
	h.rest()
	return err
}

// alone shows the fence to what the names stand for, at the beginning and at the end.
func (h *hand) alone(held *lock.Held) error {
	err := h.touchNames(held, true)
	h.rest()
	return errors.Join(err, h.touchNames(held, true))
}

func (h *hand) touchNames(held *lock.Held, write bool) error {
	var problems error
	for _, name := range held.Names() {
		ok, newest, err := h.guard.touch(h.ctx, "lock:"+name, held.Fence(), write)
		if err == nil && !ok && held.Valid() {
			err = fmt.Errorf("lock %s has two holders: %s with fence %d is valid, and there is fence %d",
				name, held.Token(), held.Fence(), newest)
		}
		problems = errors.Join(problems, err)
	}
	return problems
}

func useMutex(h *hand) error {
	m := lock.NewMutex(h.be, h.locks(), mutexNames[h.IntN(len(mutexNames))], h.lockConfig())
	return h.hold(m.Lock, m.TryLock, func(held *lock.Held) error {
		if !h.odds(4) {
			return h.alone(held)
		}
		inner, err := m.TryLock(lock.WithHeld(h.ctx, held)) // at once, unless the lock has been lost
		if err != nil {
			return forgive(err)
		}
		return errors.Join(h.alone(inner), forgive(inner.Unlock(h.ctx)), h.alone(held))
	})
}

func useSeveral(h *hand) error {
	some := make([]string, 0, 3)
	for _, i := range h.Perm(len(mutexNames))[:2+h.IntN(2)] {
		some = append(some, mutexNames[i])
	}
	m := lock.NewMulti(h.be, h.locks(), some, h.lockConfig())
	return h.hold(m.Lock, m.TryLock, h.alone)
}

func useRW(h *hand) error {
	m := lock.NewRWMutex(h.be, h.locks(), rwNames[h.IntN(len(rwNames))], h.lockConfig())
	reads := func(held *lock.Held) error {
		err := h.touchNames(held, false)
		h.rest()
		return errors.Join(err, h.touchNames(held, false))
	}
	if !h.odds(3) {
		return h.hold(m.RLock, m.TryRLock, reads)
	}
	return h.hold(m.Lock, m.TryLock, func(held *lock.Held) error {
		err := h.alone(held)
		if h.odds(3) {
			if e := m.Downgrade(h.ctx, held); e == nil {
				h.count("rw lock: downgraded")
				err = errors.Join(err, reads(held))
			} else {
				err = errors.Join(err, forgive(e))
			}
		}
		return err
	})
}

func useSemaphore(h *hand) error {
	which := semaphores[h.IntN(len(semaphores))]
	s, n := lock.NewSemaphore(h.be, h.locks(), which.name, which.units, h.lockConfig()), 1+h.IntN(which.units)
	acquire := func(ctx context.Context, options ...lock.Option) (*lock.Held, error) {
		return s.Acquire(ctx, n, options...)
	}
	try := func(ctx context.Context, options ...lock.Option) (*lock.Held, error) {
		return s.TryAcquire(ctx, n, options...)
	}
	return h.hold(acquire, try, func(held *lock.Held) error {
		err := h.enterSemaphore(held, which, n)
		h.rest()
		return errors.Join(err, h.guard.leave(h.ctx, which.name, held.Token()))
	})
}

// enterSemaphore shows the units that are held to what counts them.
func (h *hand) enterSemaphore(held *lock.Held, s semaphore, n int) error {
	ok, sum, err := h.guard.enter(h.ctx, s.name, held.Token(), n, s.units, held.Deadline())
	if err == nil && !ok && held.Valid() {
		err = fmt.Errorf("semaphore %s has %d units and gives out %d: %s has %d of them and is valid",
			s.name, s.units, sum, held.Token(), n)
	}
	return err
}
