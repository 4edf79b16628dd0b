package lease_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

func (s *store) state(t *testing.T, key string) backend.MemberState {
	t.Helper()
	reply, err := s.Inspect(t.Context(), backend.InspectRequest{Namespace: ns, Only: []string{key}})
	require.NoError(t, err)
	require.Len(t, reply.Members, 1)
	return reply.Members[0]
}

func TestAnUpdateCountsFromNowOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(false))
		<-time.After(30 * time.Second)
		for _, ttl := range []time.Duration{time.Hour, 10 * time.Second} {
			require.NoError(t, h.Update(t.Context(), ttl))
			require.Equal(t, ttl, h.TTL())
			require.Equal(t, ttl, s.state(t, h.Key()).TTL)
			require.Equal(t, time.Now().Add(ttl-lease.Margin(ttl)), h.Deadline())
		}
		<-time.After(10 * time.Second)
		err := h.Update(t.Context(), time.Hour)
		require.ErrorIs(t, err, lease.ErrNotHeld)
		require.ErrorIs(t, err, lease.ErrExpired)
	})
}

func TestARenewedLeaseKeepsItsNewTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		require.NoError(t, h.Update(t.Context(), 3*time.Second))
		for range 100 {
			<-time.After(time.Second)
			require.True(t, h.Valid())
			require.LessOrEqual(t, s.state(t, h.Key()).TTL, 3*time.Second)
		}
		require.NoError(t, h.Update(t.Context(), backend.NoExpiry))
		require.True(t, h.Deadline().IsZero())
		before, _ := s.calls()
		<-time.After(time.Hour)
		after, _ := s.calls()
		require.Equal(t, before, after, "what has no end is not renewed")
		require.True(t, h.Valid())
	})
}

func TestAnUpdateWaitsForARenewalUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		slow := true
		s.set(func() {
			s.onRenew = func(context.Context, backend.RenewRequest) error {
				if slow {
					slow = false
					<-time.After(5 * time.Second)
				}
				return nil
			}
		})
		<-time.After(20 * time.Second) // the renewal hangs
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, h.Update(short, time.Hour), context.DeadlineExceeded)
		require.NoError(t, h.Update(t.Context(), time.Hour))
		require.Equal(t, time.Hour, s.state(t, h.Key()).TTL)
		require.WithinDuration(t, time.Now().Add(time.Hour), h.Deadline(), time.Second)
	})
}

func TestAnUpdateWithoutAnAnswerLeavesTheEarlierEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(false))
		s.set(func() { s.onRenew = unavailable })
		before := h.Deadline()
		require.ErrorIs(t, h.Update(t.Context(), time.Hour), backend.ErrUnavailable)
		require.Equal(t, before, h.Deadline())
		require.ErrorIs(t, h.Update(t.Context(), time.Second), backend.ErrUnavailable)
		require.Equal(t, time.Now().Add(time.Second-20*time.Millisecond), h.Deadline())
		<-h.Context().Done()
		require.ErrorIs(t, context.Cause(h.Context()), lease.ErrExpired)
	})
}

func TestAnUpdateToAnEarlierEndHasItWhileItsCallHangs(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(false))
		ctx := h.Context()
		_ = ctx.Done() // has a timer that must follow
		begin := time.Now()
		r.set(func() { // the store has it at once, and its answer comes late
			r.answered = func(reply backend.RenewReply, err error) (backend.RenewReply, error) {
				<-time.After(10 * time.Second)
				return reply, err
			}
		})
		done := make(chan error, 1)
		go func() { done <- h.Update(t.Context(), time.Second) }()
		<-ctx.Done()
		require.Equal(t, begin.Add(time.Second-20*time.Millisecond), time.Now())
		require.ErrorIs(t, context.Cause(ctx), lease.ErrExpired)
		require.Equal(t, h.Token(), r.value(t, "m0").Value, "before anybody else can have it")
		require.ErrorIs(t, <-done, lease.ErrExpired)
	})
}

func TestAnUpdateThatIsRefusedChangesNothing(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(false))
		before := h.Deadline()
		wrong := errors.New("wrong type")
		r.set(func() { r.onRenew = func(context.Context, backend.RenewRequest) error { return wrong } })
		require.ErrorIs(t, h.Update(t.Context(), time.Second), wrong)
		require.Equal(t, before, h.Deadline())
		require.Equal(t, time.Minute, h.TTL())
		<-h.Context().Done()
		require.Equal(t, before, time.Now())
	})
}

func TestAnUpdateWithoutAnAnswerIsFollowedByARenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		n := 0
		s.set(func() {
			s.onRenew = func(context.Context, backend.RenewRequest) error {
				if n++; n == 1 {
					return backend.ErrUnavailable
				}
				return nil
			}
		})
		require.Error(t, h.Update(t.Context(), time.Second))
		<-time.After(5 * time.Second)
		require.True(t, h.Valid())
		require.Greater(t, time.Until(h.Deadline()), 30*time.Second)
	})
}

func TestWhatIsKeptBackStaysSoUntilItsTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		var lost atomic.Bool
		g := keep(t, s, lease.Config{OnLost: func(*lease.Hold, error) { lost.Store(true) }})
		h := s.take(t, g, ns, minute(true))
		require.NoError(t, h.Quarantine(t.Context(), time.Hour))
		require.True(t, h.Kept())
		require.Equal(t, backend.QuarantineToken(h.Token()), s.state(t, h.Key()).Owner)
		require.Equal(t, time.Minute, h.TTL())
		<-time.After(30 * time.Minute)
		require.True(t, h.Valid())
		require.NoError(t, h.Quarantine(t.Context(), time.Hour))
		<-time.After(59 * time.Minute)
		require.NoError(t, h.Release(t.Context()))
		require.Equal(t, 0, s.free(t, ns))
		<-time.After(time.Minute)
		reply, err := s.Take(t.Context(), backend.TakeRequest{Namespace: ns, Token: "next", TTL: time.Minute})
		require.NoError(t, err)
		require.Len(t, reply.Grants, 1)
		require.False(t, lost.Load())
	})
}

func TestARestoredLeaseIsRenewedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		require.NoError(t, h.Quarantine(t.Context(), 10*time.Second))
		require.NoError(t, h.Restore(t.Context()))
		require.False(t, h.Kept())
		require.Equal(t, h.Token(), s.state(t, h.Key()).Owner)
		<-time.After(time.Hour)
		require.True(t, h.Valid())
		require.NoError(t, h.Release(t.Context()))
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestAQuarantineThatWasSetWithoutAnAnswerCanBeSetAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(false))
		mute := func(backend.RenewReply, error) (backend.RenewReply, error) {
			return backend.RenewReply{}, backend.ErrUnavailable
		}
		s.set(func() { s.answered = mute })
		require.Error(t, h.Quarantine(t.Context(), time.Minute))
		s.set(func() { s.answered = nil })
		require.NoError(t, h.Quarantine(t.Context(), time.Minute))
		s.set(func() { s.answered = mute })
		require.Error(t, h.Restore(t.Context()))
		s.set(func() { s.answered = nil })
		require.NoError(t, h.Restore(t.Context()))
		require.NoError(t, h.Release(t.Context()))
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestAReleaseDuringAnUpdateWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		s.set(func() {
			s.onRenew = func(context.Context, backend.RenewRequest) error {
				<-time.After(time.Second)
				return nil
			}
		})
		done := make(chan error)
		go func() { done <- h.Update(t.Context(), time.Hour) }()
		synctest.Wait()
		require.NoError(t, h.Release(t.Context()))
		require.ErrorIs(t, <-done, lease.ErrNotHeld)
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestAChangeIsMadeWhileNobodyRenews(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(true))
		r.set(func() {
			r.answered = func(reply backend.RenewReply, err error) (backend.RenewReply, error) {
				<-time.After(5 * time.Second)
				return reply, err
			}
		})
		<-time.After(21 * time.Second) // it is being renewed
		begin := time.Now()
		require.NoError(t, h.Change(t.Context(), func(ttl time.Duration) error {
			require.Equal(t, time.Minute, ttl)
			require.GreaterOrEqual(t, time.Since(begin), 3*time.Second)
			before, _ := r.calls()
			<-time.After(30 * time.Second)
			after, _ := r.calls()
			require.Equal(t, before, after)
			return nil
		}))
		require.Zero(t, h.Doubt())
		require.WithinDuration(t, time.Now().Add(30*time.Second), h.Deadline(), 2*time.Second, "it counts as renewed, from its beginning")
		<-time.After(10 * time.Second)
		require.Greater(t, time.Until(h.Deadline()), 45*time.Second, "it was due meanwhile")
		<-time.After(time.Hour)
		require.True(t, h.Valid())

		before, _ := r.calls()
		require.ErrorIs(t, h.Change(t.Context(), func(time.Duration) error { return backend.ErrUnavailable }), backend.ErrUnavailable)
		synctest.Wait()
		after, _ := r.calls()
		require.Equal(t, before+1, after, "it is asked what became of it")
		<-time.After(time.Hour)
		require.True(t, h.Valid())
		require.NoError(t, h.Release(t.Context()))
		require.ErrorIs(t, h.Change(t.Context(), func(time.Duration) error { panic("called") }), lease.ErrReleased)
	})
}

func TestAChangeOfALeaseThatIsNotRenewedKeepsItsEnd(t *testing.T) {
	t.Parallel()
	kinds(t, 3, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(false))
		end := h.Deadline()
		<-time.After(30 * time.Second)
		require.NoError(t, h.Change(t.Context(), func(ttl time.Duration) error {
			require.Equal(t, 30*time.Second, ttl)
			return nil
		}))
		require.Equal(t, end, h.Deadline())
		require.Zero(t, h.Doubt())
		require.ErrorIs(t, h.Change(t.Context(), func(time.Duration) error {
			<-time.After(time.Minute)
			return nil
		}), lease.ErrExpired)

		endless := r.takeThis(g, lease.Terms{TTL: backend.NoExpiry}, "m1")
		require.NoError(t, endless.Change(t.Context(), func(ttl time.Duration) error {
			require.Equal(t, backend.NoExpiry, ttl)
			return nil
		}))
		require.NoError(t, endless.Release(t.Context()))

		short := r.takeThis(g, lease.Terms{TTL: time.Millisecond}, "m2")
		<-time.After(400 * time.Microsecond)
		require.NoError(t, short.Change(t.Context(), func(ttl time.Duration) error {
			require.Equal(t, time.Millisecond, ttl, "there is no shorter one")
			return nil
		}))
		<-time.After(time.Millisecond)
		require.ErrorIs(t, short.Release(t.Context()), lease.ErrExpired)
	})
}

func TestAnExtensionByAnythingDoesNotOverflow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		require.NoError(t, h.Extend(t.Context(), math.MaxInt64))
		<-time.After(time.Hour)
		require.True(t, h.Valid())
		require.NoError(t, h.Release(t.Context()))
	})
}
