package main

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(redistest.Wrap(m),
		// The client's, when it tried whether a server is a Cluster: it sleeps for up to a second and does no more.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

func Example() {
	main()
	// Output:
	// 4 workers incremented 25 times each: 100
	// writes and reads that were refused: 1
}

func TestWorkersWithConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	connect := func() (backend.Backend, error) { return rueidis.Open(t.Context(), redistest.URL(t)) }
	ns := backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "counter"}
	counter, err := count(t.Context(), connect, ns, io.Discard)
	require.NoError(t, err)
	require.Equal(t, workers*increments, counter.value)
	require.Equal(t, 1, counter.refused, "that of the worker that was stopped")
}

// A write that comes late is refused also before the next holder, who has read, has written anything.
func TestReadingCountsToo(t *testing.T) {
	var s store
	early, late := int64(1), int64(2)
	value, err := s.read(early)
	require.NoError(t, err)
	_, err = s.read(late)
	require.NoError(t, err)
	require.ErrorIs(t, s.write(early, value+1), errStale)
	require.NoError(t, s.write(late, value+1))
	require.Equal(t, 1, s.value)
}

func TestAFailureEndsAll(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := count(ctx, inMemory(), backend.Namespace{Prefix: "test", Suffix: "counter"}, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
}
