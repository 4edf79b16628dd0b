package main

import (
	"context"
	"fmt"
	"os"

	"github.com/redisallocator/redisallocator/pool"
)

// interrupted is the error of a wait that a signal has ended.
type interrupted struct{ by os.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("waiting for a member: %v", i.by) }

// acquire waits for a member, until it has one, opt.wait is over, or a signal comes.
func acquire(ctx context.Context, members *allocator, opt options, signals <-chan os.Signal) (*lease, error) {
	wait, giveUp := context.WithCancelCause(ctx)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case s := <-signals:
			giveUp(interrupted{by: s})
		case <-over: // and not giveUp, which would end the context of the lease as well
		}
	}()
	var options []pool.Option
	if opt.wait > 0 {
		options = append(options, pool.MaxWait(opt.wait))
	}
	l, err := members.AcquireKey(wait, options...)
	if err != nil && wait.Err() != nil {
		err = context.Cause(wait)
	}
	return l, err
}
