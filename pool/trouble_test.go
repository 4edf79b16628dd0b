package pool_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// What the store refuses while a lease speaks of its member's health is told to the holder, and to no observer as done.
func TestTroubleWithHealthIsTold(t *testing.T) {
	t.Parallel()
	unhealthy := func(l *pool.Lease[*thing]) error { return l.SetUnhealthy(context.Background(), time.Hour) }
	healthy := func(l *pool.Lease[*thing]) error { return l.SetHealthy(context.Background()) }
	for _, c := range []struct {
		shared, kept bool
		op           string
		do           func(l *pool.Lease[*thing]) error
	}{
		{false, false, "renew", unhealthy},
		{false, false, "delete", unhealthy}, // of the binding
		{false, true, "renew", healthy},
		{false, false, "set", healthy},
		{true, false, "take", unhealthy},
		{true, true, "renew", unhealthy},
		{true, false, "delete", unhealthy},
		{true, true, "get", healthy},
		{true, true, "return", healthy},
		{true, false, "set", healthy},
	} {
		var seen events
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Shared: c.shared, Observer: &seen}, "a")
		l := malloc(t, p, pool.Name("n"))
		if c.kept {
			require.NoError(t, unhealthy(l))
		}
		before := len(seen.of(backend.EventQuarantined))
		s.fail(c.op, errOops)
		require.ErrorIs(t, c.do(l), errOops, "%+v", c)
		if c.op != "delete" { // then it is kept back, only the name is still bound
			require.Len(t, seen.of(backend.EventQuarantined), before, "%+v", c)
		}
		s.on(nil)
		require.NoError(t, c.do(l), "%+v", c)
	}
}

// A shared member is kept back by one token, until somebody lifts that; then by another.
func TestAQuarantineThatSomebodyElseLiftedIsSetAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Shared: true}, "a")
		one, two := malloc(t, p), malloc(t, p)
		require.NoError(t, one.SetUnhealthy(t.Context(), time.Hour))
		token := snapshot(t, p).Members[0].Owner
		for _, d := range []time.Duration{2 * time.Hour, time.Minute, 3 * time.Hour} {
			require.NoError(t, one.SetUnhealthy(t.Context(), d))
			require.Equal(t, token, snapshot(t, p).Members[0].Owner)
			require.Equal(t, d, snapshot(t, p).Members[0].TTL)
		}

		require.NoError(t, two.SetHealthy(t.Context()))
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
		require.NoError(t, one.SetUnhealthy(t.Context(), time.Hour))
		require.Equal(t, 1, snapshot(t, p).Count(pool.Quarantined))
		require.NotEqual(t, token, snapshot(t, p).Members[0].Owner)

		require.NoError(t, one.SetHealthy(t.Context()))
		require.Equal(t, 1, s.counting(func() { require.NoError(t, one.SetUnhealthy(t.Context(), time.Hour)) }), "it knows that it has lifted it")
	})
}

// What is kept back is for those who ask for what is kept back, and not for those who prefer or want just this one.
func TestWhatIsKeptBackIsNotForEverybody(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "a")
	require.NoError(t, malloc(t, p).SetUnhealthy(t.Context(), time.Hour))
	for _, opt := range []pool.Option{pool.Prefer("a"), pool.Only("a")} {
		_, err := p.MallocKey(t.Context(), opt)
		require.ErrorIs(t, err, pool.ErrExhausted)
	}
	require.Equal(t, 1, snapshot(t, p).Count(pool.Quarantined))
}

// taking is a policy that asks for one member, also if it is kept back.
func taking(key string) policy.Policy[*thing] {
	return policy.Func[*thing](func(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) ([]policy.Lease[*thing], error) {
		req.Only, req.Prefer, req.Quarantined = true, []string{key}, true
		return p.Allocate(ctx, req)
	})
}

func TestATakeOverThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Policy: taking("a")}, "a")
		first := malloc(t, p)
		require.NoError(t, first.SetUnhealthy(t.Context(), time.Hour))
		s.fail("inspect", errOops)
		_, err := p.MallocKey(t.Context())
		require.ErrorIs(t, err, errOops)

		s.on(func(ctx context.Context, op string) error { // somebody else is quicker
			if op == "renew" {
				s.on(nil)
				require.NoError(t, first.SetHealthy(ctx))
			}
			return nil
		})
		_, err = p.MallocKey(t.Context())
		require.ErrorIs(t, err, pool.ErrExhausted)
		require.True(t, first.Valid())

		require.NoError(t, first.SetUnhealthy(t.Context(), time.Hour))
		l := malloc(t, p, pool.TTL(time.Minute), pool.NoRenewal())
		require.WithinDuration(t, time.Now().Add(time.Minute), l.Deadline(), time.Second, "it ends like any other")
		<-time.After(time.Minute)
		require.False(t, l.Valid())
	})
}

// A wait that ends without a member is told as given up only if it was: by the caller, in time, or because all ends here.
func TestOnlyAWaitThatWasGivenUpIsObserved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do       func(t *testing.T, s *store, p *pool.Allocator[*thing]) error
		is       error
		observed bool
	}{
		"the caller": {func(t *testing.T, _ *store, p *pool.Allocator[*thing]) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := p.AcquireKey(ctx)
			return err
		}, context.DeadlineExceeded, true},
		"in time": {func(t *testing.T, _ *store, p *pool.Allocator[*thing]) error {
			_, err := p.AcquireKey(t.Context(), pool.MaxWait(time.Second))
			return err
		}, pool.ErrExhausted, true},
		"closed": {func(t *testing.T, _ *store, p *pool.Allocator[*thing]) error {
			time.AfterFunc(time.Second, func() { _ = p.Close() })
			_, err := p.AcquireKey(t.Context())
			return err
		}, backend.ErrClosed, true},
		"the store": {func(t *testing.T, s *store, p *pool.Allocator[*thing]) error {
			s.fail("enter", errOops)
			_, err := p.AcquireKey(t.Context())
			return err
		}, errOops, false},
		"its own object": {func(t *testing.T, _ *store, p *pool.Allocator[*thing]) error {
			require.NoError(t, p.Extend(t.Context(), []string{"b"}))
			ctx, cancel := context.WithCancel(t.Context())
			_, err := p.Acquire(ctx, &thing{configure: func(string) error {
				cancel()
				return errOops
			}})
			return err
		}, errOops, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var seen events
			s := newStore(t)
			p := open(t, s, pool.Config[*thing]{Observer: &seen}, "a")
			malloc(t, p)
			require.ErrorIs(t, c.do(t, s, p), c.is, name)
			cancelled := seen.of(backend.EventCancelled)
			require.Equal(t, c.observed, len(cancelled) == 1, name)
			if c.observed {
				require.Equal(t, time.Second, cancelled[0].Duration)
				require.Error(t, cancelled[0].Err)
			}
			require.Empty(t, seen.of(backend.EventExhausted), "that is for those who do not wait")
		})
	}
}

// The observer learns how long it took to get a member: the call, or the wait.
func TestTheObserverIsToldHowLongAGrantTook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Observer: &seen}, "a")
		s.on(func(_ context.Context, op string) error {
			if op == "take" {
				<-time.After(time.Second)
			}
			return nil
		})
		l := malloc(t, p)
		time.AfterFunc(time.Hour, func() { _ = l.Release(context.Background()) })
		_, err := p.AcquireKey(t.Context())
		require.NoError(t, err)
		granted := seen.of(backend.EventGranted)
		require.Len(t, granted, 2)
		require.Equal(t, time.Second, granted[0].Duration)
		require.Equal(t, time.Hour, granted[1].Duration)
	})
}

// A policy is not asked about a request that cannot be.
func TestAPolicyIsNotAskedForWhatIsRefused(t *testing.T) {
	t.Parallel()
	asked := 0
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{Policy: policy.Func[*thing](
		func(context.Context, policy.Pool[*thing], policy.Request[*thing]) ([]policy.Lease[*thing], error) {
			asked++
			return nil, errOops
		})}, "a")
	require.Zero(t, s.counting(func() {
		for _, opt := range []pool.Option{pool.Name("a\x00"), pool.Prefer("a||b"), pool.Only()} {
			_, err := p.MallocKey(t.Context(), opt)
			require.ErrorIs(t, err, backend.ErrInvalid)
			_, err = p.AcquireKey(t.Context(), opt)
			require.ErrorIs(t, err, backend.ErrInvalid)
		}
		_, err := p.AcquireKey(t.Context(), pool.Priority(backend.MaxPriority+1))
		require.ErrorIs(t, err, backend.ErrInvalid)
	}))
	require.Zero(t, asked)
	_, err := p.MallocKey(t.Context())
	require.ErrorIs(t, err, errOops)
}

// What a policy answers is looked at, and what went wrong while that was undone is told, too.
func TestAPolicyThatAnswersNonsense(t *testing.T) {
	t.Parallel()
	type leases = []policy.Lease[*thing]
	for name, answer := range map[string]func(leases) leases{
		"nothing":    func(leases) leases { return nil },
		"nil":        func(leases) leases { return leases{nil} },
		"nil inside": func(leases) leases { return leases{(*pool.Lease[*thing])(nil)} },
	} {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Policy: policy.Func[*thing](
			func(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) (leases, error) {
				got, err := p.Allocate(ctx, req)
				require.NoError(t, err)
				return answer(got), nil
			})}, "a")
		_, err := p.MallocKey(t.Context())
		require.ErrorContains(t, err, "policy gave", name)
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free), name)

		s.fail("return", backend.ErrPermission)
		_, err = p.MallocKey(t.Context())
		require.ErrorContains(t, err, "policy gave", name)
		require.ErrorIs(t, err, backend.ErrPermission, name)
	}
}

// An object that cannot be configured is told of with a policy as without one.
func TestAPolicyLearnsWhyAnObjectCannotBeConfigured(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{Policy: policy.Default(policy.Defaults[*thing]{})}, "a")
	for range 2 {
		_, err := p.Acquire(t.Context(), &thing{configure: func(string) error { return errOops }})
		require.ErrorIs(t, err, errOops)
		_, err = p.Malloc(t.Context(), &thing{configure: func(string) error { return errOops }})
		require.ErrorIs(t, err, errOops)
	}
	require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
}

// A pool that could not be opened is closed for the policy that kept it, and for what was allocated through it.
func TestAPoolThatCouldNotBeOpenedIsClosed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	_, err := s.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"a", "b"}, TTL: backend.NoExpiry})
	require.NoError(t, err)
	keeper := &keeping{}
	_, err = pool.New(s, pool.Config[*thing]{Namespace: ns, Policy: keeper})
	require.ErrorIs(t, err, errOops)
	lease := keeper.leases[0].(*pool.Lease[*thing])
	require.ErrorIs(t, context.Cause(lease.Context()), backend.ErrClosed)
	require.Zero(t, s.counting(func() {
		_, err = keeper.pool.Allocate(t.Context(), policy.Request[*thing]{Count: 1, TTL: time.Minute})
		require.ErrorIs(t, err, backend.ErrClosed)
	}))
	require.NoError(t, lease.Release(t.Context()))
}

// keeping is a policy that takes a member when it is opened, and then cannot be.
type keeping struct {
	failing
	pool   policy.Pool[*thing]
	leases []policy.Lease[*thing]
}

func (k *keeping) Initialize(ctx context.Context, p policy.Pool[*thing]) (err error) {
	k.pool = p
	k.leases, err = p.Allocate(ctx, policy.Request[*thing]{Count: 1, TTL: time.Minute})
	return errors.Join(errOops, err)
}

// rude is an object whose methods panic.
type rude struct{ *thing }

func (rude) BindingName() string { panic("in BindingName") }
func (rude) ObjectID() string    { panic("in ObjectID") }

func TestNamesAndIDsOfObjectsThatPanic(t *testing.T) {
	t.Parallel()
	p, err := pool.New(newStore(t), pool.Config[rude]{Namespace: ns})
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Extend(t.Context(), []string{"a"}))
	_, err = p.Malloc(t.Context(), rude{new(thing)})
	require.ErrorContains(t, err, "in BindingName")
	l, err := p.Malloc(t.Context(), rude{new(thing)}, pool.Name(""))
	require.NoError(t, err, "it is not asked")
	require.Equal(t, "a", l.UniqueID())
	require.NoError(t, l.Release(t.Context()))

	q := open(t, newStore(t), pool.Config[*thing]{}, "a")
	nameless, err := q.Malloc(t.Context(), &thing{})
	require.NoError(t, err)
	require.Equal(t, "a", nameless.UniqueID(), "an empty id is none")
}

// logs remembers what was logged.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func TestTroubleIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logs
		p := open(t, newStore(t), pool.Config[*thing]{
			Logger:   slog.New(slog.NewTextHandler(&log, nil)),
			Observer: backend.ObserverFunc(func(backend.Event) { panic("rude observer") }),
		}, "a")
		l := malloc(t, p, pool.NoRenewal())
		require.Contains(t, log.take(), "rude observer")
		<-time.After(long)
		synctest.Wait()
		assert.Contains(t, log.take(), "lease ended without its holder")
		l.AfterRelease(func() { panic("rude function") })
		require.ErrorIs(t, l.Release(t.Context()), pool.ErrNotHeld)
		assert.Contains(t, log.take(), "rude function")
	})
	synctest.Test(t, func(t *testing.T) {
		var log logs
		p := open(t, newStore(t), pool.Config[*thing]{
			Logger: slog.New(slog.NewTextHandler(&log, nil)), Observer: new(events),
		}, "a")
		l := malloc(t, p)
		l.AfterRelease(func() {})
		require.NoError(t, l.Release(t.Context()))
		require.Empty(t, log.take(), "nothing is wrong")
	})
}

func TestAnAllocatorSaysWhetherItIsShared(t *testing.T) {
	t.Parallel()
	require.True(t, open(t, newStore(t), pool.Config[*thing]{Shared: true}).Shared())
	require.False(t, open(t, newStore(t), pool.Config[*thing]{}).Shared())
}
