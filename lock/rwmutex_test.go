package lock_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// arrivals notes who was granted a lock, in order.
type arrivals struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	list []string
	held map[string]*lock.Held
}

// enter starts to wait for a lock, and returns when it is in line.
func (a *arrivals) enter(t *testing.T, name string, wait func(context.Context, ...lock.Option) (*lock.Held, error)) {
	a.wg.Go(func() {
		held, err := wait(t.Context())
		if t.Context().Err() != nil {
			return // the test has failed already
		}
		if !assert.NoError(t, err) {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.list = append(a.list, name)
		if a.held == nil {
			a.held = make(map[string]*lock.Held)
		}
		a.held[name] = held
	})
	synctest.Wait()
}

func (a *arrivals) seen() []string {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

func (a *arrivals) unlock(t *testing.T, names ...string) {
	for _, name := range names {
		a.mu.Lock()
		held := a.held[name]
		a.mu.Unlock()
		unlock(t, held)
	}
}

func TestReadersShareAndAWriterDoesNot(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewRWMutex(s, ns, "name", lock.Config{})
	require.Equal(t, "name", m.Name())
	var readers []*lock.Held
	for range 3 {
		held, err := m.TryRLock(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, held.Units())
		readers = append(readers, held)
	}
	require.NotEqual(t, readers[0].Token(), readers[1].Token())
	require.Less(t, readers[0].Fence(), readers[1].Fence())
	state, err := m.State(t.Context())
	require.NoError(t, err)
	require.Len(t, state.Holders, 3)
	require.Equal(t, 3, state.Units)

	for _, other := range []locker{m, lock.NewMutex(s, ns, "name", lock.Config{})} {
		_, err = other.TryLock(t.Context())
		require.ErrorIs(t, err, lock.ErrLocked)
	}
	_, err = m.TryRLock(t.Context())
	require.NoError(t, err)
	s.free(t, "name")

	writer := hold(t, m)
	require.Zero(t, writer.Units())
	_, err = m.TryRLock(t.Context())
	require.ErrorIs(t, err, lock.ErrLocked)
	unlock(t, writer)
	for _, held := range readers {
		require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld, "that reader was thrown out")
	}
}

func TestReadersAndWritersTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewRWMutex(s, ns, "name", lock.Config{})
		var a arrivals
		a.enter(t, "r1", m.RLock)
		require.Equal(t, []string{"r1"}, a.seen())
		a.enter(t, "w1", m.Lock)
		a.enter(t, "r2", m.RLock)
		a.enter(t, "r3", m.RLock)
		a.enter(t, "w2", m.Lock)
		a.enter(t, "r4", m.RLock)
		require.Empty(t, a.seen(), "a writer that waits stops readers that come after it")
		_, err := m.TryRLock(t.Context())
		require.ErrorIs(t, err, lock.ErrLocked)

		a.unlock(t, "r1")
		require.Equal(t, []string{"w1"}, a.seen())
		a.unlock(t, "w1")
		require.ElementsMatch(t, []string{"r2", "r3"}, a.seen(), "readers that wait together enter together")
		a.unlock(t, "r2")
		require.Empty(t, a.seen())
		a.unlock(t, "r3")
		require.Equal(t, []string{"w2"}, a.seen())
		a.unlock(t, "w2")
		require.Equal(t, []string{"r4"}, a.seen())
		a.unlock(t, "r4")
		a.wg.Wait()
	})
}

func TestEachReaderHasALeaseOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewRWMutex(s, ns, "name", lock.Config{TTL: 10 * time.Second})
		renewed, err := m.TryRLock(t.Context())
		require.NoError(t, err)
		dying, err := m.TryRLock(t.Context(), lock.NoRenewal())
		require.NoError(t, err)
		ctx := dying.Context()

		var a arrivals
		a.enter(t, "w", m.Lock)
		<-time.After(9 * time.Second)
		require.NoError(t, ctx.Err())
		<-time.After(2 * time.Second)
		require.ErrorIs(t, context.Cause(ctx), lock.ErrExpired)
		require.ErrorIs(t, dying.Unlock(t.Context()), lock.ErrNotHeld)
		<-time.After(time.Hour)
		require.True(t, renewed.Valid())
		require.Empty(t, a.seen())
		unlock(t, renewed)
		require.Equal(t, []string{"w"}, a.seen())
		a.unlock(t, "w")
	})
}

func TestADeadReaderDoesNotHoldUpAWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewRWMutex(s, ns, "name", lock.Config{TTL: 10 * time.Second})
		_, err := m.TryRLock(t.Context(), lock.NoRenewal())
		require.NoError(t, err)
		begin := time.Now()
		writer, err := m.Lock(t.Context())
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, time.Since(begin).Truncate(10*time.Millisecond))
		unlock(t, writer)
	})
}

func TestAReaderCannotBecomeAWriter(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewRWMutex(s, ns, "name", lock.Config{})
	reader, err := m.RLock(t.Context())
	require.NoError(t, err)
	ctx := lock.WithHeld(t.Context(), reader)
	require.Zero(t, s.counting(func() {
		_, err = m.Lock(ctx)
		require.ErrorIs(t, err, lock.ErrUpgrade)
		_, err = m.TryLock(ctx)
		require.ErrorIs(t, err, lock.ErrUpgrade)
		_, err = lock.NewMutex(s, ns, "name", lock.Config{}).Lock(ctx)
		require.ErrorIs(t, err, lock.ErrUpgrade)
	}))
	_, err = m.Lock(t.Context(), lock.Token(reader.Token()))
	require.ErrorIs(t, err, lock.ErrUpgrade)
	require.True(t, reader.Valid())

	again, err := m.RLock(ctx)
	require.NoError(t, err)
	require.Equal(t, reader.Fence(), again.Fence())
	unlock(t, reader)
	require.True(t, s.state(t, "name").Locked)
	unlock(t, again)
	require.False(t, s.state(t, "name").Locked)
}

func TestAWriterMayReadUnderItsLock(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewRWMutex(s, ns, "name", lock.Config{})
	require.NoError(t, m.Do(t.Context(), func(ctx context.Context) error {
		return m.RDo(ctx, func(ctx context.Context) error {
			require.Zero(t, lock.HeldFrom(ctx).Units(), "it is the writer's lease")
			return m.Do(ctx, func(ctx context.Context) error { return ctx.Err() })
		})
	}))
	require.False(t, s.state(t, "name").Locked)
	require.ErrorIs(t, m.RDo(t.Context(), func(ctx context.Context) error {
		return m.Do(ctx, func(context.Context) error { return nil })
	}), lock.ErrUpgrade)
	require.False(t, s.state(t, "name").Locked)
}

func TestDowngradeLetsReadersIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewRWMutex(s, ns, "name", lock.Config{TTL: 10 * time.Second})
		held := hold(t, m)
		var a arrivals
		a.enter(t, "r1", m.RLock)
		a.enter(t, "r2", m.RLock)
		a.enter(t, "w", m.Lock)
		require.Empty(t, a.seen())
		token, fence := held.Token(), held.Fence()
		require.NoError(t, m.Downgrade(t.Context(), held))
		require.ElementsMatch(t, []string{"r1", "r2"}, a.seen())
		require.Equal(t, token, held.Token())
		require.Equal(t, fence, held.Fence())
		require.Equal(t, 1, held.Units())
		require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrInvalid)
		_, err := m.Lock(lock.WithHeld(t.Context(), held))
		require.ErrorIs(t, err, lock.ErrUpgrade)

		a.unlock(t, "r1", "r2")
		<-time.After(time.Hour)
		require.True(t, held.Valid(), "it is renewed as before")
		require.Empty(t, a.seen())
		unlock(t, held)
		require.Equal(t, []string{"w"}, a.seen())
		a.unlock(t, "w")
	})
}

func TestDowngradeKeepsTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewRWMutex(s, ns, "name", lock.Config{TTL: 10 * time.Second, NoRenewal: true})
		held := hold(t, m)
		end := held.Deadline()
		<-time.After(4 * time.Second)
		require.Equal(t, 1, s.counting(func() { require.NoError(t, m.Downgrade(t.Context(), held)) }))
		require.WithinDuration(t, end, held.Deadline(), time.Millisecond)
		left := s.state(t, "name").TTL
		require.GreaterOrEqual(t, left, time.Until(end))
		require.LessOrEqual(t, left, 6*time.Second)
		<-time.After(left)
		require.False(t, s.state(t, "name").Locked)
		require.False(t, held.Valid())
		require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrInvalid)
		require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)

		held = hold(t, m, lock.TTL(backend.NoExpiry))
		require.NoError(t, m.Downgrade(t.Context(), held))
		require.Equal(t, backend.NoExpiry, s.state(t, "name").TTL)
		unlock(t, held)
	})
}

func TestDowngradeWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewRWMutex(s, ns, "name", lock.Config{})

	held := hold(t, m)
	s.fail("lock", backend.ErrUnavailable)
	require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrUnavailable)
	s.on(nil)
	require.True(t, held.Valid())
	require.NoError(t, m.Downgrade(t.Context(), held), "it may be tried again")
	unlock(t, held)
	require.False(t, s.state(t, "name").Locked)

	held = hold(t, m)
	s.answer(func(string) error { return backend.ErrUnavailable })
	require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrUnavailable)
	s.answer(nil)
	require.True(t, held.Valid())
	require.Len(t, s.state(t, "name").Holders, 1, "it was done")
	_, err := m.Lock(lock.WithHeld(t.Context(), held))
	require.ErrorIs(t, err, lock.ErrUpgrade, "others may be reading")
	require.NoError(t, m.Downgrade(t.Context(), held), "it had been done")
	require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrInvalid)
	unlock(t, held)
	require.False(t, s.state(t, "name").Locked)

	held = hold(t, m)
	s.answer(func(string) error { return backend.ErrUnavailable })
	require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrUnavailable)
	s.answer(nil)
	s.free(t, "name")
	other, err := m.TryRLock(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, m.Downgrade(t.Context(), held), lock.ErrNotHeld)
	require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
	unlock(t, other)
}

func TestNobodyEntersAsAWriterDuringADowngrade(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewRWMutex(s, ns, "name", lock.Config{})
	held := hold(t, m)
	ctx := lock.WithHeld(t.Context(), held)
	s.on(func(_ context.Context, op string) error {
		if op == "lock" {
			_, err := m.Lock(ctx)
			require.ErrorIs(t, err, lock.ErrUpgrade)
			reader, err := m.RLock(ctx)
			require.NoError(t, err)
			unlock(t, reader)
			require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrInvalid)
		}
		return nil
	})
	require.NoError(t, m.Downgrade(t.Context(), held))
	s.on(nil)
	unlock(t, held)
}

func TestADowngradeLeavesNoLaterEndThanTheStoreHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		m := lock.NewRWMutex(s, ns, "name", lock.Config{TTL: 10 * time.Second})
		held := hold(t, m)
		ctx := held.Context()
		s.answer(func(op string) error {
			if op == "renew" { // its answer takes a while
				<-time.After(time.Second)
			}
			return nil
		})
		<-time.After(4 * time.Second)
		require.Less(t, time.Until(held.Deadline()), 6*time.Second, "it is being renewed")
		require.NoError(t, m.Downgrade(t.Context(), held))
		s.fail("renew", backend.ErrUnavailable)
		<-ctx.Done()
		require.True(t, s.state(t, "name").Locked)
		require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrExpired)
	})
}

func TestDowngradeRefuses(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := lock.NewRWMutex(s, ns, "name", lock.Config{})
	other := lock.NewRWMutex(s, ns, "other", lock.Config{})
	reader, err := other.TryRLock(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.counting(func() {
		require.ErrorIs(t, m.Downgrade(t.Context(), nil), backend.ErrInvalid)
		require.ErrorIs(t, m.Downgrade(t.Context(), reader), backend.ErrInvalid)
		require.ErrorIs(t, other.Downgrade(t.Context(), reader), backend.ErrInvalid)
		require.ErrorIs(t, lock.NewRWMutex(s, ns, "", lock.Config{}).Downgrade(t.Context(), reader), backend.ErrInvalid)
	}))
	held := hold(t, m)
	inner, err := m.Lock(lock.WithHeld(t.Context(), held))
	require.NoError(t, err)
	require.ErrorIs(t, m.Downgrade(t.Context(), held), backend.ErrInvalid)
	unlock(t, inner)
	s.free(t, "name")
	require.ErrorIs(t, m.Downgrade(t.Context(), held), lock.ErrNotHeld)
	require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
	require.ErrorIs(t, m.Downgrade(t.Context(), held), lock.ErrNotHeld)
}
