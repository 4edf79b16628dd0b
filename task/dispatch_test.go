package task_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// gate has handlers wait until they are let through.
type gate struct {
	mu      sync.Mutex
	now     int
	most    int
	began   []string // what they were given, in order
	through chan struct{}
}

func newGate() *gate { return &gate{through: make(chan struct{})} }

func pass[P any](g *gate) task.Handler[P, P] {
	return func(ctx context.Context, t *task.Task[P]) (P, error) {
		g.mu.Lock()
		g.began = append(g.began, fmt.Sprint(t.Params()))
		g.now++
		g.most = max(g.most, g.now)
		g.mu.Unlock()
		defer func() {
			g.mu.Lock()
			g.now--
			g.mu.Unlock()
		}()
		select {
		case <-g.through:
			return t.Params(), nil
		case <-ctx.Done():
			return t.Params(), ctx.Err()
		}
	}
}

// running is how many wait at the gate.
func (g *gate) running() int {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gate) begun() []string {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.began
}

func TestConcurrency(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[int, int](r, "a"), queueOf[int, int](r, "b")
		ga, gb := newGate(), newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 5})
		require.NoError(r, task.Serve(s, a, pass[int](ga), task.ServeConfig{Concurrency: 2}))
		require.NoError(r, task.Serve(s, b, pass[int](gb), task.ServeConfig{}))
		r.run(s.Run)
		for i := range 10 {
			submit(r, a, i)
		}
		assert.Equal(r, 2, ga.running())
		for i := range 10 {
			submit(r, b, i)
		}
		assert.Equal(r, 2, ga.running())
		assert.Equal(r, 3, gb.running())
		assert.Equal(r, task.ServerStats{Running: 5}, s.Stats())
		close(gb.through)
		assert.Len(r, gb.begun(), 10)
		assert.Equal(r, 2, ga.running())
		close(ga.through)
		assert.Len(r, ga.begun(), 10)
		assert.Zero(r, s.Stats())
		assert.Equal(r, 2, ga.most)
		assert.LessOrEqual(r, gb.most, 5)
	})
}

// A server that is idle is woken for each task, and otherwise says that it lives; a place that becomes free while the
// store knows that there is room costs no call.
func TestAnIdleServerMakesFewCalls(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, echo)
		synctest.Wait()
		first := r.fetched()
		require.Len(r, first, 1)
		assert.Equal(r, task.DefaultConcurrency, first[0].Max)
		assert.Equal(r, task.DefaultLeaseTTL, first[0].TTL)
		assert.Equal(r, task.DefaultMark, first[0].Mark)
		_, err := q.Query(r.Context(), 1)
		require.NoError(r, err)
		synctest.Wait()
		assert.Len(r, r.fetched(), 1)
		<-time.After(time.Minute)
		synctest.Wait()
		assert.InDelta(r, 12, len(r.fetched()), 1, "every third of the mark")
		stats, err := q.Stats(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 1, stats.Listeners)
	})
}

func TestWhatIsDueIsBegunInTime(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, echo)
		for _, d := range []time.Duration{time.Millisecond, 3 * time.Second, 7 * time.Second, time.Hour} {
			begin := time.Now()
			_, err := submit(r, q, 1, task.Delay(d)).Wait(r.Context())
			require.NoError(r, err)
			assert.Equal(r, d, time.Since(begin).Round(time.Millisecond))
		}
	})
}

// The server itself sees to it, whether or not anybody waits for the task.
func TestWhatIsDueIsBegunInTimeWithoutAWaiter(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		var began time.Time
		listen(r, q, func(context.Context, *task.Task[int]) (int, error) { began = time.Now(); return 0, nil })
		submitted := time.Now()
		submit(r, q, 1, task.Delay(time.Second))
		<-time.After(time.Minute)
		synctest.Wait()
		assert.Equal(r, time.Second, began.Sub(submitted))
	})
}

func TestManyAreDueAtOnce(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		listen(r, q, echo)
		var all []*task.Handle[int]
		for i := range 1000 {
			all = append(all, submit(r, q, i, task.Delay(time.Second)))
		}
		begin := time.Now()
		for _, h := range all {
			_, err := h.Wait(r.Context())
			require.NoError(r, err)
		}
		assert.Equal(r, time.Second, time.Since(begin))
	})
}

// The tasks of a worker that died are begun again when their leases end, by whoever is there.
func TestDeathsAreNoticedInTime(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		handle := submit(r, q, 1)
		newWorker(r.T, r.Backend, "q").next()
		begin := time.Now()
		listen(r, q, echo)
		_, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.Equal(r, 10*time.Second, time.Since(begin))
	})
}

func TestStrictQueuesAndClasses(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[string, string](r, "a"), queueOf[string, string](r, "b")
		for _, name := range []string{"1", "2"} {
			submit(r, b, "b"+name)
			submit(r, a, "a low "+name, task.Low)
			submit(r, a, "a"+name)
			submit(r, a, "a high "+name, task.High)
		}
		g := newGate()
		close(g.through)
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1, Strict: true})
		require.NoError(r, task.Serve(s, a, pass[string](g), task.ServeConfig{StrictClasses: true}))
		require.NoError(r, task.Serve(s, b, pass[string](g), task.ServeConfig{}))
		r.run(s.Run)
		assert.Equal(r, []string{"a high 1", "a high 2", "a1", "a2", "a low 1", "a low 2", "b1", "b2"}, g.begun())
	})
}

func TestSharesOfQueues(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[string, string](r, "a"), queueOf[string, string](r, "b")
		for range 40 {
			submit(r, a, "a")
			submit(r, b, "b")
		}
		g := newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 3})
		require.NoError(r, task.Serve(s, a, pass[string](g), task.ServeConfig{Weight: 3}))
		require.NoError(r, task.Serve(s, b, pass[string](g), task.ServeConfig{}))
		r.run(s.Run)
		for range 37 {
			g.running()
			g.through <- struct{}{}
		}
		of := map[string]int{}
		for _, name := range g.begun() {
			of[name]++
		}
		assert.Equal(r, map[string]int{"a": 30, "b": 10}, of)
		close(g.through)
		synctest.Wait()
	})
}

// A queue that had no tasks while others had has no claim to what it missed.
func TestAQueueThatWasIdleHasSavedNothingUp(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[string, string](r, "a"), queueOf[string, string](r, "b")
		for range 30 {
			submit(r, a, "a")
		}
		g := newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		require.NoError(r, task.Serve(s, a, pass[string](g), task.ServeConfig{}))
		require.NoError(r, task.Serve(s, b, pass[string](g), task.ServeConfig{}))
		r.run(s.Run)
		through := func(n int) {
			for range n {
				g.running()
				g.through <- struct{}{}
			}
		}
		through(10)
		require.Len(r, g.begun(), 11)
		for range 10 {
			submit(r, b, "b")
		}
		through(10)
		ofB := 0
		for _, name := range g.begun()[11:] {
			if name == "b" {
				ofB++
			}
		}
		assert.InDelta(r, 5, ofB, 1)
		close(g.through)
		synctest.Wait()
	})
}

// A server that is full says that it lives and takes nothing: the shares are what they were.
func TestAFullServerKeepsItsShares(t *testing.T) {
	onMemory(t, func(r *rig) {
		a, b := queueOf[string, string](r, "a"), queueOf[string, string](r, "b")
		for range 20 {
			submit(r, a, "a")
			submit(r, b, "b")
		}
		g := newGate()
		s := task.NewServer(r.store, ns, task.ServerConfig{Concurrency: 1})
		require.NoError(r, task.Serve(s, a, pass[string](g), task.ServeConfig{}))
		require.NoError(r, task.Serve(s, b, pass[string](g), task.ServeConfig{}))
		r.run(s.Run)
		for range 9 {
			<-time.After(time.Minute)
			g.through <- struct{}{}
		}
		of := map[string]int{}
		for _, name := range g.begun() {
			of[name]++
		}
		assert.Equal(r, map[string]int{"a": 5, "b": 5}, of)
		close(g.through)
		synctest.Wait()
	})
}

// Trouble with the store is survived.
func TestFetchesThatFail(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		r.on(func(_ context.Context, req any) error {
			if _, fetch := req.(backend.FetchRequest); fetch {
				return backend.ErrUnavailable
			}
			return nil
		})
		listen(r, q, echo)
		handle := submit(r, q, 1)
		<-time.After(time.Minute)
		synctest.Wait()
		assert.InDelta(r, 85, len(r.fetched()), 30, "about every second")
		assert.Contains(r, r.logged(), "tasks not fetched")
		r.on(nil)
		begin := time.Now()
		_, err := handle.Wait(r.Context())
		require.NoError(r, err)
		assert.LessOrEqual(r, time.Since(begin), time.Second)
	})
}

// Handlers are told of what becomes of their tasks also while nothing can be fetched, and the server ends at once.
func TestServersRestAfterFailures(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		h, ended := causes(r, q)
		end := listen(r, q, h)
		handle := submit(r, q, 1)
		synctest.Wait()
		r.on(func(_ context.Context, req any) error {
			if _, fetch := req.(backend.FetchRequest); fetch {
				return backend.ErrUnavailable
			}
			return nil
		})
		<-time.After(time.Minute)
		synctest.Wait()
		require.NoError(r, handle.Cancel(r.Context()))
		begin := time.Now()
		require.ErrorIs(r, <-ended, task.ErrCancelled)
		assert.Zero(r, time.Since(begin))
		assert.Zero(r, <-ending(end))
	})
}

// TestTheEndWaitsASecondForAFetch: what it brings is put back at once.
func TestTheEndWaitsASecondForAFetch(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		r.on(func(ctx context.Context, req any) error {
			if fetch, ok := req.(backend.FetchRequest); ok && !fetch.Leave {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		assert.Equal(r, time.Second, <-ending(listen(r, q, echo)))
		assert.Empty(r, r.logged())
	})
}

func TestListenEndsWithTheBackend(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		ended := make(chan error, 1)
		go func() { ended <- q.Listen(r.Context(), echo) }()
		synctest.Wait()
		require.NoError(r, r.Close())
		require.ErrorIs(r, <-ended, backend.ErrClosed)
	})
}

func TestAutoFindsWhoListens(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, string](r, "q").WithLocal(func(context.Context, *task.Task[int]) (string, error) { return "here", nil })
		where := func() string {
			got, err := q.Query(r.Context(), 1, task.Auto)
			require.NoError(r, err)
			return got
		}
		assert.Equal(r, "here", where())
		end := listen(r, q, func(context.Context, *task.Task[int]) (string, error) { return "there", nil })
		assert.Equal(r, "there", where())
		end()
		assert.Equal(r, "here", where(), "the listener has said good-bye")
	})
}

func TestWhatCannotBeServed(t *testing.T) {
	onMemory(t, func(r *rig) {
		q := queueOf[int, int](r, "q")
		elsewhere := task.NewQueue[int, int](r.store, backend.Namespace{Prefix: "other", Suffix: "task"}, "q", task.Config{})
		other := task.NewQueue[int, int](r.Backend, ns, "q", task.Config{})
		good := task.NewServer(r.store, ns, task.ServerConfig{})
		bad := func(err error) {
			r.Helper()
			require.ErrorIs(r, err, backend.ErrInvalid)
		}
		bad(task.Serve(good, elsewhere, echo, task.ServeConfig{}))
		bad(task.Serve(good, other, echo, task.ServeConfig{}))
		another := task.NewQueue[int, int](&store{Backend: r.Backend}, ns, "q", task.Config{})
		bad(task.Serve(good, another, echo, task.ServeConfig{}))
		bad(task.Serve(good, q, nil, task.ServeConfig{}))
		bad(task.Serve(good, task.NewQueue[int, int](r.store, ns, "", task.Config{}), echo, task.ServeConfig{}))
		for _, cfg := range []task.ServeConfig{{Concurrency: -1}, {Weight: -1}, {Weight: 1001}, {MaxParked: -1}} {
			bad(task.Serve(good, q, echo, cfg))
		}
		bad(good.Run(r.Context()))
		require.NoError(r, task.Serve(good, q, echo, task.ServeConfig{}))
		bad(task.Serve(good, q, echo, task.ServeConfig{}))
		for i := range 84 {
			require.NoError(r, task.Serve(good, queueOf[int, int](r, fmt.Sprint(i)), echo, task.ServeConfig{}))
		}
		bad(task.Serve(good, queueOf[int, int](r, "too many"), echo, task.ServeConfig{}))
		for _, cfg := range []task.ServerConfig{{Concurrency: -1}, {LeaseTTL: -1}, {Mark: time.Microsecond}} {
			s := task.NewServer(r.store, ns, cfg)
			bad(task.Serve(s, q, echo, task.ServeConfig{}))
			bad(s.Run(r.Context()))
		}
		err := task.NewServer(nil, ns, task.ServerConfig{}).Run(r.Context())
		bad(err)
		require.ErrorContains(r, err, "backend")

		type strange struct { // cannot be compared
			task.Backend
			_ []int
		}
		odd := task.NewServer(strange{Backend: r.store}, ns, task.ServerConfig{})
		require.NoError(r, task.Serve(odd, task.NewQueue[int, int](strange{Backend: r.store}, ns, "q", task.Config{}), echo, task.ServeConfig{}))

		r.run(good.Run)
		bad(task.Serve(good, queueOf[int, int](r, "late"), echo, task.ServeConfig{}))
		bad(good.Run(r.Context()))
		got, err := queueOf[int, int](r, "83").Query(r.Context(), 5)
		require.NoError(r, err)
		assert.Equal(r, 5, got)
	})
}
