package rueidis

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// TestAgainBeforeTheLastOneIsTakenBack: a request with Again whose answer was lost is taken back also if its token has
// come again meanwhile, and then only that one.
func TestAgainBeforeTheLastOneIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, items := range [][]backend.LockItem{{item("n")}, {reading("n")}} {
		for _, before := range []int{0, 1} { // so often the token had it already
			t.Run(fmt.Sprintf("%d units, %d before", items[0].Units, before), func(t *testing.T) {
				t.Parallel()
				r, proxy, b, other := locksBehindProxy(t)
				r.waitsNowhere(b)
				req := r.asks("token", items...)
				req.Again = true
				for range before {
					require.NotEmpty(t, r.lock(other, req))
				}
				fired := proxy.CutReply(callFor("token"))
				again := proxy.CutRequest(callFor("token")) // which was to take it back
				_, err := b.Lock(t.Context(), req)
				require.ErrorIs(t, err, backend.ErrUnavailable)
				<-fired
				<-again
				proxy.Refuse()
				held := r.lock(other, req)
				for range 10 { // fewer than are remembered
					r.unlock(other, r.lock(other, req)...)
				}
				proxy.Resume()
				for range 1 + before {
					r.unlock(other, held...)
				}
				assert.Less(t, until(t, "the name is free", func() bool { return r.left() == "" }), soon)
			})
		}
	}
}
