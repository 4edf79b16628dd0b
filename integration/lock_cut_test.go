package integration

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// lostTTL is far longer than any of these tests, and like no other number that is sent.
const lostTTL = 121234 * time.Millisecond

// lockStage is a namespace as seen by one who is behind a proxy, and by others.
type lockStage struct {
	t       *testing.T
	ns      backend.Namespace
	proxy   *redistest.Proxy
	be      *rueidis.Backend // behind the proxy
	mutex   *lock.Mutex      // "m"; its tokens are recognised by their text
	outside *rueidis.Backend
	others  *lock.Mutex // "m" from outside
	cli     *redisCLI
}

// newLockStage uses everything once, so that whatever is done only once is done.
func newLockStage(t *testing.T) *lockStage {
	t.Helper()
	url, ctx := redistest.URL(t), context.Background()
	s := &lockStage{t: t, ns: newNamespace(t), outside: open(t, url), cli: raw(t, url)}
	s.be, s.proxy = behind(t, url)
	s.mutex = lock.NewMutex(joining{s.be}, s.ns, "m", lock.Config{TTL: lostTTL, Info: "lost"})
	s.others = lock.NewMutex(s.outside, s.ns, "m", lock.Config{TTL: leaseTTL})
	for _, k := range lockings(s.be, s.ns) {
		held, err := k.do(ctx)
		require.NoError(t, err)
		require.NoError(t, held.Unlock(ctx))
	}
	for range 20 { // the client opens some connections, when it comes to use them
		_, err := s.mutex.State(ctx)
		require.NoError(t, err)
	}
	return s
}

// idle waits until nothing is left behind, and tells how long that took.
func (s *lockStage) idle() time.Duration {
	s.t.Helper()
	took := expectFree(s.t, s.cli, s.ns, atOnce, s.ns.LockLimits())
	s.t.Logf("nothing left after %v", took.Round(100*time.Microsecond))
	return took
}

// waitFor waits for the lock that another holds, and returns when that is known at both ends.
func (s *lockStage) waitFor(ctx context.Context) <-chan outcome[*lock.Held] {
	s.t.Helper()
	var joined atomic.Bool
	ctx = context.WithValue(ctx, joinedKey{}, &joined)
	done := begin(func() (*lock.Held, error) { return s.mutex.Lock(ctx) })
	eventually(s.t, patience, "it knows that it waits", joined.Load)
	expectInLine(s.t, s.outside, s.ns, "m", 1)
	return done
}

// handedOver locks behind the proxy while another holds the lock, calls before, and then has it handed over.
func (s *lockStage) handedOver(before func()) *lock.Held {
	s.t.Helper()
	other := holding(s.t, s.others)
	done := s.waitFor(context.Background())
	before()
	require.NoError(s.t, other.Unlock(context.Background()))
	got := await(s.t, done)
	require.NoError(s.t, got.err)
	return got.got
}

// locking is one way to lock.
type locking struct {
	name string
	do   func(context.Context) (*lock.Held, error)
}

func lockings(be lock.Backend, ns backend.Namespace) []locking {
	cfg := lock.Config{TTL: lostTTL, Info: "lost"}
	m, multi := lock.NewMutex(be, ns, "m", cfg), lock.NewMulti(be, ns, []string{"m", "o"}, cfg)
	token := lock.Token("info=lost " + backend.NewToken())
	rw, sem := lock.NewRWMutex(be, ns, "m", cfg), lock.NewSemaphore(be, ns, "s", 3, cfg)
	return []locking{
		{"TryLock", func(ctx context.Context) (*lock.Held, error) { return m.TryLock(ctx) }},
		{"TryLock with a token", func(ctx context.Context) (*lock.Held, error) { return m.TryLock(ctx, token) }},
		{"Lock", func(ctx context.Context) (*lock.Held, error) { return m.Lock(ctx) }},
		{"Multi", func(ctx context.Context) (*lock.Held, error) { return multi.Lock(ctx) }},
		{"RLock", func(ctx context.Context) (*lock.Held, error) { return rw.RLock(ctx) }},
		{"Acquire", func(ctx context.Context) (*lock.Held, error) { return sem.Acquire(ctx, 2) }},
	}
}

// eachCut runs a test for both ways to lose a call, on stages of their own.
func eachCut(t *testing.T, do func(*testing.T, *lockStage, func(redistest.Match) <-chan struct{})) {
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newLockStage(t)
			do(t, s, func(match redistest.Match) <-chan struct{} { return c.cut(s.proxy, match) })
		})
	}
}

// eachLocking runs a test for all ways to lock, on stages of their own.
func eachLocking(t *testing.T, do func(*testing.T, *lockStage, locking)) {
	for i, k := range lockings(nil, backend.Namespace{}) {
		t.Run(k.name, func(t *testing.T) {
			s := newLockStage(t)
			do(t, s, lockings(s.be, s.ns)[i])
		})
	}
}

// mentioning matches a call of a script that has each of these texts in one of its arguments.
func mentioning(texts ...string) redistest.Match {
	return func(request []string) bool {
		if len(request) == 0 || !strings.HasPrefix(strings.ToUpper(request[0]), "EVAL") {
			return false
		}
		all := strings.Join(request, "\x00")
		for _, text := range texts {
			if !strings.Contains(all, text) {
				return false
			}
		}
		return true
	}
}

// ours matches calls that name one of our tokens.
func ours(texts ...string) redistest.Match { return mentioning(append(texts, "info=lost")...) }

// TestLostLock loses the call that locks.
func TestLostLock(t *testing.T) {
	t.Parallel()
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			eachLocking(t, func(t *testing.T, s *lockStage, k locking) {
				fired := c.cut(s.proxy, ours())
				held, err := k.do(context.Background())
				expectFired(t, fired)
				require.ErrorIs(t, err, backend.ErrUnavailable)
				assert.Nil(t, held)
				s.idle()
			})
		})
	}
}

// TestLostPlaceInLineOfALock loses the call that joins the line.
func TestLostPlaceInLineOfALock(t *testing.T) {
	t.Parallel()
	eachCut(t, func(t *testing.T, s *lockStage, cut func(redistest.Match) <-chan struct{}) {
		other := holding(t, s.others)
		fired := cut(ours())
		_, err := s.mutex.Lock(context.Background())
		expectFired(t, fired)
		require.ErrorIs(t, err, backend.ErrUnavailable)
		expectInLine(t, s.outside, s.ns, "m", 0)
		require.NoError(t, other.Unlock(context.Background()))
		s.idle()
	})
}

// TestLostConfirmationOfALock loses the call with which a waiter confirms what it was handed: it is made again, long
// before the claim is over.
func TestLostConfirmationOfALock(t *testing.T) {
	t.Parallel()
	eachCut(t, func(t *testing.T, s *lockStage, cut func(redistest.Match) <-chan struct{}) {
		var fired <-chan struct{}
		held := s.handedOver(func() { fired = cut(ours("121234")) })
		expectFired(t, fired)
		eventually(t, atOnce, "it is confirmed all the same", func() bool {
			return held.Valid() && time.Until(held.Deadline()) > lostTTL/2
		})
		assert.Greater(t, s.cli.int(t, "PTTL", s.ns.Lock("m")), (lostTTL / 2).Milliseconds())
		assert.Equal(t, held.Token(), whoHolds(t, s.cli, s.ns, "m"))
		require.NoError(t, held.Unlock(context.Background()))
		s.idle()
	})
}

// TestUnlockOfWhatWasNotConfirmed gives a lock back whose confirmation is lost, or would have been.
func TestUnlockOfWhatWasNotConfirmed(t *testing.T) {
	t.Parallel()
	eachCut(t, func(t *testing.T, s *lockStage, cut func(redistest.Match) <-chan struct{}) {
		held := s.handedOver(func() { cut(ours("121234")) })
		if err := held.Unlock(context.Background()); err != nil {
			require.ErrorIs(t, err, backend.ErrUnavailable)
		}
		assert.False(t, held.Valid())
		s.idle()
	})
}

// TestLostRenewal loses a renewal: the lock is renewed by the next one, and lives on.
func TestLostRenewal(t *testing.T) {
	t.Parallel()
	eachCut(t, func(t *testing.T, s *lockStage, cut func(redistest.Match) <-chan struct{}) {
		held := holding(t, s.mutex, lock.TTL(renewedTTL))
		expectFired(t, cut(ours()))
		lost := time.Now()
		eventually(t, patience, "it is renewed all the same", func() bool {
			require.NoError(t, held.Err())
			return held.Deadline().After(lost.Add(renewedTTL / 4 * 3))
		})
		assert.Equal(t, held.Token(), whoHolds(t, s.cli, s.ns, "m"))
		require.NoError(t, held.Unlock(context.Background()))
		s.idle()
	})
}

// TestRenewalDoesNotBringALockBack takes a lock from its holder while a renewal is lost and made again: by hand, or
// for another holder.
func TestRenewalDoesNotBringALockBack(t *testing.T) {
	t.Parallel()
	for _, c := range cuts {
		for _, value := range []string{"", "1"} {
			name := c.name + ", free"
			if value != "" {
				name = c.name + ", another's"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newLockStage(t)
				held := holding(t, s.mutex, lock.TTL(renewedTTL))
				// The request is cut, or carried out and its reply is cut, after the lock is gone.
				match := ours()
				gone := false // the proxy asks one at a time
				fired := c.cut(s.proxy, func(request []string) bool {
					if match(request) && !gone {
						gone = true
						s.cli.must(t, "DEL", s.ns.Lock("m"))
						if value != "" {
							s.cli.must(t, "SET", s.ns.Lock("m"), value, "EX", "100")
						}
						return true
					}
					return false
				})
				expectFired(t, fired)
				select {
				case <-held.Context().Done():
				case <-time.After(patience):
					require.FailNow(t, "in good faith")
				}
				cause := context.Cause(held.Context())
				assert.True(t, errors.Is(cause, lock.ErrLost) || errors.Is(cause, lock.ErrExpired), cause)
				require.ErrorIs(t, held.Unlock(context.Background()), lock.ErrNotHeld)
				pause(context.Background(), 1500*time.Millisecond) // as long as anything might still be on its way
				assert.Equal(t, value, whoHolds(t, s.cli, s.ns, "m"))
				s.cli.must(t, "DEL", s.ns.Lock("m"))
				s.idle()
			})
		}
	}
}

// TestLostUnlock loses the call that unlocks: it is made again in the background.
func TestLostUnlock(t *testing.T) {
	t.Parallel()
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			eachLocking(t, func(t *testing.T, s *lockStage, k locking) {
				held, err := k.do(context.Background())
				require.NoError(t, err)
				fired := c.cut(s.proxy, ours())
				err = held.Unlock(context.Background())
				expectFired(t, fired)
				require.ErrorIs(t, err, backend.ErrUnavailable)
				assert.False(t, held.Valid())
				s.idle()
			})
		})
	}
}

// TestUnlockIsTriedUntilTheConnectionIsBack has the server be away for a while when a lock is given back, also with a
// context that has ended.
func TestUnlockIsTriedUntilTheConnectionIsBack(t *testing.T) {
	t.Parallel()
	s := newLockStage(t)
	ctx, cancel := context.WithCancel(context.Background())
	held, err := s.mutex.Lock(ctx)
	require.NoError(t, err)
	s.proxy.Refuse()
	cancel()
	require.ErrorIs(t, context.Cause(held.Context()), context.Canceled)
	assert.True(t, held.Valid(), "the lock is still there")
	require.ErrorIs(t, held.Unlock(ctx), backend.ErrUnavailable)
	pause(context.Background(), 2500*time.Millisecond) // so that some tries fail
	assert.Equal(t, held.Token(), whoHolds(t, s.cli, s.ns, "m"))
	s.proxy.Resume()
	s.idle()
}

// TestUnlockDoesNotTouchAnothers has somebody else get the lock while an unlock is lost and tried again.
func TestUnlockDoesNotTouchAnothers(t *testing.T) {
	t.Parallel()
	eachCut(t, func(t *testing.T, s *lockStage, cut func(redistest.Match) <-chan struct{}) {
		held := holding(t, s.mutex)
		fired := cut(ours())
		unlocked := make(chan error, 1)
		go func() { unlocked <- held.Unlock(context.Background()) }()
		expectFired(t, fired)
		s.proxy.Refuse()
		s.cli.must(t, "DEL", s.ns.Lock("m")) // unless it is done
		other := holding(t, s.others)
		s.proxy.Resume()
		if err := <-unlocked; err != nil { // as soon as it was back it was told that it had nothing
			assert.True(t, errors.Is(err, backend.ErrUnavailable) || errors.Is(err, lock.ErrNotHeld), err)
		}
		pause(context.Background(), 3*time.Second)
		assert.Equal(t, other.Token(), whoHolds(t, s.cli, s.ns, "m"))
		assert.True(t, other.Valid())
		require.NoError(t, other.Unlock(context.Background()))
		s.idle()
	})
}

// TestUnlockWithAContextThatHasEnded gives back all the same.
func TestUnlockWithAContextThatHasEnded(t *testing.T) {
	t.Parallel()
	eachLocking(t, func(t *testing.T, s *lockStage, k locking) {
		ctx, cancel := context.WithCancel(context.Background())
		held, err := k.do(ctx)
		require.NoError(t, err)
		cancel()
		require.NoError(t, held.Unlock(ctx))
		assert.Empty(t, lockLeftovers(t, s.cli, s.ns, s.ns.LockLimits()))
	})
}
