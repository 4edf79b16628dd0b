// Command leader elects one of several processes, and elects another one when that is gone.
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/leader -id a   # and b, c, ... in other terminals
//	go run ./examples/leader                                          # three of them in this process, to watch
//
// Press Ctrl-C where the leader runs: the next in line leads at once. Kill it with kill -9, or cut it off from Redis:
// the next leads when -ttl is over. One that is cut off notices, and leads no more before the other does.
//
// It is a lock with a name for the office, and a heartbeat for who could be elected. The program is in candidate.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
)

func main() {
	id := flag.String("id", "", "`name` of this candidate")
	group := flag.String("group", "example", "`name` of those who elect a leader among them")
	ttl := flag.Duration("ttl", 2*time.Second, "`time` after which one who is silent is dead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)

	url := os.Getenv("REDIS_URL")
	ns := backend.Namespace{Prefix: *group, Suffix: "leader"}
	connect := inMemory()
	if url != "" {
		connect = func() (backend.Backend, error) { return rueidis.Open(ctx, url) }
	}
	var err error
	switch {
	case *id == "":
		err = show(ctx, connect, ns, *ttl, printTo(os.Stdout))
	case url == "":
		err = errors.New("a candidate needs REDIS_URL, to meet the others")
	default:
		err = stand(ctx, connect, ns, *id, *ttl, printTo(os.Stdout))
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "leader:", err)
		os.Exit(1)
	}
}

// inMemory has all candidates share one backend, because they are in one process.
func inMemory() func() (backend.Backend, error) {
	be := memory.New()
	return func() (backend.Backend, error) { return be, nil }
}

// printTo prints lines, one at a time.
func printTo(out io.Writer) func(format string, args ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, format+"\n", args...)
	}
}

// stand has this process be a candidate until ctx ends.
func stand(
	ctx context.Context, connect func() (backend.Backend, error), ns backend.Namespace, id string, ttl time.Duration,
	say func(string, ...any),
) error {
	be, err := connect()
	if err != nil {
		return err
	}
	defer be.Close()
	c := newCandidate(be, ns, id, ttl)
	c.say = say
	var watching sync.WaitGroup
	watching.Go(func() { watch(ctx, c.members, say, nil) })
	c.run(ctx)
	watching.Wait()
	return nil
}
