package lock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

// What is just allowed is accepted, and what is just not is named.
func TestTheLimitsOfARedlock(t *testing.T) {
	const ms = time.Millisecond
	for field, c := range map[string]struct{ good, bad []RedlockConfig }{
		"ttl":    {[]RedlockConfig{{TTL: ms, Drift: 1, ServerTimeout: 1}}, []RedlockConfig{{TTL: ms - 1}, {TTL: backend.NoExpiry}}},
		"quorum": {[]RedlockConfig{{Quorum: 3}, {Quorum: 4}}, []RedlockConfig{{Quorum: 2}, {Quorum: 5}, {Quorum: -1}}},
		"drift":  {[]RedlockConfig{{Drift: 1}, {TTL: time.Second, Drift: time.Second - ms, ServerTimeout: 1}}, []RedlockConfig{{Drift: -1}, {TTL: time.Second, Drift: time.Second}}},
		"server timeout": {
			[]RedlockConfig{{ServerTimeout: 1}, {TTL: time.Second, Drift: ms, ServerTimeout: time.Second - ms - 1}},
			[]RedlockConfig{{ServerTimeout: -1}, {TTL: time.Second, Drift: ms, ServerTimeout: time.Second - ms}},
		},
		"tries":       {[]RedlockConfig{{Tries: 1}, {Tries: UntilDone}}, []RedlockConfig{{Tries: UntilDone - 1}}},
		"retry delay": {[]RedlockConfig{{RetryDelay: 1}}, []RedlockConfig{{RetryDelay: -1}}},
		"names":       {[]RedlockConfig{{Names: []string{"a", "b", "c", "d"}}}, []RedlockConfig{{Names: []string{"a"}}, {Names: make([]string, 5)}}},
		"info":        {[]RedlockConfig{{Info: "text"}}, []RedlockConfig{{Info: "a\nb"}}},
	} {
		for _, cfg := range c.good {
			assert.NoError(t, cfg.complete(4), "%s: %+v", field, cfg)
		}
		for _, cfg := range c.bad {
			var invalid *backend.InvalidError
			require.ErrorAs(t, cfg.complete(4), &invalid, "%s: %+v", field, cfg)
			assert.Equal(t, field, invalid.Field, "%v", invalid)
			if field == "quorum" {
				assert.Equal(t, "must be 3 to 4, of 4 servers", invalid.Reason)
			}
		}
	}
}

// What is not said is as the documentation says.
func TestTheDefaultsOfARedlock(t *testing.T) {
	for n, quorum := range []int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3} {
		if n == 0 {
			continue
		}
		var c RedlockConfig
		require.NoError(t, c.complete(n))
		assert.NotNil(t, c.Logger)
		c.Logger = nil
		assert.Equal(t, RedlockConfig{
			TTL: DefaultTTL, Quorum: quorum, Drift: DefaultTTL/100 + 2*time.Millisecond, ServerTimeout: 50 * time.Millisecond,
			Tries: DefaultTries, RetryDelay: DefaultRetryDelay,
		}, c)
		assert.Equal(t, DefaultTTL-c.Drift, c.validity())
	}
	short := RedlockConfig{TTL: 100 * time.Millisecond}
	require.NoError(t, short.complete(1))
	assert.Equal(t, 10*time.Millisecond, short.ServerTimeout)
}

func TestTheLimitsOfALock(t *testing.T) {
	for _, good := range []Config{{MaxWait: time.Millisecond}, {Info: "text"}} {
		assert.NoError(t, good.complete(), "%+v", good)
	}
	long := make([]byte, MaxInfo)
	for i := range long {
		long[i] = 'x'
	}
	assert.NoError(t, checkInfo(string(long)))
	for _, bad := range []Config{{MaxWait: time.Millisecond - 1}, {MaxWait: -1}, {Info: string(long) + "x"}, {Info: "\xff"}, {Info: "\x7f"}} {
		assert.ErrorIs(t, bad.complete(), backend.ErrInvalid, "%+v", bad)
	}
	for _, n := range []int64{backend.MaxPriority, -backend.MaxPriority, 0} {
		assert.NoError(t, checkPriority(n))
	}
	for _, n := range []int64{backend.MaxPriority + 1, -backend.MaxPriority - 1} {
		assert.ErrorIs(t, checkPriority(n), backend.ErrInvalid)
	}
}

func TestWhatARedlockErrorSays(t *testing.T) {
	err := &RedlockError{
		Op: "lock", Name: "a", Servers: 4, Quorum: 3, Agreed: 1, Refused: 1, kind: ErrNoQuorum,
		Failed: []*ServerError{{Index: 0, Name: "x", Err: backend.ErrClosed}, {Index: 2, Name: "y", Err: backend.ErrUnavailable}},
	}
	assert.EqualError(t, err, `lock "a": no quorum: 1 of 4 servers agreed, 1 refused, 2 failed, 3 are needed: `+
		`server x: closed; server y: store unavailable`)
}

// Servers that cannot be compared are taken for different ones.
func TestServersThatCannotBeCompared(t *testing.T) {
	type strange struct {
		RedlockBackend
		_ []int
	}
	be := memory.New()
	defer be.Close()
	assert.NoError(t, checkServers([]RedlockBackend{strange{RedlockBackend: be}, strange{RedlockBackend: be}}))
	assert.ErrorIs(t, checkServers([]RedlockBackend{be, be}), backend.ErrInvalid)
}
