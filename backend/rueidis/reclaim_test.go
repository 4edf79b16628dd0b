package rueidis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestTooMuchToGiveBack: however much is lost, and whenever, no more than maxDebts is remembered.
func TestTooMuchToGiveBack(t *testing.T) {
	t.Parallel()
	r, proxy, b, _ := behindProxy(t)
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	d := &b.waits.debts
	see := func(what func() bool) func() bool {
		return func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return what()
		}
	}
	many := make([]lost, maxDebts)
	for i := range many {
		many[i] = lost{request: request{token: backend.NewToken()}, ttl: time.Hour}
	}

	proxy.Hold(redistest.Both)
	b.unknown(sp, many)
	until(t, "all are in hand", see(func() bool { return len(d.open) == 0 }))
	b.unknown(sp, many)
	assert.True(t, see(func() bool { return d.n == maxDebts && d.full })())
	proxy.Refuse()
	until(t, "they have come to nothing", see(func() bool { return d.failing && len(d.open[sp]) == maxDebts }))
	b.unknown(sp, many)
	assert.True(t, see(func() bool { return d.n == maxDebts })())
	assert.Empty(t, d.wake, "who loses something while nobody answers has nobody asked at once")
}
