package lease

import (
	"context"
	"math"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Extend adds d to what is left of the lease, and has it that TTL from now on, as [Hold.Update] does. What has no end has
// none afterwards.
func (h *Hold) Extend(ctx context.Context, d time.Duration) error {
	return h.adjust(ctx, func() (time.Duration, bool) {
		if h.ttl == backend.NoExpiry || h.deadlineAt() == never {
			return backend.NoExpiry, h.kept
		}
		left := h.ttl
		if !h.claim { // else it is about to get its TTL
			left = h.deadlineAt().Sub(h.group.k.now()) + Margin(h.ttl)
		}
		if d > math.MaxInt64-left {
			return math.MaxInt64, h.kept
		}
		return left + d, h.kept
	})
}
