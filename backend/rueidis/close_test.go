package rueidis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestCloseGivesBackWhatWasLost: Close tries once more to give back what a lost Take was granted, so that it need not
// wait for the end of its TTL.
func TestCloseGivesBackWhatWasLost(t *testing.T) {
	t.Parallel()
	quick(t, soon, func() time.Duration {
		r, proxy, b, other := behindProxy(t)
		fired := proxy.CutReply(callFor("lost"))
		refuse := make(chan struct{})
		go func() {
			defer close(refuse)
			<-fired
			proxy.Refuse()
		}()
		_, err := b.Take(t.Context(), backend.TakeRequest{Namespace: r.ns, Token: "lost", TTL: time.Hour})
		require.ErrorIs(t, err, backend.ErrUnavailable)
		<-refuse
		proxy.Resume()
		require.NoError(t, b.Close())
		if left := r.leftOver(other); left != "" { // Close tries for a second
			t.Log(left)
			return patience
		}
		return 0
	})
}

// TestSlowReclaim: also if asking for what was lost takes longer than the clocks are allowed to differ.
func TestSlowReclaim(t *testing.T) {
	t.Parallel()
	const slow = 4 * clockSlack
	quick(t, lateness/2, func() time.Duration { // and not when the server is asked once more
		r, proxy, b, other := behindProxy(t)
		fired := proxy.CutReply(callFor("lost"))
		held := make(chan struct{})
		go func() {
			defer close(held)
			<-fired
			proxy.Hold(redistest.Requests)
		}()
		_, err := b.Take(t.Context(), backend.TakeRequest{Namespace: r.ns, Token: "lost", TTL: time.Hour})
		require.ErrorIs(t, err, backend.ErrUnavailable)
		<-held
		<-time.After(slow)
		proxy.Resume()
		return until(t, "the member is free", func() bool { return r.leftOver(other) == "" })
	})
}
