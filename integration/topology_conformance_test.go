package integration

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"

	redis "github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestTopologyConformance runs the contract, and the recordings of the Python library, against what is more than one
// server, or speaks TLS. Those of a single server, of RESP2, of client-side caching and of a user with only the documented
// rights are in backend/rueidis. Each time another part of the cases is taken; INTEGRATION_SECONDS takes them all.
func TestTopologyConformance(t *testing.T) {
	t.Parallel()
	for _, topology := range []struct {
		name  string
		start func(testing.TB) redis.ClientOption
		wrap  func(backend.Backend) backend.Backend
		part  int // of so many, in a look
	}{
		{"cluster", onCluster, func(be backend.Backend) backend.Backend { return tagged{be} }, 3},
		{"sentinel", onSentinels, nil, 6},
		{"tls", onTLS, nil, 6},
	} {
		t.Run(topology.name, func(t *testing.T) {
			t.Parallel()
			option := topology.start(t)
			open := func(tb testing.TB) backend.Backend {
				tb.Helper()
				be := openOption(tb, option, rueidis.CallTimeout(patience))
				if topology.wrap != nil {
					return topology.wrap(be)
				}
				return be
			}
			part := topology.part
			if os.Getenv("INTEGRATION_SECONDS") != "" {
				part = 1
			}
			conforms(t, part, open)
		})
	}
}

// conforms runs one part of the cases and recordings.
func conforms(t *testing.T, part int, open func(testing.TB) backend.Backend) {
	t.Helper()
	chosen := rand.IntN(part)
	t.Logf("cases %d, %d, %d ...", chosen, chosen+part, chosen+2*part)
	cases := backendtest.Cases()
	for i := chosen; i < len(cases); i += part {
		t.Run(cases[i].String(), func(t *testing.T) {
			t.Parallel()
			cases[i].Check(t, open(t))
		})
	}
	recordings, err := backendtest.Recordings()
	require.NoError(t, err)
	for i := chosen; i < len(recordings); i += part {
		t.Run("recording/"+recordings[i].Name, func(t *testing.T) {
			t.Parallel()
			recordings[i].Check(t, open(t), nil)
		})
	}
}

// onCluster starts a Cluster of six nodes.
func onCluster(tb testing.TB) redis.ClientOption {
	tb.Helper()
	return parsed(tb, redistest.StartCluster(tb, 3, 1).URL())
}

// onSentinels starts a primary with two replicas, and three Sentinels.
func onSentinels(tb testing.TB) redis.ClientOption {
	tb.Helper()
	return parsed(tb, redistest.StartSentinels(tb, 2, 3).URL())
}

// onTLS starts a server that demands a certificate.
func onTLS(tb testing.TB) redis.ClientOption {
	tb.Helper()
	server := redistest.Start(tb, redistest.TLS())
	option := parsed(tb, server.URL())
	option.TLSConfig = server.TLSConfig()
	return option
}

func parsed(tb testing.TB, url string) redis.ClientOption {
	tb.Helper()
	option, err := redis.ParseURL(url)
	require.NoError(tb, err)
	return option
}

// openOption connects until the test ends.
func openOption(tb testing.TB, option redis.ClientOption, options ...rueidis.Option) *rueidis.Backend {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	be, err := insist(ctx, func() (*rueidis.Backend, error) { return rueidis.OpenOption(ctx, option, options...) })
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = be.Close() })
	return be
}
