package policy_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/binding"
	"github.com/redisallocator/redisallocator/policy"
)

func ask(t *testing.T, p *fakePool, req request, parts ...part) request {
	t.Helper()
	_, err := policy.Chain(parts...).Allocate(t.Context(), p, req)
	require.NoError(t, err)
	return p.requests[len(p.requests)-1]
}

func TestBindOverridesTheName(t *testing.T) {
	named := policy.Bind(policy.BindConfig[*thing]{
		Name: func(_ context.Context, req request) string { return "tenant-" + req.Object.id },
	})
	req := request{Count: 1, Object: &thing{id: "7"}, HasObject: true, Name: "own", BindingTTL: time.Second}
	got := ask(t, newFake("x"), req, named)
	assert.Equal(t, "tenant-7", got.Name)
	assert.Equal(t, binding.DefaultTTL, got.BindingTTL)

	got = ask(t, newFake("x"), req, policy.Bind(policy.BindConfig[*thing]{TTL: backend.NoExpiry}))
	assert.Equal(t, "own", got.Name, "without a function the name stays")
	assert.Equal(t, backend.NoExpiry, got.BindingTTL)

	got = ask(t, newFake("x", "y"), request{Count: 2, Object: &thing{}}, named)
	assert.Empty(t, got.Name, "several members have no binding")

	p := newFake("x")
	got = ask(t, p, request{Count: 1, Name: "own"}, policy.Bind(policy.BindConfig[*thing]{
		Name: func(context.Context, request) string { panic("no name") },
	}))
	assert.Empty(t, got.Name)
	assert.Contains(t, p.log.String(), "no name")
}

func TestOrderAddsToWhatTheCallerPrefers(t *testing.T) {
	order := policy.Order(func(context.Context, view, request) ([]string, error) { return []string{"c", "b"}, nil })
	prefer := make([]string, 1, 10)
	prefer[0] = "a"
	got := ask(t, newFake("x"), request{Count: 1, Prefer: prefer}, order)
	assert.Equal(t, []string{"a", "c", "b"}, got.Prefer)
	assert.Equal(t, []string{"a", ""}, prefer[:2], "the caller's slice must stay as it is")

	got = ask(t, newFake("x"), request{Count: 1, Prefer: []string{"x"}, Only: true}, order)
	assert.Equal(t, []string{"x"}, got.Prefer, "Only leaves no choice")

	many := policy.Order(func(context.Context, view, request) ([]string, error) {
		return make([]string, 2*backend.MaxTake), nil
	})
	got = ask(t, newFake("x"), request{Count: 1, Prefer: []string{"a"}}, many)
	assert.Len(t, got.Prefer, backend.MaxTake)
}

func TestAnOrderThatFailsIsNotFollowed(t *testing.T) {
	for name, f := range map[string]func() ([]string, error){
		"error": func() ([]string, error) { return []string{"y"}, errors.New("boom") },
		"panic": func() ([]string, error) { panic("boom") },
	} {
		p := newFake("x", "y")
		got := ask(t, p, request{Count: 1}, policy.Order(func(context.Context, view, request) ([]string, error) {
			return f()
		}))
		assert.Empty(t, got.Prefer, name)
		assert.Contains(t, p.log.String(), "boom")
	}
}

func TestDefaultHasPythonsValues(t *testing.T) {
	p := newFake("x")
	pol := policy.Default(policy.Defaults[*thing]{Updater: policy.NewUpdater(static("a"))})
	_, err := pol.Allocate(t.Context(), p, request{Count: 1})
	require.NoError(t, err)
	assert.Equal(t, 5, p.requests[0].Collect)
	require.Len(t, p.lockTTLs, 1)
	assert.InDelta(t, 315*time.Second, p.lockTTLs[0], float64(15*time.Second))
	assert.Equal(t, []time.Duration{backend.NoExpiry}, p.ttls)

	p = newFake("x")
	_, err = policy.Default(policy.Defaults[*thing]{}).Allocate(t.Context(), p, request{Count: 1})
	require.NoError(t, err)
	assert.Empty(t, p.lockTTLs, "no updater, no refresh")

	p = newFake("x")
	_, err = policy.Default(policy.Defaults[*thing]{CollectCount: -1}).Allocate(t.Context(), p, request{Count: 1})
	require.NoError(t, err)
	assert.Zero(t, p.requests[0].Collect)

	bad := policy.Default(policy.Defaults[*thing]{Updater: policy.NewUpdater()})
	require.ErrorIs(t, policy.Initialize(t.Context(), bad, p), backend.ErrInvalid)
}

func taken(t *testing.T, pol next, p *fakePool, object *thing) policy.Lease[*thing] {
	t.Helper()
	got, err := pol.Allocate(t.Context(), p, request{Count: 1, Object: object, HasObject: true})
	require.NoError(t, err)
	return got[0]
}

// lost puts a member back without telling its holder.
func (p *fakePool) lost(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, key)
	p.free = append(p.free, key)
}

func TestAutoCloseClosesWhatWasLeftOpenUnderTheSameID(t *testing.T) {
	p := newFake("x")
	pol := policy.Chain(policy.AutoClose[*thing]())
	first, second := &thing{}, &thing{}
	left := taken(t, pol, p, first)
	p.lost("x")
	taken(t, pol, p, second)
	assert.Equal(t, 1, first.closed)
	assert.Equal(t, 0, second.closed)
	runtime.KeepAlive(left)
}

func TestAutoCloseTellsUniqueIDsApart(t *testing.T) {
	p := newFake("x")
	p.shared = true
	pol := policy.Chain(policy.AutoClose[*thing]())
	one, two := &thing{id: "1"}, &thing{id: "2"}
	a := taken(t, pol, p, one)
	p.lost("x")
	b := taken(t, pol, p, two)
	p.lost("x")
	assert.Zero(t, one.closed+two.closed)
	c := taken(t, pol, p, &thing{id: "1"})
	assert.Equal(t, 1, one.closed)
	assert.Equal(t, 0, two.closed)
	runtime.KeepAlive([]any{a, b, c})
}

func TestAutoCloseLeavesAnObjectAloneThatIsAllocatedAgain(t *testing.T) {
	p := newFake("x")
	pol := policy.Chain(policy.AutoClose[*thing]())
	object := &thing{}
	left := taken(t, pol, p, object)
	p.lost("x")
	taken(t, pol, p, object)
	assert.Zero(t, object.closed)
	runtime.KeepAlive(left)
}

// The lease that was known under the id may have got another member since.
func TestAutoCloseLeavesALeaseAloneThatWasRefreshed(t *testing.T) {
	p := newFake("x")
	pol := policy.Chain(policy.AutoClose[*thing]())
	first := &thing{}
	left := taken(t, pol, p, first)
	left.(*fakeLease).key = "y"
	p.lost("x")
	taken(t, pol, p, &thing{})
	assert.Zero(t, first.closed)
	runtime.KeepAlive(left)
}

func TestAutoCloseForgetsWhatWasReleased(t *testing.T) {
	p := newFake("x")
	pol := policy.Chain(policy.AutoClose[*thing]())
	first := &thing{}
	lease := taken(t, pol, p, first)
	require.NoError(t, lease.Release(t.Context()))
	assert.Equal(t, 1, first.closed)
	again := taken(t, pol, p, &thing{})
	require.NoError(t, policy.Finalize(t.Context(), pol))
	assert.Equal(t, 1, first.closed)
	runtime.KeepAlive([]any{lease, again})
}

func TestFinalizeClosesWhatIsStillOpen(t *testing.T) {
	p := newFake("x", "y")
	pol := policy.Chain(policy.AutoClose[*thing]())
	require.NoError(t, policy.Initialize(t.Context(), pol, p))
	require.ErrorIs(t, policy.Initialize(t.Context(), pol, newFake()), policy.ErrInUse)
	one, two := &thing{}, &thing{}
	leases := []any{taken(t, pol, p, one), taken(t, pol, p, two)}
	require.NoError(t, policy.Finalize(t.Context(), pol))
	assert.Equal(t, []int{1, 1}, []int{one.closed, two.closed})
	require.NoError(t, policy.Finalize(t.Context(), pol))
	assert.Equal(t, []int{1, 1}, []int{one.closed, two.closed})
	runtime.KeepAlive(leases)
}

func TestAutoClosePassesOnWhatHasNoObject(t *testing.T) {
	p := newFake("x", "y")
	pol := policy.Chain(policy.AutoClose[*thing]())
	got, err := pol.Allocate(t.Context(), p, request{Count: 2})
	require.NoError(t, err)
	assert.Len(t, got, 2)
	_, err = pol.Allocate(t.Context(), p, request{Count: 2})
	require.ErrorIs(t, err, policy.ErrExhausted)
}
