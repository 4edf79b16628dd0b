package memory_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

func benchPool(b *testing.B, members int) (*memory.Backend, backend.Namespace) {
	b.Helper()
	be := memory.New()
	ns := backend.Namespace{Prefix: "bench", Suffix: "allocator"}
	names := make([]string, members)
	for i := range names {
		names[i] = "member-" + strconv.Itoa(i)
	}
	if _, err := be.Extend(b.Context(), backend.ExtendRequest{Namespace: ns, Members: names, TTL: backend.NoExpiry}); err != nil {
		b.Fatal(err)
	}
	return be, ns
}

// pair takes a member and gives it back.
func pair(b *testing.B, be backend.Pools, ns backend.Namespace, token string) {
	ctx := b.Context()
	reply, err := be.Take(ctx, backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Minute})
	if err != nil || len(reply.Grants) != 1 {
		b.Fatal(reply, err)
	}
	back, err := be.Return(ctx, backend.ReturnRequest{
		Namespace: ns, Items: []backend.Held{{Member: reply.Grants[0].Member, Token: token}},
	})
	if err != nil || !back.Returned[0] {
		b.Fatal(back, err)
	}
}

func BenchmarkTakeReturn(b *testing.B) {
	for _, members := range []int{1, 5000, 1_000_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			be, ns := benchPool(b, members)
			b.ReportAllocs()
			for b.Loop() {
				pair(b, be, ns, "token")
			}
		})
	}
}

func BenchmarkTakeReturnWhileLeased(b *testing.B) {
	be, ns := benchPool(b, 100_100)
	for range 100 {
		reply, err := be.Take(b.Context(), backend.TakeRequest{Namespace: ns, Token: "holder", TTL: time.Hour, Count: 1000})
		if err != nil || len(reply.Grants) == 0 {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		pair(b, be, ns, "token")
	}
}

func BenchmarkTakeReturnParallel(b *testing.B) {
	for _, goroutines := range []int{8, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			be, ns := benchPool(b, 5000)
			b.ReportAllocs()
			b.SetParallelism((goroutines + 1) / 2)
			b.RunParallel(func(pb *testing.PB) {
				token := backend.NewToken()
				for pb.Next() {
					pair(b, be, ns, token)
				}
			})
		})
	}
}

func BenchmarkEnterReturnContended(b *testing.B) {
	be, ns := benchPool(b, 4)
	ctx := b.Context()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			token := backend.NewToken()
			reply, err := be.Enter(ctx, backend.EnterRequest{Take: backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Minute}})
			if err != nil {
				b.Error(err)
				return
			}
			grants := reply.Grants
			if reply.Handover != nil {
				grants = (<-reply.Handover).Grants
			}
			items := []backend.Held{{Member: grants[0].Member, Token: token}}
			if _, err := be.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: items}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkRenew(b *testing.B) {
	be, ns := benchPool(b, 1000)
	reply, err := be.Take(b.Context(), backend.TakeRequest{Namespace: ns, Token: "t", TTL: time.Minute, Count: 1000})
	if err != nil {
		b.Fatal(err)
	}
	var items []backend.Renewal
	for _, g := range reply.Grants {
		items = append(items, backend.Renewal{Member: g.Member, Token: g.Token, TTL: time.Minute})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := be.Renew(b.Context(), backend.RenewRequest{Namespace: ns, Items: items}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/lease")
}

func BenchmarkSetDelete(b *testing.B) {
	be, ns := memory.New(), backend.Namespace{Prefix: "bench", Suffix: "lock"}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		set, err := be.Set(ctx, backend.SetRequest{Namespace: ns, Fence: true, Items: []backend.SetItem{
			{Name: "report", Value: "token", TTL: time.Minute, Cond: backend.IfAbsent},
		}})
		if err != nil || !set.Set[0] {
			b.Fatal(set, err)
		}
		if _, err := be.Delete(ctx, backend.DeleteRequest{Namespace: ns, Items: []backend.DeleteItem{
			{Name: "report", Cond: backend.IfEqual, Operand: "token"},
		}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLockUnlock locks a name and gives it back, alone or in units, while others hold as many.
func BenchmarkLockUnlock(b *testing.B) {
	for _, units := range []int{0, 1} {
		for _, others := range []int{0, 100_000} {
			b.Run(fmt.Sprintf("units=%d/others=%d", units, others), func(b *testing.B) {
				be, ns := memory.New(), backend.Namespace{Prefix: "bench", Suffix: "lock"}
				item := backend.LockItem{Name: "report", Units: units}
				lock := func(token string, item backend.LockItem) {
					reply, err := be.Lock(b.Context(), backend.LockRequest{
						Namespace: ns, Token: token, TTL: time.Hour, Items: []backend.LockItem{item},
					})
					if err != nil || len(reply.Grants) != 1 {
						b.Fatal(reply, err)
					}
				}
				for i := range others {
					other := item
					if units == 0 {
						other.Name = strconv.Itoa(i)
					}
					lock(strconv.Itoa(i), other)
				}
				b.ReportAllocs()
				for b.Loop() {
					lock("token", item)
					back, err := be.Unlock(b.Context(), backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: "report", Token: "token"}}})
					if err != nil || !back.Unlocked[0] {
						b.Fatal(back, err)
					}
				}
			})
		}
	}
}

func BenchmarkRenewLocks(b *testing.B) {
	be, ns := memory.New(), backend.Namespace{Prefix: "bench", Suffix: "lock"}
	var items []backend.Renewal
	for i := range 1000 {
		name := "lock-" + strconv.Itoa(i)
		items = append(items, backend.Renewal{Member: name, Token: "t", TTL: time.Minute})
		if _, err := be.Lock(b.Context(), backend.LockRequest{
			Namespace: ns, Token: "t", TTL: time.Minute, Items: []backend.LockItem{{Name: name}},
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := be.RenewLocks(b.Context(), backend.RenewRequest{Namespace: ns, Items: items}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/lease")
}
