package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	lockWaiters   = 100
	lockProcesses = 4
	lockVictims   = 4 // waiters of the process to which something happens

	// deadClaim is for how long what is handed to the dead is kept. The living take it up in time on a busy machine, too.
	deadClaim = 3 * time.Second
	// busy is how long a machine that has much to do may take for what is done at once.
	busy = 15 * time.Second
)

type lockQueueArgs struct {
	URL       string
	Namespace backend.Namespace
	ClaimTTL  time.Duration
	Hold      time.Duration // at most
}

// lockTurn is what a waiter for a lock had.
type lockTurn struct {
	ID    string
	Fence int64 // 0: nothing
	Tries int64 // of its whole process, so far
	Err   string
}

// lockQueueWorker has one waiter for each line "wait id priority", which tells what it had when it has given that back,
// until "cancel id".
func lockQueueWorker(w *worker) error {
	var args lockQueueArgs
	if err := w.read(&args); err != nil {
		return err
	}
	inner, err := connect(args.URL)
	if err != nil {
		return err
	}
	be := &counting{Backend: inner}
	w.tell(lockTurn{})
	cancels := make(map[string]context.CancelFunc)
	var waiters sync.WaitGroup
	for line := range w.in {
		var verb, id string
		var priority int
		_, _ = fmt.Sscan(line, &verb, &id, &priority) // cancel has no priority
		if verb == "cancel" {
			cancels[id]()
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancels[id] = cancel
		m := lock.NewMutex(be, args.Namespace, "n", lock.Config{
			TTL: time.Minute, ClaimTTL: args.ClaimTTL, Info: id, Priority: priority,
		})
		waiters.Go(func() {
			had := lockTurn{ID: id}
			held, err := m.Lock(ctx)
			if err == nil {
				had.Fence = held.Fence()
				pause(context.Background(), time.Duration(rand.Int64N(int64(args.Hold)+1)))
				err = held.Unlock(context.Background())
			}
			if err != nil {
				had.Err = err.Error()
			}
			had.Tries = be.tries.Load()
			w.tell(had)
		})
	}
	return nil
}

// lockLine is a line of waiters of several processes for one lock, which the test holds.
type lockLine struct {
	t         *testing.T
	ns        backend.Namespace
	be        *rueidis.Backend
	claim     time.Duration
	held      *lock.Held
	processes []*process
	of        map[string]*process
	line      []string // ids, from the front
}

func newLockLine(t *testing.T, processes int, claim, hold time.Duration) *lockLine {
	t.Helper()
	url, ns := redistest.URL(t), newNamespace(t)
	l := &lockLine{t: t, ns: ns, be: open(t, url), claim: claim, of: make(map[string]*process)}
	l.held = holding(t, lock.NewMutex(l.be, ns, "n", lock.Config{TTL: time.Minute}))
	for range processes {
		l.processes = append(l.processes, start(t, "lockqueue", lockQueueArgs{url, ns, claim, hold}))
	}
	for _, p := range l.processes {
		var ready lockTurn
		p.hear(&ready)
	}
	return l
}

// join has waiters of all processes enter the line as they come, so many of the last one, and reads the order in which
// they have arrived.
func (l *lockLine) join(n, ofLast, priorities int) {
	l.t.Helper()
	for i := range n {
		p := l.processes[rand.IntN(lockProcesses)]
		if i%(n/max(ofLast, 1)) == n/(2*max(ofLast, 1)) && ofLast > 0 {
			p = l.processes[len(l.processes)-1]
		}
		id := fmt.Sprintf("w%03d", i)
		l.of[id] = p
		p.say(fmt.Sprintf("wait %s %d", id, rand.IntN(priorities)))
	}
	expectInLine(l.t, l.be, l.ns, "n", n)
	seen, err := l.be.Queue(context.Background(), backend.QueueRequest{Namespace: l.ns, Name: "n", Limit: n})
	require.NoError(l.t, err)
	require.Len(l.t, seen.Waiters, n)
	arrived := slices.IsSortedFunc(seen.Waiters, func(a, b backend.Waiter) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.Since.Compare(b.Since))
	})
	assert.True(l.t, arrived, "the order of the line: %v", seen.Waiters)
	for _, w := range seen.Waiters {
		h, ok := lock.ParseHolder(w.Token)
		require.True(l.t, ok, w.Token)
		l.line = append(l.line, h.Info)
	}
}

// turns hears all waiters of some processes.
func (l *lockLine) turns(processes ...*process) (turns map[string]lockTurn, tries int64) {
	l.t.Helper()
	turns = make(map[string]lockTurn)
	for _, p := range processes {
		most := int64(0)
		for _, id := range l.line {
			if l.of[id] != p {
				continue
			}
			var had lockTurn
			p.hear(&had)
			turns[had.ID], most = had, max(most, had.Tries)
		}
		tries += most
	}
	return turns, tries
}

// expectOrder compares the order in which the server has granted, by its fencing numbers, with the line, and tells how
// long the others have waited for those of the line who are not among turns, each for no more than its claim.
func (l *lockLine) expectOrder(turns map[string]lockTurn) (granted int, delays []time.Duration) {
	l.t.Helper()
	last, skipped := l.held.Fence(), 0
	first := true
	var gaps []time.Duration
	for _, id := range l.line {
		had := turns[id]
		if had.Fence == 0 {
			skipped++
			continue
		}
		assert.Empty(l.t, had.Err)
		assert.Greater(l.t, had.Fence, last, "%s got it before somebody who came first", id)
		if !first {
			gap := grantedAt(had.Fence).Sub(grantedAt(last))
			assert.LessOrEqual(l.t, gap, time.Duration(skipped)*l.claim+busy, "%s, behind %d who did not take it", id, skipped)
			if skipped == 0 {
				gaps = append(gaps, gap)
			} else {
				delays = append(delays, gap/time.Duration(skipped))
			}
		}
		last, skipped, first = had.Fence, 0, false
		granted++
	}
	assert.LessOrEqual(l.t, quantile(gaps, 0.5), time.Second, "from one to the next")
	return granted, delays
}

func (l *lockLine) unlock() {
	l.t.Helper()
	require.NoError(l.t, l.held.Unlock(context.Background()))
}

func (l *lockLine) expectFree(but ...string) {
	l.t.Helper()
	expectFree(l.t, raw(l.t, redistest.URL(l.t)), l.ns, patience, but...)
}

// expectOneTry finds that nobody tries again and again. Now and then somebody does on a busy machine, who could not take
// up in time what was handed over.
func expectOneTry(t *testing.T, tries int64, waits int) float64 {
	t.Helper()
	each := float64(tries) / float64(waits)
	assert.GreaterOrEqual(t, each, 1.0)
	assert.LessOrEqual(t, each, 1.25)
	return each
}

// TestLockTurnsAcrossProcesses has 100 waiters in four processes: each gets the lock when it is its turn, and nobody
// tries twice.
func TestLockTurnsAcrossProcesses(t *testing.T) {
	t.Parallel()
	for _, priorities := range []int{1, 3} {
		l := newLockLine(t, lockProcesses, backend.DefaultClaimTTL, 0)
		l.join(lockWaiters, 0, priorities)
		began := time.Now()
		l.unlock()
		turns, tries := l.turns(l.processes...)
		granted, _ := l.expectOrder(turns)
		assert.Equal(t, lockWaiters, granted)
		l.expectFree()
		t.Logf("%d waiters in %d processes served in order in %v, %.2f tries each", granted, lockProcesses,
			time.Since(began).Round(time.Millisecond), expectOneTry(t, tries, granted))
	}
}

// TestLockTurnsWhenAProcessDiesInLine kills a process whose waiters stand among the others.
func TestLockTurnsWhenAProcessDiesInLine(t *testing.T) {
	t.Parallel()
	l := newLockLine(t, lockProcesses+1, deadClaim, 0)
	l.join(lockWaiters, lockVictims, 1)
	dead := l.processes[lockProcesses]
	dead.kill()
	l.unlock()
	turns, tries := l.turns(l.processes[:lockProcesses]...)
	granted, delays := l.expectOrder(turns)
	assert.Equal(t, lockWaiters-lockVictims, granted)
	// Those at the end of the line, and what was handed to the dead, are noted until somebody comes across it, or for a
	// minute. They hinder nobody.
	eventually(t, patience, "the dead to be passed over", func() bool {
		held, err := lock.NewMutex(l.be, l.ns, "n", lock.Config{}).TryLock(t.Context())
		if errors.Is(err, lock.ErrLocked) {
			return false
		}
		require.NoError(t, err)
		return assert.NoError(t, held.Unlock(t.Context()))
	})
	l.expectFree(l.ns.LockRequests())
	assert.NotEqual(t, int64(-1), raw(t, redistest.URL(t)).int(t, "PTTL", l.ns.LockRequests()))
	t.Logf("%d of %d waiters served in order, %.2f tries each; the dead have delayed others for %v", granted, lockWaiters,
		expectOneTry(t, tries, granted), delays)
}

// TestLockTurnsWhenAProcessIsStoppedInLine stops a process whose waiters stand among the others. They are passed over,
// and get their turn when they go on.
func TestLockTurnsWhenAProcessIsStoppedInLine(t *testing.T) {
	t.Parallel()
	l := newLockLine(t, lockProcesses+1, deadClaim, 0)
	l.join(lockWaiters, lockVictims, 1)
	stopped := l.processes[lockProcesses]
	require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGSTOP))
	l.unlock()
	turns, tries := l.turns(l.processes[:lockProcesses]...)
	granted, delays := l.expectOrder(turns)
	assert.Equal(t, lockWaiters-lockVictims, granted)
	each := expectOneTry(t, tries, granted)
	require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGCONT))
	turns, _ = l.turns(stopped)
	assert.Len(t, turns, lockVictims)
	for id, had := range turns {
		assert.NotZero(t, had.Fence, id)
		assert.Empty(t, had.Err, id)
	}
	l.expectFree()
	t.Logf("%d of %d waiters served in order, %.2f tries each; the stopped have delayed others for %v", granted, lockWaiters,
		each, delays)
}

// TestLockTurnsWhenWaitersAreCancelled cancels waits in line, and when it may be their turn.
func TestLockTurnsWhenWaitersAreCancelled(t *testing.T) {
	t.Parallel()
	l := newLockLine(t, lockProcesses, backend.DefaultClaimTTL, 5*time.Millisecond)
	l.join(lockWaiters, 0, 1)
	cancelled := rand.Perm(lockWaiters)[:lockWaiters/4]
	cancel := func(at int) { l.of[l.line[at]].say("cancel " + l.line[at]) }
	some := len(cancelled) / 2
	for _, at := range cancelled[:some] {
		cancel(at)
	}
	slices.Sort(cancelled[some:])
	l.unlock()
	for _, at := range cancelled[some:] { // about as fast as the line moves
		pause(context.Background(), time.Duration(rand.IntN(8))*time.Millisecond)
		cancel(at)
	}
	turns, tries := l.turns(l.processes...)
	assert.Len(t, turns, lockWaiters)
	granted, delays := l.expectOrder(turns)
	assert.GreaterOrEqual(t, granted, lockWaiters-len(cancelled))
	for _, had := range turns {
		if had.Fence == 0 {
			assert.Contains(t, had.Err, context.Canceled.Error())
		}
	}
	l.expectFree()
	t.Logf("%d waiters served in order, %d cancelled, %.2f tries each; delays %v", granted, lockWaiters-granted,
		expectOneTry(t, tries, lockWaiters), delays)
}
