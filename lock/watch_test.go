package lock_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// watching sends what a watch tells, in words, until ctx ends.
func watching(ctx context.Context, b *lock.Heartbeat) <-chan string {
	told := make(chan string, 100)
	go func() {
		defer close(told)
		for c := range b.Watch(ctx) {
			text := c.Kind.String() + " " + c.Living.ID
			if c.Err != nil {
				text = fmt.Sprintf("%v %v", c.Kind, c.Err)
			}
			told <- text
		}
	}()
	return told
}

func TestAWatchTellsWhoJoinsAndWhoLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		const ttl = 3 * time.Second
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: ttl})
		p2, p1 := join(t, b, "p2"), join(t, b, "p1")
		ctx, cancel := context.WithCancel(t.Context())
		told := watching(ctx, b)
		expect := func(within time.Duration, want ...string) {
			t.Helper()
			begin := time.Now()
			for _, w := range want {
				require.Equal(t, w, <-told)
			}
			require.LessOrEqual(t, time.Since(begin), within)
		}
		expect(0, "joined p1", "joined p2")
		const pause = ttl * 5 / 12
		p0 := join(t, b, "p0")
		expect(pause, "joined p0")
		leave(t, p0)
		expect(pause, "left p0")

		p3 := join(t, b, "p3")
		leave(t, p1)
		expect(pause, "left p1", "joined p3")

		leave(t, p2)
		again := join(t, b, "p2")
		expect(pause, "left p2", "joined p2")

		yes(t, true)(lock.NewKeys(s, ns).Unlock(ctx, "p3")) // as if its time had run out
		expect(pause, "left p3")

		leave(t, again)
		_ = p3.Leave(ctx)
		expect(pause, "left p2")
		synctest.Wait()
		calls := s.calls.Load()
		const looks = 1000
		<-time.After(looks * ttl / 3)
		assert.InDelta(t, looks, s.calls.Load()-calls, looks/10, "it looks about three times in the TTL")
		assert.Empty(t, told)
		cancel()
		_, more := <-told
		assert.False(t, more)
	})
}

func TestAWatchSurvivesAStoreThatDoesNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{})
		p := join(t, b, "p")
		told := watching(t.Context(), b)
		require.Equal(t, "joined p", <-told)
		s.fail("members", backend.ErrUnavailable)
		for range 3 {
			require.Contains(t, <-told, "unknown ")
		}
		leave(t, p)
		join(t, b, "q")
		s.on(nil)
		require.Equal(t, "left p", <-told)
		require.Equal(t, "joined q", <-told)
		s.fail("members", backend.ErrClosed)
		require.Contains(t, <-told, backend.ErrClosed.Error())
		_, more := <-told
		require.False(t, more, "that is for ever")
	})
}

func TestAWatchEndsWithItsContextOrItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{})
		join(t, b, "p")
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for c := range b.Watch(over) {
			require.Fail(t, "told", "%v", c)
		}
		for range b.Watch(t.Context()) {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		told := watching(ctx, b)
		require.Equal(t, "joined p", <-told)
		s.on(func(_ context.Context, op string) error { // it is just looking
			if op == "members" {
				cancel()
				return backend.ErrUnavailable
			}
			return nil
		})
		_, more := <-told
		require.False(t, more)
		s.on(nil)
	})
}
