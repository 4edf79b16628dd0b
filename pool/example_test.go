package pool_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// Proxy is a resource: whatever works with a key of the pool.
type Proxy struct {
	Addr string
}

// Configure is called by each allocation.
func (p *Proxy) Configure(key string, _ any) error {
	p.Addr = key
	return nil
}

func (p *Proxy) Fetch(ctx context.Context, url string) error { return ctx.Err() }

func Example() {
	ctx := context.Background()
	be := memory.New() // or rueidis.Open(ctx, "redis://localhost:6379")
	defer be.Close()

	proxies, err := pool.New(be, pool.Config[*Proxy]{
		Namespace: backend.Namespace{Prefix: "crawler", Suffix: "proxies"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxies.Close()
	if err := proxies.Extend(ctx, []string{"10.0.0.1:8080", "10.0.0.2:8080"}); err != nil {
		fmt.Println(err)
		return
	}

	lease, err := proxies.Acquire(ctx, &Proxy{}, pool.TTL(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release(ctx)

	// The context ends if the lease is lost: whatever runs under it stops before another gets the proxy.
	err = lease.Object().Fetch(lease.Context(), "http://example.com")
	fmt.Println(lease.Object().Addr, err)
	// Output: 10.0.0.1:8080 <nil>
}

func ExampleAllocator_MallocKey() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()
	gpus, err := pool.New(be, pool.Config[pool.None]{Namespace: backend.Namespace{Prefix: "lab", Suffix: "gpus"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gpus.Close()
	_ = gpus.Extend(ctx, []string{"gpu0"})

	lease, err := gpus.MallocKey(ctx)
	fmt.Println(lease.Key(), err)
	_, err = gpus.MallocKey(ctx)
	fmt.Println("none left:", errors.Is(err, pool.ErrExhausted))
	fmt.Println(lease.Release(ctx))
	// Output:
	// gpu0 <nil>
	// none left: true
	// <nil>
}

func ExampleAllocator_AcquireN() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()
	gpus, err := pool.New(be, pool.Config[pool.None]{Namespace: backend.Namespace{Prefix: "lab", Suffix: "gpus"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gpus.Close()
	_ = gpus.Extend(ctx, []string{"gpu0", "gpu1", "gpu2"})

	leases, err := gpus.AcquireN(ctx, 2, pool.Priority(10), pool.MaxWait(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, lease := range leases {
		fmt.Println(lease.Key())
		defer lease.Release(ctx)
	}
	// Output:
	// gpu0
	// gpu1
}

// Account is a resource with a name: it gets the same account again, as long as nobody else has it.
type Account struct {
	user, login string
}

func (a *Account) Configure(key string, _ any) error { a.login = key; return nil }
func (a *Account) BindingName() string               { return a.user }

func ExampleNamer() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()
	accounts, err := pool.New(be, pool.Config[*Account]{Namespace: backend.Namespace{Prefix: "test", Suffix: "accounts"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer accounts.Close()
	_ = accounts.Extend(ctx, []string{"login-1", "login-2", "login-3"})

	for _, user := range []string{"alice", "bob", "alice"} {
		lease, err := accounts.Malloc(ctx, &Account{user: user})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(user, lease.Object().login)
		_ = lease.Release(ctx)
	}
	// Output:
	// alice login-1
	// bob login-2
	// alice login-1
}

func ExampleLease_SetUnhealthy() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()
	proxies, err := pool.New(be, pool.Config[*Proxy]{
		Namespace: backend.Namespace{Prefix: "crawler", Suffix: "proxies"},
		Policy:    policy.Default(policy.Defaults[*Proxy]{}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxies.Close()
	_ = proxies.Extend(ctx, []string{"good:8080", "bad:8080"})

	lease, err := proxies.Malloc(ctx, &Proxy{}, pool.Only("bad:8080"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = lease.SetUnhealthy(ctx, time.Hour) // nobody gets it for an hour
	_ = lease.Release(ctx)

	seen, err := proxies.Snapshot(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(seen.Keys(pool.Free), seen.Keys(pool.Quarantined))
	// Output: [good:8080] [bad:8080]
}
