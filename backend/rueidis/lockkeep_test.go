package rueidis

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestLinesForNamesDoNotStay has somebody enter a line whose process has just said that it lives, which is when nothing else
// is kept: what he finds gone, and so makes anew, has a TTL all the same.
func TestLinesForNamesDoNotStay(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	r := newLockRoom(t, url)
	holder, b := r.process(url), r.process(url)
	held := r.lock(holder, r.asks("holder", item("a"), item("b")))
	keys := []string{
		r.ns.LockLine("a"), r.ns.LockLine("b"), r.ns.LockRequests(), r.ns.LockProcesses(), r.ns.LockSequence(),
	}
	expire := func(n int) {
		t.Helper()
		require.Equal(t, n, r.number(append([]string{"EXISTS"}, keys...)...))
		for _, key := range keys {
			require.NotEqual(t, -1, r.number("TTL", key), key)
		}
	}
	enter := func(token, name string) {
		t.Helper()
		r.number("ZADD", r.ns.LockProcesses(), "XX", "CH", fmt.Sprint(time.Now().Add(time.Hour).UnixMilli()), b.process)
		r.waitsFor(b, token, item(name))
	}
	leave := func(token string) {
		t.Helper()
		_, err := b.Leave(t.Context(), backend.LeaveRequest{Namespace: r.ns, Token: token, Names: []string{"a", "b"}})
		require.NoError(t, err)
	}

	enter("t1", "a")
	expire(4)
	leave("t1")
	require.Equal(t, 0, r.number("EXISTS", r.ns.LockRequests()))
	enter("t2", "a") // whose line and whose requests are new
	expire(4)
	enter("t3", "b") // whose line is new
	expire(5)
	r.do("DEL", r.ns.LockSequence())
	enter("t4", "b")
	expire(5)
	for _, token := range []string{"t2", "t3", "t4"} {
		leave(token)
	}
	r.unlock(holder, held...)
}
