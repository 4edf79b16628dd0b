package lock_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

var redNS = backend.Namespace{Prefix: "test", Suffix: "redlock"}

var errBroken = errors.New("broken")

// How a redServer treats a kind of call.
type redMood struct {
	delay time.Duration // before it is carried out, whatever becomes of the caller's context
	hang  bool          // it is never carried out
	mute  bool          // it is carried out, without an answer
	err   error         // instead of it
}

type redCall struct {
	op    string // "lock", "renew" or "unlock"
	token string
	at    time.Time
}

// redServer is a memory backend that can be slow, mute or broken. Its calls are recorded.
type redServer struct {
	*memory.Backend

	mu    sync.Mutex
	moods map[string]redMood
	calls []redCall
}

// newRedServers gives n of them, each with its own data.
func newRedServers(t *testing.T, n int) []*redServer {
	t.Helper()
	servers := make([]*redServer, n)
	for i := range servers {
		servers[i] = &redServer{Backend: memory.New(), moods: make(map[string]redMood)}
		t.Cleanup(func() { _ = servers[i].Close() })
	}
	return servers
}

// newRedlock is closed with the test.
func newRedlock(t *testing.T, servers []*redServer, cfg lock.RedlockConfig) *lock.Redlock {
	t.Helper()
	backends := make([]lock.RedlockBackend, len(servers))
	for i := range servers {
		backends[i] = servers[i]
	}
	r, err := lock.NewRedlock(backends, redNS, cfg)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// is sets the mood for kinds of calls, or for all.
func (s *redServer) is(m redMood, ops ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ops) == 0 {
		ops = []string{"lock", "renew", "unlock"}
	}
	for _, op := range ops {
		s.moods[op] = m
	}
}

func (s *redServer) asked(op string) (calls []redCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c.op == op {
			calls = append(calls, c)
		}
	}
	return calls
}

func redDo[T any](ctx context.Context, s *redServer, op, token string, do func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	mood := s.moods[op]
	s.calls = append(s.calls, redCall{op, token, time.Now()})
	s.mu.Unlock()
	var none T
	if mood.hang {
		<-ctx.Done()
		return none, ctx.Err()
	}
	if mood.delay > 0 {
		<-time.After(mood.delay)
	}
	if mood.err != nil {
		return none, mood.err
	}
	reply, err := do(context.WithoutCancel(ctx))
	if mood.mute {
		<-ctx.Done()
		return none, ctx.Err()
	}
	return reply, err
}

func (s *redServer) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	return redDo(ctx, s, "lock", req.Token, func(ctx context.Context) (backend.LockReply, error) {
		return s.Backend.Lock(ctx, req)
	})
}

func (s *redServer) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return redDo(ctx, s, "renew", req.Items[0].Token, func(ctx context.Context) (backend.RenewReply, error) {
		return s.Backend.RenewLocks(ctx, req)
	})
}

func (s *redServer) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	return redDo(ctx, s, "unlock", req.Items[0].Token, func(ctx context.Context) (backend.UnlockReply, error) {
		return s.Backend.Unlock(ctx, req)
	})
}

// owner is the token that has a name on the server, or "".
func (s *redServer) owner(t *testing.T, name string) string {
	t.Helper()
	states, err := s.Holders(t.Context(), backend.HoldersRequest{Namespace: redNS, Names: []string{name}})
	require.NoError(t, err)
	return states[0].Owner
}

// ttl is what is left of the lease on a name.
func (s *redServer) ttl(t *testing.T, name string) time.Duration {
	t.Helper()
	states, err := s.Holders(t.Context(), backend.HoldersRequest{Namespace: redNS, Names: []string{name}})
	require.NoError(t, err)
	return states[0].TTL
}

// take has somebody else hold a name.
func (s *redServer) take(t *testing.T, name string) {
	t.Helper()
	reply, err := s.Backend.Lock(t.Context(), backend.LockRequest{
		Namespace: redNS, Token: "somebody", TTL: backend.NoExpiry, Items: []backend.LockItem{{Name: name}},
	})
	require.NoError(t, err)
	require.Len(t, reply.Grants, 1)
}

// forget frees a name as a restart without data does.
func (s *redServer) forget(t *testing.T, name string) {
	t.Helper()
	_, err := s.Backend.Unlock(t.Context(), backend.UnlockRequest{
		Namespace: redNS, Items: []backend.Held{{Member: name}}, Force: true,
	})
	require.NoError(t, err)
}

// owners are those who have a name, by server.
func owners(t *testing.T, servers []*redServer, name string) []string {
	t.Helper()
	tokens := make([]string, len(servers))
	for i, s := range servers {
		tokens[i] = s.owner(t, name)
	}
	return tokens
}

// same is n times the same token.
func same(n int, token string) []string { return slices.Repeat([]string{token}, n) }

// after lets time pass.
func after(d time.Duration) { <-time.After(d) }
