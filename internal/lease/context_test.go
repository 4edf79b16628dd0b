package lease_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

type keyType struct{}

func TestTheContextHasTheValuesAndTheEndOfTheAcquisitions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2)
		g := keep(t, s, lease.Config{})
		why := errors.New("why")
		parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), keyType{}, "value"))
		h := s.takeFor(t, parent, g, ns, minute(true))
		ctx := h.Context()
		require.Same(t, ctx, h.Context())
		require.Equal(t, "value", ctx.Value(keyType{}))
		require.NoError(t, ctx.Err())
		cancel(why)
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), why)
		require.True(t, h.Valid(), "the lease goes on until it is released")
		require.NoError(t, h.Release(t.Context()))
		require.ErrorIs(t, context.Cause(ctx), why)

		late := s.takeFor(t, parent, g, ns, minute(true))
		require.ErrorIs(t, context.Cause(late.Context()), why)
		require.NoError(t, late.Release(t.Context()))
	})
}

func TestTheContextEndsWithTheRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		ctx := h.Context()
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		s.set(func() {
			s.onReturn = func(context.Context, backend.ReturnRequest) error {
				require.Error(t, ctx.Err(), "it has ended before anybody else can get the member")
				return nil
			}
		})
		require.NoError(t, h.Release(t.Context()))
		require.ErrorIs(t, context.Cause(ctx), lease.ErrReleased)
		require.ErrorIs(t, context.Cause(child), lease.ErrReleased)
		require.NoError(t, h.Release(t.Context()))

		unasked := s.take(t, g, ns, minute(true))
		require.NoError(t, unasked.Release(t.Context()))
		require.ErrorIs(t, context.Cause(unasked.Context()), lease.ErrReleased)
		<-unasked.Context().Done()

		ended, end := context.WithCancelCause(context.WithValue(t.Context(), keyType{}, "value"))
		end(errors.New("why"))
		late := s.take(t, g, ns, minute(true))
		require.NoError(t, late.Release(ended))
		require.ErrorIs(t, context.Cause(late.Context()), lease.ErrReleased, "not what the context of the release ended with")
		require.Equal(t, "value", late.Context().Value(keyType{}))
	})
}

func TestTheContextEndsAtTheDeadlineEvenIfNobodyListens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(false))
		ctx := h.Context()
		<-time.After(time.Until(h.Deadline()) - time.Nanosecond)
		require.NoError(t, ctx.Err())
		require.True(t, h.Valid())
		<-time.After(time.Nanosecond)
		require.ErrorIs(t, ctx.Err(), context.Canceled)
		require.ErrorIs(t, context.Cause(ctx), lease.ErrExpired)
		_, bounded := ctx.Deadline()
		require.False(t, bounded, "the deadline of the lease moves, that of a context must not")
	})
}

func TestContextsDerivedFromALeaseNeedNoGoroutine(t *testing.T) {
	s := newStore(t, 1)
	g := keep(t, s, lease.Config{})
	h := s.take(t, g, ns, minute(true))
	before := runtime.NumGoroutine()
	for range 100 {
		_, cancel := context.WithCancel(h.Context())
		defer cancel()
		stop := context.AfterFunc(h.Context(), func() {})
		defer stop()
	}
	// A timer of an earlier test may just have gone off.
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	require.NoError(t, h.Release(t.Context()))
}

func TestADoneThatIsAskedForAgainAndAgainFollowsTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, lease.Terms{TTL: backend.NoExpiry})
		done := h.Context().Done()
		<-time.After(24 * time.Hour)
		for _, ttl := range []time.Duration{time.Hour, time.Second, time.Minute} {
			require.NoError(t, h.Update(t.Context(), ttl))
			<-time.After(ttl / 2)
			require.NoError(t, h.Context().Err())
		}
		select {
		case <-done:
			require.Fail(t, "ended before its time")
		case <-time.After(29 * time.Second):
		}
		select {
		case <-done:
		case <-time.After(time.Second):
			require.Fail(t, "not ended in time")
		}
	})
}
