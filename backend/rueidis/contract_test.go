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

// contract runs all cases in a database of their own: to scan it takes as long as it is large, whoever filled it.
func contract(t *testing.T, database int, change func(*rueidis.ClientOption), opts ...Option) {
	t.Helper()
	opts = append(opts, CallTimeout(patience))
	backendtest.Run(t, func(t *testing.T) backend.Backend { return openIn(t, database, change, opts...) })
}

// openIn gives a backend on a database of the shared server.
func openIn(t testing.TB, database int, change func(*rueidis.ClientOption), opts ...Option) *Backend {
	t.Helper()
	option, err := rueidis.ParseURL(redistest.URL(t))
	require.NoError(t, err)
	option.SelectDB = database
	change(&option)
	b, err := OpenOption(t.Context(), option, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestContract(t *testing.T) {
	t.Parallel()
	contract(t, 1, func(*rueidis.ClientOption) {})
}

func TestContractRESP2(t *testing.T) {
	t.Parallel()
	contract(t, 2, func(option *rueidis.ClientOption) { option.AlwaysRESP2, option.DisableCache = true, true })
}

func TestContractTracking(t *testing.T) {
	t.Parallel()
	contract(t, 3, func(*rueidis.ClientOption) {}, Tracking())
}

// TestContractOfSeveral has several backends work together, as those of several processes do.
func TestContractOfSeveral(t *testing.T) {
	t.Parallel()
	one := func(t *testing.T) backend.Backend {
		t.Helper()
		return openIn(t, 4, func(*rueidis.ClientOption) {}, CallTimeout(patience))
	}
	backendtest.Run(t, func(t *testing.T) backend.Backend { return backendtest.Together(one(t), one(t), one(t)) })
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	backendtest.Replay(t, func(t *testing.T) backend.Backend { return open(t) })
}
