package policy_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

var errSick = errors.New("sick")

// sickOn is a health check that fails on some members.
func sickOn(keys ...string) func(context.Context, string) error {
	return func(_ context.Context, key string) error {
		if slices.Contains(keys, key) {
			return errSick
		}
		return nil
	}
}

func TestAMemberThatFailsItsCheckIsKeptBackAndAnotherOneTaken(t *testing.T) {
	p := newFake("a", "b", "c")
	var told []string
	pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{
		OnUnhealthy: func(key string, err error) {
			assert.ErrorIs(t, err, errSick)
			told = append(told, key)
		},
	}))
	opened := 0
	object := &thing{check: sickOn("a", "b"), open: func(context.Context) error { opened++; return nil }}
	lease := taken(t, pol, p, object)
	assert.Equal(t, "c", lease.Key())
	assert.Equal(t, 3, opened)
	assert.Equal(t, 2, object.closed, "what is handed out is open")
	assert.Equal(t, map[string]time.Duration{"a": time.Hour, "b": time.Hour}, p.kept)
	assert.Equal(t, []string{"a", "b"}, told)
	assert.Equal(t, 2, p.count(backend.EventUnhealthy))
}

func TestWhateverIsWrongWithTheObjectIsAFailedCheck(t *testing.T) {
	for name, object := range map[string]*thing{
		"open fails":   {open: func(context.Context) error { return errSick }},
		"open panics":  {open: func(context.Context) error { panic(errSick) }},
		"check panics": {check: func(context.Context, string) error { panic(errSick) }},
		"check is too slow": {check: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return errors.Join(errSick, ctx.Err())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newFake("a", "b", "c", "d")
				start := time.Now()
				pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{}))
				_, err := pol.Allocate(t.Context(), p, request{Count: 1, Object: object, HasObject: true})
				require.ErrorIs(t, err, policy.ErrUnhealthy)
				require.ErrorIs(t, err, errSick)
				assert.NotErrorIs(t, err, policy.ErrExhausted)
				assert.Len(t, p.kept, policy.DefaultAttempts)
				assert.Equal(t, []string{"d"}, p.free)
				assert.Empty(t, p.held)
				assert.LessOrEqual(t, time.Since(start), policy.DefaultAttempts*policy.DefaultCheckTimeout)
			})
		})
	}
}

func TestRunningOutOfMembersWhileCheckingIsBothErrors(t *testing.T) {
	p := newFake("a")
	pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{}))
	req := request{Count: 1, Object: &thing{check: sickOn("a")}, HasObject: true}
	_, err := pol.Allocate(t.Context(), p, req)
	require.ErrorIs(t, err, policy.ErrUnhealthy)
	require.ErrorIs(t, err, policy.ErrExhausted)
	require.ErrorIs(t, err, errSick)

	_, err = pol.Allocate(t.Context(), p, req)
	require.ErrorIs(t, err, policy.ErrExhausted)
	assert.NotErrorIs(t, err, policy.ErrUnhealthy)
}

func TestWithoutQuarantineAMemberThatFailedComesLast(t *testing.T) {
	p := newFake("a", "b")
	pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{Quarantine: policy.NoQuarantine}))
	lease := taken(t, pol, p, &thing{check: sickOn("a")})
	assert.Equal(t, "b", lease.Key())
	assert.Equal(t, []string{"a"}, p.free)
	assert.Empty(t, p.kept)
}

func TestWithoutQuarantineAMemberThatFailedIsNotPreferredAgain(t *testing.T) {
	pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{Quarantine: policy.NoQuarantine}))
	prefer := []string{"b", "c"}
	req := request{Count: 1, Object: &thing{check: sickOn("b")}, HasObject: true, Name: "me", Prefer: prefer}
	p := newFake("a", "b", "c")
	got, err := pol.Allocate(t.Context(), p, req)
	require.NoError(t, err)
	assert.Equal(t, "c", got[0].Key())
	assert.Equal(t, "me", p.requests[0].Name)
	assert.Empty(t, p.requests[1].Name, "the name may be bound to what failed")
	assert.Equal(t, []string{"b", "c"}, prefer)

	req.Only, req.Prefer = true, []string{"b"}
	p = newFake("a", "b", "c")
	_, err = pol.Allocate(t.Context(), p, req)
	require.ErrorIs(t, err, policy.ErrUnhealthy)
	require.ErrorIs(t, err, errSick)
	assert.Len(t, p.requests, 1)
	assert.Len(t, p.free, 3)
}

func TestAllAttemptsTogetherWaitNoLongerThanMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("a", "b")
		pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{}))
		slow := func(context.Context, string) error {
			<-time.After(4 * time.Second)
			return errSick
		}
		_, err := pol.Allocate(t.Context(), p, request{
			Count: 1, Object: &thing{check: slow}, HasObject: true, MaxWait: 10 * time.Second,
		})
		require.ErrorIs(t, err, policy.ErrExhausted)
		var waits []time.Duration
		for _, r := range p.requests {
			waits = append(waits, r.MaxWait)
		}
		assert.Equal(t, []time.Duration{10 * time.Second, 6 * time.Second, 2 * time.Second}, waits)
	})
}

func TestACheckThatIsCancelledDoesNotBlameTheMember(t *testing.T) {
	p := newFake("a")
	ctx, cancel := context.WithCancel(t.Context())
	pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{}))
	object := &thing{check: func(ctx context.Context, _ string) error {
		cancel()
		return ctx.Err()
	}}
	_, err := pol.Allocate(ctx, p, request{Count: 1, Object: object, HasObject: true})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []string{"a"}, p.free)
	assert.Empty(t, p.kept)
	assert.Empty(t, p.events)
}

func TestWhatGoesWrongWithAnUnhealthyMemberIsLogged(t *testing.T) {
	p := newFake("a", "b")
	p.fail = func(op string) error {
		if op == "unhealthy" || op == "release" {
			return errors.New("cannot " + op)
		}
		return nil
	}
	pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{
		OnUnhealthy: func(string, error) { panic("survived") },
	}))
	assert.Equal(t, "b", taken(t, pol, p, &thing{check: sickOn("a")}).Key())
	assert.Contains(t, p.log.String(), "cannot unhealthy")
	assert.Contains(t, p.log.String(), "cannot release")
}

func TestWithoutAnObjectNothingIsChecked(t *testing.T) {
	p := newFake("a", "b")
	pol := policy.Chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{}))
	got, err := pol.Allocate(t.Context(), p, request{Count: 2, Object: &thing{check: sickOn("a", "b")}})
	require.NoError(t, err)
	assert.Len(t, got, 2)
}

func TestPartsComposeInAnyOrderThatMakesSense(t *testing.T) {
	u := policy.NewUpdater(static("a", "b", "c"))
	var failures []string
	parts := map[string]part{
		"refresh": policy.Refresh[*thing](u, policy.RefreshConfig{}),
		"collect": policy.Collect[*thing](7),
		"bind": policy.Bind(policy.BindConfig[*thing]{
			Name: func(context.Context, request) string { return "me" },
		}),
		"close": policy.AutoClose[*thing](),
		"check": policy.CheckBeforeUse[*thing](policy.HealthConfig{
			OnUnhealthy: func(key string, _ error) { failures = append(failures, key) },
		}),
		"order": policy.Order(func(context.Context, view, request) ([]string, error) {
			return []string{"b", "a", "c"}, nil
		}),
	}
	var names []string
	for name := range parts {
		names = append(names, name)
	}
	slices.Sort(names)
	permutations(names, func(order []string) {
		failures = nil
		var chain []part
		for _, name := range order {
			chain = append(chain, parts[name])
		}
		p := newFake("z")
		pol := policy.Chain(chain...)
		require.NoError(t, policy.Initialize(t.Context(), pol, p))
		lease := taken(t, pol, p, &thing{check: sickOn("b")})
		assert.Equal(t, "a", lease.Key(), order)
		assert.Equal(t, []string{"b"}, failures)
		last := p.requests[len(p.requests)-1]
		assert.Equal(t, 7, last.Collect)
		assert.Equal(t, "me", last.Name)
		require.NoError(t, policy.Finalize(t.Context(), pol))
	})
}

func permutations(s []string, visit func([]string)) {
	var permute func(int)
	permute = func(k int) {
		if k == len(s) {
			visit(s)
			return
		}
		for i := k; i < len(s); i++ {
			s[k], s[i] = s[i], s[k]
			permute(k + 1)
			s[k], s[i] = s[i], s[k]
		}
	}
	permute(0)
}
