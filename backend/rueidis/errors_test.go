package rueidis

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	b := open(t)
	ns := backend.Namespace{Prefix: "p*", Suffix: "s"}
	// replied gives what the server would have answered.
	replied := func(text string) error {
		script := rueidis.NewLuaScript("return redis.error_reply(ARGV[1])")
		return script.Exec(t.Context(), b.client, nil, []string{text}).Error()
	}
	for text, want := range map[string]error{
		"WRONGTYPE Operation against a key holding the wrong kind of value":                                                 backend.ErrWrongType,
		"ERR Error running script (call to f_0): @user_script:1: WRONGTYPE Operation against a key":                         backend.ErrWrongType,
		"NOTNUMBER stored value is not a number":                                                                            backend.ErrNotNumber,
		"NOPERM this user has no permissions to access one of the keys used as arguments":                                   backend.ErrPermission,
		"ERR The user executing the script can't access at least one of the keys mentioned in the command arguments":        backend.ErrPermission,
		"ERR Error running script (call to f_0): @user_script:1: The user executing the script can't run this command":      backend.ErrPermission,
		"NOPERM ACL failure in script: User app has no permissions to access the 'k' key":                                   backend.ErrPermission,
		"NOAUTH Authentication required.":                                                                                   backend.ErrPermission,
		"LOADING Redis is loading the dataset in memory":                                                                    backend.ErrUnavailable,
		"READONLY You can't write against a read only replica.":                                                             backend.ErrUnavailable,
		"CLUSTERDOWN The cluster is down":                                                                                   backend.ErrUnavailable,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                                  backend.ErrUnavailable,
		"BUSY Redis is busy running a script.":                                                                              backend.ErrUnavailable,
		"MISCONF Redis is configured to save RDB snapshots":                                                                 backend.ErrUnavailable,
		"OOM command not allowed when used memory > 'maxmemory'.":                                                           backend.ErrUnavailable,
		"NOREPLICAS Not enough good replicas to write.":                                                                     backend.ErrUnavailable,
		"ERR max number of clients reached":                                                                                 backend.ErrUnavailable,
		"ERR unknown command 'EVALSHA', with args beginning with: ":                                                         backend.ErrUnsupported,
		"ERR Unknown Redis command called from script script: 0000000000000000000000000000000000000000, on @user_script:1.": backend.ErrUnsupported,
		"ERR something else": nil,
	} {
		err := replied(text)
		require.Error(t, err)
		got := b.fail(t.Context(), "take", ns, err)
		assert.ErrorContains(t, got, strings.TrimPrefix(text, "ERR "))
		assert.ErrorContains(t, got, `rueidis: take "p*|s"`)
		for _, sentinel := range []error{
			backend.ErrWrongType, backend.ErrNotNumber, backend.ErrPermission, backend.ErrUnavailable, backend.ErrUnsupported,
			backend.ErrClosed, backend.ErrInvalid,
		} {
			assert.Equal(t, errors.Is(want, sentinel), errors.Is(got, sentinel), "%v as %v", got, sentinel)
		}
		if errors.Is(want, backend.ErrPermission) {
			assert.ErrorContains(t, got, `~p\*|s* &p\*|s|*`)
		}
	}

	over, cancel := context.WithCancel(t.Context())
	cancel()
	assert.NoError(t, b.fail(over, "take", ns, nil))
	assert.ErrorIs(t, b.fail(over, "take", ns, io.EOF), context.Canceled)
	assert.ErrorIs(t, b.fail(over, "take", ns, context.Canceled), context.Canceled)
	for _, lost := range []error{io.EOF, io.ErrUnexpectedEOF, rueidis.ErrClosing, context.DeadlineExceeded, context.Canceled, errReply} {
		got := b.fail(t.Context(), "take", ns, lost)
		assert.ErrorIs(t, got, backend.ErrUnavailable, lost)
		assert.NotErrorIs(t, got, context.DeadlineExceeded, "that is for the caller's context")
		assert.NotErrorIs(t, got, context.Canceled)
	}
	require.NoError(t, b.Close())
	assert.ErrorIs(t, b.fail(t.Context(), "take", ns, rueidis.ErrClosing), backend.ErrClosed)
}

// TestOutOfMemory fills the server: nothing can be taken or added, but everything given back.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newRoom(t, s.URL())
	b := r.process(s.URL())
	r.furnish(b)
	r.do("CONFIG", "SET", "maxmemory", "1")
	_, err := b.Take(t.Context(), r.request("t"))
	require.ErrorIs(t, err, backend.ErrUnavailable)
	_, err = b.Extend(t.Context(), backend.ExtendRequest{Namespace: r.ns, Members: []string{"another"}, TTL: backend.NoExpiry})
	require.ErrorIs(t, err, backend.ErrUnavailable)
	for _, m := range methods() {
		before := r.dump()
		err := m.do(t.Context(), b, r.ns)
		if err == nil {
			continue
		}
		require.ErrorIs(t, err, backend.ErrUnavailable, m.name)
		require.ErrorContains(t, err, "OOM", m.name)
		require.Equal(t, before, r.dump(), m.name)
		require.NotContains(t, m.name, "Return")
		require.NotContains(t, []string{"Shrink", "Remove", "Delete", "Assign nothing"}, m.name)
	}
	r.do("CONFIG", "SET", "maxmemory", "0")
	r.sound(b)
}
