package policy_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// These tests put the parts to work on the real pool, on the memory backend.

// proxy is what real pools in these tests hand out. sick is asked in each check and may be nil.
type proxy struct {
	key    string
	sick   func(key string) bool
	id     string
	opens  int
	closes int
}

func (p *proxy) Configure(key string, _ any) error {
	p.key = key
	return nil
}

func (p *proxy) Open(context.Context) error {
	p.opens++
	return nil
}

func (p *proxy) Close(context.Context) error {
	p.closes++
	return nil
}

func (p *proxy) CheckHealth(context.Context) error {
	if p.sick != nil && p.sick(p.key) {
		return errSick
	}
	return nil
}

func (p *proxy) ObjectID() string { return p.id }

// spy is a part that keeps what the pool shows to policies.
type spy struct {
	policy.Policy[*proxy]
	pool policy.Pool[*proxy]
}

func (s *spy) Initialize(_ context.Context, p policy.Pool[*proxy]) error {
	s.pool = p
	return nil
}

func spied(s *spy) policy.Middleware[*proxy] {
	return func(next policy.Policy[*proxy]) policy.Policy[*proxy] {
		s.Policy = next
		return s
	}
}

// observed writes down what happens.
type observed struct {
	mu    sync.Mutex
	kinds []backend.EventKind
}

func (o *observed) Observe(e backend.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds = append(o.kinds, e.Kind)
}

func (o *observed) count(kind backend.EventKind) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, k := range o.kinds {
		if k == kind {
			n++
		}
	}
	return n
}

// opened makes a pool that is closed at the end of the test.
func opened(t *testing.T, be backend.Backend, cfg pool.Config[*proxy]) *pool.Allocator[*proxy] {
	t.Helper()
	cfg.Namespace = ns
	a, err := pool.New(be, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	return a
}

func members(t *testing.T, a *pool.Allocator[*proxy]) []string {
	t.Helper()
	var keys []string
	for key, err := range a.Keys(t.Context()) {
		require.NoError(t, err)
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func newMemory(t *testing.T) *memory.Backend {
	t.Helper()
	be := memory.New()
	t.Cleanup(func() { assert.NoError(t, be.Close()) })
	return be
}

func TestAnUnhealthyMemberIsBackAfterItsQuarantine(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := &observed{}
			a := opened(t, newMemory(t), pool.Config[*proxy]{
				Shared: shared, Observer: o, TTL: time.Minute,
				Policy: policy.Chain(policy.CheckBeforeUse[*proxy](policy.HealthConfig{})),
			})
			require.NoError(t, a.Extend(t.Context(), []string{"a", "b"}))
			ill := true
			sick := func(key string) bool { return ill && key == "a" }
			object := &proxy{sick: sick}
			lease, err := a.Malloc(t.Context(), object)
			require.NoError(t, err)
			assert.Equal(t, "b", lease.Key())
			assert.Equal(t, []int{2, 1}, []int{object.opens, object.closes})
			assert.Equal(t, 1, o.count(backend.EventUnhealthy))
			assert.Equal(t, 1, o.count(backend.EventQuarantined))
			require.NoError(t, lease.Release(t.Context()))

			ill = false
			for range 2 {
				lease, err = a.Malloc(t.Context(), &proxy{sick: sick})
				require.NoError(t, err)
				assert.Equal(t, "b", lease.Key())
				require.NoError(t, lease.Release(t.Context()))
			}
			pass(time.Hour)
			got, err := a.MallocN(t.Context(), 2, pool.NoRenewal())
			require.NoError(t, err)
			for _, l := range got {
				require.NoError(t, l.Release(t.Context()))
			}
		})
	}
}

func TestTheWholePoolIsCheckedAndSorted(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &spy{}
			a := opened(t, newMemory(t), pool.Config[*proxy]{Shared: shared, Policy: policy.Chain(spied(s))})
			all := []string{"a", "b", "c", "d"}
			require.NoError(t, a.Extend(t.Context(), all))
			only := func(keys ...string) ([]policy.Lease[*proxy], error) {
				return s.pool.Allocate(t.Context(), policy.Request[*proxy]{
					TTL: time.Minute, Count: 1, Prefer: keys, Only: true,
				})
			}
			held, err := only("d")
			require.NoError(t, err)
			ill := []string{"a", "b"}
			check := func() policy.Report {
				report, err := policy.CheckHealth(t.Context(), s.pool, policy.CheckConfig[*proxy]{
					New: func(string) *proxy {
						return &proxy{sick: func(key string) bool { return slices.Contains(ill, key) }}
					},
				})
				require.NoError(t, err)
				return report
			}
			want := policy.Report{Healthy: 1, Unhealthy: 2, Skipped: 1}
			if shared {
				want = policy.Report{Healthy: 2, Unhealthy: 2}
			}
			assert.Equal(t, want, check())
			_, err = only("a", "b")
			require.ErrorIs(t, err, pool.ErrExhausted)
			assert.Equal(t, want, check(), "what is still ill stays where it is")

			ill = []string{"b"}
			want.Healthy, want.Unhealthy = want.Healthy+1, 1
			assert.Equal(t, want, check())
			again, err := only("a")
			require.NoError(t, err)
			_, err = only("b")
			require.ErrorIs(t, err, pool.ErrExhausted)
			require.NoError(t, again[0].Release(t.Context()))
			require.NoError(t, held[0].Release(t.Context()))
			assert.Equal(t, all, members(t, a))
		})
	}
}

func TestAutoCloseClosesTheObjectOfALeaseThatRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := opened(t, newMemory(t), pool.Config[*proxy]{
			TTL: time.Minute, NoRenewal: true, Policy: policy.Default(policy.Defaults[*proxy]{AutoClose: true}),
		})
		require.NoError(t, a.Extend(t.Context(), []string{"a"}))
		first, second := &proxy{}, &proxy{}
		lapsed, err := a.Malloc(t.Context(), first)
		require.NoError(t, err)
		require.NoError(t, lapsed.Open(t.Context()))
		pass(time.Minute)
		lease, err := a.Malloc(t.Context(), second)
		require.NoError(t, err)
		assert.Equal(t, 1, first.closes)
		require.ErrorIs(t, lapsed.Release(t.Context()), pool.ErrNotHeld)
		assert.Equal(t, 1, first.closes, "once is enough")

		require.NoError(t, a.Close())
		assert.Equal(t, 1, second.closes)
		_ = lease.Release(t.Context())
		assert.Equal(t, 1, second.closes)
	})
}

func TestAutoCloseStandsAsideWhenALeaseIsRefreshed(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := opened(t, newMemory(t), pool.Config[*proxy]{
				Shared: shared, Policy: policy.Default(policy.Defaults[*proxy]{AutoClose: true}),
			})
			require.NoError(t, a.Extend(t.Context(), []string{"a", "b"}))
			object := &proxy{}
			lease, err := a.Malloc(t.Context(), object)
			require.NoError(t, err)
			for range 5 {
				require.NoError(t, lease.Refresh(t.Context()))
			}
			assert.Equal(t, []int{5, 5}, []int{object.opens, object.closes}, "it is open now")
			require.NoError(t, lease.Release(t.Context()))
			assert.Equal(t, 6, object.closes)
			require.NoError(t, a.Close())
			assert.Equal(t, 6, object.closes)
		})
	}
}

func TestBindChoosesTheNameThatThePoolBinds(t *testing.T) {
	a := opened(t, newMemory(t), pool.Config[*proxy]{
		Policy: policy.Chain(policy.Bind(policy.BindConfig[*proxy]{
			Name: func(_ context.Context, req policy.Request[*proxy]) string { return req.Object.id },
		})),
	})
	require.NoError(t, a.Extend(t.Context(), []string{"a", "b", "c"}))
	for range 5 {
		lease, err := a.Malloc(t.Context(), &proxy{id: "me"})
		require.NoError(t, err)
		assert.Equal(t, "a", lease.Key())
		assert.Equal(t, "me", lease.Name())
		require.NoError(t, lease.Release(t.Context()))
		other, err := a.Malloc(t.Context(), &proxy{id: "you"})
		require.NoError(t, err)
		assert.Equal(t, "b", other.Key())
		require.NoError(t, other.Release(t.Context()))
	}
}

func TestOnePolicyServesOnePool(t *testing.T) {
	be := newMemory(t)
	pol := policy.Default(policy.Defaults[*proxy]{Updater: policy.NewUpdater(static("a"))})
	first := opened(t, be, pool.Config[*proxy]{Policy: pol})
	_, err := pool.New(be, pool.Config[*proxy]{Namespace: ns, Policy: pol})
	require.ErrorIs(t, err, policy.ErrInUse)
	lease, err := first.MallocKey(t.Context())
	require.NoError(t, err, "the first pool does not suffer")
	require.NoError(t, lease.Release(t.Context()))
}

func TestAPoolWithAPolicyThatCannotWorkIsNotOpened(t *testing.T) {
	be := newMemory(t)
	for _, pol := range []policy.Policy[*proxy]{
		policy.Chain[*proxy](nil), policy.Default(policy.Defaults[*proxy]{Updater: &policy.Updater{}}),
	} {
		_, err := pool.New(be, pool.Config[*proxy]{Namespace: ns, Policy: pol})
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
}
