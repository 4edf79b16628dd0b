package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	backends "github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/integration/internal/python"
	"github.com/redisallocator/redisallocator/integration/stress"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) {
	stress.Work()
	os.Exit(redistest.Wrap(m).Run())
}

func TestUsage(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	for _, args := range [][]string{
		{"-no-such-flag"},
		{"what"},
		{"-duration", "0s"},
		{"-processes", "0", "-url", "redis://127.0.0.1:1"},
		{"-restart", "1s", "-url", "redis://127.0.0.1:1"},
		{"-watch-only", "-prefix", "p"},
		{"-watch-only", "-url", "redis://127.0.0.1:1"},
		{"-url", "redis://127.0.0.1:1"}, // where nobody listens
		{"-url", "what"},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, unable, run(t.Context(), args, &stdout, &stderr), args)
		assert.Empty(t, stdout.String(), args)
		assert.NotEmpty(t, stderr.String(), args)
	}
	assert.Equal(t, held, run(t.Context(), []string{"-help"}, new(bytes.Buffer), new(bytes.Buffer)))
}

// TestInterruptedRun has a run end early, in good order.
func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	interrupted := func(after time.Duration) (text []byte, code int) {
		ctx, interrupt := context.WithTimeout(t.Context(), after)
		defer interrupt()
		args := []string{"-url", redistest.URL(t), "-processes", "2", "-ttl", "500ms", "-duration", "1h", "-json"}
		var stdout bytes.Buffer
		code = run(ctx, args, &stdout, t.Output())
		return stdout.Bytes(), code
	}
	after := 2 * time.Second
	stdout, code := interrupted(after)
	for code == unable && after < time.Minute { // it had not even begun
		after *= 4
		stdout, code = interrupted(after)
	}
	assert.Equal(t, held, code)
	var report stress.Report
	require.NoError(t, json.Unmarshal(stdout, &report), string(stdout))
	assert.Less(t, report.Worked, time.Hour)
	assert.Positive(t, report.Looks)
}

// TestWatch watches a pool that is used as Python's processes do, and by us.
func TestWatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  []string
		spoil func(ns backend.Namespace) []string
		want  int
	}{
		{name: "nobody spoils it", want: held},
		{name: "it has all of its members", args: []string{"-members", "12"}, want: held},
		{name: "it has others", args: []string{"-members", "13"}, want: violated},
		{name: "a member vanishes from it", args: []string{"-members", "12"}, want: violated, spoil: func(ns backend.Namespace) []string {
			return []string{"HDEL", ns.Pool(), "m5"}
		}},
		{name: "it is circular", want: violated, spoil: func(ns backend.Namespace) []string {
			return []string{"HSET", ns.Pool(), "m5", "m5||m5||-1"}
		}},
		{name: "it is none", want: violated, spoil: func(ns backend.Namespace) []string { return []string{"SET", ns.Pool(), "what"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, ns := redistest.URL(t), backend.Namespace{Prefix: redistest.Prefix(t), Suffix: "pool"}
			fill(t, url, ns)
			ctx, stop := context.WithCancel(t.Context())
			var strangers sync.WaitGroup
			for range 2 {
				strangers.Go(func() { stranger(ctx, t, url, ns, c.spoil == nil) })
			}
			if c.spoil != nil {
				client := dial(t, url)
				require.NoError(t, client.Do(ctx, client.B().Arbitrary(c.spoil(ns)...).Build()).Error())
			}
			var stdout bytes.Buffer
			args := append([]string{"-watch-only", "-url", url, "-prefix", ns.Prefix, "-suffix", ns.Suffix, "-duration", "1s"}, c.args...)
			code := run(ctx, args, &stdout, t.Output())
			stop()
			strangers.Wait()
			assert.Equal(t, c.want, code, stdout.String())
			t.Logf("\n%s", &stdout)
		})
	}
}

func dial(t *testing.T, url string) rueidis.Client {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	require.NoError(t, err)
	option.DisableCache = true
	option.Dialer.Timeout, option.ConnWriteTimeout = time.Minute, time.Minute
	client, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func fill(t *testing.T, url string, ns backend.Namespace) {
	t.Helper()
	be, err := backends.Open(t.Context(), url)
	require.NoError(t, err)
	defer be.Close()
	var members []string
	for i := range 12 {
		members = append(members, "m"+string(rune('0'+i)))
	}
	_, err = be.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: members, TTL: backend.NoExpiry})
	require.NoError(t, err)
}

// stranger uses a pool as a process of Python does, which now and then forgets to give back, until ctx ends. In a pool that was
// spoiled it may meet an error.
func stranger(ctx context.Context, t *testing.T, url string, ns backend.Namespace, strict bool) {
	client := dial(t, url)
	do := func(script string, args ...string) (rueidis.RedisMessage, bool) {
		words := append([]string{"EVAL", script, "3", ns.Pool(), ns.PoolHead(), ns.PoolTail(), ns.LockPrefix()}, args...)
		got, err := client.Do(context.WithoutCancel(ctx), client.B().Arbitrary(words...).Build()).ToMessage()
		if err != nil && !rueidis.IsRedisNil(err) && strict {
			assert.NoError(t, err)
		}
		return got, err == nil
	}
	for ctx.Err() == nil {
		if rand.IntN(10) == 0 {
			do(python.Collect)
		}
		forgets := rand.IntN(10) == 0
		ttl := "60000"
		if forgets {
			ttl = "50"
		}
		got, ok := do(python.Malloc, ttl)
		select {
		case <-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond):
		case <-ctx.Done():
		}
		if ok && !forgets {
			member, _ := got.ToString() // which the script gives
			do(python.Free, member)
		}
	}
}
