package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/pool"
)

// A key is all that is leased here: there is no object to configure, the command is told by its environment.
type (
	allocator = pool.Allocator[pool.None]
	lease     = pool.Lease[pool.None]
)

// run does what the command line asks for and gives the exit code.
func run(args []string, stderr io.Writer) int {
	opt, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var code int
	if err == nil {
		code, err = runLeased(opt, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "run:", err)
		return failure(err)
	}
	return code
}

// runLeased runs the command under a lease and gives the command's exit code.
func runLeased(opt options, stderr io.Writer) (int, error) {
	cmd := exec.Command(opt.command[0], opt.command[1:]...)
	if cmd.Err != nil { // which is better known before one waits in line
		return 0, cmd.Err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr

	ctx := context.Background()
	signals := notifySignals()
	be, err := rueidis.Open(ctx, opt.url)
	if err != nil {
		return 0, err
	}
	defer be.Close()
	members, err := pool.New(be, pool.Config[pool.None]{
		Namespace: backend.Namespace{Prefix: opt.prefix, Suffix: opt.pool},
		TTL:       opt.ttl,
	})
	if err != nil {
		return 0, err
	}
	defer members.Close()
	if err := members.Extend(ctx, opt.extend); err != nil {
		return 0, err
	}

	l, err := acquire(ctx, members, opt, signals)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err := l.Release(ctx); err != nil && !errors.Is(err, pool.ErrNotHeld) {
			fmt.Fprintln(stderr, "run:", err)
		}
	}()
	cmd.Env = append(os.Environ(), environment(l)...)
	return supervise(l.Context(), cmd, signals)
}

// environment is what the command is told.
func environment(l *lease) []string {
	return []string{
		"POOL_MEMBER=" + l.Key(),
		"POOL_FENCE=" + strconv.FormatInt(l.Fence(), 10),
		"POOL_DEADLINE=" + l.Deadline().Format(time.RFC3339),
	}
}
