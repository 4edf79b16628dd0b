package pool

import (
	"context"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

// CheckHealth checks all members of the pool, some at a time: it takes each, configures an object with it, opens, checks
// and closes that, and keeps back what fails; see [policy.CheckHealth]. It does not go through the pool's policy. When
// it fails, also because ctx ended, the report says how far it came.
func (a *Allocator[T]) CheckHealth(ctx context.Context, cfg policy.CheckConfig[T]) (policy.Report, error) {
	if a.closed.Load() {
		return policy.Report{}, a.fail("check health", backend.ErrClosed)
	}
	report, err := policy.CheckHealth(ctx, a.view(), cfg)
	return report, a.fail("check health", err)
}

// RefreshAll makes what all sources of the updater name together the content of the pool, now, and tells how many
// members that are; see [policy.RefreshAll]. Members stay in the pool for ttl; 0 and backend.NoExpiry: until they are
// removed.
func (a *Allocator[T]) RefreshAll(ctx context.Context, u *policy.Updater, ttl time.Duration) (int, error) {
	if a.closed.Load() {
		return 0, a.fail("refresh", backend.ErrClosed)
	}
	n, err := policy.RefreshAll(ctx, a.view(), u, ttl)
	return n, a.fail("refresh", err)
}
