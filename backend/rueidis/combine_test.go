package rueidis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestEverybodyGetsHisOwn lets many callers at once take, renew and give back different members, some of which
// others hold, and compares each answer with what it has to be.
func TestEverybodyGetsHisOwn(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	r := newRoom(t, url)
	b := r.process(url)
	const callers, rounds = 128, 20
	r.extend(b, members(callers)...)
	var mu sync.Mutex
	held := map[string]string{}
	together(callers, func(i int) {
		ctx := t.Context()
		if i%2 == 0 {
			ctx = context.WithoutCancel(ctx)
		}
		for round := range rounds {
			token := fmt.Sprintf("%d/%d", i, round)
			got, err := b.Take(ctx, r.request(token))
			if !assert.NoError(t, err) || !assert.Len(t, got.Grants, 1) {
				return
			}
			g := got.Grants[0]
			assert.Equal(t, token, g.Token)
			assert.Equal(t, time.Hour, g.TTL)
			assert.Positive(t, g.Fence)
			mu.Lock()
			assert.Empty(t, held[g.Member], "%s is held twice", g.Member)
			held[g.Member] = token
			mu.Unlock()

			ren, err := b.Renew(ctx, backend.RenewRequest{Namespace: r.ns, Items: []backend.Renewal{
				{Member: g.Member, Token: "x" + token, TTL: time.Hour}, {Member: g.Member, Token: token, TTL: time.Hour},
			}})
			assert.NoError(t, err)
			assert.Equal(t, []bool{false, true}, ren.Renewed)

			mu.Lock()
			held[g.Member] = ""
			mu.Unlock()
			ret, err := b.Return(ctx, backend.ReturnRequest{Namespace: r.ns, Items: []backend.Held{
				{Member: g.Member, Token: "x" + token}, {Member: g.Member, Token: token}, {Member: g.Member, Token: token},
			}})
			assert.NoError(t, err)
			assert.Equal(t, []bool{false, true, false}, ret.Returned)
		}
	})
	require.Len(t, free(r.sound(b)), callers)
}

// scripts counts the calls of scripts that the server has had.
func (r *room) scripts() (n int) {
	r.Helper()
	text, err := r.do("INFO", "commandstats").ToString()
	require.NoError(r, err)
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, "cmdstat_evalsha:calls=%d,", &n); err == nil {
			return n
		}
	}
	return 0
}

// TestCallsAreShared counts the calls that many callers at once need.
func TestCallsAreShared(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newRoom(t, s.URL())
	b := r.process(s.URL())
	const callers = 1024
	r.extend(b, members(callers)...)
	r.take(b, "first", 1, time.Hour) // with it, the script is known
	before := r.scripts()
	s.Pause()
	got := make(chan int, callers)
	for i := range callers - 1 {
		go func() {
			reply, err := b.Take(t.Context(), r.request(fmt.Sprint(i)))
			assert.NoError(t, err)
			got <- len(reply.Grants)
		}()
	}
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	until(t, "that two calls are under way, and all others wait", func() bool {
		sp.comb.mu.Lock()
		defer sp.comb.mu.Unlock()
		return sp.comb.flying == maxFlying && len(sp.comb.waiting) >= callers-1-maxFlying*maxBatch
	})
	s.Resume()
	for range callers - 1 {
		require.Equal(t, 1, <-got)
	}
	require.LessOrEqual(t, r.scripts()-before, callers/maxBatch+8)
}

// TestLeavingAtOnce ends the context of callers while the server stands still: those that were not sent leave no
// trace, those that were are given back.
func TestLeavingAtOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newRoom(t, s.URL())
	b := r.process(s.URL(), CallTimeout(time.Minute))
	const callers = 3 * maxBatch
	r.extend(b, members(callers+2)...)
	r.take(b, "first", 1, time.Hour)
	s.Pause()
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan error, callers)
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	waiting := func(what string, seen func(flying, waiting int) bool) {
		until(t, what, func() bool {
			sp.comb.mu.Lock()
			defer sp.comb.mu.Unlock()
			return seen(sp.comb.flying, len(sp.comb.waiting))
		})
	}
	for i := range callers {
		go func() {
			_, err := b.Take(ctx, r.request(fmt.Sprint("gone", i)))
			left <- err
		}()
	}
	waiting("that some wait and others do not", func(flying, waiting int) bool {
		return flying == maxFlying && waiting >= callers-maxFlying*maxBatch
	})
	stays := make(chan []backend.Grant, 1)
	go func() {
		got, err := b.Take(t.Context(), r.request("stays"))
		assert.NoError(t, err)
		stays <- got.Grants
	}()
	cancel(errors.New("enough"))
	begin := time.Now()
	for range callers {
		require.ErrorIs(t, <-left, context.Canceled)
	}
	require.Less(t, time.Since(begin), patience/2)
	waiting("that nobody waits but the one who stays", func(_, waiting int) bool { return waiting <= 1 })
	s.Resume()
	require.Len(t, <-stays, 1)
	until(t, "that all others are free", func() bool { return len(free(r.sound(b))) == callers })

	_, err = b.Take(ctx, r.request("late"))
	require.ErrorIs(t, err, context.Canceled)
}

// TestOverdue lets the server stand still for longer than a call may take.
func TestOverdue(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newRoom(t, s.URL())
	b, other := r.impatient(s.URL(), 200*time.Millisecond), r.process(s.URL())
	r.extend(other, members(10)...)
	s.Pause()
	_, err := b.Take(t.Context(), r.request("lost"))
	require.ErrorIs(t, err, backend.ErrUnavailable)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	_, err = b.Inspect(context.Background(), backend.InspectRequest{Namespace: r.ns})
	require.ErrorIs(t, err, backend.ErrUnavailable)
	s.Resume()
	until(t, "that the server answers, and what was lost is free", func() bool {
		pool, err := b.Inspect(t.Context(), backend.InspectRequest{Namespace: r.ns})
		return err == nil && len(free(pool)) == 10
	})
	r.sound(other)
}

// TestCloseWhileBusy shows that what is under way ends as it would, and that nothing begins afterwards.
func TestCloseWhileBusy(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newRoom(t, s.URL())
	b := r.process(s.URL())
	r.extend(b, members(500)...)
	r.take(b, "first", 1, time.Hour)
	s.Pause()
	const callers = maxFlying*maxBatch + 100 // more than can be under way
	errs := make(chan error, callers)
	for i := range callers {
		go func() {
			_, err := b.Take(t.Context(), r.request(fmt.Sprint(i)))
			errs <- err
		}()
	}
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	until(t, "that callers wait", func() bool {
		sp.comb.mu.Lock()
		defer sp.comb.mu.Unlock()
		return len(sp.comb.waiting) > 0
	})
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	until(t, "that it is closed", b.isClosed)
	_, err = b.Take(t.Context(), r.request("late"))
	require.ErrorIs(t, err, backend.ErrClosed)
	s.Resume()
	require.NoError(t, <-closed)
	for range callers {
		if err := <-errs; err != nil {
			require.ErrorIs(t, err, backend.ErrClosed)
		}
	}
	for _, m := range methods() {
		require.ErrorIs(t, m.do(t.Context(), b, r.ns), backend.ErrClosed, m.name)
	}
	require.NoError(t, b.Close())
}

// TestLargeLists extends, assigns and shrinks by lists of ten thousand.
func TestLargeLists(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	r := newRoom(t, url)
	b := r.process(url)
	all := members(20_000)
	edit := func(call func(context.Context, backend.ExtendRequest) (backend.EditReply, error), list []string, ttl time.Duration) backend.EditReply {
		got, err := call(t.Context(), backend.ExtendRequest{Namespace: r.ns, Members: list, TTL: ttl})
		require.NoError(t, err)
		return got
	}
	require.Equal(t, backend.EditReply{Added: 10_000}, edit(b.Extend, all[:10_000], backend.NoExpiry))
	require.Equal(t, all[:10_000], free(r.sound(b)))
	require.Len(t, r.take(b, "holder", 1000, time.Hour), 1000)
	require.Equal(t, backend.EditReply{Added: 10_000, Removed: 9_500}, edit(b.Assign, append(all[10_000:20_000:20_000], all[:500]...), time.Hour))
	pool := r.sound(b)
	require.Equal(t, all[10_000:], free(pool))
	for _, m := range pool.Members {
		require.Equal(t, m.Name < all[10_000], m.Expiry.IsZero(), "those that stay keep their expiry")
	}
	got, err := b.Shrink(t.Context(), backend.ShrinkRequest{Namespace: r.ns, Members: all[1:]})
	require.NoError(t, err)
	require.Equal(t, backend.EditReply{Removed: 10_499}, got)
	require.Equal(t, backend.EditReply{Removed: 1}, edit(b.Assign, nil, backend.NoExpiry))
	require.Empty(t, r.sound(b).Members)
}
