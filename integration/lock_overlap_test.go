package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// TestHolderOfALockBehindABlackHoleEndsFirst cuts holders off, without a word, right after their acquisition, also by a
// hand-over, or right after a renewal. The time of each has ended before the server grants the lock to another.
func TestHolderOfALockBehindABlackHoleEndsFirst(t *testing.T) {
	t.Parallel()
	const ttl = 1500 * time.Millisecond // with a margin of 30 ms
	d := darkness{ttl: ttl, late: lateLock, open: func(
		_ context.Context, i int, far, near *rueidis.Backend, ns backend.Namespace,
	) (*stake, error) {
		ours := lock.NewMutex(far, ns, "m", lock.Config{TTL: ttl, ClaimTTL: ttl})
		theirs := lock.NewMutex(near, ns, "m", lock.Config{TTL: time.Minute, ClaimTTL: time.Minute})
		return &stake{
			take:     func(ctx context.Context) (holder, error) { return takeFirst(ctx, ours, theirs, i%3 == 0) },
			next:     func(ctx context.Context) (holder, error) { return theirs.Lock(ctx) },
			giveBack: func(ctx context.Context, h holder) error { return h.(*lock.Held).Unlock(ctx) },
			speak: func(ctx context.Context) error {
				_, err := ours.Locked(ctx)
				return err
			},
			owner: func(ctx context.Context) (string, error) {
				s, err := theirs.State(ctx)
				if err != nil || len(s.Holders) != 1 {
					return "", err
				}
				return s.Holders[0].Token, nil
			},
			close: func() {},
		}, nil
	}}
	d.check(t)
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
	waiting, over := context.WithCancel(ctx)
	defer over()
	go func() {
		for waiting.Err() == nil {
			if s, err := theirs.State(waiting); err != nil || s.Waiting > 0 {
				break
			}
			pause(waiting, time.Millisecond)
		}
		unlocked <- before.Unlock(ctx)
	}()
	held, err := ours.Lock(ctx)
	over()
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
		held := holding(t, lock.NewMutex(be, ns, fmt.Sprintf("n%d", i), lock.Config{TTL: 10 * time.Minute}))
		all, newest = append(all, held), max(newest, held.Fence())
	}
	server.Restart()
	began := time.Now()
	for _, held := range all {
		select {
		case <-held.Context().Done():
		case <-time.After(patience): // no renewal is due before
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
