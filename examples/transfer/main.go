// Command transfer moves money between accounts, from several workers at once. A transfer needs both accounts: it locks
// them in one step, all or none, in whatever order it names them, and so never waits for one while it holds the other.
// Nobody waits for ever, and no money is made or lost.
//
//	go run ./examples/transfer                                    # in memory
//	REDIS_URL=redis://localhost:6379 go run ./examples/transfer
//
// On Redis each worker has connections of its own, as it would in a process of its own. The accounts can only be read
// and written one at a time, as if each were a file. To have them refuse what comes too late, from a worker that was
// stopped, is the subject of examples/counter.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	workers   = 4
	transfers = 50 // by each of them
)

func main() {
	ctx := context.Background()
	connect := inMemory()
	if url := os.Getenv("REDIS_URL"); url != "" {
		connect = func() (backend.Backend, error) { return rueidis.Open(ctx, url) }
	}
	ns := backend.Namespace{Prefix: "example", Suffix: "accounts"}
	if err := trade(ctx, connect, ns, newAccounts(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// inMemory has all workers share one backend, because they are in one process.
func inMemory() func() (backend.Backend, error) {
	be := memory.New()
	return func() (backend.Backend, error) { return be, nil }
}

// accounts are balances by name. Each can be read and written by itself, and that is all.
type accounts map[string]*atomic.Int64

func newAccounts() accounts {
	all := make(accounts)
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		all[name] = new(atomic.Int64)
		all[name].Store(100)
	}
	return all
}

func (a accounts) total() (sum int64) {
	for _, account := range a {
		sum += account.Load()
	}
	return sum
}

// pair is two accounts, by chance.
func (a accounts) pair() (from, to string) {
	names := make([]string, 0, len(a))
	for name := range a {
		names = append(names, name)
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[0], names[1]
}

// trade has the workers do their transfers.
func trade(
	ctx context.Context, connect func() (backend.Backend, error), ns backend.Namespace, all accounts, out io.Writer,
) error {
	before := all.total()
	errs := make([]error, workers)
	var working sync.WaitGroup
	for i := range workers {
		be, err := connect()
		if err != nil {
			return err
		}
		defer be.Close()
		defer working.Wait() // before that
		working.Go(func() { errs[i] = work(ctx, be, ns, all) })
	}
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d workers did %d transfers each\n", workers, transfers)
	fmt.Fprintf(out, "there was %d before, and there is %d now\n", before, all.total())
	return nil
}

func work(ctx context.Context, be lock.Backend, ns backend.Namespace, all accounts) error {
	for done := 0; done < transfers; {
		from, to := all.pair()
		err := transfer(ctx, be, ns, all, from, to, 1+rand.Int64N(50))
		if err == nil {
			done++
		} else if !errors.Is(err, errNoFunds) {
			return err
		}
	}
	return nil
}

var errNoFunds = errors.New("insufficient funds")

// transfer moves an amount from one account to another.
func transfer(
	ctx context.Context, be lock.Backend, ns backend.Namespace, all accounts, from, to string, amount int64,
) error {
	both := lock.NewMulti(be, ns, []string{from, to}, lock.Config{})
	return both.Do(ctx, func(ctx context.Context) error {
		source, target := all[from].Load(), all[to].Load()
		if source < amount {
			return fmt.Errorf("%s to %s: %w", from, to, errNoFunds)
		}
		<-time.After(time.Millisecond) // what it takes to read; whoever did not lock would come in between
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx) // the locks are over: nothing was written yet
		}
		all[from].Store(source - amount)
		all[to].Store(target + amount)
		return nil
	})
}
