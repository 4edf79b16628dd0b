package pool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	be := memory.New()
	var none *memory.Backend
	var nilPolicy *failing
	for name, c := range map[string]struct {
		be  pool.Backend
		cfg pool.Config[*thing]
	}{
		"no backend":           {nil, pool.Config[*thing]{Namespace: ns}},
		"a nil backend":        {none, pool.Config[*thing]{Namespace: ns}},
		"no namespace":         {be, pool.Config[*thing]{}},
		"a negative TTL":       {be, pool.Config[*thing]{Namespace: ns, TTL: -2}},
		"a TTL that is no TTL": {be, pool.Config[*thing]{Namespace: ns, TTL: time.Microsecond}},
		"a bad binding TTL":    {be, pool.Config[*thing]{Namespace: ns, BindingTTL: 1}},
		"an endless claim":     {be, pool.Config[*thing]{Namespace: ns, ClaimTTL: backend.NoExpiry}},
		"a nil policy":         {be, pool.Config[*thing]{Namespace: ns, Policy: nilPolicy}},
	} {
		_, err := pool.New(c.be, c.cfg)
		require.ErrorIs(t, err, backend.ErrInvalid, name)
	}
}

func TestBadInputIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	huge := strings.Repeat("x", 1<<20)
	for name, pol := range map[string]policy.Policy[*thing]{"without a policy": nil, "with a policy": policy.Direct[*thing]()} {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Policy: pol}, "a")
		bad := func(what string, err error) {
			t.Helper()
			require.ErrorIs(t, err, backend.ErrInvalid, "%s: %s", name, what)
			var invalid *backend.InvalidError
			require.ErrorAs(t, err, &invalid, what)
			require.Less(t, len(err.Error()), 500, what)
		}
		for what, o := range map[string]pool.Option{
			"ttl 0": pool.TTL(0), "negative ttl": pool.TTL(-time.Second), "binding ttl": pool.BindingTTL(0),
			"prefer": pool.Prefer("a||b"), "only nothing": pool.Only(), "max wait": pool.MaxWait(0),
			"name": pool.Name("a\x00"), "huge name": pool.Name(huge), "token": pool.Token(""), "huge token": pool.Token(huge),
		} {
			_, err := p.MallocKey(ctx, o)
			bad(what, err)
			_, err = p.AcquireKey(ctx, o)
			bad(what, err)
		}
		_, err := p.AcquireKey(ctx, pool.Priority(backend.MaxPriority+1))
		bad("priority", err)
		_, err = p.AcquireKey(ctx, pool.Only("a"))
		bad("waiting for one", err)
		_, err = p.Malloc(ctx, nil)
		bad("nil object", err)
		require.ErrorIs(t, err, pool.ErrNilObject)
		for _, n := range []int{-1, 0, backend.MaxTake + 1} {
			_, err = p.MallocN(ctx, n)
			bad("count", err)
		}
		_, err = p.MallocN(ctx, 2, pool.Name("n"))
		bad("a name for two", err)
		for _, key := range []string{"", "a||b", "#ALLOCATED", "a\x00", "\xff", huge} {
			list := []string{"b", key}
			bad("extend", p.Extend(ctx, list))
			bad("assign", p.Assign(ctx, list))
			bad("shrink", p.Shrink(ctx, list))
			_, err = p.FreeKeys(ctx, list)
			bad("free", err)
			_, err = p.Contains(ctx, list...)
			bad("contains", err)
		}
		bad("member ttl", p.Extend(ctx, []string{"b"}, pool.MemberTTL(0)))
		_, err = p.GC(ctx, 0)
		bad("collect", err)
		_, err = p.Position(ctx, "")
		bad("position", err)
		l := malloc(t, p)
		bad("update", l.Update(ctx, 0))
		bad("quarantine", l.SetUnhealthy(ctx, 0))
		bad("attempts", l.RefreshUntilHealthy(ctx, 0, time.Hour))
		require.True(t, l.Valid())
		require.NoError(t, l.Release(ctx))
		require.Equal(t, []string{"a"}, snapshot(t, p).Keys(pool.Free))
	}
}

func TestAClosedAllocatorSaysSo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a", "b")
	l := malloc(t, p)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	sent := s.counting(func() {
		for name, f := range map[string]func() error{
			"Malloc":   func() error { _, err := p.Malloc(ctx, new(thing)); return err },
			"Acquire":  func() error { _, err := p.Acquire(ctx, new(thing)); return err },
			"MallocN":  func() error { _, err := p.MallocN(ctx, 1); return err },
			"Extend":   func() error { return p.Extend(ctx, []string{"c"}) },
			"Assign":   func() error { return p.Assign(ctx, nil) },
			"Shrink":   func() error { return p.Shrink(ctx, nil) },
			"Clear":    func() error { return p.Clear(ctx) },
			"Len":      func() error { _, err := p.Len(ctx); return err },
			"Contains": func() error { _, err := p.Contains(ctx, "a"); return err },
			"FreeKeys": func() error { _, err := p.FreeKeys(ctx, []string{"a"}); return err },
			"GC":       func() error { _, err := p.GC(ctx, 1); return err },
			"Snapshot": func() error { _, err := p.Snapshot(ctx); return err },
			"Waiting":  func() error { _, err := p.Waiting(ctx); return err },
			"Position": func() error { _, err := p.Position(ctx, "t"); return err },
			"Keys": func() error {
				for _, err := range p.Keys(ctx) {
					return err
				}
				return nil
			},
			"CheckHealth": func() error {
				_, err := p.CheckHealth(ctx, policy.CheckConfig[*thing]{})
				return err
			},
			"RefreshAll": func() error { _, err := p.RefreshAll(ctx, nil, 0); return err },
			"Refresh":    func() error { return l.Refresh(ctx) },
			"Update":     func() error { return l.Update(ctx, time.Minute) },
			"Cause":      func() error { return context.Cause(l.Context()) },
		} {
			require.ErrorIs(t, f(), backend.ErrClosed, name)
		}
	})
	require.Zero(t, sent)
	require.False(t, l.Valid())
	require.NoError(t, l.Release(ctx), "a lease can still be given back")
	again := open(t, s, pool.Config[*thing]{})
	require.Equal(t, []string{"b", "a"}, snapshot(t, again).Keys(pool.Free))
}

func TestAnAllocationThatCloseOvertakesHoldsNothing(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"take", "enter"} {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{}, "a", "b", "c")
		s.on(func(_ context.Context, called string) error {
			if called == op {
				return p.Close()
			}
			return nil
		})
		var err error
		if op == "take" {
			_, err = p.MallocN(t.Context(), 2)
		} else {
			_, err = p.AcquireKey(t.Context())
		}
		require.ErrorIs(t, err, backend.ErrClosed)
		s.on(nil)
		require.Equal(t, 3, snapshot(t, open(t, s, pool.Config[*thing]{})).Count(pool.Free))
	}
}

func TestWithoutAPolicyAPairIsTwoCalls(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a")
	obj := &thing{name: "n"}
	require.Equal(t, 2, s.counting(func() {
		l, err := p.Malloc(t.Context(), obj)
		require.NoError(t, err)
		require.Equal(t, "n", l.Name())
		require.NoError(t, l.Release(t.Context()))
	}))
	require.Equal(t, 2, s.counting(func() {
		l, err := p.Acquire(t.Context(), obj)
		require.NoError(t, err)
		require.NoError(t, l.Release(t.Context()))
	}))
}

func TestAnAllocationConfiguresTheObject(t *testing.T) {
	t.Parallel()
	p := open(t, memory.New(), pool.Config[*thing]{}, "a", "b")
	obj := &thing{id: "7"}
	l, err := p.Malloc(t.Context(), obj, pool.Params("fast"), pool.TTL(time.Minute))
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, obj.keys)
	require.Equal(t, "fast", obj.params)
	require.Equal(t, "fast", l.Params())
	require.Same(t, obj, l.Object())
	require.Equal(t, "a", l.Key())
	require.Equal(t, "a:7", l.UniqueID())
	require.Empty(t, l.Name())
	require.NotEmpty(t, l.Token())
	require.Positive(t, l.Fence())
	require.True(t, l.Valid())
	require.WithinDuration(t, time.Now().Add(time.Minute), l.Deadline(), time.Second)
	require.Zero(t, obj.opened)

	k := malloc(t, p)
	require.Nil(t, k.Object())
	require.Equal(t, "b", k.UniqueID())
	require.Greater(t, k.Fence(), l.Fence())
	_, err = p.Malloc(t.Context(), obj)
	require.ErrorIs(t, err, pool.ErrExhausted)
	require.Len(t, obj.keys, 1)
}

func TestAnObjectThatCannotBeConfiguredCostsNoMember(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(string) error{
		"error": func(string) error { return errOops },
		"panic": func(string) error { panic(errOops) },
	} {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{}, "a")
		_, err := p.Malloc(t.Context(), &thing{configure: configure})
		require.ErrorIs(t, err, errOops, name)
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free), name)
		_, err = p.Acquire(t.Context(), &thing{configure: configure})
		require.ErrorIs(t, err, errOops, name)
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free), name)
	}
}

func TestSeveralMembersComeAllOrNone(t *testing.T) {
	t.Parallel()
	p := open(t, memory.New(), pool.Config[*thing]{}, keys(5)...)
	leases, err := p.MallocN(t.Context(), 3)
	require.NoError(t, err)
	require.Len(t, leases, 3)
	_, err = p.MallocN(t.Context(), 3)
	require.ErrorIs(t, err, pool.ErrExhausted)
	require.Equal(t, 2, snapshot(t, p).Count(pool.Free))
	for _, l := range leases {
		require.NoError(t, l.Release(t.Context()))
	}
	require.Equal(t, []string{"k3", "k4", "k0", "k1", "k2"}, snapshot(t, p).Keys(pool.Free))
}

func TestPreferTriesTheseFirstAndOnlyNoOthers(t *testing.T) {
	t.Parallel()
	for name, pol := range map[string]policy.Policy[*thing]{"without a policy": nil, "with a policy": policy.Direct[*thing]()} {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Policy: pol}, keys(4)...)
		require.Equal(t, "k2", malloc(t, p, pool.Prefer("gone", "k2")).Key(), name)
		require.Equal(t, "k0", malloc(t, p, pool.Prefer("k2")).Key())
		l, err := p.Malloc(t.Context(), &thing{name: "n"}, pool.Only("k2", "k3"))
		require.NoError(t, err)
		require.Equal(t, "k3", l.Key())
		require.Empty(t, lookup(t, s, "n"), "the binding has no say")
		require.NoError(t, l.SetHealthy(t.Context()))
		require.Equal(t, "k3", lookup(t, s, "n"))
		_, err = p.MallocKey(t.Context(), pool.Only("k2", "k3"))
		require.ErrorIs(t, err, pool.ErrExhausted)
	}
}

func TestANameFindsItsMemberAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, keys(3)...)
	obj := &thing{name: "alice"}
	get := func(opts ...pool.Option) string {
		l, err := p.Malloc(t.Context(), obj, opts...)
		require.NoError(t, err)
		require.NoError(t, l.Release(t.Context()))
		return l.Key()
	}
	require.Equal(t, "k0", get())
	require.Equal(t, "k0", get(), "the same again")
	require.Equal(t, "k1", get(pool.Name("")), "without a name, the next")
	require.Equal(t, "k2", get(pool.Name("bob")))
	require.Equal(t, "k2", get(pool.Name("bob")))
	require.Equal(t, "k0", lookup(t, s, "alice"))
	require.Equal(t, "k2", lookup(t, s, "bob"))
}

func TestABindingLastsAsLongAsConfigured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{BindingTTL: time.Minute}, "a")
		require.NoError(t, malloc(t, p, pool.Name("n")).Release(t.Context()))
		require.NoError(t, malloc(t, p, pool.Name("m"), pool.BindingTTL(time.Hour)).Release(t.Context()))
		<-time.After(2 * time.Minute)
		require.Empty(t, lookup(t, s, "n"))
		require.Equal(t, "a", lookup(t, s, "m"))
	})
}

func TestInSharedModeMembersGoRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{Shared: true}, "a", "b")
		first, err := p.Malloc(t.Context(), new(thing))
		require.NoError(t, err)
		require.Equal(t, "a", first.Key())
		require.Equal(t, "b", malloc(t, p).Key())
		third, err := p.AcquireKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, "a", third.Key())
		require.True(t, first.Deadline().IsZero())
		require.Zero(t, first.Fence())
		<-time.After(long)
		require.True(t, first.Valid())
		before := snapshot(t, p)
		require.NoError(t, first.Release(t.Context()))
		require.Equal(t, before, snapshot(t, p), "a release changes nothing in the pool")
		require.Equal(t, 1, first.Object().closed)
		require.ErrorIs(t, context.Cause(first.Context()), pool.ErrReleased)
	})
}

func TestTheObserverIsToldOfAllocations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		p := open(t, newStore(t), pool.Config[*thing]{Observer: &seen}, "a")
		l := malloc(t, p)
		_, err := p.MallocKey(t.Context())
		require.ErrorIs(t, err, pool.ErrExhausted)
		_, err = p.AcquireKey(t.Context(), pool.MaxWait(time.Second))
		require.ErrorIs(t, err, pool.ErrExhausted)
		<-time.After(time.Minute)
		require.NoError(t, l.Release(t.Context()))
		require.Equal(t, []backend.Event{
			{Kind: backend.EventGranted, Namespace: ns, Member: "a", Token: l.Token(), Fence: l.Fence()},
		}, seen.of(backend.EventGranted))
		require.Len(t, seen.of(backend.EventExhausted), 1)
		require.Equal(t, time.Second, seen.of(backend.EventCancelled)[0].Duration)
		require.Equal(t, time.Minute+time.Second, seen.of(backend.EventReleased)[0].Duration)
		lapsed := malloc(t, p, pool.NoRenewal())
		<-time.After(pool.DefaultTTL)
		require.ErrorIs(t, lapsed.Release(t.Context()), pool.ErrNotHeld)
		require.Len(t, seen.of(backend.EventReleased), 1)
		lost := seen.of(backend.EventLost)
		require.Len(t, lost, 1)
		require.ErrorIs(t, lost[0].Err, pool.ErrExpired)
	})
}

func TestAnObserverThatPanicsHarmsNobody(t *testing.T) {
	t.Parallel()
	p := open(t, memory.New(), pool.Config[*thing]{
		Observer: backend.ObserverFunc(func(backend.Event) { panic("observer") }),
	}, "a")
	require.NoError(t, malloc(t, p).Release(t.Context()))
}

func TestAnAllocationWhoseContextIsOverHoldsNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.MallocKey(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = p.AcquireKey(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
}

func TestTheStoresErrorsComeThrough(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a")
	for _, want := range []error{backend.ErrUnavailable, backend.ErrPermission, backend.ErrWrongType} {
		s.on(func(context.Context, string) error { return want })
		_, err := p.MallocKey(t.Context())
		require.ErrorIs(t, err, want)
		_, err = p.AcquireKey(t.Context())
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, p.Extend(t.Context(), []string{"b"}), want)
		_, err = p.Len(t.Context())
		require.ErrorIs(t, err, want)
	}
}

// worker is an interface as type parameter: each object has methods of its own.
type worker interface{ pool.Allocatable }

type plain struct{}

func (plain) Configure(string, any) error { return nil }

type ioCloser struct {
	plain
	closed *int
}

func (c ioCloser) Close() error {
	*c.closed++
	return errors.New("broken")
}

func TestAnInterfaceAsTypeParameterHasEachObjectsOwnMethods(t *testing.T) {
	t.Parallel()
	p, err := pool.New(memory.New(), pool.Config[worker]{Namespace: ns})
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Extend(t.Context(), []string{"a"}))
	_, err = p.Malloc(t.Context(), nil)
	require.ErrorIs(t, err, pool.ErrNilObject)
	_, err = p.Malloc(t.Context(), (*thing)(nil))
	require.ErrorIs(t, err, pool.ErrNilObject)

	l, err := p.Malloc(t.Context(), plain{})
	require.NoError(t, err)
	require.NoError(t, l.Release(t.Context()))
	n := 0
	l, err = p.Malloc(t.Context(), ioCloser{closed: &n})
	require.NoError(t, err)
	require.ErrorContains(t, l.Release(t.Context()), "broken")
	require.Equal(t, 1, n)
	obj := &thing{name: "n", id: "i"}
	l, err = p.Malloc(t.Context(), obj)
	require.NoError(t, err)
	require.Equal(t, "n", l.Name())
	require.Equal(t, "a:i", l.UniqueID())
}
