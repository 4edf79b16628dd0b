package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Wrap(m)) }

// quick is the demo for those who do not want to watch.
var quick = config{
	pages: 120, workers: 6, local: 4, latency: 4 * time.Millisecond,
	ttl: 1500 * time.Millisecond, redraw: 20 * time.Millisecond,
}

func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]func() string{
		"memory": func() string { return "" },
		"redis":  func() string { return redistest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quick
			cfg.redis = redis()
			var out strings.Builder
			require.NoError(t, run(t.Context(), cfg, newScreen(&out, false)), "%s", &out)
			for what, times := range map[string]int{
				"is killed":         1,
				"does not work":     1,
				"crashes with":      1,
				"is back":           2, // its proxy and its page
				"no page was lost":  1,
				"no proxy was lost": 1,
			} {
				assert.Equal(t, times, strings.Count(out.String(), what), "%s\n%s", what, &out)
			}
		})
	}
}

func TestTheProxiesMayBeListedInAFile(t *testing.T) {
	t.Parallel()
	list := "# ours\n\n"
	for range 3 {
		forwarder, err := newForwarder()
		require.NoError(t, err)
		defer forwarder.kill()
		list += forwarder.addr + " # works\n"
	}
	gone, err := newForwarder()
	require.NoError(t, err)
	gone.kill()
	list += gone.addr // does not

	cfg := quick
	cfg.list = filepath.Join(t.TempDir(), "proxies.txt")
	require.NoError(t, os.WriteFile(cfg.list, []byte(list), 0o600))
	var out strings.Builder
	require.NoError(t, run(t.Context(), cfg, newScreen(&out, false)), "%s", &out)
	assert.Contains(t, out.String(), gone.addr+" does not work")
	assert.NotContains(t, out.String(), "is killed")
}

func TestAListThatCannotBeReadIsAnError(t *testing.T) {
	cfg := quick
	cfg.list = filepath.Join(t.TempDir(), "none.txt")
	require.ErrorIs(t, run(t.Context(), cfg, newScreen(new(strings.Builder), false)), os.ErrNotExist)
}

func TestWhoeverIsInterruptedBlamesNobody(t *testing.T) {
	cfg := quick
	cfg.pages = 10_000
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var out strings.Builder
	require.ErrorIs(t, run(ctx, cfg, newScreen(&out, false)), context.DeadlineExceeded)
	assert.NotContains(t, out.String(), "does not work")
}

func TestWithoutAProxyThatWorksItGivesUp(t *testing.T) {
	gone, err := newForwarder()
	require.NoError(t, err)
	gone.kill()
	cfg := quick
	cfg.list = filepath.Join(t.TempDir(), "proxies.txt")
	require.NoError(t, os.WriteFile(cfg.list, []byte(gone.addr), 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = run(ctx, cfg, newScreen(new(strings.Builder), false))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
