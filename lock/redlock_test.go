package lock_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	redTTL      = 10 * time.Second
	redDrift    = redTTL/100 + 2*time.Millisecond
	redValidity = redTTL - redDrift
	redTimeout  = 50 * time.Millisecond
)

func TestARedlockHasTheNameOnEveryServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 5)
		r := newRedlock(t, servers, lock.RedlockConfig{Info: "nightly"})
		begin := time.Now()
		held, err := r.TryLock(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, begin, time.Now())
		require.Equal(t, "a", held.Name())
		require.True(t, held.Valid())
		synctest.Wait()
		require.Equal(t, same(5, held.Token()), owners(t, servers, "a"))
		require.Empty(t, held.Errs())
		holder, ok := lock.ParseHolder(held.Token())
		require.True(t, ok)
		require.Equal(t, "nightly", holder.Info)
		for _, s := range servers {
			require.Equal(t, redTTL, s.ttl(t, "a"))
		}

		_, err = r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrLocked)
		other, err := r.TryLock(t.Context(), "b")
		require.NoError(t, err)

		require.NoError(t, held.Unlock(t.Context()))
		require.NoError(t, other.Unlock(t.Context()))
		synctest.Wait()
		require.Equal(t, same(5, ""), owners(t, servers, "a"))
		again, err := r.TryLock(t.Context(), "a")
		require.NoError(t, err)
		require.NotEqual(t, held.Token(), again.Token())
		require.NoError(t, again.Unlock(t.Context()))
	})
}

func TestTheValidityCountsFromBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			cfg      lock.RedlockConfig
			validity time.Duration
		}{
			{lock.RedlockConfig{}, 10*time.Second - 100*time.Millisecond - 2*time.Millisecond},
			{lock.RedlockConfig{TTL: time.Second}, time.Second - 10*time.Millisecond - 2*time.Millisecond},
			{lock.RedlockConfig{TTL: time.Hour}, time.Hour - 36*time.Second - 2*time.Millisecond},
			{lock.RedlockConfig{TTL: time.Minute, Drift: time.Second}, 59 * time.Second},
		} {
			servers := newRedServers(t, 3)
			for _, s := range servers {
				s.is(redMood{delay: 20 * time.Millisecond}, "lock")
			}
			c.cfg.NoRenewal = true
			begin := time.Now()
			held, err := newRedlock(t, servers, c.cfg).TryLock(t.Context(), "a")
			require.NoError(t, err)
			require.Equal(t, 20*time.Millisecond, time.Since(begin))
			require.Equal(t, begin.Add(c.validity), held.Deadline())

			ctx := held.Context()
			after(time.Until(held.Deadline()) - time.Nanosecond)
			require.NoError(t, ctx.Err())
			require.True(t, held.Valid())
			after(time.Nanosecond)
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			require.ErrorIs(t, context.Cause(ctx), lock.ErrExpired)
			require.False(t, held.Valid())
			require.Equal(t, begin.Add(c.validity), time.Now())

			err = held.Unlock(t.Context())
			require.ErrorIs(t, err, lock.ErrNotHeld)
			require.ErrorIs(t, err, lock.ErrExpired)
		}
	})
}

func TestAnswersThatComeTooLateForTheValidityAreNoLock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		for _, s := range servers { // as if the process had been stopped
			s.is(redMood{delay: 10*time.Second - 102*time.Millisecond}, "lock")
		}
		var told events
		r := newRedlock(t, servers, lock.RedlockConfig{Observer: &told})
		_, err := r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.ErrorContains(t, err, "too late")
		synctest.Wait()
		require.Equal(t, same(3, ""), owners(t, servers, "a"), "it is given back")
		require.Empty(t, told.of(backend.EventGranted))
		require.Empty(t, told.of(backend.EventLost))
	})
}

func TestTheOutcomeIsKnownAsSoonAsItIsCertain(t *testing.T) {
	t.Parallel()
	slow, slower := redMood{delay: 10 * time.Millisecond}, redMood{delay: 40 * time.Millisecond}
	hang, broken := redMood{hang: true}, redMood{delay: 10 * time.Millisecond, err: errBroken}
	const taken = "taken"
	for name, c := range map[string]struct {
		moods  []redMood
		taken  int // by somebody else, on so many of the first servers
		quorum int
		want   error
		after  time.Duration
	}{
		"granted by those who are quick":         {moods: []redMood{slow, slow, slow, slower, slower}, after: 10 * time.Millisecond},
		"granted although some hang":             {moods: []redMood{hang, hang, slow, slow, slow}, after: 10 * time.Millisecond},
		"granted although some are broken":       {moods: []redMood{broken, slow, slow, slow, broken}, after: 10 * time.Millisecond},
		"granted although some are somebody's":   {moods: []redMood{slow, slow, slow, slow, slow}, taken: 2, after: 10 * time.Millisecond},
		"granted by all":                         {moods: []redMood{slow, slow, slower}, quorum: 3, after: 40 * time.Millisecond},
		"granted by the only one":                {moods: []redMood{slow}, after: 10 * time.Millisecond},
		"refused by those who are quick":         {moods: []redMood{slow, slow, slow, slower, hang}, taken: 3, want: lock.ErrLocked, after: 10 * time.Millisecond},
		"refused by one where all are needed":    {moods: []redMood{slow, hang, hang}, taken: 1, quorum: 3, want: lock.ErrLocked, after: 10 * time.Millisecond},
		"refused by some, others are broken":     {moods: []redMood{slow, slow, broken, slow, slow}, taken: 2, want: lock.ErrLocked, after: 10 * time.Millisecond},
		"too many are broken":                    {moods: []redMood{broken, broken, broken, hang, hang}, want: lock.ErrNoQuorum, after: 10 * time.Millisecond},
		"too many hang":                          {moods: []redMood{hang, hang, slow}, want: lock.ErrNoQuorum, after: redTimeout},
		"too many are broken, one is somebody's": {moods: []redMood{slower, broken, broken}, taken: 1, want: lock.ErrNoQuorum, after: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				servers := newRedServers(t, len(c.moods))
				for i, m := range c.moods {
					servers[i].is(m, "lock")
					if i < c.taken {
						servers[i].take(t, taken)
					}
				}
				r := newRedlock(t, servers, lock.RedlockConfig{Quorum: c.quorum})
				begin := time.Now()
				held, err := r.TryLock(t.Context(), taken)
				require.Equal(t, c.after, time.Since(begin))
				if c.want == nil {
					require.NoError(t, err)
					require.NoError(t, held.Unlock(t.Context()))
					require.Equal(t, c.after, time.Since(begin))
				} else {
					for _, kind := range []error{lock.ErrLocked, lock.ErrNoQuorum} {
						require.Equal(t, errors.Is(c.want, kind), errors.Is(err, kind), "%v: %v", kind, err)
					}
				}
				after(time.Second)
				for i, s := range servers {
					if i >= c.taken {
						require.Empty(t, s.owner(t, taken), "server %d", i)
					}
				}
			})
		})
	}
}

func TestAFailureGivesTheErrorOfEachServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		servers[0].is(redMood{hang: true})
		servers[2].is(redMood{err: errBroken})
		r := newRedlock(t, servers, lock.RedlockConfig{Names: []string{"ams", "ber", "cai"}})
		_, err := r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.ErrorIs(t, err, backend.ErrUnavailable, "of the one that hangs")
		require.ErrorIs(t, err, errBroken)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "that would be the caller's")
		require.NotErrorIs(t, err, lock.ErrLocked)
		var all *lock.RedlockError
		require.ErrorAs(t, err, &all)
		require.Equal(t, "lock", all.Op)
		require.Equal(t, "a", all.Name)
		require.Equal(t, []int{3, 2, 1, 0}, []int{all.Servers, all.Quorum, all.Agreed, all.Refused})
		require.Len(t, all.Failed, 2)
		for _, failed := range all.Failed {
			require.Equal(t, []string{"ams", "ber", "cai"}[failed.Index], failed.Name)
			require.Contains(t, err.Error(), failed.Error())
		}
		require.ErrorIs(t, all.Failed[0], errBroken, "which was the first to answer")
		require.ErrorIs(t, all.Failed[1], backend.ErrUnavailable)
		var one *lock.ServerError
		require.ErrorAs(t, err, &one)
	})
}

func TestAFailedTryHasGivenBackWhatItHad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 5)
		for _, s := range servers[:3] {
			s.take(t, "a")
			s.is(redMood{delay: 20 * time.Millisecond}, "lock")
		}
		for _, s := range servers[3:] {
			s.is(redMood{delay: 5 * time.Millisecond})
		}
		r := newRedlock(t, servers, lock.RedlockConfig{})
		begin := time.Now()
		_, err := r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrLocked)
		require.Equal(t, 25*time.Millisecond, time.Since(begin), "one more call to those who had granted")
		require.Equal(t, []string{"somebody", "somebody", "somebody", "", ""}, owners(t, servers, "a"))
		for _, s := range servers[:3] {
			require.Empty(t, s.asked("unlock"), "where it is known that there is nothing")
		}
	})
}

func TestLateGrantsAreGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		servers[0].take(t, "a")
		servers[1].is(redMood{err: errBroken}, "lock")
		servers[2].is(redMood{delay: 30 * time.Millisecond}, "lock")
		r := newRedlock(t, servers, lock.RedlockConfig{})
		begin := time.Now()
		_, err := r.TryLock(t.Context(), "a")
		require.Error(t, err)
		require.Equal(t, begin, time.Now())
		require.Empty(t, servers[2].asked("unlock"), "it must not overtake the request")
		after(30 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, servers[2].owner(t, "a"))
		unlocked := servers[2].asked("unlock")
		require.Len(t, unlocked, 1)
		require.Equal(t, begin.Add(30*time.Millisecond), unlocked[0].at)
	})
}

func TestWhatWasGrantedWithoutAnAnswerIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		for _, s := range servers[:2] {
			s.is(redMood{mute: true}, "lock")
			s.is(redMood{hang: true}, "unlock")
		}
		r := newRedlock(t, servers, lock.RedlockConfig{})
		_, err := r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.NotEmpty(t, servers[0].owner(t, "a"))
		require.Empty(t, servers[2].owner(t, "a"))
		after(time.Second)
		require.NotEmpty(t, servers[0].owner(t, "a"))
		for _, s := range servers[:2] {
			s.is(redMood{}, "unlock")
		}
		after(2100 * time.Millisecond)
		require.Equal(t, same(3, ""), owners(t, servers, "a"))
		n := len(servers[0].asked("unlock"))
		after(time.Minute)
		require.Len(t, servers[0].asked("unlock"), n, "then it is done")
	})
}

func TestWhatCannotBeGivenBackIsLeftToTheTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 1)
		servers[0].is(redMood{mute: true}, "lock")
		servers[0].is(redMood{err: backend.ErrUnavailable}, "unlock")
		r := newRedlock(t, servers, lock.RedlockConfig{})
		_, err := r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		after(15 * time.Second)
		n := len(servers[0].asked("unlock"))
		require.Greater(t, n, 3)
		require.Less(t, n, 20, "with growing pauses")
		after(time.Minute)
		require.Len(t, servers[0].asked("unlock"), n, "it has run out")
	})
}

func TestACallerWhoIsGoneLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		servers[1].is(redMood{delay: 30 * time.Millisecond}, "lock")
		servers[2].is(redMood{hang: true}, "lock")
		r := newRedlock(t, servers, lock.RedlockConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := r.Lock(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Millisecond, time.Since(begin))
		after(time.Second)
		require.Equal(t, same(3, ""), owners(t, servers, "a"))
		require.Len(t, servers[0].asked("lock"), 1)

		_, err = r.TryLock(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, servers[0].asked("lock"), 1, "nothing is sent")
	})
}

func TestACallerWhoLeavesWhileItIsGivenBackNeedNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		servers[0].is(redMood{delay: 40 * time.Millisecond}, "unlock")
		servers[1].is(redMood{err: errBroken}, "lock")
		servers[2].is(redMood{err: errBroken, delay: time.Millisecond}, "lock")
		r := newRedlock(t, servers, lock.RedlockConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := r.TryLock(ctx, "a")
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.Equal(t, 10*time.Millisecond, time.Since(begin))
		require.NotEmpty(t, servers[0].owner(t, "a"))
		after(time.Second)
		require.Empty(t, servers[0].owner(t, "a"))
	})
}

func TestLockTriesAgainAfterARandomWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		for _, s := range servers[:2] {
			s.take(t, "a")
		}
		r := newRedlock(t, servers, lock.RedlockConfig{})
		pauses := make(map[time.Duration]bool)
		for range 50 {
			before := len(servers[2].asked("lock"))
			begin := time.Now()
			_, err := r.Lock(t.Context(), "a")
			require.ErrorIs(t, err, lock.ErrLocked)
			synctest.Wait()
			calls := servers[2].asked("lock")[before:]
			require.Len(t, calls, 3)
			require.Equal(t, begin, calls[0].at)
			require.Equal(t, time.Now(), calls[2].at, "no pause after the last one")
			for i := range 2 {
				pause := calls[i+1].at.Sub(calls[i].at)
				require.GreaterOrEqual(t, pause, 100*time.Millisecond)
				require.Less(t, pause, 300*time.Millisecond)
				require.NotEqual(t, calls[i].token, calls[i+1].token)
				pauses[pause] = true
			}
		}
		require.Greater(t, len(pauses), 90)
		var sum time.Duration
		for pause := range pauses {
			sum += pause
		}
		require.InDelta(t, 200, float64(sum/time.Millisecond)/float64(len(pauses)), 30)
	})
}

func TestLockGetsWhatIsFreedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		r := newRedlock(t, servers, lock.RedlockConfig{Tries: lock.UntilDone, RetryDelay: 10 * time.Millisecond})
		first, err := r.Lock(t.Context(), "a")
		require.NoError(t, err)
		time.AfterFunc(10*time.Second, func() { _ = first.Unlock(t.Context()) })
		begin := time.Now()
		held, err := r.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.InDelta(t, 10*time.Second, time.Since(begin), float64(16*time.Millisecond))
		require.NoError(t, held.Unlock(t.Context()))
	})
}

func TestAPauseEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 1)
		servers[0].take(t, "a")
		r := newRedlock(t, servers, lock.RedlockConfig{RetryDelay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := r.Lock(ctx, "a")
		require.Equal(t, time.Second, time.Since(begin))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, lock.ErrLocked, "that is why it waited")
	})
}

func TestDoLocksAndUnlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		r := newRedlock(t, servers, lock.RedlockConfig{})
		require.NoError(t, r.Do(t.Context(), "a", func(ctx context.Context) error {
			require.NoError(t, ctx.Err())
			synctest.Wait() // a quorum may be the other two
			require.NotEmpty(t, servers[0].owner(t, "a"))
			return nil
		}))
		require.ErrorIs(t, r.Do(t.Context(), "a", func(context.Context) error { return errBroken }), errBroken)
		require.Panics(t, func() { _ = r.Do(t.Context(), "a", func(context.Context) error { panic("f") }) })
		err := r.Do(t.Context(), "a", func(ctx context.Context) error {
			for _, s := range servers {
				s.forget(t, "a")
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		require.ErrorIs(t, err, lock.ErrLost)
		require.ErrorIs(t, err, lock.ErrNotHeld)
		synctest.Wait()
		require.Equal(t, same(3, ""), owners(t, servers, "a"))
		servers[0].take(t, "a")
		servers[1].take(t, "a")
		ran := false
		err = r.Do(t.Context(), "a", func(context.Context) error { ran = true; return nil })
		require.ErrorIs(t, err, lock.ErrLocked)
		require.False(t, ran)
	})
}

func TestBadRedlocksAreRefused(t *testing.T) {
	t.Parallel()
	a, b, c := memory.New(), memory.New(), memory.New()
	three := []lock.RedlockBackend{a, b, c}
	for name, bad := range map[string]struct {
		servers []lock.RedlockBackend
		ns      backend.Namespace
		cfg     lock.RedlockConfig
		field   string
	}{
		"no servers":            {nil, redNS, lock.RedlockConfig{}, "servers"},
		"a nil server":          {[]lock.RedlockBackend{a, nil, c}, redNS, lock.RedlockConfig{}, "server"},
		"a nil pointer":         {[]lock.RedlockBackend{a, (*memory.Backend)(nil)}, redNS, lock.RedlockConfig{}, "server"},
		"the same server twice": {[]lock.RedlockBackend{a, b, a}, redNS, lock.RedlockConfig{}, "server"},
		"no prefix":             {three, backend.Namespace{Suffix: "s"}, lock.RedlockConfig{}, "prefix"},
		"quorum over n":         {three, redNS, lock.RedlockConfig{Quorum: 4}, "quorum"},
		"quorum of a half":      {three, redNS, lock.RedlockConfig{Quorum: 1}, "quorum"},
		"half of an even":       {three[:2], redNS, lock.RedlockConfig{Quorum: 1}, "quorum"},
		"negative quorum":       {three, redNS, lock.RedlockConfig{Quorum: -1}, "quorum"},
		"negative ttl":          {three, redNS, lock.RedlockConfig{TTL: -time.Second}, "ttl"},
		"no expiry":             {three, redNS, lock.RedlockConfig{TTL: backend.NoExpiry}, "ttl"},
		"too short a ttl":       {three, redNS, lock.RedlockConfig{TTL: time.Microsecond}, "ttl"},
		"ttl within the drift":  {three, redNS, lock.RedlockConfig{TTL: 2 * time.Millisecond}, "drift"},
		"drift over the ttl":    {three, redNS, lock.RedlockConfig{Drift: 10 * time.Second}, "drift"},
		"negative drift":        {three, redNS, lock.RedlockConfig{Drift: -1}, "drift"},
		"long server timeout":   {three, redNS, lock.RedlockConfig{ServerTimeout: 9900 * time.Millisecond}, "server timeout"},
		"negative timeout":      {three, redNS, lock.RedlockConfig{ServerTimeout: -1}, "server timeout"},
		"negative tries":        {three, redNS, lock.RedlockConfig{Tries: -2}, "tries"},
		"negative delay":        {three, redNS, lock.RedlockConfig{RetryDelay: -1}, "retry delay"},
		"too few names":         {three, redNS, lock.RedlockConfig{Names: []string{"a", "b"}}, "names"},
		"bad info":              {three, redNS, lock.RedlockConfig{Info: "a\nb"}, "info"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := lock.NewRedlock(bad.servers, bad.ns, bad.cfg)
			require.ErrorIs(t, err, backend.ErrInvalid)
			var invalid *backend.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, bad.field, invalid.Field)
		})
	}
}

func TestBadNamesAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	servers := newRedServers(t, 3)
	r := newRedlock(t, servers, lock.RedlockConfig{})
	for _, name := range []string{"", "a\x00b", "\xff", strings.Repeat("a", backend.MaxNameLen+1)} {
		_, err := r.TryLock(t.Context(), name)
		require.ErrorIs(t, err, backend.ErrInvalid)
		_, err = r.Lock(t.Context(), name)
		require.ErrorIs(t, err, backend.ErrInvalid)
		err = r.Do(t.Context(), name, func(context.Context) error { panic("not locked") })
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
	for _, s := range servers {
		require.Empty(t, s.asked("lock"))
	}
}
