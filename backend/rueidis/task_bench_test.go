package rueidis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// crowd has n goroutines share b.N steps.
func crowd(b *testing.B, n int, step func(i int)) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for {
				i := left.Add(-1)
				if i < 0 {
					return
				}
				step(int(i))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// ended fails if a listener has ended for another reason than that it had to.
func ended(b *testing.B, err error) {
	b.Helper()
	if err != nil && !errors.Is(err, context.Canceled) {
		b.Error(err)
	}
}

func benchTask(ns backend.Namespace) backend.SubmitRequest {
	return backend.SubmitRequest{
		Namespace: ns, Queue: "q", ID: backend.NewToken(), Fresh: true, Payload: []byte(`{"width":640}`),
		Timeout: time.Minute, Retention: time.Second, MaxDeaths: 3,
	}
}

// serveTasks runs a listener that has done what it gets at once, each task on a goroutine of its own, until ctx ends.
func serveTasks(ctx context.Context, be *Backend, ns backend.Namespace, room int) error {
	var running atomic.Int64
	ended := make(chan struct{}, 1)
	listener := backend.NewToken()
	for ctx.Err() == nil {
		free := room - int(running.Load())
		got, err := be.Fetch(ctx, backend.FetchRequest{
			Namespace: ns, Listener: listener, Token: backend.NewToken(), TTL: time.Minute, Mark: time.Minute,
			Max: free, Queues: []backend.FetchQueue{{Name: "q", Room: free}},
			Lanes: []backend.FetchLane{{Class: backend.ClassHigh, Max: room}, {Max: room}, {Class: backend.ClassLow, Max: room}},
		})
		if err != nil {
			return err
		}
		for _, g := range got.Tasks {
			running.Add(1)
			go func() {
				_, _ = be.Report(context.Background(), backend.ReportRequest{Namespace: ns, Items: []backend.TaskReport{
					{ID: g.Task.ID, Token: g.Token, Kind: backend.ReportDone, Data: []byte(`"done"`)},
				}})
				if int(running.Add(-1)) == room-1 {
					select {
					case ended <- struct{}{}:
					default:
					}
				}
			}()
		}
		if got.Idle {
			select {
			case <-got.Wake:
			case <-ctx.Done():
			}
		} else if int(running.Load()) == room {
			<-ended
		}
	}
	return nil
}

func BenchmarkTasks(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("query-%d", n), func(b *testing.B) {
			be, server, ns := open(b), open(b), backend.Namespace{Prefix: "bench", Suffix: backend.NewToken()}
			ctx, stop := context.WithCancel(b.Context())
			served := make(chan error, 1)
			go func() { served <- serveTasks(ctx, server, ns, n) }()
			crowd(b, n, func(int) {
				req := benchTask(ns)
				req.Watch = true
				reply, err := be.Submit(b.Context(), req)
				if err != nil {
					b.Error(err)
					return
				}
				if c := <-reply.Watching.Changes; c.Task.State != backend.TaskDone {
					b.Error(c)
				}
			})
			stop()
			ended(b, <-served)
		})
		b.Run(fmt.Sprintf("submit-%d", n), func(b *testing.B) {
			be, ns := open(b), backend.Namespace{Prefix: "bench", Suffix: backend.NewToken()}
			crowd(b, n, func(int) {
				if _, err := be.Submit(b.Context(), benchTask(ns)); err != nil {
					b.Error(err)
				}
			})
		})
		b.Run(fmt.Sprintf("process-%d", n), func(b *testing.B) {
			be, ns := open(b), backend.Namespace{Prefix: "bench", Suffix: backend.NewToken()}
			const submitters = 64
			var wg sync.WaitGroup
			for w := range submitters {
				wg.Go(func() {
					for i := w; i < b.N; i += submitters {
						if _, err := be.Submit(b.Context(), benchTask(ns)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			ctx, stop := context.WithCancel(b.Context())
			served := make(chan error, 1)
			b.ResetTimer()
			go func() { served <- serveTasks(ctx, be, ns, n) }()
			for {
				s, err := be.Stats(b.Context(), backend.StatsRequest{Namespace: ns, Queue: "q"})
				if err != nil || int(s.Done) >= b.N {
					break
				}
				pauseFor(b.Context(), 2*time.Millisecond)
			}
			b.StopTimer()
			stop()
			ended(b, <-served)
		})
		b.Run(fmt.Sprintf("raw-query-%d", n), func(b *testing.B) { rawQueries(b, n) })
	}
}

// rawQueries does with RPUSH and BLPOP alone what a query is.
func rawQueries(b *testing.B, n int) {
	option, err := rueidis.ParseURL(redistest.URL(b))
	require.NoError(b, err)
	option.BlockingPoolSize = 2*n + 16
	client, err := rueidis.NewClient(option)
	require.NoError(b, err)
	defer client.Close()
	name := backend.NewToken()
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := client.Do(ctx, client.B().Blpop().Key(name).Timeout(1).Build()).AsStrSlice()
				if err == nil {
					client.Do(ctx, client.B().Rpush().Key(name+got[1]).Element("done").Build())
				}
			}
		})
	}
	crowd(b, n, func(i int) {
		id := strconv.Itoa(i)
		client.Do(ctx, client.B().Rpush().Key(name).Element(id).Build())
		if err := client.Do(ctx, client.B().Blpop().Key(name+id).Timeout(5).Build()).Error(); err != nil {
			b.Error(err)
		}
	})
	stop()
	wg.Wait()
}
