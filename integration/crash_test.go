package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

const (
	crashProcesses = 8
	crashMembers   = 40
)

type crashArgs struct {
	URL       string
	Namespace backend.Namespace
}

// crashReport is what a process has done since its last report.
type crashReport struct {
	Allocations, Refusals, Touches int
	Problem                        string
}

// TestProcessesThatAreKilled has eight processes use one pool while they are killed at random, and looks at the pool
// from outside all the time.
func TestProcessesThatAreKilled(t *testing.T) {
	t.Parallel()
	done := busily(t)
	ns, url := newNamespace(t), redistest.URL(t)
	keys := newPool(t, open(t, url), pool.Config[pool.None]{Namespace: ns})
	watcher, cli := open(t, url), raw(t, url)
	ctx := context.Background()
	require.NoError(t, keys.Extend(ctx, members(crashMembers)))

	var total crashReport
	listen := func(p *process) {
		for report := (crashReport{}); p.heard(&report); report = (crashReport{}) {
			total.Allocations += report.Allocations
			total.Refusals += report.Refusals
			total.Touches += report.Touches
			if report.Problem != "" {
				assert.Fail(t, "a process complains", report.Problem)
			}
		}
	}
	processes := make([]*process, crashProcesses)
	for i := range processes {
		processes[i] = start(t, "crash", crashArgs{url, ns})
	}

	duration := scaled(t, 7*time.Second)
	over := time.NewTimer(duration)
	defer over.Stop()
	watch := time.NewTicker(100 * time.Millisecond)
	defer watch.Stop()
	kill := time.NewTimer(duration / 50)
	defer kill.Stop()
	kills, looks, most := 0, 0, 0
	begin := time.Now()
	for running := true; running && !t.Failed(); {
		select {
		case <-watch.C:
			seen, err := keys.Snapshot(ctx)
			require.NoError(t, err)
			looks++
			most = max(most, seen.Waiting)
			assert.Empty(t, seen.Violations)
			assert.Len(t, seen.Members, crashMembers)
			for _, p := range processes {
				listen(p)
			}
		case <-kill.C:
			i := rand.IntN(len(processes))
			processes[i].kill()
			listen(processes[i])
			processes[i] = start(t, "crash", crashArgs{url, ns})
			kills++
			kill.Reset(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		case <-over.C:
			if total.Allocations > 0 || time.Since(begin) > duration+patience {
				running = false
			}
			over.Reset(time.Second) // a slow machine has not come far
		}
	}
	for _, p := range processes {
		p.kill()
		listen(p)
	}

	done()
	// Those who died in line count as alive for some seconds.
	waited := eventually(t, patience, "the last lease runs out", func() bool {
		now := strconv.FormatInt(time.Now().UnixMilli(), 10)
		if cli.int(t, "ZCOUNT", ns.LineProcesses(), now, "+inf") > 0 {
			return false
		}
		seen := look(t, watcher, ns)
		for i := range seen.Members {
			if seen.Members[i].Locked {
				return false
			}
		}
		return true
	})
	assert.Empty(t, backend.CheckPool(look(t, watcher, ns), true))
	leases, err := keys.MallocN(ctx, crashMembers)
	require.NoError(t, err, "all members are free again, without a collection")
	for _, l := range leases {
		assert.NoError(t, l.Release(ctx))
	}
	expectIdle(t, watcher, ns, patience)
	assert.Positive(t, total.Allocations)
	t.Logf("%v: %d kills, %d looks, %d allocations, %d refusals, %d guarded writes, %d in line at most; all back after %v",
		duration, kills, looks, total.Allocations, total.Refusals, total.Touches, most, waited.Round(time.Millisecond))
}

// crasher is a process that uses the pool until it is killed.
type crasher struct {
	w     *worker
	ns    backend.Namespace
	keys  *Keys
	guard *redisCLI

	allocations, refusals, touches atomic.Int64
}

func crashWorker(w *worker) error {
	var args crashArgs
	if err := w.read(&args); err != nil {
		return err
	}
	ctx := context.Background()
	be, err := connect(args.URL)
	if err != nil {
		return err
	}
	keys, err := pool.New(be, pool.Config[pool.None]{
		Namespace: args.Namespace, TTL: 600 * time.Millisecond, ClaimTTL: 600 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	guard, err := dialRaw(args.URL)
	if err != nil {
		return err
	}
	c := &crasher{w: w, ns: args.Namespace, keys: keys, guard: guard}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				if err := c.step(ctx); err != nil {
					w.tell(crashReport{Problem: err.Error()})
				}
			}
		})
	}
	wg.Go(func() {
		for range time.Tick(50 * time.Millisecond) {
			w.tell(crashReport{
				Allocations: int(c.allocations.Swap(0)), Refusals: int(c.refusals.Swap(0)), Touches: int(c.touches.Swap(0)),
			})
		}
	})
	wg.Wait()
	return nil
}

// step does one thing to the pool. An error is what must not be.
func (c *crasher) step(ctx context.Context) error {
	some := func() time.Duration { return time.Duration(1+rand.IntN(30)) * time.Millisecond }
	options := []pool.Option{pool.Priority(rand.IntN(3)), pool.MaxWait(10 * some())}
	fate := rand.IntN(10)
	if rand.IntN(4) == 0 {
		options = append(options, pool.TTL(100*time.Millisecond+10*some()))
	}
	if fate == 0 || rand.IntN(4) == 0 {
		options = append(options, pool.NoRenewal())
	}
	if rand.IntN(8) == 0 { // gives up at any moment
		impatient, cancel := context.WithTimeout(ctx, some()/4)
		defer cancel()
		ctx = impatient
	}

	var leases []*Lease
	var err error
	switch rand.IntN(6) {
	case 0, 1:
		leases = make([]*Lease, 1)
		leases[0], err = c.keys.MallocKey(ctx, options...)
	case 2, 3:
		leases = make([]*Lease, 1)
		leases[0], err = c.keys.AcquireKey(ctx, options...)
	case 4:
		leases, err = c.keys.MallocN(ctx, 1+rand.IntN(6), options...)
	case 5:
		leases, err = c.keys.AcquireN(ctx, 1+rand.IntN(6), options...)
	}
	switch {
	case isRefusal(err), isLate(err), err != nil && ctx.Err() != nil:
		c.refusals.Add(1)
		return nil
	case err != nil:
		return fmt.Errorf("allocation: %w", err)
	}
	c.allocations.Add(int64(len(leases)))

	for _, l := range leases {
		if err := c.touch(l); err != nil {
			return err
		}
	}
	pause(context.Background(), some())
	for _, l := range leases {
		if err := errors.Join(c.touch(l), c.end(l, fate)); err != nil {
			return err
		}
	}
	return nil
}

// end ends a lease in some way.
func (c *crasher) end(l *Lease, fate int) error {
	ctx := context.Background()
	var err error
	switch fate {
	case 0: // forgotten
		return nil
	case 1:
		err = l.SetUnhealthy(ctx, time.Duration(50+rand.IntN(300))*time.Millisecond)
	case 2:
		err = l.Update(ctx, 300*time.Millisecond)
	case 3:
		err = l.Refresh(ctx)
	}
	if err != nil && !isLate(err) && !isRefusal(err) {
		return fmt.Errorf("change: %w", err)
	}
	if err := l.Release(ctx); err != nil && !isLate(err) {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// isLate reports whether an error says that a lease has ended, or may have, which happens to short ones when the machine
// is busy.
func isLate(err error) bool {
	return errors.Is(err, pool.ErrNotHeld) || errors.Is(err, pool.ErrExpired) || errors.Is(err, backend.ErrUnavailable)
}

// touch writes to what the member stands for, which refuses whoever comes later than a newer holder. A holder that is
// refused must know that its lease has ended.
func (c *crasher) touch(l *Lease) error {
	const script = `
if tonumber(redis.call('GET', KEYS[1]) or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1`
	member, fence := l.Key(), l.Fence()
	reply, err := c.guard.do("EVAL", script, "1", c.ns.Prefix+"-guard:"+member, strconv.FormatInt(fence, 10))
	if err != nil {
		return err
	}
	accepted, err := reply.AsInt64()
	if err != nil {
		return err
	}
	c.touches.Add(1)
	if accepted == 0 && l.Valid() && l.Fence() == fence {
		return fmt.Errorf("%s: two holders: %d is valid and there is a newer one", member, fence)
	}
	return nil
}
