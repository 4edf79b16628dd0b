package lock_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

var shop = backend.Namespace{Prefix: "shop", Suffix: "lock"}

func ExampleMutex() {
	be := memory.New() // or rueidis.Open(ctx, "redis://localhost:6379")
	defer be.Close()
	ctx := context.Background()

	report := lock.NewMutex(be, shop, "report", lock.Config{TTL: 10 * time.Second, Info: "nightly report"})

	held, err := report.Lock(ctx) // waits its turn
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("held:", held.Name(), held.Valid(), held.Fence() > 0)

	_, err = report.TryLock(ctx) // does not wait
	fmt.Println(err, errors.Is(err, lock.ErrLocked))

	state, _ := report.State(ctx)
	fmt.Println("for:", state.Holders[0].Info)

	fmt.Println(held.Unlock(ctx), context.Cause(held.Context()))
	// Output:
	// held: report true true
	// try lock "report": locked true
	// for: nightly report
	// <nil> lease released
}

// What is written carries the number of the lock that it was written under. The store refuses what comes too late: from
// a process that was stopped and does not know yet that it lost the lock.
func ExampleMutex_Do() {
	be := memory.New()
	defer be.Close()
	ctx := context.Background()

	var last int64 // what the store has seen
	write := func(fence int64, text string) {
		if fence < last {
			fmt.Println("refused:", text)
			return
		}
		last = fence
		fmt.Println("written:", text)
	}

	var late int64
	page := lock.NewMutex(be, shop, "page", lock.Config{})
	_ = page.Do(ctx, func(ctx context.Context) error {
		late = lock.HeldFrom(ctx).Fence()
		return nil
	})
	err := page.Do(ctx, func(ctx context.Context) error {
		write(lock.HeldFrom(ctx).Fence(), "in time")
		write(late, "too late")
		return ctx.Err()
	})
	fmt.Println(err)
	// Output:
	// written: in time
	// refused: too late
	// <nil>
}

// A transfer needs both accounts, and must not hold one while it waits for the other.
func ExampleMulti() {
	be := memory.New()
	defer be.Close()
	ctx := context.Background()

	balance := map[string]int{"alice": 10, "bob": 0}
	transfer := func(from, to string, amount int) error {
		both := lock.NewMulti(be, shop, []string{from, to}, lock.Config{})
		return both.Do(ctx, func(context.Context) error {
			balance[from] -= amount
			balance[to] += amount
			return nil
		})
	}
	done := make(chan error, 2)
	go func() { done <- transfer("alice", "bob", 5) }()
	go func() { done <- transfer("bob", "alice", 2) }() // in the opposite order
	fmt.Println(<-done, <-done, balance)
	// Output:
	// <nil> <nil> map[alice:7 bob:3]
}

func ExampleWithHeld() {
	be := memory.New()
	defer be.Close()
	account := lock.NewMutex(be, shop, "account", lock.Config{})

	withdraw := func(ctx context.Context) {
		held, err := account.Lock(ctx) // the caller may have it already
		if err != nil {
			fmt.Println(err)
			return
		}
		defer held.Unlock(ctx)
		fmt.Println("withdrawn")
	}

	outer, err := account.Lock(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	withdraw(lock.WithHeld(outer.Context(), outer))
	fmt.Println(outer.Valid(), outer.Unlock(context.Background()))
	// Output:
	// withdrawn
	// true <nil>
}

func ExampleParseHolder() {
	value := "host=web-1 pid=4711 since=2025-06-01T12:00:00.123Z id=9f86d081884c7d65/1a info=nightly report"
	holder, ok := lock.ParseHolder(value) // as it stands in the store
	fmt.Println(ok, holder.Host, holder.PID, holder.Since.Format(time.TimeOnly), holder.Info)

	_, ok = lock.ParseHolder("1") // Python's
	fmt.Println(ok)
	// Output:
	// true web-1 4711 12:00:00 nightly report
	// false
}
