package pool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ns = backend.Namespace{Prefix: "test", Suffix: "pool"}

// thing is an object with all optional methods. Its functions may be nil.
type thing struct {
	name, id string

	mu        sync.Mutex
	keys      []string // that it was configured with
	params    any
	opened    int
	closed    int
	configure func(key string) error
	open      func(ctx context.Context) error
	close     func(ctx context.Context) error
	check     func(ctx context.Context) error
}

func (o *thing) Configure(key string, params any) error {
	o.mu.Lock()
	o.keys, o.params = append(o.keys, key), params
	f := o.configure
	o.mu.Unlock()
	if f != nil {
		return f(key)
	}
	return nil
}

func (o *thing) Open(ctx context.Context) error {
	o.mu.Lock()
	o.opened++
	f := o.open
	o.mu.Unlock()
	return run(ctx, f)
}

func (o *thing) Close(ctx context.Context) error {
	o.mu.Lock()
	o.closed++
	f := o.close
	o.mu.Unlock()
	return run(ctx, f)
}

func (o *thing) CheckHealth(ctx context.Context) error { return run(ctx, o.check) }
func (o *thing) BindingName() string                   { return o.name }
func (o *thing) ObjectID() string                      { return o.id }

func (o *thing) key() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.keys) == 0 {
		return ""
	}
	return o.keys[len(o.keys)-1]
}

func run(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

// store is the memory backend with its calls counted and a hook before each of them.
type store struct {
	*memory.Backend

	calls atomic.Int64 // of all kinds
	mu    sync.Mutex
	hook  func(ctx context.Context, op string) error
}

func newStore(t testing.TB) *store {
	t.Helper()
	s := &store{Backend: memory.New()}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *store) before(ctx context.Context, op string) error {
	s.calls.Add(1)
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, op)
}

// on sets the hook.
func (s *store) on(hook func(ctx context.Context, op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// fail has the operations of a kind fail like this.
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

func (s *store) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	if err := s.before(ctx, "get"); err != nil {
		return nil, err
	}
	return s.Backend.Get(ctx, req)
}

func (s *store) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	if err := s.before(ctx, "set"); err != nil {
		return backend.SetReply{}, err
	}
	return s.Backend.Set(ctx, req)
}

func (s *store) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	if err := s.before(ctx, "delete"); err != nil {
		return backend.DeleteReply{}, err
	}
	return s.Backend.Delete(ctx, req)
}

func (s *store) Extend(ctx context.Context, req backend.ExtendRequest) (backend.EditReply, error) {
	if err := s.before(ctx, "extend"); err != nil {
		return backend.EditReply{}, err
	}
	return s.Backend.Extend(ctx, req)
}

func (s *store) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	if err := s.before(ctx, "take"); err != nil {
		return backend.TakeReply{}, err
	}
	return s.Backend.Take(ctx, req)
}

func (s *store) Return(ctx context.Context, req backend.ReturnRequest) (backend.ReturnReply, error) {
	if err := s.before(ctx, "return"); err != nil {
		return backend.ReturnReply{}, err
	}
	return s.Backend.Return(ctx, req)
}

func (s *store) Renew(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	if err := s.before(ctx, "renew"); err != nil {
		return backend.RenewReply{}, err
	}
	return s.Backend.Renew(ctx, req)
}

func (s *store) Inspect(ctx context.Context, req backend.InspectRequest) (backend.InspectReply, error) {
	if err := s.before(ctx, "inspect"); err != nil {
		return backend.InspectReply{}, err
	}
	return s.Backend.Inspect(ctx, req)
}

func (s *store) Enter(ctx context.Context, req backend.EnterRequest) (backend.EnterReply, error) {
	if err := s.before(ctx, "enter"); err != nil {
		return backend.EnterReply{}, err
	}
	return s.Backend.Enter(ctx, req)
}

func (s *store) Leave(ctx context.Context, req backend.LeaveRequest) (backend.LeaveReply, error) {
	if err := s.before(ctx, "leave"); err != nil {
		return backend.LeaveReply{}, err
	}
	return s.Backend.Leave(ctx, req)
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

// open makes an allocator that is closed with the test, over the given members.
func open(t testing.TB, be pool.Backend, cfg pool.Config[*thing], keys ...string) *pool.Allocator[*thing] {
	t.Helper()
	if cfg.Namespace == (backend.Namespace{}) {
		cfg.Namespace = ns
	}
	p, err := pool.New(be, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	require.NoError(t, p.Extend(t.Context(), keys))
	return p
}

func keys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i)
	}
	return keys
}

// snapshot looks at the pool, which must not be broken.
func snapshot(t testing.TB, p *pool.Allocator[*thing]) *pool.Snapshot {
	t.Helper()
	s, err := p.Snapshot(t.Context())
	require.NoError(t, err)
	require.Empty(t, s.Violations)
	return s
}

func malloc(t testing.TB, p *pool.Allocator[*thing], opts ...pool.Option) *pool.Lease[*thing] {
	t.Helper()
	lease, err := p.MallocKey(t.Context(), opts...)
	require.NoError(t, err)
	return lease
}

// lookup is what a name is bound to.
func lookup(t testing.TB, s *store, name string) string {
	t.Helper()
	v, err := s.Backend.Get(t.Context(), backend.GetRequest{Namespace: ns, Kind: backend.KindBinding, Names: []string{name}})
	require.NoError(t, err)
	return v[0].Value
}

var errOops = errors.New("oops")

const long = 24 * time.Hour
