package main

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(redistest.Wrap(m),
		// The client's, when it tried whether a server is a Cluster: it sleeps for up to a second and does no more.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

var ns = backend.Namespace{Prefix: "test", Suffix: "accounts"}

func Example() {
	main()
	// Output:
	// 4 workers did 50 transfers each
	// there was 400 before, and there is 400 now
}

func TestWorkersWithConnectionsOfTheirOwn(t *testing.T) {
	connect := func() (backend.Backend, error) { return rueidis.Open(t.Context(), redistest.URL(t)) }
	all := newAccounts()
	ns := backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "accounts"}
	require.NoError(t, trade(t.Context(), connect, ns, all, io.Discard))
	require.EqualValues(t, 400, all.total())
	for name, account := range all {
		require.GreaterOrEqual(t, account.Load(), int64(0), name)
	}
}

func TestNothingHappensWithoutBothAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		all := newAccounts()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		bob, err := lock.NewMutex(be, ns, "bob", lock.Config{}).Lock(ctx)
		require.NoError(t, err)
		done := make(chan error)
		go func() { done <- transfer(ctx, be, ns, all, "alice", "bob", 10) }()
		synctest.Wait()

		// It waits, and holds nothing meanwhile: who needs alice alone need not wait for bob, but comes behind it.
		locked, err := lock.NewMutex(be, ns, "alice", lock.Config{}).Locked(ctx)
		require.NoError(t, err)
		require.False(t, locked)
		require.EqualValues(t, 100, all["alice"].Load())
		require.NoError(t, bob.Unlock(ctx))
		require.NoError(t, <-done)
		require.EqualValues(t, 90, all["alice"].Load())
		require.EqualValues(t, 110, all["bob"].Load())
	})
}

func TestNobodySpendsMoreThanThereIs(t *testing.T) {
	be := memory.New()
	defer be.Close()
	all := newAccounts()
	require.ErrorIs(t, transfer(t.Context(), be, ns, all, "alice", "bob", 101), errNoFunds)
	require.EqualValues(t, 100, all["alice"].Load())
	require.EqualValues(t, 100, all["bob"].Load())
}
