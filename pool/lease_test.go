package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/pool"
)

func TestALeaseIsKeptAsLongAsItIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{}, "a")
		l := malloc(t, p)
		ctx := l.Context()
		<-time.After(long)
		require.True(t, l.Valid())
		require.NoError(t, ctx.Err())
		require.NoError(t, l.Release(t.Context()))
		require.False(t, l.Valid())
		require.ErrorIs(t, context.Cause(ctx), pool.ErrReleased)
	})
}

func TestALeaseThatRanOutFreesNobodyElses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{NoRenewal: true, TTL: time.Minute}, "a")
		old, err := p.Malloc(t.Context(), new(thing))
		require.NoError(t, err)
		<-old.Context().Done()
		require.ErrorIs(t, context.Cause(old.Context()), pool.ErrExpired)
		_, err = p.MallocKey(t.Context())
		require.ErrorIs(t, err, pool.ErrExhausted, "the margin: its holder knows before anybody gets it")
		<-time.After(time.Second)
		next := malloc(t, p)
		require.Greater(t, next.Fence(), old.Fence())
		err = old.Release(t.Context())
		require.ErrorIs(t, err, pool.ErrNotHeld)
		require.ErrorIs(t, err, pool.ErrExpired)
		require.Equal(t, err, old.Release(t.Context()), "the same again")
		require.Equal(t, 1, old.Object().closed, "the object is closed all the same")
		require.True(t, next.Valid())
		require.Equal(t, next.Token(), snapshot(t, p).Members[0].Owner)
	})
}

func TestTheContextOfALeaseHasEndedBeforeAnotherGetsTheMember(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(ctx context.Context, op string) error{
		"renewals hang": func(ctx context.Context, op string) error {
			if op == "renew" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		},
		"renewals fail": func(_ context.Context, op string) error {
			if op == "renew" {
				return backend.ErrUnavailable
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 200 {
				synctest.Test(t, func(t *testing.T) {
					cut := newStore(t)
					ttl := time.Millisecond + rand.N(10*time.Second)
					holder := open(t, cut, pool.Config[*thing]{TTL: ttl}, "a")
					other := open(t, cut.Backend, pool.Config[*thing]{})
					l := malloc(t, holder)
					ctx := l.Context()
					<-time.After(rand.N(ttl))
					cut.on(hook)
					next, err := other.AcquireKey(t.Context())
					require.NoError(t, err)
					require.Error(t, ctx.Err())
					require.ErrorIs(t, context.Cause(ctx), pool.ErrExpired)
					require.False(t, l.Valid())
					require.ErrorIs(t, l.Release(t.Context()), pool.ErrNotHeld)
					require.Greater(t, next.Fence(), l.Fence())
					require.True(t, next.Valid())
				})
			}
		})
	}
}

func TestALeaseThatWasFreedByForceIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		p := open(t, newStore(t), pool.Config[*thing]{Observer: &seen}, "a", "b")
		l := malloc(t, p)
		n, err := p.FreeKeys(t.Context(), []string{"a", "b", "c"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		<-l.Context().Done()
		require.ErrorIs(t, context.Cause(l.Context()), pool.ErrLost)
		require.ErrorIs(t, l.Release(t.Context()), pool.ErrLost)
		require.ErrorIs(t, seen.of(backend.EventLost)[0].Err, pool.ErrLost)
		require.Equal(t, 2, snapshot(t, p).Count(pool.Free))
	})
}

func TestAReleaseThatFindsTheLeaseGoneSaysSo(t *testing.T) {
	t.Parallel()
	var seen events
	p := open(t, newStore(t), pool.Config[*thing]{Observer: &seen}, "a")
	l := malloc(t, p)
	_, err := p.FreeKeys(t.Context(), []string{"a"})
	require.NoError(t, err)
	require.True(t, l.Valid(), "nobody has told")
	err = l.Release(t.Context())
	require.ErrorIs(t, err, pool.ErrNotHeld)
	require.ErrorIs(t, err, pool.ErrLost)
	require.Len(t, seen.of(backend.EventLost), 1)
	require.Empty(t, seen.of(backend.EventReleased))
	require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
}

func TestReleaseIsIdempotent(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a")
	l, err := p.Malloc(t.Context(), new(thing))
	require.NoError(t, err)
	require.Equal(t, 1, s.counting(func() {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := l.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}))
	require.Equal(t, 1, l.Object().closed)
	next := malloc(t, p)
	require.NoError(t, l.Release(t.Context()))
	require.True(t, next.Valid())
	require.ErrorIs(t, l.Update(t.Context(), time.Hour), pool.ErrNotHeld)
	require.ErrorIs(t, l.Refresh(t.Context()), pool.ErrNotHeld)
	require.ErrorIs(t, l.SetHealthy(t.Context()), pool.ErrNotHeld)
	require.ErrorIs(t, l.SetUnhealthy(t.Context(), time.Hour), pool.ErrNotHeld)
	require.ErrorIs(t, l.Open(t.Context()), pool.ErrNotHeld)
}

func TestReleaseWorksWhenTheContextIsOver(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a")
	ctx, cancel := context.WithCancel(t.Context())
	obj := &thing{close: func(ctx context.Context) error { return ctx.Err() }}
	l, err := p.Malloc(ctx, obj)
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, context.Cause(l.Context()), context.Canceled)
	require.NoError(t, l.Release(ctx))
	require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
}

func TestTheObjectIsClosedOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{}, "a", "b", "c", "d")
		get := func(obj *thing) *pool.Lease[*thing] {
			l, err := p.Malloc(t.Context(), obj)
			require.NoError(t, err)
			return l
		}
		down := get(new(thing))
		s.fail("return", backend.ErrUnavailable)
		require.ErrorIs(t, down.Release(t.Context()), backend.ErrUnavailable)
		require.Equal(t, 1, down.Object().closed)
		s.on(nil)
		<-time.After(time.Second)
		require.Equal(t, 4, snapshot(t, p).Count(pool.Free), "given back in the background")

		panics := get(&thing{close: func(context.Context) error { panic(errOops) }})
		require.ErrorIs(t, panics.Release(t.Context()), errOops)
		require.Equal(t, 4, snapshot(t, p).Count(pool.Free), "also if closing fails")

		closed := get(new(thing))
		require.NoError(t, closed.Close(t.Context()))
		require.NoError(t, closed.Close(t.Context()))
		require.NoError(t, closed.Release(t.Context()))
		require.Equal(t, 1, closed.Object().closed)

		again := get(new(thing))
		require.NoError(t, again.Open(t.Context()))
		require.NoError(t, again.Close(t.Context()))
		require.NoError(t, again.Open(t.Context()))
		require.NoError(t, again.Release(t.Context()))
		require.Equal(t, 2, again.Object().closed)
	})
}

func TestTheMemberIsHeldWhileTheObjectCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{TTL: time.Second}, "a")
		var l *pool.Lease[*thing]
		obj := &thing{close: func(ctx context.Context) error {
			<-l.Context().Done() // whoever works with it has been told
			<-time.After(10 * time.Second)
			_, err := p.MallocKey(ctx)
			return err
		}}
		l, err := p.Malloc(t.Context(), obj)
		require.NoError(t, err)
		require.ErrorIs(t, l.Release(t.Context()), pool.ErrExhausted)
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
	})
}

func TestAfterReleaseIsToldOnce(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "a")
	l := malloc(t, p)
	n := 0
	l.AfterRelease(func() { n++ })
	l.AfterRelease(func() { panic(errOops) })
	require.Zero(t, n)
	require.NoError(t, l.Release(t.Context()))
	require.NoError(t, l.Release(t.Context()))
	require.Equal(t, 1, n)
	l.AfterRelease(func() { n++ })
	require.Equal(t, 2, n)
}

func TestUpdateSetsTheTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{NoRenewal: true}, "a")
		l := malloc(t, p)
		require.NoError(t, l.Update(t.Context(), time.Hour))
		require.Equal(t, time.Hour, snapshot(t, p).Members[0].TTL)
		<-time.After(59 * time.Minute)
		require.True(t, l.Valid())
		require.NoError(t, l.Update(t.Context(), backend.NoExpiry))
		require.True(t, l.Deadline().IsZero())
		require.Equal(t, pool.Leased, snapshot(t, p).Members[0].State)
		require.NoError(t, l.Update(t.Context(), time.Second))
		<-time.After(time.Second)
		require.ErrorIs(t, l.Update(t.Context(), time.Hour), pool.ErrNotHeld)
		require.Equal(t, pool.Unlocked, snapshot(t, p).Members[0].State)
	})
}

func TestOfAHundredThousandLeasesNoneNeedsAGoroutine(t *testing.T) {
	n := 100_000
	if raceEnabled {
		n = 10_000
	}
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, keys(n)...)
	ctx := t.Context()
	// What the store needs for as many locks is measured apart.
	warm := make([]*pool.Lease[*thing], n)
	objects := make([]thing, n)
	round := func() {
		for i := range warm {
			l, err := p.Malloc(ctx, &objects[i])
			if err != nil {
				t.Fatal(err)
			}
			warm[i] = l
		}
	}
	release := func() {
		for _, l := range warm {
			if err := l.Release(ctx); err != nil {
				t.Fatal(err)
			}
		}
		clear(warm)
	}
	round()
	release()
	goroutines, before := runtime.NumGoroutine(), heap()
	few := func() { // but for one that may just be renewing
		for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > goroutines+1 && time.Now().Before(end); {
			runtime.Gosched()
		}
		require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+1)
	}
	round()
	each := (heap() - before) / int64(n)
	few()
	require.LessOrEqual(t, each, int64(1024))
	for _, l := range warm {
		_ = l.Context().Done()
	}
	watched := (heap() - before) / int64(n)
	require.LessOrEqual(t, watched, int64(1024), "with a context for each")
	few()
	t.Logf("%d bytes for each lease, %d with its context", each, watched)
	release()
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestManyLeasesAreRenewedInFewCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{}, keys(n)...)
		var renewals atomic.Int64
		s.on(func(_ context.Context, op string) error {
			if op == "renew" {
				renewals.Add(1)
			}
			return nil
		})
		for i := range n {
			malloc(t, p)
			if i%100 == 0 {
				<-time.After(rand.N(time.Second))
			}
		}
		<-time.After(10 * time.Minute)
		renewals.Store(0)
		<-time.After(10 * time.Minute)
		intervals := int64(10 * time.Minute / (pool.DefaultTTL / 3))
		require.LessOrEqual(t, renewals.Load(), 2*intervals*n/backend.BatchLimit)
		require.Equal(t, n, snapshot(t, p).Count(pool.Leased))
	})
}

func TestConcurrentUseOfOneLeaseIsSafe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{TTL: time.Second}, keys(10)...)
		l, err := p.Malloc(t.Context(), &thing{name: "n"})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				ctx := t.Context()
				<-time.After(rand.N(5 * time.Second))
				var err error
				switch i % 8 {
				case 0:
					err = l.Update(ctx, time.Second)
				case 1:
					err = l.Refresh(ctx)
				case 2:
					err = l.SetUnhealthy(ctx, time.Second)
				case 3:
					err = l.SetHealthy(ctx)
				case 4:
					_, _, _, _ = l.Key(), l.Deadline(), l.UniqueID(), l.Context().Err()
				case 5:
					err = l.Open(ctx)
				case 6:
					err = l.Close(ctx)
				case 7:
					<-time.After(rand.N(time.Minute))
					err = l.Release(ctx)
				}
				if err != nil && !errors.Is(err, pool.ErrNotHeld) && !errors.Is(err, pool.ErrExhausted) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		<-time.After(2 * time.Second)
		_, err = p.MallocN(t.Context(), 10)
		require.NoError(t, err)
	})
}
