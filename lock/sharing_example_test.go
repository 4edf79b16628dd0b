package lock_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

func ExampleRWMutex() {
	be := memory.New()
	defer be.Close()
	ctx := context.Background()

	catalog := lock.NewRWMutex(be, shop, "catalog", lock.Config{})

	one, _ := catalog.RLock(ctx)
	two, _ := catalog.RLock(ctx)
	fmt.Println("readers:", one.Valid(), two.Valid())

	_, err := catalog.TryLock(ctx)
	fmt.Println("writer:", errors.Is(err, lock.ErrLocked))

	_, err = catalog.Lock(lock.WithHeld(ctx, one))
	fmt.Println("reader that wants to write:", errors.Is(err, lock.ErrUpgrade))

	_ = one.Unlock(ctx)
	_ = two.Unlock(ctx)
	fmt.Println(catalog.Do(ctx, func(context.Context) error {
		fmt.Println("written")
		return nil
	}))
	// Output:
	// readers: true true
	// writer: true
	// reader that wants to write: true
	// written
	// <nil>
}

// A writer goes on as a reader of what it has written: nobody else writes in between.
func ExampleRWMutex_Downgrade() {
	be := memory.New()
	defer be.Close()
	ctx := context.Background()

	catalog := lock.NewRWMutex(be, shop, "catalog", lock.Config{})
	held, _ := catalog.Lock(ctx)
	defer held.Unlock(ctx)
	fmt.Println(catalog.Downgrade(ctx, held))

	other, err := catalog.TryRLock(ctx)
	fmt.Println("another reader:", err)
	defer other.Unlock(ctx)
	_, err = catalog.TryLock(ctx)
	fmt.Println("another writer:", err)
	// Output:
	// <nil>
	// another reader: <nil>
	// another writer: try lock "catalog": locked
}

func ExampleSemaphore() {
	be := memory.New()
	defer be.Close()
	ctx := context.Background()

	seats := lock.NewSemaphore(be, shop, "editor seats", 3, lock.Config{})
	held, _ := seats.Acquire(ctx, 2)
	fmt.Println("held:", held.Units())

	_, err := seats.TryAcquire(ctx, 2)
	fmt.Println(err)

	state, _ := seats.State(ctx)
	fmt.Println("of", state.Limit, "seats are taken:", state.Units)

	// Another process believes in another number.
	_, err = lock.NewSemaphore(be, shop, "editor seats", 5, lock.Config{}).TryAcquire(ctx, 1)
	var differs *backend.LimitError
	fmt.Println(errors.As(err, &differs), differs.Asked, differs.Stored)
	fmt.Println(held.Unlock(ctx))
	// Output:
	// held: 2
	// try acquire "editor seats": locked
	// of 3 seats are taken: 2
	// true 5 3
	// <nil>
}
