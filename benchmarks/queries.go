package benchmarks

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/task"
)

// queryIdle compares the time of a query on an idle queue, whose listener is in another backend, with a round trip.
func queryIdle(ctx context.Context, b *bench) (figure, error) {
	q, err := b.served(ctx, task.DefaultConcurrency, echo)
	if err != nil {
		return figure{}, err
	}
	c, err := b.client()
	if err != nil {
		return figure{}, err
	}
	ns, err := b.space(ctx)
	if err != nil {
		return figure{}, err
	}
	ask := query(q)
	d, err := interleave(b.Rounds,
		b.typical(func() (time.Duration, error) {
			start := time.Now()
			err := ask(ctx, 0)
			return time.Since(start), err
		}),
		b.typical(func() (time.Duration, error) {
			start := time.Now()
			err := doNothing(ctx, c, ns.Lock("nothing"))
			return time.Since(start), err
		}),
	)
	return d.ratio("µs"), err
}

// queries compares the rate of queries with that of requests and replies by hand.
func queries(workers int) func(ctx context.Context, b *bench) (figure, error) {
	return func(ctx context.Context, b *bench) (figure, error) {
		q, err := b.served(ctx, workers, echo)
		if err != nil {
			return figure{}, err
		}
		raw, err := b.rawQueries(ctx, workers)
		if err != nil {
			return figure{}, err
		}
		return b.compareRates(ctx, workers, "queries/s", query(q), raw)
	}
}

// memoryQueue gives a queue in this process that is served.
func (b *bench) memoryQueue(ctx context.Context) (*taskQueue, error) {
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	be := memory.New()
	b.closers = append(b.closers, func() { _ = be.Close() })
	q := newQueue(be, ns, task.ServerConfig{})
	b.listen(ctx, q, echo)
	return q, nil
}

// channels is query with a goroutine and two channels.
func (b *bench) channels() op {
	requests, replies := make(chan int), make(chan int)
	go func() {
		defer close(replies)
		for n := range requests {
			replies <- n
		}
	}()
	b.closers = append(b.closers, func() {
		close(requests)
		<-replies
	})
	return func(_ context.Context, worker int) error {
		requests <- worker
		<-replies
		return nil
	}
}

// memoryQuery compares the time of a query on the memory backend with that of two channels.
func memoryQuery(ctx context.Context, b *bench) (figure, error) {
	q, err := b.memoryQueue(ctx)
	if err != nil {
		return figure{}, err
	}
	return b.compareTimes(ctx, 1, query(q), b.channels())
}

// query has a task done and waits for that.
func query(q *taskQueue) op {
	return func(ctx context.Context, worker int) error {
		_, err := q.Query(ctx, worker)
		return err
	}
}

// rawQueries is query by hand: a list of requests, from which as many servers take them as there are callers, and a list
// for the replies to each caller. It knows no leases, deadlines, results that are kept, or anybody's death.
func (b *bench) rawQueries(ctx context.Context, workers int) (op, error) {
	ns, err := b.taskSpace(ctx)
	if err != nil {
		return nil, err
	}
	requests, replies := ns.TaskQueue("requests"), ns.TaskQueue("replies-")
	server, err := b.blockingClient(workers)
	if err != nil {
		return nil, err
	}
	client, err := b.blockingClient(workers)
	if err != nil {
		return nil, err
	}
	b.serveRaw(ctx, server, workers, requests, replies)
	return func(ctx context.Context, worker int) error {
		name := strconv.Itoa(worker)
		if err := push(ctx, client, requests, name); err != nil {
			return err
		}
		_, err := pop(ctx, client, replies+name)
		return err
	}, nil
}

// nobody is the caller whose request ends a server.
const nobody = "nobody"

// serveRaw starts servers that send each request back to its caller. They end with the bench.
func (b *bench) serveRaw(ctx context.Context, c rueidis.Client, servers int, requests, replies string) {
	ended := make(chan struct{}, servers)
	for range servers {
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				caller, err := pop(ctx, c, requests)
				if err != nil || caller == nobody || push(ctx, c, replies+caller, "done") != nil {
					return
				}
			}
		}()
	}
	b.closers = append(b.closers, func() {
		for range servers {
			_ = push(context.WithoutCancel(ctx), c, requests, nobody)
		}
		for range servers {
			<-ended
		}
	})
}

func push(ctx context.Context, c rueidis.Client, list, element string) error {
	return c.Do(ctx, c.B().Rpush().Key(list).Element(element).Build()).Error()
}

// pop waits for an element.
func pop(ctx context.Context, c rueidis.Client, list string) (string, error) {
	got, err := c.Do(ctx, c.B().Blpop().Key(list).Timeout(0).Build()).AsStrSlice()
	if err != nil {
		return "", err
	}
	return got[1], nil
}

// blockingClient is client, with a connection of their own for so many calls that block.
func (b *bench) blockingClient(calls int) (rueidis.Client, error) {
	option, err := rueidis.ParseURL(b.url)
	if err != nil {
		return nil, err
	}
	option.BlockingPoolSize = calls
	c, err := rueidis.NewClient(option)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, c.Close)
	return c, nil
}
