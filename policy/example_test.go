package policy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// Printer is a device that is shared in these examples.
type Printer struct{ name string }

// Configure learns which printer this is.
func (p *Printer) Configure(key string, _ any) error {
	p.name = key
	return nil
}

// CheckHealth would ask the printer.
func (p *Printer) CheckHealth(context.Context) error {
	if p.name == "attic" {
		return errors.New("out of paper")
	}
	return nil
}

var office = backend.Namespace{Prefix: "office", Suffix: "printers"}

// A pool that fills itself from an inventory, looks again every five minutes, and hands out what works.
func Example() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()

	inventory := policy.SourceFunc(func(context.Context) ([]string, error) {
		return []string{"attic", "basement"}, nil
	})
	printers, err := pool.New(be, pool.Config[*Printer]{
		Namespace: office,
		Policy: policy.Chain(
			policy.Refresh[*Printer](policy.NewUpdater(inventory), policy.RefreshConfig{Interval: 5 * time.Minute}),
			policy.CheckBeforeUse[*Printer](policy.HealthConfig{Quarantine: time.Hour, Attempts: 3}),
			policy.Collect[*Printer](5),
		),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer printers.Close()

	lease, err := printers.Malloc(ctx, &Printer{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("printing in the", lease.Object().name)
	fmt.Println(lease.Release(ctx))
	// Output:
	// printing in the basement
	// <nil>
}

// What the Python library does, and a check around it: every policy can be wrapped.
func ExampleDefault() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()

	pol := policy.Default(policy.Defaults[*Printer]{
		Updater: policy.NewUpdater(policy.SourceFunc(func(context.Context) ([]string, error) {
			return []string{"attic"}, nil
		})),
	})
	pol = policy.CheckBeforeUse[*Printer](policy.HealthConfig{})(pol)

	printers, err := pool.New(be, pool.Config[*Printer]{Namespace: office, Policy: pol})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer printers.Close()
	_, err = printers.Malloc(ctx, &Printer{})
	fmt.Println(errors.Is(err, policy.ErrUnhealthy), errors.Is(err, policy.ErrExhausted))
	// Output: true true
}

// A part of one's own is a function that gets the request and what comes next.
func ExamplePart() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()

	atMost := func(limit time.Duration) policy.Middleware[pool.None] {
		return policy.Part(func(ctx context.Context, p policy.Pool[pool.None], req policy.Request[pool.None],
			next policy.Policy[pool.None],
		) ([]policy.Lease[pool.None], error) {
			if req.TTL == backend.NoExpiry || req.TTL > limit {
				req.TTL = limit
			}
			return next.Allocate(ctx, p, req)
		})
	}
	rooms, err := pool.New(be, pool.Config[pool.None]{
		Namespace: backend.Namespace{Prefix: "office", Suffix: "rooms"},
		Policy:    policy.Chain(atMost(time.Hour)),
		NoRenewal: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rooms.Close()
	if err := rooms.Extend(ctx, []string{"library"}); err != nil {
		fmt.Println(err)
		return
	}
	lease, err := rooms.MallocKey(ctx, pool.TTL(backend.NoExpiry))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Key(), time.Until(lease.Deadline()) <= time.Hour)
	fmt.Println(lease.Release(ctx))
	// Output:
	// library true
	// <nil>
}

// Three lists that know a part of the pool each: every fetch asks the next one.
func ExampleUpdater() {
	list := func(members ...string) policy.Source {
		return policy.SourceFunc(func(context.Context) ([]string, error) { return members, nil })
	}
	broken := policy.SourceFunc(func(context.Context) ([]string, error) { panic("no such table") })
	u := policy.NewUpdater(list("attic"), broken, list("basement", "cellar"))
	for range 4 {
		members, err := u.Fetch(context.Background())
		slices.Sort(members) // they come shuffled
		fmt.Println(members, err)
	}
	// Output:
	// [attic] <nil>
	// [] source 1: panic: no such table
	// [basement cellar] <nil>
	// [attic] <nil>
}
