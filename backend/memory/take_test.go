package memory_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func TestTakeGrantsFromTheHead(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		grants := r.takeAs(backend.TakeRequest{Token: "t", TTL: 90 * time.Second})
		require.Len(t, grants, 1)
		require.Equal(t, "a", grants[0].Member)
		require.Equal(t, "t", grants[0].Token)
		require.Equal(t, 90*time.Second, grants[0].TTL)
		require.Equal(t, []string{"b", "c"}, r.free())

		m, _ := r.member("a")
		require.False(t, m.Free())
		require.Equal(t, "t", m.Owner)
		require.Equal(t, 90*time.Second, m.TTL)
		require.True(t, m.Deadline.Equal(time.Now().Add(90*time.Second)))
	})
}

func TestTakeGrantsAllOrNone(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		require.Empty(t, r.takeAs(backend.TakeRequest{Token: "t", Count: 4}))
		require.Equal(t, []string{"a", "b", "c"}, r.free())
		require.Equal(t, []string{"a", "b", "c"}, members(r.takeAs(backend.TakeRequest{Token: "t", Count: 3})))
		require.Empty(t, r.free())
		require.Empty(t, r.take("u"))
	})
}

func TestTakeDropsExpiredAndMarksLockedMembersOnItsWay(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		_, err := r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"old"}, TTL: time.Second})
		require.NoError(t, err)
		r.extend("locked", "good", "behind")
		r.lock("locked", time.Hour)
		r.lock("behind", time.Hour)
		pass(time.Second)

		require.Equal(t, "good", r.take("t"))
		_, ok := r.member("old")
		require.False(t, ok, "expired")
		m, _ := r.member("locked")
		require.False(t, m.Free())
		m, _ = r.member("behind")
		require.True(t, m.Free(), "nobody came to it")
	})
}

func TestMembersExpireInWholeSecondsRoundedUp(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		pass(300 * time.Millisecond)
		_, err := r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"a"}, TTL: 1100 * time.Millisecond})
		require.NoError(t, err)
		m, _ := r.member("a")
		require.Equal(t, time.Now().Truncate(time.Second).Add(2*time.Second).Unix(), m.Expiry.Unix())
		pass(1699 * time.Millisecond)
		require.Equal(t, "a", r.take("t"))
		require.True(t, r.giveBack("a", "t"))
		pass(time.Millisecond)
		require.Empty(t, r.take("t"))
	})
}

func TestLapsedLeasesComeBackInTheOrderOfTheirDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "d", "c", "e")
		r.takeAs(backend.TakeRequest{Token: "1", TTL: 3 * time.Second})
		r.takeAs(backend.TakeRequest{Token: "2", TTL: 2 * time.Second})
		r.takeAs(backend.TakeRequest{Token: "3", TTL: time.Second, Count: 2})
		r.takeAs(backend.TakeRequest{Token: "4", TTL: time.Hour})
		pass(3*time.Second - time.Nanosecond)
		require.Empty(t, r.free(), "nobody has looked")
		require.Equal(t, "c", r.take("t"), "of those with one deadline by name")
		require.Equal(t, []string{"d", "b"}, r.free())
		pass(time.Nanosecond)
		require.Equal(t, "d", r.take("t"))
		require.Equal(t, []string{"b", "a"}, r.free())
	})
}

func TestRenewedLeaseDoesNotLapseAtItsFirstDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		r.takeAs(backend.TakeRequest{Token: "1", TTL: 2 * time.Second})
		r.takeAs(backend.TakeRequest{Token: "2", TTL: 3 * time.Second})
		pass(time.Second)
		require.True(t, r.renew("a", "1", 3*time.Second))
		pass(2 * time.Second)
		require.Equal(t, "b", r.take("t"))
		require.Empty(t, r.take("t"))
		pass(time.Second)
		require.Equal(t, "a", r.take("t"))
	})
}

func TestLeaseRenewedToAShorterTTLLapsesSooner(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.takeAs(backend.TakeRequest{Token: "1", TTL: time.Hour})
		require.True(t, r.renew("a", "1", time.Second))
		pass(time.Second)
		require.Equal(t, "a", r.take("t"))
	})
}

func TestLeaseWithoutExpiryNeverLapses(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		grants := r.takeAs(backend.TakeRequest{Token: "1", TTL: backend.NoExpiry})
		require.Equal(t, backend.NoExpiry, grants[0].TTL)
		pass(1000 * 24 * time.Hour)
		require.Empty(t, r.take("t"))
		require.Zero(t, r.collect(10))
		m, _ := r.member("a")
		require.True(t, m.Locked)
		require.Equal(t, backend.NoExpiry, m.TTL)
		require.True(t, m.Deadline.IsZero())

		require.True(t, r.renew("a", "1", time.Second), "an end can be set later")
		pass(time.Second)
		require.Equal(t, "a", r.take("t"))
	})
}

func TestMemberLockedAnewFromOutsideLapsesWhenThatEnds(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.takeAs(backend.TakeRequest{Token: "1", TTL: time.Second})
		r.lock("a", 3*time.Second)
		pass(time.Second)
		require.Empty(t, r.take("t"))
		pass(2 * time.Second)
		require.Equal(t, "a", r.take("t"))
	})
}

func TestLapsedMemberWhoseMembershipEndedIsDropped(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		_, err := r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"a"}, TTL: time.Second})
		require.NoError(t, err)
		r.take("1")
		pass(time.Minute)
		require.Empty(t, r.take("t"))
		require.Zero(t, r.inspect().Total)
	})
}

func TestMemberWithoutItsLockStaysAllocatedUntilItsDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("1")
		require.True(t, r.unlock("a"))
		require.Empty(t, r.take("t"))
		pass(time.Minute)
		require.Equal(t, "a", r.take("t"))
	})
}

func TestSharedTakeRotatesAndLocksNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c", "d")
		r.lock("b", time.Hour)
		grants := r.takeAs(backend.TakeRequest{Token: "t", Shared: true, Count: 2})
		require.Equal(t, []backend.Grant{
			{Member: "a", Token: "t", TTL: backend.NoExpiry}, {Member: "c", Token: "t", TTL: backend.NoExpiry},
		}, grants)
		require.Equal(t, []string{"d", "a", "c"}, r.free(), "what was locked is allocated")
		m, _ := r.member("a")
		require.False(t, m.Locked)
		require.Empty(t, r.takeAs(backend.TakeRequest{Token: "t", Shared: true, Count: 4}))
		require.Equal(t, []string{"d", "a", "c"}, r.free())
	})
}

func TestPreferredMembersAreTakenFromWhereverTheyAre(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c", "d", "e")
		r.lock("d", time.Hour)
		prefer := []string{"c", "none", "d", "c", "b"}
		require.Equal(t, []string{"c", "b", "a"}, members(r.takeAs(backend.TakeRequest{Token: "t", Count: 3, Prefer: prefer})))
		require.Equal(t, []string{"d", "e"}, r.free())
		require.Empty(t, r.takeAs(backend.TakeRequest{Token: "u", Prefer: []string{"a", "d"}, Only: true}), "no others with Only")
		require.True(t, r.unlock("a"))
		require.Equal(t, "a", first(r.takeAs(backend.TakeRequest{Token: "u", Prefer: []string{"d", "a"}, Only: true})),
			"allocated without a lock")
		require.Equal(t, []string{"d", "e"}, r.free())
	})
}

func TestQuarantineKeepsAMemberBackAlsoInASharedPool(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		token := backend.QuarantineToken("checker")
		require.Len(t, r.takeAs(backend.TakeRequest{Token: token, TTL: time.Second, Prefer: []string{"a"}, Only: true}), 1)
		for range 3 {
			require.Equal(t, "b", first(r.takeAs(backend.TakeRequest{Token: "t", Shared: true})))
		}
		pass(time.Second)
		require.Equal(t, "b", first(r.takeAs(backend.TakeRequest{Token: "t", Shared: true})))
		require.Equal(t, "a", first(r.takeAs(backend.TakeRequest{Token: "t", Shared: true})))
	})
}

func TestHolderTurnsItsLeaseIntoAQuarantine(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("t")
		q := backend.QuarantineToken("t")
		require.True(t, r.renewAs(backend.Renewal{Member: "a", Token: "t", TTL: time.Hour, NewToken: q}))
		require.False(t, r.giveBack("a", "t"))
		require.False(t, r.renew("a", "t", time.Hour))
		pass(time.Minute)
		require.Empty(t, r.take("u"))
		pass(time.Hour - time.Minute)
		require.Equal(t, "a", r.take("u"))
	})
}

func TestBindingPrefersItsMemberAndIsRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		take := backend.TakeRequest{Token: "t", Binding: "job", BindingTTL: time.Hour}
		require.Equal(t, "a", first(r.takeAs(take)))
		require.Equal(t, backend.Value{Exists: true, Value: "a", TTL: time.Hour}, r.value(backend.KindBinding, "job"))
		require.True(t, r.giveBack("a", "t"))
		pass(time.Minute)
		require.Equal(t, "a", first(r.takeAs(take)))
		require.Equal(t, time.Hour, r.value(backend.KindBinding, "job").TTL)
		require.True(t, r.giveBack("a", "t"))
		pass(time.Hour)
		require.False(t, r.value(backend.KindBinding, "job").Exists)
		require.Equal(t, "b", first(r.takeAs(take)))
	})
}

func TestBindingGivesWayWhenItsMemberIsNotToBeHad(t *testing.T) {
	for _, tc := range []struct {
		name string
		spy  func(r rig)
	}{
		{"leased", func(r rig) { r.takeAs(backend.TakeRequest{Token: "other", Prefer: []string{"a"}, Only: true}) }},
		{"locked", func(r rig) { r.lock("a", time.Hour) }},
		{"removed", func(r rig) {
			_, err := r.Shrink(r.t.Context(), backend.ShrinkRequest{Namespace: ns, Members: []string{"a"}})
			require.NoError(r.t, err)
		}},
		{"expired", func(r rig) {
			_, err := r.Extend(r.t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"a"}, TTL: time.Second})
			require.NoError(r.t, err)
			pass(time.Second)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r rig) {
				r.extend("a", "b")
				take := backend.TakeRequest{Token: "t", Binding: "job"}
				require.Equal(t, "a", first(r.takeAs(take)))
				require.True(t, r.giveBack("a", "t"))
				tc.spy(r)
				require.Equal(t, "b", first(r.takeAs(take)))
				require.Equal(t, "b", r.value(backend.KindBinding, "job").Value)
				require.True(t, r.giveBack("b", "t"))
				r.lock("b", time.Hour)
				r.lock("a", time.Hour)
				require.Empty(t, r.takeAs(take))
				require.False(t, r.value(backend.KindBinding, "job").Exists, "dropped, though there is nothing else")
			})
		})
	}
}

func TestSharedTakeLeavesABoundMemberInItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		take := backend.TakeRequest{Token: "t", Shared: true, Binding: "job"}
		require.Equal(t, "a", first(r.takeAs(take)))
		require.Equal(t, []string{"b", "c", "a"}, r.free())
		require.Equal(t, "b", first(r.takeAs(backend.TakeRequest{Token: "t", Shared: true})))
		require.Equal(t, "a", first(r.takeAs(take)))
		require.Equal(t, []string{"c", "a", "b"}, r.free())
	})
}

func TestFencesGrowWithEachGrantAndWithTime(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		grants := r.takeAs(backend.TakeRequest{Token: "t", Count: 2})
		require.GreaterOrEqual(t, grants[0].Fence, time.Now().UnixMicro())
		require.Greater(t, grants[1].Fence, grants[0].Fence)
		set, err := r.Set(t.Context(), backend.SetRequest{
			Namespace: ns, Fence: true, Items: []backend.SetItem{{Name: "x", Value: "1", TTL: time.Second}},
		})
		require.NoError(t, err)
		require.Greater(t, set.Fences[0], grants[1].Fence, "locks and leases draw from one counter")
		pass(time.Second)
		next := r.takeAs(backend.TakeRequest{Token: "t"})
		require.GreaterOrEqual(t, next[0].Fence, time.Now().UnixMicro())
	})
}

func TestTakeCollectsInTheSameStep(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("1")
		r.unlock("a")
		require.Equal(t, "a", first(r.takeAs(backend.TakeRequest{Token: "t", Collect: 5})))
	})
}

func TestCancelledOrInvalidRequestsChangeNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.Take(cancelled, backend.TakeRequest{Namespace: ns, Token: "t", TTL: time.Minute})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "take test|allocator")
		_, err = r.Take(t.Context(), backend.TakeRequest{Namespace: ns, Token: "t"})
		require.ErrorIs(t, err, backend.ErrInvalid)
		_, err = r.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"b", ""}, TTL: backend.NoExpiry})
		require.ErrorIs(t, err, backend.ErrInvalid)
		require.Equal(t, []string{"a"}, r.free())
	})
}
