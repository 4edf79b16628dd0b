package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redisallocator/redisallocator/lock"
)

// surveys are the charts of the page.
func surveys() []survey {
	goroutines := axis{label: "goroutines", base: 2}
	return []survey{
		{chart{
			name: "pool", title: "Pool: take a member and give it back",
			about: "Pairs per second over the number of goroutines, all through one client. The floor is " + nothingTwice +
				"; `SPOP` and `SADD` on a set are a pool that knows no leases.",
			x: goroutines, y: axis{label: "pairs per second", base: 10},
		}, byGoroutines(
			contestant{"ours", ourLine, (*bench).ourPairs},
			contestant{"floor", floorLine, (*bench).noopPairs},
			contestant{"SPOP, SADD", theirLine, (*bench).spopPairs},
		)},
		{chart{
			name: "lock", title: "Lock: lock and unlock, each goroutine its own name",
			about: "Pairs per second over the number of goroutines. By hand is `SET NX PX` and a script that compares and deletes.",
			x:     goroutines, y: axis{label: "pairs per second", base: 10},
		}, byGoroutines(
			contestant{"ours", ourLine, (*bench).ourLockPairs},
			contestant{"by hand", floorLine, (*bench).rawLockPairs},
			contestant{"rueidislock", theirLine, (*bench).rueidislockPairs},
			contestant{"bsm/redislock", thirdLine, (*bench).bsmLockPairs},
			contestant{"redsync", fourthLine, (*bench).redsyncLockPairs},
		)},
		{chart{
			name: "tasks", title: "Tasks: submit one, have one done",
			about: "Tasks per second through a queue that is never empty, with as many goroutines that submit as handlers that do " +
				"nothing. By hand is `RPUSH` and `BLPOP`, which loses the task if its worker dies.",
			x: goroutines, y: axis{label: "tasks per second", base: 10},
		}, byGoroutines(
			contestant{"ours", ourLine, (*bench).ourSteady},
			contestant{"by hand", floorLine, (*bench).rawSteady},
			contestant{"asynq", theirLine, (*bench).asynqSteady},
		)},
		{chart{
			name: "handover", title: "Lock: how long it takes from one to the next",
			about: "The share of hand-overs that took no longer than so many milliseconds, from the call that unlocks to the return " +
				"of the call that has locked. Either two clients take the lock from each other, each holding it for about 20 ms " +
				"while the other waits, or 16 clients want it all the time. redsync looks every 50 to 250 ms, its default; " +
				"with 16 clients it is left out, as there the one that unlocks mostly locks again before another looks.",
			x: axis{label: "milliseconds", base: 10}, y: axis{label: "share of hand-overs"},
		}, handovers},
		{chart{
			name: "size", title: "Pool: how large it is",
			about: "Pairs per second by 8 goroutines (× 8), and by one (× 1), over the number of members.",
			x:     axis{label: "members", base: 10}, y: axis{label: "pairs per second", base: 10},
		}, bySize},
	}
}

// byGoroutines surveys over the number of goroutines.
func byGoroutines(all ...contestant) func(ctx context.Context, b *bench) ([]line, error) {
	return func(ctx context.Context, b *bench) ([]line, error) {
		return b.rates(ctx, doublings(b.Sizes.Goroutines), all, func(_ *bench, x int) int { return x })
	}
}

// bySize surveys pairs over the number of members.
func bySize(ctx context.Context, b *bench) ([]line, error) {
	var lines []line
	for _, by := range []struct {
		workers      int
		ours, theirs look
	}{{8, ourLine, theirLine}, {1, ourSecond, theirSecond}} {
		suffix := fmt.Sprintf(" × %d", by.workers)
		some, err := b.rates(ctx, decades(b.Sizes.Small, b.Sizes.Large), []contestant{
			{"ours" + suffix, by.ours, (*bench).ourPairs},
			{"SPOP, SADD" + suffix, by.theirs, (*bench).spopPairs},
		}, func(b *bench, x int) int {
			b.Sizes.Pool = x
			return by.workers
		})
		if err != nil {
			return nil, err
		}
		lines = append(lines, some...)
	}
	return lines, nil
}

// handovers gives the distributions of the time that a lock needs from its holder to the next: to the one who waits for
// it, or to one of many.
func handovers(ctx context.Context, b *bench) ([]line, error) {
	const name = "handover"
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	our := func() (waiter, error) {
		be, err := b.backend(ctx)
		return ourWaiter(lock.NewMutex(be, ns, name, lock.Config{TTL: lockTTL})), err
	}
	rueidislock := func() (waiter, error) {
		l, err := b.locker(ns.Base()+"-rueidislock", lockTTL)
		return theirWaiter(l, name), err
	}
	redsync := func() (waiter, error) { return b.redsyncWaiter(ns.Base() + "-redsync") }
	contestants := []struct {
		name    string
		look    look
		open    func() (waiter, error)
		clients int
	}{
		{"ours, 2 clients", ourLine, our, 2},
		{"ours, 16 clients", ourSecond, our, lockClients},
		{"rueidislock, 2", theirLine, rueidislock, 2},
		{"rueidislock, 16", theirSecond, rueidislock, lockClients},
		{"redsync, 2", thirdLine, redsync, 2},
	}
	clients, gaps := make([][]waiter, len(contestants)), make([][]float64, len(contestants))
	for i, c := range contestants {
		for range c.clients {
			w, err := c.open()
			if err != nil {
				return nil, err
			}
			clients[i] = append(clients[i], w)
		}
	}
	for round := range b.Rounds + 1 {
		for i, c := range contestants {
			took, err := b.handOverAmong(ctx, clients[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 {
				gaps[i] = append(gaps[i], took...)
			}
		}
	}
	lines := make([]line, len(contestants))
	for i, c := range contestants {
		lines[i] = distribution(c.name, c.look, gaps[i])
	}
	return lines, nil
}

// handOverAmong gives how long that took, in milliseconds, for some hand-overs among clients.
func (b *bench) handOverAmong(ctx context.Context, clients []waiter) ([]float64, error) {
	n := b.Sizes.Handoffs / shortRounds
	if len(clients) == 2 { // whoever unlocks could else lock again at once, before the other looks
		return passBack(ctx, [2]waiter(clients), n, b.Sizes.Hold)
	}
	p, err := passOn(ctx, clients, n, b.Sizes.Hold)
	return p.gaps, err
}

// passBack has two clients take a lock n times from each other, and gives the milliseconds from the call that unlocks to
// the return of the call that has locked. It is held for about as long as is said each time, while the other waits.
func passBack(ctx context.Context, clients [2]waiter, n int, hold time.Duration) (gaps []float64, err error) {
	type outcome struct {
		unlock func() error
		at     time.Time
		err    error
	}
	unlock, err := clients[0](ctx)
	for i := 1; i <= n && err == nil; i++ {
		next := make(chan outcome, 1)
		go func() {
			unlock, err := clients[i%2](ctx)
			next <- outcome{unlock, time.Now(), err}
		}()
		until(time.Now().Add(hold/2 + rand.N(hold)))
		start := time.Now()
		failed := unlock()
		o := <-next // if the holder could not unlock, it comes when that one's lock has run out
		gaps = append(gaps, milliseconds(o.at.Sub(start)))
		unlock, err = o.unlock, errors.Join(failed, o.err)
	}
	if err != nil {
		return nil, err
	}
	return gaps, unlock()
}
