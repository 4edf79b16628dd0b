package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

// weather is a queue among whose users all connections are held up and cut.
type weather struct {
	near, far *jobs // of those who ask and wait, on connections of their own

	mu       sync.Mutex
	longest  time.Duration
	problems []string
}

// TestNobodyIsLeftWaiting submits, waits, gives up, waits again, cancels and completes in all orders, while the connections of
// those who ask, of those who wait and of those who work are cut and held up. Everybody who waits gets the right result.
func TestNobodyIsLeftWaiting(t *testing.T) {
	t.Parallel()
	done := busily(t)
	seed := seed(t)
	server, ns := redistest.Start(t), newNamespace(t)
	cli := raw(t, server.URL())
	asking, p1 := behind(t, server.URL(), rueidis.CallTimeout(time.Second))
	waiting, p2 := behind(t, server.URL(), rueidis.CallTimeout(time.Second))
	working, p3 := behind(t, server.URL(), rueidis.CallTimeout(time.Second))
	stop := listenUntil(t, newJobs(working, ns, task.ServerConfig{Concurrency: 32, LeaseTTL: 5 * time.Second}), (&hand{}).do)
	w := &weather{near: newJobs(asking, ns, task.ServerConfig{}), far: newJobs(waiting, ns, task.ServerConfig{})}

	over, end := context.WithCancel(context.Background())
	defer end()
	begun, duration := time.Now(), scaled(t, 5*time.Second)
	var waits atomic.Int64
	var users sync.WaitGroup
	for i := range 48 {
		r := rand.New(rand.NewPCG(seed, uint64(1+i))) //nolint:gosec // to be repeated
		users.Go(func() {
			for n := 0; over.Err() == nil; n++ {
				w.use(r, fmt.Sprintf("%03d-%05d", i, n), &waits)
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated
	faults := 0
	goesOn := func() bool { // a slow machine has not come far
		took := time.Since(begun)
		return took < duration || waits.Load() < 500 && took < duration+15*time.Second
	}
	for ; goesOn(); faults++ {
		pause(over, time.Duration(r.IntN(200))*time.Millisecond)
		switch r.IntN(12) {
		case 0:
			_, _ = cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		case 1:
			_, _ = cli.do("CLIENT", "KILL", "TYPE", "pubsub")
		default:
			p := []*redistest.Proxy{p1, p2, p3}[r.IntN(3)]
			breakIt(p)
			pause(over, time.Duration(r.IntN(20))*time.Millisecond)
			p.Resume()
		}
	}
	end()
	finished := begin(func() (struct{}, error) { users.Wait(); return struct{}{}, nil })
	select {
	case <-finished:
	case <-time.After(3 * patience):
		require.FailNow(t, "somebody is left waiting")
	}
	done()
	assert.Empty(t, w.problems)
	eventually(t, 2*patience, "nothing is left", func() bool { // some were submitted without that anybody knows it
		s, err := insist(context.Background(), func() (task.Stats, error) { return w.near.Stats(context.Background()) })
		require.NoError(t, err)
		return s.Scheduled+s.Waiting+s.Running == 0
	})
	stop()
	t.Logf("%d waits, %d faults; the longest wait took %v", waits.Load(), faults, w.longest.Round(time.Millisecond))
}

// use has one job done in some way.
func (w *weather) use(r *rand.Rand, id string, waits *atomic.Int64) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // and no wait may take that long
	defer cancel()
	j := job{N: r.Int(), Takes: time.Duration(r.IntN(3)) * time.Millisecond}
	way, some := r.IntN(7), time.Duration(r.IntN(8000))*time.Microsecond
	query := func(ctx context.Context, options ...task.Option) (product, error) {
		return insist(ctx, func() (product, error) { return w.near.Query(ctx, j, options...) })
	}
	wait := func(q *jobs) (product, error) {
		waits.Add(1)
		return insist(ctx, func() (product, error) { return q.Wait(ctx, id) })
	}
	expect := func(got product, err error, allowed ...error) {
		for _, a := range allowed {
			if errors.Is(err, a) {
				return
			}
		}
		if err != nil || got.N != j.N {
			w.mu.Lock()
			w.problems = append(w.problems, fmt.Sprintf("%s, way %d, after %v: %+v, %v", id, way, time.Since(began), got, err))
			w.mu.Unlock()
		}
	}
	if way < 2 {
		waits.Add(1)
		options := []task.Option{task.ID(id)}
		got, err := query(ctx, options[:way]...)
		expect(got, err)
	}
	if way == 2 { // gives up, and asks again
		waits.Add(1)
		impatient, cancel := context.WithTimeout(ctx, some)
		got, err := query(impatient, task.ID(id))
		cancel()
		expect(got, err, context.DeadlineExceeded, backend.ErrUnavailable)
		waits.Add(1)
		got, err = query(ctx, task.ID(id))
		expect(got, err)
	}
	if way >= 3 {
		h, err := insist(ctx, func() (*task.Handle[product], error) { return w.near.Submit(ctx, j, task.ID(id)) })
		if err != nil {
			expect(product{}, err)
			return
		}
		switch way {
		case 3:
			expect(wait(w.far))
		case 4: // both
			other := begin(func() (product, error) { return wait(w.far) })
			expect(wait(w.near))
			o := <-other
			expect(o.got, o.err)
		case 5: // gives up waiting, and waits again
			waits.Add(1)
			impatient, cancel := context.WithTimeout(ctx, some)
			got, err := w.far.Wait(impatient, id)
			cancel()
			expect(got, err, context.DeadlineExceeded, backend.ErrUnavailable)
			expect(wait(w.far))
		case 6:
			other := begin(func() (product, error) { return wait(w.far) })
			pause(ctx, some/4)
			_, err := insist(ctx, func() (struct{}, error) { return struct{}{}, h.Cancel(ctx) })
			if !errors.Is(err, task.ErrEnded) {
				expect(product{N: j.N}, err)
			}
			o := <-other
			expect(o.got, o.err, task.ErrCancelled)
			again, err := wait(w.near)
			expect(again, err, task.ErrCancelled)
			if (err == nil) != (o.err == nil) {
				expect(again, fmt.Errorf("told otherwise before: %w, now: %w", o.err, err))
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest = max(w.longest, time.Since(began))
}
