package lock_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// Several clients contend, while servers hang, fail, lose answers and are slow. Whoever believes that he holds the lock
// must be the only one.
func TestTwoNeverHoldARedlock(t *testing.T) {
	t.Parallel()
	for range 5 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			n := 1 + rng.IntN(5)
			servers := newRedServers(t, n)
			cfg := lock.RedlockConfig{
				TTL: 2 * time.Second, Tries: lock.UntilDone, Quorum: n/2 + 1 + rng.IntN(n-n/2), NoRenewal: rng.IntN(2) == 0,
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)

			var weather sync.WaitGroup
			defer weather.Wait()
			defer cancel()
			changes := rand.New(rand.NewPCG(seed, 1))
			weather.Go(func() {
				moods := []redMood{
					{}, {}, {}, {}, {hang: true}, {mute: true}, {err: backend.ErrUnavailable}, {delay: 10 * time.Millisecond},
				}
				for ctx.Err() == nil {
					after(time.Duration(changes.IntN(500)) * time.Millisecond)
					m := moods[changes.IntN(len(moods))]
					if changes.IntN(2) == 0 {
						m.delay = time.Duration(changes.IntN(40)) * time.Millisecond
					}
					servers[changes.IntN(n)].is(m, []string{"lock", "renew", "unlock"}[changes.IntN(3)])
				}
			})

			var holder atomic.Pointer[lock.RedlockHeld]
			granted := make(chan int)
			const clients = 4
			for range clients {
				r := newRedlock(t, servers, cfg)
				patience := rand.New(rand.NewPCG(seed, rng.Uint64()))
				go func() {
					count := 0
					defer func() { granted <- count }()
					for {
						held, err := r.Lock(ctx, "a")
						if err != nil {
							return
						}
						if other := holder.Swap(held); other != nil && other.Valid() {
							t.Errorf("seed %d: two hold the lock", seed)
						}
						count++
						select {
						case <-time.After(time.Duration(patience.IntN(3000)) * time.Millisecond):
						case <-held.Context().Done():
						}
						if holder.Load() != held && held.Valid() {
							t.Errorf("seed %d: somebody else got a lock that is held", seed)
						}
						_ = held.Unlock(ctx)
					}
				}()
			}
			total := 0
			for range clients {
				total += <-granted
			}
			require.Positive(t, total, "seed %d", seed)
		})
	}
}
