package rueidis

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// BenchmarkHandoff measures from the moment at which a holder gives back to the moment at which a waiter of another
// process has the member for sure, in turn with a script that does nothing.
func BenchmarkHandoff(b *testing.B) {
	ns := backend.Namespace{Prefix: redistest.Prefix(b), Suffix: "allocator"}
	nodes := [2]*Backend{open(b), open(b)}
	ctx := b.Context()
	_, err := nodes[0].Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{"m"}, TTL: backend.NoExpiry})
	require.NoError(b, err)
	noop := rueidis.NewLuaScript("return redis.call('GET', KEYS[1])")

	held := backend.NewToken()
	_, err = nodes[0].Take(ctx, backend.TakeRequest{Namespace: ns, Token: held, TTL: time.Minute})
	require.NoError(b, err)
	var handoffs, noops []time.Duration
	for i := range b.N {
		giver, taker := nodes[i%2], nodes[1-i%2]
		token := backend.NewToken()
		entered, err := taker.Enter(ctx, backend.EnterRequest{
			Take: backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Minute},
		})
		if err != nil || entered.Handover == nil {
			b.Fatal("no wait", err)
		}
		done := make(chan time.Time)
		go func() {
			h := <-entered.Handover
			renewed, err := taker.Renew(ctx, backend.RenewRequest{
				Namespace: ns, Items: []backend.Renewal{{Member: "m", Token: token, TTL: time.Minute}},
			})
			if err != nil || h.Err != nil || !renewed.Renewed[0] {
				b.Error("not confirmed", err, h.Err)
			}
			done <- time.Now()
		}()
		start := time.Now()
		if _, err := giver.Return(ctx, backend.ReturnRequest{
			Namespace: ns, Items: []backend.Held{{Member: "m", Token: held}},
		}); err != nil {
			b.Fatal(err)
		}
		handoffs = append(handoffs, (<-done).Sub(start))
		held = token

		start = time.Now()
		_ = noop.Exec(ctx, giver.client, []string{ns.Base() + "|none"}, nil).Error()
		noops = append(noops, time.Since(start))
	}
	h, n := median(handoffs), median(noops)
	b.ReportMetric(float64(h.Microseconds()), "handoff-p50-µs")
	b.ReportMetric(float64(n.Microseconds()), "noop-p50-µs")
	b.ReportMetric(float64(h)/float64(n), "ratio")
}

// BenchmarkHandoffOfNames does so for a name, which its waiter uses at once: the claim counts from a moment that is known.
func BenchmarkHandoffOfNames(b *testing.B) {
	ns := backend.Namespace{Prefix: redistest.Prefix(b), Suffix: "lock"}
	nodes := [2]*Backend{open(b), open(b)}
	ctx := b.Context()
	noop := rueidis.NewLuaScript("return redis.call('GET', KEYS[1])")
	ask := func(token string) backend.LockRequest {
		return backend.LockRequest{Namespace: ns, Token: token, TTL: time.Minute, Items: []backend.LockItem{item("n")}}
	}
	held := backend.NewToken()
	_, err := nodes[0].Lock(ctx, ask(held))
	require.NoError(b, err)
	var handoffs, noops []time.Duration
	for i := range b.N {
		giver, taker := nodes[i%2], nodes[1-i%2]
		token := backend.NewToken()
		entered, err := taker.Enter(ctx, backend.EnterRequest{Lock: ask(token)})
		if err != nil || entered.Handover == nil {
			b.Fatal("no wait", err)
		}
		done := make(chan time.Time)
		go func() {
			<-entered.Handover
			done <- time.Now()
		}()
		start := time.Now()
		if _, err := giver.Unlock(ctx, backend.UnlockRequest{
			Namespace: ns, Items: []backend.Held{{Member: "n", Token: held}},
		}); err != nil {
			b.Fatal(err)
		}
		handoffs = append(handoffs, (<-done).Sub(start))
		held = token

		start = time.Now()
		_ = noop.Exec(ctx, giver.client, []string{ns.Base() + "|none"}, nil).Error()
		noops = append(noops, time.Since(start))
	}
	h, n := median(handoffs), median(noops)
	b.ReportMetric(float64(h.Microseconds()), "handoff-p50-µs")
	b.ReportMetric(float64(n.Microseconds()), "noop-p50-µs")
	b.ReportMetric(float64(h)/float64(n), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
