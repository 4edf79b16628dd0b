package rueidis

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestCluster: on a Redis Cluster everything of a namespace with a hash tag works, and one without is refused.
func TestCluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Config("cluster-enabled yes"))
	node, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr()}, ForceSingleClient: true, DisableCache: true})
	require.NoError(t, err)
	defer node.Close()
	do := func(words ...string) (string, error) {
		return node.Do(t.Context(), node.B().Arbitrary(words...).Build()).ToString()
	}
	_, err = do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	require.NoError(t, err)
	until(t, "the cluster is up", func() bool {
		info, err := do("CLUSTER", "INFO")
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	r := newRoom(t, server.URL())
	r.ns.HashTag = true
	for name, opts := range map[string][]Option{"plain": nil, "tracking": {Tracking()}} {
		t.Run(name, func(t *testing.T) {
			r := &room{TB: t, url: r.url, ns: r.ns, raw: r.raw}
			r.ns.Suffix = name
			b := r.process(r.url, opts...)
			require.True(t, b.cluster)
			r.extend(b, members(3)...)
			held := r.take(b, "first", 3, time.Hour)
			first, second := r.waitFor(b, "1"), r.waitFor(b, "2")
			r.giveBack(b, held[0])
			h, after := r.granted(first)
			assert.Less(t, after, soon)
			require.True(t, r.renew(b, h.Grants...))
			r.do("DEL", r.ns.Lock(held[1].Member)) // found by looking
			h2, _ := r.granted(second)
			require.True(t, r.renew(b, h2.Grants...))
			for range 3 {
				assert.Equal(t, "1", r.get(b, h.Grants[0].Member)[0].Value)
			}
			r.giveBack(b, h.Grants[0], h2.Grants[0], held[2])
			r.clean(b)

			other := r.ns
			other.HashTag = false
			_, err := b.Take(t.Context(), backend.TakeRequest{Namespace: other, Token: "t", TTL: time.Hour})
			require.ErrorIs(t, err, backend.ErrUnsupported)
		})
	}
}
