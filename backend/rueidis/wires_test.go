package rueidis

import (
	"context"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestNoRoomForWires: a server that takes no more connections is not asked for one with every call.
func TestNoRoomForWires(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.Start(t).URL())
	option, err := rueidis.ParseURL(r.url)
	require.NoError(t, err)
	option.PipelineMultiplex = -1 // one connection that all share, which there is already
	b, err := OpenOption(t.Context(), option, CallTimeout(patience))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	r.subscribed(b)
	require.NoError(t, r.do("CONFIG", "SET", "maxclients", "1").Error())
	begin := time.Now()
	for range 200 {
		_, err := b.Take(context.Background(), r.request("token"))
		require.NoError(t, err)
	}
	most := 1 + int(time.Since(begin)/wirePause)
	stats, err := r.do("INFO", "stats").ToString()
	require.NoError(t, err)
	found := regexp.MustCompile(`rejected_connections:(\d+)`).FindStringSubmatch(stats)
	require.Len(t, found, 2)
	refused, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	assert.Positive(t, refused)
	assert.LessOrEqual(t, refused, most)
}

// TestAnEndedContextBreaksNobodyElsesCall has contexts end just as their calls are answered, in turn with other calls on
// the same connections.
func TestAnEndedContextBreaksNobodyElsesCall(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	r := newRoom(t, url)
	b := r.process(url)
	const callers, rounds = 2, 1500
	req := backend.UnlockRequest{Namespace: r.ns, Items: []backend.Held{{Member: "nobody's", Token: "mine"}}}
	together(callers, func(int) {
		for range rounds {
			begin := time.Now()
			if _, err := b.Unlock(context.Background(), req); !assert.NoError(t, err) {
				return
			}
			took := time.Since(begin)
			ctx, cancel := context.WithTimeout(t.Context(), took/2+rand.N(took))
			_, _ = b.Unlock(ctx, req)
			cancel()
		}
	})
}
