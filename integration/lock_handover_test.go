package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	handovers       = 100_000
	handoverLimit   = 5 * time.Second // or INTEGRATION_SECONDS
	handoverClients = 4               // backends, which have nothing in common, as if each were a process
	handoverWaiters = 1000
	handoverNames   = 48
	handoverWait    = patience // nobody waits longer than that
)

// joining notes who has joined a line: in the context, because all that use a backend have to use the same.
type joining struct{ *rueidis.Backend }

// joinedKey is that of an *atomic.Bool.
type joinedKey struct{}

func (j joining) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	reply, err := j.Backend.Enter(ctx, req)
	if joined, ok := ctx.Value(joinedKey{}).(*atomic.Bool); ok && reply.Handover != nil {
		joined.Store(true)
	}
	return reply, err
}

// grabs counts what has become of waits.
type grabs struct{ waited, atOnce, cancelled, unavailable atomic.Int64 }

// TestNoWakeUpIsLost hands locks over a hundred thousand times, or as often as there is time, while many of those who
// wait, for one name or for two, to write, to read or for units, give up at random moments. Each wait ends, and at the
// end nothing is held and nobody waits.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	busily(t)
	url, ns := redistest.URL(t), newNamespace(t)
	clients := make([]joining, handoverClients)
	for i := range clients {
		clients[i] = joining{open(t, url, rueidis.CallTimeout(patience))} // so many may be slow
	}
	ctx, cancel := context.WithTimeout(context.Background(), scaled(t, handoverLimit))
	defer cancel()

	var n grabs
	var active sync.Map // when each wait began
	var users sync.WaitGroup
	began := time.Now()
	for i := range handoverWaiters {
		users.Go(func() {
			for ctx.Err() == nil && n.waited.Load() < handovers {
				active.Store(i, time.Now())
				err := n.grab(clients[i%handoverClients], ns)
				active.Delete(i)
				if !assert.NoError(t, err) {
					cancel()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		users.Wait()
	}()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-look.C:
			active.Range(func(_, since any) bool {
				if waited := time.Since(since.(time.Time)); waited > handoverWait {
					assert.Fail(t, "somebody waits for ever", "for %v", waited)
					running = false
				}
				return running
			})
		}
	}
	took := time.Since(began)
	idle := expectFree(t, raw(t, url), ns, patience, ns.LockLimits())
	assert.Positive(t, n.waited.Load())
	assert.Positive(t, n.cancelled.Load())
	assert.LessOrEqual(t, n.unavailable.Load(), n.waited.Load()/10)
	t.Logf("%d hand-overs in %v, %d more were granted at once, %d waits were given up, %d calls had no answer in time; nothing left after %v",
		n.waited.Load(), took.Round(time.Millisecond), n.atOnce.Load(), n.cancelled.Load(), n.unavailable.Load(),
		idle.Round(time.Millisecond))
}

// grab gets a lock of some kind, or gives up, and gives it back. An error is what must not be.
func (n *grabs) grab(be lock.Backend, ns backend.Namespace) error {
	var joined atomic.Bool
	ctx := context.WithValue(context.Background(), joinedKey{}, &joined)
	cfg := lock.Config{TTL: time.Minute, ClaimTTL: patience / 3}
	name, other := fmt.Sprintf("n%d", rand.IntN(handoverNames)), fmt.Sprintf("n%d", rand.IntN(handoverNames))
	switch rand.IntN(16) {
	case 0:
		cfg.MaxWait = time.Duration(1+rand.IntN(5)) * time.Millisecond
	case 1:
		impatient, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(5000))*time.Microsecond)
		defer cancel()
		ctx = impatient
	case 2:
		impatient, cancel := context.WithCancel(ctx)
		defer time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, cancel).Stop()
		defer cancel()
		ctx = impatient
	}
	var held *lock.Held
	var err error
	switch kind := rand.IntN(100); {
	case kind == 0 && name != other:
		held, err = lock.NewMulti(be, ns, []string{name, other}, cfg).Lock(ctx)
	case kind < 5:
		held, err = lock.NewRWMutex(be, ns, name, cfg).RLock(ctx)
	case kind < 10:
		held, err = lock.NewSemaphore(be, ns, "s", 2, cfg).Acquire(ctx, 1+rand.IntN(2))
	default:
		held, err = lock.NewMutex(be, ns, name, cfg).Lock(ctx)
	}
	switch {
	case err == nil:
	case errors.Is(err, backend.ErrUnavailable): // the machine has much to do
		n.unavailable.Add(1)
		return nil
	case errors.Is(err, lock.ErrLocked) && cfg.MaxWait > 0, ctx.Err() != nil && errors.Is(err, ctx.Err()):
		n.cancelled.Add(1)
		return nil
	default:
		return err
	}
	if joined.Load() {
		n.waited.Add(1)
	} else {
		n.atOnce.Add(1)
	}
	if err = held.Unlock(ctx); errors.Is(err, backend.ErrUnavailable) { // then it is done in the background
		n.unavailable.Add(1)
		return nil
	}
	return err
}
