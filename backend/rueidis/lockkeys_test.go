package rueidis

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// furnishLocks makes what lockMethods expect: a name held alone, one that was granted again, one that is shared, and one
// with a line.
func (r *lockRoom) furnishLocks(b *Backend) {
	r.Helper()
	r.lock(b, r.asks("holder", item("alone")))
	again := r.asks("twice", item("again"))
	again.Again = true
	r.lock(b, again)
	r.lock(b, again)
	r.lock(b, r.asks("reader1", backend.LockItem{Name: "shared", Units: 2, Limit: 5}))
	r.lock(b, r.asks("reader2", backend.LockItem{Name: "shared", Units: 1, Limit: 5}))
	r.lock(b, r.asks("first", item("waited")))
	sp, err := b.space(r.ns)
	require.NoError(r, err)
	require.NoError(r, sp.lock(r.Context(), &lockOp{req: r.asks("second", item("waited")), wait: true, claim: time.Minute}))
}

// lockMethods are the methods for locks in all their forms, each of which changes or reads something.
func lockMethods() []method {
	locks := func(change func(*backend.LockRequest)) func(context.Context, *Backend, backend.Namespace) error {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			req := backend.LockRequest{Namespace: ns, Token: "new", TTL: time.Hour, Items: []backend.LockItem{item("free")}}
			change(&req)
			_, err := b.Lock(ctx, req)
			return err
		}
	}
	unlocks := func(items ...backend.Held) func(context.Context, *Backend, backend.Namespace) error {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: items})
			return err
		}
	}
	renews := func(items ...backend.Renewal) func(context.Context, *Backend, backend.Namespace) error {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.RenewLocks(ctx, backend.RenewRequest{Namespace: ns, Items: items})
			return err
		}
	}
	enters := func(it backend.LockItem) func(context.Context, *Backend, backend.Namespace) error {
		return func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			sp, err := b.space(ns)
			if err != nil {
				return err
			}
			req := backend.LockRequest{Namespace: ns, Token: "new", TTL: time.Hour, Items: []backend.LockItem{it}}
			return sp.lock(ctx, &lockOp{req: req, wait: true, claim: time.Minute})
		}
	}
	shared := backend.LockItem{Name: "shared", Units: 1, Limit: 5}
	return []method{
		{"Lock", locks(func(*backend.LockRequest) {})},
		{"Lock what is held", locks(func(r *backend.LockRequest) { r.Items[0].Name = "alone" })},
		{"Lock several", locks(func(r *backend.LockRequest) { r.Items = append(r.Items, item("other"), shared) })},
		{"Lock units", locks(func(r *backend.LockRequest) { r.Items[0] = shared })},
		{"Lock units of what is free", locks(func(r *backend.LockRequest) { r.Items[0].Units, r.Items[0].Limit = 1, 2 })},
		{"Lock again", locks(func(r *backend.LockRequest) { r.Token, r.Again, r.Items[0].Name = "twice", true, "again" })},
		{"Lock for ever", locks(func(r *backend.LockRequest) { r.TTL = backend.NoExpiry })},
		{"Downgrade", locks(func(r *backend.LockRequest) {
			r.Token, r.Downgrade, r.Items[0] = "holder", true, reading("alone")
		})},
		{"Enter", enters(item("free"))},
		{"Enter a line", enters(item("waited"))},
		{"Enter for units", enters(shared)},
		{"Unlock", unlocks(backend.Held{Member: "alone", Token: "holder"})},
		{"Unlock what was granted again", unlocks(backend.Held{Member: "again", Token: "twice"})},
		{"Unlock units", unlocks(backend.Held{Member: "shared", Token: "reader1"})},
		{"Unlock what is waited for", unlocks(backend.Held{Member: "waited", Token: "first"})},
		{"Unlock several", unlocks(backend.Held{Member: "alone", Token: "holder"}, backend.Held{Member: "waited", Token: "first"})},
		{"Unlock and lock together", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			sp, err := b.space(ns)
			if err != nil {
				return err
			}
			req := backend.LockRequest{Namespace: ns, Token: "new", TTL: time.Hour, Items: []backend.LockItem{item("free")}}
			return b.fail(ctx, "lock", ns, sp.lockExchange(nil, []*part{
				{returns: []backend.Held{{Member: "alone", Token: "holder"}}}, {lock: &lockOp{req: req}},
			}))
		}},
		{"RenewLocks", renews(backend.Renewal{Member: "alone", Token: "holder", TTL: 2 * time.Hour})},
		{"RenewLocks of several", renews(
			backend.Renewal{Member: "again", Token: "twice", TTL: 2 * time.Hour},
			backend.Renewal{Member: "shared", Token: "reader2", TTL: backend.NoExpiry})},
		{"Force", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Force: true, Items: []backend.Held{
				{Member: "alone"}, {Member: "again"}, {Member: "shared"}, {Member: "waited"},
			}})
			return err
		}},
		{"SetLimit", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			return b.SetLimit(ctx, backend.LimitRequest{Namespace: ns, Name: "shared", Limit: 7})
		}},
		{"Holders", func(ctx context.Context, b *Backend, ns backend.Namespace) error {
			_, err := b.Holders(ctx, backend.HoldersRequest{Namespace: ns, Names: []string{"alone", "again", "shared", "waited"}})
			return err
		}},
	}
}

// TestWrongTypeOfLocks puts a value of a wrong type under each key and makes all calls: each either has nothing to do with
// the key, or fails with ErrWrongType and changes nothing.
func TestWrongTypeOfLocks(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	r := newLockRoom(t, url)
	backends := []*Backend{r.process(url), r.process(url, func(o *options) { o.roundabout = true })}
	ns := &r.ns
	for _, key := range []struct {
		name  string
		of    func() string
		fails []string // some that have to
	}{
		{"lock", func() string { return ns.Lock("alone") }, []string{"Lock what is held", "Unlock", "Downgrade", "Force", "Holders"}},
		{"free lock", func() string { return ns.Lock("free") }, []string{"Lock", "Lock units of what is free", "Lock for ever", "Enter"}},
		{"entries", func() string { return ns.LockEntriesPrefix() + "again" }, []string{"Lock again", "Unlock what was granted again"}},
		{"entries of a free name", func() string { return ns.LockEntriesPrefix() + "free" }, []string{"Lock", "Enter"}},
		{"holders", func() string { return ns.LockHolders("shared") }, []string{"Lock units", "Unlock units", "Holders", "Force"}},
		{"holders of a free name", func() string { return ns.LockHolders("free") }, []string{"Lock units of what is free"}},
		{"units", func() string { return ns.LockUnitsPrefix() + "shared" }, []string{"Lock units", "Unlock units", "Holders"}},
		{"line", func() string { return ns.LockLine("waited") }, []string{"Enter a line", "Unlock what is waited for", "Unlock several"}},
		{"line of a free name", func() string { return ns.LockLine("free") }, []string{"Lock", "Lock several", "Enter"}},
		{"requests", func() string { return ns.LockRequests() }, []string{"Enter a line", "Unlock what is waited for", "Unlock several"}},
		{"processes", func() string { return ns.LockProcesses() }, []string{"Enter a line", "Unlock what is waited for"}},
		{"sequence", func() string { return ns.LockSequence() }, []string{"Enter a line"}},
		{"limits", func() string { return ns.LockLimits() }, []string{"Lock units", "SetLimit", "Holders"}},
		{"fence", func() string { return ns.Fence() }, []string{"Lock", "Lock units", "Enter", "Unlock what is waited for", "Unlock and lock together"}},
	} {
		for kind, put := range map[string]func(r *room, key string){"list": spoil["list"], "set": spoil["set"]} {
			failed := map[string]bool{}
			for i, b := range backends {
				for _, m := range lockMethods() {
					r.do("FLUSHALL")
					r.furnishLocks(b)
					r.do("DEL", key.of())
					put(r.room, key.of())
					before := r.dump()
					err := m.do(t.Context(), b, *ns)
					if err == nil {
						continue
					}
					failed[fmt.Sprint(i, m.name)] = true
					require.ErrorIs(t, err, backend.ErrWrongType, "%s of %s", m.name, key.name)
					require.Equal(t, before, r.dump(), "%s of %s, a %s", m.name, key.name, kind)
				}
				for _, name := range key.fails {
					assert.True(t, failed[fmt.Sprint(i, name)], "%s succeeds without %s (%d)", name, key.name, i)
				}
			}
		}
	}
}

// TestWrongTypeOfOneLock shows that in a shared call one caller's wrong key is nobody else's trouble.
func TestWrongTypeOfOneLock(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.do("RPUSH", r.ns.Lock("bad"), "a")
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	var batch []*part
	for i := range 64 {
		p := newPart()
		p.lock = &lockOp{req: r.asks(backend.NewToken(), item(fmt.Sprint("good", i)))}
		if i == 7 || i == 40 {
			p.lock.req.Items[0].Name = "bad"
		}
		batch = append(batch, p)
	}
	sp.lockComb.exchange(nil, batch)
	for i, p := range batch {
		if i == 7 || i == 40 {
			require.ErrorIs(t, b.fail(t.Context(), "lock", r.ns, p.err), backend.ErrWrongType)
			require.Empty(t, p.lock.grants)
			continue
		}
		require.NoError(t, p.err)
		require.Len(t, p.lock.grants, 1)
	}
}

// TestLocksFromOutside: what Python or an administrator does with a lock counts, whatever stands beside it.
func TestLocksFromOutside(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	state := func() backend.LockState {
		got, err := b.Holders(t.Context(), backend.HoldersRequest{Namespace: r.ns, Names: []string{"n"}})
		require.NoError(t, err)
		return got[0]
	}
	back := func(token string) bool {
		got, err := b.Unlock(t.Context(), backend.UnlockRequest{Namespace: r.ns, Items: []backend.Held{{Member: "n", Token: token}}})
		require.NoError(t, err)
		return got.Unlocked[0]
	}
	renew := func(token string) bool {
		got, err := b.RenewLocks(t.Context(), backend.RenewRequest{
			Namespace: r.ns, Items: []backend.Renewal{{Member: "n", Token: token, TTL: time.Hour}},
		})
		require.NoError(t, err)
		return got.Renewed[0]
	}
	refused := func(items ...backend.LockItem) {
		t.Helper()
		got, err := b.Lock(t.Context(), r.asks(backend.NewToken(), items...))
		require.NoError(t, err)
		require.Empty(t, got.Grants)
	}

	r.do("SET", r.ns.Lock("n"), "1", "PX", "100000") // as Python locks
	require.Equal(t, "1", state().Owner)
	refused(item("n"))
	refused(reading("n"))
	require.True(t, back("1"))

	units := backend.LockItem{Name: "n", Units: 3, Limit: 4}
	r.lock(b, r.asks("old", units))
	r.do("DEL", r.ns.Lock("n")) // which frees all of it
	require.False(t, state().Locked)
	require.False(t, renew("old"))
	require.False(t, back("old"))
	r.lock(b, r.asks("new", units))
	require.Equal(t, 3, state().Units)
	require.False(t, back("old"))

	r.do("SET", r.ns.Lock("n"), "1") // has it alone
	require.Equal(t, backend.LockState{Locked: true, Owner: "1", TTL: backend.NoExpiry, Limit: 4}, state())
	require.False(t, renew("new"))
	refused(units)
	r.do("DEL", r.ns.Lock("n"))

	again := r.asks("token", item("n"))
	again.Again = true
	r.lock(b, again)
	r.lock(b, again)
	r.do("DEL", r.ns.Lock("n"))
	r.lock(b, r.asks("token", item("n"))) // what was counted for it before is over
	require.True(t, back("token"))
	require.False(t, state().Locked)

	r.do("DEL", r.ns.LockHolders("n"))
	r.do("SET", r.ns.Lock("n"), backend.SharedToken) // shared by nobody
	require.False(t, state().Locked)
	r.lock(b, r.asks("token", item("n")))
	require.Equal(t, "token", state().Owner)
}

// TestLocksAreShared counts the calls that many callers at once need.
func TestLocksAreShared(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newLockRoom(t, s.URL())
	b := r.process(s.URL())
	r.unlock(b, r.lock(b, r.asks("first", item("first")))...) // with it, the script is known
	const callers = 1024
	before := r.scripts()
	s.Pause()
	fences := make(chan int64, callers)
	for i := range callers {
		go func() {
			got, err := b.Lock(t.Context(), r.asks(fmt.Sprint("t", i), item(fmt.Sprint("n", i))))
			if !assert.NoError(t, err) || !assert.Len(t, got.Grants, 1) {
				fences <- 0
				return
			}
			fences <- got.Grants[0].Fence
		}()
	}
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	until(t, "that two calls are under way, and all others wait", func() bool {
		sp.lockComb.mu.Lock()
		defer sp.lockComb.mu.Unlock()
		return sp.lockComb.flying == maxFlying && len(sp.lockComb.waiting) >= callers-maxFlying*maxBatch
	})
	s.Resume()
	var all []int64
	for range callers {
		all = append(all, <-fences)
	}
	slices.Sort(all)
	require.Positive(t, all[0])
	require.Len(t, slices.Compact(all), callers, "each has a fence of its own")
	require.LessOrEqual(t, r.scripts()-before, callers/maxBatch+8)
}
