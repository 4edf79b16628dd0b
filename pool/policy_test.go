package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// failing is a policy whose Allocate is a field.
type failing struct {
	allocate func(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) ([]policy.Lease[*thing], error)
	hooks    []string
	initErr  error
}

func (f *failing) Allocate(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) ([]policy.Lease[*thing], error) {
	return f.allocate(ctx, p, req)
}

func (f *failing) Initialize(context.Context, policy.Pool[*thing]) error {
	f.hooks = append(f.hooks, "init")
	return f.initErr
}

func (f *failing) Finalize(context.Context) error {
	f.hooks = append(f.hooks, "final")
	return errOops
}

func TestAPolicyThatBreaksItsPromisesHarmsNobody(t *testing.T) {
	t.Parallel()
	type leases = []policy.Lease[*thing]
	ctx := t.Context()
	var foreign *pool.Lease[*thing]
	for name, f := range map[string]func(leases) (leases, error){
		"panics":       func(leases) (leases, error) { panic(errOops) },
		"gives none":   func(leases) (leases, error) { return nil, nil },
		"gives two":    func(got leases) (leases, error) { return append(got, got...), nil },
		"gives nil":    func(leases) (leases, error) { return leases{nil}, nil },
		"gives others": func(leases) (leases, error) { return leases{foreign}, nil },
	} {
		other := open(t, newStore(t), pool.Config[*thing]{}, "x")
		foreign = malloc(t, other)
		pol := policy.Func[*thing](func(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) (leases, error) {
			got, err := p.Allocate(ctx, req)
			require.NoError(t, err)
			return f(got)
		})
		p := open(t, newStore(t), pool.Config[*thing]{Policy: pol}, "a")
		_, err := p.MallocKey(ctx)
		require.Error(t, err, name)
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free), name)
		require.True(t, foreign.Valid(), name)
	}
}

func TestHooksAreCalledOnce(t *testing.T) {
	t.Parallel()
	f := &failing{}
	p := open(t, newStore(t), pool.Config[*thing]{Policy: policy.Chain(policy.Collect[*thing](3), func(policy.Policy[*thing]) policy.Policy[*thing] { return f })})
	require.Equal(t, []string{"init"}, f.hooks)
	require.ErrorIs(t, p.Close(), errOops)
	require.ErrorIs(t, p.Close(), errOops)
	require.Equal(t, []string{"init", "final"}, f.hooks)

	f = &failing{initErr: errOops}
	_, err := pool.New(newStore(t), pool.Config[*thing]{Namespace: ns, Policy: f})
	require.ErrorIs(t, err, errOops)
}

func TestAPolicySeesAndChangesTheRequest(t *testing.T) {
	t.Parallel()
	var seen policy.Request[*thing]
	pol := policy.Func[*thing](func(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) ([]policy.Lease[*thing], error) {
		seen = req
		req.Prefer = []string{"b"}
		return p.Allocate(ctx, req)
	})
	p := open(t, newStore(t), pool.Config[*thing]{Policy: pol}, "a", "b")
	obj := &thing{name: "n"}
	l, err := p.Acquire(t.Context(), obj, pool.TTL(time.Hour), pool.NoRenewal(), pool.BindingTTL(time.Minute),
		pool.Params(1), pool.Priority(3), pool.Token("mine"), pool.MaxWait(time.Second))
	require.NoError(t, err)
	require.Equal(t, "b", l.Key())
	require.Equal(t, "mine", l.Token())
	require.Equal(t, policy.Request[*thing]{
		Object: obj, HasObject: true, Params: 1, TTL: time.Hour, NoRenewal: true, Count: 1, Token: "mine", Name: "n",
		BindingTTL: time.Minute, Wait: true, Priority: 3, MaxWait: time.Second,
	}, seen)
}

func TestTheDefaultPolicyFillsAndCollects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Observer: &seen, Policy: policy.Default(policy.Defaults[*thing]{
			Updater: &policy.Updater{Sources: []policy.Source{static("a", "b")}}, AutoClose: true,
		})})
		l, err := p.Malloc(t.Context(), new(thing))
		require.NoError(t, err)
		require.NotEmpty(t, seen.of(backend.EventRefreshed))
		// A lock that vanished without anybody telling the pool.
		_, err = s.Backend.Delete(t.Context(), backend.DeleteRequest{
			Namespace: ns, Kind: backend.KindLock, Items: []backend.DeleteItem{{Name: l.Key()}},
		})
		require.NoError(t, err)
		next, err := p.MallocN(t.Context(), 2)
		require.NoError(t, err)
		require.Len(t, next, 2)
	})
}

func TestCheckHealthKeepsBackWhatFailsAndLiftsWhatIsWellAgain(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := open(t, newStore(t), pool.Config[*thing]{Shared: shared}, keys(5)...)
			bad := map[string]bool{"k1": true, "k3": true}
			cfg := policy.CheckConfig[*thing]{
				Quarantine: time.Hour,
				New: func(key string) *thing {
					return &thing{check: func(context.Context) error {
						if bad[key] {
							return errOops
						}
						return nil
					}}
				},
			}
			report, err := p.CheckHealth(t.Context(), cfg)
			require.NoError(t, err)
			require.Equal(t, policy.Report{Healthy: 3, Unhealthy: 2}, report)
			require.Equal(t, []string{"k1", "k3"}, snapshot(t, p).Keys(pool.Quarantined))
			for range 6 {
				l, err := p.MallocKey(t.Context())
				if shared {
					require.NoError(t, err)
					require.NotContains(t, bad, l.Key())
				} else if err == nil {
					defer func() { require.NoError(t, l.Release(t.Context())) }()
					require.NotContains(t, bad, l.Key())
				}
			}
			delete(bad, "k1")
			report, err = p.CheckHealth(t.Context(), cfg)
			require.NoError(t, err)
			if shared {
				require.Equal(t, policy.Report{Healthy: 4, Unhealthy: 1}, report)
			} else {
				require.Equal(t, policy.Report{Healthy: 1, Unhealthy: 1, Skipped: 3}, report)
			}
			require.Equal(t, []string{"k3"}, snapshot(t, p).Keys(pool.Quarantined))
			<-time.After(time.Hour)
			_, err = p.MallocKey(t.Context(), pool.Only("k3"))
			require.NoError(t, err)
		})
	}
}

func TestATakeOverThatGetsNoAnswerHoldsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		pol := policy.Func[*thing](func(ctx context.Context, p policy.Pool[*thing], req policy.Request[*thing]) ([]policy.Lease[*thing], error) {
			req.Only, req.Prefer, req.Quarantined = true, []string{"a"}, true
			return p.Allocate(ctx, req)
		})
		p := open(t, s, pool.Config[*thing]{Policy: pol}, "a")
		l := malloc(t, p)
		_, err := p.MallocKey(t.Context())
		require.ErrorIs(t, err, pool.ErrExhausted, "leased, not kept back")
		require.NoError(t, l.SetUnhealthy(t.Context(), time.Hour))
		require.NoError(t, l.Release(t.Context()))
		s.fail("renew", backend.ErrUnavailable)
		_, err = p.MallocKey(t.Context())
		require.ErrorIs(t, err, backend.ErrUnavailable)
		s.on(nil)
		require.Equal(t, 1, snapshot(t, p).Count(pool.Quarantined))
		l = malloc(t, p)
		require.Zero(t, l.Fence())
		<-time.After(long)
		require.True(t, l.Valid())
		require.NoError(t, l.Release(t.Context()))
		require.Equal(t, 1, snapshot(t, p).Count(pool.Free))
	})
}

func TestRefreshAllReplacesTheContent(t *testing.T) {
	t.Parallel()
	p := open(t, newStore(t), pool.Config[*thing]{}, "old")
	n, err := p.RefreshAll(t.Context(), &policy.Updater{Sources: []policy.Source{
		static("a", "b"), static("b", "c"),
	}}, 0)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	for key, want := range map[string]bool{"a": true, "b": true, "c": true, "old": false} {
		got, err := p.Contains(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, want, got, key)
	}
}

// static is a source that always names the same.
func static(keys ...string) policy.Source {
	return policy.SourceFunc(func(context.Context) ([]string, error) { return keys, nil })
}
