package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

const (
	fairMembers   = 4
	fairWaiters   = 64
	fairProcesses = 4
)

// counting counts how often the line is entered.
type counting struct {
	*rueidis.Backend
	tries atomic.Int64
}

func (c *counting) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	c.tries.Add(1)
	return c.Backend.Enter(ctx, req)
}

type queueArgs struct {
	URL       string
	Namespace backend.Namespace
	ClaimTTL  time.Duration
}

// turn is what a waiter had.
type turn struct {
	Token string
	Fence int64
	Tries int64 // of its whole process, so far
	Err   string
}

// queueWorker has one waiter for each line that it reads, "token priority", which gives back at once what it gets. With
// "churn token" they come again and again, until "stop".
func queueWorker(w *worker) error {
	var args queueArgs
	if err := w.read(&args); err != nil {
		return err
	}
	inner, err := connect(args.URL)
	if err != nil {
		return err
	}
	be := &counting{Backend: inner}
	keys, err := pool.New(be, pool.Config[pool.None]{Namespace: args.Namespace, TTL: time.Minute, ClaimTTL: args.ClaimTTL})
	if err != nil {
		return err
	}
	w.tell(turn{})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var waiters sync.WaitGroup
	for line := range w.in {
		var token string
		var priority int
		if line == "stop" {
			stop()
			waiters.Wait()
			w.tell(turn{Tries: be.tries.Load()})
			continue
		}
		if _, err := fmt.Sscan(line, &token, &priority); err != nil {
			return err
		}
		waiters.Go(func() {
			if token == "churn" {
				for ctx.Err() == nil {
					w.tell(takeTurn(ctx, keys, time.Duration(rand.IntN(2000))*time.Microsecond))
				}
				return
			}
			got := takeTurn(ctx, keys, 0, pool.Token(token), pool.Priority(priority))
			got.Tries = be.tries.Load()
			w.tell(got)
		})
	}
	return nil
}

// takeTurn waits for a member, has it for a while and gives it back.
func takeTurn(ctx context.Context, keys *Keys, hold time.Duration, options ...pool.Option) turn {
	l, err := keys.AcquireKey(ctx, options...)
	if err != nil {
		return turn{Err: err.Error()}
	}
	pause(context.Background(), hold)
	had := turn{Token: l.Token(), Fence: l.Fence()}
	if err := l.Release(context.Background()); err != nil {
		had.Err = err.Error()
	}
	return had
}

// queueing are processes whose waiters stand in one line.
type queueing struct {
	t         *testing.T
	ns        backend.Namespace
	keys      *Keys
	be        *rueidis.Backend
	processes []*process
	expected  []queued
}

type queued struct {
	token             string
	priority, arrival int
	process           *process
}

func newQueueing(t *testing.T, claim time.Duration) *queueing {
	t.Helper()
	url, ns := redistest.URL(t), newNamespace(t)
	q := &queueing{t: t, ns: ns, be: open(t, url)}
	q.keys = newPool(t, q.be, pool.Config[pool.None]{Namespace: ns, TTL: time.Minute, ClaimTTL: claim})
	require.NoError(t, q.keys.Extend(context.Background(), members(fairMembers)))
	for range fairProcesses {
		q.processes = append(q.processes, start(t, "queue", queueArgs{url, ns, claim}))
	}
	for _, p := range q.processes {
		var ready turn
		p.hear(&ready)
	}
	return q
}

// join puts waiters of all processes in line, one after the other, in three classes of priority.
func (q *queueing) join(n int) {
	q.t.Helper()
	for i := range n {
		w := queued{fmt.Sprintf("waiter-%02d", i), rand.IntN(3), i, q.processes[rand.IntN(len(q.processes))]}
		q.expected = append(q.expected, w)
		w.process.say(fmt.Sprintf("%s %d", w.token, w.priority))
		eventually(q.t, patience, "a place in line", func() bool {
			at, err := q.keys.Position(context.Background(), w.token)
			require.NoError(q.t, err)
			return at > 0
		})
	}
	slices.SortStableFunc(q.expected, func(a, b queued) int { return cmp.Compare(b.priority, a.priority) })
	for i, w := range q.expected {
		at, err := q.keys.Position(context.Background(), w.token)
		require.NoError(q.t, err)
		assert.Equal(q.t, i+1, at, "place of %+v", w)
	}
}

// order hears what all who live have had and compares it with the line: the server has granted in this order, by its
// own fencing numbers.
func (q *queueing) order() (tries int64) {
	q.t.Helper()
	lines := make(map[*process]int)
	for _, w := range q.expected {
		lines[w.process]++
	}
	var turns []turn
	for p, n := range lines {
		most := int64(0)
		for range n {
			var had turn
			p.hear(&had)
			assert.Empty(q.t, had.Err)
			turns = append(turns, had)
			most = max(most, had.Tries)
		}
		tries += most
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.Fence, b.Fence) })
	expected := make([]string, len(q.expected))
	for i, w := range q.expected {
		expected[i] = w.token
	}
	got := make([]string, len(turns))
	for i, had := range turns {
		got[i] = had.Token
	}
	assert.Equal(q.t, expected, got)
	return tries
}

// TestTurnsAcrossProcesses has 64 waiters in four processes wait for four members: each goes to who has waited longest
// among those of the highest priority, and nobody tries twice.
func TestTurnsAcrossProcesses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	q := newQueueing(t, backend.DefaultClaimTTL)
	held, err := q.keys.MallocN(ctx, fairMembers)
	require.NoError(t, err)
	q.join(fairWaiters)
	for _, l := range held {
		require.NoError(t, l.Release(ctx))
	}
	began := time.Now()
	tries := q.order()
	perAcquisition := expectOneTry(t, tries, fairWaiters)
	expectIdle(t, q.be, q.ns, patience)
	t.Logf("%d waiters in %d processes served in order in %v, %.2f tries each", fairWaiters, fairProcesses,
		time.Since(began).Round(time.Millisecond), perAcquisition)
}

// TestTurnsWhenAProcessDiesInLine kills a process with waiters in line: the others keep their order.
func TestTurnsWhenAProcessDiesInLine(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	q := newQueueing(t, deadClaim)
	held, err := q.keys.MallocN(ctx, fairMembers)
	require.NoError(t, err)
	q.join(fairWaiters)
	dead := q.processes[0]
	dead.kill()
	before := len(q.expected)
	q.expected = slices.DeleteFunc(q.expected, func(w queued) bool { return w.process == dead })
	for _, l := range held {
		require.NoError(t, l.Release(ctx))
	}
	began := time.Now()
	tries := q.order()
	perAcquisition := expectOneTry(t, tries, len(q.expected))
	took := time.Since(began)
	eventually(t, patience, "what the dead were handed comes back", func() bool {
		all, err := q.keys.MallocN(ctx, fairMembers)
		for _, l := range all {
			assert.NoError(t, l.Release(ctx))
		}
		return err == nil
	})
	expectIdle(t, q.be, q.ns, patience)
	t.Logf("%d of %d waiters served in order in %v, %.2f tries each", len(q.expected), before,
		took.Round(time.Millisecond), perAcquisition)
}

// TestTurnsUnderLoad has 64 waiters come again and again: nobody tries twice, and nobody is left out.
func TestTurnsUnderLoad(t *testing.T) {
	t.Parallel()
	busily(t)
	q := newQueueing(t, backend.DefaultClaimTTL)
	for i := range fairWaiters {
		q.processes[i%fairProcesses].say("churn 0")
	}
	pause(context.Background(), scaled(t, 2*time.Second))
	acquisitions, cancelled, tries := 0, 0, int64(0)
	for _, p := range q.processes {
		p.say("stop")
	}
	var each []int
	for _, p := range q.processes {
		n := 0
		for over := false; !over; {
			var had turn
			p.hear(&had)
			switch {
			case had.Fence != 0:
				n++
				assert.Empty(t, had.Err)
			case had.Tries != 0:
				tries += had.Tries
				over = true
			default:
				cancelled++
			}
		}
		acquisitions += n
		each = append(each, n)
	}
	perAcquisition := expectOneTry(t, tries, acquisitions+cancelled)
	slices.Sort(each)
	// Whoever could keep the members to himself would have many times as many turns as the others. A process that a busy
	// machine has stopped for a while has some less.
	assert.Less(t, each[len(each)-1], 5*each[0], "turns of the processes")
	expectIdle(t, q.be, q.ns, patience)
	t.Logf("%d acquisitions, %.3f tries each, %v by the four processes", acquisitions, perAcquisition, each)
}

// TestWhoWantsSeveralIsNotOvertaken has one wait for all members while others take one at a time.
func TestWhoWantsSeveralIsNotOvertaken(t *testing.T) {
	t.Parallel()
	url, ns := redistest.URL(t), newNamespace(t)
	be, other := open(t, url), open(t, url)
	cfg := pool.Config[pool.None]{Namespace: ns, TTL: time.Minute}
	keys, others := newPool(t, be, cfg), newPool(t, other, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	require.NoError(t, keys.Extend(ctx, members(fairMembers)))
	var crowd sync.WaitGroup
	over := make(chan struct{})
	var turns atomic.Int64
	for range 4 * fairMembers {
		crowd.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				l, err := others.AcquireKey(ctx)
				if !assert.NoError(t, err) {
					return
				}
				turns.Add(1)
				pause(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
				assert.NoError(t, l.Release(ctx))
			}
		})
	}
	var waited []time.Duration
	for range 10 {
		began := time.Now()
		leases, err := keys.AcquireN(ctx, fairMembers)
		if !assert.NoError(t, err) {
			break
		}
		waited = append(waited, time.Since(began))
		assert.Len(t, leases, fairMembers)
		var errs []error
		for _, l := range leases {
			errs = append(errs, l.Release(ctx))
		}
		assert.NoError(t, errors.Join(errs...))
	}
	close(over)
	crowd.Wait()
	expectIdle(t, other, ns, patience)
	t.Logf("all %d members 10 times among %d turns of others, after %v (median) and %v at most", fairMembers, turns.Load(),
		quantile(waited, 0.5), quantile(waited, 1))
}
