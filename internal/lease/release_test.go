package lease_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

func TestAReleaseWorksWhenItsContextIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), keyType{}, "value"))
		h := s.takeFor(t, ctx, g, ns, minute(true))
		cancel()
		s.set(func() {
			s.onReturn = func(ctx context.Context, _ backend.ReturnRequest) error {
				require.Equal(t, "value", ctx.Value(keyType{}))
				require.NoError(t, ctx.Err())
				deadline, bounded := ctx.Deadline()
				require.True(t, bounded)
				require.GreaterOrEqual(t, time.Until(deadline), lease.ReleaseTimeout)
				require.LessOrEqual(t, time.Until(deadline), lease.ReleaseTimeout*9/8)
				require.Equal(t, "value", ctx.Value(keyType{}))
				return nil
			}
		})
		require.NoError(t, h.Release(ctx))
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestAReleaseThatGetsNoAnswerGoesOnInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		returned := make(chan *lease.Hold, 1)
		g := keep(t, s, lease.Config{OnReturned: func(h *lease.Hold) { returned <- h }})
		h := s.take(t, g, ns, minute(true))
		s.set(func() {
			s.onReturn = func(ctx context.Context, _ backend.ReturnRequest) error {
				<-ctx.Done()
				return ctx.Err()
			}
		})
		begin := time.Now()
		err := h.Release(t.Context())
		require.ErrorIs(t, err, backend.ErrUnavailable)
		require.ErrorContains(t, err, "background")
		require.GreaterOrEqual(t, time.Since(begin), lease.ReleaseTimeout)
		require.LessOrEqual(t, time.Since(begin), lease.ReleaseTimeout*9/8)
		<-time.After(20 * time.Second)
		require.Empty(t, returned)
		s.set(func() { s.onReturn = nil })
		<-time.After(lease.ReleaseTimeout + time.Second)
		require.Same(t, h, <-returned)
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestAReleaseWaitsNoLongerThanTheLeaseLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, lease.Terms{TTL: time.Second})
		s.set(func() {
			s.onReturn = func(ctx context.Context, _ backend.ReturnRequest) error {
				<-ctx.Done()
				return ctx.Err()
			}
		})
		begin := time.Now()
		require.ErrorIs(t, h.Release(t.Context()), backend.ErrUnavailable)
		require.Equal(t, time.Second, time.Since(begin))
		synctest.Wait()
		s.mu.Lock()
		tries := s.returns
		s.mu.Unlock()
		<-time.After(time.Hour)
		s.mu.Lock()
		defer s.mu.Unlock()
		require.Equal(t, tries, s.returns, "there is nothing left to give back")
	})
}

func TestManyReleasesInAnOutageAreCaughtUpInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2500)
		g := keep(t, s, lease.Config{})
		s.set(func() {
			s.onReturn = func(context.Context, backend.ReturnRequest) error { return backend.ErrUnavailable }
		})
		for range 2500 {
			h := s.take(t, g, ns, minute(true))
			require.ErrorIs(t, h.Release(t.Context()), backend.ErrUnavailable)
		}
		<-time.After(10 * time.Second)
		s.set(func() { s.onReturn, s.returns = nil, 0 })
		<-time.After(time.Second)
		require.Equal(t, 2500, s.free(t, ns))
		require.LessOrEqual(t, s.returns, 4)
	})
}

// What the store refuses to take back does not keep it from taking back the rest.
func TestOneThatCannotBeGivenBackDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const leases = 7
		s := newStore(t, leases)
		g := keep(t, s, lease.Config{})
		holds := make([]*lease.Hold, leases)
		for i := range holds {
			holds[i] = s.take(t, g, ns, lease.Terms{TTL: time.Hour})
		}
		s.set(func() {
			s.onReturn = func(context.Context, backend.ReturnRequest) error { return backend.ErrUnavailable }
		})
		for _, h := range holds {
			require.ErrorIs(t, h.Release(t.Context()), backend.ErrUnavailable)
		}
		bad := holds[3].Key()
		s.set(func() {
			s.onReturn = func(_ context.Context, req backend.ReturnRequest) error {
				if slices.ContainsFunc(req.Items, func(it backend.Held) bool { return it.Member == bad }) {
					return backend.ErrWrongType
				}
				return nil
			}
		})
		<-time.After(time.Second)
		require.Equal(t, leases-1, s.free(t, ns))
		require.False(t, g.Busy(), "it is given up")
	})
}

func TestAGroupThatIsClosedEndsItsLeasesAndOnlyThose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 4)
		g1, g2 := keep(t, s, lease.Config{}), keep(t, s, lease.Config{})
		mine, other := s.take(t, g1, ns, minute(true)), s.take(t, g2, ns, minute(true))
		endless := s.take(t, g1, ns, lease.Terms{TTL: backend.NoExpiry})
		ctx := mine.Context()
		g1.Close()
		g1.Close()
		require.ErrorIs(t, context.Cause(ctx), backend.ErrClosed)
		require.ErrorIs(t, endless.Err(), backend.ErrClosed)
		require.ErrorIs(t, mine.Update(t.Context(), time.Hour), backend.ErrClosed)
		require.Equal(t, 1, s.free(t, ns), "nothing is given back")
		require.NoError(t, mine.Release(t.Context()), "but it can be")
		require.NoError(t, mine.Release(t.Context()))
		require.Equal(t, 2, s.free(t, ns))

		h := new(lease.Hold)
		reply, err := s.Take(t.Context(), backend.TakeRequest{Namespace: ns, Token: "x", TTL: time.Minute})
		require.NoError(t, err)
		require.ErrorIs(t, g1.Start(t.Context(), h, reply.Grants[0], g1.Now(), minute(true)), backend.ErrClosed)
		require.NoError(t, h.Discard(t.Context()))
		require.Equal(t, 2, s.free(t, ns))
		<-time.After(time.Hour)
		require.True(t, other.Valid())
	})
}

func TestALongerTTLThatMayHaveBeenSetIsUndone(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		h := r.take(g, minute(false))
		r.set(func() {
			r.answered = func(backend.RenewReply, error) (backend.RenewReply, error) {
				return backend.RenewReply{}, backend.ErrUnavailable
			}
			r.onReturn = func(context.Context, backend.ReturnRequest) error { return backend.ErrUnavailable }
		})
		require.ErrorIs(t, h.Update(t.Context(), time.Hour), backend.ErrUnavailable)
		require.Equal(t, time.Hour, h.Doubt())
		<-h.Context().Done()
		require.ErrorIs(t, h.Release(t.Context()), lease.ErrExpired)
		<-time.After(10 * time.Minute)
		require.NotEmpty(t, r.value(t, "m0").Value)
		r.set(func() { r.onReturn = nil })
		<-time.After(time.Second)
		require.Empty(t, r.value(t, "m0").Value)
	})
}

func TestAGrantThatTookTooLongIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		at := g.Now()
		reply, err := s.Take(t.Context(), backend.TakeRequest{Namespace: ns, Token: "x", TTL: time.Minute})
		require.NoError(t, err)
		<-time.After(time.Minute - 250*time.Millisecond)
		h := new(lease.Hold)
		require.ErrorIs(t, g.Start(t.Context(), h, reply.Grants[0], at, minute(true)), lease.ErrExpired)
		require.False(t, h.Valid())
		require.NoError(t, h.Discard(t.Context()))
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestASharedGrantLastsUntilItIsReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, lease.Terms{Shared: true, Renew: true})
		ctx := h.Context()
		require.True(t, h.Deadline().IsZero())
		<-time.After(time.Hour)
		s.reconnect()
		synctest.Wait()
		require.True(t, h.Valid())
		require.NoError(t, h.Update(t.Context(), time.Second))
		require.NoError(t, h.Release(t.Context()))
		require.ErrorIs(t, context.Cause(ctx), lease.ErrReleased)
		renews, _ := s.calls()
		require.Zero(t, renews+s.returns)
	})
}

func TestRetireEndsTheContextAndKeepsTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		ctx := h.Context()
		h.Retire()
		require.ErrorIs(t, context.Cause(ctx), lease.ErrReleased)
		<-time.After(time.Hour)
		require.True(t, h.Valid())
		require.Equal(t, 0, s.free(t, ns))
		require.NoError(t, h.Release(t.Context()))
	})
}

func TestGroupsComeAndGo(t *testing.T) {
	t.Parallel()
	s := newStore(t, 100)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				g := lease.Keep(s, lease.Config{Namespace: ns})
				h := s.take(t, g, ns, minute(true))
				_ = h.Context().Done()
				g.Close()
				if err := h.Release(t.Context()); err != nil && !errors.Is(err, lease.ErrNotHeld) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// incomparable is a backend that cannot be the key of a map.
type incomparable struct {
	*store
	_ []int
}

func TestABackendThatCannotBeComparedHasAKeeperForEachGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2)
		be := incomparable{store: s}
		g1, g2 := lease.Keep(be, lease.Config{Namespace: ns}), lease.Keep(be, lease.Config{Namespace: ns})
		h1, h2 := s.take(t, g1, ns, minute(true)), s.take(t, g2, ns, minute(true))
		<-time.After(time.Hour)
		g1.Close()
		require.False(t, h1.Valid())
		<-time.After(time.Hour)
		require.True(t, h2.Valid())
		g2.Close()
	})
}
