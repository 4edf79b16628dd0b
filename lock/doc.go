// Package lock has distributed locks: fair, fenced, and known to be lost when they are.
//
// A [Mutex] is a name and a configuration. Each acquisition gives a [Held], which has to be unlocked:
//
//	report := lock.NewMutex(be, backend.Namespace{Prefix: "shop", Suffix: "lock"}, "report", lock.Config{})
//
//	held, err := report.Lock(ctx) // waits its turn; TryLock does not wait
//	if err != nil { ... }
//	defer held.Unlock(ctx) // works when ctx is over, too
//	write(held.Context(), held.Fence())
//
// or, in one call,
//
//	err := report.Do(ctx, func(ctx context.Context) error { return write(ctx) })
//
// [Multi] is the same for several names, all or none, [RWMutex] for one writer or many readers, [Semaphore] for units
// of which each holder has some. Nothing of these has to be closed but the backend: what renews locks in the background
// needs no goroutine of its own, and is given up when nothing has been held for a while.
//
// A [Redlock] is for several servers that know nothing of each other: it outlives the loss of a minority of them, has no
// fences, and has to be closed.
//
// [Keys] locks names the plain way, with a value and a TTL and no handle, as Python's RedisLock does. A [Pool] is a set of
// names, and how each of them stands. A [Heartbeat] is a set of members of which everybody knows who is alive.
//
// # What is promised, and what is not
//
// A lock is a lease: it has a TTL, which is renewed in the background while it is held ([Config.NoRenewal] turns that off),
// and runs out when its holder's process is gone. For its holder it ends by the local monotonic clock, no later than the
// moment the last confirmed request was sent plus the TTL, less a fiftieth of it (at least 1 ms, at most 250 ms). Then
// [Held.Context] ends, with a cause: [ErrLost], [ErrExpired] or [ErrReleased].
//
// Mutual exclusion holds as long as the store keeps its data and no holder's clock stands still: the context of one
// holder has ended before another is granted the name, whatever the network does. It does not hold
//
//   - for a process that is stopped (by a debugger, a snapshot, a long pause of the machine) between its last look at
//     the context and what it does next;
//   - for a request of the holder's that is still under way to some third party when the lock ends;
//   - when the store loses data: a restart without persistence, or a failover to a replica that had not got the lock
//     yet. [Config.Replicas] makes the latter less likely, not impossible;
//   - for several holders that share a token on purpose, as far as [Token] says.
//
// All of these can be caught by one means only: the fencing number, [Held.Fence], which grows with each grant in a
// namespace, also when the server lost its last writes: it follows the server's clock, which must not have been set back
// meanwhile, nor that of a replica that takes over be behind by more than the failover takes. Send it along, and have
// whatever is protected refuse a number smaller than the largest it has seen. A lock without that is a way to save work,
// not a guarantee.
//
// Sources: C. Gray and D. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file cache
// consistency", SOSP 1989 (leases, and what they ask of clocks); M. Burrows, "The Chubby lock service for loosely-coupled
// distributed systems", OSDI 2006, section 2.4 (sequencers, which are fencing numbers); M. Kleppmann, "How to do
// distributed locking", 2016, https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html; and "Distributed
// locks with Redis", https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/.
//
// # Waiting
//
// Whoever waits does so in a line: by priority, then first come first served, across all processes. An Unlock hands
// the lock to the first waiter in the same step; nobody else is woken, and nobody tries twice. While somebody waits, TryLock gets
// nothing. A wait ends with its context, or after [Config.MaxWait], and leaves nothing held.
//
// # Reentrance
//
// A lock does not know goroutines. Who calls something that takes a lock that it already holds passes that on in a
// context, with [WithHeld]; [Mutex.Do] has done so. The lock then is granted at once, without asking the store, and is given
// back when all have unlocked. Across processes the same token, passed on with [Token], does it.
//
// # Who holds it
//
// The lock is a string in the store, "<prefix>|<suffix>:<name>", shared with the Python library redis-allocator. Its value
// is the holder's token and says who that is, for whoever looks with redis-cli or with [Mutex.State]; see [ParseHolder].
//
// # Errors
//
// Errors are wrapped with what was attempted; compare them with errors.Is: [ErrLocked], [ErrNotHeld], those of package
// backend (ErrInvalid, ErrClosed, ErrUnavailable, ErrPermission, ErrReplicas, ErrLimit, ...) and those of the caller's context. What is
// wrong with a name or a configuration is said by each call, before anything is sent. An acquisition that fails
// leaves nothing held. One that has waited until its context or MaxWait was over, while the store could not be reached, matches
// ErrUnavailable, too, and leaves nothing held as soon as the store can be.
package lock
