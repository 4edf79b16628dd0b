package lease_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

const claim = backend.DefaultClaimTTL

func claimEnd(since time.Time) time.Time { return since.Add(claim - lease.Margin(claim)) }

func TestWhatIsHandedOverIsUsedAtOnceAndRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, renew := range []bool{true, false} {
		kinds(t, 1, func(t *testing.T, r *rig) {
			g := r.keep(lease.Config{})
			got := r.handed(g, time.Minute)
			require.Equal(t, claim, got.Claim)
			require.Equal(t, time.Hour, got.Waited)
			require.Equal(t, 1, got.Tries)
			renews, _ := r.calls()
			require.Zero(t, renews, "no round trip after the hand-over")
			require.Equal(t, claim, r.value(t, "m0").TTL)

			handed := time.Now()
			h := r.start(g, &got, minute(renew))
			require.True(t, h.Valid())
			synctest.Wait()
			require.Equal(t, handed, time.Now(), "at once")
			require.Equal(t, time.Minute, r.value(t, "m0").TTL)
			require.Equal(t, handed.Add(time.Minute-250*time.Millisecond), h.Deadline())
			renews, _ = r.calls()
			require.Equal(t, 1, renews)
			if renew {
				<-time.After(time.Hour)
				require.True(t, h.Valid())
				require.NoError(t, h.Release(t.Context()))
			} else {
				<-time.After(time.Second)
				r.reconnect() // has it asked about, and not renewed
				<-h.Context().Done()
				require.Equal(t, handed.Add(time.Minute-250*time.Millisecond), time.Now())
				renews, _ = r.calls()
				require.Equal(t, 2, renews)
				require.Equal(t, h.Token(), r.value(t, "m0").Value, "the store still keeps it: the margin")
				require.ErrorIs(t, h.Release(t.Context()), lease.ErrNotHeld)
			}
		})
	}
}

func TestOnlyAClaimThatIsRecentIsUsedUnconfirmed(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]func(time.Time) time.Time{
		"unknown":                unknown,
		"too old":                func(at time.Time) time.Time { return at.Add(-claim/2 - time.Millisecond) },
		"delivered late":         func(at time.Time) time.Time { <-time.After(claim * 3 / 5); return at },
		"old, and was cut short": func(at time.Time) time.Time { return at.Add(-time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kinds(t, 1, func(t *testing.T, r *rig) {
				r.since = since
				g := r.keep(lease.Config{})
				var sent time.Time
				r.set(func() {
					r.onRenew = func(context.Context, backend.RenewRequest) error {
						r.set(func() { sent, r.onRenew = time.Now(), nil })
						<-time.After(time.Second)
						return nil
					}
				})
				got := r.handed(g, time.Minute)
				require.Zero(t, got.Claim)
				require.Equal(t, time.Minute, got.Grants[0].TTL)
				require.Equal(t, sent.Add(time.Second), time.Now(), "it was renewed before it was given")
				h := r.start(g, &got, minute(false))
				require.Equal(t, sent.Add(time.Minute-250*time.Millisecond), h.Deadline())
				require.NoError(t, h.Release(t.Context()))
			})
		})
	}
}

func TestAClaimCountsFromTheEarliestMomentThatItMayHaveBegun(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		r.since = func(at time.Time) time.Time {
			<-time.After(time.Second)
			return at.Add(-time.Second / 2)
		}
		g := r.keep(lease.Config{})
		got := r.handed(g, time.Minute)
		r.set(func() { r.onRenew = hang })
		h := r.start(g, &got, minute(true))
		require.Equal(t, claimEnd(time.Now().Add(-3*time.Second/2)), h.Deadline())
	})
}

func TestASinceInTheFutureGainsNothing(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		r.since = func(at time.Time) time.Time { return at.Add(time.Hour) }
		g := r.keep(lease.Config{})
		got := r.handed(g, time.Minute)
		r.set(func() { r.onRenew = hang })
		require.Equal(t, claimEnd(time.Now()), r.start(g, &got, minute(true)).Deadline())
	})
}

func TestASharedHandOverHasNothingToRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		_, err := s.Take(t.Context(), backend.TakeRequest{
			Namespace: ns, Token: "q", TTL: time.Second, Prefer: []string{"m0"}, Only: true,
		})
		require.NoError(t, err)
		w := waitFor(1)
		w.Take.Shared = true
		got, err := g.Enter(t.Context(), s, w)
		require.NoError(t, err)
		require.Zero(t, got.Claim)
		h := new(lease.Hold)
		require.NoError(t, g.Start(t.Context(), h, got.Grants[0], got.At, lease.Terms{Shared: true, Renew: true}))
		<-time.After(time.Hour)
		require.True(t, h.Valid())
		renews, _ := s.calls()
		require.Zero(t, renews)
	})
}

func TestALateConfirmationStillCounts(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		got := r.handed(g, time.Minute)
		begin := time.Now()
		r.set(func() {
			r.answered = func(reply backend.RenewReply, err error) (backend.RenewReply, error) {
				<-time.After(4 * time.Second)
				return reply, err
			}
		})
		h := r.start(g, &got, minute(false))
		ctx := h.Context()
		_ = ctx.Done() // has a timer that must follow
		<-time.After(4*time.Second - 1)
		require.Equal(t, claimEnd(begin), h.Deadline())
		<-time.After(time.Millisecond)
		require.Equal(t, begin.Add(time.Minute-250*time.Millisecond), h.Deadline(), "from when it was sent")
		<-time.After(50 * time.Second)
		require.NoError(t, ctx.Err())
	})
}

func TestAConfirmationWithoutAnAnswerIsSentAgain(t *testing.T) {
	t.Parallel()
	lost := func(ctx context.Context, _ backend.RenewRequest) error { return hang(ctx, backend.RenewRequest{}) }
	for name, fault := range map[string]func(*store){
		"refused":      func(s *store) { s.onRenew = unavailable },
		"request lost": func(s *store) { s.onRenew = lost },
		"answer lost": func(s *store) {
			s.answered = func(backend.RenewReply, error) (backend.RenewReply, error) {
				return backend.RenewReply{}, backend.ErrUnavailable
			}
		},
		"not our fault": func(s *store) {
			s.onRenew = func(context.Context, backend.RenewRequest) error { return errors.New("loading") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kinds(t, 1, func(t *testing.T, r *rig) {
				g := r.keep(lease.Config{})
				got := r.handed(g, time.Minute)
				begin := time.Now()
				r.set(func() { fault(r.store) })
				h := r.start(g, &got, minute(false))
				<-time.After(4 * time.Second)
				require.Equal(t, claimEnd(begin), h.Deadline())
				renews, _ := r.calls()
				require.GreaterOrEqual(t, renews, 2)
				require.LessOrEqual(t, renews, 100)
				r.set(func() { r.onRenew, r.answered = nil, nil })
				<-time.After(time.Second)
				require.True(t, h.Valid())
				require.Greater(t, h.Deadline(), begin.Add(time.Minute))
				require.NoError(t, h.Release(t.Context()))
			})
		})
	}
}

func TestAClaimThatCannotBeConfirmedIsOverAtItsEnd(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*store){
		"request lost": func(s *store) { s.onRenew = hang },
		"answer lost": func(s *store) {
			s.answered = func(backend.RenewReply, error) (backend.RenewReply, error) {
				return backend.RenewReply{}, backend.ErrUnavailable
			}
		},
	} {
		for ttlName, ttl := range map[string]time.Duration{"long": time.Minute, "endless": backend.NoExpiry} {
			t.Run(name+", "+ttlName, func(t *testing.T) {
				t.Parallel()
				kinds(t, 1, func(t *testing.T, r *rig) {
					lost := make(chan error, 1)
					g := r.keep(lease.Config{OnLost: func(_ *lease.Hold, why error) { lost <- why }})
					got := r.handed(g, ttl)
					begin := time.Now()
					r.set(func() { fault(r.store) })
					h := r.start(g, &got, lease.Terms{TTL: ttl, Renew: true})
					<-h.Context().Done()
					require.Equal(t, claimEnd(begin), time.Now())
					require.ErrorIs(t, context.Cause(h.Context()), lease.ErrExpired)
					require.ErrorIs(t, <-lost, lease.ErrExpired)
					err := h.Release(t.Context())
					require.ErrorIs(t, err, lease.ErrNotHeld)
					require.ErrorIs(t, err, lease.ErrExpired)
					r.set(func() { r.onRenew, r.answered = nil, nil })
					<-time.After(time.Second)
					require.Empty(t, r.value(t, "m0").Value, "what was renewed in vain is given back")
				})
			})
		}
	}
}

func TestAClaimThatTheStoreDeniesIsLost(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		got := r.handed(g, time.Minute)
		r.remove(t, "m0")
		h := r.start(g, &got, minute(true))
		<-h.Context().Done()
		require.ErrorIs(t, context.Cause(h.Context()), lease.ErrLost)
		require.Empty(t, r.value(t, "m0").Value)
	})
}

func TestALeaseShorterThanItsClaimEndsInTime(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		got := r.handed(g, time.Second)
		begin := time.Now()
		r.set(func() { // the store renews, and nobody learns of it
			r.answered = func(backend.RenewReply, error) (backend.RenewReply, error) {
				return backend.RenewReply{}, backend.ErrUnavailable
			}
		})
		h := r.start(g, &got, lease.Terms{TTL: time.Second})
		require.Equal(t, begin.Add(time.Second-20*time.Millisecond), h.Deadline())
		<-h.Context().Done()
		require.Equal(t, h.Token(), r.value(t, "m0").Value, "the context has ended before the store lets others in")
	})
}

func TestAnEndlessLeaseHasTheEndOfItsClaimUntilItIsConfirmed(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		got := r.handed(g, backend.NoExpiry)
		begin := time.Now()
		r.set(func() {
			r.onRenew = func(context.Context, backend.RenewRequest) error {
				<-time.After(time.Second / 2)
				return nil
			}
		})
		h := r.start(g, &got, lease.Terms{TTL: backend.NoExpiry, Renew: true})
		require.Equal(t, claimEnd(begin), h.Deadline())
		<-time.After(time.Second)
		require.True(t, h.Deadline().IsZero())
		require.Equal(t, backend.NoExpiry, r.value(t, "m0").TTL)
		<-time.After(time.Hour)
		renews, _ := r.calls()
		require.Equal(t, 1, renews)
		require.NoError(t, h.Release(t.Context()))
	})
}

func TestAReleaseBeforeTheConfirmationIsFinal(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(r *rig, started chan struct{}) func(context.Context, backend.RenewRequest) error{
		"not yet sent": func(*rig, chan struct{}) func(context.Context, backend.RenewRequest) error { return nil },
		"not yet arrived": func(_ *rig, started chan struct{}) func(context.Context, backend.RenewRequest) error {
			return func(context.Context, backend.RenewRequest) error {
				close(started)
				<-time.After(time.Second)
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kinds(t, 1, func(t *testing.T, r *rig) {
				g := r.keep(lease.Config{})
				got := r.handed(g, time.Minute)
				started := make(chan struct{})
				r.set(func() { r.onRenew = hook(r, started) })
				h := r.start(g, &got, minute(true))
				if r.onRenew != nil {
					<-started
				}
				require.NoError(t, h.Release(t.Context()))
				require.Empty(t, r.value(t, "m0").Value)
				<-time.After(2 * time.Second)
				require.Empty(t, r.value(t, "m0").Value)
				require.ErrorIs(t, h.Err(), lease.ErrReleased)
			})
		})
	}
}

func TestWhatIsReleasedBeforeItWasSentIsNotRenewed(t *testing.T) {
	t.Parallel()
	kinds(t, 2, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		other := r.takeThis(g, minute(true), "m1")
		got := r.handed(g, time.Minute)
		r.set(func() { r.onRenew = unavailable })
		require.Error(t, other.Update(t.Context(), time.Minute))
		synctest.Wait() // its renewal has failed: what is to be sent next has to wait a little
		r.set(func() { r.onRenew, r.items = nil, 0 })
		h := r.start(g, &got, minute(true))
		require.NoError(t, h.Release(t.Context()))
		<-time.After(10 * time.Second)
		_, items := r.calls()
		require.Equal(t, 1, items)
		require.True(t, other.Valid())
	})
}

func TestAClaimDoesNotWaitForACallThatHangs(t *testing.T) {
	t.Parallel()
	kinds(t, 2, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		other := r.takeThis(g, lease.Terms{TTL: time.Hour, Renew: true}, "m1")
		got := r.handed(g, time.Minute)
		r.set(func() {
			r.onRenew = func(ctx context.Context, req backend.RenewRequest) error {
				if slices.ContainsFunc(req.Items, func(it backend.Renewal) bool { return it.Member == other.Key() }) {
					return hang(ctx, req)
				}
				return nil
			}
		})
		r.reconnect() // has everything renewed
		synctest.Wait()
		begin := time.Now()
		h := r.start(g, &got, minute(true))
		synctest.Wait()
		require.Equal(t, begin, time.Now())
		require.Equal(t, begin.Add(time.Minute-250*time.Millisecond), h.Deadline())
	})
}

func TestAClaimDoesNotWaitOutTheTroubleOfLongerLeases(t *testing.T) {
	t.Parallel()
	kinds(t, 2, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		other := r.takeThis(g, lease.Terms{TTL: time.Hour, Renew: true}, "m1")
		r.set(func() { r.onRenew = unavailable })
		r.reconnect()
		<-time.After(5 * time.Minute) // the pauses are up to 5 s by now
		require.True(t, other.Valid())
		before, _ := r.calls()
		<-time.After(10 * time.Second)
		after, _ := r.calls()
		require.LessOrEqual(t, after-before, 4)
		got, err := g.Enter(t.Context(), r.store, r.wait(time.Minute))
		require.NoError(t, err)
		got.Claim, got.At = claim, g.Now() // as if it had been handed over
		r.set(func() { r.onRenew = nil })
		begin := time.Now()
		h := r.start(g, &got, minute(true))
		<-time.After(200 * time.Millisecond)
		require.Greater(t, h.Deadline(), begin.Add(time.Minute/2))
	})
}

func TestAClaimDoesNotWaitOutTheTroubleThatComesAfterIt(t *testing.T) {
	t.Parallel()
	kinds(t, 2, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		other := r.takeThis(g, lease.Terms{TTL: time.Hour, Renew: true}, "m1")
		got := r.handed(g, time.Minute)
		begin := time.Now()
		r.set(func() {
			r.onRenew = func(_ context.Context, req backend.RenewRequest) error {
				if len(req.Items) == 1 && req.Items[0].Member == other.Key() {
					<-time.After(300 * time.Millisecond)
					return backend.ErrUnavailable // which calls for a pause that is long for the claim
				}
				if time.Since(begin) < 350*time.Millisecond {
					return backend.ErrUnavailable
				}
				return nil
			}
		})
		r.reconnect()
		synctest.Wait()
		h := r.start(g, &got, minute(true))
		<-time.After(600 * time.Millisecond)
		require.Greater(t, h.Deadline(), begin.Add(time.Minute/2))
	})
}

func TestAnUpdateConfirms(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{true, false} {
		kinds(t, 1, func(t *testing.T, r *rig) {
			g := r.keep(lease.Config{})
			got := r.handed(g, time.Minute)
			begin := time.Now()
			fails := 2 // the confirmation and, perhaps, the update
			if arrives {
				fails = 1
			}
			r.set(func() {
				r.onRenew = func(context.Context, backend.RenewRequest) error {
					if fails--; fails >= 0 {
						return backend.ErrUnavailable
					}
					return nil
				}
			})
			h := r.start(g, &got, minute(false))
			synctest.Wait()
			err := h.Update(t.Context(), time.Hour)
			if arrives {
				require.NoError(t, err)
				require.Equal(t, begin.Add(time.Hour-250*time.Millisecond), h.Deadline())
				<-time.After(10 * time.Second)
				renews, _ := r.calls()
				require.Equal(t, 2, renews, "there is nothing left to confirm")
				r.reconnect()
				synctest.Wait()
				require.Equal(t, begin.Add(time.Hour-250*time.Millisecond), h.Deadline())
				return
			}
			require.ErrorIs(t, err, backend.ErrUnavailable)
			require.Equal(t, claimEnd(begin), h.Deadline())
			<-time.After(10 * time.Second)
			require.True(t, h.Valid(), "it was confirmed all the same")
			require.WithinDuration(t, begin.Add(time.Minute), h.Deadline(), time.Second)
		})
	}
}

func TestAProcessThatWasStoppedEntersAgain(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g, other := r.keep(lease.Config{}), r.keep(lease.Config{})
		before := r.take(other, minute(true))
		var holds []*lease.Hold
		begin := time.Now()
		done := make(chan error, 1)
		go func() {
			done <- g.Acquire(t.Context(), r.store, r.wait(time.Minute), func(got *lease.Granted) error {
				if len(holds) == 0 {
					<-time.After(claim)
				}
				h := new(lease.Hold)
				holds = append(holds, h)
				terms := minute(true)
				terms.Claim = got.Claim
				require.Equal(t, len(holds), got.Tries)
				if err := g.StartAll(t.Context(), h, got.Grants, got.At, terms); err != nil {
					return errors.Join(err, h.Discard(t.Context()))
				}
				require.Equal(t, time.Since(begin), got.Waited)
				return nil
			})
		}()
		synctest.Wait()
		next := enter(t.Context(), other, r.store, r.wait(time.Minute))
		require.NoError(t, before.Release(t.Context()))
		got, err := next()
		require.NoError(t, err)
		require.Equal(t, begin.Add(claim), time.Now(), "it has passed on")
		h := r.start(other, &got, minute(true))
		<-time.After(time.Hour)
		require.True(t, h.Valid())
		require.Len(t, holds, 1)
		require.ErrorIs(t, holds[0].Err(), lease.ErrExpired)
		require.NoError(t, h.Release(t.Context()))
		require.NoError(t, <-done)
		require.Len(t, holds, 2)
		require.True(t, holds[1].Valid())
		<-time.After(time.Hour)
		require.True(t, holds[1].Valid())
	})
}

func TestOneThatIsStoppedAgainAndAgainWaitsNoLongerThanItWanted(t *testing.T) {
	t.Parallel()
	kinds(t, 1, func(t *testing.T, r *rig) {
		g := r.keep(lease.Config{})
		r.take(g, minute(false))
		w := r.wait(time.Minute)
		w.MaxWait = time.Minute + 30*time.Second
		starts := 0
		err := g.Acquire(t.Context(), r.store, w, func(got *lease.Granted) error {
			starts++
			<-time.After(20 * time.Second)
			h := new(lease.Hold)
			terms := minute(true)
			terms.Claim = got.Claim
			err := g.StartAll(t.Context(), h, got.Grants, got.At, terms)
			require.ErrorIs(t, err, lease.ErrExpired)
			if err := h.Discard(t.Context()); err != nil {
				return err
			}
			// Meanwhile somebody else gets it.
			_, failed := r.Set(t.Context(), backend.SetRequest{
				Namespace: ns, Kind: backend.KindLock, Items: []backend.SetItem{{Name: "m0", Value: "1", TTL: time.Second}},
			})
			require.NoError(t, failed)
			return err
		})
		require.ErrorIs(t, err, lease.ErrWaited)
		require.Equal(t, 2, starts)
		<-time.After(time.Second)
		require.Empty(t, r.value(t, "m0").Value)
	})
}

func TestAStartThatFailsForAnotherReasonIsNotRepeated(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	for name, err := range map[string]error{
		"another error":      wrong,
		"expired, but early": lease.ErrExpired,
		"not given back yet": errors.Join(lease.ErrExpired, backend.ErrUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kinds(t, 1, func(t *testing.T, r *rig) {
				g := r.keep(lease.Config{})
				r.take(g, minute(false))
				starts := 0
				got := g.Acquire(t.Context(), r.store, r.wait(time.Minute), func(*lease.Granted) error {
					if starts++; errors.Is(err, backend.ErrUnavailable) {
						<-time.After(2 * claim)
					}
					return err
				})
				require.ErrorIs(t, got, err)
				require.Equal(t, 1, starts)
			})
		})
	}
}
