package rueidis

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// replicated gives a namespace on a server that has a replica, and that replica.
func replicated(t *testing.T) (*lockRoom, *redistest.Server) {
	t.Helper()
	s := redistest.Start(t, redistest.Config("repl-diskless-sync-delay 0"))
	host, port, err := net.SplitHostPort(s.Addr())
	require.NoError(t, err)
	replica := redistest.Start(t, redistest.Config("replicaof "+host+" "+port))
	r := newLockRoom(t, s.URL())
	until(t, "the replica is there", func() bool {
		r.do("SET", "there", "1")
		return r.number("WAIT", "1", "100") == 1
	})
	return r, replica
}

// durable asks for a name that has to reach n replicas.
func (r *lockRoom) durable(n int, timeout time.Duration, token, name string) backend.LockRequest {
	req := r.asks(token, item(name))
	req.Durability = backend.Durability{Replicas: n, Timeout: timeout}
	return req
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	r, replica := replicated(t)
	b := r.process(r.url)

	got := r.lock(b, r.durable(1, patience, "first", "a")) // also where the server does not know the script yet
	again, err := b.Lock(t.Context(), r.durable(1, patience, "second", "a"))
	require.NoError(t, err, "refused, which is no matter of replicas")
	require.Empty(t, again.Grants)
	renewal := backend.RenewRequest{
		Namespace: r.ns, Items: []backend.Renewal{{Member: "a", Token: "first", TTL: time.Hour}},
		Durability: backend.Durability{Replicas: 1, Timeout: patience},
	}
	renewed, err := b.RenewLocks(t.Context(), renewal)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, renewed.Renewed)
	r.unlock(b, got...)

	var short *backend.ReplicasError
	for wait := 50 * time.Millisecond; ; wait *= 2 { // the one replica may need longer than that
		_, err = b.Lock(t.Context(), r.durable(2, wait, "first", "a"))
		require.ErrorIs(t, err, backend.ErrReplicas)
		require.ErrorAs(t, err, &short)
		require.Empty(t, r.left(), "undone before the error says so")
		require.Equal(t, 2, short.Want)
		if short.Got == 1 || wait > soon {
			break
		}
	}
	require.Equal(t, 1, short.Got)

	held := r.lock(b, r.asks("holder", item("kept")))
	replica.Pause()
	defer replica.Resume()
	renewal.Items[0] = backend.Renewal{Member: "kept", Token: "holder", TTL: 2 * time.Hour}
	renewal.Durability.Timeout = 50 * time.Millisecond
	renewed, err = b.RenewLocks(t.Context(), renewal)
	require.ErrorAs(t, err, &short)
	require.Equal(t, backend.ReplicasError{Want: 1}, *short)
	require.Equal(t, []bool{true}, renewed.Renewed)
	require.Greater(t, r.number("PTTL", r.ns.Lock("kept")), 3_700_000, "renewed all the same")
	r.unlock(b, held...)
}

// TestReplicasOfSharedNames: what was granted again is undone once, and nothing else.
func TestReplicasOfSharedNames(t *testing.T) {
	t.Parallel()
	r, _ := replicated(t)
	b := r.process(r.url)
	several := r.asks("token", item("a"), backend.LockItem{Name: "s", Units: 2, Limit: 3})
	r.lock(b, several)
	several.Again, several.Durability = true, backend.Durability{Replicas: 2, Timeout: 20 * time.Millisecond}
	_, err := b.Lock(t.Context(), several)
	require.ErrorIs(t, err, backend.ErrReplicas)
	until(t, "nothing is counted twice", func() bool {
		return r.number("EXISTS", r.ns.LockEntriesPrefix()+"a") == 0 || r.entries("a") == 1
	})
	req := backend.UnlockRequest{Namespace: r.ns, Items: []backend.Held{{Member: "a", Token: "token"}, {Member: "s", Token: "token"}}}
	until(t, "it is given back by as many calls as were granted", func() bool {
		got, err := b.Holders(t.Context(), backend.HoldersRequest{Namespace: r.ns, Names: []string{"s"}})
		require.NoError(t, err)
		return got[0].Units == 2
	})
	back, err := b.Unlock(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, back.Unlocked)
	require.Empty(t, r.left())
}

// entries is how often a name has to be given back, as the server has noted it.
func (r *lockRoom) entries(name string) int {
	text, err := r.do("GET", r.ns.LockEntriesPrefix()+name).ToString()
	if err != nil {
		return 1
	}
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// TestWaitForReplicasHoldsNobodyUp: others' calls go on meanwhile, and a caller who has enough leaves nothing.
func TestWaitForReplicasHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r, _ := replicated(t)
	b := r.process(r.url)
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := b.Lock(ctx, r.durable(2, time.Minute, "patient", "slow"))
		failed <- err
	}()
	until(t, "the name is locked", func() bool { return r.number("EXISTS", r.ns.Lock("slow")) == 1 })
	begin := time.Now()
	for range 10 {
		r.unlock(b, r.lock(b, r.asks(backend.NewToken(), item("quick")))...)
	}
	assert.Less(t, time.Since(begin), 10*time.Second)
	cancel(errors.New("enough"))
	require.ErrorIs(t, <-failed, context.Canceled)
	assert.Less(t, time.Since(begin), 20*time.Second, "it is not the replicas that ended it")
	require.NoError(t, r.do("CLIENT", "UNBLOCK", r.blocked()).Error()) // the minute need not go by
	r.clear()
}

// blocked is the id of the connection that waits for replicas.
func (r *lockRoom) blocked() string {
	list, err := r.do("CLIENT", "LIST").ToString()
	require.NoError(r, err)
	for line := range strings.Lines(list) {
		if id, rest, ok := strings.Cut(strings.TrimPrefix(line, "id="), " "); ok && strings.Contains(rest, " cmd=wait ") {
			return id
		}
	}
	require.FailNow(r, "nobody waits", list)
	return ""
}

// TestWaitDenied: a user who may not call WAIT holds nothing either.
func TestWaitDenied(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.user(append(ACLRules(r.ns), "-wait")...))
	_, err := b.Lock(t.Context(), r.durable(1, time.Second, "token", "a"))
	require.ErrorIs(t, err, backend.ErrPermission)
	r.clear()
}

// TestReplicasWithoutAnswer: what a lost call may have been granted comes back.
func TestReplicasWithoutAnswer(t *testing.T) {
	t.Parallel()
	for at, cut := range cuts {
		t.Run(at, func(t *testing.T) {
			r, proxy, b, _ := locksBehindProxy(t)
			fired := cut(proxy, callFor("lost"))
			_, err := b.Lock(t.Context(), r.durable(1, 10*time.Millisecond, "lost", "a"))
			require.ErrorIs(t, err, backend.ErrUnavailable)
			<-fired
			r.clear()
		})
	}
}
