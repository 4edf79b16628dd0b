package lease_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

func (s *store) returned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.returns
}

func TestOneLeaseOnSeveralNamesIsRenewedAndGivenBackInOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		g := keepLocks(t, s, lease.Config{})
		alone := s.lock(t, g, minute(false), "d")
		h := s.lock(t, g, minute(true), "b", "a", "c")
		require.Equal(t, "b", h.Key())
		require.Equal(t, []string{"b", "a", "c"}, h.Keys())
		require.Equal(t, []string{"d"}, alone.Keys())
		state, err := s.Holders(t.Context(), backend.HoldersRequest{Namespace: ns, Names: []string{"b", "a", "c"}})
		require.NoError(t, err)
		for _, name := range state {
			require.Equal(t, h.Token(), name.Owner)
		}
		require.GreaterOrEqual(t, h.Fence(), alone.Fence()+3, "the largest")
		<-time.After(time.Hour)
		require.True(t, h.Valid())
		renews, items := s.calls()
		require.Equal(t, 3*renews, items)
		require.NoError(t, h.Release(t.Context()))
		require.Equal(t, 1, s.returned())
		for _, name := range h.Keys() {
			require.Empty(t, s.value(t, name).Value)
		}
	})
}

func TestOneOfSeveralNamesThatIsLostLosesAll(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(t *testing.T, h *lease.Hold){
		"renewal": func(*testing.T, *lease.Hold) {},
		"update": func(t *testing.T, h *lease.Hold) {
			t.Helper()
			require.ErrorIs(t, h.Update(t.Context(), time.Hour), lease.ErrLost)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 0)
				lost := make(chan error, 2)
				g := keepLocks(t, s, lease.Config{OnLost: func(_ *lease.Hold, why error) { lost <- why }})
				h, other := s.lock(t, g, minute(true), "a", "b", "c"), s.lock(t, g, minute(true), "d", "e")
				s.remove(t, "b")
				taken := s.lock(t, g, minute(true), "b")
				find(t, h)
				<-h.Context().Done()
				require.ErrorIs(t, context.Cause(h.Context()), lease.ErrLost)
				synctest.Wait()
				require.ErrorIs(t, <-lost, lease.ErrLost)
				require.Empty(t, lost)
				require.Empty(t, s.value(t, "a").Value, "the rest is given back")
				require.Empty(t, s.value(t, "c").Value)
				require.Equal(t, taken.Token(), s.value(t, "b").Value)
				require.Equal(t, 1, s.returned())
				require.ErrorIs(t, h.Release(t.Context()), lease.ErrLost)
				<-time.After(time.Hour)
				require.True(t, taken.Valid())
				require.True(t, other.Valid())
			})
		})
	}
}

func TestTheRestOfWhatWasLostIsGivenBackAlsoInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		g := keepLocks(t, s, lease.Config{})
		h := s.lock(t, g, minute(true), "a", "b", "c")
		s.remove(t, "a")
		s.set(func() {
			s.onReturn = func(context.Context, backend.ReturnRequest) error { return backend.ErrUnavailable }
		})
		<-h.Context().Done()
		<-time.After(10 * time.Second)
		require.Equal(t, h.Token(), s.value(t, "b").Value)
		require.True(t, g.Busy())
		s.set(func() { s.onReturn = nil })
		<-time.After(time.Second)
		require.Empty(t, s.value(t, "b").Value)
		require.Empty(t, s.value(t, "c").Value)
		require.False(t, g.Busy())
	})
}

func TestAReleaseOfSeveralNamesOfWhichOneIsLostGivesBackTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		g := keepLocks(t, s, lease.Config{})
		h := s.lock(t, g, minute(true), "a", "b", "c")
		s.remove(t, "c")
		require.ErrorIs(t, h.Release(t.Context()), lease.ErrNotHeld)
		require.Empty(t, s.value(t, "a").Value)
		require.Empty(t, s.value(t, "b").Value)
	})
}

func TestAReleaseOfSeveralNamesWithoutAnAnswerIsRepeatedInOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		returned := make(chan *lease.Hold, 3)
		g := keepLocks(t, s, lease.Config{OnReturned: func(h *lease.Hold) { returned <- h }})
		h := s.lock(t, g, minute(true), "a", "b", "c")
		s.set(func() {
			s.onReturn = func(context.Context, backend.ReturnRequest) error {
				s.set(func() { s.onReturn = nil })
				return backend.ErrUnavailable
			}
		})
		require.ErrorIs(t, h.Release(t.Context()), backend.ErrUnavailable)
		<-time.After(time.Second)
		require.Equal(t, 2, s.returned())
		require.Same(t, h, <-returned)
		require.Empty(t, returned, "once")
		require.Empty(t, s.value(t, "c").Value)
	})
}

func TestWhatWasRenewedInVainIsGivenBackForAllNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		g := keepLocks(t, s, lease.Config{})
		h := s.lock(t, g, minute(true), "a", "b")
		s.set(func() {
			s.answered = func(backend.RenewReply, error) (backend.RenewReply, error) {
				return backend.RenewReply{}, backend.ErrUnavailable
			}
		})
		<-h.Context().Done()
		require.ErrorIs(t, h.Release(t.Context()), lease.ErrExpired)
		<-time.After(time.Second)
		require.Empty(t, s.value(t, "a").Value)
		require.Empty(t, s.value(t, "b").Value)
	})
}

func TestALeaseOnSeveralNamesIsNotSplitOverCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		g := keepLocks(t, s, lease.Config{})
		for i := range 77 {
			var names []string
			for j := range 90 {
				names = append(names, fmt.Sprintf("%d/%d", i, j))
			}
			s.lock(t, g, minute(true), names...)
		}
		s.set(func() {
			s.onRenew = func(_ context.Context, req backend.RenewRequest) error {
				assert.Len(t, req.Items, 11*90, "full, but within the limit")
				of := make(map[string]int)
				for _, it := range req.Items {
					of[it.Token]++
				}
				for _, n := range of {
					assert.Equal(t, 90, n)
				}
				return nil
			}
		})
		s.reconnect()
		synctest.Wait()
		renews, items := s.calls()
		require.Equal(t, 77*90, items)
		require.Equal(t, 7, renews)
	})
}

func TestALeaseOnSeveralNamesThatIsAtFaultDoesNotEndOthersAndIsNotTriedWithoutPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		g := keepLocks(t, s, lease.Config{})
		bad := s.lock(t, g, minute(true), "a", "b", "c", "d")
		var good []*lease.Hold
		for i := range 100 {
			good = append(good, s.lock(t, g, minute(true), fmt.Sprint(i), fmt.Sprint(i, "x")))
		}
		s.set(func() {
			s.onRenew = func(_ context.Context, req backend.RenewRequest) error {
				for _, it := range req.Items {
					if it.Member == "c" {
						return errors.New("wrong type")
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
		renews, _ := s.calls()
		require.Less(t, renews, 500)
	})
}

func TestAnUpdateIsForAllNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		g := keepLocks(t, s, lease.Config{})
		h := s.lock(t, g, minute(false), "a", "b")
		require.NoError(t, h.Update(t.Context(), time.Hour))
		require.Equal(t, time.Hour, s.value(t, "a").TTL)
		require.Equal(t, time.Hour, s.value(t, "b").TTL)
		renews, _ := s.calls()
		require.Equal(t, 1, renews)
	})
}

func TestSeveralNamesAreHandedOverAndConfirmedTogether(t *testing.T) {
	t.Parallel()
	for _, since := range []func(time.Time) time.Time{nil, unknown} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t, 0)
			s.since = since
			g := keepLocks(t, s, lease.Config{})
			a, b := s.lock(t, g, minute(true), "a"), s.lock(t, g, minute(true), "b")
			w := lease.Wait{}
			w.Lock = backend.LockRequest{
				Namespace: ns, Token: backend.NewToken(), TTL: time.Minute, Items: []backend.LockItem{{Name: "a"}, {Name: "b"}},
			}
			result := enter(t.Context(), g, s, w)
			require.NoError(t, a.Release(t.Context()))
			synctest.Wait()
			require.Empty(t, s.value(t, "a").Value, "who waits for two holds none of them")
			require.NoError(t, b.Release(t.Context()))
			got, err := result()
			require.NoError(t, err)
			require.Equal(t, since == nil, got.Claim > 0)
			h := new(lease.Hold)
			terms := minute(true)
			terms.Claim = got.Claim
			require.NoError(t, g.StartAll(t.Context(), h, got.Grants, got.At, terms))
			synctest.Wait()
			renews, items := s.calls()
			require.Equal(t, []int{1, 2}, []int{renews, items})
			require.Equal(t, time.Minute, s.value(t, "b").TTL)
			<-time.After(time.Hour)
			require.True(t, h.Valid())
			require.NoError(t, h.Release(t.Context()))
		})
	}
}

func TestAWaitForNamesThatIsGivenUpLeavesAllTheirLines(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"at once": nil, "later": backend.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 0)
				g := keepLocks(t, s, lease.Config{})
				h := s.lock(t, g, minute(true), "a", "b")
				ctx, cancel := context.WithCancel(t.Context())
				w := lease.Wait{}
				w.Lock = backend.LockRequest{
					Namespace: ns, Token: backend.NewToken(), TTL: time.Minute, Items: []backend.LockItem{{Name: "a"}, {Name: "b"}},
				}
				result := enter(ctx, g, s, w)
				length := func(name string) int {
					reply, err := s.Queue(t.Context(), backend.QueueRequest{Namespace: ns, Name: name})
					require.NoError(t, err)
					return reply.Length
				}
				require.Equal(t, 1, length("b"))
				s.set(func() { s.onLeave = func(context.Context) error { return fault } })
				cancel()
				_, err := result()
				require.ErrorIs(t, err, context.Canceled)
				if fault != nil {
					require.True(t, g.Busy())
					s.set(func() { s.onLeave = nil })
					<-time.After(time.Second)
				}
				require.Zero(t, length("a"))
				require.Zero(t, length("b"))
				require.NoError(t, h.Release(t.Context()))
				require.Empty(t, s.value(t, "a").Value)
			})
		})
	}
}

func TestNamesOfWhichOneHasPassedOnAreWaitedForAgain(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]bool{"given back": false, "not given back yet": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, 0)
				s.since = unknown
				g := keepLocks(t, s, lease.Config{})
				h := s.lock(t, g, minute(true), "a", "b")
				w := lease.Wait{}
				w.Lock = backend.LockRequest{
					Namespace: ns, Token: backend.NewToken(), TTL: time.Minute, Items: []backend.LockItem{{Name: "a"}, {Name: "b"}},
				}
				first := true
				s.set(func() {
					s.onRenew = func(context.Context, backend.RenewRequest) error {
						if first { // as if the process had been stopped
							first = false
							s.remove(t, "b")
							if cut {
								s.set(func() {
									s.onReturn = func(context.Context, backend.ReturnRequest) error { return backend.ErrUnavailable }
								})
							}
						}
						return nil
					}
				})
				result := enter(t.Context(), g, s, w)
				require.NoError(t, h.Release(t.Context()))
				got, err := result()
				if cut {
					require.ErrorIs(t, err, backend.ErrUnavailable)
					s.set(func() { s.onReturn = nil })
					<-time.After(time.Second)
					require.Empty(t, s.value(t, "a").Value)
					return
				}
				require.NoError(t, err)
				require.Equal(t, 2, got.Tries)
				require.Equal(t, w.Lock.Token, s.value(t, "a").Value)
				require.Equal(t, w.Lock.Token, s.value(t, "b").Value)
			})
		})
	}
}
