package lock_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// What was handed over is used before its renewal was answered: from then on nobody depends on the store for a while.
func TestWhatWasHandedOverDoesNotWaitForItsRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewMutex(s, ns, "name", lock.Config{})
		held := hold(t, m)
		s.on(func(_ context.Context, op string) error {
			if op == "renew" {
				<-time.After(time.Second)
			}
			return nil
		})
		begin := time.Now()
		time.AfterFunc(time.Minute, func() { _ = held.Unlock(context.Background()) })
		next, err := m.Lock(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(begin))
		<-time.After(time.Hour)
		require.True(t, next.Valid())
		unlock(t, next)
	})
}

// reversed is a store that lists members in an order of its own.
type reversed struct{ plainStore }

func (r reversed) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	reply, err := r.plainStore.Members(ctx, req)
	slices.Reverse(reply.Names)
	slices.Reverse(reply.Locks)
	return reply, err
}

func TestTheLivingComeInTheOrderOfTheirIDs(t *testing.T) {
	t.Parallel()
	b := lock.NewHeartbeat(reversed{newPlainStore(t)}, ns, lock.HeartbeatConfig{})
	for _, id := range []string{"b", "c", "a"} {
		join(t, b, id)
	}
	require.Equal(t, []string{"a", "b", "c"}, ids(t, b))
}

func TestThePruningOfTheDeadSaysWhatFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: time.Millisecond})
		_, err := s.Add(t.Context(), backend.SetEdit{Namespace: ns, Names: []string{"dead"}})
		require.NoError(t, err)
		for _, op := range []string{"members", "remove", "get"} {
			s.fail(op, errOops)
			_, err := b.Prune(t.Context())
			require.ErrorIs(t, err, errOops, op)
		}
		s.on(nil)
		_, err = s.Add(t.Context(), backend.SetEdit{Namespace: ns, Names: []string{"dead"}})
		require.NoError(t, err)
		var gone []string
		calls := s.counting(func() { gone, err = b.Prune(t.Context()) })
		require.NoError(t, err)
		assert.Equal(t, []string{"dead"}, gone)
		assert.Equal(t, 3, calls, "nobody has to enter again")
	})
}

// A call that failed has changed nothing as far as is known, and says so in each of its results.
func TestACallThatFailsSaysNo(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	k, ctx := lock.NewKeys(s, ns), t.Context()
	yes(t, true)(k.Lock(ctx, "name", "1", time.Minute))
	no := func(got bool, err error) {
		t.Helper()
		require.Error(t, err)
		require.False(t, got)
	}
	all := func(name string) {
		t.Helper()
		no(k.Lock(ctx, name, "1", time.Minute))
		no(k.RLock(ctx, name, "1", time.Minute))
		no(k.Unlock(ctx, name))
		no(k.IsLocked(ctx, name))
		no(k.SetIf(ctx, name, lock.EQ, 1, "1", time.Minute))
		no(k.DeleteIf(ctx, name, lock.EQ, 1))
		no(k.SetIf(ctx, name, 99, 1, "1", time.Minute))
		no(k.DeleteIf(ctx, name, 99, 1))
		_, locked, err := k.Value(ctx, name)
		no(locked, err)
	}
	all("")
	s.on(func(context.Context, string) error { return errOops })
	all("name")
	n := 0
	for _, err := range k.Names(ctx) {
		require.ErrorIs(t, err, errOops)
		n++
	}
	assert.Equal(t, 1, n)
	s.fail("get", errOops)
	for _, err := range k.All(ctx) {
		require.ErrorIs(t, err, errOops)
		require.ErrorContains(t, err, "list locks: ")
		n++
	}
	assert.Equal(t, 2, n)
}

// A member that is dead and cannot be looked for says both.
func TestADeadMemberThatCannotBeTakenOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		p := join(t, lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: time.Second}), "p")
		yes(t, true)(lock.NewKeys(s, ns).Unlock(t.Context(), "p"))
		<-p.Context().Done()
		s.fail("get", errOops)
		err := p.Leave(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, errOops)
	})
}

// The observer is told that somebody gave up waiting for a Redlock: not of a lock that he got, nor of servers that failed.
func TestOnlyAWaitForARedlockThatWasGivenUpIsObserved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		var seen events
		r := newRedlock(t, servers, lock.RedlockConfig{Observer: &seen, Tries: 2})
		held, err := r.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.Empty(t, seen.of(backend.EventCancelled))
		_, err = r.Lock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrLocked)
		require.Len(t, seen.of(backend.EventCancelled), 1)
		require.NoError(t, held.Unlock(t.Context()))
		for _, s := range servers {
			s.is(redMood{err: errBroken})
		}
		_, err = r.Lock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.Len(t, seen.of(backend.EventCancelled), 1)
		r.Close()
		_, err = r.Lock(t.Context(), "a")
		require.ErrorIs(t, err, backend.ErrClosed)
		require.Len(t, seen.of(backend.EventCancelled), 1, "that was no wait")
		asked := len(servers[0].asked("lock"))
		_, err = r.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, backend.ErrClosed)
		require.Len(t, servers[0].asked("lock"), asked, "nobody is asked any more")
	})
}

// One server that says no and two that say nothing have decided nothing.
func TestOneRefusalIsNoDecision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		r := newRedlock(t, servers, lock.RedlockConfig{NoRenewal: true})
		held, err := r.TryLock(t.Context(), "a")
		require.NoError(t, err)
		synctest.Wait() // all of them have answered
		servers[0].forget(t, "a")
		for _, s := range servers[1:] {
			s.is(redMood{err: errBroken})
		}
		err = held.Extend(t.Context())
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.True(t, held.Valid(), "it goes on to its old deadline")
		err = held.Unlock(t.Context())
		require.ErrorIs(t, err, lock.ErrNoQuorum)
		require.NotErrorIs(t, err, lock.ErrNotHeld)
	})
}

// A Redlock that was not renewed is tried again after a while, as its configuration says.
func TestARenewalOfARedlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 3)
		const delay = 200 * time.Millisecond
		var log bytes.Buffer
		r := newRedlock(t, servers, lock.RedlockConfig{
			TTL: 30 * time.Second, RetryDelay: delay, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		held, err := r.TryLock(t.Context(), "a")
		require.NoError(t, err)
		for _, s := range servers {
			s.is(redMood{err: errBroken}, "renew")
		}
		<-time.After(20 * time.Second)
		synctest.Wait()
		require.Contains(t, log.String(), "not renewed, trying again")
		tries := servers[0].asked("renew")
		require.Greater(t, len(tries), 10)
		for i := range tries[1:] {
			pause := tries[i+1].at.Sub(tries[i].at)
			require.GreaterOrEqual(t, pause, delay/2)
			require.LessOrEqual(t, pause, delay*3/2)
		}
		for _, s := range servers {
			s.is(redMood{}, "renew")
		}
		<-time.After(time.Hour)
		require.True(t, held.Valid())
		require.NoError(t, held.Unlock(t.Context()))
	})
}

// When little is left of a Redlock it is tried in shorter and shorter pauses, however long they are otherwise.
func TestARenewalOfARedlockIsTriedWhileItLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 1)
		r := newRedlock(t, servers, lock.RedlockConfig{TTL: 30 * time.Second, RetryDelay: time.Hour})
		held, err := r.TryLock(t.Context(), "a")
		require.NoError(t, err)
		servers[0].is(redMood{err: errBroken}, "renew")
		<-held.Context().Done()
		require.GreaterOrEqual(t, len(servers[0].asked("renew")), 5)
	})
}

// A server that refuses to take something back is not asked again.
func TestWhatAServerRefusesIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 1)
		r := newRedlock(t, servers, lock.RedlockConfig{})
		for range 2 { // and what comes later is given back none the less
			held, err := r.TryLock(t.Context(), "a")
			require.NoError(t, err)
			servers[0].is(redMood{err: errBroken}, "unlock")
			before := len(servers[0].asked("unlock"))
			require.ErrorIs(t, held.Unlock(t.Context()), errBroken)
			<-time.After(time.Second)
			require.Len(t, servers[0].asked("unlock"), before+2)
			servers[0].is(redMood{err: backend.ErrUnavailable}, "unlock")
			require.ErrorIs(t, held.Unlock(t.Context()), errBroken)
			require.Len(t, held.Errs(), 1)
			servers[0].forget(t, "a")

			held, err = r.TryLock(t.Context(), "a")
			require.NoError(t, err)
			require.ErrorIs(t, held.Unlock(t.Context()), backend.ErrUnavailable)
			servers[0].is(redMood{}, "unlock")
			<-time.After(time.Second)
			require.Empty(t, servers[0].owner(t, "a"))
		}
	})
}

// Who extends a Redlock while somebody else does, or unlocks it, need not wait for a server that hangs.
func TestAnExtensionThatWaitsEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := newRedServers(t, 1)
		r := newRedlock(t, servers, lock.RedlockConfig{NoRenewal: true})
		held, err := r.TryLock(t.Context(), "a")
		require.NoError(t, err)
		servers[0].is(redMood{delay: 30 * time.Millisecond}, "renew")
		first := make(chan error)
		go func() { first <- held.Extend(t.Context()) }()
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, held.Extend(ctx), context.DeadlineExceeded)
		require.Equal(t, 10*time.Millisecond, time.Since(begin))
		go func() { _ = held.Unlock(context.Background()) }()
		err = <-first
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrReleased)
		require.Equal(t, 10*time.Millisecond, time.Since(begin))
	})
}

// That nobody knows who has a name is not that somebody else does.
func TestALookAtATokenThatFails(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	held := hold(t, m)
	s.fail("holders", errOops)
	_, err := m.TryLock(t.Context(), lock.Token("mine"))
	require.ErrorIs(t, err, errOops)
	require.NotErrorIs(t, err, lock.ErrLocked)
	owned, err := held.Owned(t.Context())
	require.ErrorIs(t, err, errOops)
	require.False(t, owned)
	s.on(nil)
	unlock(t, held)
	owned, err = held.Owned(t.Context())
	require.NoError(t, err)
	require.False(t, owned)
}

// A semaphore without units is none: each of its calls says so.
func TestASemaphoreNeedsALimit(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	require.Zero(t, s.counting(func() {
		for _, limit := range []int{0, -1, backend.MaxUnits + 1} {
			_, err := lock.NewSemaphore(s, ns, "seats", limit, lock.Config{}).TryAcquire(t.Context(), 1)
			var invalid *backend.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, "limit", invalid.Field)
		}
	}))
	seats, err := lock.NewSemaphore(s, ns, "seats", backend.MaxUnits, lock.Config{}).TryAcquire(t.Context(), 1)
	require.NoError(t, err)
	unlock(t, seats)
}
