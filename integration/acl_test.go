package integration

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/binding"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// device is an object whose health one can set.
type device struct {
	key  string
	sick *atomic.Pointer[string] // the key of a member that does not work
}

func (d *device) Configure(key string, _ any) error { d.key = key; return nil }

func (d *device) CheckHealth(context.Context) error {
	if sick := d.sick.Load(); sick != nil && *sick == d.key {
		return errors.New("does not work")
	}
	return nil
}

// TestUserOfOneNamespaceCanDoEverything lets a user have the keys and channels of one namespace and the commands that
// the documentation names, and does all there is to do with a pool.
func TestUserOfOneNamespaceCanDoEverything(t *testing.T) {
	t.Parallel()
	ns := backend.Namespace{Prefix: "rights", Suffix: "pool"}
	rules := rueidis.ACLRules(ns)
	assert.Contains(t, rules, "~rights|pool*")
	assert.Contains(t, rules, "&rights|pool|*")
	for _, rule := range rules {
		assert.Contains(t, "+~&", rule[:1], "only the namespace's keys and channels")
		assert.NotContains(t, []string{"~*", "&*", "+@all"}, rule)
	}
	// Listing bindings walks the whole database, which is for administrators.
	server := redistest.Start(t, redistest.User("app", "secret", append(slices.Clone(rules), "+scan")...))
	for _, shared := range []bool{false, true} {
		name := "exclusive"
		if shared {
			name = "shared"
		}
		t.Run(name, func(t *testing.T) {
			raw(t, server.URL()).must(t, "FLUSHALL")
			useEverything(t, server.UserURL("app", "secret"), ns, shared)
		})
	}
}

// useEverything does whatever can be done with a pool, a policy and bindings, and expects no error.
func useEverything(t *testing.T, url string, ns backend.Namespace, shared bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	be := open(t, url)
	var sick atomic.Pointer[string]
	updater := policy.NewUpdater(policy.SourceFunc(func(context.Context) ([]string, error) { return members(8), nil }))
	devices, err := pool.New(be, pool.Config[*device]{
		Namespace: ns, Shared: shared, TTL: renewedTTL,
		Policy: policy.CheckBeforeUse[*device](policy.HealthConfig{})(policy.Default(policy.Defaults[*device]{
			Updater: updater, Interval: time.Second, MemberTTL: time.Hour,
		})),
	})
	ok(err)
	defer devices.Close()
	keys := newPool(t, open(t, url), pool.Config[pool.None]{Namespace: ns, Shared: shared, TTL: time.Minute})

	// Members.
	ok(keys.Extend(ctx, members(3), pool.MemberTTL(time.Hour)))
	ok(keys.Assign(ctx, members(10)))
	ok(keys.Shrink(ctx, members(1)))
	n, err := keys.Len(ctx)
	ok(err)
	assert.Equal(t, 9, n)
	has, err := keys.Contains(ctx, members(3)[1:]...)
	ok(err)
	assert.True(t, has)
	for _, err := range keys.Keys(ctx) {
		ok(err)
	}
	refreshed, err := devices.RefreshAll(ctx, updater, time.Hour)
	ok(err)
	assert.Equal(t, 8, refreshed)

	// Leases, with a policy.
	l, err := devices.Malloc(ctx, &device{sick: &sick}, pool.Name("job"))
	ok(err)
	ok(l.Update(ctx, renewedTTL/2))
	if !shared {
		renewed(t, l)
	}
	ok(l.Refresh(ctx))
	ok(l.RefreshUntilHealthy(ctx, 2, time.Minute))
	ok(l.SetUnhealthy(ctx, time.Minute))
	ok(l.SetHealthy(ctx))
	ok(l.Release(ctx))
	l, err = devices.Acquire(ctx, &device{sick: &sick}, pool.Priority(1))
	ok(err)
	ok(l.Release(ctx))
	bad := members(8)[3]
	sick.Store(&bad)
	report, err := devices.CheckHealth(ctx, policy.CheckConfig[*device]{
		New: func(string) *device { return &device{sick: &sick} },
	})
	ok(err)
	assert.Equal(t, policy.Report{Healthy: 7, Unhealthy: 1}, report)
	freed, err := keys.FreeKeys(ctx, members(8))
	ok(err)
	assert.Equal(t, 1, freed, "the quarantined member")

	// Leases without, and waiting.
	all, err := keys.MallocN(ctx, 8)
	ok(err)
	_, err = keys.GC(ctx, 100)
	ok(err)
	if !shared {
		var waiting sync.WaitGroup
		waiting.Go(func() {
			l, err := devices.Acquire(ctx, &device{sick: &sick}, pool.Token("patient"))
			if assert.NoError(t, err) {
				assert.NoError(t, l.Release(ctx))
			}
		})
		eventually(t, patience, "a place in line", func() bool {
			at, err := keys.Position(ctx, "patient")
			ok(err)
			return at == 1
		})
		sick.Store(nil)
		length, err := keys.Waiting(ctx)
		ok(err)
		assert.Equal(t, 1, length)
		_, err = keys.AcquireKey(ctx, pool.MaxWait(10*time.Millisecond))
		assert.ErrorIs(t, err, pool.ErrExhausted)
		ok(all[0].Release(ctx))
		waiting.Wait()
	}
	for _, l := range all {
		ok(l.Release(ctx))
	}

	// Bindings.
	names, err := binding.New(be, ns)
	ok(err)
	ok(names.Bind(ctx, "task", members(2)[1], time.Minute))
	_, _, err = names.Lookup(ctx, "task")
	ok(err)
	found := 0
	for b, err := range names.BindingsOf(ctx, members(2)[1]) {
		ok(err)
		assert.Equal(t, members(2)[1], b.Key)
		found++
	}
	assert.Positive(t, found)
	_, err = names.Unbind(ctx, "task")
	ok(err)

	seen, err := keys.Snapshot(ctx)
	ok(err)
	assert.Empty(t, seen.Violations)
	ok(keys.Clear(ctx))
}

// refusal is why something is refused to somebody without a channel. A server that has not yet said so gets a while to
// say it; after that it goes on without.
func refusal(t *testing.T, get func() (giveBack func(context.Context) error, err error)) (err error) {
	t.Helper()
	eventually(t, patience, "it is refused", func() bool {
		var giveBack func(context.Context) error
		if giveBack, err = get(); err == nil {
			require.NoError(t, giveBack(context.Background()))
		}
		return err != nil
	})
	return err
}

// TestMissingPermissionIsNamed takes something from what a user needs: the error says what, at Open if it is a command.
func TestMissingPermissionIsNamed(t *testing.T) {
	t.Parallel()
	ns := backend.Namespace{Prefix: "rights", Suffix: "pool"}
	rules := func(without ...string) []string {
		return slices.DeleteFunc(rueidis.ACLRules(ns), func(rule string) bool { return slices.Contains(without, rule) })
	}
	server := redistest.Start(t,
		redistest.User("nohset", "secret", rules("+hset")...),
		redistest.User("nokeys", "secret", rules("~rights|pool*")...),
		redistest.User("nochannels", "secret", append(rules("&rights|pool|*"), "resetchannels")...),
	)
	ctx := context.Background()
	_, err := rueidis.Open(ctx, server.UserURL("nohset", "secret"))
	require.ErrorIs(t, err, backend.ErrPermission)
	assert.ErrorContains(t, err, "+hset")
	_, err = rueidis.Open(ctx, server.UserURL("nohset", "wrong"))
	require.ErrorIs(t, err, backend.ErrPermission)

	admin := newPool(t, open(t, server.URL()), pool.Config[pool.None]{Namespace: ns})
	require.NoError(t, admin.Extend(ctx, members(1)))
	keys := newPool(t, open(t, server.UserURL("nokeys", "secret")), pool.Config[pool.None]{Namespace: ns})
	_, err = keys.MallocKey(ctx)
	require.ErrorIs(t, err, backend.ErrPermission)
	assert.ErrorContains(t, err, "~rights|pool*")
	require.ErrorIs(t, keys.Extend(ctx, members(2)), backend.ErrPermission)

	silent := newPool(t, open(t, server.UserURL("nochannels", "secret")), pool.Config[pool.None]{Namespace: ns})
	err = refusal(t, func() (func(context.Context) error, error) {
		l, err := silent.AcquireKey(ctx)
		return l.Release, err
	})
	require.ErrorIs(t, err, backend.ErrPermission)
	assert.ErrorContains(t, err, "&rights|pool|*")

	seen, err := admin.Snapshot(ctx)
	require.NoError(t, err)
	assert.Len(t, seen.Keys(pool.Free), 1, "nothing has changed")
}
