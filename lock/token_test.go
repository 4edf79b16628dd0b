package lock_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

func TestATokenSaysWhoHoldsTheLock(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	host, err := os.Hostname()
	require.NoError(t, err)
	for _, info := range []string{"", "nightly report", " info= id= ", strings.Repeat("é", lock.MaxInfo/2)} {
		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{Info: info}))
		value := s.state(t, "name").Owner
		require.Equal(t, held.Token(), value)
		h, ok := lock.ParseHolder(value)
		require.True(t, ok, value)
		require.Equal(t, value, h.Token)
		require.True(t, strings.HasPrefix(host, h.Host), h.Host)
		require.NotEmpty(t, h.Host)
		require.Equal(t, os.Getpid(), h.PID)
		require.WithinDuration(t, time.Now(), h.Since, time.Minute)
		require.Equal(t, info, h.Info)
		require.NoError(t, backend.ValidateOwner(value))
		unlock(t, held)
	}
}

func TestNoTwoTokensAreTheSame(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	seen := make(map[string]bool)
	for range 1000 {
		held := hold(t, m)
		require.False(t, seen[held.Token()])
		seen[held.Token()] = true
		unlock(t, held)
	}
}

func TestWhatIsReadFromAToken(t *testing.T) {
	t.Parallel()
	h, ok := lock.ParseHolder("host=web-1 pid=4711 since=2025-06-01T12:00:00.123Z id=9f86d081884c7d65/1a info=nightly report")
	require.True(t, ok)
	require.Equal(t, "web-1", h.Host)
	require.Equal(t, 4711, h.PID)
	require.Equal(t, time.Date(2025, 6, 1, 12, 0, 0, 123e6, time.UTC), h.Since)
	require.Equal(t, "nightly report", h.Info)
	h, ok = lock.ParseHolder("host= pid=1 since=2025-06-01T12:00:00.123Z id=x")
	require.True(t, ok)
	require.Empty(t, h.Host)

	for _, foreign := range []string{
		"", "1", backend.NewToken(), backend.SharedToken, "host=", "host=a pid=1", "host=a pid=1 since=now id=x",
		"host=a pid=one since=2025-06-01T12:00:00.123Z id=x", "host=a pid=1 since=2025-06-01T12:00:00.123Z id=",
		"host=a pid=1 since=2025-06-01T12:00:00.123Z id=x y", "host=a b pid=1 since=2025-06-01T12:00:00.123Z id=x",
		"host=a pid=1 since=2025-06-01T12:00:00.123Z",
	} {
		h, ok := lock.ParseHolder(foreign)
		require.False(t, ok, foreign)
		require.Equal(t, lock.Holder{Token: foreign}, h)
	}
}

func FuzzParseHolder(f *testing.F) {
	f.Add("host=web-1 pid=4711 since=2025-06-01T12:00:00.123Z id=9f86d081884c7d65/1a info=nightly report")
	f.Add("1")
	f.Fuzz(func(t *testing.T, value string) {
		h, ok := lock.ParseHolder(value)
		require.Equal(t, value, h.Token)
		if ok {
			require.True(t, strings.HasPrefix(value, "host="+h.Host+" pid="), value)
			require.True(t, strings.HasSuffix(value, h.Info))
		} else {
			require.Equal(t, lock.Holder{Token: value}, h)
		}
	})
}
