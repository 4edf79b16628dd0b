package lock_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

// refuses has every call of a lock that something is wrong with fail before anything is sent.
func refuses(t *testing.T, s *store, calls map[string]func(ctx context.Context) error) {
	t.Helper()
	for name, call := range calls {
		require.Zero(t, s.counting(func() {
			err := call(t.Context())
			require.ErrorIs(t, err, backend.ErrInvalid, name)
			var detail *backend.InvalidError
			require.ErrorAs(t, err, &detail, name)
			require.NotEmpty(t, detail.Field)
			require.NotEmpty(t, detail.Reason)
		}), name)
	}
}

func TestWhatIsWrongWithALockIsSaidByEachCallBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var (
		noStore *store
		long    = strings.Repeat("x", backend.MaxNameLen+1)
		good    = lock.Config{}
	)
	type args struct {
		be   lock.Backend
		ns   backend.Namespace
		name string
		cfg  lock.Config
	}
	for what, a := range map[string]args{
		"no backend":         {nil, ns, "name", good},
		"nil backend":        {noStore, ns, "name", good},
		"no namespace":       {s, backend.Namespace{}, "name", good},
		"no suffix":          {s, backend.Namespace{Prefix: "x"}, "name", good},
		"no name":            {s, ns, "", good},
		"NUL":                {s, ns, "a\x00b", good},
		"no UTF-8":           {s, ns, "\xff", good},
		"long":               {s, ns, long, good},
		"ttl":                {s, ns, "name", lock.Config{TTL: time.Microsecond}},
		"negative ttl":       {s, ns, "name", lock.Config{TTL: -time.Second}},
		"priority":           {s, ns, "name", lock.Config{Priority: backend.MaxPriority + 1}},
		"max wait":           {s, ns, "name", lock.Config{MaxWait: -1}},
		"claim":              {s, ns, "name", lock.Config{ClaimTTL: time.Microsecond}},
		"endless claim":      {s, ns, "name", lock.Config{ClaimTTL: backend.NoExpiry}},
		"replicas":           {s, ns, "name", lock.Config{Replicas: -1}},
		"replica timeout":    {s, ns, "name", lock.Config{Replicas: 1, ReplicaTimeout: -1}},
		"info too long":      {s, ns, "name", lock.Config{Info: strings.Repeat("x", lock.MaxInfo+1)}},
		"info of two lines":  {s, ns, "name", lock.Config{Info: "a\nb"}},
		"info without UTF-8": {s, ns, "name", lock.Config{Info: "\xff"}},
	} {
		mutex, multi := lock.NewMutex(a.be, a.ns, a.name, a.cfg), lock.NewMulti(a.be, a.ns, []string{"x", a.name}, a.cfg)
		rw, sem := lock.NewRWMutex(a.be, a.ns, a.name, a.cfg), lock.NewSemaphore(a.be, a.ns, a.name, 2, a.cfg)
		f := func(context.Context) error { panic("not to be called") }
		refuses(t, s, map[string]func(context.Context) error{
			what + ": Lock":        func(ctx context.Context) error { _, err := mutex.Lock(ctx); return err },
			what + ": TryLock":     func(ctx context.Context) error { _, err := mutex.TryLock(ctx); return err },
			what + ": Do":          func(ctx context.Context) error { return mutex.Do(ctx, f) },
			what + ": Locked":      func(ctx context.Context) error { _, err := mutex.Locked(ctx); return err },
			what + ": State":       func(ctx context.Context) error { _, err := mutex.State(ctx); return err },
			what + ": all Lock":    func(ctx context.Context) error { _, err := multi.Lock(ctx); return err },
			what + ": all TryLock": func(ctx context.Context) error { _, err := multi.TryLock(ctx); return err },
			what + ": all Do":      func(ctx context.Context) error { return multi.Do(ctx, f) },
			what + ": all State":   func(ctx context.Context) error { _, err := multi.State(ctx); return err },

			what + ": write":       func(ctx context.Context) error { _, err := rw.Lock(ctx); return err },
			what + ": try write":   func(ctx context.Context) error { _, err := rw.TryLock(ctx); return err },
			what + ": read":        func(ctx context.Context) error { _, err := rw.RLock(ctx); return err },
			what + ": try read":    func(ctx context.Context) error { _, err := rw.TryRLock(ctx); return err },
			what + ": do write":    func(ctx context.Context) error { return rw.Do(ctx, f) },
			what + ": do read":     func(ctx context.Context) error { return rw.RDo(ctx, f) },
			what + ": downgrade":   func(ctx context.Context) error { return rw.Downgrade(ctx, nil) },
			what + ": rw State":    func(ctx context.Context) error { _, err := rw.State(ctx); return err },
			what + ": Acquire":     func(ctx context.Context) error { _, err := sem.Acquire(ctx, 1); return err },
			what + ": TryAcquire":  func(ctx context.Context) error { _, err := sem.TryAcquire(ctx, 1); return err },
			what + ": do acquire":  func(ctx context.Context) error { return sem.Do(ctx, 1, f) },
			what + ": Resize":      func(ctx context.Context) error { return sem.Resize(ctx, 1) },
			what + ": units State": func(ctx context.Context) error { _, err := sem.State(ctx); return err },
		})
	}
}

func TestWhatIsWrongWithNamesIsSaid(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	many := make([]string, backend.MaxLockNames+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for what, names := range map[string][]string{
		"none": nil, "empty": {}, "twice": {"a", "b", "a"}, "an empty one": {"a", ""}, "too many": many,
	} {
		m := lock.NewMulti(s, ns, names, lock.Config{})
		refuses(t, s, map[string]func(context.Context) error{
			what + ": Lock":    func(ctx context.Context) error { _, err := m.Lock(ctx); return err },
			what + ": TryLock": func(ctx context.Context) error { _, err := m.TryLock(ctx); return err },
			what + ": State":   func(ctx context.Context) error { _, err := m.State(ctx); return err },
		})
	}
	unlock(t, hold(t, lock.NewMulti(s, ns, many[1:], lock.Config{})))
	unlock(t, hold(t, lock.NewMulti(s, ns, many[:1], lock.Config{})))
}

func TestWhatIsWrongWithAnOptionIsSaid(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewMutex(s, ns, "name", lock.Config{})
	for what, opt := range map[string]lock.Option{
		"zero ttl": lock.TTL(0), "negative ttl": lock.TTL(-time.Second), "short ttl": lock.TTL(time.Microsecond),
		"priority": lock.Priority(-backend.MaxPriority - 1), "no wait": lock.MaxWait(0), "negative wait": lock.MaxWait(-1),
		"no token": lock.Token(""), "NUL": lock.Token("a\x00b"), "reserved": lock.Token(backend.SharedToken),
	} {
		refuses(t, s, map[string]func(context.Context) error{
			what + ": Lock":    func(ctx context.Context) error { _, err := m.Lock(ctx, opt, lock.NoRenewal()); return err },
			what + ": TryLock": func(ctx context.Context) error { _, err := m.TryLock(ctx, lock.NoRenewal(), opt); return err },
		})
	}
}

func TestWhatIsWrongWithAChangeIsSaid(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{}))
	refuses(t, s, map[string]func(context.Context) error{
		"extend by nothing":  func(ctx context.Context) error { return held.Extend(ctx, 0) },
		"extend backwards":   func(ctx context.Context) error { return held.Extend(ctx, -time.Second) },
		"extend by too much": func(ctx context.Context) error { return held.Extend(ctx, backend.NoExpiry) },
		"no ttl":             func(ctx context.Context) error { return held.SetTTL(ctx, 0) },
		"negative ttl":       func(ctx context.Context) error { return held.SetTTL(ctx, -time.Second) },
	})
	require.NoError(t, held.Extend(t.Context(), time.Millisecond), "that is enough")
	unlock(t, held)
}

// A backend that cannot be compared is as good as another.
type incomparable struct {
	*memory.Backend
	_ []int
}

func TestABackendThatCannotBeCompared(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	be := incomparable{Backend: s.Backend}
	m, other := lock.NewMutex(be, ns, "name", lock.Config{}), lock.NewMutex(be, ns, "name", lock.Config{})
	held := hold(t, m)
	ctx := lock.WithHeld(t.Context(), held)
	unlock(t, holdWith(ctx, t, m))
	_, err := other.TryLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
	unlock(t, held)
	unlock(t, hold(t, other))
}
