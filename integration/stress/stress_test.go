package stress

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) {
	Work()
	os.Exit(redistest.Wrap(m).Run())
}

// TestARunHolds has workers work while they are killed and stopped and the server is restarted.
func TestARunHolds(t *testing.T) {
	t.Parallel()
	url, restart, stop, err := redistest.LaunchDurable()
	require.NoError(t, err)
	t.Cleanup(stop)
	report, err := Run(t.Context(), Config{
		URL: url, Duration: 4 * time.Second, Processes: 3, TTL: time.Second,
		Seed:    352, // of a plan that begins with a kill, long before the end
		Restart: restart, RestartPause: 1500 * time.Millisecond, Log: t.Output(),
	})
	require.NoError(t, err)
	t.Logf("\n%v", report)
	assert.True(t, report.Held())
	assert.Positive(t, report.Kills)
	assert.Positive(t, report.Looks)
	assert.Positive(t, report.Tasks["done"])
	client, err := dial(t.Context(), url)
	require.NoError(t, err)
	defer client.Close()
	left, err := client.Do(t.Context(), client.B().Keys().Pattern("*").Build()).AsStrSlice()
	require.NoError(t, err)
	assert.Empty(t, left, "a run that held leaves nothing")
}

// shout is a log that can be waited for.
type shout struct {
	mu   sync.Mutex
	text bytes.Buffer
	also io.Writer
}

func (s *shout) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	return s.also.Write(b)
}

func (s *shout) says(all ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(all, func(what string) bool { return !strings.Contains(s.text.String(), what) })
}

// TestARunNoticesAStoreThatForgets has a store that forgets its locks, again and again, while workers work.
func TestARunNoticesAStoreThatForgets(t *testing.T) {
	t.Parallel()
	ctx, enough := context.WithTimeout(t.Context(), 2*patience)
	defer enough()
	log := &shout{also: t.Output()}
	var forgetting sync.WaitGroup
	defer forgetting.Wait()
	report, err := Run(ctx, Config{
		URL: redistest.URL(t), Seed: 1, Duration: 2 * patience, Processes: 2, TTL: time.Second, Log: log,
		playing: func(r *run) {
			forgetting.Go(func() {
				for ; ctx.Err() == nil; pause(ctx, time.Millisecond) {
					for _, name := range lockNames() {
						_ = r.client.Do(ctx, r.client.B().Del().Key(r.spaces.locks().Lock(name)).Build()).Error()
					}
					if log.says("has two holders", "gives out") {
						enough()
					}
				}
			})
		},
	})
	require.NoError(t, err)
	assert.False(t, report.Held())
	assert.True(t, log.says("has two holders", "gives out"), report)
	assert.NotEmpty(t, report.Violations)
	assert.Contains(t, report.String(), "VIOLATED")
}

// TestDialComesThroughARestart has a server break off the first connections, as one does that is killed just then.
func TestDialComesThroughARestart(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(redistest.URL(t))
	require.NoError(t, err)
	server := address.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if n < 2 {
				conn.Close()
				continue
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				conn.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, conn); far.Close() }()
			go func() { _, _ = io.Copy(conn, far); conn.Close() }()
		}
	}()
	address.Host = listener.Addr().String()
	client, err := dial(t.Context(), address.String())
	require.NoError(t, err)
	defer client.Close()
	assert.NoError(t, client.Do(t.Context(), client.B().Ping().Build()).Error())
}

// TestPlansAreRepeated compares what is planned for the same seed, and for another one.
func TestPlansAreRepeated(t *testing.T) {
	t.Parallel()
	first := func(cfg Config) (list []Fault) {
		for f := range Plan(cfg) {
			if list = append(list, f); len(list) == 100 {
				break
			}
		}
		return list
	}
	does := func(list []Fault, what string) bool {
		return slices.ContainsFunc(list, func(f Fault) bool { return f.Do == what })
	}
	one := first(Config{Seed: 1})
	assert.Equal(t, one, first(Config{Seed: 1}))
	assert.NotEqual(t, one, first(Config{Seed: 2}))
	assert.True(t, does(one, Kill) && does(one, Stop))
	assert.False(t, does(one, Restart), "nobody can restart the server")
	assert.True(t, does(first(Config{Seed: 1, Restart: func() error { return nil }}), Restart))
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{Processes: -1}, {Duration: -1}, {Pause: -1}, {TTL: time.Millisecond}} {
		_, err := Run(t.Context(), cfg)
		assert.Error(t, err, cfg)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	var odd, all Times
	for i := range 1000 {
		d := time.Duration(i+1) * time.Millisecond
		if i%2 == 0 {
			odd.add(d)
		} else {
			all.add(d)
		}
	}
	all.merge(&odd)
	assert.Equal(t, int64(1000), all.N())
	assert.Equal(t, time.Second, all.Max)
	assert.InEpsilon(t, 500*time.Millisecond, all.Quantile(0.5), 0.1)
	assert.Equal(t, time.Second, all.Quantile(1))
	assert.Zero(t, new(Times).Quantile(0.5))
}
