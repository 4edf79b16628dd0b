package benchmarks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	ours "github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// A bench is what one experiment works with. Whatever it opens is closed by close.
type bench struct {
	Options
	url     string // of the server, if the experiment needs one
	closers []func()
}

// close ends all that was opened, the last first.
func (b *bench) close() {
	for _, c := range slices.Backward(b.closers) {
		c()
	}
	b.closers = nil
}

// client gives a client of its own.
func (b *bench) client() (rueidis.Client, error) {
	option, err := rueidis.ParseURL(b.url)
	if err != nil {
		return nil, err
	}
	c, err := rueidis.NewClient(option)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, c.Close)
	return c, nil
}

// backend gives a backend of its own on the server.
func (b *bench) backend(ctx context.Context) (*ours.Backend, error) {
	be, err := ours.Open(ctx, b.url)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() { _ = be.Close() })
	return be, nil
}

// space gives a namespace that nobody else uses. On the server its keys are removed at the end.
func (b *bench) space(ctx context.Context) (backend.Namespace, error) {
	ns := backend.Namespace{Prefix: fmt.Sprintf("benchmark-%016x", rand.Uint64()), Suffix: "allocator"}
	if b.url == "" {
		return ns, nil
	}
	c, err := b.client()
	if err != nil {
		return ns, err
	}
	b.closers = append(b.closers, func() {
		keys := []string{
			ns.Pool(), ns.PoolHead(), ns.PoolTail(), ns.PoolCursor(), ns.Leases(), ns.Fence(),
			ns.Line(), ns.LineRequests(), ns.LineProcesses(), ns.LineSequence(), ns.Lock(ns.RefreshLock()),
			ns.LockRequests(), ns.LockProcesses(), ns.LockSequence(),
		}
		c.Do(context.WithoutCancel(ctx), c.B().Del().Key(keys...).Build())
	})
	return ns, nil
}

// A resource is what the pools of the benchmarks hand out.
type resource struct{ key string }

// Configure notes the key.
func (r *resource) Configure(key string, _ any) error {
	r.key = key
	return nil
}

type allocator = pool.Allocator[*resource]

// open gives an allocator for a namespace.
func (b *bench) open(be pool.Backend, cfg pool.Config[*resource]) (*allocator, error) {
	a, err := pool.New(be, cfg)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() { _ = a.Close() })
	return a, nil
}

// pool gives an allocator for a new pool of n members on the server, through a backend of its own.
func (b *bench) pool(ctx context.Context, n int, p policy.Policy[*resource]) (*allocator, error) {
	be, err := b.backend(ctx)
	if err != nil {
		return nil, err
	}
	return b.poolOn(ctx, be, n, p)
}

// poolOn is pool on a given backend.
func (b *bench) poolOn(ctx context.Context, be pool.Backend, n int, p policy.Policy[*resource]) (*allocator, error) {
	ns, err := b.space(ctx)
	if err != nil {
		return nil, err
	}
	a, err := b.open(be, pool.Config[*resource]{Namespace: ns, Policy: p})
	if err != nil {
		return nil, err
	}
	return a, a.Extend(ctx, members(n))
}

// members gives n names.
func members(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "member-" + strconv.Itoa(i)
	}
	return names
}
