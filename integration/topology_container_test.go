package integration

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

// TestContainerConformance runs a part of the contract against the server in a container, if that was asked for.
func TestContainerConformance(t *testing.T) {
	t.Parallel()
	if !containerRequested {
		return
	}
	option := parsed(t, redistest.URL(t))
	conforms(t, 4, func(tb testing.TB) backend.Backend {
		tb.Helper()
		return openOption(tb, option, rueidis.CallTimeout(patience))
	})
}

// TestContainerWeather pauses, kills and starts again a server in a container while work of all kinds goes on, if that was
// asked for: everything goes on by itself, and with its data on disk the server still knows who holds what. Without them
// everybody is told that it is lost.
func TestContainerWeather(t *testing.T) {
	t.Parallel()
	if !containerRequested {
		return
	}
	for name, args := range map[string][]string{
		"with data": {"--appendonly", "yes", "--appendfsync", "always"}, "without data": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			_, port, err := net.SplitHostPort(l.Addr().String())
			require.NoError(t, err)
			require.NoError(t, l.Close())
			c, err := runContainer(context.Background(), port, args...)
			t.Cleanup(c.remove)
			require.NoError(t, err)
			url := "redis://127.0.0.1:" + port
			be, other := open(t, url), open(t, url)
			tr := startTraffic(t, newNamespace(t), be, other)
			tr.goesOn("before")
			tr.roughly("pause", func() {
				c.docker(t, "pause")
				pause(context.Background(), 300*time.Millisecond)
				c.docker(t, "unpause")
			})

			ns := newNamespace(t)
			if args != nil {
				kept := startKept(t, ns, be, other)
				tr.roughly("kill", func() {
					c.docker(t, "kill")
					c.docker(t, "start")
					kept.check()
				})
				tr.end(other)
				return
			}
			keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: patience})
			require.NoError(t, keys.Extend(context.Background(), members(1)))
			held, err := keys.MallocKey(context.Background())
			require.NoError(t, err)
			tr.roughly("kill", func() {
				c.docker(t, "kill")
				c.docker(t, "start")
				eventually(t, patience, "the pool is filled again", func() bool {
					return tr.keys[0].Extend(context.Background(), members(trafficMembers)) == nil
				})
			})
			eventually(t, patience, "its holder is told", func() bool { return !held.Valid() })
			assert.ErrorIs(t, context.Cause(held.Context()), pool.ErrLost)
			tr.end(other)
		})
	}
}
