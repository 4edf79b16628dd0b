package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
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
	lockOverlapRuns     = 200
	lockOverlapParallel = 67                      // half of it under the race detector
	lockOverlapTTL      = 1500 * time.Millisecond // with a margin of 30 ms
)

// TestHolderOfALockBehindABlackHoleEndsFirst cuts holders off, without a word, right after their acquisition, also by a
// hand-over, or right after a renewal. The context of each has ended before the server grants the lock to another.
func TestHolderOfALockBehindABlackHoleEndsFirst(t *testing.T) {
	url, prefix := redistest.URL(t), newNamespace(t).Prefix
	next := open(t, url) // of all runs

	var mu sync.Mutex
	var runs []overlapRun
	var running sync.WaitGroup
	room := make(chan struct{}, lockOverlapParallel)
	if raceDetector {
		room = make(chan struct{}, lockOverlapParallel/2)
	}
	for i := range lockOverlapRuns {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			ns := backend.Namespace{Prefix: prefix, Suffix: fmt.Sprintf("run%d", i)}
			run, err := lockBlackHole(t, next, url, ns, i)
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
			if !run.known.Before(run.granted) {
				overlaps++
			}
		}
		if run.ended.After(run.granted) {
			late++
		}
	}
	assert.Len(t, runs, lockOverlapRuns)
	assert.Zero(t, overlaps, "holders whose lock was valid when the next one got it")
	// Err, as Valid, reads the clock. The channel is closed by a goroutine, for which a busy machine needs its time.
	if !raceDetector {
		assert.LessOrEqual(t, late, lockOverlapRuns/10, "holders whose context was closed only after the next one got the lock")
	}
	t.Logf("%d runs, overlap %d: locks ended %v (at least) and %v (median) before the next grant, contexts closed %v and %v, %d of them late",
		len(runs), overlaps, quantile(early, 0), quantile(early, 0.5), quantile(told, 0), quantile(told, 0.5), late)
}

func lockBlackHole(t *testing.T, next *rueidis.Backend, url string, ns backend.Namespace, i int) (run overlapRun, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	proxy := redistest.NewProxy(t, address(url))
	be, err := rueidis.Open(ctx, proxy.URL(), rueidis.CallTimeout(2*time.Second))
	if err != nil {
		return run, err
	}
	defer be.Close()
	cfg := lock.Config{TTL: lockOverlapTTL, ClaimTTL: lockOverlapTTL}
	ours := lock.NewMutex(be, ns, "m", cfg)
	cfg.TTL = time.Minute
	theirs := lock.NewMutex(next, ns, "m", cfg)

	first, err := takeFirst(ctx, ours, theirs, i%3 == 0)
	for lateLock(err) && ctx.Err() == nil { // on a busy machine
		first, err = takeFirst(ctx, ours, theirs, i%3 == 0)
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
		pause(ctx, time.Duration(rand.Int64N(int64(lockOverlapTTL))))
	case 3: // while a renewal is under way
		pause(ctx, lockOverlapTTL/3+time.Duration(rand.Int64N(int64(20*time.Millisecond)))-10*time.Millisecond)
	}
	proxy.Drop([]redistest.Direction{redistest.Both, redistest.Requests, redistest.Replies}[i/4%3])

	type granted struct {
		held *lock.Held
		err  error
	}
	got := make(chan granted, 1)
	go func() {
		held, err := theirs.Lock(ctx)
		got <- granted{held, err}
	}()

	early := i%5 == 0 // gives it back before it runs out, without being heard
	if early {
		pause(ctx, lockOverlapTTL/5)
		if err := first.Unlock(ctx); !errors.Is(err, backend.ErrUnavailable) && !errors.Is(err, lock.ErrNotHeld) {
			assert.Fail(t, "unlock in the dark", "run %d: %v", i, err)
		}
		cause := context.Cause(first.Context())
		assert.True(t, errors.Is(cause, lock.ErrReleased) || errors.Is(cause, lock.ErrExpired), "run %d: %v", i, cause)
	}
	second := <-got
	if second.err != nil {
		return run, second.err
	}
	assert.False(t, first.Valid(), "run %d: the first holder when there is a second", i)
	assert.Error(t, first.Context().Err(), "run %d", i)
	if !early {
		cause := context.Cause(first.Context()) // lost: a busy machine has renewed too late, before the dark
		assert.True(t, errors.Is(cause, lock.ErrExpired) || errors.Is(cause, lock.ErrLost), "run %d: %v", i, cause)
		assert.ErrorIs(t, first.Unlock(ctx), lock.ErrNotHeld, "run %d", i) // in the dark, and it knows
	}
	assert.Less(t, first.Fence(), second.held.Fence(), "run %d", i)
	select {
	case run.ended = <-ended:
	case <-ctx.Done():
		return run, ctx.Err()
	}
	run.known, run.granted, run.early = first.Deadline(), grantedAt(second.held.Fence()), early

	// The light is back. What the first holder still has to say must not touch the second's.
	proxy.Resume()
	if _, err := ours.Locked(ctx); err != nil && !errors.Is(err, backend.ErrUnavailable) {
		return run, err
	}
	pause(ctx, lockOverlapTTL/4)
	owned, err := second.held.Owned(ctx)
	if err != nil {
		return run, err
	}
	assert.True(t, owned, "run %d: who holds the lock at the end", i)
	assert.True(t, second.held.Valid(), "run %d", i)
	return run, second.held.Unlock(ctx)
}

// takeFirst takes a lock that is free or, on request, has it handed over.
func takeFirst(ctx context.Context, ours, theirs *lock.Mutex, handed bool) (*lock.Held, error) {
	if !handed {
		return ours.TryLock(ctx)
	}
	before, err := theirs.TryLock(ctx)
	if err != nil {
		return nil, err
	}
	unlocked := make(chan error, 1)
	go func() {
		for {
			if s, err := theirs.State(ctx); err != nil || s.Waiting > 0 {
				unlocked <- errors.Join(err, before.Unlock(ctx))
				return
			}
		}
	}()
	held, err := ours.Lock(ctx)
	if further := <-unlocked; err == nil && further != nil {
		return nil, errors.Join(further, held.Unlock(ctx))
	}
	return held, err
}

// lateLock reports whether an error says that a lock has ended, or may have, or is still being given back, which happens
// to short ones when the machine is busy.
func lateLock(err error) bool {
	return errors.Is(err, lock.ErrNotHeld) || errors.Is(err, lock.ErrExpired) || errors.Is(err, lock.ErrLocked) ||
		errors.Is(err, backend.ErrUnavailable)
}

// TestRestartWithoutDataEndsLocks has a server lose everything: whoever holds a lock learns it as soon as it can be
// reached again, and every later fence is larger.
func TestRestartWithoutDataEndsLocks(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ns, ctx, be := newNamespace(t), context.Background(), open(t, server.URL())
	var all []*lock.Held
	newest := int64(0)
	for i := range 500 {
		held := holding(t, lock.NewMutex(be, ns, fmt.Sprintf("n%d", i), lock.Config{TTL: time.Minute}))
		all, newest = append(all, held), max(newest, held.Fence())
	}
	server.Restart()
	began := time.Now()
	for _, held := range all {
		select {
		case <-held.Context().Done():
		case <-time.After(15 * time.Second):
			require.FailNow(t, "still in good faith")
		}
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
	}
	t.Logf("%d locks lost after %v", len(all), time.Since(began))
	var later *lock.Held
	goingOn(t, func() (err error) {
		later, err = lock.NewMutex(be, ns, "n0", lock.Config{}).TryLock(ctx)
		return err
	})
	assert.Greater(t, later.Fence(), newest)
	for _, held := range all {
		require.ErrorIs(t, held.Unlock(ctx), lock.ErrNotHeld)
	}
	assert.True(t, later.Valid())
	if err := later.Unlock(ctx); err != nil { // then it is done in the background
		require.ErrorIs(t, err, backend.ErrUnavailable)
	}
	expectFree(t, raw(t, server.URL()), ns, patience)
}
