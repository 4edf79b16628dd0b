package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// A user gets something that many share, unless its context ends before, and says how to give it back.
type user func(ctx context.Context) (giveBack func() error, err error)

// badWeather has users get something again and again, and give up after random times, while a connection that some of
// them have is held up and cut at random. No error is another one than those that the contract has for that.
func badWeather(t *testing.T, proxy *redistest.Proxy, impatience time.Duration, users ...user) {
	t.Helper()
	defer busily(t)()
	ctx, stop := context.WithTimeout(context.Background(), scaled(t, 2*time.Second))
	defer stop()
	var granted, cancelled, unavailable, refused atomic.Int64
	wrong := func(err error) bool {
		if err == nil || errors.Is(err, backend.ErrUnavailable) {
			return false
		}
		stop()
		return assert.NoError(t, err)
	}
	use := func(get user) {
		for ctx.Err() == nil {
			patient, cancel := context.WithTimeout(context.Background(), time.Duration(rand.Int64N(int64(impatience))))
			giveBack, err := get(patient)
			cancel()
			switch {
			case err == nil:
				granted.Add(1)
				pause(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
				wrong(giveBack())
			case errors.Is(err, context.DeadlineExceeded):
				cancelled.Add(1)
			case errors.Is(err, backend.ErrUnavailable):
				unavailable.Add(1)
				pause(ctx, time.Millisecond)
			case isRefusal(err), errors.Is(err, lock.ErrLocked):
				refused.Add(1)
				pause(ctx, time.Millisecond)
			default:
				wrong(err)
			}
		}
	}
	var running sync.WaitGroup
	for _, u := range users {
		running.Go(func() { use(u) })
	}
	faults := 0
	for ; ctx.Err() == nil; faults++ {
		pause(ctx, time.Duration(rand.IntN(40))*time.Millisecond)
		breakIt(proxy)
		pause(ctx, time.Duration(rand.IntN(10))*time.Millisecond)
		proxy.Resume()
	}
	running.Wait()
	t.Logf("%d faults: %d granted, %d cancelled, %d unavailable, %d refused",
		faults, granted.Load(), cancelled.Load(), unavailable.Load(), refused.Load())
}

// breakIt does something to a connection, until it is resumed.
func breakIt(proxy *redistest.Proxy) {
	switch rand.IntN(5) {
	case 0:
		proxy.Cut()
	case 1:
		proxy.Hold(redistest.Requests)
	case 2:
		proxy.Hold(redistest.Replies)
	case 3:
		proxy.Drop(redistest.Replies)
	case 4:
		proxy.CutReply(redistest.Nth(1, "EVALSHA"))
	}
}

// times gives a user so many times.
func times(n int, u user) []user {
	list := make([]user, n)
	for i := range list {
		list[i] = u
	}
	return list
}
