package pool_test

import (
	"context"
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

// An object that refused another member is configured for its own again.
func TestAnObjectThatRefusesAnotherMemberKeepsItsOwn(t *testing.T) {
	t.Parallel()
	var log logs
	p := open(t, newStore(t), pool.Config[*thing]{Logger: slog.New(slog.NewTextHandler(&log, nil))}, "a", "b")
	refuses := true
	obj := &thing{
		configure: func(key string) error {
			if key == "b" && refuses {
				return errOops
			}
			return nil
		},
		close: func(context.Context) error { return errOops },
	}
	l, err := p.Malloc(t.Context(), obj)
	require.NoError(t, err)
	require.ErrorIs(t, l.Refresh(t.Context()), errOops)
	require.Equal(t, []string{"a", "b", "a"}, obj.keys)
	require.Equal(t, "a", l.Key())
	require.True(t, l.Valid())
	require.Contains(t, log.take(), "object not closed")
	require.Equal(t, []string{"b"}, snapshot(t, p).Keys(pool.Free))

	obj.configure = func(string) error { return errOops }
	require.NoError(t, l.Open(t.Context()))
	require.ErrorIs(t, malloc(t, p).Refresh(t.Context()), pool.ErrExhausted, "without an object there is nothing to configure")
	require.Equal(t, []string{"a", "b", "a"}, obj.keys)

	obj.close = nil
	log.take()
	require.ErrorIs(t, l.Refresh(t.Context()), pool.ErrExhausted)
	require.Empty(t, log.take(), "nothing is wrong")
}

func TestRefreshUntilHealthyTellsWhatFailed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := open(t, s, pool.Config[*thing]{}, "a", "b")
	obj := &thing{name: "n"}
	l, err := p.Malloc(t.Context(), obj)
	require.NoError(t, err)

	s.fail("set", backend.ErrPermission) // of the binding
	require.ErrorIs(t, l.RefreshUntilHealthy(t.Context(), 1, time.Hour), backend.ErrPermission)
	require.Equal(t, "b", l.Key())

	obj.check = func(context.Context) error { return errOops }
	s.fail("renew", backend.ErrPermission) // of the quarantine
	err = l.RefreshUntilHealthy(t.Context(), 2, time.Hour)
	require.ErrorIs(t, err, backend.ErrPermission)
	require.ErrorIs(t, err, errOops)
	require.Equal(t, "a", l.Key(), "it was the first attempt")

	s.on(nil)
	malloc(t, p)
	err = l.RefreshUntilHealthy(t.Context(), 2, time.Hour)
	require.ErrorIs(t, err, pool.ErrExhausted)
	require.NotErrorIs(t, err, pool.ErrUnhealthy, "nothing was found to be")
}

// remembering is a policy that keeps the leases that it gave.
type remembering struct {
	leases []policy.Lease[*thing]
	freed  int
}

func (r *remembering) Allocate(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) ([]policy.Lease[*thing], error) {
	got, err := p.Allocate(ctx, req)
	if len(r.leases) > 0 && err == nil {
		got[0].AfterRelease(func() { r.freed++ })
	}
	r.leases = append(r.leases, got...)
	return got, err
}

// A policy that gave a lease for a Refresh works with the lease that was refreshed.
func TestWhatAPolicyGaveForARefreshIsTheLease(t *testing.T) {
	t.Parallel()
	r := &remembering{}
	p := open(t, newStore(t), pool.Config[*thing]{Policy: r}, "a", "b")
	obj := &thing{}
	l, err := p.Malloc(t.Context(), obj)
	require.NoError(t, err)
	require.NoError(t, l.Refresh(t.Context()))
	require.Equal(t, 1, obj.closed)
	require.Zero(t, r.freed)
	given := r.leases[1]
	require.NoError(t, given.Close(t.Context()))
	require.Equal(t, 2, obj.closed)
	obj.close = func(context.Context) error { return errOops }
	require.NoError(t, l.Open(t.Context()))
	require.ErrorIs(t, given.Close(t.Context()), errOops)
	require.NoError(t, l.Open(t.Context()))
	require.ErrorIs(t, given.Release(t.Context()), errOops)
	require.False(t, l.Valid())
	require.ErrorIs(t, context.Cause(l.Context()), pool.ErrReleased)
	require.Equal(t, 1, r.freed)
	require.Equal(t, 2, snapshot(t, p).Count(pool.Free))
}

// A collection that found something is told of, with how many.
func TestTheObserverIsToldOfCollections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Observer: &seen}, "a", "b", "c")
		require.NoError(t, p.Extend(t.Context(), []string{"d"}, pool.MemberTTL(time.Minute)))
		_, err := p.GC(t.Context(), 100)
		require.NoError(t, err)
		require.Empty(t, seen.of(backend.EventCollected))

		leases, err := p.MallocN(t.Context(), 2)
		require.NoError(t, err)
		for _, l := range leases { // locks that vanish without anybody telling the pool
			_, err := s.Backend.Delete(t.Context(), backend.DeleteRequest{
				Namespace: ns, Kind: backend.KindLock, Items: []backend.DeleteItem{{Name: l.Key()}},
			})
			require.NoError(t, err)
		}
		<-time.After(time.Minute)
		reply, err := p.GC(t.Context(), 100)
		require.NoError(t, err)
		collected := seen.of(backend.EventCollected)
		require.Len(t, collected, 1)
		require.Equal(t, reply.Freed+reply.Dropped, collected[0].Count)
		require.Positive(t, reply.Dropped)
		require.NoError(t, p.Close())
		_, err = p.GC(t.Context(), 100)
		require.ErrorIs(t, err, backend.ErrClosed)
		require.Len(t, seen.of(backend.EventCollected), 1)
	})
}

// Of several options that are wrong the first one is told of.
func TestTheFirstBadOptionIsToldOf(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "a")
	for field, opts := range map[string][]pool.Option{
		"ttl":   {pool.TTL(-2), pool.Token("")},
		"token": {pool.Token(""), pool.TTL(-2), pool.MaxWait(0)},
	} {
		_, err := p.MallocKey(t.Context(), opts...)
		var invalid *backend.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, field, invalid.Field)
	}
}

// The context of the new member does not end with that of the Refresh, which may be that of the old member.
func TestAfterARefreshTheContextIsStillThatOfTheAllocation(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "a", "b")
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "allocation"))
	defer cancel()
	l, err := p.Malloc(ctx, &thing{})
	require.NoError(t, err)
	old := l.Context()
	require.NoError(t, l.Refresh(old))
	require.Error(t, old.Err())
	require.NoError(t, l.Context().Err())

	short, end := context.WithCancel(t.Context())
	require.NoError(t, l.Refresh(short))
	end()
	require.NoError(t, l.Context().Err())
	require.Equal(t, "allocation", l.Context().Value(key{}))
	cancel()
	require.ErrorIs(t, l.Context().Err(), context.Canceled)
	require.True(t, l.Valid())
}

// Two leases that were lost and get each other's members in a Refresh do not wait for each other, though the policy closes
// what was allocated before under the same key.
func TestLeasesThatExchangeTheirMembersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{Policy: policy.Chain(policy.AutoClose[*thing]())}, "a", "b")
	one, err := p.Malloc(t.Context(), &thing{})
	require.NoError(t, err)
	other, err := p.Malloc(t.Context(), &thing{})
	require.NoError(t, err)
	_, err = p.FreeKeys(t.Context(), []string{"b", "a"})
	require.NoError(t, err)

	var both, done sync.WaitGroup // both have their members before either policy looks at what was there
	both.Add(2)
	meet := func(string) error {
		both.Done()
		both.Wait()
		return nil
	}
	for _, l := range []*pool.Lease[*thing]{one, other} {
		l.Object().configure = meet
		done.Go(func() { assert.NoError(t, l.Refresh(t.Context())) })
	}
	done.Wait()
	require.ElementsMatch(t, []string{"a", "b"}, []string{one.Key(), other.Key()})
	for _, l := range []*pool.Lease[*thing]{one, other} {
		require.NoError(t, l.Release(t.Context()))
	}
}
