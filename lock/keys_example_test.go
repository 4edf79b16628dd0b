package lock_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

// A job that one process at a time may do, the plain way: who is late does without.
func ExampleKeys() {
	ctx := context.Background()
	be := memory.New() // or rueidis.Open(ctx, "redis://localhost:6379")
	defer be.Close()

	keys := lock.NewKeys(be, backend.Namespace{Prefix: "shop", Suffix: "lock"})
	mine, err := keys.Lock(ctx, "report", "worker-1", 10*time.Minute)
	fmt.Println("worker-1 has it:", mine, err)
	mine, err = keys.Lock(ctx, "report", "worker-2", 10*time.Minute)
	fmt.Println("worker-2 has it:", mine, err)

	who, _, err := keys.Value(ctx, "report")
	fmt.Println("it is", who, err)
	status, err := keys.Status(ctx, "report", time.Minute)
	fmt.Println("for somebody who could wait a minute it is", status, err)

	was, err := keys.Unlock(ctx, "report")
	fmt.Println("was locked:", was, err)
	// Output:
	// worker-1 has it: true <nil>
	// worker-2 has it: false <nil>
	// it is worker-1 <nil>
	// for somebody who could wait a minute it is unavailable <nil>
	// was locked: true <nil>
}

// Only what is newer than everything before it passes, whoever saw that.
func ExampleKeys_SetIf() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()

	keys := lock.NewKeys(be, backend.Namespace{Prefix: "shop", Suffix: "lock"})
	for _, version := range []float64{3, 5, 4, 5, 6} {
		newer, err := keys.SetIf(ctx, "prices", lock.GT, version, "", time.Hour)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(version, newer)
	}
	// Output:
	// 3 true
	// 5 true
	// 4 false
	// 5 false
	// 6 true
}

// Devices that are marked as in use by hand, and a board that shows them.
func ExamplePool() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()

	devices := lock.NewPool(be, backend.Namespace{Prefix: "lab", Suffix: "lock-pool"})
	if _, err := devices.Extend(ctx, []string{"scope", "printer", "robot"}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := devices.Locks().Lock(ctx, "robot", "alice", time.Hour); err != nil {
		fmt.Println(err)
		return
	}
	for device, err := range devices.States(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %v %q\n", device.Name, device.Status(2*time.Hour), device.Value)
	}
	locked, free, err := devices.Counts(ctx)
	fmt.Println("locked:", locked, "free:", free, err)
	// Unordered output:
	// printer: free ""
	// robot: locked "alice"
	// scope: free ""
	// locked: 1 free: 2 <nil>
}

// Workers that know of each other.
func ExampleHeartbeat() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()

	workers := lock.NewHeartbeat(be, backend.Namespace{Prefix: "shop", Suffix: "workers"}, lock.HeartbeatConfig{
		TTL:  300 * time.Millisecond,
		Info: "10.0.0.7:8080",
	})
	me, err := workers.Join(ctx, "worker-1") // "" has it find an id
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = me.Leave(ctx) }()
	other, err := workers.Join(ctx, "worker-2") // in another process, usually
	if err != nil {
		fmt.Println(err)
		return
	}

	living, err := workers.Living(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range living {
		fmt.Println(l.ID, "at", l.Holder.Info)
	}
	// The context of a member ends when the others may take it for dead.
	for change := range workers.Watch(me.Context()) {
		if change.Err != nil {
			continue // a watch goes on
		}
		fmt.Println(change.Living.ID, change.Kind)
		if change.Kind == lock.Left {
			break
		}
		if change.Living.ID == "worker-2" {
			if err := other.Leave(ctx); err != nil {
				fmt.Println(err)
				return
			}
		}
	}
	// Output:
	// worker-1 at 10.0.0.7:8080
	// worker-2 at 10.0.0.7:8080
	// worker-1 joined
	// worker-2 joined
	// worker-2 left
}
