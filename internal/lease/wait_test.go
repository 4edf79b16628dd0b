package lease_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

func waitFor(count int) lease.Wait {
	return lease.Wait{EnterRequest: backend.EnterRequest{
		Take: backend.TakeRequest{Namespace: ns, Token: backend.NewToken(), TTL: time.Minute, Count: count},
	}}
}

// enter waits in the background.
func enter(ctx context.Context, g *lease.Group, s *store, w lease.Wait) (result func() (lease.Granted, error)) {
	type outcome struct {
		got lease.Granted
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		got, err := g.Enter(ctx, s, w)
		done <- outcome{got, err}
	}()
	synctest.Wait()
	return func() (lease.Granted, error) {
		o := <-done
		return o.got, o.err
	}
}

func (s *store) waiting(t *testing.T) int {
	t.Helper()
	reply, err := s.Queue(t.Context(), backend.QueueRequest{Namespace: ns})
	require.NoError(t, err)
	return reply.Length
}

func TestWithoutKnowingSinceWhenAWaiterGetsWhatIsReleasedWithItsFullTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		s.since = unknown
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		result := enter(t.Context(), g, s, waitFor(1))
		<-time.After(time.Hour)
		require.NoError(t, h.Release(t.Context()))
		got, err := result()
		require.NoError(t, err)
		require.Equal(t, time.Hour, got.Waited)
		require.Equal(t, 1, got.Tries)
		require.Equal(t, time.Minute, got.Grants[0].TTL)
		require.Equal(t, time.Minute, s.state(t, h.Key()).TTL)
		next := new(lease.Hold)
		require.NoError(t, g.Start(t.Context(), next, got.Grants[0], got.At, minute(true)))
		require.NoError(t, next.Release(t.Context()))
	})
}

func TestAWaitThatIsGivenUpLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	why := map[string]func(cancel func(), g *lease.Group, w *lease.Wait) error{
		"context":  func(cancel func(), _ *lease.Group, _ *lease.Wait) error { cancel(); return context.Canceled },
		"group":    func(_ func(), g *lease.Group, _ *lease.Wait) error { g.Close(); return backend.ErrClosed },
		"max wait": func(func(), *lease.Group, *lease.Wait) error { return lease.ErrWaited },
	}
	for name, end := range why {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 1)
				g, holder := keep(t, s, lease.Config{}), keep(t, s, lease.Config{})
				h := s.take(t, holder, ns, minute(true))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := waitFor(1)
				w.MaxWait = time.Hour
				result := enter(ctx, g, s, w)
				require.Equal(t, 1, s.waiting(t))
				want := end(cancel, g, &w)
				_, err := result()
				require.ErrorIs(t, err, want)
				require.Equal(t, 0, s.waiting(t))
				require.NoError(t, h.Release(t.Context()))
				require.Equal(t, 1, s.free(t, ns))
			})
		})
	}
}

func TestAWaitThatIsGivenUpIsNotKeptByASilentStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		ctx, cancel := context.WithCancel(t.Context())
		result := enter(ctx, g, s, waitFor(1))
		var silent atomic.Bool
		silent.Store(true)
		s.onLeave = func(ctx context.Context) error {
			if !silent.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		cancel()
		_, err := result()
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, backend.ErrUnavailable)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller has set no deadline")
		require.Less(t, time.Since(began), time.Second)
		silent.Store(false)
		<-time.After(time.Minute)
		require.Equal(t, 0, s.waiting(t), "the keeper has left the line instead")
		require.NoError(t, h.Release(t.Context()))
	})
}

func TestAWaitThatIsGivenUpDuringItsConfirmationGivesBack(t *testing.T) {
	t.Parallel()
	for name, reaches := range map[string]bool{"the confirmation arrived": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 2)
				s.since = unknown
				g := keep(t, s, lease.Config{})
				h1, h2 := s.take(t, g, ns, minute(true)), s.take(t, g, ns, minute(true))
				ctx, cancel := context.WithCancel(t.Context())
				s.set(func() {
					if reaches {
						s.answered = func(backend.RenewReply, error) (backend.RenewReply, error) {
							<-ctx.Done()
							return backend.RenewReply{}, ctx.Err()
						}
					} else {
						s.onRenew = hang
					}
				})
				result := enter(ctx, g, s, waitFor(2))
				require.NoError(t, h1.Release(t.Context()))
				require.NoError(t, h2.Release(t.Context()))
				synctest.Wait()
				cancel()
				_, err := result()
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, 2, s.free(t, ns))
			})
		})
	}
}

func TestAConfirmationThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		s.since = unknown
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(false))
		result := enter(t.Context(), g, s, waitFor(1))
		fails := 3
		s.set(func() {
			s.onRenew = func(context.Context, backend.RenewRequest) error {
				if fails--; fails >= 0 {
					return backend.ErrUnavailable
				}
				return nil
			}
		})
		begin := time.Now()
		require.NoError(t, h.Release(t.Context()))
		got, err := result()
		require.NoError(t, err)
		require.Equal(t, 1, got.Tries)
		require.Less(t, time.Since(begin), backend.DefaultClaimTTL)
	})
}

func TestAConfirmationThatCannotBeSentGivesUpWhenTheClaimIsOver(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]func(context.Context, backend.RenewRequest) error{
		"refused": unavailable, "black hole": hang,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 1)
				s.since = unknown
				g := keep(t, s, lease.Config{})
				h := s.take(t, g, ns, minute(false))
				result := enter(t.Context(), g, s, waitFor(1))
				s.set(func() { s.onRenew = outage })
				begin := time.Now()
				require.NoError(t, h.Release(t.Context()))
				_, err := result()
				require.ErrorIs(t, err, backend.ErrUnavailable)
				require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller has set no deadline")
				require.LessOrEqual(t, time.Since(begin), backend.DefaultClaimTTL)
				require.Equal(t, 1, s.free(t, ns))
			})
		})
	}
}

func TestAClaimThatPassedOnIsWaitedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2)
		s.since = unknown
		g := keep(t, s, lease.Config{})
		h1, h2 := s.take(t, g, ns, minute(false)), s.take(t, g, ns, minute(false))
		slow := true
		s.set(func() {
			s.onRenew = func(_ context.Context, req backend.RenewRequest) error {
				if slow { // as if the process had been stopped for longer than the claim lasts
					slow = false
					_, err := s.Backend.Return(t.Context(), backend.ReturnRequest{
						Namespace: ns, Items: []backend.Held{{Member: req.Items[0].Member, Token: req.Items[0].Token}},
					})
					return err
				}
				return nil
			}
		})
		first := enter(t.Context(), g, s, waitFor(2))
		second := enter(t.Context(), g, s, waitFor(1))
		require.NoError(t, h1.Release(t.Context()))
		require.NoError(t, h2.Release(t.Context()))
		got, err := second()
		require.NoError(t, err)
		require.Equal(t, 1, got.Tries)
		_, err = s.Backend.Return(t.Context(), backend.ReturnRequest{
			Namespace: ns, Items: []backend.Held{{Member: got.Grants[0].Member, Token: got.Grants[0].Token}},
		})
		require.NoError(t, err)
		got, err = first()
		require.NoError(t, err)
		require.Equal(t, 2, got.Tries)
		require.Len(t, got.Grants, 2)
	})
}

func TestALineThatCannotBeLeftNowIsLeftLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		h := s.take(t, g, ns, minute(true))
		ctx, cancel := context.WithCancel(t.Context())
		result := enter(ctx, g, s, waitFor(1))
		s.set(func() { s.onLeave = func(context.Context) error { return backend.ErrUnavailable } })
		cancel()
		_, err := result()
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, backend.ErrUnavailable, "why it may have ended without a grant")
		<-time.After(time.Second)
		require.Equal(t, 1, s.waiting(t))
		s.set(func() { s.onLeave = nil })
		<-time.After(time.Second)
		require.Equal(t, 0, s.waiting(t))
		require.True(t, h.Valid())
	})
}

func TestAWaitThatEndsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Enter(ctx, away{s, func() { <-ctx.Done() }}, waitFor(1))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, backend.ErrUnavailable)
		_, err = g.Enter(t.Context(), away{s, func() {}}, waitFor(1))
		require.ErrorIs(t, err, backend.ErrUnavailable)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	})
}

// away is a store that cannot be reached, and does not say that the caller's context has ended.
type away struct {
	*store
	end func()
}

func (s away) Enter(context.Context, backend.EnterRequest) (backend.EnterReply, error) {
	s.end()
	return backend.EnterReply{}, backend.ErrUnavailable
}

func TestAWaitEndsWithTheBackend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1)
		g := keep(t, s, lease.Config{})
		s.take(t, g, ns, minute(true))
		result := enter(t.Context(), g, s, waitFor(1))
		require.NoError(t, s.Close())
		_, err := result()
		require.ErrorIs(t, err, backend.ErrClosed)
	})
}

func TestCancelledWaitsLeaveNothingWhereverTheyAreCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 8)
		s.since = func(at time.Time) time.Time {
			if rand.N(2) == 0 {
				return time.Time{}
			}
			return at
		}
		g := keep(t, s, lease.Config{})
		pause := func(ctx context.Context) error {
			select {
			case <-time.After(rand.N(time.Millisecond)):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.set(func() { s.onRenew = func(ctx context.Context, _ backend.RenewRequest) error { return pause(ctx) } })
		s.set(func() {
			s.answered = func(reply backend.RenewReply, err error) (backend.RenewReply, error) {
				if rand.N(20) == 0 {
					return backend.RenewReply{}, backend.ErrUnavailable
				}
				return reply, err
			}
		})
		s.set(func() { s.onReturn = func(ctx context.Context, _ backend.ReturnRequest) error { return pause(ctx) } })
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Millisecond))
					got, err := g.Enter(ctx, s, waitFor(1+rand.N(3)))
					if err == nil {
						for _, grant := range got.Grants {
							h := new(lease.Hold)
							terms := minute(true)
							terms.Claim = got.Claim
							if g.Start(ctx, h, grant, got.At, terms) != nil {
								t.Error("not started")
							}
							if err := h.Release(ctx); err != nil {
								t.Error(err)
							}
						}
					} else if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		require.Equal(t, 0, s.waiting(t))
		require.Equal(t, 8, s.free(t, ns))
	})
}
