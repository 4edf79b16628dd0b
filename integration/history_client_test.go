package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	historySpan = 500 * time.Millisecond // after that other things are used
	historyTTL  = 200 * time.Millisecond
)

type historyArgs struct {
	URL, StoreURL string
	Namespace     backend.Namespace
	Seed          uint64
}

// moment is a point in time by the clock of this machine.
type moment = int64

func now() moment { return time.Now().UnixNano() }

// entry is one step of an acquisition. A process tells it before it takes the next one, so that what it has done until it
// was killed is known, but for the last.
type entry struct {
	ID   string // of the acquisition
	Part int    // of its leases

	Got     *got    `json:",omitempty"`
	Access  *access `json:",omitempty"` // to the store
	Sharing moment  `json:",omitempty"` // it is about to be no longer alone; until then it was
	Leaving moment  `json:",omitempty"` // it is about to give back what it has; until then it had it

	Turning *turning `json:",omitempty"` // it is about to ask a pool whose members go round
	Turned  *turned  `json:",omitempty"` // it was answered

	Problem string `json:",omitempty"` // something that must not be
	Excused bool   `json:",omitempty"` // unless the server has lost what it knew
}

// got is what was acquired in one step, as one lease or several.
type got struct {
	Kind, Resource string
	Call, Return   moment
	Leases         []part
}

// part is one lease: so many units of each of some slots.
type part struct {
	Slots    []int
	Units    int
	Shared   bool // others may have the same
	Fence    int64
	Deadline moment // at first
}

// access is one access to the store with a lease: it reads or writes the register of each of its slots.
type access struct {
	Write, Shared bool
	Call, Return  moment
	Values        []*string // of the registers: then, or nil where it was refused
}

type turning struct {
	Resource string
	Call     moment
	Members  int // that it wants
}

type turned struct {
	Return  moment
	Members []int
}

// historian is a process that acquires things, and tells all it does.
type historian struct {
	*worker
	be    *rueidis.Backend
	ns    backend.Namespace
	store *redisCLI
}

// client is one goroutine of it, which acquires things of one kind.
type client struct {
	*historian
	kind
	rand *rand.Rand
	id   string // of the acquisition
	keys *Keys  // the pool that it uses, if it uses one
}

func historyWorker(w *worker) error {
	var args historyArgs
	if err := w.read(&args); err != nil {
		return err
	}
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
	for i, k := range kinds() {
		for j := range k.clients {
			number := i<<8 + j
			r := rand.New(rand.NewPCG(args.Seed, uint64(number))) //nolint:gosec // to be repeated
			clients.Go(func() { (&client{historian: h, kind: k, rand: r}).run(number, j/k.together) })
		}
	}
	clients.Wait()
	return nil
}

// run acquires one thing after the other, for ever.
func (c *client) run(number, group int) {
	for n := 0; ; n++ {
		c.id = fmt.Sprintf("%d/%d/%d", os.Getpid(), number, n)
		if err := c.acquire(c.resource(group)); err != nil {
			c.tell(entry{ID: c.id, Problem: err.Error()})
		}
		pause(context.Background(), c.upTo(20*time.Millisecond+100*c.lag()))
	}
}

// lag is how long the machine needs for next to nothing. Clients leave each other the more time the longer that is: on a
// machine that does nothing but wait for itself, all leases run out before they are used.
func (c *client) lag() time.Duration {
	begin := time.Now()
	_, _ = c.store.do("PING") // whoever uses the store sees if it does not answer
	return time.Since(begin)
}

func (c *client) upTo(d time.Duration) time.Duration { return time.Duration(c.rand.Int64N(int64(d))) }

// acquire gets what there is to get, and uses it until it is given back or has run out. An error is what must not be.
func (c *client) acquire(resource string) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.upTo(2*historySpan))
	defer cancel()
	g := got{Kind: c.name, Resource: resource, Call: now()}
	tenures, err := c.take(ctx, c, resource)
	g.Return = now()
	switch {
	case isLoss(err), errors.Is(err, lock.ErrLocked), isRefusal(err), err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case len(tenures) == 0:
		return nil
	}
	for i := range tenures {
		t := &tenures[i]
		t.seed = c.rand.Uint64()
		t.Fence, t.Deadline = t.lease.Fence(), t.lease.Deadline().UnixNano()
		g.Leases = append(g.Leases, t.part)
	}
	c.tell(entry{ID: c.id, Got: &g})

	problems := make([]error, len(tenures))
	var users sync.WaitGroup
	for i := range tenures {
		users.Go(func() { problems[i] = c.use(resource, i, &tenures[i]) })
	}
	users.Wait()
	return errors.Join(problems...)
}

// isLoss reports whether an error says that a connection broke or a lease ran out.
func isLoss(err error) bool {
	return errors.Is(err, backend.ErrUnavailable) || errors.Is(err, lock.ErrNotHeld) || errors.Is(err, lock.ErrExpired)
}

// tenure is a lease, and what can be done with it.
type tenure struct {
	part
	lease interface {
		Context() context.Context
		Deadline() time.Time
		Fence() int64
		Valid() bool
	}
	renewed   bool
	renew     func(context.Context) error
	downgrade func(context.Context) error // nil if there is no such thing
	giveBack  func(context.Context) error
	seed      uint64
}

// use uses the registers of a lease, if it has some, and gives it back. That it still is valid is not looked at before.
func (c *client) use(resource string, part int, t *tenure) error {
	r := rand.New(rand.NewPCG(t.seed, 0)) //nolint:gosec // to be repeated
	ctx := context.Background()
	tell := func(e entry) { e.ID, e.Part = c.id, part; c.tell(e) }
	access := func(write, shared bool) error {
		if !c.registers {
			return nil
		}
		a, err := c.access(resource, part, t, write, shared)
		if err == nil {
			tell(entry{Access: a})
		}
		return err
	}
	if err := access(false, t.Shared); err != nil {
		return err
	}
	if err := t.linger(ctx, r); err != nil {
		return err
	}
	if err := access(!t.Shared, t.Shared); err != nil {
		return err
	}
	if t.downgrade != nil && r.IntN(2) == 0 {
		tell(entry{Sharing: t.validUntil()})
		if err := t.downgrade(ctx); err != nil && !isLoss(err) {
			return err
		}
		if err := t.linger(ctx, r); err != nil {
			return err
		}
		if err := access(false, true); err != nil {
			return err
		}
	}
	tell(entry{Leaving: t.validUntil()})
	if err := t.giveBack(ctx); err != nil && !isLoss(err) {
		return err
	}
	return nil
}

// linger lets time pass: mostly a moment, sometimes more than there is.
func (t *tenure) linger(ctx context.Context, r *rand.Rand) error {
	upTo := func(d time.Duration) { pause(ctx, time.Duration(r.Int64N(int64(d)))) }
	switch r.IntN(8) {
	case 0: // it runs out, or is lost
		if !t.renewed {
			<-t.lease.Context().Done()
		}
	case 1:
		if err := t.renew(ctx); err != nil && !isLoss(err) {
			return err
		}
	case 2:
		upTo(2 * historyTTL)
	default:
		upTo(5 * time.Millisecond)
	}
	return nil
}

// validUntil tells until when the lease was valid: until now, or until its deadline.
func (t *tenure) validUntil() moment {
	end := now()
	if !t.lease.Valid() {
		end = min(end, t.lease.Deadline().UnixNano())
	}
	return end
}
