package memory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

var testSpace = backend.Namespace{Prefix: "test", Suffix: "allocator"}

// check holds a space against what its parts promise each other.
func (s *space) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.now()

	stale := 0
	for i, sl := range s.index.slots {
		require.Equal(t, i+1, sl.e.slot, "a slot and its entry know each other")
		if i > 0 {
			require.False(t, sl.before(&s.index.slots[(i-1)/2]), "the heap is in order")
		}
		if sl.e.watched {
			require.Same(t, sl.e, s.entries[sl.e.name], "what is watched exists")
		} else {
			stale++
		}
	}
	require.Equal(t, stale, s.index.stale)

	live := 0
	for i, p := range s.members.places {
		if i > 0 {
			require.Greater(t, p.seq, s.members.places[i-1].seq)
		}
		if p.e != nil {
			live++
			require.Equal(t, p.seq, p.e.seq)
			require.Same(t, p.e, s.entries[p.e.name])
		}
	}
	require.Equal(t, s.members.len(), live)

	waiting := s.line.n > 0
	ready := 0 // members that somebody in line could have
	count := 0
	for name, e := range s.entries {
		require.Equal(t, name, e.name)
		require.False(t, e.picked)
		if e.watched {
			require.NotZero(t, e.slot)
			require.LessOrEqual(t, s.index.slots[e.slot-1].at, s.due(e), "nothing is overlooked")
		}
		if !e.member {
			require.Nil(t, e.where)
			continue
		}
		count++
		if e.leased && e.deadline != never {
			require.True(t, e.watched)
		}
		switch {
		case s.isFree(e):
			if !e.locked(now) && !s.expired(e, now) {
				ready++
			}
		case e.where == &s.orphans:
			require.False(t, waiting, "who waits has what was lost")
			require.False(t, e.locked(now))
		case e.end != 0 && e.end != never:
			require.True(t, e.watched, "the end of its lock is seen")
		case e.end == 0:
			require.Failf(t, "lost", "%s is allocated, has no lock and nobody knows", name)
		}
	}
	require.Equal(t, live, count)

	soonest := never
	if w := s.line.first(); w != nil {
		require.Less(t, ready, max(w.req.Take.Count, 1), "the first in line waits in vain")
		if len(s.index.slots) > 0 {
			soonest = s.index.slots[0].at
		}
	}
	s.checkLocks(t, now)
	if len(s.wakes) > 0 {
		soonest = min(soonest, s.wakes[0].at)
	}
	if soonest != never {
		require.NotNil(t, s.timer)
		require.LessOrEqual(t, s.wakeAt, soonest)
	} else {
		require.Nil(t, s.timer, "no timer unless somebody waits")
	}
	n := 0
	s.line.walk(func(p *spot) bool {
		n++
		w := p.waiter
		require.Same(t, p, &w.spots[0])
		require.Same(t, w, s.waiters[w.req.Take.Token])
		require.Equal(t, n, p.position())
		return true
	})
	require.Equal(t, s.line.n, n)
}

func TestInvariantsHoldAfterEveryStep(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log("seed", seed)
				}
			}()
			play(t, rand.New(rand.NewPCG(1, uint64(seed))))
		})
	}
}

// play does random things to a small pool.
func play(t *testing.T, rnd *rand.Rand) {
	b := New()
	defer b.Close()
	ctx := t.Context()
	tokens, waits := []string{"none"}, map[string]<-chan backend.Handover{}
	lockWaits, asked := map[string]<-chan backend.Handover{}, map[string][]string{}
	granted := map[int64]bool{}
	lastFence := int64(0)
	member := func() string { return "m" + strconv.Itoa(rnd.IntN(8)) }
	several := func() []string {
		names := make([]string, rnd.IntN(5))
		for i := range names {
			names[i] = member()
		}
		return names
	}
	ttl := func() time.Duration {
		if rnd.IntN(8) == 0 {
			return backend.NoExpiry
		}
		return time.Duration(1+rnd.IntN(4000)) * time.Millisecond
	}
	token := func() string { return tokens[max(0, len(tokens)-1-rnd.IntN(10))] }
	note := func(grants []backend.Grant, shared bool) {
		for _, g := range grants {
			if !shared {
				require.False(t, granted[g.Fence])
				require.Greater(t, g.Fence, lastFence)
				lastFence, granted[g.Fence] = g.Fence, true
			}
		}
	}
	for i := range 300 {
		take := backend.TakeRequest{
			Namespace: testSpace, Token: fmt.Sprint("t", i), TTL: ttl(), Count: rnd.IntN(4), Collect: rnd.IntN(2) * rnd.IntN(10),
		}
		switch rnd.IntN(4) {
		case 0:
			take.Prefer = several()
			take.Only = len(take.Prefer) > 0 && rnd.IntN(2) == 0
		case 1:
			take.Count, take.Binding, take.BindingTTL = 1, member(), ttl()
		case 2:
			take.Shared = rnd.IntN(3) == 0
		}
		var err error
		switch op := rnd.IntN(34); op {
		case 0, 1:
			_, err = b.Extend(ctx, backend.ExtendRequest{Namespace: testSpace, Members: several(), TTL: ttl()})
		case 2:
			_, err = b.Shrink(ctx, backend.ShrinkRequest{Namespace: testSpace, Members: several()})
		case 3:
			_, err = b.Assign(ctx, backend.ExtendRequest{Namespace: testSpace, Members: append(several(), several()...), TTL: ttl()})
		case 4, 5, 6:
			var reply backend.TakeReply
			reply, err = b.Take(ctx, take)
			note(reply.Grants, take.Shared)
			tokens = append(tokens, take.Token)
		case 7, 8, 9:
			take.Only = false
			var reply backend.EnterReply
			reply, err = b.Enter(ctx, backend.EnterRequest{Take: take, Priority: rnd.IntN(3), ClaimTTL: time.Duration(rnd.IntN(2)) * time.Second})
			require.NotEqual(t, len(reply.Grants) == 0, reply.Handover == nil)
			if reply.Handover != nil {
				waits[take.Token] = reply.Handover
			}
			note(reply.Grants, take.Shared)
			tokens = append(tokens, take.Token)
		case 10, 11, 12:
			force := rnd.IntN(4) == 0
			items := []backend.Held{{Member: member(), Token: token()}, {Member: member(), Token: token()}}
			_, err = b.Return(ctx, backend.ReturnRequest{Namespace: testSpace, Items: items, Force: force, MemberTTL: ttl()})
		case 13:
			it := backend.Renewal{Member: member(), Token: token(), TTL: ttl()}
			if rnd.IntN(4) == 0 {
				it.NewToken = backend.QuarantineToken("x")
			}
			_, err = b.Renew(ctx, backend.RenewRequest{Namespace: testSpace, Items: []backend.Renewal{it}})
		case 14:
			_, err = b.Collect(ctx, backend.CollectRequest{Namespace: testSpace, Count: 1 + rnd.IntN(10)})
		case 15:
			_, err = b.Set(ctx, backend.SetRequest{Namespace: testSpace, Each: true, Items: []backend.SetItem{
				{Name: member(), Value: "1", TTL: ttl(), Cond: backend.Condition(rnd.IntN(2))},
			}})
		case 16:
			_, err = b.Delete(ctx, backend.DeleteRequest{Namespace: testSpace, Items: []backend.DeleteItem{{Name: member()}, {Name: member()}}})
		case 17:
			name := token()
			var reply backend.LeaveReply
			reply, err = b.Leave(ctx, backend.LeaveRequest{Namespace: testSpace, Token: name})
			if reply.Waiting {
				require.Empty(t, waits[name])
				delete(waits, name)
			}
		case 18, 19, 20, 21, 22, 23:
			lock := backend.LockRequest{Namespace: testSpace, Token: fmt.Sprint("t", i), TTL: ttl(), Items: lockItems(rnd)}
			if op < 21 {
				switch rnd.IntN(3) {
				case 0:
					lock.Token, lock.Again = token(), true
				case 1:
					lock.Token, lock.Downgrade = token(), true
					for j := range lock.Items {
						lock.Items[j].Units = max(lock.Items[j].Units, 1)
					}
				}
				var reply backend.LockReply
				reply, err = b.Lock(ctx, lock)
				note(reply.Grants, false)
			} else {
				var reply backend.EnterReply
				reply, err = b.Enter(ctx, backend.EnterRequest{Lock: lock, Priority: rnd.IntN(3), ClaimTTL: time.Duration(rnd.IntN(2)) * time.Second})
				if reply.Handover != nil {
					lockWaits[lock.Token] = reply.Handover
				}
				note(reply.Grants, false)
			}
			if errors.Is(err, backend.ErrLimit) {
				err = nil
			}
			for _, it := range lock.Items {
				asked[lock.Token] = append(asked[lock.Token], it.Name)
			}
			tokens = append(tokens, lock.Token)
		case 24, 25, 26, 27:
			items := []backend.Held{{Member: member(), Token: token()}}
			for _, name := range asked[items[0].Token] {
				items = append(items, backend.Held{Member: name, Token: items[0].Token})
			}
			_, err = b.Unlock(ctx, backend.UnlockRequest{Namespace: testSpace, Items: items, Force: rnd.IntN(8) == 0})
		case 28:
			items := []backend.Renewal{{Member: member(), Token: token(), TTL: ttl()}}
			for _, name := range asked[items[0].Token] {
				items = append(items, backend.Renewal{Member: name, Token: items[0].Token, TTL: ttl()})
			}
			_, err = b.RenewLocks(ctx, backend.RenewRequest{Namespace: testSpace, Items: items})
		case 29:
			err = b.SetLimit(ctx, backend.LimitRequest{Namespace: testSpace, Name: member(), Limit: rnd.IntN(5)})
		case 30:
			name := token()
			if len(asked[name]) > 0 {
				var reply backend.LeaveReply
				reply, err = b.Leave(ctx, backend.LeaveRequest{Namespace: testSpace, Token: name, Names: asked[name]})
				if reply.Waiting {
					require.Empty(t, lockWaits[name])
					delete(lockWaits, name)
				}
			}
		default:
			<-time.After(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			synctest.Wait()
		}
		require.NoError(t, err)
		b.space(testSpace).check(t)
		reply, err := b.Inspect(ctx, backend.InspectRequest{Namespace: testSpace})
		require.NoError(t, err)
		require.Empty(t, backend.CheckPool(reply, false))
		for name, w := range waits {
			if len(w) == 1 {
				require.NoError(t, (<-w).Err)
				delete(waits, name)
			}
		}
		require.Len(t, waits, reply.Waiting, "each wait ends with a hand-over or by leaving")
		for name, w := range lockWaits {
			if len(w) == 1 {
				if err := (<-w).Err; err != nil { // the limit was lowered below what is asked for
					require.ErrorAs(t, err, new(*backend.LimitError))
				}
				delete(lockWaits, name)
			}
		}
		require.Len(t, lockWaits, b.space(testSpace).waiting(), "each wait ends with a hand-over or by leaving")
	}
}

func TestWhatRanOutIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		for i := range 100_000 {
			for _, kind := range []backend.Kind{backend.KindLock, backend.KindBinding} {
				_, err := b.Set(t.Context(), backend.SetRequest{Namespace: testSpace, Kind: kind, Items: []backend.SetItem{
					{Name: strconv.Itoa(i), Value: "1", TTL: time.Millisecond},
				}})
				require.NoError(t, err)
			}
			if i%100 == 0 {
				<-time.After(time.Millisecond)
			}
		}
		s := b.space(testSpace)
		require.Less(t, len(s.entries), 500)
		require.Less(t, len(s.bindings), 500)
	})
}

func TestGoingRoundManyMembersKeepsTheIndexSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		s := b.space(testSpace)
		for i := range 20_000 {
			name := strconv.Itoa(i)
			_, err := b.Extend(t.Context(), backend.ExtendRequest{Namespace: testSpace, Members: []string{name}, TTL: backend.NoExpiry})
			require.NoError(t, err)
			reply, err := b.Take(t.Context(), backend.TakeRequest{Namespace: testSpace, Token: "t", TTL: time.Hour})
			require.NoError(t, err)
			require.Len(t, reply.Grants, 1)
			switch i % 3 {
			case 0:
				_, err = b.Return(t.Context(), backend.ReturnRequest{Namespace: testSpace, Items: []backend.Held{{Member: name, Token: "t"}}})
			case 1:
				_, err = b.Delete(t.Context(), backend.DeleteRequest{Namespace: testSpace, Items: []backend.DeleteItem{{Name: name}}})
			}
			require.NoError(t, err)
			_, err = b.Shrink(t.Context(), backend.ShrinkRequest{Namespace: testSpace, Members: []string{reply.Grants[0].Member}})
			require.NoError(t, err)
			if i%50 == 0 {
				<-time.After(time.Hour)
			}
		}
		s.check(t)
		require.Less(t, len(s.index.slots), 300)
		require.Less(t, len(s.members.places), 300)
		require.Less(t, len(s.entries), 300)
	})
}

func TestStaleDeadlinesAreClearedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		names := make([]string, 1000)
		for i := range names {
			names[i] = strconv.Itoa(i)
		}
		_, err := b.Extend(t.Context(), backend.ExtendRequest{Namespace: testSpace, Members: names, TTL: backend.NoExpiry})
		require.NoError(t, err)
		s := b.space(testSpace)
		for range 3000 {
			reply, err := b.Take(t.Context(), backend.TakeRequest{Namespace: testSpace, Token: "t", TTL: time.Hour})
			require.NoError(t, err)
			_, err = b.Return(t.Context(), backend.ReturnRequest{Namespace: testSpace, Items: []backend.Held{{Member: reply.Grants[0].Member, Token: "t"}}})
			require.NoError(t, err)
			require.LessOrEqual(t, len(s.index.slots), 70)
		}
		s.check(t)
	})
}
