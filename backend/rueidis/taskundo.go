package rueidis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
)

var taskUndoScript = rueidis.NewLuaScript(luascript.TaskUndo)

// putBack puts the tasks back that lost fetches were granted, which asked for the same TTL. It looks at the leases of their
// queues whose ends those calls can have written, as [space.reclaim] does.
func (sp *space) putBack(ctx context.Context, ttl time.Duration, page []debt) error {
	tokens := make(map[string][]string)
	for _, x := range page {
		for _, q := range x.queues {
			tokens[q] = append(tokens[q], x.token)
		}
	}
	first := oldest(page)
	for queue, tokens := range tokens {
		if err := sinceThen(first, func(elapsed time.Duration) (time.Duration, error) {
			return sp.putBackSince(ctx, queue, ttl, elapsed, tokens)
		}); err != nil {
			return err
		}
	}
	return nil
}

// putBackSince looks among the leases that calls can have given that were sent at most elapsed ago, and tells how long it
// took to ask.
func (sp *space) putBackSince(
	ctx context.Context, queue string, ttl, elapsed time.Duration, tokens []string,
) (took time.Duration, err error) {
	argv := make([]string, 0, 6+len(tokens))
	argv = append(argv, sp.taskKeys.head, queue, strconv.FormatInt(backend.Millis(elapsed), 10),
		strconv.FormatInt(backend.Millis(ttl), 10), "0", strconv.Itoa(leasePage))
	argv = append(argv, tokens...)
	begin, back := time.Now(), int64(0)
	for from := int64(0); ; {
		n, err := sp.parting(ctx, invocation{taskUndoScript, sp.taskKeys.keys, argv})
		if err != nil {
			return 0, err
		}
		if len(n) != 2 {
			return 0, errReply
		}
		if took == 0 {
			took = max(time.Since(begin), 1)
		}
		back += n[1]
		if n[0] < leasePage {
			break
		}
		from += n[0] - n[1]
		argv[4] = strconv.FormatInt(from, 10)
	}
	if back > 0 {
		sp.b.log.Info("put back what lost calls were granted", "namespace", sp.ns.String(), "queue", queue, "tasks", back)
	}
	return took, nil
}
