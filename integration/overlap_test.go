package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
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
	overlapRuns     = 200
	overlapParallel = 50
	overlapTTL      = 2 * time.Second // with a margin of 40 ms
)

// address is the host and port of a URL of this test binary's server.
func address(url string) string { return url[strings.LastIndexAny(url, "/@")+1:] }

// overlapRun is one holder whose connection becomes a black hole, and the next one, who waits in line.
type overlapRun struct {
	ended   time.Time // the holder's context
	known   time.Time // its deadline, as it turned out: from then on Err and Valid have said that it is over
	granted time.Time // by the server, to the next holder
	early   bool      // given back before it ran out
}

// TestHolderBehindABlackHoleEndsFirst cuts holders off, without a word, right after their acquisition or a renewal. The
// context of each has ended before the server gives its member to another.
func TestHolderBehindABlackHoleEndsFirst(t *testing.T) {
	url := redistest.URL(t)
	next := open(t, url) // of all runs
	prefix := newNamespace(t).Prefix

	var mu sync.Mutex
	var runs []overlapRun
	var running sync.WaitGroup
	room := make(chan struct{}, overlapParallel)
	for i := range overlapRuns {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			ns := backend.Namespace{Prefix: prefix, Suffix: "run" + members(overlapRuns)[i]}
			run, err := blackHole(t, next, address(url), ns, i)
			if assert.NoError(t, err, "run %d", i) {
				mu.Lock()
				runs = append(runs, run)
				mu.Unlock()
			}
		})
	}
	running.Wait()

	var early, told []time.Duration
	overlaps, late := 0, 0
	for _, run := range runs {
		if !run.early { // otherwise the server may have heard it, and there is no margin to see
			early = append(early, run.granted.Sub(run.known))
			told = append(told, run.granted.Sub(run.ended))
			if run.known.After(run.granted) {
				overlaps++
			}
		}
		if run.ended.After(run.granted) {
			late++
		}
	}
	assert.Zero(t, overlaps, "holders whose lease was valid when the next one got theirs")
	// Err, as Valid, reads the clock. The channel is closed by a goroutine, for which a busy machine needs its time.
	if !raceDetector {
		assert.LessOrEqual(t, late, overlapRuns/10, "holders whose context was closed only after the next one got theirs")
	}
	t.Logf("%d runs, overlap %d: leases ended %v (at least) and %v (median) before the next grant, contexts closed %v and %v, %d of them late",
		len(runs), overlaps, quantile(early, 0), quantile(early, 0.5), quantile(told, 0), quantile(told, 0.5), late)
}

func blackHole(t *testing.T, next *rueidis.Backend, addr string, ns backend.Namespace, i int) (run overlapRun, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	proxy := redistest.NewProxy(t, addr)
	be, err := rueidis.Open(ctx, proxy.URL(), rueidis.CallTimeout(3*time.Second))
	if err != nil {
		return run, err
	}
	defer be.Close()
	cfg := pool.Config[pool.None]{Namespace: ns, TTL: overlapTTL}
	ours, err := pool.New(be, cfg)
	if err != nil {
		return run, err
	}
	defer ours.Close()
	theirs, err := pool.New(next, cfg)
	if err != nil {
		return run, err
	}
	defer theirs.Close()
	if err := theirs.Extend(ctx, []string{"m"}); err != nil {
		return run, err
	}

	first, err := ours.MallocKey(ctx)
	for isLate(err) && ctx.Err() == nil { // on a busy machine
		first, err = ours.MallocKey(ctx)
	}
	if err != nil {
		return run, err
	}
	ended := make(chan time.Time, 1)
	defer context.AfterFunc(first.Context(), func() { ended <- time.Now() })()
	switch granted := first.Deadline(); i % 4 {
	case 0: // right after the acquisition
	case 1: // right after a renewal
		for first.Valid() && first.Deadline().Sub(granted) < 50*time.Millisecond {
			pause(ctx, time.Millisecond)
		}
	case 2: // at any moment
		pause(ctx, time.Duration(rand.Int64N(int64(overlapTTL))))
	case 3: // while a renewal is under way
		pause(ctx, overlapTTL/3+time.Duration(rand.Int64N(int64(20*time.Millisecond)))-10*time.Millisecond)
	}
	proxy.Drop([]redistest.Direction{redistest.Both, redistest.Requests, redistest.Replies}[i/4%3])

	type granted struct {
		lease *Lease
		err   error
	}
	got := make(chan granted, 1)
	go func() {
		l, err := theirs.AcquireKey(ctx)
		got <- granted{l, err}
	}()

	early := i%5 == 0 // gives it back before it runs out, without being heard
	if early {
		pause(ctx, overlapTTL/5)
		if err := first.Release(ctx); !errors.Is(err, backend.ErrUnavailable) && !errors.Is(err, pool.ErrNotHeld) {
			assert.Fail(t, "release in the dark", "run %d: %v", i, err)
		}
		cause := context.Cause(first.Context())
		assert.True(t, errors.Is(cause, pool.ErrReleased) || errors.Is(cause, pool.ErrExpired), "run %d: %v", i, cause)
	}
	second := <-got
	if second.err != nil {
		return run, second.err
	}
	assert.False(t, first.Valid(), "run %d: the first holder when there is a second", i)
	assert.Error(t, first.Context().Err(), "run %d", i)
	if !early {
		cause := context.Cause(first.Context()) // lost: a busy machine has renewed too late, before the dark
		assert.True(t, errors.Is(cause, pool.ErrExpired) || errors.Is(cause, pool.ErrLost), "run %d: %v", i, cause)
		assert.ErrorIs(t, first.Release(ctx), pool.ErrNotHeld, "run %d", i) // in the dark, and it knows
	}
	assert.Less(t, first.Fence(), second.lease.Fence(), "run %d", i)
	select {
	case run.ended = <-ended:
	case <-ctx.Done():
		return run, ctx.Err()
	}
	run.known, run.granted, run.early = first.Deadline(), grantedAt(second.lease.Fence()), early

	// The light is back. What the first holder still has to say must not touch the second's.
	proxy.Resume()
	if err := ours.Extend(ctx, []string{"another"}); err != nil && !errors.Is(err, backend.ErrUnavailable) {
		return run, err
	}
	pause(ctx, overlapTTL/4)
	seen, err := next.Inspect(ctx, backend.InspectRequest{Namespace: ns, Only: []string{"m"}})
	if err != nil {
		return run, err
	}
	if assert.Len(t, seen.Members, 1) {
		assert.Equal(t, second.lease.Token(), seen.Members[0].Owner, "run %d: who holds the lock at the end", i)
	}
	assert.True(t, second.lease.Valid(), "run %d", i)
	return run, second.lease.Release(ctx)
}

type stopArgs struct {
	URL       string
	Namespace backend.Namespace
	Spin      bool
}

type stopReport struct {
	Fence       int64
	Valid, Over bool
	Cause       string
	Release     string
	LastValid   time.Time // when the last look began that found the lease valid
}

// TestStoppedProcessKnowsAtItsFirstLook stops processes with leases in their hands. When they go on somebody else has
// the member, and they know, however they look.
func TestStoppedProcessKnowsAtItsFirstLook(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	be := open(t, url)
	const rounds = 8
	var running sync.WaitGroup
	for i := range rounds {
		ns := newNamespace(t)
		keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: 500 * time.Millisecond})
		require.NoError(t, keys.Extend(context.Background(), []string{"m"}))
		p := start(t, "stop", stopArgs{url, ns, i%2 == 0})
		var held stopReport
		p.hear(&held)
		running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			pause(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			next, err := keys.AcquireKey(ctx)
			if !assert.NoError(t, err) {
				return
			}
			_, _ = p.stdin.Write([]byte("look\n"))
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
			var looked stopReport
			p.hear(&looked)
			assert.False(t, looked.Valid)
			assert.True(t, looked.Over)
			assert.Contains(t, []string{pool.ErrExpired.Error(), pool.ErrLost.Error()}, looked.Cause)
			assert.Contains(t, looked.Release, pool.ErrNotHeld.Error())
			assert.Less(t, held.Fence, next.Fence())
			assert.False(t, looked.LastValid.After(grantedAt(next.Fence())),
				"%v valid, %v granted", looked.LastValid, grantedAt(next.Fence()))
			assert.True(t, next.Valid())
			assert.NoError(t, next.Release(ctx))
		})
	}
	running.Wait()
	t.Logf("%d processes stopped", rounds)
}

// stopWorker holds a lease and looks at it: all the time, or when it is told to.
func stopWorker(w *worker) error {
	var args stopArgs
	if err := w.read(&args); err != nil {
		return err
	}
	ctx := context.Background()
	be, err := rueidis.Open(ctx, args.URL)
	if err != nil {
		return err
	}
	keys, err := pool.New(be, pool.Config[pool.None]{Namespace: args.Namespace, TTL: 500 * time.Millisecond})
	if err != nil {
		return err
	}
	l, err := keys.MallocKey(ctx)
	if err != nil {
		return err
	}
	w.tell(stopReport{Fence: l.Fence()})
	var report stopReport
	if args.Spin {
		for at := time.Now(); l.Valid(); at = time.Now() {
			report.LastValid = at
		}
		<-w.in
	} else {
		<-w.in
		report.Valid = l.Valid()
	}
	report.Over = l.Context().Err() != nil
	report.Cause = context.Cause(l.Context()).Error()
	if err := l.Release(ctx); err != nil {
		report.Release = err.Error()
	}
	w.tell(report)
	<-w.in
	return nil
}
