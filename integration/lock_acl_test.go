package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// TestUserOfOneNamespaceCanLock lets a user have the keys and channels of one namespace and the commands that the
// documentation names, and does all there is to do with locks.
func TestUserOfOneNamespaceCanLock(t *testing.T) {
	t.Parallel()
	for _, tagged := range []bool{false, true} {
		name := "plain"
		if tagged {
			name = "hash tag"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := backend.Namespace{Prefix: "rights", Suffix: "lock", HashTag: tagged}
			// Listing names walks the whole database, which is for administrators.
			server := redistest.Start(t, redistest.User("app", "secret", append(rueidis.ACLRules(ns), "+scan")...))
			lockEverything(t, server.UserURL("app", "secret"), ns)
			// Nothing was written outside the namespace.
			reply := raw(t, server.URL()).must(t, "KEYS", "*")
			all, err := reply.AsStrSlice()
			require.NoError(t, err)
			for _, key := range all {
				assert.Contains(t, key, ns.Base())
			}
		})
	}
}

// lockEverything does whatever can be done with locks, and expects no error.
func lockEverything(t *testing.T, url string, ns backend.Namespace) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	be, other := open(t, url), open(t, url)
	cfg := lock.Config{TTL: renewedTTL}

	// Alone: locked, renewed, changed, entered again, handed over, and found when its end has come.
	mutex, same := lock.NewMutex(be, ns, "n", cfg), lock.NewMutex(other, ns, "n", cfg)
	held, err := mutex.Lock(ctx)
	ok(err)
	renewed(t, held)
	ok(held.Extend(ctx, time.Second))
	ok(held.SetTTL(ctx, backend.NoExpiry))
	ok(held.Reacquire(ctx))
	owned, err := held.Owned(ctx)
	ok(err)
	assert.True(t, owned)
	again, err := same.Lock(ctx, lock.Token(held.Token()))
	ok(err)
	ok(again.Unlock(ctx))
	inner, err := mutex.Lock(lock.WithHeld(ctx, held))
	ok(err)
	ok(inner.Unlock(ctx))
	_, err = same.TryLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
	_, err = same.Lock(ctx, lock.MaxWait(10*time.Millisecond))
	require.ErrorIs(t, err, lock.ErrLocked)
	waits := func(do func() (*lock.Held, error), free func() error) {
		t.Helper()
		waiting := begin(do)
		expectInLine(t, be, ns, "n", 1)
		state, err := mutex.State(ctx)
		ok(err)
		assert.Equal(t, 1, state.Waiting)
		ok(free())
		got := await(t, waiting)
		ok(got.err)
		ok(got.got.Reacquire(ctx))
		ok(got.got.Unlock(ctx))
	}
	waits(func() (*lock.Held, error) { return same.Lock(ctx, lock.Priority(3)) }, func() error { return held.Unlock(ctx) })
	_, err = mutex.Lock(ctx, lock.NoRenewal(), lock.TTL(renewedTTL/2))
	ok(err)
	waits(func() (*lock.Held, error) { return same.Lock(ctx) }, func() error { return nil })

	// Several.
	ok(lock.NewMulti(be, ns, []string{"a", "b", "n"}, cfg).Do(ctx, func(ctx context.Context) error {
		_, err := lock.NewMulti(other, ns, []string{"n", "c"}, cfg).TryLock(ctx)
		if !errors.Is(err, lock.ErrLocked) {
			return errors.New("locked twice")
		}
		return nil
	}))

	// Shared.
	rw := lock.NewRWMutex(be, ns, "n", cfg)
	reader, err := rw.RLock(ctx)
	ok(err)
	second, err := lock.NewRWMutex(other, ns, "n", cfg).TryRLock(ctx)
	ok(err)
	ok(second.Unlock(ctx))
	waits(func() (*lock.Held, error) { return rw.Lock(ctx) }, func() error { return reader.Unlock(ctx) })
	writer, err := rw.TryLock(ctx)
	ok(err)
	waits(func() (*lock.Held, error) { return rw.RLock(ctx) }, func() error { return rw.Downgrade(ctx, writer) })
	ok(writer.Unlock(ctx))
	sem := lock.NewSemaphore(be, ns, "n", 3, cfg)
	units, err := sem.Acquire(ctx, 3)
	ok(err)
	waits(func() (*lock.Held, error) { return sem.Acquire(ctx, 2) }, func() error { return sem.Resize(ctx, 5) })
	ok(units.Unlock(ctx))
	_, err = lock.NewSemaphore(other, ns, "n", 3, cfg).TryAcquire(ctx, 1)
	require.ErrorIs(t, err, backend.ErrLimit)

	useKeys(t, be, ns)
	useLockPools(t, be, ns)
}

// useKeys does whatever can be done with lock.Keys.
func useKeys(t *testing.T, be *rueidis.Backend, ns backend.Namespace) {
	t.Helper()
	ctx, keys := context.Background(), lock.NewKeys(be, ns)
	says := func(want bool) func(bool, error) {
		return func(got bool, err error) {
			t.Helper()
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
	}
	says(true)(keys.Lock(ctx, "k", "7", time.Minute))
	says(true)(keys.RLock(ctx, "k", "7", time.Minute))
	require.NoError(t, keys.Update(ctx, "k", "8", time.Minute))
	says(true)(keys.IsLocked(ctx, "k"))
	_, err := keys.TTL(ctx, "k")
	require.NoError(t, err)
	says(true)(keys.SetIf(ctx, "k", lock.GT, 9, "", time.Minute))
	found := 0
	for s, err := range keys.All(ctx) {
		require.NoError(t, err)
		assert.Equal(t, "k", s.Name)
		found++
	}
	assert.Equal(t, 1, found)
	says(true)(keys.DeleteIf(ctx, "k", lock.EQ, 9))
	says(false)(keys.Unlock(ctx, "k"))
}

// useLockPools does whatever can be done with lock.Pool and lock.Heartbeat.
func useLockPools(t *testing.T, be *rueidis.Backend, ns backend.Namespace) {
	t.Helper()
	ctx := context.Background()
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	p := lock.NewPool(be, ns)
	n, err := p.Extend(ctx, members(5))
	ok(err)
	assert.Equal(t, 5, n)
	_, err = p.Locks().Lock(ctx, members(1)[0], "1", time.Minute)
	ok(err)
	locked, free, err := p.Counts(ctx)
	ok(err)
	assert.Equal(t, []int{1, 4}, []int{locked, free})
	_, err = p.Shrink(ctx, members(1))
	ok(err)
	ok(p.Assign(ctx, members(3)))
	for _, err := range p.Keys(ctx) {
		ok(err)
	}
	has, err := p.Contains(ctx, members(1)[0])
	ok(err)
	assert.True(t, has)
	n, err = p.Len(ctx)
	ok(err)
	assert.Equal(t, 3, n)
	ok(p.Clear(ctx))
	_, err = p.Locks().Unlock(ctx, members(1)[0])
	ok(err)

	beats := lock.NewHeartbeat(be, ns, lock.HeartbeatConfig{TTL: renewedTTL})
	watching, stop := context.WithCancel(ctx)
	defer stop()
	told := make(chan lock.Change, 16)
	go func() {
		defer close(told)
		for c := range beats.Watch(watching) {
			told <- c
		}
	}()
	me, err := beats.Join(ctx, "me")
	ok(err)
	first := <-told
	assert.Equal(t, "me", first.Living.ID)
	age := time.Duration(0)
	eventually(t, patience, "it beats again", func() bool {
		living, err := beats.Living(ctx)
		ok(err)
		ok(me.Err())
		require.Len(t, living, 1)
		before := age
		age = living[0].Age
		return age < before
	})
	_, err = p.Extend(ctx, []string{"dead"})
	ok(err)
	dead, err := beats.Prune(ctx)
	ok(err)
	assert.Equal(t, []string{"dead"}, dead)
	ok(me.Leave(ctx))
	stop()
	for range told { // until the watch has ended
	}
}

// TestMissingPermissionToLockIsNamed takes something from what a user needs: the error says what.
func TestMissingPermissionToLockIsNamed(t *testing.T) {
	t.Parallel()
	ns := backend.Namespace{Prefix: "rights", Suffix: "lock"}
	without := func(gone ...string) (rules []string) {
		for _, rule := range rueidis.ACLRules(ns) {
			keep := true
			for _, g := range gone {
				keep = keep && rule != g
			}
			if keep {
				rules = append(rules, rule)
			}
		}
		return rules
	}
	server := redistest.Start(t,
		redistest.User("nokeys", "secret", without("~rights|lock*")...),
		redistest.User("nochannels", "secret", append(without("&rights|lock|*"), "resetchannels")...),
	)
	ctx := context.Background()
	mutex := lock.NewMutex(open(t, server.UserURL("nokeys", "secret")), ns, "n", lock.Config{})
	for _, get := range []func(context.Context, ...lock.Option) (*lock.Held, error){mutex.TryLock, mutex.Lock} {
		_, err := get(ctx)
		require.ErrorIs(t, err, backend.ErrPermission)
		assert.ErrorContains(t, err, "~rights|lock*")
	}
	silent := lock.NewMutex(open(t, server.UserURL("nochannels", "secret")), ns, "n", lock.Config{})
	err := refusal(t, func() (func(context.Context) error, error) {
		held, err := silent.Lock(ctx)
		return held.Unlock, err
	})
	require.ErrorIs(t, err, backend.ErrPermission)
	assert.ErrorContains(t, err, "&rights|lock|*")
	assert.Empty(t, lockLeftovers(t, raw(t, server.URL()), ns), "nothing has changed")
}
