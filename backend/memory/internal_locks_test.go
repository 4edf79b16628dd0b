package memory

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// checkLocks holds the locks of a space, and the lines for them, against what they promise each other.
func (s *space) checkLocks(t *testing.T, now instant) {
	t.Helper()
	require.Empty(t, s.stirred, "every step ends with serving those whom it concerns")
	lines := 0
	for _, e := range s.entries {
		if e.shared != nil && e.end != 0 {
			e.shared.check(t)
			require.Equal(t, backend.SharedToken, e.token)
			require.Equal(t, e.shared.last(), e.end, "the lock ends with the last of them")
			require.Zero(t, e.again)
			require.Zero(t, e.claim)
		}
		if !e.member && e.line == nil && !e.leased {
			require.NotZero(t, e.end, "an entry is there for something")
		}
		if e.line != nil {
			lines++
			s.checkLine(t, e, now)
		}
	}
	for i, l := range s.wakes {
		require.Equal(t, i+1, l.wake)
		require.Same(t, l, l.e.line)
		require.False(t, i > 0 && l.at < s.wakes[(i-1)/2].at, "the heap is in order")
	}
	waited := map[string]bool{}
	for token, w := range s.lockWaiters {
		require.Equal(t, token, w.req.Lock.Token)
		turn, obtainable := true, true
		for i, it := range w.req.Lock.Items {
			p, e := &w.spots[i], s.entries[it.Name]
			require.Same(t, e.line, p.line)
			waited[it.Name] = true
			turn = turn && p.line.first() == p
			obtainable = obtainable && s.obtainable(e, &w.req.Lock.Items[i], &w.req.Lock, backend.MaxPriority+1, now)
		}
		require.False(t, turn && obtainable, "%s waits in vain", token)
	}
	require.Len(t, waited, lines, "a line is there for somebody")
}

func (s *space) checkLine(t *testing.T, e *entry, now instant) {
	t.Helper()
	l, n := e.line, 0
	require.Same(t, e, l.e)
	require.False(t, l.stirred)
	l.walk(func(p *spot) bool {
		n++
		require.Equal(t, n, p.position())
		require.Same(t, s.lockWaiters[p.req.Lock.Token], p.waiter)
		return true
	})
	require.Positive(t, n)
	require.Equal(t, n, l.n)
	at := never
	switch {
	case e.locked(now) && e.shared != nil:
		at = e.shared.byEnd[0].end
	case e.locked(now):
		at = e.end
	}
	if at == never {
		require.Zero(t, l.wake)
	} else {
		require.NotZero(t, l.wake)
		require.Equal(t, at, l.at, "the end of the next lease is seen")
	}
}

// waiting counts those who wait for names.
func (s *space) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lockWaiters)
}

func (hs *holders) check(t *testing.T) {
	t.Helper()
	units := 0
	for i, h := range hs.byEnd {
		units += h.units
		require.False(t, i > 0 && hs.byEnd[i-1].compare(h) >= 0, "they are in order")
		require.Equal(t, i, hs.index(h))
		if hs.byToken != nil {
			require.Same(t, h, hs.byToken[h.token])
		}
	}
	require.Equal(t, units, hs.units)
	if hs.byToken != nil {
		require.Len(t, hs.byToken, len(hs.byEnd))
	}
}

// lockItems asks for some of a few names, alone or in units.
func lockItems(rnd *rand.Rand) []backend.LockItem {
	items := make([]backend.LockItem, 1+rnd.IntN(2)*rnd.IntN(3))
	for i, m := range rnd.Perm(8)[:len(items)] {
		items[i].Name = "m" + strconv.Itoa(m)
		if rnd.IntN(2) == 0 {
			items[i].Units = 1 + rnd.IntN(3)
			items[i].Limit = rnd.IntN(2) * (items[i].Units + rnd.IntN(2))
		}
	}
	return items
}

func TestHoldersStayInOrder(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(2, seed))
		hs, now := &holders{}, instant(0)
		for i := range 400 {
			if rnd.IntN(5) == 0 {
				now++
			}
			end := now + 1 + instant(rnd.IntN(30))
			hs.lapse(now)
			switch n := len(hs.byEnd); {
			case n < 2+rnd.IntN(20):
				hs.add(&holder{token: strconv.Itoa(i), units: 1 + rnd.IntN(5), end: end, fence: int64(i)})
			case rnd.IntN(2) == 0:
				hs.remove(hs.byEnd[rnd.IntN(n)])
			default:
				hs.move(hs.byEnd[rnd.IntN(n)], end)
			}
			hs.check(t)
			for _, h := range hs.byEnd {
				if h.end > now {
					require.Same(t, h, hs.find(h.token, now))
				}
				require.Nil(t, hs.find(h.token, h.end), "a lease that ran out is none")
			}
		}
	}
}

func TestNothingIsKeptOfLocksThatRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		s := b.space(testSpace)
		lock := func(req backend.LockRequest) {
			req.Namespace = testSpace
			reply, err := b.Lock(t.Context(), req)
			require.NoError(t, err)
			require.NotEmpty(t, reply.Grants)
		}
		lock(backend.LockRequest{Token: "keeper", TTL: backend.NoExpiry, Items: []backend.LockItem{{Name: "shared", Units: 1}}})
		for i := range 100_000 {
			token, units := strconv.Itoa(i), i%2
			lock(backend.LockRequest{Token: token, TTL: time.Millisecond, Items: []backend.LockItem{{Name: token, Units: units}}})
			lock(backend.LockRequest{Token: token, TTL: time.Millisecond, Items: []backend.LockItem{{Name: "shared", Units: 1}}})
			if i%100 == 0 {
				<-time.After(time.Millisecond)
			}
		}
		require.Less(t, len(s.entries), 500)
		shared := s.entries["shared"].shared
		require.Less(t, len(shared.byEnd), 200)
		require.Less(t, len(shared.byToken), 200)
		require.Less(t, cap(shared.byEnd), 1000)
		s.check(t)
	})
}

func TestNothingIsKeptOfThoseWhoWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		s := b.space(testSpace)
		for i := range 1000 {
			token, items := strconv.Itoa(i), []backend.LockItem{{Name: "a"}, {Name: "b" + strconv.Itoa(i%10), Units: 1}, {Name: "c" + strconv.Itoa(i)}}
			lock := backend.LockRequest{Namespace: testSpace, Token: token, TTL: time.Second, Items: items}
			_, err := b.Enter(t.Context(), backend.EnterRequest{Lock: lock, ClaimTTL: time.Millisecond, Priority: i % 5})
			require.NoError(t, err)
			if i%3 == 0 {
				_, err = b.Leave(t.Context(), backend.LeaveRequest{Namespace: testSpace, Token: token, Names: []string{"a"}})
				require.NoError(t, err)
			}
		}
		s.check(t)
		<-time.After(3 * time.Second)
		synctest.Wait()
		s.check(t)
		require.Empty(t, s.lockWaiters)
		require.Empty(t, s.wakes)
		for _, e := range s.entries {
			require.Nil(t, e.line)
		}
		for _, l := range s.wakes[:cap(s.wakes)] {
			require.Nil(t, l)
		}
		for _, l := range s.stirred[:cap(s.stirred)] {
			require.Nil(t, l)
		}
		_, err := b.Unlock(t.Context(), backend.UnlockRequest{Namespace: testSpace, Force: true, Items: []backend.Held{{Member: "a"}}})
		require.NoError(t, err)
		s.sweep(s.clock.now())
		require.LessOrEqual(t, len(s.entries), 64)
	})
}

func TestForgottenLimitsAreNotKept(t *testing.T) {
	b := New()
	defer b.Close()
	for i := range 1000 {
		for _, limit := range []int{1 + i, 0} {
			require.NoError(t, b.SetLimit(t.Context(), backend.LimitRequest{Namespace: testSpace, Name: strconv.Itoa(i), Limit: limit}))
		}
	}
	require.Empty(t, b.space(testSpace).limits)
}

func TestEveryStepOnNamesFirstDoesWhatIsDue(t *testing.T) {
	items := []backend.LockItem{{Name: "a"}}
	held := backend.Held{Member: "a", Token: "0"}
	for name, step := range map[string]func(ctx context.Context, b *Backend) error{
		"lock": func(ctx context.Context, b *Backend) error {
			_, err := b.Lock(ctx, backend.LockRequest{Namespace: testSpace, Token: "1", TTL: time.Hour, Items: []backend.LockItem{{Name: "z"}}})
			return err
		},
		"enter": func(ctx context.Context, b *Backend) error {
			_, err := b.Enter(ctx, backend.EnterRequest{Lock: backend.LockRequest{
				Namespace: testSpace, Token: "1", TTL: time.Hour, Items: []backend.LockItem{{Name: "z"}},
			}})
			return err
		},
		"leave": func(ctx context.Context, b *Backend) error {
			_, err := b.Leave(ctx, backend.LeaveRequest{Namespace: testSpace, Token: "1", Names: []string{"a"}})
			return err
		},
		"unlock": func(ctx context.Context, b *Backend) error {
			reply, err := b.Unlock(ctx, backend.UnlockRequest{Namespace: testSpace, Items: []backend.Held{held}})
			require.False(t, reply.Unlocked[0])
			return err
		},
		"renew": func(ctx context.Context, b *Backend) error {
			reply, err := b.RenewLocks(ctx, backend.RenewRequest{Namespace: testSpace, Items: []backend.Renewal{
				{Member: "a", Token: "0", TTL: time.Hour},
			}})
			require.False(t, reply.Renewed[0])
			return err
		},
		"set limit": func(ctx context.Context, b *Backend) error {
			return b.SetLimit(ctx, backend.LimitRequest{Namespace: testSpace, Name: "z", Limit: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New()
				defer b.Close()
				lock := backend.LockRequest{Namespace: testSpace, Token: "0", TTL: time.Hour, Items: items}
				_, err := b.Lock(t.Context(), lock)
				require.NoError(t, err)
				lock.Token = "w"
				w, err := b.Enter(t.Context(), backend.EnterRequest{Lock: lock})
				require.NoError(t, err)
				s := b.space(testSpace)
				s.mu.Lock()
				s.disarm() // as if it were late
				s.mu.Unlock()
				<-time.After(time.Hour)
				require.Empty(t, w.Handover)
				require.NoError(t, step(t.Context(), b))
				require.Len(t, w.Handover, 1)
			})
		})
	}
}

func TestEntriesStaySmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(entry{}), uintptr(128), "a size class; there can be millions")
}
