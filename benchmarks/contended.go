package benchmarks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

const (
	contendProcesses = 4
	contendWorkers   = 16 // in each

	contendServer = "REDISALLOCATOR_CONTEND_SERVER"
	contendPrefix = "REDISALLOCATOR_CONTEND_PREFIX"
)

// contended compares how often a second one lock is taken, by as many goroutines as there are in all processes together,
// who give it back at once.
func contended(ctx context.Context, b *bench) (figure, error) {
	ns, err := b.space(ctx)
	if err != nil {
		return figure{}, err
	}
	all := make([]*contender, contendProcesses)
	for i := range all {
		if all[i], err = b.startContender(ctx, ns); err != nil {
			return figure{}, err
		}
	}
	contend := func(who string) side {
		return func() (float64, error) {
			for _, c := range all {
				if err := c.start(who, b.Duration); err != nil {
					return 0, err
				}
			}
			sum, errs := 0.0, make([]error, 0, len(all))
			for _, c := range all {
				perSecond, err := c.result()
				sum += perSecond
				errs = append(errs, err)
			}
			return sum, errors.Join(errs...)
		}
	}
	d, err := interleave(b.Rounds, contend("ours"), contend("other"))
	return d.ratio("locks/s"), err
}

// A contender is a second process of this program, in which main has called [Contend].
type contender struct {
	in  io.Writer
	out *bufio.Reader
}

// startContender starts one and waits until it is connected. It ends when its input does.
func (b *bench) startContender(ctx context.Context, ns backend.Namespace) (*contender, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), contendServer+"="+b.url, contendPrefix+"="+ns.Prefix)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	c := &contender{in, bufio.NewReader(out)}
	_, err = c.result()
	return c, err
}

func (c *contender) start(who string, d time.Duration) error {
	_, err := fmt.Fprintln(c.in, who, d)
	return err
}

// result is the number, or the error, that the process has written.
func (c *contender) result() (n float64, err error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("a second process: %w", err)
	}
	if _, err := fmt.Sscan(line, &n); err != nil {
		return 0, fmt.Errorf("a second process: %s", strings.TrimSpace(line))
	}
	return n, nil
}

// Contend does nothing, unless this process was started by [Run], to take locks in several processes. Then it does that,
// and ends the process. A program that calls Run calls it first.
func Contend() {
	url := os.Getenv(contendServer)
	if url == "" {
		return
	}
	b := bench{url: url}
	if err := b.serveContention(context.Background(), os.Getenv(contendPrefix), os.Stdin, os.Stdout); err != nil {
		fmt.Println(strings.Join(strings.Fields("failed: "+err.Error()), " "))
	}
	b.close()
	os.Exit(0)
}

// serveContention does what each line of in says: which side, and for how long.
func (b *bench) serveContention(ctx context.Context, prefix string, in io.Reader, out io.Writer) error {
	const name = "contended"
	ns := backend.Namespace{Prefix: prefix, Suffix: "allocator"}
	be, err := b.backend(ctx)
	if err != nil {
		return err
	}
	l, err := b.locker(ns.Base()+"-other", lockTTL)
	if err != nil {
		return err
	}
	sides := map[string]waiter{
		"ours":  ourWaiter(lock.NewMutex(be, ns, name, lock.Config{TTL: lockTTL})),
		"other": theirWaiter(l, name),
	}
	fmt.Fprintln(out, 0)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var who, duration string
		if _, err := fmt.Sscan(lines.Text(), &who, &duration); err != nil {
			return err
		}
		d, err := time.ParseDuration(duration)
		if err != nil {
			return err
		}
		if sides[who] == nil {
			return fmt.Errorf("no side is called %q", who)
		}
		perSecond, err := contendFor(ctx, sides[who], d)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, perSecond)
	}
	return nil
}

// contendFor gives how often a second the workers of this process have got the lock. Whoever waits for it at the end
// does not get it any more.
func contendFor(ctx context.Context, lock waiter, d time.Duration) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := time.Now()
	var end time.Time
	timer := time.AfterFunc(d, func() { end = time.Now(); cancel() })
	defer timer.Stop()
	var grants atomic.Int64
	errs := make([]error, contendWorkers)
	var wg sync.WaitGroup
	for i := range contendWorkers {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				unlock, err := lock(ctx)
				switch {
				case err == nil:
					grants.Add(1)
					errs[i] = unlock()
				case ctx.Err() == nil:
					errs[i] = err
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	return float64(grants.Load()) / end.Sub(begin).Seconds(), nil
}
