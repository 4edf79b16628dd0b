package task

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// attemptOf is an attempt that nobody runs: its timers do not fire, as in a process that was stopped.
func attemptOf(t *testing.T, limit time.Duration) *attempt {
	t.Helper()
	be := memory.New()
	s := NewServer(be, backend.Namespace{Prefix: "test", Suffix: "task"}, ServerConfig{})
	s.base = context.Background()
	s.group = lease.KeepTasks(be, lease.Config{Namespace: s.ns})
	t.Cleanup(func() {
		s.group.Close()
		require.NoError(t, be.Close())
	})
	a := &attempt{server: s, limit: time.Now().Add(limit), why: ErrTimeout}
	require.NoError(t, s.group.Start(s.base, &a.hold, backend.Grant{Member: "id", Token: "t"}, s.group.Now(), lease.Terms{TTL: time.Minute}))
	return a
}

func TestErrReadsTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := attemptOf(t, time.Second)
		require.NoError(t, a.Err())
		require.NoError(t, context.Cause(a))
		<-time.After(time.Second)
		require.Equal(t, context.DeadlineExceeded, a.Err())
		require.ErrorIs(t, context.Cause(a), ErrTimeout)

		a = attemptOf(t, time.Hour)
		<-time.After(time.Minute)
		require.ErrorIs(t, a.Err(), context.Canceled)
		require.ErrorIs(t, context.Cause(a), ErrLost)

		a = attemptOf(t, time.Hour)
		a.hold.Lose()
		require.Error(t, a.Err())
		require.ErrorIs(t, context.Cause(a), ErrLost)
	})
}

// Whether the time was over or the attempt has ended in another way, contexts derived from it end alike, at once and without
// goroutines of their own.
func TestDerivedContextsEndAlike(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end   func(a *attempt)
		err   error
		cause error
	}{
		"the time is over": {func(a *attempt) { <-time.After(time.Second); assert.Error(t, a.Err()) }, context.DeadlineExceeded, ErrTimeout},
		"it is told so":    {func(a *attempt) { a.end(a.why) }, context.DeadlineExceeded, ErrTimeout},
		"cancelled":        {func(a *attempt) { a.end(ErrCancelled) }, context.Canceled, ErrCancelled},
		"lost":             {func(a *attempt) { a.end(lostBy(lease.ErrExpired)) }, context.Canceled, ErrLost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := attemptOf(t, time.Second)
				type key struct{}
				value := context.WithValue(a, key{}, "value")
				patient, stop := context.WithTimeout(value, time.Hour)
				defer stop()
				child, cancel := context.WithCancelCause(patient)
				defer cancel(nil)
				require.NoError(t, child.Err())
				c.end(a)
				for _, ctx := range []context.Context{a, value, patient, child} {
					select {
					case <-ctx.Done():
					default:
						require.Fail(t, "not at once")
					}
					require.Equal(t, c.err, ctx.Err())
					require.ErrorIs(t, context.Cause(ctx), c.cause)
				}
				late, stop := context.WithCancel(value)
				defer stop()
				require.Equal(t, c.err, late.Err())
				require.ErrorIs(t, context.Cause(late), c.cause)
				require.Equal(t, "value", late.Value(key{}))
			})
		})
	}
}

// Whoever asks for a context when it has ended gets one that has.
func TestContextsThatAreMadeLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := attemptOf(t, time.Hour)
		a.returned = true
		require.Error(t, a.Err())
		<-a.Done()
		require.ErrorIs(t, context.Cause(a), context.Canceled)
		a.end(ErrCancelled)
		require.ErrorIs(t, context.Cause(a), context.Canceled)

		a = attemptOf(t, time.Hour)
		derived, cancel := context.WithCancel(a)
		defer cancel()
		a.end(ErrCancelled)
		<-derived.Done()
		require.ErrorIs(t, context.Cause(derived), ErrCancelled)
	})
}

// An attempt that was told of its end, or has returned, is not told of another one: what becomes of it depends on the first.
func TestTheFirstCauseStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := attemptOf(t, time.Hour)
		a.end(ErrCancelled)
		a.end(ErrDrained)
		require.ErrorIs(t, a.cause, ErrCancelled)

		a = attemptOf(t, time.Hour)
		a.returned = true
		a.end(ErrDrained)
		require.NoError(t, a.cause)
	})
}

// An attempt whose context ends before its handler begins has as long to return as any other.
func TestAnAttemptThatEndsBeforeItBegins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fired := make(chan struct{})
		w := &worker{timer: time.AfterFunc(time.Hour, func() { close(fired) })}
		a := attemptOf(t, time.Minute)
		a.worker = w
		a.end(ErrCancelled)
		a.arm()
		begin := time.Now()
		<-fired
		assert.Equal(t, grace, time.Since(begin))
	})
}

// A timer that fires late finds another attempt, or none.
func TestTimersThatFireLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &worker{timer: time.AfterFunc(time.Hour, func() {})}
		w.tick()
		a := attemptOf(t, time.Minute)
		a.worker = w
		a.end(ErrCancelled)
		a.arm()
		w.tick()
		assert.False(t, a.abandoned, "it still has time")
		a = attemptOf(t, time.Minute)
		a.worker = w
		a.arm()
		w.tick()
		require.NoError(t, a.Err())
		a.returned = true
		w.tick()
		assert.False(t, a.abandoned)
		assert.True(t, w.timer.Stop())
	})
}
