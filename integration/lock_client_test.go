package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	historyClients = 48                     // of each process: so many names are used at a time
	historySpan    = 500 * time.Millisecond // after that other names are used
	historyTTL     = 200 * time.Millisecond
)

type historyArgs struct {
	URL, StoreURL string
	Namespace     backend.Namespace
	Seed          uint64
}

// moment is a point in time by the clock of this machine.
type moment = int64

func now() moment { return time.Now().UnixNano() }

// call is one access to the store.
type call struct {
	Call, Return moment
	Accepted     bool
	Value        string // read
}

// entry is one step of an acquisition. A process tells it before it takes the next one, so that what it has done until it
// was killed is known, but for the last.
type entry struct {
	ID string // of the acquisition

	// Got: it has the lock.
	Got          bool   `json:",omitempty"`
	Name         string `json:",omitempty"`
	Call, Return moment `json:",omitempty"`
	Fence        int64  `json:",omitempty"`
	Deadline     moment `json:",omitempty"` // at first

	Read     *call     `json:",omitempty"` // from the store
	Leaving  *leaving  `json:",omitempty"` // it is about to give it back
	Unlocked *unlocked `json:",omitempty"` // it has tried

	Problem string `json:",omitempty"` // something that must not be
}

type leaving struct {
	Write call   // to the store
	End   moment // until then the lock was valid: until now, or its own deadline
}

type unlocked struct {
	Return moment
	Known  bool // whether it was given back, or had been lost
}

// historian is a process that locks and unlocks, and tells all it does.
type historian struct {
	w     *worker
	be    *rueidis.Backend
	ns    backend.Namespace
	store *redisCLI
}

func historyWorker(w *worker) error {
	var args historyArgs
	if err := w.read(&args); err != nil {
		return err
	}
	ctx := context.Background()
	be, err := connect(args.URL, rueidis.CallTimeout(time.Second))
	if err != nil {
		return err
	}
	store, err := dialRaw(args.StoreURL)
	if err != nil {
		return err
	}
	h := &historian{w, be, args.Namespace, store}
	var clients sync.WaitGroup
	for i := range historyClients {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(args.Seed, uint64(i))) //nolint:gosec // to be repeated
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d/%d/%d", os.Getpid(), i, n)
				name := fmt.Sprintf("%d-%d", i, now()/int64(historySpan))
				if err := h.section(ctx, r, id, name); err != nil {
					w.tell(entry{ID: id, Problem: err.Error()})
				}
				pause(ctx, time.Duration(r.Int64N(int64(20*time.Millisecond))))
			}
		})
	}
	clients.Wait()
	return nil
}

// section gets the lock, uses the store and gives the lock back, or lets it run out. An error is what must not be.
func (h *historian) section(ctx context.Context, r *rand.Rand, id, name string) error {
	renewed := r.IntN(3) > 0
	m := lock.NewMutex(h.be, h.ns, name, lock.Config{TTL: historyTTL, NoRenewal: !renewed, Priority: r.IntN(2)})
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(r.Int64N(int64(2*historySpan))))
	defer cancel()
	get := m.Lock
	if r.IntN(4) == 0 {
		get = m.TryLock
	}
	e := entry{ID: id, Got: true, Name: name, Call: now()}
	held, err := get(patient)
	e.Return = now()
	switch {
	case errors.Is(err, lock.ErrLocked), errors.Is(err, backend.ErrUnavailable), err != nil && patient.Err() != nil,
		errors.Is(err, lock.ErrExpired): // it took too long
		return nil
	case err != nil:
		return err
	}
	e.Fence, e.Deadline = held.Fence(), held.Deadline().UnixNano()
	h.w.tell(e)

	read, err := h.access(held, name, "")
	if err != nil {
		return err
	}
	h.w.tell(entry{ID: id, Read: &read})
	switch r.IntN(8) {
	case 0: // it runs out, or is lost
		if !renewed {
			<-held.Context().Done()
		}
	case 1:
		if err := held.Reacquire(ctx); err != nil && !errors.Is(err, lock.ErrNotHeld) && !errors.Is(err, backend.ErrUnavailable) {
			return err
		}
	case 2:
		pause(ctx, time.Duration(r.Int64N(int64(2*historyTTL))))
	default:
		pause(ctx, time.Duration(r.Int64N(int64(5*time.Millisecond))))
	}
	var l leaving
	if l.Write, err = h.access(held, name, id); err != nil { // without a look whether the lock is still held
		return err
	}
	l.End = now()
	if !held.Valid() {
		l.End = min(l.End, held.Deadline().UnixNano())
	}
	h.w.tell(entry{ID: id, Leaving: &l})

	err = held.Unlock(ctx)
	if err != nil && !errors.Is(err, lock.ErrNotHeld) && !errors.Is(err, backend.ErrUnavailable) {
		return err
	}
	h.w.tell(entry{ID: id, Unlocked: &unlocked{Return: now(), Known: !errors.Is(err, backend.ErrUnavailable)}})
	return nil
}

// access reads from the store or, with a value, writes to it.
func (h *historian) access(held *lock.Held, name, value string) (c call, err error) {
	const script = `
if tonumber(redis.call('HGET', KEYS[1], 'fence') or 0) > tonumber(ARGV[1]) then return false end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'value', ARGV[2]) end
return redis.call('HGET', KEYS[1], 'value') or ''`
	c.Call = now()
	reply, err := h.store.do("EVAL", script, "1", name, strconv.FormatInt(held.Fence(), 10), value)
	c.Return = now()
	if err != nil {
		return c, err
	}
	if c.Accepted = !reply.IsNil(); c.Accepted {
		c.Value, err = reply.ToString()
	} else if held.Valid() {
		h.w.tell(entry{Problem: fmt.Sprintf("%s: refused while %d was valid", name, held.Fence())})
	}
	return c, err
}
