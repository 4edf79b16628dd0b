package unittest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/pool"
)

// open gives one process' view of the pool. It must be called in the bubble, and so must memory.New.
func open(t *testing.T, be *memory.Backend) *pool.Allocator[pool.None] {
	t.Helper()
	devices, err := pool.New(be, pool.Config[pool.None]{
		Namespace: backend.Namespace{Prefix: "lab", Suffix: "devices"},
		TTL:       time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return devices
}

func TestAMeasurementMayTakeLongerThanALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		devices := open(t, be)
		defer devices.Close()
		if err := devices.Extend(t.Context(), []string{"scope"}); err != nil {
			t.Fatal(err)
		}

		bench := Bench{devices}
		err := bench.Measure(t.Context(), func(ctx context.Context, device string) error {
			select {
			case <-time.After(time.Hour): // which is over at once
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if err != nil {
			t.Error("the device was not kept for an hour:", err)
		}
	})
}

func TestADeviceComesBackWhenItsHolderCrashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()

		// Another process takes the only device and is gone. To close an allocator without giving back its leases is
		// what a crash looks like to everybody else.
		crashed := open(t, be)
		if err := crashed.Extend(t.Context(), []string{"scope"}); err != nil {
			t.Fatal(err)
		}
		if _, err := crashed.MallocKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = crashed.Close()

		devices := open(t, be)
		defer devices.Close()
		crash := time.Now()
		bench := Bench{devices}
		err := bench.Measure(t.Context(), func(context.Context, string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(crash); waited != time.Minute {
			t.Errorf("the device was back after %v, not when its lease was over", waited)
		}
	})
}

func TestABrokenDeviceIsKeptBackForRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		be := memory.New()
		defer be.Close()
		devices := open(t, be)
		defer devices.Close()
		if err := devices.Extend(t.Context(), []string{"broken", "works"}); err != nil {
			t.Fatal(err)
		}

		var tried []string
		bench := Bench{devices}
		err := bench.Measure(t.Context(), func(_ context.Context, device string) error {
			tried = append(tried, device)
			if device == "broken" {
				return ErrBroken
			}
			return nil
		})
		if err != nil || len(tried) != 2 {
			t.Fatalf("tried %v: %v", tried, err)
		}

		free := func() bool {
			lease, err := devices.MallocKey(t.Context(), pool.Only("broken"))
			if err != nil && !errors.Is(err, pool.ErrExhausted) {
				t.Fatal(err)
			}
			if err == nil {
				err = lease.Release(t.Context())
			}
			return err == nil
		}
		<-time.After(Repair - time.Millisecond)
		if free() {
			t.Error("the broken device was in use before it was repaired")
		}
		<-time.After(time.Millisecond)
		if !free() {
			t.Error("the device did not come back")
		}
	})
}
