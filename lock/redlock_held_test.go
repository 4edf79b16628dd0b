package lock_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// lockRed locks "a".
func lockRed(t *testing.T, r *lock.Redlock) *lock.RedlockHeld {
	t.Helper()
	held, err := r.TryLock(t.Context(), "a")
	require.NoError(t, err)
	synctest.Wait()
	return held
}

func TestARedlockIsRenewedEachThirdOfItsTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 5)
		r := newRedlock(t, servers, lock.RedlockConfig{})
		held := lockRed(t, r)
		last := time.Now()
		for range 300 {
			after(redTTL / 3)
			synctest.Wait()
			require.True(t, held.Valid())
			require.Equal(t, time.Now().Add(redValidity), held.Deadline())
			for _, s := range servers {
				renewed := s.asked("renew")
				require.Equal(t, time.Now(), renewed[len(renewed)-1].at)
				require.Equal(t, redTTL/3, renewed[len(renewed)-1].at.Sub(last))
				require.Equal(t, redTTL, s.ttl(t, "a"))
			}
			last = time.Now()
		}
		require.NoError(t, held.Context().Err())
		require.NoError(t, held.Unlock(t.Context()))
		n := len(servers[0].asked("renew"))
		after(time.Hour)
		require.Len(t, servers[0].asked("renew"), n)
		require.Equal(t, same(5, ""), owners(t, servers, "a"))
	})
}

func TestAMinorityMayFailAndIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 5)
		servers[0].take(t, "a")
		servers[3].is(redMood{err: backend.ErrUnavailable})
		var log bytes.Buffer
		r := newRedlock(t, servers, lock.RedlockConfig{
			Names: []string{"v", "w", "x", "y", "z"}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		held := lockRed(t, r)
		errs := held.Errs()
		require.Len(t, errs, 2)
		require.Contains(t, log.String(), "server failed")
		require.NotContains(t, log.String(), "answers again")
		require.Equal(t, "v", errs[0].Name)
		require.ErrorIs(t, errs[0], lock.ErrLocked)
		require.Equal(t, 3, errs[1].Index)
		require.ErrorIs(t, errs[1], backend.ErrUnavailable)

		servers[3].is(redMood{})
		after(time.Minute)
		require.NoError(t, held.Context().Err())
		require.Len(t, held.Errs(), 2, "it is renewed where it is held, and made anew nowhere")
		require.Empty(t, servers[3].asked("renew"))
		require.Empty(t, servers[3].owner(t, "a"))
		require.NoError(t, held.Unlock(t.Context()))
		synctest.Wait()
		require.Equal(t, []string{"somebody", "", "", "", ""}, owners(t, servers, "a"))
		r.Close()
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("server failed")))
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("answers again")))
		require.Contains(t, log.String(), "server=y")
	})
}

func TestAServerThatForgotIsReportedAndNotLockedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{}))
		servers[1].forget(t, "a")
		require.Empty(t, held.Errs(), "it is not known yet")
		after(redTTL / 3)
		synctest.Wait()
		errs := held.Errs()
		require.Len(t, errs, 1)
		require.Equal(t, 1, errs[0].Index)
		require.Equal(t, "1", errs[0].Name)
		require.ErrorIs(t, errs[0], lock.ErrNotHeld)
		after(time.Minute)
		require.True(t, held.Valid())
		require.Empty(t, servers[1].owner(t, "a"))
		require.NoError(t, held.Unlock(t.Context()))
	})
}

func TestALostQuorumEndsTheLockAndFreesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 5)
		var log bytes.Buffer
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}))
		begin := time.Now()
		child, cancel := context.WithCancel(held.Context())
		defer cancel()
		for _, s := range servers[:3] {
			s.forget(t, "a")
		}
		<-child.Done()
		require.Equal(t, redTTL/3, time.Since(begin))
		require.ErrorIs(t, context.Cause(child), lock.ErrLost)
		require.False(t, held.Valid())
		synctest.Wait()
		require.Contains(t, log.String(), "lock ended without its holder")
		require.Equal(t, same(5, ""), owners(t, servers, "a"))
		err := held.Unlock(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrLost)
		require.Equal(t, err, held.Unlock(t.Context()), "again does nothing and says the same")
		require.ErrorIs(t, held.Err(), lock.ErrLost)
		err = held.Extend(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrLost)
	})
}

func TestAnOutageEndsTheLockBeforeAnyServerDoes(t *testing.T) {
	t.Parallel()
	for name, mood := range map[string]redMood{
		"hanging": {hang: true}, "refusing": {err: backend.ErrUnavailable}, "mute": {mute: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				servers := newRedServers(t, 5)
				held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{}))
				begin := time.Now()
				for _, s := range servers[:3] {
					s.is(mood)
				}
				<-held.Context().Done()
				require.Equal(t, redValidity, time.Since(begin))
				require.ErrorIs(t, context.Cause(held.Context()), lock.ErrExpired)
				for _, s := range servers[:3] { // unless he has given it back himself, which a mute server does
					if len(s.asked("unlock")) == 0 {
						require.NotEmpty(t, s.owner(t, "a"), "the holder stops before anybody else can begin")
					}
				}
				require.Greater(t, len(servers[0].asked("renew")), 10, "it is tried again and again")
				require.Less(t, len(servers[0].asked("renew")), 60, "but not all the time")
				synctest.Wait()
				require.Equal(t, same(2, ""), owners(t, servers[3:], "a"), "what can be given back is")
			})
		})
	}
}

func TestAnOutageThatIsOverInTimeDoesNotMatter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{}))
		for _, s := range servers {
			s.is(redMood{hang: true})
		}
		after(9 * time.Second)
		for _, s := range servers {
			s.is(redMood{})
		}
		after(600 * time.Millisecond)
		require.Greater(t, time.Until(held.Deadline()), 9*time.Second)
		after(time.Minute)
		require.True(t, held.Valid())
		require.Empty(t, held.Errs())
		require.NoError(t, held.Unlock(t.Context()))
	})
}

func TestWithoutRenewalExtendDoesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{NoRenewal: true}))
		for range 10 {
			after(9 * time.Second)
			servers[0].is(redMood{delay: 10 * time.Millisecond}, "renew")
			servers[1].is(redMood{delay: 10 * time.Millisecond}, "renew")
			begin := time.Now()
			require.NoError(t, held.Extend(t.Context()))
			require.Equal(t, 10*time.Millisecond, time.Since(begin))
			require.Equal(t, begin.Add(redValidity), held.Deadline(), "from before it was sent")
			synctest.Wait()
		}
		require.Len(t, servers[0].asked("renew"), 10)
		<-held.Context().Done()
		require.Equal(t, held.Deadline(), time.Now())
		err := held.Extend(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrExpired)
		require.Len(t, servers[0].asked("renew"), 10)
	})
}

func TestAnExtensionNeedsAQuorumInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{NoRenewal: true}))
		deadline := held.Deadline()
		servers[0].is(redMood{hang: true}, "renew")
		servers[1].is(redMood{err: errBroken}, "renew")
		after(time.Second)

		err := held.Extend(t.Context())
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.ErrorIs(t, err, errBroken)
		var all *lock.RedlockError
		require.ErrorAs(t, err, &all)
		require.Equal(t, "extend", all.Op)
		require.Equal(t, deadline, held.Deadline())
		require.Len(t, held.Errs(), 2)

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		servers[1].is(redMood{hang: true}, "renew")
		begin := time.Now()
		require.ErrorIs(t, held.Extend(ctx), context.DeadlineExceeded)
		require.Equal(t, 10*time.Millisecond, time.Since(begin))
		require.ErrorIs(t, held.Extend(ctx), context.DeadlineExceeded)
		require.True(t, held.Valid())

		after(time.Until(deadline) - 20*time.Millisecond)
		for _, s := range servers {
			s.is(redMood{delay: 30 * time.Millisecond}, "renew")
		}
		err = held.Extend(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld, "the answers come when somebody may have seen that it is over")
		require.ErrorIs(t, err, lock.ErrExpired)
		require.Equal(t, deadline, time.Now())
		after(time.Second)
		require.Equal(t, same(3, ""), owners(t, servers, "a"))
	})
}

func TestAnExtensionFindsOutThatTheLockIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{NoRenewal: true}))
		servers[0].forget(t, "a")
		servers[2].forget(t, "a")
		err := held.Extend(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrLost)
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
		synctest.Wait()
		require.Empty(t, servers[1].owner(t, "a"))
	})
}

func TestUnlockWaitsForAQuorumOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		r := newRedlock(t, servers, lock.RedlockConfig{})
		held := lockRed(t, r)
		servers[0].is(redMood{hang: true}, "unlock")
		ctx, cancel := context.WithCancel(held.Context())
		cancel()
		begin := time.Now()
		require.NoError(t, held.Unlock(ctx), "also when its context is over")
		require.Equal(t, begin, time.Now())
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrReleased)
		require.False(t, held.Valid())
		require.NoError(t, held.Unlock(ctx))

		again := lockRed(t, r)
		require.Equal(t, []string{held.Token(), again.Token(), again.Token()}, owners(t, servers, "a"))
		servers[0].is(redMood{}, "unlock")
		after(3 * time.Second)
		require.Empty(t, servers[0].owner(t, "a"))
		require.NoError(t, again.Unlock(t.Context()))
	})
}

func TestUnlockSaysWhenTooFewServersAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{}))
		servers[0].is(redMood{hang: true})
		servers[1].is(redMood{err: backend.ErrUnavailable})
		begin := time.Now()
		err := held.Unlock(t.Context())
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.ErrorIs(t, err, backend.ErrUnavailable)
		require.Equal(t, redTimeout, time.Since(begin))
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrReleased)
		servers[0].is(redMood{})
		servers[1].is(redMood{})
		after(time.Second)
		require.Equal(t, same(3, ""), owners(t, servers, "a"), "it goes on in the background")
	})
}

func TestUnlockTakesNothingFromOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		var seen events
		held := lockRed(t, newRedlock(t, servers, lock.RedlockConfig{Observer: &seen}))
		for _, s := range servers[:2] {
			s.forget(t, "a")
			s.take(t, "a")
		}
		err := held.Unlock(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrLost)
		require.Len(t, seen.of(backend.EventLost), 1)
		synctest.Wait()
		require.Equal(t, []string{"somebody", "somebody", ""}, owners(t, servers, "a"))
	})
}

func TestAnUnlockOvertakesNeitherLockNorRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		servers[2].is(redMood{delay: 30 * time.Millisecond})
		held, err := newRedlock(t, servers, lock.RedlockConfig{}).TryLock(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, held.Extend(t.Context()))
		require.NoError(t, held.Unlock(t.Context()))
		after(time.Second)
		require.Equal(t, same(3, ""), owners(t, servers, "a"))
		renewed, unlocked := servers[2].asked("renew"), servers[2].asked("unlock")
		require.Len(t, renewed, 1)
		require.Len(t, unlocked, 1)
		require.Equal(t, 30*time.Millisecond, renewed[0].at.Sub(servers[2].asked("lock")[0].at))
		require.Equal(t, 30*time.Millisecond, unlocked[0].at.Sub(renewed[0].at))
	})
}

func TestTheContextIsThatOfTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		servers := newRedServers(t, 3)
		parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "v"))
		held, err := newRedlock(t, servers, lock.RedlockConfig{}).TryLock(parent, "a")
		require.NoError(t, err)
		require.Equal(t, "v", held.Context().Value(key{}))
		_, bounded := held.Context().Deadline()
		require.False(t, bounded, "the deadline of the lock moves, that of a context must not")
		cancel(errBroken)
		require.ErrorIs(t, context.Cause(held.Context()), errBroken)
		after(time.Minute)
		require.True(t, held.Valid(), "it is held until it is unlocked")
		require.NotEmpty(t, servers[0].owner(t, "a"))
		require.NoError(t, held.Unlock(parent))
	})
}

func TestCloseEndsLocksAndCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		r := newRedlock(t, servers, lock.RedlockConfig{RetryDelay: time.Hour})
		held := lockRed(t, r)
		waits := make(chan error)
		go func() {
			_, err := r.Lock(t.Context(), "a")
			waits <- err
		}()
		synctest.Wait()
		begin := time.Now()
		r.Close()
		require.Equal(t, begin, time.Now())
		require.ErrorIs(t, <-waits, backend.ErrClosed)
		require.ErrorIs(t, context.Cause(held.Context()), backend.ErrClosed)
		require.False(t, held.Valid())
		_, err := r.TryLock(t.Context(), "b")
		require.ErrorIs(t, err, backend.ErrClosed)
		err = held.Extend(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, backend.ErrClosed)
		require.NotEmpty(t, servers[0].owner(t, "a"))

		servers[0].is(redMood{delay: 10 * time.Millisecond}, "unlock")
		require.NoError(t, held.Unlock(t.Context()), "it can still be given back")
		require.Equal(t, 10*time.Millisecond, time.Since(begin), "on all servers, because nothing goes on in the background")
		require.Equal(t, same(3, ""), owners(t, servers, "a"))
		r.Close()
	})
}

func TestCloseWaitsForWhatGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		r := newRedlock(t, servers, lock.RedlockConfig{})
		held := lockRed(t, r)
		servers[0].is(redMood{delay: 40 * time.Millisecond}, "unlock")
		begin := time.Now()
		require.NoError(t, held.Unlock(t.Context()))
		require.Equal(t, begin, time.Now())
		r.Close()
		require.Equal(t, 40*time.Millisecond, time.Since(begin))
		require.Equal(t, same(3, ""), owners(t, servers, "a"))

		r = newRedlock(t, servers, lock.RedlockConfig{})
		servers[1].is(redMood{hang: true})
		servers[2].is(redMood{hang: true})
		_, err := r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		begin = time.Now()
		r.Close()
		require.LessOrEqual(t, time.Since(begin), 2*redTimeout, "what hangs does not keep it")

		servers[0].is(redMood{delay: 40 * time.Millisecond}, "lock")
		r = newRedlock(t, servers, lock.RedlockConfig{})
		tries := make(chan error, 1)
		go func() {
			_, err := r.TryLock(t.Context(), "a")
			tries <- err
		}()
		synctest.Wait()
		r.Close()
		require.ErrorIs(t, <-tries, backend.ErrClosed)
		require.Equal(t, same(3, ""), owners(t, servers, "a"), "a grant that came during Close is given back")
	})
}

func TestTheObserverOfARedlockIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		var mu sync.Mutex
		var events []backend.Event
		var log bytes.Buffer
		r := newRedlock(t, servers, lock.RedlockConfig{Observer: backend.ObserverFunc(func(e backend.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
			panic("survived")
		}), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		servers[0].is(redMood{delay: 10 * time.Millisecond}, "lock")
		servers[1].is(redMood{delay: 10 * time.Millisecond}, "lock")
		held := lockRed(t, r)
		after(time.Second)
		_, err := r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrLocked)
		require.NoError(t, held.Unlock(t.Context()))
		lost := lockRed(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = r.Lock(ctx, "a")
		require.ErrorIs(t, err, lock.ErrLocked)
		for _, s := range servers {
			s.forget(t, "a")
		}
		<-lost.Context().Done()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, events, 6)
		require.Equal(t, 6, bytes.Count(log.Bytes(), []byte("observer panicked")))
		for i, kind := range []backend.EventKind{
			backend.EventGranted, backend.EventExhausted, backend.EventReleased,
			backend.EventGranted, backend.EventCancelled, backend.EventLost,
		} {
			require.Equal(t, kind, events[i].Kind)
			require.Equal(t, redNS, events[i].Namespace)
			require.Equal(t, "a", events[i].Member)
		}
		require.Equal(t, held.Token(), events[0].Token)
		require.Equal(t, 10*time.Millisecond, events[0].Duration)
		require.ErrorIs(t, events[1].Err, lock.ErrLocked)
		require.Equal(t, 1020*time.Millisecond, events[2].Duration)
		require.Equal(t, 50*time.Millisecond, events[4].Duration)
		require.ErrorIs(t, events[5].Err, lock.ErrLost)
	})
}

func TestHeldRedlocksCostNoGoroutines(t *testing.T) {
	servers := newRedServers(t, 3)
	r := newRedlock(t, servers, lock.RedlockConfig{TTL: time.Hour})
	before := runtime.NumGoroutine()
	var all []*lock.RedlockHeld
	for i := range 1000 {
		held, err := r.TryLock(t.Context(), strconv.Itoa(i))
		require.NoError(t, err)
		_, cancel := context.WithCancel(held.Context())
		defer cancel()
		all = append(all, held)
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, patience, time.Millisecond)
	for _, held := range all {
		require.NoError(t, held.Unlock(t.Context()))
	}
}
