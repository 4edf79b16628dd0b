package rueidis

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// BenchmarkLocks measures pairs of a lock and an unlock, each worker on a name of its own, in turn with SET NX PX and a
// script that deletes the key if it has the value.
func BenchmarkLocks(b *testing.B) {
	const slice = 150 * time.Millisecond
	ns := backend.Namespace{Prefix: redistest.Prefix(b), Suffix: "lock"}
	be := open(b)
	option, err := rueidis.ParseURL(redistest.URL(b))
	require.NoError(b, err)
	raw, err := rueidis.NewClient(option)
	require.NoError(b, err)
	b.Cleanup(raw.Close)
	del := rueidis.NewLuaScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end`)
	ctx := b.Context()

	ours := func(worker int) bool {
		name, token := "n"+strconv.Itoa(worker), backend.NewToken()
		got, err := be.Lock(ctx, backend.LockRequest{
			Namespace: ns, Token: token, TTL: time.Minute, Items: []backend.LockItem{{Name: name}},
		})
		if err != nil || len(got.Grants) != 1 {
			return false
		}
		back, err := be.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: name, Token: token}}})
		return err == nil && back.Unlocked[0]
	}
	naked := func(worker int) bool {
		key, token := ns.Base()+"-raw:"+strconv.Itoa(worker), backend.NewToken()
		if raw.Do(ctx, raw.B().Set().Key(key).Value(token).Nx().Px(time.Minute).Build()).Error() != nil {
			return false
		}
		n, err := del.Exec(ctx, raw, []string{key}, []string{token}).AsInt64()
		return err == nil && n == 1
	}
	rate := func(workers int, pair func(int) bool) float64 {
		var pairs atomic.Int64
		begin := time.Now()
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for time.Since(begin) < slice {
					if !pair(w) {
						b.Error("a pair failed")
						return
					}
					pairs.Add(1)
				}
			})
		}
		all.Wait()
		return float64(pairs.Load()) / time.Since(begin).Seconds()
	}
	for _, workers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			var mine, theirs, ratios []float64
			rate(workers, ours)
			rate(workers, naked)
			for b.Loop() {
				x, y := rate(workers, ours), rate(workers, naked)
				mine, theirs, ratios = append(mine, x), append(theirs, y), append(ratios, x/y)
			}
			middle := func(v []float64) float64 {
				slices.Sort(v)
				return v[len(v)/2]
			}
			b.ReportMetric(middle(mine), "pairs/s")
			b.ReportMetric(middle(theirs), "raw-pairs/s")
			b.ReportMetric(middle(ratios), "ratio")
		})
	}
}
