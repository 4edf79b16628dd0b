package policy_test

import (
	"context"
	"errors"
	"sort"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

func TestCheckHealthKeepsBackWhatFailsAndLiftsWhatIsWellAgain(t *testing.T) {
	for _, shared := range []bool{false, true} {
		p := newFake("good", "bad", "panics")
		p.shared = shared
		p.kept["was bad"], p.kept["still bad"] = time.Hour, time.Hour
		var told []string
		report, err := policy.CheckHealth(t.Context(), p, policy.CheckConfig[*thing]{
			New: func(key string) *thing {
				if key == "panics" {
					return &thing{check: func(context.Context, string) error { panic("ouch") }}
				}
				return &thing{check: sickOn("bad", "still bad")}
			},
			Quarantine:  time.Minute,
			OnUnhealthy: func(key string, _ error) { told = append(told, key) },
		})
		require.NoError(t, err)
		assert.Equal(t, policy.Report{Healthy: 2, Unhealthy: 3}, report)
		sort.Strings(told)
		assert.Equal(t, []string{"bad", "panics", "still bad"}, told)
		assert.ElementsMatch(t, []string{"good", "was bad"}, p.free)
		assert.Equal(t, map[string]time.Duration{
			"bad": time.Minute, "still bad": time.Minute, "panics": time.Minute,
		}, p.kept)
		assert.Empty(t, p.held)
	}
}

func TestCheckHealthSkipsWhatOthersHave(t *testing.T) {
	p := newFake("a", "b")
	held, err := p.Allocate(t.Context(), request{Count: 1})
	require.NoError(t, err)
	report, err := policy.CheckHealth(t.Context(), p, policy.CheckConfig[*thing]{
		New: func(string) *thing { return &thing{check: sickOn("a")} },
	})
	require.NoError(t, err)
	assert.Equal(t, policy.Report{Healthy: 1, Skipped: 1}, report)
	require.NoError(t, held[0].Release(t.Context()))
}

func TestAnObjectThatCannotBeMadeOrConfiguredIsTheMembersFailure(t *testing.T) {
	p := newFake("cannot", "panics", "good")
	report, err := policy.CheckHealth(t.Context(), p, policy.CheckConfig[*thing]{
		New: func(key string) *thing {
			if key == "panics" {
				panic("no object")
			}
			return &thing{configure: func(key string) error {
				if key == "cannot" {
					return errSick
				}
				return nil
			}}
		},
	})
	require.NoError(t, err)
	assert.Equal(t, policy.Report{Healthy: 1, Unhealthy: 2}, report)
	assert.Equal(t, []string{"good"}, p.free)
	assert.Len(t, p.kept, 2)
}

func TestCheckHealthChecksSoManyAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		for i := range 40 {
			keys = append(keys, strconv.Itoa(i))
		}
		var now, most atomic.Int64
		start := time.Now()
		report, err := policy.CheckHealth(t.Context(), newFake(keys...), policy.CheckConfig[*thing]{
			New: func(string) *thing {
				return &thing{check: func(context.Context, string) error {
					most.Store(max(most.Load(), now.Add(1)))
					defer now.Add(-1)
					<-time.After(time.Second)
					return nil
				}}
			},
		})
		require.NoError(t, err)
		assert.Equal(t, 40, report.Healthy)
		assert.EqualValues(t, policy.DefaultConcurrency, most.Load())
		assert.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestCheckHealthEndsWithTheFirstErrorOfTheStore(t *testing.T) {
	boom := errors.Join(backend.ErrUnavailable, errors.New("boom"))
	for _, op := range []string{"keys", "allocate", "healthy"} {
		p := newFake("a", "b", "c", "d")
		p.fail = func(o string) error {
			if o == op {
				return boom
			}
			return nil
		}
		report, err := policy.CheckHealth(t.Context(), p, policy.CheckConfig[*thing]{
			New: func(string) *thing { return &thing{} }, Concurrency: 1,
		})
		require.ErrorIs(t, err, backend.ErrUnavailable, op)
		assert.Less(t, report.Healthy, 4)
		assert.Zero(t, report.Unhealthy)
		assert.Empty(t, p.held)
	}
}

func TestCheckHealthThatIsCancelledBlamesNobody(t *testing.T) {
	p := newFake("a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	report, err := policy.CheckHealth(ctx, p, policy.CheckConfig[*thing]{
		New: func(string) *thing {
			return &thing{check: func(ctx context.Context, key string) error {
				if key == "b" {
					cancel()
				}
				return ctx.Err()
			}}
		},
		Concurrency: 1,
	})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, policy.Report{Healthy: 1}, report)
	assert.Len(t, p.free, 3)
	assert.Empty(t, p.kept)
}

func TestAnInvalidHealthCheckTouchesNothing(t *testing.T) {
	object := func(string) *thing { return &thing{} }
	for _, cfg := range []policy.CheckConfig[*thing]{
		{}, {New: object, Concurrency: -1}, {New: object, Timeout: -1}, {New: object, Quarantine: -time.Hour},
	} {
		p := newFake("a")
		_, err := policy.CheckHealth(t.Context(), p, cfg)
		require.ErrorIs(t, err, backend.ErrInvalid)
		assert.Empty(t, p.requests)
	}
}
