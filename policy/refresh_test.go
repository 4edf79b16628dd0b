package policy_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

const interval = 300 * time.Second

// asked counts how often a source is asked, which takes a while.
type asked struct {
	n       atomic.Int64
	takes   time.Duration
	members []string
	err     error
	deaf    bool // to its context
}

func (s *asked) Members(ctx context.Context) ([]string, error) {
	s.n.Add(1)
	if s.deaf {
		ctx = context.Background()
	}
	select {
	case <-time.After(s.takes):
		return s.members, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pass lets virtual time go by, and everything that is to happen in it.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// exact has no jitter, so that a test can tell when something happens.
func exact(cfg policy.RefreshConfig) policy.RefreshConfig {
	cfg.Jitter = -1
	return cfg
}

func refreshed(t *testing.T, u *policy.Updater, cfg policy.RefreshConfig, p view) next {
	t.Helper()
	pol := policy.Chain(policy.Refresh[*thing](u, cfg))
	require.NoError(t, policy.Initialize(t.Context(), pol, p))
	t.Cleanup(func() { assert.NoError(t, policy.Finalize(context.Background(), pol)) })
	return pol
}

// allocate takes one member and gives it back.
func allocate(t *testing.T, pol next, p view) error {
	t.Helper()
	got, err := pol.Allocate(t.Context(), p, request{Count: 1})
	if err != nil {
		return err
	}
	return got[0].Release(t.Context())
}

func TestTheFirstAllocationFindsWhatTheSourceNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake()
		s := &asked{members: []string{"a"}, takes: time.Second}
		pol := refreshed(t, policy.NewUpdater(s), policy.RefreshConfig{}, p)
		require.NoError(t, allocate(t, pol, p))
		assert.Equal(t, []string{"assign"}, p.edits)
		assert.Equal(t, []time.Duration{backend.NoExpiry}, p.ttls)
		assert.Equal(t, 1, p.count(backend.EventRefreshed))
	})
}

func TestOneProcessPerIntervalRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake()
		s := &asked{members: []string{"a"}}
		var processes []next
		for range 4 {
			processes = append(processes, refreshed(t, policy.NewUpdater(s), exact(policy.RefreshConfig{}), p))
		}
		start := time.Now()
		for range 3 * 60 {
			for _, pol := range processes {
				require.NoError(t, allocate(t, pol, p))
			}
			pass(5 * time.Second)
		}
		assert.Equal(t, 15*time.Minute, time.Since(start))
		assert.EqualValues(t, 3, s.n.Load())
		assert.Equal(t, []time.Duration{interval, interval, interval}, p.lockTTLs)
		assert.Contains(t, p.locks, "test|things|pool|policy_update_lock")
	})
}

func TestTheHotPathPaysNothingBetweenTwoLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("a")
		looks := 0
		p.fail = func(op string) error {
			if op == "lock" {
				looks++
			}
			return nil
		}
		pol := refreshed(t, policy.NewUpdater(static("a")), policy.RefreshConfig{}, p)
		for range 1000 {
			require.NoError(t, allocate(t, pol, p))
		}
		assert.Equal(t, 1, looks)
		for range 100 {
			require.NoError(t, allocate(t, pol, p))
			pass(500 * time.Millisecond)
		}
		assert.LessOrEqual(t, looks, 11, "at most one look in 5 s")
		assert.GreaterOrEqual(t, looks, 8, "and at least one in 6 s")
	})
}

func TestTheIntervalIsLengthenedByJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("a")
		pol := refreshed(t, policy.NewUpdater(static("a")), policy.RefreshConfig{Jitter: 0.5, Interval: time.Minute}, p)
		for range 600 {
			require.NoError(t, allocate(t, pol, p))
			pass(6 * time.Second)
		}
		require.Greater(t, len(p.lockTTLs), 30)
		seen := map[time.Duration]bool{}
		for _, ttl := range p.lockTTLs {
			assert.GreaterOrEqual(t, ttl, time.Minute)
			assert.LessOrEqual(t, ttl, 90*time.Second)
			seen[ttl] = true
		}
		assert.Greater(t, len(seen), 10)
	})
}

func TestOneSourceReplacesTheContentAndSeveralExtendIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("old")
		pol := refreshed(t, policy.NewUpdater(static("a")), policy.RefreshConfig{}, p)
		require.NoError(t, allocate(t, pol, p))
		assert.Equal(t, []string{"a"}, p.content())

		p = newFake("old")
		pol = refreshed(t, policy.NewUpdater(static("a"), static("b")), policy.RefreshConfig{}, p)
		require.NoError(t, allocate(t, pol, p))
		assert.ElementsMatch(t, []string{"old", "a"}, p.content())
		pass(2 * interval)
		require.NoError(t, allocate(t, pol, p))
		assert.ElementsMatch(t, []string{"old", "a", "b"}, p.content())
	})
}

func TestMembersGetTheirTTLAtEachRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("a")
		cfg := policy.RefreshConfig{MemberTTL: 10 * time.Minute}
		pol := refreshed(t, policy.NewUpdater(static("a")), cfg, p)
		require.NoError(t, allocate(t, pol, p))
		// Assign alone leaves the expiry of members that stay as it was.
		assert.Equal(t, []string{"extend", "assign"}, p.edits)
		assert.Equal(t, []time.Duration{10 * time.Minute, 10 * time.Minute}, p.ttls)
	})
}

func TestASourceThatFailsLeavesThePoolAsItIs(t *testing.T) {
	boom := errors.New("boom")
	for name, source := range map[string]policy.Source{
		"error":    failing(boom),
		"panic":    panicking(boom),
		"nothing":  static(),
		"too slow": &asked{takes: time.Hour, members: []string{"late"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newFake("old")
				pol := refreshed(t, policy.NewUpdater(source), policy.RefreshConfig{}, p)
				require.NoError(t, allocate(t, pol, p))
				pass(time.Minute)
				assert.Equal(t, []string{"old"}, p.content())
				assert.Empty(t, p.edits)
				assert.Equal(t, 1, p.count(backend.EventRefreshFailed))
				assert.Contains(t, p.log.String(), "it stays as it is")
			})
		})
	}
}

func TestAnErrorOfTheStoreInARefreshIsNotTheAllocationsError(t *testing.T) {
	for _, failing := range []string{"lock", "assign"} {
		synctest.Test(t, func(t *testing.T) {
			p := newFake("old")
			p.fail = func(op string) error {
				if op == failing {
					return backend.ErrUnavailable
				}
				return nil
			}
			pol := refreshed(t, policy.NewUpdater(static("a")), policy.RefreshConfig{}, p)
			require.NoError(t, allocate(t, pol, p))
			require.Len(t, p.events, 1)
			assert.Equal(t, backend.EventRefreshFailed, p.events[0].Kind)
			require.ErrorIs(t, p.events[0].Err, backend.ErrUnavailable)
		})
	}
}

func TestAfterAFailureTheSameProcessAsksTheNextSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &asked{err: errors.New("boom")}, &asked{members: []string{"a"}}
		p := newFake("old")
		pol := refreshed(t, policy.NewUpdater(bad, good), exact(policy.RefreshConfig{Retry: 20 * time.Second}), p)
		other := refreshed(t, policy.NewUpdater(bad, good), exact(policy.RefreshConfig{}), p)
		for range 3 {
			require.NoError(t, allocate(t, pol, p))
			require.NoError(t, allocate(t, other, p))
			pass(6 * time.Second)
		}
		assert.EqualValues(t, 0, good.n.Load())
		pass(6 * time.Second)
		require.NoError(t, allocate(t, other, p))
		require.NoError(t, allocate(t, pol, p))
		assert.EqualValues(t, 1, good.n.Load())
		pass(200 * time.Second)
		require.NoError(t, allocate(t, pol, p))
		assert.EqualValues(t, 1, bad.n.Load())
		assert.EqualValues(t, 1, good.n.Load(), "the interval is served")
		assert.Len(t, p.lockTTLs, 1)
	})
}

func TestWithoutRetryAFailureLastsForTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &asked{err: errors.New("boom")}
		p := newFake("old")
		pol := refreshed(t, policy.NewUpdater(bad), exact(policy.RefreshConfig{Retry: -1}), p)
		for range 49 {
			require.NoError(t, allocate(t, pol, p))
			pass(6 * time.Second)
		}
		assert.EqualValues(t, 1, bad.n.Load())
		pass(12 * time.Second)
		require.NoError(t, allocate(t, pol, p))
		assert.EqualValues(t, 2, bad.n.Load())
	})
}

// The longest duration there is means never, and overflows nothing.
func TestAnIntervalMayBeForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ever = time.Duration(math.MaxInt64)
		s := &asked{members: []string{"a"}, takes: time.Second}
		a := opened(t, newMemory(t), pool.Config[*proxy]{
			Policy: policy.Chain(policy.Refresh[*proxy](policy.NewUpdater(s), policy.RefreshConfig{
				Interval: ever, CheckEvery: ever, Grace: ever, FetchTimeout: ever, Retry: ever,
			})),
		})
		for range 10 {
			lease, err := a.Acquire(t.Context(), &proxy{})
			require.NoError(t, err)
			pass(time.Hour)
			require.NoError(t, lease.Release(t.Context()))
		}
		assert.EqualValues(t, 1, s.n.Load())

		report, err := a.CheckHealth(t.Context(), policy.CheckConfig[*proxy]{
			New: func(string) *proxy { return &proxy{} }, Timeout: ever,
		})
		require.NoError(t, err)
		assert.Equal(t, 1, report.Healthy)
	})
}
