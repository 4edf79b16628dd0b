package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

const (
	darkRuns     = 100 // five times as many if INTEGRATION_SECONDS says that there is time
	darkParallel = 34
)

// opening has room for so many that open backends.
var opening = make(chan struct{}, 4)

// address is the host and port of a URL of this test binary's server.
func address(url string) string { return url[strings.LastIndexAny(url, "/@")+1:] }

// A holder has something that ends when nobody renews it.
type holder interface {
	Valid() bool
	Context() context.Context
	Deadline() time.Time
	Fence() int64
	Token() string
}

// A stake is what a holder whose connection becomes a black hole has, and somebody else waits for.
type stake struct {
	take     func(context.Context) (holder, error) // through the proxy
	next     func(context.Context) (holder, error) // waits, besides it, and has it for long
	giveBack func(context.Context, holder) error   // whoever has it
	speak    func(context.Context) error           // through the proxy, so that what waits to be said is said
	owner    func(context.Context) (string, error) // the token of who has it, for the server
	close    func()
}

// A darkness is a kind of stakes, which end after ttl.
type darkness struct {
	ttl  time.Duration
	late func(error) bool // it was too late for a busy machine
	open func(ctx context.Context, i int, far, near *rueidis.Backend, ns backend.Namespace) (*stake, error)
}

// darkRun is one holder whose connection becomes a black hole, and the next one, who waits in line.
type darkRun struct {
	ended   time.Time // the holder's context
	timer   time.Time // a timer that was set to the holder's deadline
	known   time.Time // its deadline, as it turned out: from then on Valid has said that it is over
	granted time.Time // by the server, to the next holder
	early   bool      // given back before it ran out
}

// check cuts holders off, without a word, and finds that each of them knew of its end before the server had granted what
// it had to another.
func (d *darkness) check(t *testing.T) {
	t.Helper()
	n := darkRuns
	if scaled(t, 0) >= 20*time.Second {
		n *= 5
	}
	url, prefix := redistest.URL(t), newNamespace(t).Prefix
	near := open(t, url) // of all runs

	var mu sync.Mutex
	var runs []darkRun
	var running sync.WaitGroup
	room := make(chan struct{}, darkParallel)
	for i := range n {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			ns := backend.Namespace{Prefix: prefix, Suffix: members(n)[i]}
			run, err := d.run(t, near, address(url), ns, i)
			if assert.NoError(t, err, "run %d", i) {
				mu.Lock()
				runs = append(runs, run)
				mu.Unlock()
			}
		})
	}
	running.Wait()

	assert.Equal(t, n, len(runs), "runs") //nolint:testifylint // not all of them
	var ahead, told []time.Duration
	overlaps, late := 0, 0
	for _, run := range runs {
		if !run.early { // otherwise the server may have heard it, and there is no margin to see
			ahead = append(ahead, run.granted.Sub(run.known))
			told = append(told, run.granted.Sub(run.ended))
			if !run.known.Before(run.granted) {
				overlaps++
			}
		}
		// The channel of a context is closed by a goroutine, for which a busy machine needs its time, as for any timer.
		if run.ended.After(run.granted) && run.timer.Before(run.granted) {
			late++
		}
	}
	assert.Zero(t, overlaps, "holders that were valid when the next one had been granted it")
	assert.LessOrEqual(t, late, n/2, "holders whose context was closed only after the next one had been granted it")
	t.Logf("%d runs, overlap %d: ended %v (at least) and %v (median) before the next grant, contexts closed %v and %v, %d of them late",
		len(runs), overlaps, quantile(ahead, 0), quantile(ahead, 0.5), quantile(told, 0), quantile(told, 0.5), late)
}

func (d *darkness) run(t *testing.T, near *rueidis.Backend, addr string, ns backend.Namespace, i int) (run darkRun, err error) {
	proxy := redistest.NewProxy(t, addr)
	opening <- struct{}{} // not all at once
	far, err := connect(proxy.URL(), rueidis.CallTimeout(2*d.ttl))
	<-opening
	if err != nil {
		return run, err
	}
	defer far.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := d.open(ctx, i, far, near, ns)
	if err != nil {
		return run, err
	}
	defer s.close()

	first, err := s.take(ctx)
	for d.late(err) && ctx.Err() == nil {
		first, err = s.take(ctx)
	}
	if err != nil {
		return run, err
	}
	ended := make(chan time.Time, 1)
	defer context.AfterFunc(first.Context(), func() { ended <- time.Now() })()
	d.await(ctx, first, i%4)
	proxy.Drop([]redistest.Direction{redistest.Both, redistest.Requests, redistest.Replies}[i/4%3])
	timer := make(chan time.Time, 1)
	go func() {
		for left := time.Until(first.Deadline()); left > 0; left = time.Until(first.Deadline()) {
			pause(ctx, left)
		}
		timer <- time.Now()
	}()

	got := begin(func() (holder, error) { return s.next(ctx) })
	if run.early = i%5 == 0; run.early { // gives it back before it runs out, without being heard
		pause(ctx, d.ttl/5)
		if err := s.giveBack(ctx, first); !errors.Is(err, backend.ErrUnavailable) && !errors.Is(err, pool.ErrNotHeld) {
			assert.Fail(t, "given back in the dark", "run %d: %v", i, err)
		}
		expectCause(t, first, i, pool.ErrReleased, pool.ErrExpired, task.ErrDrained)
	}
	second := <-got
	if second.err != nil {
		return run, second.err
	}
	assert.False(t, first.Valid(), "run %d: the first holder when there is a second", i)
	assert.Error(t, first.Context().Err(), "run %d", i)
	if !run.early {
		expectCause(t, first, i, pool.ErrExpired, pool.ErrLost)                 // lost: a busy machine has renewed too late, before the dark
		assert.ErrorIs(t, s.giveBack(ctx, first), pool.ErrNotHeld, "run %d", i) // in the dark, and it knows
	}
	assert.Less(t, first.Fence(), second.got.Fence(), "run %d", i)
	select {
	case run.ended = <-ended:
	case <-ctx.Done():
		return run, ctx.Err()
	}
	run.timer, run.known, run.granted = <-timer, first.Deadline(), grantedAt(second.got.Fence())

	// The light is back. What the first holder still has to say must not touch the second's.
	proxy.Resume()
	if err := s.speak(ctx); err != nil && !errors.Is(err, backend.ErrUnavailable) {
		return run, err
	}
	pause(ctx, d.ttl/4)
	owner, err := s.owner(ctx)
	if err != nil {
		return run, err
	}
	assert.Equal(t, second.got.Token(), owner, "run %d: who holds it at the end", i)
	assert.True(t, second.got.Valid(), "run %d: the second holder, %v after the grant: %v", i, time.Since(run.granted),
		context.Cause(second.got.Context()))
	return run, s.giveBack(ctx, second.got)
}

// await returns when it is to become dark.
func (d *darkness) await(ctx context.Context, first holder, when int) {
	switch granted := first.Deadline(); when {
	case 0: // right after the acquisition
	case 1: // right after a renewal
		for first.Valid() && first.Deadline().Sub(granted) < 50*time.Millisecond {
			pause(ctx, time.Millisecond)
		}
	case 2: // at any moment
		pause(ctx, time.Duration(rand.Int64N(int64(d.ttl))))
	case 3: // while a renewal is under way
		pause(ctx, d.ttl/3+time.Duration(rand.Int64N(int64(20*time.Millisecond)))-10*time.Millisecond)
	}
}

func expectCause(t *testing.T, h holder, i int, causes ...error) {
	t.Helper()
	cause := context.Cause(h.Context())
	for _, c := range causes {
		if errors.Is(cause, c) {
			return
		}
	}
	assert.Fail(t, "the cause of the end", "run %d: %v", i, cause)
}

// dark is a way in which nothing goes through.
type dark struct {
	name  string
	heard bool // by the server
	begin func(*redistest.Proxy)
}

var darks = []dark{
	{"request held", false, func(p *redistest.Proxy) { p.Hold(redistest.Requests) }},
	{"reply held", true, func(p *redistest.Proxy) { p.Hold(redistest.Replies) }},
	{"request dropped", false, func(p *redistest.Proxy) { p.Drop(redistest.Requests) }},
	{"reply dropped", true, func(p *redistest.Proxy) { p.Drop(redistest.Replies) }},
}

// cancelInTheDark cancels something of which the server has, or has not, heard, and then has idle measure from the moment
// at which the connection is back. It does so again if the client had to make a connection first, which does not get to
// the server in the dark.
func cancelInTheDark[T any](
	t *testing.T, proxy *redistest.Proxy, d dark, do func(context.Context) (T, error), heard func() bool, idle func() time.Duration,
) {
	t.Helper()
	for range 10 {
		ctx, cancel := context.WithCancel(context.Background())
		d.begin(proxy)
		done := begin(func() (T, error) { return do(ctx) })
		for pause(ctx, 30*time.Millisecond); d.heard && len(done) == 0 && !heard(); {
			pause(ctx, 2*time.Millisecond)
		}
		cancel()
		err := await(t, done).err
		proxy.Resume()
		idle()
		if !errors.Is(err, backend.ErrUnavailable) {
			require.ErrorIs(t, err, context.Canceled)
			return
		}
	}
	require.FailNow(t, "it ends before it is cancelled")
}
