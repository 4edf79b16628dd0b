// Command counter has several workers increment one counter, each under a lock: read, add one, write. One of them is
// stopped between reading and writing, for longer than its lock lasts, and notices nothing. What it writes then is
// refused, because the store checks fences, and no increment is lost.
//
//	go run ./examples/counter                                    # in memory
//	REDIS_URL=redis://localhost:6379 go run ./examples/counter
//
// On Redis each worker has connections of its own, as it would in a process of its own. The store that is protected
// is in store.go. No lock that runs out by itself can do without one like it: between the last look at the lock and
// the write a process can be stopped for as long as its machine likes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	workers    = 4
	increments = 25 // by each of them
)

func main() {
	ctx := context.Background()
	connect := inMemory()
	if url := os.Getenv("REDIS_URL"); url != "" {
		connect = func() (backend.Backend, error) { return rueidis.Open(ctx, url) }
	}
	ns := backend.Namespace{Prefix: "example", Suffix: "counter"}
	if _, err := count(ctx, connect, ns, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// inMemory has all workers share one backend, because they are in one process.
func inMemory() func() (backend.Backend, error) {
	be := memory.New()
	return func() (backend.Backend, error) { return be, nil }
}

// count has the workers count.
func count(
	ctx context.Context, connect func() (backend.Backend, error), ns backend.Namespace, out io.Writer,
) (*store, error) {
	var counter store
	var all []*worker
	for range workers {
		be, err := connect()
		if err != nil {
			return nil, err
		}
		defer be.Close()
		all = append(all, &worker{
			store: &counter,
			lock:  lock.NewMutex(be, ns, "counter", lock.Config{}),
		})
	}

	// The first worker has the lock before the others begin. It is stopped until they are done, which they can only be
	// when its lock has run out.
	unlucky, others := all[0], all[1:]
	var rest sync.WaitGroup
	errs := make([]error, workers)
	holds, begin := context.WithCancel(ctx)
	unlucky.stopped = func() {
		begin()
		rest.Wait()
	}
	for i, w := range others {
		rest.Go(func() {
			<-holds.Done()
			errs[i] = w.work(ctx)
		})
	}
	errs[len(others)] = unlucky.work(ctx)
	begin() // if it never came so far
	rest.Wait()

	fmt.Fprintf(out, "%d workers incremented %d times each: %d\n", workers, increments, counter.value)
	fmt.Fprintf(out, "writes and reads that were refused: %d\n", counter.refused)
	return &counter, errors.Join(errs...)
}

// worker increments the counter.
type worker struct {
	store   *store
	lock    *lock.Mutex
	stopped func() // returns when the worker goes on; nil: it is not stopped
}

func (w *worker) work(ctx context.Context) error {
	for done := 0; done < increments; {
		// Whether the increment counts is for the store to say, and not for the lock: one that was lost after the
		// write changes nothing.
		switch err := w.increment(ctx); {
		case err == nil:
			done++
		case !errors.Is(err, errStale):
			return err
		}
	}
	return nil
}

func (w *worker) increment(ctx context.Context) error {
	var opts []lock.Option
	if w.stopped != nil {
		opts = append(opts, lock.TTL(time.Second), lock.NoRenewal()) // a process that is stopped does not renew either
	}
	held, err := w.lock.Lock(ctx, opts...)
	if err != nil {
		return err
	}
	defer held.Unlock(ctx)

	value, err := w.store.read(held.Fence())
	if err != nil {
		return err
	}
	if w.stopped != nil {
		w.stopped()
		w.stopped = nil
		// held.Valid would tell by now that the lock is over. But who looks can be stopped behind that look as well.
	}
	return w.store.write(held.Fence(), value+1)
}
