package integration

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// TestLostGoodbyeOfALock loses the call that leaves the line.
func TestLostGoodbyeOfALock(t *testing.T) {
	t.Parallel()
	eachCut(t, func(t *testing.T, s *lockStage, cut func(redistest.Match) <-chan struct{}) {
		other := holding(t, s.others)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := s.waitFor(ctx)
		match := ours()
		// The process also says that it still waits, with the token: that is not what is to be lost.
		fired := cut(func(request []string) bool { return ctx.Err() != nil && match(request) })
		cancel()
		require.ErrorIs(t, await(t, done).err, context.Canceled)
		expectFired(t, fired)
		expectInLine(t, s.outside, s.ns, "m", 0)
		require.NoError(t, other.Unlock(context.Background()))
		s.idle()
	})
}

// TestLockCancelledInTheDark cancels those who lock.
func TestLockCancelledInTheDark(t *testing.T) {
	t.Parallel()
	for _, d := range darks {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			eachLocking(t, func(t *testing.T, s *lockStage, k locking) {
				cancelInTheDark(t, s.proxy, d, k.do,
					func() bool { return len(lockLeftovers(t, s.cli, s.ns, s.ns.LockLimits())) > 0 }, s.idle)
			})
		})
	}
}

// TestLockCancelledWhileTheHandoverIsOnItsWay cancels a wait after the server has ended it and before that is known.
func TestLockCancelledWhileTheHandoverIsOnItsWay(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		name := "late"
		if lost {
			name = "lost"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // giving up takes some seconds in the dark
			s := newLockStage(t)
			other := holding(t, s.others)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := s.waitFor(ctx)
			if lost {
				s.proxy.Drop(redistest.Both)
			} else {
				s.proxy.Hold(redistest.Replies)
			}
			require.NoError(t, other.Unlock(context.Background()))
			assert.NotEmpty(t, whoHolds(t, s.cli, s.ns, "m"), "it was handed over")
			cancel()
			require.ErrorIs(t, await(t, done).err, context.Canceled)
			s.proxy.Resume()
			s.idle()
		})
	}
}

// TestLockHandoverThatIsLostReachesItsWaiter loses the message that a wait has ended.
func TestLockHandoverThatIsLostReachesItsWaiter(t *testing.T) {
	t.Parallel()
	s := newLockStage(t)
	other := holding(t, s.others)
	done := s.waitFor(context.Background())
	s.proxy.Drop(redistest.Replies)
	require.NoError(t, other.Unlock(context.Background()))
	s.proxy.Resume()
	began := time.Now()
	got := await(t, done)
	require.NoError(t, got.err)
	t.Logf("got it %v after the connection was back", time.Since(began).Round(100*time.Microsecond))
	assert.Less(t, time.Since(began), atOnce)
	require.NoError(t, got.got.Unlock(context.Background()))
	s.idle()
}

// TestLocksUnderFaults has many lock and give up after random times on a connection that is held up and cut at random,
// among others who use the same names: long before any of the locks would run out, all are free.
func TestLocksUnderFaults(t *testing.T) {
	t.Parallel()
	s := newLockStage(t)
	of := func(be lock.Backend) user {
		ways := lockings(be, s.ns)
		return func(ctx context.Context) (func() error, error) {
			held, err := ways[rand.IntN(len(ways))].do(ctx)
			return func() error { return held.Unlock(ctx) }, err
		}
	}
	var users []user
	for range 4 {
		users = append(users, times(4, of(s.be))...)
		users = append(users, of(s.outside))
	}
	badWeather(t, s.proxy, 20*time.Millisecond, users...)
	s.idle()
}
