package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/task"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestInMemory(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), "", false, nil, &out))
	assert.Equal(t, `2 has 1.4142, says the caller itself
144 has 12.0000, says the caller itself
-1 has none
2 has 1.4142, says a listener
144 has 12.0000, says a listener
-1 has none
`, out.String())
}

func TestOnRedis(t *testing.T) {
	url := redistest.URL(t)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), url, false, []string{"9", "0.25"}, &out))
	assert.Equal(t, "9 has 3.0000, says the caller itself\n0.25 has 0.5000, says the caller itself\n", out.String())

	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- run(ctx, url, true, nil, &out) }()
	be, err := rueidis.Open(t.Context(), url)
	require.NoError(t, err)
	defer be.Close()
	queue := task.NewQueue[Root, Answer](be, backend.Namespace{Prefix: "example", Suffix: "rpc"}, "root", task.Config{})
	require.NoError(t, heard(t.Context(), queue))
	out.Reset()
	require.NoError(t, run(t.Context(), url, false, []string{"9", "-9"}, &out))
	assert.Equal(t, fmt.Sprintf("9 has 3.0000, says process %d\n-9 has none\n", os.Getpid()), out.String())
	stop()
	require.NoError(t, <-served)
}

func TestBadNumbers(t *testing.T) {
	require.Error(t, run(t.Context(), "", false, []string{"nine"}, new(bytes.Buffer)))
}
