package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// TestJobsWaitWithoutOccupyingWorkers: there are four workers and eight jobs that take a minute each, two at a time.
func TestJobsWaitWithoutOccupyingWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), config{gpus: 2, jobs: 8, takes: time.Minute}, &out))
		assert.Equal(t, 4*time.Minute, time.Since(begin))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 9)
		assert.Equal(t, "hello, you", lines[0], "it did not have to wait")
		assert.Equal(t, 4, strings.Count(out.String(), "gpu-0"))
		assert.Equal(t, 4, strings.Count(out.String(), "gpu-1"))
	})
}

func TestOnRedis(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), config{gpus: 2, jobs: 6, takes: 10 * time.Millisecond, redis: redistest.URL(t)}, &out))
	assert.Equal(t, 7, strings.Count(out.String(), "\n"))
}
