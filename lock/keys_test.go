package lock_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

// plainStore is a store that counts and hooks values and sets, too.
type plainStore struct{ *store }

func newPlainStore(t testing.TB) plainStore {
	t.Helper()
	return plainStore{newStore(t)}
}

func (s plainStore) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	return call(ctx, s.store, "get", func() ([]backend.Value, error) { return s.Backend.Get(ctx, req) })
}

func (s plainStore) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	return call(ctx, s.store, "set", func() (backend.SetReply, error) { return s.Backend.Set(ctx, req) })
}

func (s plainStore) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	return call(ctx, s.store, "delete", func() (backend.DeleteReply, error) { return s.Backend.Delete(ctx, req) })
}

func (s plainStore) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	return call(ctx, s.store, "scan", func() (backend.ScanReply, error) { return s.Backend.Scan(ctx, req) })
}

func (s plainStore) Add(ctx context.Context, req backend.SetEdit) (int, error) {
	return call(ctx, s.store, "add", func() (int, error) { return s.Backend.Add(ctx, req) })
}

func (s plainStore) Remove(ctx context.Context, req backend.SetEdit) (int, error) {
	return call(ctx, s.store, "remove", func() (int, error) { return s.Backend.Remove(ctx, req) })
}

func (s plainStore) Replace(ctx context.Context, req backend.SetEdit) error {
	_, err := call(ctx, s.store, "replace", func() (int, error) { return 0, s.Backend.Replace(ctx, req) })
	return err
}

func (s plainStore) Members(ctx context.Context, req backend.MembersRequest) (backend.MembersReply, error) {
	return call(ctx, s.store, "members", func() (backend.MembersReply, error) { return s.Backend.Members(ctx, req) })
}

func newKeys(t testing.TB) *lock.Keys {
	t.Helper()
	return lock.NewKeys(newPlainStore(t), ns)
}

// yes expects a call to have said so.
func yes(t testing.TB, want bool) func(got bool, err error) {
	t.Helper()
	return func(got bool, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestAKeyIsLockedUntilItIsUnlocked(t *testing.T) {
	t.Parallel()
	k, ctx := newKeys(t), t.Context()
	yes(t, false)(k.IsLocked(ctx, "a"))
	yes(t, true)(k.Lock(ctx, "a", "me", time.Minute))
	yes(t, false)(k.Lock(ctx, "a", "you", time.Minute))
	yes(t, false)(k.Lock(ctx, "a", "me", time.Minute))
	yes(t, true)(k.IsLocked(ctx, "a"))
	value, ok, err := k.Value(ctx, "a")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "me", value)
	yes(t, true)(k.Unlock(ctx, "a"))
	yes(t, false)(k.Unlock(ctx, "a"))
	value, ok, err = k.Value(ctx, "a")
	require.NoError(t, err)
	assert.False(t, ok)
	assert.Empty(t, value)
	yes(t, true)(k.Lock(ctx, "a", "you", time.Minute))
}

func TestALockedKeyRunsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, ctx := newKeys(t), t.Context()
		yes(t, true)(k.Lock(ctx, "a", "me", time.Minute))
		<-time.After(time.Minute - time.Millisecond)
		yes(t, false)(k.Lock(ctx, "a", "you", time.Minute))
		<-time.After(time.Millisecond)
		yes(t, true)(k.Lock(ctx, "a", "you", backend.NoExpiry))
		<-time.After(1000 * time.Hour)
		yes(t, true)(k.IsLocked(ctx, "a"))
	})
}

func TestTheSameValueLocksAgainAndRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, ctx := newKeys(t), t.Context()
		yes(t, true)(k.RLock(ctx, "a", "me", time.Minute))
		<-time.After(40 * time.Second)
		yes(t, false)(k.RLock(ctx, "a", "you", time.Minute))
		yes(t, true)(k.RLock(ctx, "a", "me", time.Minute))
		ttl, err := k.TTL(ctx, "a")
		require.NoError(t, err)
		assert.Equal(t, time.Minute, ttl)
		<-time.After(40 * time.Second)
		yes(t, true)(k.IsLocked(ctx, "a"))
		yes(t, true)(k.Unlock(ctx, "a")) // however often it was locked
		yes(t, false)(k.IsLocked(ctx, "a"))
	})
}

func TestAnUpdateTakesTheKeyFromWhoeverHasIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		k, ctx := lock.NewKeys(s, ns), t.Context()
		held := hold(t, lock.NewMutex(s, ns, "a", lock.Config{TTL: 3 * time.Second}))
		require.NoError(t, k.Update(ctx, "a", "admin", time.Minute))
		<-held.Context().Done()
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
		require.ErrorIs(t, held.Unlock(ctx), lock.ErrNotHeld)
		value, _, err := k.Value(ctx, "a")
		require.NoError(t, err)
		assert.Equal(t, "admin", value)
		require.NoError(t, k.Update(ctx, "b", "admin", time.Minute))
		yes(t, true)(k.IsLocked(ctx, "b"))
	})
}

func TestAMutexAndAKeyOfTheSameNameExcludeEachOther(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	k, ctx := lock.NewKeys(s, ns), t.Context()
	m := lock.NewMutex(s, ns, "a", lock.Config{Info: "nightly"})
	held := hold(t, m)
	yes(t, false)(k.Lock(ctx, "a", "me", time.Minute))
	state, err := k.State(ctx, "a")
	require.NoError(t, err)
	holder, ok := lock.ParseHolder(state.Value)
	assert.True(t, ok)
	assert.Equal(t, "nightly", holder.Info)
	unlock(t, held)
	yes(t, true)(k.Lock(ctx, "a", "me", time.Minute))
	_, err = m.TryLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
}

func TestAForcedUnlockServesThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		k, ctx := lock.NewKeys(s, ns), t.Context()
		yes(t, true)(k.Lock(ctx, "a", "me", backend.NoExpiry))
		got := make(chan *lock.Held)
		go func() {
			held, err := lock.NewMutex(s, ns, "a", lock.Config{}).Lock(ctx)
			assert.NoError(t, err)
			got <- held
		}()
		synctest.Wait()
		begin := time.Now()
		yes(t, true)(k.Unlock(ctx, "a"))
		held := <-got
		assert.Zero(t, time.Since(begin), "at once")
		unlock(t, held)
	})
}

func TestStatusOfAKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, ctx := newKeys(t), t.Context()
		yes(t, true)(k.Lock(ctx, "short", "v", time.Minute))
		yes(t, true)(k.Lock(ctx, "long", "v", time.Minute+time.Millisecond))
		yes(t, true)(k.Lock(ctx, "ever", "v", backend.NoExpiry))
		for name, want := range map[string]lock.Status{
			"none": lock.StatusFree, "short": lock.StatusLocked, "long": lock.StatusUnavailable, "ever": lock.StatusError,
		} {
			got, err := k.Status(ctx, name, time.Minute)
			require.NoError(t, err)
			assert.Equal(t, want, got, name)
		}
		got, err := k.Status(ctx, "short", 0)
		require.NoError(t, err)
		assert.Equal(t, lock.StatusUnavailable, got)
		<-time.After(time.Millisecond)
		got, err = k.Status(ctx, "long", time.Minute)
		require.NoError(t, err)
		assert.Equal(t, lock.StatusLocked, got)

		for name, want := range map[string]time.Duration{"none": 0, "long": time.Minute, "ever": backend.NoExpiry} {
			ttl, err := k.TTL(ctx, name)
			require.NoError(t, err)
			assert.Equal(t, want, ttl)
		}
		_, err = k.Status(ctx, "short", -time.Second)
		require.ErrorIs(t, err, backend.ErrInvalid)
	})
	texts := fmt.Sprint(lock.StatusFree, lock.StatusUnavailable, lock.StatusLocked, lock.StatusError, lock.Status(9))
	assert.Equal(t, "free unavailable locked error status 9", texts)
}

// comparisons are what each of them says of numbers below, at, near and above the stored one.
var comparisons = []struct {
	c                          lock.Comparison
	text                       string
	below, just, at, over, far bool
}{
	{lock.GT, ">", false, false, false, true, true},
	{lock.LT, "<", true, true, false, false, false},
	{lock.GE, ">=", false, true, true, true, true},
	{lock.LE, "<=", true, true, true, true, false},
	{lock.EQ, "==", false, true, true, true, false},
	{lock.NE, "!=", true, false, false, false, true},
}

func TestSetIfAndDeleteIfCompareTheGivenWithTheStored(t *testing.T) {
	t.Parallel()
	k, ctx := newKeys(t), t.Context()
	for _, c := range comparisons {
		t.Run(c.text, func(t *testing.T) {
			assert.Equal(t, c.text, c.c.String())
			for given, want := range map[float64]bool{9: c.below, 10 - 5e-7: c.just, 10: c.at, 10 + 5e-7: c.over, 11: c.far} {
				require.NoError(t, k.Update(ctx, "n", "10", time.Minute))
				yes(t, want)(k.SetIf(ctx, "n", c.c, given, "20", time.Hour))
				state, err := k.State(ctx, "n")
				require.NoError(t, err)
				if want {
					assert.Equal(t, "20", state.Value)
					assert.Greater(t, state.TTL, time.Minute)
				} else {
					assert.Equal(t, "10", state.Value)
					assert.LessOrEqual(t, state.TTL, time.Minute)
				}
				require.NoError(t, k.Update(ctx, "n", "10", time.Minute))
				yes(t, want)(k.DeleteIf(ctx, "n", c.c, given))
				yes(t, !want)(k.IsLocked(ctx, "n"))
			}
			yes(t, true)(k.SetIf(ctx, "missing "+c.text, c.c, 1.5, "", time.Minute))
			value, _, err := k.Value(ctx, "missing "+c.text)
			require.NoError(t, err)
			assert.Equal(t, "1.5", value)
			yes(t, false)(k.DeleteIf(ctx, "nothing", c.c, 1))
			yes(t, false)(k.IsLocked(ctx, "nothing"))
		})
	}
}

func TestSetIfWritesNumbersThatEverybodyCanRead(t *testing.T) {
	t.Parallel()
	k, ctx := newKeys(t), t.Context()
	for v, want := range map[float64]string{
		0: "0", -3: "-3", 0.1: "0.1", 1e6: "1000000", 1 << 53: "9007199254740992", 1e-7: "0.0000001",
	} {
		yes(t, true)(k.SetIf(ctx, want, lock.GT, v, "", backend.NoExpiry))
		got, _, err := k.Value(ctx, want)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		yes(t, false)(k.SetIf(ctx, want, lock.NE, v, "", backend.NoExpiry))
	}
}

func TestAStoredValueThatIsNoNumberIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	k, ctx := lock.NewKeys(s, ns), t.Context()
	yes(t, true)(k.Lock(ctx, "text", "me", time.Minute))
	held := hold(t, lock.NewMutex(s, ns, "mutex", lock.Config{}))
	defer unlock(t, held)
	for _, name := range []string{"text", "mutex"} {
		before, err := k.State(ctx, name)
		require.NoError(t, err)
		for _, c := range comparisons {
			_, err := k.SetIf(ctx, name, c.c, 1, "", time.Hour)
			require.ErrorIs(t, err, backend.ErrNotNumber)
			_, err = k.DeleteIf(ctx, name, c.c, 1)
			require.ErrorIs(t, err, backend.ErrNotNumber)
		}
		after, err := k.State(ctx, name)
		require.NoError(t, err)
		assert.Equal(t, before.Value, after.Value)
		assert.LessOrEqual(t, after.TTL, before.TTL)
	}
}

func TestKeysAreListed(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	k, ctx := lock.NewKeys(s, ns), t.Context()
	const n = 2500
	want := make([]string, n)
	for i := range n {
		want[i] = fmt.Sprintf("key-%04d", i)
		yes(t, true)(k.Lock(ctx, want[i], fmt.Sprint("v", i), time.Hour))
	}
	var names []string
	for name, err := range k.Names(ctx) {
		require.NoError(t, err)
		names = append(names, name)
	}
	slices.Sort(names)
	assert.Equal(t, want, names)
	seen := map[string]lock.KeyState{}
	for state, err := range k.All(ctx) {
		require.NoError(t, err)
		assert.NotContains(t, seen, state.Name)
		assert.True(t, state.Locked)
		assert.InDelta(t, time.Hour, state.TTL, float64(time.Minute))
		seen[state.Name] = state
	}
	assert.Len(t, seen, n)
	assert.Equal(t, "v7", seen["key-0007"].Value)

	first := func() {
		for _, err := range k.All(ctx) {
			require.NoError(t, err)
			break
		}
		for _, err := range k.Names(ctx) {
			require.NoError(t, err)
			break
		}
	}
	assert.Equal(t, 3, s.counting(first), "who stops asks no more")

	for _, op := range []string{"scan", "get"} {
		s.fail(op, errOops)
		errs := 0
		for _, err := range k.All(ctx) {
			require.ErrorIs(t, err, errOops)
			errs++
		}
		assert.Equal(t, 1, errs)
	}
	s.fail("scan", errOops)
	for _, err := range k.Names(ctx) {
		require.ErrorIs(t, err, errOops)
	}
}

func TestKeysThatVanishOrComeTwiceWhileTheyAreListed(t *testing.T) {
	t.Parallel()
	be := &pagedKeys{Backend: memory.New(), pages: []backend.ScanReply{
		{Names: []string{"a", "gone", "b"}, Cursor: "1"}, {Cursor: "2"}, {Names: []string{"b", "c"}},
	}}
	defer be.Close()
	k := lock.NewKeys(be, ns)
	for _, name := range []string{"a", "b", "c"} {
		yes(t, true)(k.Lock(t.Context(), name, "v", time.Hour))
	}
	var names []string
	for state, err := range k.All(t.Context()) {
		require.NoError(t, err)
		names = append(names, state.Name)
	}
	assert.Equal(t, []string{"a", "b", "c"}, names)
}

// pagedKeys scans with pages of its own.
type pagedKeys struct {
	*memory.Backend
	pages []backend.ScanReply
}

func (p *pagedKeys) Scan(context.Context, backend.ScanRequest) (backend.ScanReply, error) {
	page := p.pages[0]
	p.pages = p.pages[1:]
	return page, nil
}

// badNames cannot be part of a key, badTTLs no lifetime.
var (
	badNames = []string{"", "a\x00b", "\xff", strings.Repeat("x", backend.MaxNameLen+1)}
	badTTLs  = []time.Duration{0, -time.Second, time.Microsecond, math.MinInt64}
)

func TestWhatIsInvalidOfAKeyIsNotSent(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	k, ctx := lock.NewKeys(s, ns), t.Context()
	refused := func(what string, err error) {
		t.Helper()
		var invalid *backend.InvalidError
		require.ErrorAs(t, err, &invalid, what)
		require.ErrorIs(t, err, backend.ErrInvalid)
		assert.Less(t, len(err.Error()), 600)
	}
	with := func(k *lock.Keys, name, value string, ttl time.Duration) {
		t.Helper()
		_, err := k.Lock(ctx, name, value, ttl)
		refused("Lock", err)
		_, err = k.RLock(ctx, name, value, ttl)
		refused("RLock", err)
		refused("Update", k.Update(ctx, name, value, ttl))
		if value != "" {
			_, err = k.SetIf(ctx, name, lock.GT, 1, value, ttl)
			refused("SetIf", err)
		}
	}
	look := func(k *lock.Keys, name string) {
		t.Helper()
		_, err := k.Unlock(ctx, name)
		refused("Unlock", err)
		_, err = k.IsLocked(ctx, name)
		refused("IsLocked", err)
		_, _, err = k.Value(ctx, name)
		refused("Value", err)
		_, err = k.TTL(ctx, name)
		refused("TTL", err)
		_, err = k.Status(ctx, name, time.Minute)
		refused("Status", err)
		_, err = k.DeleteIf(ctx, name, lock.GT, 1)
		refused("DeleteIf", err)
	}
	assert.Zero(t, s.counting(func() {
		for _, name := range badNames {
			with(k, name, "v", time.Minute)
			look(k, name)
		}
		for _, value := range append([]string{backend.SharedToken}, badNames...) {
			with(k, "a", value, time.Minute)
		}
		for _, ttl := range badTTLs {
			with(k, "a", "v", ttl)
		}
		for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			_, err := k.SetIf(ctx, "a", lock.GT, v, "", time.Minute)
			refused("SetIf", err)
			_, err = k.DeleteIf(ctx, "a", lock.GT, v)
			refused("DeleteIf", err)
		}
		for _, c := range []lock.Comparison{0, lock.NE + 1, 255} {
			_, err := k.SetIf(ctx, "a", c, 1, "", time.Minute)
			refused("SetIf", err)
			_, err = k.DeleteIf(ctx, "a", c, 1)
			refused("DeleteIf", err)
			assert.Contains(t, c.String(), "comparison ")
		}
		for _, wrong := range []*lock.Keys{lock.NewKeys(s, backend.Namespace{}), lock.NewKeys(nil, ns)} {
			with(wrong, "a", "v", time.Minute)
			look(wrong, "a")
			for _, err := range wrong.Names(ctx) {
				refused("Names", err)
			}
			for _, err := range wrong.All(ctx) {
				refused("All", err)
			}
		}
	}))
}

func TestErrorsOfKeysSayWhatWasAttempted(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	k, ctx := lock.NewKeys(s, ns), t.Context()
	require.NoError(t, s.Close())
	_, err := k.Lock(ctx, "a", "v", time.Minute)
	require.ErrorIs(t, err, backend.ErrClosed)
	require.ErrorContains(t, err, `lock "a": `)
	_, err = k.Unlock(ctx, "a")
	require.ErrorIs(t, err, backend.ErrClosed)
	require.ErrorContains(t, err, `unlock "a": `)
	_, err = k.DeleteIf(ctx, "a", lock.GT, 1)
	require.ErrorIs(t, err, backend.ErrClosed)
	_, err = k.Status(ctx, "a", time.Minute)
	require.ErrorIs(t, err, backend.ErrClosed)
}
