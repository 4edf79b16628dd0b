package lock_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(redistest.Wrap(m),
		// The client's, when it tried whether a server is a Cluster: it sleeps for up to a second and does no more.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

var ns = backend.Namespace{Prefix: "test", Suffix: "lock"}

var errOops = errors.New("oops")

// patience is for what must happen, however slow the machine is.
const patience = time.Minute

// store is the memory backend with its calls counted, and with a hook before and one after each of them.
type store struct {
	*memory.Backend

	calls atomic.Int64 // of all kinds
	mu    sync.Mutex
	hook  func(ctx context.Context, op string) error
	after func(op string) error
	sent  any // the last request for a lock
}

func newStore(t testing.TB) *store {
	t.Helper()
	s := &store{Backend: memory.New()}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// on sets the hook before each call: if it fails, the call does, and nothing has happened.
func (s *store) on(hook func(ctx context.Context, op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// answer sets the hook after each call that went well: if it fails, the answer is lost.
func (s *store) answer(after func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = after
}

// fail has the calls of a kind fail like this, as if they had not arrived.
func (s *store) fail(op string, err error) {
	s.on(func(_ context.Context, called string) error {
		if called == op {
			return err
		}
		return nil
	})
}

// counting gives the number of calls that f makes.
func (s *store) counting(f func()) int {
	before := s.calls.Load()
	f()
	return int(s.calls.Load() - before)
}

// call does one, with its hooks.
func call[T any](ctx context.Context, s *store, op string, f func() (T, error)) (reply T, err error) {
	s.calls.Add(1)
	s.mu.Lock()
	hook, after := s.hook, s.after
	s.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, op); err != nil {
			return reply, err
		}
	}
	reply, err = f()
	if err == nil && after != nil {
		if err := after(op); err != nil {
			var none T
			return none, err
		}
	}
	return reply, err
}

func (s *store) note(req any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = req
}

func (s *store) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	s.note(req)
	return call(ctx, s, "lock", func() (backend.LockReply, error) { return s.Backend.Lock(ctx, req) })
}

func (s *store) Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error) {
	return call(ctx, s, "unlock", func() (backend.UnlockReply, error) { return s.Backend.Unlock(ctx, req) })
}

func (s *store) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	return call(ctx, s, "renew", func() (backend.RenewReply, error) { return s.Backend.RenewLocks(ctx, req) })
}

func (s *store) Holders(ctx context.Context, req backend.HoldersRequest) ([]backend.LockState, error) {
	return call(ctx, s, "holders", func() ([]backend.LockState, error) { return s.Backend.Holders(ctx, req) })
}

func (s *store) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	s.note(req)
	return call(ctx, s, "enter", func() (backend.EnterReply, error) { return s.Backend.Enter(ctx, req) })
}

func (s *store) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	return call(ctx, s, "leave", func() (backend.LeaveReply, error) { return s.Backend.Leave(ctx, req) })
}

// state is that of one name.
func (s *store) state(t testing.TB, name string) backend.LockState {
	t.Helper()
	reply, err := s.Backend.Holders(context.Background(), backend.HoldersRequest{Namespace: ns, Names: []string{name}})
	require.NoError(t, err)
	return reply[0]
}

// free frees a name whoever holds it.
func (s *store) free(t testing.TB, names ...string) {
	t.Helper()
	req := backend.UnlockRequest{Namespace: ns, Force: true}
	for _, name := range names {
		req.Items = append(req.Items, backend.Held{Member: name})
	}
	_, err := s.Backend.Unlock(context.Background(), req)
	require.NoError(t, err)
}

// events remembers what the observer was told.
type events struct {
	mu  sync.Mutex
	all []backend.Event
}

func (e *events) Observe(ev backend.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// of gives the events of a kind.
func (e *events) of(kind backend.EventKind) []backend.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var of []backend.Event
	for _, ev := range e.all {
		if ev.Kind == kind {
			of = append(of, ev)
		}
	}
	return of
}

// locker is what all kinds of locks can do.
type locker interface {
	Lock(ctx context.Context, opts ...lock.Option) (*lock.Held, error)
	TryLock(ctx context.Context, opts ...lock.Option) (*lock.Held, error)
}

// hold locks what must be free.
func hold(t testing.TB, l locker, opts ...lock.Option) *lock.Held {
	t.Helper()
	return holdWith(t.Context(), t, l, opts...)
}

func holdWith(ctx context.Context, t testing.TB, l locker, opts ...lock.Option) *lock.Held {
	t.Helper()
	held, err := l.TryLock(ctx, opts...)
	require.NoError(t, err)
	return held
}

func unlock(t testing.TB, held *lock.Held) {
	t.Helper()
	require.NoError(t, held.Unlock(context.Background()))
}
