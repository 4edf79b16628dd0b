package policy_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/policy"
)

// Who waits for a refresh, for how long, and what becomes of it.

func TestASlowSourceHoldsAnAllocationUpNoLongerThanTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("old")
		s := &asked{members: []string{"a"}, takes: 20 * time.Second}
		pol := refreshed(t, policy.NewUpdater(s), policy.RefreshConfig{}, p)
		start := time.Now()
		require.NoError(t, allocate(t, pol, p))
		assert.Equal(t, policy.DefaultGrace, time.Since(start))
		require.NoError(t, allocate(t, pol, p))
		assert.Equal(t, policy.DefaultGrace, time.Since(start), "nobody else waits")
		assert.Equal(t, []string{"old"}, p.content())
		pass(20 * time.Second)
		assert.Equal(t, []string{"a"}, p.content(), "the refresh went on in the background")
	})
}

func TestWithoutGraceNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("old")
		s := &asked{members: []string{"a"}, takes: time.Second}
		pol := refreshed(t, policy.NewUpdater(s), policy.RefreshConfig{Grace: -1}, p)
		start := time.Now()
		require.NoError(t, allocate(t, pol, p))
		assert.Zero(t, time.Since(start))
		pass(time.Second)
		assert.Equal(t, []string{"a"}, p.content())
	})
}

func TestAnEmptyPoolWaitsForItsFirstRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake()
		s := &asked{members: []string{"a", "b", "c", "d"}, takes: 20 * time.Second}
		pol := refreshed(t, policy.NewUpdater(s), policy.RefreshConfig{}, p)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				_, err := pol.Allocate(t.Context(), p, request{Count: 1})
				assert.NoError(t, err)
			})
		}
		start := time.Now()
		all.Wait()
		assert.Equal(t, 20*time.Second, time.Since(start))
		assert.EqualValues(t, 1, s.n.Load())

		start = time.Now()
		_, err := pol.Allocate(t.Context(), p, request{Count: 1})
		require.ErrorIs(t, err, policy.ErrExhausted)
		assert.Zero(t, time.Since(start), "an exhausted pool is told at once from then on")
	})
}

func TestAnEmptyPoolIsToldAsSoonAsTheFirstRefreshFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake()
		s := &asked{takes: 20 * time.Second, err: errors.New("boom")}
		pol := refreshed(t, policy.NewUpdater(s), policy.RefreshConfig{}, p)
		start := time.Now()
		require.ErrorIs(t, allocate(t, pol, p), policy.ErrExhausted)
		assert.Equal(t, 20*time.Second, time.Since(start))
	})
}

func TestAnAllocationThatIsCancelledDoesNotEndTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake()
		s := &asked{members: []string{"a"}, takes: time.Second}
		pol := refreshed(t, policy.NewUpdater(s), policy.RefreshConfig{}, p)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := pol.Allocate(ctx, p, request{Count: 1})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
		pass(time.Second)
		assert.Equal(t, []string{"a"}, p.content())
	})
}

func TestRefreshesGoOnWhileRequestsWaitInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake()
		bad, good := &asked{err: errors.New("boom")}, &asked{members: []string{"a", "b"}}
		pol := refreshed(t, policy.NewUpdater(bad, good), exact(policy.RefreshConfig{}), p)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				_, err := pol.Allocate(t.Context(), p, request{Count: 1, Wait: true})
				assert.NoError(t, err)
			})
		}
		start := time.Now()
		all.Wait()
		assert.LessOrEqual(t, time.Since(start), 37*time.Second, "the first retry, seen at the next look")
		pass(time.Hour)
		assert.EqualValues(t, 1, good.n.Load(), "nobody waits, nobody asks")
	})
}

func TestFinalizeCancelsTheRefreshAndWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("old")
		s := &asked{members: []string{"a"}, takes: 20 * time.Second}
		pol := policy.Chain(policy.Refresh[*thing](policy.NewUpdater(s), policy.RefreshConfig{}))
		require.NoError(t, policy.Initialize(t.Context(), pol, p))
		require.NoError(t, allocate(t, pol, p))
		start := time.Now()
		require.NoError(t, policy.Finalize(t.Context(), pol))
		assert.Zero(t, time.Since(start))
		assert.Empty(t, p.edits)
		assert.Empty(t, p.events, "a refresh that was called off has not failed")
		pass(interval)
		require.NoError(t, allocate(t, pol, p))
		assert.EqualValues(t, 1, s.n.Load(), "there is none after the end")
	})
}

func TestFinalizeWaitsForADeafSourceUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFake("old")
		s := &asked{members: []string{"a"}, takes: time.Hour, deaf: true}
		pol := policy.Chain(policy.Refresh[*thing](policy.NewUpdater(s), policy.RefreshConfig{}))
		require.NoError(t, policy.Initialize(t.Context(), pol, p))
		require.NoError(t, allocate(t, pol, p))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, policy.Finalize(ctx, pol), context.DeadlineExceeded)
		pass(time.Hour)
		assert.Empty(t, p.edits, "what comes too late does not count")
	})
}

func TestARefreshServesOnePoolAtATime(t *testing.T) {
	pol := policy.Chain(policy.Refresh[*thing](policy.NewUpdater(static("a")), policy.RefreshConfig{}))
	require.NoError(t, policy.Initialize(t.Context(), pol, newFake()))
	require.ErrorIs(t, policy.Initialize(t.Context(), pol, newFake()), policy.ErrInUse)
	require.NoError(t, policy.Finalize(t.Context(), pol))

	p := newFake()
	require.NoError(t, policy.Initialize(t.Context(), pol, p))
	require.NoError(t, allocate(t, pol, p), "as if it were new")
	require.NoError(t, policy.Finalize(t.Context(), pol))
}
