package rueidis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

const (
	// patience is how long a test waits for what must happen.
	patience = time.Minute
	// soon is longer than a busy machine needs for what happens at once, and shorter than anything else that would bring it
	// about: a lease of an hour, or a call that nobody answers.
	soon = 20 * time.Second
)

// until looks until seen is satisfied, and tells how long that took.
func until(t testing.TB, what string, seen func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := begin.Add(patience); !seen(); <-tick.C {
		if time.Now().After(end) {
			require.FailNow(t, "waited in vain", what)
		}
	}
	return time.Since(begin)
}

// quick expects that what attempt measures takes less than limit. A machine may stand still for a moment: one of some
// attempts will do.
func quick(t testing.TB, limit time.Duration, attempt func() time.Duration) {
	t.Helper()
	var took []time.Duration
	for range 5 {
		d := attempt()
		if d < limit {
			return
		}
		took = append(took, d)
	}
	require.FailNow(t, "too slow", "%v, each longer than %v", took, limit)
}

// room is a namespace on a server, and a connection of its own to look at it.
type room struct {
	testing.TB
	url string
	ns  backend.Namespace
	raw rueidis.Client
}

func newRoom(t testing.TB, url string) *room {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	require.NoError(t, err)
	raw, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(raw.Close)
	return &room{TB: t, url: url, ns: backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "allocator"}, raw: raw}
}

// process opens a backend that has nothing in common with others but the server at url. Its calls do not run out of time,
// however slow the machine is.
func (r *room) process(url string, opts ...Option) *Backend {
	r.Helper()
	b, err := Open(r.Context(), url, append([]Option{CallTimeout(patience)}, opts...)...)
	require.NoError(r, err)
	r.Cleanup(func() { _ = b.Close() })
	return b
}

// impatient opens a backend whose calls run out of time soon, though not the first ones.
func (r *room) impatient(url string, timeout time.Duration) *Backend {
	r.Helper()
	var b *Backend
	r.patiently("open", func() (err error) {
		b, err = Open(r.Context(), url, CallTimeout(timeout))
		return err
	})
	r.Cleanup(func() { _ = b.Close() })
	return b
}

// warm takes a member and gives it back, so that the scripts are known.
func (r *room) warm(b *Backend) {
	r.Helper()
	r.patiently("take", func() error {
		got, err := b.Take(context.Background(), r.request(backend.NewToken()))
		if err != nil {
			return err
		}
		if len(got.Grants) == 0 { // what an earlier attempt was granted is not back yet
			return backend.ErrUnavailable
		}
		r.giveBack(b, got.Grants...)
		return nil
	})
}

// back waits until calls arrive again after the server was away: each connection may find out for itself.
func (r *room) back(backends ...*Backend) {
	r.Helper()
	nobody := backend.Held{Member: "nobody", Token: backend.NewToken()}
	for _, b := range backends {
		for range 5 {
			r.patiently("look", func() error {
				_, err := b.Get(context.Background(), backend.GetRequest{Namespace: r.ns, Names: []string{"nobody"}})
				return err
			})
			r.patiently("renew", func() error {
				_, err := b.Renew(context.Background(), backend.RenewRequest{
					Namespace: r.ns, Items: []backend.Renewal{{Member: nobody.Member, Token: nobody.Token, TTL: time.Hour}},
				})
				return err
			})
		}
	}
}

func members(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("m%05d", i)
	}
	return list
}

func (r *room) extend(b *Backend, members ...string) {
	r.Helper()
	_, err := b.Extend(r.Context(), backend.ExtendRequest{Namespace: r.ns, Members: members, TTL: backend.NoExpiry})
	require.NoError(r, err)
}

func (r *room) request(token string) backend.TakeRequest {
	return backend.TakeRequest{Namespace: r.ns, Token: token, TTL: time.Hour}
}

// take takes n members that must be there.
func (r *room) take(b *Backend, token string, n int, ttl time.Duration) []backend.Grant {
	r.Helper()
	req := r.request(token)
	req.Count, req.TTL = n, ttl
	got, err := b.Take(r.Context(), req)
	require.NoError(r, err)
	require.Len(r, got.Grants, n)
	return got.Grants
}

// giveBack and renew ask again if the connection that they happened to get was broken.
func (r *room) giveBack(b *Backend, grants ...backend.Grant) {
	r.Helper()
	req := backend.ReturnRequest{Namespace: r.ns}
	for _, g := range grants {
		req.Items = append(req.Items, backend.Held{Member: g.Member, Token: g.Token})
	}
	tries := 0
	r.patiently("give back", func() error {
		tries++
		got, err := b.Return(context.Background(), req)
		if err == nil && tries == 1 {
			assert.NotContains(r, got.Returned, false)
		}
		return err
	})
}

func (r *room) renew(b *Backend, grants ...backend.Grant) bool {
	r.Helper()
	req := backend.RenewRequest{Namespace: r.ns}
	for _, g := range grants {
		req.Items = append(req.Items, backend.Renewal{Member: g.Member, Token: g.Token, TTL: time.Hour})
	}
	var got backend.RenewReply
	r.patiently("renew", func() (err error) {
		got, err = b.Renew(context.Background(), req)
		return err
	})
	return !slices.Contains(got.Renewed, false)
}

// patiently calls until the server can be reached.
func (r *room) patiently(what string, call func() error) {
	r.Helper()
	until(r, what, func() bool {
		err := call()
		if err != nil && !errors.Is(err, backend.ErrUnavailable) {
			require.NoError(r, err)
		}
		return err == nil
	})
}

// wait joins the line.
func (r *room) wait(b *Backend, req backend.EnterRequest) <-chan backend.Handover {
	r.Helper()
	got, err := b.Enter(r.Context(), req)
	require.NoError(r, err)
	require.NotNil(r, got.Handover, "Enter gave %v instead of joining the line", got.Grants)
	return got.Handover
}

func (r *room) waitFor(b *Backend, token string) <-chan backend.Handover {
	r.Helper()
	return r.wait(b, backend.EnterRequest{Take: r.request(token), ClaimTTL: time.Hour})
}

// granted waits for a hand-over, and tells how long that took.
func (r *room) granted(ch <-chan backend.Handover) (backend.Handover, time.Duration) {
	r.Helper()
	begin := time.Now()
	end := time.NewTimer(patience)
	defer end.Stop()
	select {
	case h := <-ch:
		require.NoError(r, h.Err)
		require.NotEmpty(r, h.Grants)
		return h, time.Since(begin)
	case <-end.C:
		require.FailNow(r, "no hand-over")
		panic("unreachable")
	}
}

// do sends a command on the connection that only looks.
func (r *room) do(words ...string) rueidis.RedisResult {
	return r.raw.Do(context.Background(), r.raw.B().Arbitrary(words...).Build())
}

// all sends commands in one go.
func (r *room) all(commands ...[]string) []rueidis.RedisResult {
	list := make(rueidis.Commands, len(commands))
	for i, words := range commands {
		list[i] = r.raw.B().Arbitrary(words...).Build()
	}
	return r.raw.DoMulti(context.Background(), list...)
}

// number asks again if the server was away.
func (r *room) number(words ...string) (n int) {
	until(r, "there is an answer", func() bool {
		got, err := r.do(words...).AsInt64()
		n = int(got)
		return err == nil
	})
	return n
}

// line is the length of the line.
func (r *room) line() int { return r.number("ZCARD", r.ns.Line()) }

// clean waits until nobody waits, nothing is taken, nothing is remembered of anybody, and the pool is sound.
func (r *room) clean(b *Backend) {
	r.Helper()
	left := ""
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if left = r.leftOver(b); left == "" {
			return
		}
		if time.Since(begin) > patience {
			require.FailNow(r, "something is left over", left)
		}
		<-tick.C
	}
}

func (r *room) leftOver(b *Backend) string {
	pool, err := b.Inspect(context.Background(), backend.InspectRequest{Namespace: r.ns})
	if err != nil {
		return err.Error()
	}
	var left []string
	left = append(left, backend.CheckPool(pool, true)...)
	for i := range pool.Members {
		if m := &pool.Members[i]; !m.Free() || m.Locked {
			left = append(left, fmt.Sprintf("%s is taken by %q", m.Name, m.Owner))
		}
	}
	for what, n := range map[string]int{
		"in line": r.line(), "requests": r.number("HLEN", r.ns.LineRequests()), "leases": r.number("ZCARD", r.ns.Leases()),
	} {
		if n > 0 {
			left = append(left, fmt.Sprintf("%d %s", n, what))
		}
	}
	return strings.Join(left, "; ")
}

// together runs f n times at once.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// addr is the host and port of a server's URL.
func addr(t testing.TB, url string) string {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	require.NoError(t, err)
	return option.InitAddress[0]
}
