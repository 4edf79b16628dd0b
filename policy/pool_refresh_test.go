package policy_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

func TestWorkersOfSeveralProcessesAreServedFromOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		be := newMemory(t)
		s := &asked{members: []string{"a", "b", "c"}, takes: 3 * time.Second}
		var processes []*pool.Allocator[*proxy]
		for range 3 {
			processes = append(processes, opened(t, be, pool.Config[*proxy]{
				Policy: policy.Default(policy.Defaults[*proxy]{Updater: policy.NewUpdater(s)}),
			}))
		}
		start := time.Now()
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				for range 20 {
					lease, err := processes[i%3].Acquire(t.Context(), &proxy{})
					if !assert.NoError(t, err) {
						return
					}
					<-time.After(time.Second)
					assert.NoError(t, lease.Release(t.Context()))
				}
			})
		}
		all.Wait()
		assert.EqualValues(t, 1, s.n.Load())
		assert.Equal(t, 83*time.Second, time.Since(start), "240 seconds of work on 3 members, after 3 of waiting")
	})
}

func TestARefreshReplacesWhatTheSourceNoLongerNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []string{"a", "b"}
		source := policy.SourceFunc(func(context.Context) ([]string, error) { return slices.Clone(list), nil })
		a := opened(t, newMemory(t), pool.Config[*proxy]{
			Policy: policy.Default(policy.Defaults[*proxy]{Updater: policy.NewUpdater(source)}),
		})
		lease, err := a.MallocKey(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"a", "b"}, members(t, a))

		list = []string{"c"}
		pass(2 * interval)
		other, err := a.MallocKey(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "c", other.Key())
		assert.Equal(t, []string{"c"}, members(t, a))
		require.NoError(t, lease.Context().Err(), "who has a member that left the pool keeps it")
		require.NoError(t, lease.Release(t.Context()))
		assert.Equal(t, []string{"c"}, members(t, a))
	})
}

func TestMembersStayForTheirTTLSinceTheyWereLastNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := opened(t, newMemory(t), pool.Config[*proxy]{
			Policy: policy.Default(policy.Defaults[*proxy]{
				Updater: policy.NewUpdater(static("a")), Interval: time.Minute, MemberTTL: 90 * time.Second,
			}),
		})
		for range 100 {
			lease, err := a.MallocKey(t.Context())
			require.NoError(t, err)
			require.NoError(t, lease.Release(t.Context()))
			pass(6 * time.Second)
		}
		pass(time.Hour)
		lease, err := a.MallocKey(t.Context())
		require.NoError(t, err, "even if nobody looked for an hour")
		require.NoError(t, lease.Release(t.Context()))
	})
}

func TestWhoWaitsIsServedByALaterRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &asked{err: errors.New("boom")}, &asked{members: []string{"a"}}
		o := &observed{}
		a := opened(t, newMemory(t), pool.Config[*proxy]{
			Observer: o,
			Policy:   policy.Default(policy.Defaults[*proxy]{Updater: policy.NewUpdater(bad, good)}),
		})
		start := time.Now()
		lease, err := a.Acquire(t.Context(), &proxy{})
		require.NoError(t, err)
		assert.Less(t, time.Since(start), time.Minute)
		assert.Equal(t, 1, o.count(backend.EventRefreshFailed))
		assert.Equal(t, 1, o.count(backend.EventRefreshed))
		require.NoError(t, lease.Release(t.Context()))
	})
}

func TestARequestThatWaitsForSoLongIsNotServedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asked{takes: 20 * time.Second, members: []string{"a"}}
		a := opened(t, newMemory(t), pool.Config[*proxy]{
			Policy: policy.Default(policy.Defaults[*proxy]{Updater: policy.NewUpdater(s)}),
		})
		start := time.Now()
		_, err := a.Acquire(t.Context(), &proxy{}, pool.MaxWait(time.Second))
		require.ErrorIs(t, err, pool.ErrExhausted)
		assert.Equal(t, policy.DefaultGrace+time.Second, time.Since(start))
	})
}

func TestClosingThePoolEndsARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &observed{}
		s := &asked{takes: 20 * time.Second, members: []string{"a"}}
		a := opened(t, newMemory(t), pool.Config[*proxy]{
			Observer: o,
			Policy:   policy.Default(policy.Defaults[*proxy]{Updater: policy.NewUpdater(s)}),
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Malloc(ctx, &proxy{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, a.Close())
		assert.Zero(t, o.count(backend.EventRefreshFailed))
	})
}
