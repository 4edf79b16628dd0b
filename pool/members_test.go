package pool_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/pool"
)

func TestTheMembersOfAPool(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "a", "b", "c")
	ctx := t.Context()
	list := func() []string {
		var keys []string
		for k, err := range p.Keys(ctx) {
			require.NoError(t, err)
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return keys
	}
	n, err := p.Len(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, []string{"a", "b", "c"}, list())
	l := malloc(t, p)
	require.Equal(t, []string{"a", "b", "c"}, list(), "free or not")

	require.NoError(t, p.Shrink(ctx, []string{"a", "c", "x"}))
	require.Equal(t, []string{"b"}, list())
	require.True(t, l.Valid(), "the lease goes on")
	require.NoError(t, l.Release(ctx))
	require.Equal(t, []string{"b"}, list(), "and ends in nothing")

	require.NoError(t, p.Assign(ctx, []string{"d", "b"}))
	require.Equal(t, []string{"b", "d"}, list())
	for keys, want := range map[string]bool{"b": true, "d": true, "a": false} {
		ok, err := p.Contains(ctx, keys)
		require.NoError(t, err)
		require.Equal(t, want, ok, keys)
	}
	ok, err := p.Contains(ctx, "b", "d", "b")
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = p.Contains(ctx, "b", "a")
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, p.Clear(ctx))
	require.Empty(t, list())
}

func TestListsOfAnyLengthWork(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	many := keys(3 * backend.BatchLimit / 2)
	p := open(t, newStore(t), pool.Config[*thing]{}, many...)
	seen := map[string]bool{}
	for k, err := range p.Keys(ctx) {
		require.NoError(t, err)
		seen[k] = true
	}
	require.Len(t, slices.Collect(maps.Keys(seen)), len(many))
	for _, err := range p.Keys(ctx) {
		require.NoError(t, err)
		break // stopping early is fine
	}
	ok, err := p.Contains(ctx, many...)
	require.NoError(t, err)
	require.True(t, ok)
	_, err = p.MallocN(ctx, backend.MaxTake)
	require.NoError(t, err)
	n, err := p.FreeKeys(ctx, many)
	require.NoError(t, err)
	require.Equal(t, backend.MaxTake, n)
	require.Equal(t, len(many), snapshot(t, p).Count(pool.Free))
	_, err = p.FreeKeys(ctx, append(many, ""))
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.NoError(t, p.Shrink(ctx, many))
}

func TestMembersDropOutAfterTheirTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := open(t, newStore(t), pool.Config[*thing]{}, "a")
		require.NoError(t, p.Extend(t.Context(), []string{"b", "c"}, pool.MemberTTL(time.Minute)))
		require.NoError(t, p.Extend(t.Context(), []string{"c"}, pool.MemberTTL(backend.NoExpiry)))
		<-time.After(2 * time.Minute)
		reply, err := p.GC(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, 1, reply.Dropped)
		require.Equal(t, []string{"a", "c"}, snapshot(t, p).Keys(pool.Free))
	})
}

func TestASnapshotTellsWhatEachMemberIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{}, keys(7)...)
		ctx := t.Context()
		l := malloc(t, p)
		require.NoError(t, malloc(t, p).SetUnhealthy(ctx, time.Hour))
		endless := malloc(t, p, pool.TTL(backend.NoExpiry))
		gone := malloc(t, p)
		set := func(key, value string, ttl time.Duration) {
			_, err := s.Backend.Set(ctx, backend.SetRequest{
				Namespace: ns, Kind: backend.KindLock, Items: []backend.SetItem{{Name: key, Value: value, TTL: ttl}},
			})
			require.NoError(t, err)
		}
		go func() { _, _ = p.AcquireN(ctx, 5, pool.MaxWait(time.Second)) }()
		synctest.Wait()
		require.Equal(t, 1, snapshot(t, p).Waiting)
		<-time.After(2 * time.Second)
		_, err := s.Backend.Delete(ctx, backend.DeleteRequest{
			Namespace: ns, Kind: backend.KindLock, Items: []backend.DeleteItem{{Name: gone.Key()}},
		})
		require.NoError(t, err)
		set("k6", "1", backend.NoExpiry)
		seen, err := p.Snapshot(ctx)
		require.NoError(t, err)
		require.Len(t, seen.Violations, 1, "k6 is free and locked: %v", seen.Violations)
		require.Zero(t, seen.Waiting)
		states := map[string]pool.State{}
		for _, m := range seen.Members {
			states[m.Key] = m.State
			require.NotEqual(t, "unknown", m.State.String())
		}
		require.Equal(t, map[string]pool.State{
			"k0": pool.Leased, "k1": pool.Quarantined, "k2": pool.Leased, "k3": pool.Unlocked, "k4": pool.Free,
			"k5": pool.Free, "k6": pool.Locked,
		}, states)
		require.Equal(t, []string{"k4", "k5"}, seen.Keys(pool.Free))
		at := slices.IndexFunc(seen.Members, func(m pool.Member) bool { return m.Key == "k0" })
		require.Equal(t, l.Token(), seen.Members[at].Owner)
		left := pool.DefaultTTL - 2*time.Second
		require.Equal(t, left, seen.Members[at].TTL)
		require.WithinDuration(t, time.Now().Add(left), seen.Members[at].Deadline, time.Millisecond)
		reply, err := p.GC(ctx, 100)
		require.NoError(t, err)
		require.Equal(t, backend.CollectReply{Freed: 1, Locked: 1}, reply)
		require.NoError(t, endless.Release(ctx))
	})
}
