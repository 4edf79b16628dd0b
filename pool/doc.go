// Package pool shares scarce things between processes: proxies, GPUs, test devices, accounts, licence seats.
//
// An [Allocator] hands out the members of a pool, which are keys: "10.0.0.1:8080", "gpu3". Who gets one holds a
// [Lease] on it until it releases it, or until the lease runs out because the process that held it is gone:
//
//	proxies, err := pool.New(be, pool.Config[*Proxy]{
//		Namespace: backend.Namespace{Prefix: "crawler", Suffix: "proxies"},
//	})
//	defer proxies.Close()
//	err = proxies.Extend(ctx, []string{"10.0.0.1:8080", "10.0.0.2:8080"})
//
//	lease, err := proxies.Acquire(ctx, &Proxy{}) // Malloc is the same without waiting
//	if err != nil { ... }
//	defer lease.Release(ctx) // works when ctx is over, too
//	crawl(lease.Context(), lease.Object())
//
// The type parameter is whatever is configured with the key: an [Allocatable]. Who only needs keys uses [None].
//
// # Leases
//
// In exclusive mode, the default, a member has one holder at a time. Its lease has a TTL, is renewed in the background
// and ends by the local monotonic clock: no later than the moment the last confirmed request was sent plus the TTL,
// less a fiftieth of it (at least 1 ms, at most 250 ms). [Lease.Context] ends then, with a cause: [ErrLost],
// [ErrExpired] or [ErrReleased].
//
// What this promises: while the store keeps its data and no holder's clock stands still, the context of one holder has
// ended before another gets the member. A process that was stopped in the middle of a write, or a store that lost
// data, can only be caught by the number [Lease.Fence], which grows with each grant, also when the store lost its last
// writes, unless its clock is behind them: have whatever is written to refuse smaller numbers than it has seen.
//
// In shared mode ([Config.Shared]) members go round: nobody is locked out, and a lease has no deadline and no fence.
//
// # Waiting
//
// [Allocator.Malloc] never waits, [Allocator.Acquire] waits its turn: by priority, then in the order of arrival, across
// all processes. While somebody waits, Malloc gets nothing.
//
// # Errors
//
// Errors are wrapped with what was attempted; compare them with errors.Is: [ErrExhausted], [ErrNotHeld], those of
// package backend (ErrInvalid, ErrClosed, ErrUnavailable, ErrPermission, ...) and those of the caller's context. An
// allocation that fails leaves nothing held. One that has waited until its context or MaxWait was over, while the store could
// not be reached, matches ErrUnavailable, too, and leaves nothing held as soon as the store can be. Panics in the caller's
// code become errors ([policy.PanicError]).
package pool
