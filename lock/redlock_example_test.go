package lock_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

// Three servers that know nothing of each other. One of them is away, which two can do without.
func ExampleRedlock() {
	servers := make([]lock.RedlockBackend, 3)
	for i := range servers {
		be := memory.New() // or rueidis.Open, of a server each
		defer be.Close()
		if i == 2 {
			_ = be.Close()
		}
		servers[i] = be
	}
	locks, err := lock.NewRedlock(servers, shop, lock.RedlockConfig{TTL: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locks.Close()
	ctx := context.Background()

	held, err := locks.TryLock(ctx, "invoice-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("held:", held.Valid())

	_, err = locks.TryLock(ctx, "invoice-17")
	fmt.Println("for another:", errors.Is(err, lock.ErrLocked))

	fmt.Println(held.Unlock(ctx))
	// Output:
	// held: true
	// for another: true
	// <nil>
}
