// Package unittest shows how to test code that uses a pool.
//
// [Bench] is the code: it runs measurements on test devices that are shared by everybody. Its test runs on the memory
// backend in a bubble of testing/synctest, where time is virtual: an hour of leases passes in milliseconds, and what is
// to happen after a minute happens after exactly a minute. There is nothing to mock and nothing to wait for.
package unittest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/pool"
)

// ErrBroken is what a measurement says when the device is at fault.
var ErrBroken = errors.New("device is broken")

// Repair is how long a broken device is kept back.
const Repair = 10 * time.Minute

// Bench runs measurements on devices, one at a time on each.
type Bench struct {
	// Devices is made by the caller: on Redis in production, in memory in tests.
	Devices *pool.Allocator[pool.None]
}

// Measure waits for a device and runs f on it. The context that f gets ends when the device is lost to somebody else. A
// broken device is kept back, and f gets another one.
func (b *Bench) Measure(ctx context.Context, f func(ctx context.Context, device string) error) error {
	for {
		err := b.once(ctx, f)
		if !errors.Is(err, ErrBroken) {
			return err
		}
	}
}

func (b *Bench) once(ctx context.Context, f func(ctx context.Context, device string) error) error {
	lease, err := b.Devices.AcquireKey(ctx)
	if err != nil {
		return fmt.Errorf("no device: %w", err)
	}
	defer lease.Release(ctx)
	err = f(lease.Context(), lease.Key())
	if errors.Is(err, ErrBroken) {
		if err := lease.SetUnhealthy(ctx, Repair); err != nil {
			return err
		}
	}
	return err
}
