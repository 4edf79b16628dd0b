package policy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

type (
	view    = policy.Pool[*thing]
	request = policy.Request[*thing]
	leases  = []policy.Lease[*thing]
	next    = policy.Policy[*thing]
	part    = policy.Middleware[*thing]
)

// journal is a part that writes down when it is passed, and has both hooks.
type journal struct {
	name  string
	lines *[]string
	next  next
	err   error
	panic bool
}

func (j *journal) note(what string) { *j.lines = append(*j.lines, what+" "+j.name) }

func (j *journal) Allocate(ctx context.Context, p view, req request) (leases, error) {
	j.note("allocate")
	return j.next.Allocate(ctx, p, req)
}

func (j *journal) Initialize(context.Context, view) error {
	j.note("initialize")
	if j.panic {
		panic(errors.New("hook"))
	}
	return j.err
}

func (j *journal) Finalize(context.Context) error {
	j.note("finalize")
	if j.panic {
		panic(errors.New("hook"))
	}
	return j.err
}

// open is a journal that tells what it is put around.
type open struct{ *journal }

func (o open) Unwrap() next { return o.next }

func hidden(name string, lines *[]string) part {
	return func(n next) next { return &journal{name: name, lines: lines, next: n} }
}

func TestPartsOfAChainAreAskedFromTheOutsideIn(t *testing.T) {
	var lines []string
	pol := policy.Chain(hidden("a", &lines), hidden("b", &lines), policy.Collect[*thing](3))
	p := newFake("x")
	got, err := pol.Allocate(t.Context(), p, request{Count: 1})
	require.NoError(t, err)
	assert.Equal(t, "x", got[0].Key())
	assert.Equal(t, []string{"allocate a", "allocate b"}, lines)
	assert.Equal(t, 3, p.requests[0].Collect)
}

func TestAChainOfNothingAsksThePool(t *testing.T) {
	for _, pol := range []next{policy.Chain[*thing](), policy.Direct[*thing]()} {
		got, err := pol.Allocate(t.Context(), newFake("x"), request{Count: 1})
		require.NoError(t, err)
		assert.Equal(t, "x", got[0].Key())
	}
}

func TestHooksAreFoundInPartsThatHideWhatTheyWrap(t *testing.T) {
	var lines []string
	visible := func(n next) next { return open{&journal{name: "b", lines: &lines, next: n}} }
	plain := policy.Part(func(ctx context.Context, p view, req request, n next) (leases, error) {
		return n.Allocate(ctx, p, req)
	})
	function := func(n next) next { return policy.Func[*thing](n.Allocate) }
	nested := func(n next) next {
		return hidden("d", &lines)(policy.Chain(hidden("hidden behind d", &lines), func(next) next { return n }))
	}
	grouped := func(n next) next { return visible(hidden("e", &lines)(n)) }
	inner := policy.Chain(hidden("g", &lines), hidden("h", &lines))
	pol := policy.Collect[*thing](1)(policy.Chain(hidden("a", &lines), visible, plain, function, hidden("c", &lines),
		nested, grouped, func(next) next { return inner }))

	require.NoError(t, policy.Initialize(t.Context(), pol, newFake()))
	assert.Equal(t, []string{
		"initialize a", "initialize b", "initialize c", "initialize d", "initialize b", "initialize e",
		"initialize g", "initialize h",
	}, lines)
	lines = nil
	require.NoError(t, policy.Finalize(t.Context(), pol))
	assert.Equal(t, []string{
		"finalize h", "finalize g", "finalize e", "finalize b", "finalize d", "finalize c", "finalize b", "finalize a",
	}, lines)
}

func TestAFailedInitializeFinalizesWhatWasInitialized(t *testing.T) {
	boom := errors.New("boom")
	for name, bad := range map[string]*journal{"error": {err: boom}, "panic": {panic: true}} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			bad.name, bad.lines = "bad", &lines
			pol := policy.Chain(hidden("a", &lines), hidden("b", &lines),
				func(n next) next { bad.next = n; return bad }, hidden("c", &lines))
			err := policy.Initialize(t.Context(), pol, newFake())
			require.Error(t, err)
			assert.Equal(t, []string{"initialize a", "initialize b", "initialize bad", "finalize b", "finalize a"}, lines)
			var pe *policy.PanicError
			assert.Equal(t, bad.panic, errors.As(err, &pe))
		})
	}
}

func TestFinalizeReachesAllPartsWhateverTheySay(t *testing.T) {
	var lines []string
	boom := errors.New("boom")
	pol := policy.Chain(hidden("a", &lines),
		func(n next) next { return &journal{name: "b", lines: &lines, next: n, err: boom} },
		func(n next) next { return &journal{name: "c", lines: &lines, next: n, panic: true} })
	err := policy.Finalize(t.Context(), pol)
	require.ErrorIs(t, err, boom)
	assert.ErrorContains(t, err, "panic: hook")
	assert.Equal(t, []string{"finalize c", "finalize b", "finalize a"}, lines)
	require.NoError(t, policy.Finalize[*thing](t.Context(), nil))
}

func TestWhatCannotWorkIsToldByInitializeAndByEveryAllocation(t *testing.T) {
	source := policy.SourceFunc(func(context.Context) ([]string, error) { return nil, nil })
	u := policy.NewUpdater(source)
	for name, bad := range map[string]part{
		"nil part":              nil,
		"part gives nil":        func(next) next { return nil },
		"nil function":          policy.Part[*thing](nil),
		"collect nothing":       policy.Collect[*thing](0),
		"collect too much":      policy.Collect[*thing](backend.BatchLimit + 1),
		"nil updater":           policy.Refresh[*thing](nil, policy.RefreshConfig{}),
		"no source":             policy.Refresh[*thing](policy.NewUpdater(), policy.RefreshConfig{}),
		"nil source":            policy.Refresh[*thing](policy.NewUpdater(source, nil), policy.RefreshConfig{}),
		"negative interval":     policy.Refresh[*thing](u, policy.RefreshConfig{Interval: -1}),
		"negative check":        policy.Refresh[*thing](u, policy.RefreshConfig{CheckEvery: -time.Second}),
		"negative timeout":      policy.Refresh[*thing](u, policy.RefreshConfig{FetchTimeout: -time.Second}),
		"negative member ttl":   policy.Refresh[*thing](u, policy.RefreshConfig{MemberTTL: -time.Second}),
		"too much jitter":       policy.Refresh[*thing](u, policy.RefreshConfig{Jitter: 1.5}),
		"negative binding ttl":  policy.Bind(policy.BindConfig[*thing]{TTL: -time.Second}),
		"nil order":             policy.Order[*thing](nil),
		"negative attempts":     policy.CheckBeforeUse[*thing](policy.HealthConfig{Attempts: -1}),
		"negative quarantine":   policy.CheckBeforeUse[*thing](policy.HealthConfig{Quarantine: -time.Second}),
		"negative check timout": policy.CheckBeforeUse[*thing](policy.HealthConfig{Timeout: -time.Second}),
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			pol := policy.Chain(hidden("a", &lines), bad, hidden("b", &lines))
			p := newFake("x")
			var invalid *backend.InvalidError
			err := policy.Initialize(t.Context(), pol, p)
			require.ErrorAs(t, err, &invalid)
			require.ErrorIs(t, err, backend.ErrInvalid)
			_, err = pol.Allocate(t.Context(), p, request{Count: 1})
			require.ErrorIs(t, err, backend.ErrInvalid)
			assert.Empty(t, p.requests)
		})
	}
	require.ErrorIs(t, policy.Initialize[*thing](t.Context(), nil, newFake()), backend.ErrInvalid)
}

func TestAPartAroundNothingIsInvalid(t *testing.T) {
	u := policy.NewUpdater(policy.SourceFunc(func(context.Context) ([]string, error) { return nil, nil }))
	for name, p := range map[string]part{
		"collect": policy.Collect[*thing](1), "refresh": policy.Refresh[*thing](u, policy.RefreshConfig{}),
		"auto-close": policy.AutoClose[*thing](),
	} {
		_, err := p(nil).Allocate(t.Context(), newFake("x"), request{Count: 1})
		require.ErrorIs(t, err, backend.ErrInvalid, name)
	}
}

func TestAPartMayAskNextSeveralTimesOrNever(t *testing.T) {
	denied := errors.New("denied")
	twice := policy.Part(func(ctx context.Context, p view, req request, n next) (leases, error) {
		if req.TTL == 0 {
			return nil, denied
		}
		first, err := n.Allocate(ctx, p, req)
		if err != nil {
			return nil, err
		}
		second, err := n.Allocate(ctx, p, req)
		return append(first, second...), err
	})
	pol := policy.Chain(twice)
	_, err := pol.Allocate(t.Context(), newFake("x", "y"), request{})
	require.ErrorIs(t, err, denied)
	got, err := pol.Allocate(t.Context(), newFake("x", "y"), request{TTL: time.Second})
	require.NoError(t, err)
	assert.Len(t, got, 2)
}
