package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

func TestALeaseLivesAsLongAsItsHolderHoldsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		<-time.After(24 * time.Hour)
		require.True(t, h.Valid())
		require.NoError(t, h.Context().Err())
		renews, _ := s.calls()
		require.InDelta(t, 24*60*3, renews, 24*60*3*0.3, "about three times a minute")
		require.NoError(t, h.Release(t.Context()))
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestALeaseWithoutRenewalEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		lost := make(chan error, 1)
		g := keep(t, s, lease.Config{OnLost: func(_ *lease.Hold, why error) { lost <- why }})
		begin := time.Now()
		h := s.take(t, g, ns, minute(false))
		require.Equal(t, begin.Add(time.Minute-250*time.Millisecond), h.Deadline())
		<-h.Context().Done()
		require.Equal(t, time.Minute-250*time.Millisecond, time.Since(begin))
		require.False(t, h.Valid())
		require.ErrorIs(t, context.Cause(h.Context()), lease.ErrExpired)
		require.ErrorIs(t, h.Err(), lease.ErrExpired)
		require.ErrorIs(t, <-lost, lease.ErrExpired)
		require.Equal(t, 0, s.free(t, ns), "the store still keeps it: the margin")
		require.ErrorIs(t, h.Release(t.Context()), lease.ErrNotHeld)
		renews, _ := s.calls()
		require.Zero(t, renews)
	})
}

func TestTheObserverLearnsOfAnEndThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		lost := make(chan time.Time, 1)
		g := keep(t, s, lease.Config{OnLost: func(*lease.Hold, error) { lost <- time.Now() }})
		h := s.take(t, g, ns, minute(false))
		deadline := h.Deadline()
		require.WithinDuration(t, deadline, <-lost, 2*time.Millisecond)
	})
}

func TestLeasesAreRenewedInFullBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const leases = 6000
		s := newStore(t, leases)
		g := keep(t, s, lease.Config{})
		holds := make([]*lease.Hold, leases)
		for i := range holds {
			holds[i] = s.take(t, g, ns, minute(true))
			if i%60 == 0 {
				<-time.After(200 * time.Millisecond) // 20 s for all of them
			}
		}
		<-time.After(time.Minute)
		before, _ := s.calls()
		<-time.After(10 * time.Minute)
		after, _ := s.calls()
		intervals := 10 * time.Minute / (20 * time.Second)
		require.LessOrEqual(t, after-before, 2*leases/backend.BatchLimit*int(intervals))
		for _, h := range holds {
			require.True(t, h.Valid())
			require.NoError(t, h.Release(t.Context()))
		}
		require.Equal(t, leases, s.free(t, ns))
	})
}

func TestALeaseThatIsRenewedOftenDoesNotSplitTheBatchesOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const leases = 3000
		s := newStore(t, leases+1)
		g := keep(t, s, lease.Config{})
		s.take(t, g, ns, lease.Terms{TTL: 100 * time.Millisecond, Renew: true})
		for i := range leases {
			s.take(t, g, ns, minute(true))
			if i%30 == 0 {
				<-time.After(200 * time.Millisecond)
			}
		}
		long := 0
		s.set(func() {
			s.onRenew = func(_ context.Context, req backend.RenewRequest) error {
				if len(req.Items) > 1 {
					s.set(func() { long++ })
				}
				return nil
			}
		})
		<-time.After(time.Minute)
		require.LessOrEqual(t, long, 3*(leases/backend.BatchLimit+10))
	})
}

func TestALeaseThatTheStoreDeniesIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		_, err := s.Backend.Return(t.Context(), backend.ReturnRequest{
			Namespace: ns, Items: []backend.Held{{Member: h.Key()}}, Force: true, MemberTTL: backend.NoExpiry,
		})
		require.NoError(t, err)
		<-h.Context().Done()
		require.ErrorIs(t, context.Cause(h.Context()), lease.ErrLost)
		other := s.take(t, g, ns, minute(true))
		require.Greater(t, other.Fence(), h.Fence())
		err = h.Release(t.Context())
		require.ErrorIs(t, err, lease.ErrNotHeld)
		require.ErrorIs(t, err, lease.ErrLost)
		require.True(t, other.Valid())
		require.Equal(t, 0, s.free(t, ns), "the other one's lease stands")
	})
}

func TestARenewalThatHangsDelaysNeitherTheEndNorOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		other := backend.Namespace{Prefix: "test", Suffix: "other"}
		s.fill(t, other, 1)
		s.set(func() {
			s.onRenew = func(ctx context.Context, req backend.RenewRequest) error {
				if req.Namespace == ns {
					<-t.Context().Done() // without a look at its own context
					return ctx.Err()
				}
				return nil
			}
		})
		g1, g2 := lease.Keep(s, lease.Config{Namespace: ns}), lease.Keep(s, lease.Config{Namespace: other})
		h1, h2 := s.take(t, g1, ns, minute(true)), s.take(t, g2, other, minute(true))
		deadline := h1.Deadline()
		<-h1.Context().Done()
		require.Equal(t, deadline, time.Now())
		require.ErrorIs(t, context.Cause(h1.Context()), lease.ErrExpired)
		<-time.After(time.Hour)
		require.True(t, h2.Valid())
		t.Cleanup(g1.Close) // runs after t.Context() has ended, which lets the call go
		t.Cleanup(g2.Close)
	})
}

func TestALeaseSurvivesAnOutageThatIsShorterThanItsTTL(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]func(context.Context, backend.RenewRequest) error{
		"refused": unavailable, "black hole": hang,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 3000)
				g := keep(t, s, lease.Config{})
				holds := make([]*lease.Hold, 3000)
				for i := range holds {
					holds[i] = s.take(t, g, ns, minute(true))
				}
				s.set(func() { s.onRenew = outage })
				before, _ := s.calls()
				<-time.After(50 * time.Second)
				after, _ := s.calls()
				require.Less(t, after-before, 100, "tries during the outage")
				s.set(func() { s.onRenew = nil })
				<-time.After(10 * time.Minute)
				for _, h := range holds {
					require.True(t, h.Valid())
				}
			})
		})
	}
}

func TestAStoreThatIsMerelySlowIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, lease.Terms{TTL: time.Second, Renew: true})
		s.set(func() {
			s.onRenew = func(ctx context.Context, _ backend.RenewRequest) error {
				select {
				case <-time.After(300 * time.Millisecond):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		<-time.After(time.Hour)
		require.True(t, h.Valid())
	})
}

func TestAnOutageThatIsLongerEndsTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		s.set(func() { s.onRenew = unavailable })
		deadline := h.Deadline()
		<-h.Context().Done()
		require.Equal(t, deadline, time.Now())
		s.set(func() { s.onRenew = nil })
		<-time.After(time.Hour)
		require.False(t, h.Valid())
		require.ErrorIs(t, h.Err(), lease.ErrExpired)
	})
}

func TestARenewalNeverRevives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		ctx := h.Context()
		// The store renews, but its answers come when the lease is over.
		s.set(func() {
			s.answered = func(reply backend.RenewReply, err error) (backend.RenewReply, error) {
				<-time.After(time.Minute)
				return reply, err
			}
		})
		<-ctx.Done()
		require.False(t, h.Valid())
		for range 100 {
			<-time.After(time.Second)
			require.False(t, h.Valid())
			require.ErrorIs(t, context.Cause(ctx), lease.ErrExpired)
		}
	})
}

func TestAnAnswerAtTheLastMomentDoesNotRevive(t *testing.T) {
	t.Parallel()
	for name, update := range map[string]bool{"renewal": false, "update": true} {
		for range 300 { // who is first, the answer or the timer, is up to chance
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 1)
				g := keep(t, s, lease.Config{})
				h := s.take(t, g, ns, minute(!update))
				deadline := h.Deadline()
				s.set(func() {
					s.answered = func(reply backend.RenewReply, err error) (backend.RenewReply, error) {
						<-time.After(time.Until(deadline))
						return reply, err
					}
				})
				if update {
					require.ErrorIs(t, h.Update(t.Context(), time.Hour), lease.ErrNotHeld)
				} else {
					<-time.After(time.Until(deadline))
				}
				<-time.After(time.Millisecond)
				require.False(t, h.Valid(), name)
			})
		}
	}
}

func TestTheDeadlineCountsFromWhenTheRenewalWasSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		var sent time.Time
		s.set(func() {
			s.onRenew = func(context.Context, backend.RenewRequest) error {
				s.set(func() { sent, s.onRenew = time.Now(), nil })
				<-time.After(4 * time.Second)
				return nil
			}
		})
		<-time.After(25 * time.Second)
		s.set(func() {})
		require.Equal(t, sent.Add(time.Minute-250*time.Millisecond), h.Deadline())
	})
}

func TestWhatTheStoreRenewedInVainIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		deadline := h.Deadline()
		// All renewals reach the store, none of the answers comes back.
		s.set(func() {
			s.answered = func(backend.RenewReply, error) (backend.RenewReply, error) {
				return backend.RenewReply{}, backend.ErrUnavailable
			}
		})
		<-h.Context().Done()
		require.Equal(t, deadline, time.Now())
		require.ErrorIs(t, h.Release(t.Context()), lease.ErrNotHeld)
		<-time.After(time.Second)
		require.Equal(t, 1, s.free(t, ns))
	})
}

func TestOneBadLeaseDoesNotEndTheOthersInItsBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 500)
		g := keep(t, s, lease.Config{})
		var good []*lease.Hold
		bad := s.take(t, g, ns, minute(true))
		for range 499 {
			good = append(good, s.take(t, g, ns, minute(true)))
		}
		wrong := errors.New("wrong type")
		s.set(func() {
			s.onRenew = func(_ context.Context, req backend.RenewRequest) error {
				for _, it := range req.Items {
					if it.Member == bad.Key() {
						return wrong
					}
				}
				return nil
			}
		})
		<-time.After(10 * time.Minute)
		require.False(t, bad.Valid())
		for _, h := range good {
			require.True(t, h.Valid())
		}
	})
}

func TestAtReconnectionEveryLeaseIsAskedAbout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2003)
		g := keep(t, s, lease.Config{})
		var holds []*lease.Hold
		for range 2000 {
			holds = append(holds, s.take(t, g, ns, minute(true)))
		}
		fixed := s.take(t, g, ns, minute(false))
		endless := s.take(t, g, ns, lease.Terms{TTL: backend.NoExpiry, Renew: true})
		dead := s.take(t, g, ns, lease.Terms{TTL: backend.NoExpiry})
		end := fixed.Deadline()
		<-time.After(time.Second)
		_, err := s.Backend.Return(t.Context(), backend.ReturnRequest{
			Namespace: ns, Items: []backend.Held{{Member: dead.Key()}}, Force: true, MemberTTL: backend.NoExpiry,
		})
		require.NoError(t, err)

		s.reconnect()
		synctest.Wait()
		renews, items := s.calls()
		require.Equal(t, 2003, items)
		require.LessOrEqual(t, renews, 4)
		require.ErrorIs(t, dead.Err(), lease.ErrLost)
		for _, h := range append(holds, fixed, endless) {
			require.True(t, h.Valid())
		}
		require.WithinDuration(t, time.Now().Add(time.Minute), holds[0].Deadline(), time.Second)
		require.Equal(t, end, fixed.Deadline(), "asked about, not renewed")
		state, err := s.Inspect(t.Context(), backend.InspectRequest{Namespace: ns, Only: []string{fixed.Key()}})
		require.NoError(t, err)
		require.InDelta(t, 59*time.Second, state.Members[0].TTL, float64(5*time.Millisecond))
	})
}

// A holder that sees the end by itself and releases, before anybody was told of the loss, does not hide it.
func TestALossIsToldOfThoughTheHolderHasReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2)
		var told []*lease.Hold
		var holds []*lease.Hold
		g := keep(t, s, lease.Config{OnLost: func(h *lease.Hold, why error) {
			require.ErrorIs(t, why, lease.ErrLost)
			if told = append(told, h); len(told) == 1 { // both are lost by now
				for _, h := range holds {
					require.ErrorIs(t, h.Release(t.Context()), lease.ErrLost)
				}
			}
		}})
		holds = append(holds, s.take(t, g, ns, minute(true)), s.take(t, g, ns, minute(true)))
		s.set(func() {
			s.answered = func(reply backend.RenewReply, err error) (backend.RenewReply, error) {
				clear(reply.Renewed)
				return reply, err
			}
		})
		<-time.After(time.Minute)
		synctest.Wait()
		require.ElementsMatch(t, holds, told)
	})
}
