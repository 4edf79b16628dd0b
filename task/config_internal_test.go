package task

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// What is just allowed is accepted, and what is just not is named.
func TestTheLimitsOfAConfig(t *testing.T) {
	for field, c := range map[string]struct{ good, bad []Config }{
		"timeout":         {[]Config{{Timeout: time.Millisecond}}, []Config{{Timeout: time.Millisecond - 1}}},
		"attempt timeout": {[]Config{{}, {AttemptTimeout: time.Millisecond}}, []Config{{AttemptTimeout: 1}, {AttemptTimeout: -1}}},
		"retention":       {[]Config{{Retention: time.Millisecond}}, []Config{{Retention: 1}}},
		"graveyard":       {[]Config{{Graveyard: time.Millisecond}}, []Config{{Graveyard: -1}}},
		"retries":         {[]Config{{Retries: math.MaxInt32}}, []Config{{Retries: -1}, {Retries: math.MaxInt32 + 1}}},
		"deaths":          {[]Config{{MaxDeaths: 1}, {MaxDeaths: backend.MaxDeaths}}, []Config{{MaxDeaths: -1}, {MaxDeaths: backend.MaxDeaths + 1}}},
		"size":            {[]Config{{MaxSize: 1}, {MaxSize: backend.MaxTaskData}}, []Config{{MaxSize: -1}, {MaxSize: backend.MaxTaskData + 1}}},
		"policy":          {[]Config{{Policy: Auto}}, []Config{{Policy: Auto + 1}}},
	} {
		for _, cfg := range c.good {
			assert.NoError(t, cfg.complete(), "%s: %+v", field, cfg)
		}
		for _, cfg := range c.bad {
			var invalid *backend.InvalidError
			require.ErrorAs(t, cfg.complete(), &invalid, "%s: %+v", field, cfg)
			assert.Equal(t, field, invalid.Field)
		}
	}
}

// What is not said is as the documentation says.
func TestTheDefaultsOfAConfig(t *testing.T) {
	var c Config
	require.NoError(t, c.complete())
	assert.Equal(t, []any{DefaultTimeout, DefaultRetention, DefaultGraveyard, DefaultMaxDeaths, DefaultMaxSize, JSON},
		[]any{c.Timeout, c.Retention, c.Graveyard, c.MaxDeaths, c.MaxSize, c.Codec})
	assert.NotNil(t, c.Logger)
	assert.NotNil(t, c.Backoff)

	var s ServerConfig
	require.NoError(t, s.complete())
	assert.Equal(t, ServerConfig{
		Concurrency: DefaultConcurrency, LeaseTTL: DefaultLeaseTTL, Drain: DefaultDrain, Mark: DefaultMark,
	}, s)

	var q ServeConfig
	require.NoError(t, q.complete(&s))
	assert.Equal(t, ServeConfig{Concurrency: DefaultConcurrency, Weight: 1, MaxParked: DefaultConcurrency}, q)
}

func TestTheLimitsOfAServer(t *testing.T) {
	for field, c := range map[string]struct{ good, bad []ServerConfig }{
		"concurrency": {[]ServerConfig{{Concurrency: 1}}, []ServerConfig{{Concurrency: -1}}},
		"lease TTL":   {[]ServerConfig{{LeaseTTL: time.Millisecond}}, []ServerConfig{{LeaseTTL: 1}, {LeaseTTL: -1}}},
		"mark":        {[]ServerConfig{{Mark: time.Millisecond}}, []ServerConfig{{Mark: 1}, {Mark: -1}}},
	} {
		for _, cfg := range c.good {
			assert.NoError(t, cfg.complete(), "%s: %+v", field, cfg)
		}
		for _, cfg := range c.bad {
			var invalid *backend.InvalidError
			require.ErrorAs(t, cfg.complete(), &invalid, "%s: %+v", field, cfg)
			assert.Equal(t, field, invalid.Field)
		}
	}
	server := ServerConfig{Concurrency: 4}
	for field, c := range map[string]struct{ good, bad []ServeConfig }{
		"concurrency": {[]ServeConfig{{Concurrency: 1}, {Concurrency: 5}}, []ServeConfig{{Concurrency: -1}}},
		"weight":      {[]ServeConfig{{Weight: 1}, {Weight: 1000}}, []ServeConfig{{Weight: -1}, {Weight: 1001}}},
		"parked":      {[]ServeConfig{{MaxParked: 1}}, []ServeConfig{{MaxParked: -1}}},
	} {
		for _, cfg := range c.good {
			assert.NoError(t, cfg.complete(&server), "%s: %+v", field, cfg)
			assert.LessOrEqual(t, cfg.Concurrency, 4, "no more than the server")
		}
		for _, cfg := range c.bad {
			var invalid *backend.InvalidError
			require.ErrorAs(t, cfg.complete(&server), &invalid, "%s: %+v", field, cfg)
			assert.Equal(t, field, invalid.Field)
		}
	}
}

// The first failures are followed by short pauses, many of them by ones of about a second.
func TestPausesGrowWithFailures(t *testing.T) {
	for failed, want := range map[int]time.Duration{
		1: minRetry, 2: 2 * minRetry, 6: 32 * minRetry, 8: maxRetry, 1000: maxRetry,
	} {
		for range 100 {
			d := backoff(failed)
			assert.LessOrEqual(t, d, want)
			assert.GreaterOrEqual(t, d, want/2)
		}
	}
}
