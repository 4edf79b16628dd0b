package pool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

func TestAnUnhealthyMemberStaysAwayForItsTime(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var seen events
			s := newStore(t)
			p := open(t, s, pool.Config[*thing]{Shared: shared, Observer: &seen}, "a")
			l, err := p.Malloc(t.Context(), &thing{name: "n"})
			require.NoError(t, err)
			require.Equal(t, "a", lookup(t, s, "n"))
			require.NoError(t, l.SetUnhealthy(t.Context(), time.Hour))
			require.Empty(t, lookup(t, s, "n"), "unbound")
			require.Equal(t, time.Hour, seen.of(backend.EventQuarantined)[0].Duration)
			require.NoError(t, l.SetUnhealthy(t.Context(), 2*time.Hour), "counts anew")
			require.NoError(t, l.Release(t.Context()))
			require.Equal(t, 1, l.Object().closed)
			require.Equal(t, []string{"a"}, snapshot(t, p).Keys(pool.Quarantined))
			_, err = p.MallocKey(t.Context())
			require.ErrorIs(t, err, pool.ErrExhausted)
			begin := time.Now()
			_, err = p.AcquireKey(t.Context())
			require.NoError(t, err)
			require.Equal(t, 2*time.Hour, time.Since(begin))
			require.Empty(t, seen.of(backend.EventLost))
		})
	}
}

func TestAHealthyMemberIsFreeAgain(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t)
			p := open(t, s, pool.Config[*thing]{Shared: shared}, "a")
			l, err := p.Malloc(t.Context(), &thing{name: "n"})
			require.NoError(t, err)
			require.NoError(t, l.SetUnhealthy(t.Context(), time.Minute))
			require.NoError(t, l.SetHealthy(t.Context()))
			require.Equal(t, "a", lookup(t, s, "n"))
			<-time.After(time.Hour)
			require.True(t, l.Valid(), "an ordinary lease again")
			require.NoError(t, l.Release(t.Context()))
			require.Equal(t, []string{"a"}, snapshot(t, p).Keys(pool.Free))
		})
	}
}

func TestAnyLeaseOnASharedMemberLiftsItsQuarantine(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{Shared: true}, "a")
	one, two := malloc(t, p), malloc(t, p)
	require.NoError(t, one.SetUnhealthy(t.Context(), time.Hour))
	require.NoError(t, two.SetHealthy(t.Context()))
	require.Equal(t, []string{"a"}, snapshot(t, p).Keys(pool.Free))
	require.NoError(t, two.SetHealthy(t.Context()), "there is nothing to lift")
}

func TestALapsedLeaseCannotSpeakOfHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{TTL: time.Second, NoRenewal: true}, "a")
		l := malloc(t, p)
		<-time.After(time.Second)
		next := malloc(t, p)
		require.ErrorIs(t, l.SetUnhealthy(t.Context(), time.Hour), pool.ErrNotHeld)
		require.ErrorIs(t, l.SetHealthy(t.Context()), pool.ErrNotHeld)
		require.Equal(t, next.Token(), snapshot(t, p).Members[0].Owner)
	})
}

func TestTheBindingOfAnotherMemberIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a", "b")
	a := malloc(t, p, pool.Name("n"))
	b := malloc(t, p, pool.Name("n"))
	require.NoError(t, a.SetUnhealthy(t.Context(), time.Hour))
	require.Equal(t, b.Key(), lookup(t, s, "n"))
}

func TestRefreshExchangesTheMember(t *testing.T) {
	t.Parallel()
	for name, pol := range map[string]policy.Policy[*thing]{
		"without a policy": nil, "with a policy": policy.Default(policy.Defaults[*thing]{AutoClose: true}),
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t)
			var seen events
			p := open(t, s, pool.Config[*thing]{Policy: pol, Observer: &seen}, "a", "b")
			obj := &thing{name: "n", id: "i"}
			l, err := p.Malloc(t.Context(), obj, pool.Params("p"), pool.TTL(time.Hour))
			require.NoError(t, err)
			old, token, fence := l.Context(), l.Token(), l.Fence()
			freed := 0
			l.AfterRelease(func() { freed++ })
			require.NoError(t, l.Refresh(t.Context()), name)
			require.Equal(t, "b", l.Key())
			require.Equal(t, "b:i", l.UniqueID())
			require.NotEqual(t, token, l.Token())
			require.Greater(t, l.Fence(), fence)
			require.Equal(t, []string{"a", "b"}, obj.keys)
			require.Equal(t, "p", obj.params)
			require.Equal(t, 1, obj.closed)
			require.Equal(t, 1, obj.opened)
			require.Equal(t, 1, freed)
			require.Equal(t, "b", lookup(t, s, "n"))
			require.ErrorIs(t, context.Cause(old), pool.ErrReleased)
			require.NoError(t, l.Context().Err())
			require.WithinDuration(t, time.Now().Add(time.Hour), l.Deadline(), time.Second)
			require.Equal(t, []string{"a"}, snapshot(t, p).Keys(pool.Free))
			require.NoError(t, l.Release(t.Context()))
			require.Equal(t, 2, obj.closed)
			require.Equal(t, []string{"a", "b"}, snapshot(t, p).Keys(pool.Free))
			require.Len(t, seen.of(backend.EventGranted), 2)
			require.Len(t, seen.of(backend.EventReleased), 2)
			require.NoError(t, p.Close())
			require.Equal(t, 2, obj.closed, "AutoClose has forgotten it")
		})
	}
}

func TestRefreshWithoutAnotherMemberKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := open(t, newStore(t), pool.Config[*thing]{Shared: shared}, "a")
			obj := &thing{name: "n"}
			l, err := p.Malloc(t.Context(), obj)
			require.NoError(t, err)
			require.ErrorIs(t, l.Refresh(t.Context()), pool.ErrExhausted)
			require.Equal(t, "a", l.Key())
			require.Equal(t, "a", obj.key())
			require.Equal(t, 1, obj.closed)
			require.NoError(t, l.Open(t.Context()))
			<-time.After(time.Hour)
			require.True(t, l.Valid())
			require.NoError(t, l.Release(t.Context()))
			require.Equal(t, 2, obj.closed)
			require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
		})
	}
}

func TestInSharedModeRefreshAlsoGivesAnother(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{Shared: true}, "a", "b")
	obj := &thing{name: "n"}
	l, err := p.Malloc(t.Context(), obj)
	require.NoError(t, err)
	malloc(t, p) // now the same one would be next
	for _, want := range []string{"b", "a", "b"} {
		require.NoError(t, l.Refresh(t.Context()))
		require.Equal(t, want, l.Key())
		require.Equal(t, want, obj.key())
	}
	require.Equal(t, 3, obj.closed)
}

func TestALostLeaseCanBeRefreshed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{}, "a", "b")
		l := malloc(t, p)
		_, err := p.FreeKeys(t.Context(), []string{"a"})
		require.NoError(t, err)
		<-l.Context().Done()
		require.NoError(t, l.Refresh(t.Context()))
		require.True(t, l.Valid())
		require.NoError(t, l.Release(t.Context()))
		require.Equal(t, 2, snapshot(t, p).Count(pool.Free))
	})
}

func TestAnUnhealthyMemberIsNotGivenBackByRefresh(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "a", "b")
	l := malloc(t, p)
	require.NoError(t, l.SetUnhealthy(t.Context(), time.Hour))
	require.NoError(t, l.Refresh(t.Context()))
	require.Equal(t, "b", l.Key())
	require.Equal(t, []string{"a"}, snapshot(t, p).Keys(pool.Quarantined))
	require.NoError(t, l.Release(t.Context()))
	require.Equal(t, []string{"b"}, snapshot(t, p).Keys(pool.Free))
}

func TestRefreshUntilHealthyTriesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Observer: &seen}, keys(5)...)
		obj := &thing{name: "n"}
		obj.check = func(context.Context) error {
			if obj.key() != "k3" {
				return errOops
			}
			return nil
		}
		l, err := p.Malloc(t.Context(), obj)
		require.NoError(t, err)
		require.NoError(t, l.RefreshUntilHealthy(t.Context(), 10, time.Hour))
		require.Equal(t, "k3", l.Key())
		require.Equal(t, "k3", lookup(t, s, "n"))
		require.Equal(t, []string{"k1", "k2"}, snapshot(t, p).Keys(pool.Quarantined))
		require.Equal(t, []string{"k4", "k0"}, snapshot(t, p).Keys(pool.Free))
		require.Len(t, seen.of(backend.EventUnhealthy), 2)

		err = l.RefreshUntilHealthy(t.Context(), 1, time.Hour)
		require.ErrorIs(t, err, pool.ErrUnhealthy)
		require.ErrorIs(t, err, errOops)
		err = l.RefreshUntilHealthy(t.Context(), 9, time.Hour)
		require.NoError(t, err, "k3 has come free again")
		require.Equal(t, "k3", l.Key())
		require.NoError(t, l.Release(t.Context()))
		require.Equal(t, 4, snapshot(t, p).Count(pool.Quarantined))
	})
}

func TestRefreshUntilHealthyEndsWhenThereAreNoMore(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, keys(3)...)
	l, err := p.Malloc(t.Context(), &thing{open: func(context.Context) error { panic(errOops) }})
	require.NoError(t, err)
	require.NoError(t, l.SetUnhealthy(t.Context(), time.Hour))
	err = l.RefreshUntilHealthy(t.Context(), 10, time.Hour)
	require.ErrorIs(t, err, pool.ErrUnhealthy)
	require.ErrorIs(t, err, pool.ErrExhausted)
	require.ErrorIs(t, err, errOops)
	require.Equal(t, 3, snapshot(t, p).Count(pool.Quarantined))
}

func TestACheckThatIsCutShortBlamesNobody(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, keys(3)...)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := p.Malloc(t.Context(), &thing{check: func(ctx context.Context) error {
		cancel()
		return errors.Join(errOops, ctx.Err())
	}})
	require.NoError(t, err)
	require.ErrorIs(t, l.RefreshUntilHealthy(ctx, 10, time.Hour), context.Canceled)
	require.Zero(t, snapshot(t, p).Count(pool.Quarantined))
	require.NoError(t, l.Release(t.Context()))
	require.Equal(t, 3, snapshot(t, p).Count(pool.Free))
}

func TestAPanicInAHealthCheckIsAFailure(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "a")
	l, err := p.Malloc(t.Context(), &thing{check: func(context.Context) error { panic("oops") }})
	require.NoError(t, err)
	var caught *policy.PanicError
	require.ErrorAs(t, l.CheckHealth(t.Context()), &caught)
	require.NotContains(t, l.CheckHealth(t.Context()).Error(), "goroutine")
	require.NoError(t, malloc(t, open(t, newStore(t), pool.Config[*thing]{}, "a")).CheckHealth(t.Context()))
}

func TestAPolicyThatChecksOpensTheObjectOnce(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{
		Policy: policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{})),
	}, keys(4)...)
	obj := new(thing)
	obj.check = func(context.Context) error {
		if k := obj.key(); k == "k0" || k == "k2" {
			return errOops
		}
		return nil
	}
	l, err := p.Malloc(t.Context(), obj)
	require.NoError(t, err)
	require.Equal(t, "k1", l.Key())
	require.Equal(t, 2, obj.opened, "once for each member")
	require.Equal(t, 1, obj.closed)
	require.NoError(t, l.Refresh(t.Context()))
	require.Equal(t, "k3", l.Key())
	require.Equal(t, 4, obj.opened)
	require.Equal(t, 3, obj.closed)
	require.Equal(t, []string{"k0", "k2"}, snapshot(t, p).Keys(pool.Quarantined))
}
