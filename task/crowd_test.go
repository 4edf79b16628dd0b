package task_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/task"
)

// Handlers that take no time make tasks that take no time, whoever waits for places or things: if a server had to be told
// by its timer that there is something to do, it would be later then.
func TestNoWakeUpIsLost(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Observer, r.cfg.Logger = nil, nil
		of := things(2)
		queues := []*task.Queue[int, int]{queueOf[int, int](r, "a"), queueOf[int, int](r, "b"), queueOf[int, int](r, "c")}
		dawdle := func(h task.Handler[int, int]) task.Handler[int, int] {
			return func(ctx context.Context, t *task.Task[int]) (int, error) {
				for range rand.IntN(4) {
					runtime.Gosched()
				}
				if t.Attempt() == 1 && t.Params()%10 == 0 {
					return 0, errOops
				}
				return h(ctx, t)
			}
		}
		var servers []*task.Server
		for i := range 3 {
			s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1 + i, Strict: i == 1})
			for j, q := range queues {
				h := dawdle(echo[int])
				if j == 1 {
					h = needing[int](of)(h)
				}
				require.NoError(r, task.Serve(s, q, h, task.ServeConfig{Weight: 1 + j, Concurrency: 1 + (i+j)%2, MaxParked: 1 + i}))
			}
			r.run(s.Run)
			servers = append(servers, s)
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 250 {
					got, err := queues[rand.IntN(len(queues))].Query(r.Context(), i, task.Retries(1), task.Class(rand.IntN(3)))
					assert.NoError(r, err)
					assert.Equal(r, i, got)
				}
			})
		}
		wg.Wait()
		assert.Zero(r, time.Since(begin))
		synctest.Wait()
		for _, s := range servers {
			assert.Zero(r, s.Stats())
		}
	})
}

// Servers come and go, handlers fail in every way, and all tasks end, each of them once.
func TestServersComeAndGo(t *testing.T) {
	onMemory(t, func(r *rig) {
		r.cfg.Observer, r.cfg.Logger = nil, nil
		q := queueOf[int, int](r, "q")
		var done [400]atomic.Int32
		h := func(ctx context.Context, t *task.Task[int]) (int, error) {
			select {
			case <-time.After(time.Duration(rand.IntN(3000)) * time.Millisecond):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
			switch rand.IntN(20) {
			case 0:
				panic("ouch")
			case 1:
				runtime.Goexit()
			case 2:
				<-time.After(time.Duration(rand.IntN(5000)) * time.Millisecond) // whatever ctx says
			case 3:
				return 0, errOops
			}
			done[t.Params()].Add(1)
			return t.Params(), t.Progress(1, 1, "")
		}
		stop := make(chan struct{})
		var servers, queries sync.WaitGroup
		for i := range 4 {
			servers.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(20))*time.Second)
					s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 5, Drain: time.Duration(rand.IntN(3)) * time.Second})
					assert.NoError(r, task.Serve(s, q, h, task.ServeConfig{}))
					assert.NoError(r, s.Run(ctx))
					cancel()
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(i) * time.Second):
					}
				}
			})
		}
		for i := range done {
			queries.Go(func() {
				got, err := q.Query(context.Background(), i, task.ID(fmt.Sprint(i)), task.Retries(1000), task.MaxDeaths(1000), task.Timeout(24*time.Hour))
				assert.NoError(r, err)
				assert.Equal(r, i, got)
			})
		}
		queries.Wait()
		close(stop)
		servers.Wait()
		<-time.After(10 * time.Second) // those who dawdle
		for i := range done {
			assert.Positive(r, done[i].Load())
		}
		stats, err := q.Stats(r.Context())
		require.NoError(r, err)
		assert.EqualValues(r, len(done), stats.Done)
		assert.Zero(r, stats.Running+stats.Waiting+stats.Scheduled+stats.Dead+stats.Listeners)
	})
}
