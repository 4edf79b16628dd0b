package rueidis

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

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
