package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// wire is a store that counts what would be sent: requests that a backend does not refuse by itself.
type wire struct {
	pool.Backend
	sent atomic.Int64
}

func (w *wire) count(ctx context.Context, invalid error) {
	if invalid == nil && ctx.Err() == nil {
		w.sent.Add(1)
	}
}

func (w *wire) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Get(ctx, req)
}

func (w *wire) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Set(ctx, req)
}

func (w *wire) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Delete(ctx, req)
}

func (w *wire) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Scan(ctx, req)
}

func (w *wire) Extend(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Extend(ctx, req)
}

func (w *wire) Shrink(ctx context.Context, req backend.ShrinkRequest) (backend.EditReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Shrink(ctx, req)
}

func (w *wire) Assign(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Assign(ctx, req)
}

func (w *wire) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Take(ctx, req)
}

func (w *wire) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Return(ctx, req)
}

func (w *wire) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Renew(ctx, req)
}

func (w *wire) Collect(ctx context.Context, req backend.CollectRequest) (backend.CollectReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Collect(ctx, req)
}

func (w *wire) Inspect(ctx context.Context, req backend.InspectRequest) (backend.InspectReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Inspect(ctx, req)
}

func (w *wire) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Enter(ctx, req)
}

func (w *wire) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Leave(ctx, req)
}

func (w *wire) Queue(ctx context.Context, req backend.QueueRequest) (backend.QueueReply, error) {
	w.count(ctx, req.Validate())
	return w.Backend.Queue(ctx, req)
}

// What no key may be, no name, token or binding, no lifetime, and no number of members.
var (
	badNames  = []string{"a\x00b", "\x00", "\xff", "a\xc3", "\xed\xa0\x80", strings.Repeat("x", backend.MaxNameLen+1), strings.Repeat("x", 1<<20)}
	badKeys   = append(slices.Clone(badNames), "", "||", "a||b", "a|||b", "|a", "|", backend.Allocated)
	badTTLs   = []time.Duration{0, -2, -time.Second, -1 << 63, 1, time.Millisecond - 1}
	badCounts = []int{0, -1, backend.MaxTake + 1, math.MaxInt32, math.MinInt32}
)

// attempt is a call with input that nobody can use. It gets an allocator with the free members a and b, and a lease on
// another one.
type attempt func(ctx context.Context, p *pool.Allocator[*thing], l *pool.Lease[*thing]) error

// allocations are the ways to ask for members.
var allocations = map[string]func(ctx context.Context, p *pool.Allocator[*thing], opts ...pool.Option) error{
	"Malloc": func(ctx context.Context, p *pool.Allocator[*thing], opts ...pool.Option) error {
		_, err := p.Malloc(ctx, new(thing), opts...)
		return err
	},
	"MallocKey": func(ctx context.Context, p *pool.Allocator[*thing], opts ...pool.Option) error {
		_, err := p.MallocKey(ctx, opts...)
		return err
	},
	"MallocN": func(ctx context.Context, p *pool.Allocator[*thing], opts ...pool.Option) error {
		_, err := p.MallocN(ctx, 2, opts...)
		return err
	},
	"Acquire": func(ctx context.Context, p *pool.Allocator[*thing], opts ...pool.Option) error {
		_, err := p.Acquire(ctx, new(thing), opts...)
		return err
	},
	"AcquireKey": func(ctx context.Context, p *pool.Allocator[*thing], opts ...pool.Option) error {
		_, err := p.AcquireKey(ctx, opts...)
		return err
	},
	"AcquireN": func(ctx context.Context, p *pool.Allocator[*thing], opts ...pool.Option) error {
		_, err := p.AcquireN(ctx, 2, opts...)
		return err
	},
}

// edits are the ways to name keys.
var edits = map[string]func(ctx context.Context, p *pool.Allocator[*thing], keys []string, opts ...pool.EditOption) error{
	"Extend": func(ctx context.Context, p *pool.Allocator[*thing], keys []string, opts ...pool.EditOption) error {
		return p.Extend(ctx, keys, opts...)
	},
	"Assign": func(ctx context.Context, p *pool.Allocator[*thing], keys []string, opts ...pool.EditOption) error {
		return p.Assign(ctx, keys, opts...)
	},
	"Shrink": func(ctx context.Context, p *pool.Allocator[*thing], keys []string, _ ...pool.EditOption) error {
		return p.Shrink(ctx, keys)
	},
	"FreeKeys": func(ctx context.Context, p *pool.Allocator[*thing], keys []string, opts ...pool.EditOption) error {
		_, err := p.FreeKeys(ctx, keys, opts...)
		return err
	},
	"Contains": func(ctx context.Context, p *pool.Allocator[*thing], keys []string, _ ...pool.EditOption) error {
		_, err := p.Contains(ctx, keys...)
		return err
	},
}

// attempts are all of them by name.
func attempts() map[string]attempt {
	all := make(map[string]attempt)
	option := func(what string, only string, o ...pool.Option) {
		for way, allocate := range allocations {
			if strings.HasPrefix(way, only) {
				all[way+" with "+what] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
					return allocate(ctx, p, o...)
				}
			}
		}
	}
	for i, name := range badNames {
		option(fmt.Sprint("bad name ", i), "", pool.Name(name))
		option(fmt.Sprint("bad token ", i), "", pool.Token(name))
	}
	option("no token", "", pool.Token(""))
	for i, key := range badKeys {
		option(fmt.Sprint("bad preference ", i), "", pool.Prefer("a", key))
		option(fmt.Sprint("bad wish ", i), "", pool.Only("a", key))
		for _, long := range []bool{false, true} {
			list := []string{"c", "d", key}
			if long { // so long that the bad one comes in another step
				list = append(keys(backend.BatchLimit+1), key)
			}
			for way, edit := range edits {
				all[fmt.Sprintf("%s of %d keys, bad key %d", way, len(list), i)] = func(
					ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing],
				) error {
					return edit(ctx, p, list)
				}
			}
		}
	}
	option("too many preferences", "", pool.Prefer(keys(backend.MaxTake+1)...))
	option("too many wishes", "", pool.Only(keys(backend.MaxTake+1)...))
	option("no wish", "", pool.Only())
	option("a wish to wait for", "Acquire", pool.Only("a"))
	option("a name and a wish for two", "MallocN", pool.Name("n"))
	option("a name and a wish for two", "AcquireN", pool.Name("n"))
	for _, n := range []int{backend.MaxPriority + 1, -backend.MaxPriority - 1, math.MaxInt32, math.MinInt32} {
		option(fmt.Sprint("priority ", n), "Acquire", pool.Priority(n))
	}
	for _, d := range badTTLs {
		if d != backend.NoExpiry {
			option(fmt.Sprint("ttl ", int64(d)), "", pool.TTL(d))
			option(fmt.Sprint("binding ttl ", int64(d)), "", pool.Name("n"), pool.BindingTTL(d))
			for _, way := range []string{"Extend", "Assign", "FreeKeys"} {
				all[fmt.Sprint(way, " with member ttl ", int64(d))] = func(
					ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing],
				) error {
					return edits[way](ctx, p, []string{"a", "c"}, pool.MemberTTL(d))
				}
			}
			all[fmt.Sprint("Update by ", int64(d))] = func(ctx context.Context, _ *pool.Allocator[*thing], l *pool.Lease[*thing]) error {
				return l.Update(ctx, d)
			}
			all[fmt.Sprint("SetUnhealthy for ", int64(d))] = func(ctx context.Context, _ *pool.Allocator[*thing], l *pool.Lease[*thing]) error {
				return l.SetUnhealthy(ctx, d)
			}
			all[fmt.Sprint("RefreshUntilHealthy for ", int64(d))] = func(
				ctx context.Context, _ *pool.Allocator[*thing], l *pool.Lease[*thing],
			) error {
				return l.RefreshUntilHealthy(ctx, 2, d)
			}
		}
		option(fmt.Sprint("max wait ", int64(d)), "", pool.MaxWait(d))
	}
	option("endless max wait", "", pool.MaxWait(backend.NoExpiry))
	for _, n := range badCounts {
		all[fmt.Sprint("MallocN of ", n)] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
			_, err := p.MallocN(ctx, n)
			return err
		}
		all[fmt.Sprint("AcquireN of ", n)] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
			_, err := p.AcquireN(ctx, n)
			return err
		}
		all[fmt.Sprint("GC of ", n)] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
			_, err := p.GC(ctx, n)
			return err
		}
		if n <= 0 {
			all[fmt.Sprint("RefreshUntilHealthy in attempts ", n)] = func(
				ctx context.Context, _ *pool.Allocator[*thing], l *pool.Lease[*thing],
			) error {
				return l.RefreshUntilHealthy(ctx, n, time.Hour)
			}
		}
	}
	for i, token := range append([]string{""}, badNames...) {
		all[fmt.Sprint("Position of bad token ", i)] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
			_, err := p.Position(ctx, token)
			return err
		}
	}
	for what, cfg := range map[string]policy.CheckConfig[*thing]{
		"no New":                   {},
		"concurrency -1":           {New: func(string) *thing { return new(thing) }, Concurrency: -1},
		"a quarantine of -1 s":     {New: func(string) *thing { return new(thing) }, Quarantine: -time.Second},
		"a timeout of less than 0": {New: func(string) *thing { return new(thing) }, Timeout: -1},
	} {
		all["CheckHealth with "+what] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
			_, err := p.CheckHealth(ctx, cfg)
			return err
		}
	}
	for what, u := range map[string]*policy.Updater{
		"no updater": nil, "no source": policy.NewUpdater(), "a nil source": policy.NewUpdater(nil), "bad keys": policy.NewUpdater(static("c", "a||b")),
	} {
		all["RefreshAll with "+what] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
			_, err := p.RefreshAll(ctx, u, 0)
			return err
		}
	}
	all["RefreshAll for less than 0"] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
		_, err := p.RefreshAll(ctx, policy.NewUpdater(static("c")), -time.Second)
		return err
	}
	all["Malloc of nil"] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
		_, err := p.Malloc(ctx, nil)
		return err
	}
	all["Acquire for nil"] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
		_, err := p.Acquire(ctx, nil)
		return err
	}
	all["Malloc of what names itself badly"] = func(ctx context.Context, p *pool.Allocator[*thing], _ *pool.Lease[*thing]) error {
		_, err := p.Malloc(ctx, &thing{name: "a\x00"})
		return err
	}
	return all
}

// TestWhatNobodyCanUseChangesNothing: bad input gets an InvalidError, nothing is sent and nothing changes, with and
// without a policy, in both modes.
func TestWhatNobodyCanUseChangesNothing(t *testing.T) {
	t.Parallel()
	policies := map[string]func() policy.Policy[*thing]{
		"no policy": func() policy.Policy[*thing] { return nil },
		"direct":    policy.Direct[*thing],
		"default":   func() policy.Policy[*thing] { return policy.Default(policy.Defaults[*thing]{AutoClose: true}) },
		"all parts": func() policy.Policy[*thing] {
			return policy.Chain(policy.AutoClose[*thing](), policy.CheckBeforeUse[*thing](policy.HealthConfig{}), policy.Collect[*thing](5))
		},
	}
	for name, pol := range policies {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, shared %t", name, shared), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := &wire{Backend: memory.New()}
					p, err := pool.New(w, pool.Config[*thing]{Namespace: ns, Shared: shared, Policy: pol()})
					require.NoError(t, err)
					defer p.Close()
					require.NoError(t, p.Extend(t.Context(), []string{"x", "a", "b"}))
					l, err := p.Malloc(t.Context(), new(thing))
					require.NoError(t, err)
					state := func() *pool.Snapshot { return snapshot(t, p) }
					before, deadline := state(), l.Deadline()
					require.Empty(t, before.Violations)
					for what, try := range attempts() {
						w.sent.Store(0)
						err := try(t.Context(), p, l)
						require.ErrorIs(t, err, backend.ErrInvalid, what)
						var invalid *backend.InvalidError
						require.ErrorAs(t, err, &invalid, what)
						require.NotEmpty(t, invalid.Field, what)
						require.Less(t, len(err.Error()), 1000, what)
						require.Zero(t, w.sent.Load(), "%s sends something", what)
						require.Equal(t, before, state(), what)
						require.True(t, l.Valid(), what)
						require.Equal(t, deadline, l.Deadline(), what)
					}
					require.NoError(t, l.Release(t.Context()))
				})
			})
		}
	}
}

// TestAllocatorsThatCannotBe: New refuses what it cannot work with, sends nothing and leaves nothing behind.
func TestAllocatorsThatCannotBe(t *testing.T) {
	t.Parallel()
	chain := policy.Chain[*thing]
	var nilMemory *memory.Backend
	var nilFunc policy.Func[*thing]
	good := func() pool.Config[*thing] { return pool.Config[*thing]{Namespace: ns} }
	with := func(change func(*pool.Config[*thing])) pool.Config[*thing] {
		cfg := good()
		change(&cfg)
		return cfg
	}
	policies := map[string]policy.Policy[*thing]{
		"a nil function":           nilFunc,
		"a nil part":               chain(nil),
		"a nil part in the middle": chain(policy.Collect[*thing](5), nil, policy.AutoClose[*thing]()),
		"a part that gives nil":    chain(func(policy.Policy[*thing]) policy.Policy[*thing] { return nil }),
		"a part of no function":    chain(policy.Part[*thing](nil)),
		"a part around nothing":    policy.AutoClose[*thing]()(nil),
		"no order":                 chain(policy.Order[*thing](nil)),
		"no updater":               chain(policy.Refresh[*thing](nil, policy.RefreshConfig{})),
		"no source":                chain(policy.Refresh[*thing](policy.NewUpdater(), policy.RefreshConfig{})),
		"a nil source":             policy.Default(policy.Defaults[*thing]{Updater: policy.NewUpdater(static("a"), nil)}),
		"a negative interval":      policy.Default(policy.Defaults[*thing]{Updater: policy.NewUpdater(static("a")), Interval: -1}),
		"a negative member ttl":    policy.Default(policy.Defaults[*thing]{Updater: policy.NewUpdater(static("a")), MemberTTL: -2}),
		"a negative quarantine":    chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{Quarantine: -5})),
		"negative attempts":        chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{Attempts: -1})),
		"a negative timeout":       chain(policy.CheckBeforeUse[*thing](policy.HealthConfig{Timeout: -1})),
		"a negative binding ttl":   chain(policy.Bind(policy.BindConfig[*thing]{TTL: -2})),
	}
	w := &wire{Backend: memory.New()}
	refused := func(what string, be pool.Backend, cfg pool.Config[*thing]) {
		p, err := pool.New(be, cfg)
		require.ErrorIs(t, err, backend.ErrInvalid, what)
		var invalid *backend.InvalidError
		require.ErrorAs(t, err, &invalid, what)
		require.Nil(t, p, what)
		require.Less(t, len(err.Error()), 1000, what)
	}
	refused("no backend", nil, good())
	refused("a nil backend", nilMemory, good())
	for what, pol := range policies {
		refused(what, w, with(func(c *pool.Config[*thing]) { c.Policy = pol }))
	}
	for i, name := range append([]string{""}, badNames...) {
		refused(fmt.Sprint("bad prefix ", i), w, pool.Config[*thing]{Namespace: backend.Namespace{Prefix: name, Suffix: "s"}})
		refused(fmt.Sprint("bad suffix ", i), w, pool.Config[*thing]{Namespace: backend.Namespace{Prefix: "p", Suffix: name}})
	}
	for _, d := range badTTLs {
		if d == 0 {
			continue // the default
		}
		refused("ttl", w, with(func(c *pool.Config[*thing]) { c.TTL = d }))
		refused("binding ttl", w, with(func(c *pool.Config[*thing]) { c.BindingTTL = d }))
		refused("claim ttl", w, with(func(c *pool.Config[*thing]) { c.ClaimTTL = d }))
	}
	refused("claim without an end", w, with(func(c *pool.Config[*thing]) { c.ClaimTTL = backend.NoExpiry }))
	require.Zero(t, w.sent.Load())
}

// TestNothingForAnObjectThatIsNone: neither a nil interface, nor an interface around nil, nor what is nil and no pointer.
func TestNothingForAnObjectThatIsNone(t *testing.T) {
	t.Parallel()
	w := &wire{Backend: memory.New()}
	p, err := pool.New(w, pool.Config[pool.Allocatable]{Namespace: ns})
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Extend(t.Context(), []string{"a"}))
	w.sent.Store(0)
	var none *thing
	var noMap table
	for what, object := range map[string]pool.Allocatable{"nil": nil, "a nil pointer": none, "a nil map": noMap} {
		_, err := p.Malloc(t.Context(), object)
		require.ErrorIs(t, err, pool.ErrNilObject, what)
		require.ErrorIs(t, err, backend.ErrInvalid, what)
		_, err = p.Acquire(t.Context(), object)
		require.ErrorIs(t, err, pool.ErrNilObject, what)
	}
	require.Zero(t, w.sent.Load())
	l, err := p.Malloc(t.Context(), table{})
	require.NoError(t, err)
	require.Equal(t, table{"key": "a"}, l.Object())
	require.NoError(t, l.Release(t.Context()))
}

// table is an object that is a map.
type table map[string]string

func (m table) Configure(key string, _ any) error {
	m["key"] = key
	return nil
}

// everything calls each method that can touch the store, with input that is good.
func everything(p *pool.Allocator[*thing], l *pool.Lease[*thing]) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{
		"Clear":    p.Clear,
		"Len":      func(ctx context.Context) error { _, err := p.Len(ctx); return err },
		"GC":       func(ctx context.Context) error { _, err := p.GC(ctx, 5); return err },
		"Waiting":  func(ctx context.Context) error { _, err := p.Waiting(ctx); return err },
		"Position": func(ctx context.Context) error { _, err := p.Position(ctx, "t"); return err },
		"Snapshot": func(ctx context.Context) error { _, err := p.Snapshot(ctx); return err },
		"Keys": func(ctx context.Context) (err error) {
			for _, e := range p.Keys(ctx) {
				err = e
			}
			return err
		},
		"CheckHealth": func(ctx context.Context) error {
			_, err := p.CheckHealth(ctx, policy.CheckConfig[*thing]{New: func(string) *thing { return new(thing) }})
			return err
		},
		"RefreshAll": func(ctx context.Context) error {
			_, err := p.RefreshAll(ctx, policy.NewUpdater(static("c")), time.Hour)
			return err
		},
		"Update":              func(ctx context.Context) error { return l.Update(ctx, time.Hour) },
		"Refresh":             l.Refresh,
		"RefreshUntilHealthy": func(ctx context.Context) error { return l.RefreshUntilHealthy(ctx, 2, time.Hour) },
		"SetUnhealthy":        func(ctx context.Context) error { return l.SetUnhealthy(ctx, time.Hour) },
	}
	for name, allocate := range allocations {
		calls[name] = func(ctx context.Context) error { return allocate(ctx, p) }
	}
	for name, edit := range edits {
		calls[name] = func(ctx context.Context) error { return edit(ctx, p, []string{"a", "c"}) }
	}
	return calls
}

// TestACallThatIsOverBeforeItBeginsDoesNothing: with a context that has ended each method fails with its error, and
// nothing changes.
func TestACallThatIsOverBeforeItBeginsDoesNothing(t *testing.T) {
	t.Parallel()
	for _, pol := range []policy.Policy[*thing]{nil, policy.Default(policy.Defaults[*thing]{})} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{Backend: memory.New()}
			p, err := pool.New(w, pool.Config[*thing]{Namespace: ns, Policy: pol})
			require.NoError(t, err)
			defer p.Close()
			require.NoError(t, p.Extend(t.Context(), []string{"x", "a", "b"}))
			l, err := p.Malloc(t.Context(), new(thing))
			require.NoError(t, err)
			before := snapshot(t, p)
			over, cancel := context.WithCancel(t.Context())
			cancel()
			for name, call := range everything(p, l) {
				require.ErrorIs(t, call(over), context.Canceled, name)
				require.Equal(t, before, snapshot(t, p), name)
			}
			late, cancel := context.WithDeadline(t.Context(), time.Now())
			defer cancel()
			for _, name := range []string{"Malloc", "Acquire", "Extend", "Len"} {
				require.ErrorIs(t, everything(p, l)[name](late), context.DeadlineExceeded, name)
				require.Equal(t, before, snapshot(t, p), name)
			}
			require.True(t, l.Valid())
			require.NoError(t, l.Release(over), "what gives back does not heed the end of its context")
			require.Equal(t, 3, snapshot(t, p).Count(pool.Free))
		})
	}
}

// TestAClosedStoreSaysSo: when the backend was closed under the pool each method fails with ErrClosed, and closing the
// pool still works.
func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	for _, pol := range []policy.Policy[*thing]{nil, policy.Default(policy.Defaults[*thing]{})} {
		synctest.Test(t, func(t *testing.T) {
			be := memory.New()
			p, err := pool.New(be, pool.Config[*thing]{Namespace: ns, Policy: pol})
			require.NoError(t, err)
			require.NoError(t, p.Extend(t.Context(), []string{"a"}))
			l, err := p.Malloc(t.Context(), new(thing))
			require.NoError(t, err)
			waiting := make(chan error, 1)
			go func() {
				_, err := p.AcquireKey(t.Context())
				waiting <- err
			}()
			synctest.Wait()
			require.NoError(t, be.Close())
			require.ErrorIs(t, <-waiting, backend.ErrClosed)
			for name, call := range everything(p, l) {
				require.ErrorIs(t, call(t.Context()), backend.ErrClosed, name)
			}
			require.ErrorIs(t, l.Release(t.Context()), backend.ErrClosed)
			require.NoError(t, p.Close())
			for name, call := range everything(p, l) {
				err := call(t.Context())
				require.True(t, errors.Is(err, backend.ErrClosed) || errors.Is(err, pool.ErrNotHeld), "%s: %v", name, err)
			}
		})
	}
}
