package rueidis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// Queue looks at the line; see [backend.Lines]. It is one round trip.
func (b *Backend) Queue(ctx context.Context, req backend.QueueRequest) (backend.QueueReply, error) {
	var none backend.QueueReply
	if err := req.Validate(); err != nil {
		return none, b.fail(ctx, "queue", req.Namespace, err)
	}
	sp, err := b.space(req.Namespace)
	if err != nil {
		return none, b.fail(ctx, "queue", req.Namespace, err)
	}
	keys := []string{req.Namespace.Line(), req.Namespace.LineRequests()}
	if req.Name != "" {
		keys = []string{req.Namespace.LockLine(req.Name), req.Namespace.LockRequests()}
	}
	reply, err := b.exec(ctx, "queue", req.Namespace, queueScript, keys,
		[]string{req.Token, strconv.Itoa(req.Limit), req.Name})
	if err != nil {
		return none, err
	}
	queue, ok := queueOf(&reply)
	if !ok {
		return none, b.fail(ctx, "queue", sp.ns, errReply)
	}
	return queue, nil
}

// queueOf reads the reply of queue.lua.
func queueOf(reply *rueidis.RedisMessage) (queue backend.QueueReply, ok bool) {
	list, err := reply.ToArray()
	if err != nil || len(list) < 2 {
		return queue, false
	}
	length, err1 := list[0].AsInt64()
	position, err2 := list[1].AsInt64()
	if err1 != nil || err2 != nil {
		return queue, false
	}
	queue.Length, queue.Position = int(length), int(position)
	for i := range list[2:] {
		fields, err := list[2+i].ToArray()
		if err != nil || len(fields) != 4 {
			return queue, false
		}
		token, err1 := fields[0].ToString()
		priority, err2 := fields[1].AsInt64()
		count, err3 := fields[2].AsInt64()
		since, err4 := fields[3].AsInt64()
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			return queue, false
		}
		queue.Waiters = append(queue.Waiters, backend.Waiter{
			Token: token, Priority: int(priority), Count: int(count), Since: time.UnixMicro(since),
		})
	}
	return queue, true
}
