package memory

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Stats counts a queue; see [backend.Queues].
func (b *Backend) Stats(ctx context.Context, req backend.StatsRequest) (backend.QueueStats, error) {
	ts, now, err := b.openTasks(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.QueueStats{}, fail("stats", req.Namespace, err)
	}
	defer ts.unlock()
	q := ts.queues[req.Queue]
	if q == nil {
		return backend.QueueStats{}, nil
	}
	for q.graves.next() <= now {
		ts.forget(q.graves.slots[0].t)
	}
	stats := backend.QueueStats{
		Scheduled: len(q.scheduled.slots), Waiting: q.waiting(), Running: len(q.running.slots), Dead: q.dead.n, Paused: q.paused,
		Done: q.totals[backend.TaskDone], Failed: q.totals[backend.TaskFailed],
		Expired: q.totals[backend.TaskExpired], Cancelled: q.totals[backend.TaskCancelled],
	}
	for i := range q.lanes {
		if t := q.lanes[i].head; t != nil {
			stats.Oldest = max(stats.Oldest, time.Duration(now-t.submitted))
		}
	}
	for _, p := range q.posts {
		if p.until > now {
			stats.Listeners++
		}
	}
	return stats, nil
}
