package rueidis

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Stats implements [backend.Queues]: one round trip.
func (b *Backend) Stats(ctx context.Context, req backend.StatsRequest) (backend.QueueStats, error) {
	sp, err := b.ready(ctx, "stats", req.Namespace, req.Validate())
	if err != nil {
		return backend.QueueStats{}, err
	}
	reply, err := sp.onTasks(ctx, "stats", taskStatsScript, req.Queue)
	if err != nil {
		return backend.QueueStats{}, err
	}
	n, err := reply.AsIntSlice()
	if err != nil || len(n) != 11 {
		return backend.QueueStats{}, b.fail(ctx, "stats", sp.ns, unexpected("stats", &reply))
	}
	return backend.QueueStats{
		Scheduled: int(n[0]), Waiting: int(n[1]), Running: int(n[2]), Dead: int(n[3]),
		Oldest: time.Duration(n[4]) * time.Millisecond, Listeners: int(n[5]), Paused: n[6] == 1,
		Done: n[7], Failed: n[8], Expired: n[9], Cancelled: n[10],
	}, nil
}
