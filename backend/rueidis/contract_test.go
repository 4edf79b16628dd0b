package rueidis

import (
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// open gives a backend on the shared server that is closed with the test.
func open(t testing.TB, opts ...Option) *Backend {
	t.Helper()
	b, err := Open(t.Context(), redistest.URL(t), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestContract(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) backend.Backend { return open(t) })
}

func TestContractRESP2(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		option, err := rueidis.ParseURL(redistest.URL(t))
		require.NoError(t, err)
		option.AlwaysRESP2 = true
		option.DisableCache = true
		b, err := OpenOption(t.Context(), option)
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return b
	})
}

func TestRecordings(t *testing.T) {
	backendtest.Replay(t, func(t *testing.T) backend.Backend { return open(t) })
}
