package benchmarks

import (
	"context"
	"strconv"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// asynqTask is the type of the tasks of the other library.
const asynqTask = "task"

// An asynqQueue is a queue of asynq, with the client that it is used with.
type asynqQueue struct {
	*asynq.Client
	redis *redis.Client
	name  string
}

// asynqQueue gives a new one, with a connection for each worker. Its keys are removed at the end.
func (b *bench) asynqQueue(ctx context.Context, workers int) (*asynqQueue, error) {
	c, err := b.goRedis(workers)
	if err != nil {
		return nil, err
	}
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	q := &asynqQueue{Client: asynq.NewClientFromRedisClient(c), redis: c, name: ns.Prefix}
	b.closers = append(b.closers, func() { c.SRem(context.WithoutCancel(ctx), "asynq:queues", q.name) })
	return q, b.sweep(ctx, "asynq:{"+q.name+"}:")
}

// enqueue submits a task.
func (q *asynqQueue) enqueue(ctx context.Context, number int) error {
	payload := []byte(strconv.Itoa(number))
	_, err := q.EnqueueContext(ctx, asynq.NewTask(asynqTask, payload), asynq.Queue(q.name))
	return err
}

// serve has handlers do the tasks of the queue until stop is called.
func (q *asynqQueue) serve(b *bench, handlers int, do func() error) (stop func(), err error) {
	s := asynq.NewServerFromRedisClient(q.redis, asynq.Config{
		Concurrency: handlers, Queues: map[string]int{q.name: 1}, TaskCheckInterval: b.Sizes.Look, LogLevel: asynq.FatalLevel,
	})
	return s.Shutdown, s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return do() }))
}
