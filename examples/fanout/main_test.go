package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestInMemory(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), "", 10_000, 20, &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 21)
	assert.Equal(t, "1229 primes below 10000", lines[20])
}

func TestCopiesShareTheWork(t *testing.T) {
	url := redistest.URL(t)
	var copies sync.WaitGroup
	for range 3 {
		copies.Go(func() {
			var out bytes.Buffer
			assert.NoError(t, run(t.Context(), url, 5000, 10, &out))
			assert.Contains(t, out.String(), "669 primes below 5000")
		})
	}
	copies.Wait()
}

func TestBadNumbers(t *testing.T) {
	require.Error(t, run(t.Context(), "", 0, 1, new(bytes.Buffer)))
	require.Error(t, run(t.Context(), "", 1, 0, new(bytes.Buffer)))
}
