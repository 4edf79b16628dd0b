package lock_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

// members are those of a pool, in alphabetical order.
func members(t testing.TB, p *lock.Pool) []string {
	t.Helper()
	names := []string{}
	for name, err := range p.Keys(t.Context()) {
		require.NoError(t, err)
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// states are those of the members of a pool.
func states(t testing.TB, p *lock.Pool) map[string]lock.KeyState {
	t.Helper()
	all := map[string]lock.KeyState{}
	for s, err := range p.States(t.Context()) {
		require.NoError(t, err)
		require.NotContains(t, all, s.Name)
		all[s.Name] = s
	}
	return all
}

func TestMembershipOfAPool(t *testing.T) {
	t.Parallel()
	p, ctx := lock.NewPool(newPlainStore(t), ns), t.Context()
	count := func(want int) func(n int, err error) {
		t.Helper()
		return func(n int, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
	}
	assert.Empty(t, members(t, p))
	count(0)(p.Len(ctx))
	count(3)(p.Extend(ctx, []string{"a", "b", "c"}))
	count(1)(p.Extend(ctx, []string{"c", "d"}))
	count(0)(p.Extend(ctx, nil))
	count(4)(p.Len(ctx))
	yes(t, true)(p.Contains(ctx, "d"))
	yes(t, false)(p.Contains(ctx, "x"))
	count(1)(p.Shrink(ctx, []string{"a", "x"}))
	count(0)(p.Shrink(ctx, nil))
	assert.Equal(t, []string{"b", "c", "d"}, members(t, p))
	require.NoError(t, p.Assign(ctx, []string{"x", "b"}))
	assert.Equal(t, []string{"b", "x"}, members(t, p))
	require.NoError(t, p.Clear(ctx))
	assert.Empty(t, members(t, p))
	require.NoError(t, p.Assign(ctx, []string{"y"}))
	require.NoError(t, p.Assign(ctx, nil))
	count(0)(p.Len(ctx))
}

func TestMembersAreLockedOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		p, ctx := lock.NewPool(s, ns), t.Context()
		_, err := p.Extend(ctx, []string{"free", "held", "mutex", "ever", "brief"})
		require.NoError(t, err)
		k := p.Locks()
		yes(t, true)(k.Lock(ctx, "held", "me", time.Minute))
		yes(t, true)(k.Lock(ctx, "ever", "me", backend.NoExpiry))
		yes(t, true)(k.Lock(ctx, "brief", "me", time.Second))
		yes(t, true)(k.Lock(ctx, "no member", "me", time.Minute))
		held := hold(t, lock.NewMutex(s, ns, "mutex", lock.Config{TTL: time.Hour}))
		<-time.After(time.Second)
		all := states(t, p)
		assert.Equal(t, map[string]lock.KeyState{
			"free":  {Name: "free"},
			"held":  {Name: "held", Locked: true, Value: "me", TTL: 59 * time.Second},
			"mutex": {Name: "mutex", Locked: true, Value: held.Token(), TTL: time.Hour - time.Second},
			"ever":  {Name: "ever", Locked: true, Value: "me", TTL: backend.NoExpiry},
			"brief": {Name: "brief"},
		}, all)
		for name, want := range map[string]lock.Status{
			"free": lock.StatusFree, "held": lock.StatusLocked, "mutex": lock.StatusUnavailable,
			"ever": lock.StatusError, "brief": lock.StatusFree,
		} {
			assert.Equal(t, want, all[name].Status(time.Minute), name)
		}
		locked, free, err := p.Counts(ctx)
		require.NoError(t, err)
		assert.Equal(t, []int{3, 2}, []int{locked, free})

		_, err = p.Shrink(ctx, []string{"held"})
		require.NoError(t, err)
		require.NoError(t, p.Clear(ctx))
		yes(t, true)(k.IsLocked(ctx, "held"))
		unlock(t, held)
	})
}

func TestALargePoolComesPageByPage(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	p, ctx := lock.NewPool(s, ns), t.Context()
	const n = 5000
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("m%04d", i)
	}
	added, err := p.Extend(ctx, all)
	require.NoError(t, err)
	assert.Equal(t, n, added)
	for i := 0; i < n; i += 100 {
		yes(t, true)(p.Locks().Lock(ctx, all[i], "me", time.Minute))
	}
	assert.Equal(t, all, members(t, p))
	var locked, free int
	calls := s.counting(func() { locked, free, err = p.Counts(ctx) })
	require.NoError(t, err)
	assert.Equal(t, []int{50, 4950}, []int{locked, free})
	assert.Equal(t, n/backend.BatchLimit, calls)
	assert.Equal(t, 1, s.counting(func() {
		for _, err := range p.States(ctx) {
			require.NoError(t, err)
			break
		}
	}), "who stops asks no more")
	require.NoError(t, p.Assign(ctx, all[:1]))
	assert.Equal(t, all[:1], members(t, p))
}

// pagedPool has pages of its own.
type pagedPool struct {
	*memory.Backend
	pages []backend.MembersReply
}

func (p *pagedPool) Members(context.Context, backend.MembersRequest) (backend.MembersReply, error) {
	page := p.pages[0]
	p.pages = p.pages[1:]
	return page, nil
}

func TestMembersThatComeTwiceAreListedOnce(t *testing.T) {
	t.Parallel()
	free := backend.Value{}
	be := &pagedPool{Backend: memory.New(), pages: []backend.MembersReply{
		{Names: []string{"a", "b", "a"}, Locks: []backend.Value{free, {Exists: true}, free}, Cursor: "1"},
		{Cursor: "2"},
		{Names: []string{"b", "c"}, Locks: []backend.Value{free, free}},
		{Names: []string{"a"}}, // a backend that tells nothing of locks
	}}
	defer be.Close()
	p := lock.NewPool(be, ns)
	locked, free2, err := p.Counts(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2}, []int{locked, free2})
	_, _, err = p.Counts(t.Context())
	require.Error(t, err)
}

func TestWhatIsInvalidOfAPoolIsNotSent(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	p, ctx := lock.NewPool(s, ns), t.Context()
	refused := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
	all := func(p *lock.Pool, names ...string) {
		t.Helper()
		_, err := p.Extend(ctx, names)
		refused(err)
		_, err = p.Shrink(ctx, names)
		refused(err)
		refused(p.Assign(ctx, names))
	}
	assert.Zero(t, s.counting(func() {
		for _, name := range badNames {
			all(p, "good", name)
			_, err := p.Contains(ctx, name)
			refused(err)
		}
		for _, wrong := range []*lock.Pool{lock.NewPool(s, backend.Namespace{}), lock.NewPool(nil, ns)} {
			all(wrong, "good")
			refused(wrong.Clear(ctx))
			_, err := wrong.Len(ctx)
			refused(err)
			_, err = wrong.Contains(ctx, "a")
			refused(err)
			_, _, err = wrong.Counts(ctx)
			refused(err)
			for _, err := range wrong.Keys(ctx) {
				refused(err)
			}
		}
	}))
	assert.Empty(t, members(t, p))
}

func TestErrorsOfAPool(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	p, ctx := lock.NewPool(s, ns), t.Context()
	_, err := p.Extend(ctx, []string{"a", "b"})
	require.NoError(t, err)
	for _, op := range []string{"add", "remove", "replace", "members"} {
		s.fail(op, errOops)
		_, extend := p.Extend(ctx, []string{"c"})
		_, shrink := p.Shrink(ctx, []string{"a"})
		_, length := p.Len(ctx)
		_, contains := p.Contains(ctx, "a")
		_, _, counts := p.Counts(ctx)
		for called, errs := range map[string][]error{
			"add": {extend}, "remove": {shrink}, "replace": {p.Assign(ctx, nil), p.Clear(ctx)},
			"members": {length, contains, counts},
		} {
			for _, err := range errs {
				if called == op {
					require.ErrorIs(t, err, errOops)
				} else {
					require.NoError(t, err)
				}
			}
		}
	}
	n := 0
	for _, err := range p.Keys(ctx) {
		require.ErrorIs(t, err, errOops)
		n++
	}
	assert.Equal(t, 1, n)
}
