package lock_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/lock"
)

func join(t testing.TB, b *lock.Heartbeat, id string) *lock.Presence {
	t.Helper()
	p, err := b.Join(t.Context(), id)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Leave(context.Background()) })
	return p
}

func leave(t testing.TB, p *lock.Presence) {
	t.Helper()
	require.NoError(t, p.Leave(context.Background()))
}

// ids are those of the living, in their order.
func ids(t testing.TB, b *lock.Heartbeat) []string {
	t.Helper()
	living, err := b.Living(context.Background())
	require.NoError(t, err)
	all := []string{}
	for _, l := range living {
		all = append(all, l.ID)
	}
	return all
}

func TestAMemberLivesUntilItLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{Info: "10.0.0.1:80"})
		pool := lock.NewPool(s, ns)
		assert.Empty(t, ids(t, b))
		p := join(t, b, "")
		begin := time.Now()
		<-time.After(24 * time.Hour)
		require.NoError(t, p.Err())
		require.NoError(t, p.Context().Err())

		living, err := b.Living(t.Context())
		require.NoError(t, err)
		require.Len(t, living, 1)
		l := living[0]
		assert.Equal(t, p.ID(), l.ID)
		assert.Equal(t, p.Token(), l.Holder.Token)
		assert.Equal(t, os.Getpid(), l.Holder.PID)
		assert.Equal(t, "10.0.0.1:80", l.Holder.Info)
		assert.WithinDuration(t, begin, l.Holder.Since, time.Millisecond)
		assert.LessOrEqual(t, l.Age, lock.DefaultTTL/2, "it beats three times in its TTL")
		assert.Equal(t, lock.DefaultTTL, l.Age+l.Holder.TTL)
		living, err = lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: time.Second}).Living(t.Context())
		require.NoError(t, err)
		assert.Zero(t, living[0].Age, "its beats last longer than here")
		assert.Equal(t, []string{p.ID()}, members(t, pool))

		leave(t, p)
		assert.Zero(t, s.counting(func() { leave(t, p) }), "once is enough")
		assert.Empty(t, ids(t, b))
		assert.Empty(t, members(t, pool))
		require.ErrorIs(t, p.Err(), lock.ErrReleased)
		require.ErrorIs(t, context.Cause(p.Context()), lock.ErrReleased)
		calls := s.calls.Load()
		<-time.After(24 * time.Hour)
		assert.Equal(t, calls, s.calls.Load(), "nothing runs any more")
	})
}

func TestIDsSayWhoItIs(t *testing.T) {
	t.Parallel()
	b := lock.NewHeartbeat(newPlainStore(t), ns, lock.HeartbeatConfig{})
	one, two := join(t, b, ""), join(t, b, "")
	assert.NotEqual(t, one.ID(), two.ID())
	host, rest, _ := strings.Cut(one.ID(), "/")
	name, err := os.Hostname()
	require.NoError(t, err)
	assert.Equal(t, name, host)
	assert.Regexp(t, `^\d+/[0-9a-f]{16}/[0-9a-z]+$`, rest)
	assert.Equal(t, "worker-1", join(t, b, "worker-1").ID())
	assert.Len(t, ids(t, b), 3)
}

func TestADeadMemberIsNotListedAndPruned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: time.Second})
		dead := join(t, b, "dead")
		s.on(func(_ context.Context, op string) error { // the process of "dead" can reach nothing
			if op == "renew" {
				return backend.ErrUnavailable
			}
			return nil
		})
		begin := time.Now()
		<-dead.Context().Done()
		assert.Equal(t, time.Second-lease.Margin(time.Second), time.Since(begin))
		require.ErrorIs(t, context.Cause(dead.Context()), lock.ErrExpired)
		require.ErrorIs(t, dead.Err(), lock.ErrExpired)
		assert.Contains(t, ids(t, b), "dead", "the member knows before anybody else")
		<-time.After(lease.Margin(time.Second))
		assert.Empty(t, ids(t, b))
		s.on(nil)
		<-time.After(time.Hour)
		assert.Empty(t, ids(t, b), "nothing revives it")

		alive := join(t, b, "alive")
		pool := lock.NewPool(s, ns)
		assert.Equal(t, []string{"alive", "dead"}, members(t, pool))
		gone, err := b.Prune(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"dead"}, gone)
		assert.Equal(t, []string{"alive"}, members(t, pool))
		gone, err = b.Prune(t.Context())
		require.NoError(t, err)
		assert.Empty(t, gone)
		require.ErrorIs(t, dead.Leave(t.Context()), lock.ErrNotHeld)
		calls := s.calls.Load()
		require.ErrorIs(t, dead.Leave(t.Context()), lock.ErrNotHeld, "it gives the same")
		require.Equal(t, calls, s.calls.Load(), "and does nothing")
		leave(t, alive)
	})
}

func TestADeadMemberThatLeavesGoesOutOfTheSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: time.Second})
		pool := lock.NewPool(s, ns)
		p := join(t, b, "p")
		yes(t, true)(pool.Locks().Unlock(t.Context(), "p"))
		<-p.Context().Done()
		require.ErrorIs(t, p.Err(), lock.ErrLost)
		assert.Equal(t, []string{"p"}, members(t, pool))
		err := p.Leave(t.Context())
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrLost)
		assert.Empty(t, members(t, pool))
	})
}

func TestTheLastToJoinUnderAnIDHasIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		var log bytes.Buffer
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{
			TTL: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		older := join(t, b, "id")
		newer := join(t, b, "id")
		<-older.Context().Done()
		require.ErrorIs(t, older.Err(), lock.ErrLost)
		s.on(func(_ context.Context, op string) error {
			assert.NotEqual(t, "remove", op, "nobody is to miss the newer one")
			return nil
		})
		require.ErrorIs(t, older.Leave(t.Context()), lock.ErrNotHeld)
		s.on(nil)
		require.NoError(t, newer.Err())
		assert.Equal(t, []string{"id"}, ids(t, b))
		synctest.Wait() // for who has ended its context and logs that now
		assert.Contains(t, log.String(), "taken for dead")
		leave(t, newer)
		assert.Empty(t, ids(t, b))
	})
}

// TestWhoJoinsWhileOthersCleanUpStays: under an id that is just being taken out of the set.
func TestWhoJoinsWhileOthersCleanUpStays(t *testing.T) {
	t.Parallel()
	for name, cleaning := range map[string]func(*testing.T, plainStore, *lock.Heartbeat){
		"prune": func(t *testing.T, s plainStore, b *lock.Heartbeat) {
			_, err := lock.NewPool(s, ns).Extend(t.Context(), []string{"id"})
			require.NoError(t, err)
			gone, err := b.Prune(t.Context())
			require.NoError(t, err)
			assert.Empty(t, gone)
		},
		"leave": func(t *testing.T, _ plainStore, b *lock.Heartbeat) { leave(t, join(t, b, "id")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newPlainStore(t)
				b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{})
				var joined *lock.Presence
				s.on(func(_ context.Context, op string) error {
					if op == "remove" && joined == nil {
						s.on(nil)
						joined = join(t, b, "id")
					}
					return nil
				})
				cleaning(t, s, b)
				assert.Equal(t, []string{"id"}, ids(t, b))
				leave(t, joined)
			})
		})
	}
}

func TestAJoinThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{})
		pool := lock.NewPool(s, ns)
		nothing := func() {
			t.Helper()
			assert.Empty(t, ids(t, b))
			assert.Empty(t, members(t, pool))
			yes(t, false)(pool.Locks().IsLocked(t.Context(), "id"))
		}
		for _, op := range []string{"set", "add"} {
			s.fail(op, errOops)
			_, err := b.Join(t.Context(), "id")
			require.ErrorIs(t, err, errOops)
			require.ErrorContains(t, err, `join as "id": `)
			s.on(nil)
			nothing()
			s.on(func(context.Context, string) error { return backend.ErrUnavailable })
			_, err = b.Join(t.Context(), "id")
			require.ErrorIs(t, err, backend.ErrUnavailable)
			assert.Zero(t, s.counting(func() { <-time.After(time.Minute) }), "nothing goes on")
			s.on(nil)
			s.answer(func(called string) error { // it has happened, and nobody knows
				if called == op {
					return backend.ErrUnavailable
				}
				return nil
			})
			_, err = b.Join(t.Context(), "id")
			require.ErrorIs(t, err, backend.ErrUnavailable)
			s.answer(nil)
			nothing()

			ctx, cancel := context.WithCancel(t.Context())
			s.on(func(ctx context.Context, called string) error {
				if called == op {
					cancel()
				}
				return nil
			})
			_, err = b.Join(ctx, "id")
			s.on(nil)
			require.ErrorIs(t, err, context.Canceled)
			nothing()
		}
		slow := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: time.Second})
		s.answer(func(called string) error {
			if called == "set" {
				<-time.After(time.Second)
			}
			return nil
		})
		_, err := slow.Join(t.Context(), "id")
		require.ErrorIs(t, err, lock.ErrExpired)
		s.answer(nil)
		nothing()
	})
}

func TestWhoCannotLeaveDiesOfItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{})
		p := join(t, b, "id")
		s.on(func(context.Context, string) error { return backend.ErrUnavailable })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := p.Leave(ctx)
		require.ErrorIs(t, err, backend.ErrUnavailable)
		assert.NotContains(t, err.Error(), "background")
		require.ErrorIs(t, p.Err(), lock.ErrReleased)
		require.ErrorIs(t, context.Cause(p.Context()), lock.ErrReleased)
		s.on(nil)
		synctest.Wait()
		assert.Zero(t, s.counting(func() { <-time.After(time.Second) }), "nothing goes on behind its back")
		assert.Equal(t, []string{"id"}, ids(t, b))
		<-time.After(lock.DefaultTTL)
		assert.Empty(t, ids(t, b))
	})
}

// The context that somebody asks for late says what the one would have said that he had asked for at once.
func TestTheContextOfAMemberThatHasLeft(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	p, err := lock.NewHeartbeat(newPlainStore(t), ns, lock.HeartbeatConfig{}).Join(ctx, "")
	require.NoError(t, err)
	cancel(errOops)
	leave(t, p)
	require.ErrorIs(t, context.Cause(p.Context()), errOops)
	require.ErrorIs(t, p.Err(), lock.ErrReleased)
}

func TestLeavingWorksWhenTheContextIsOver(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	p, err := b.Join(ctx, "id")
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, context.Cause(p.Context()), context.Canceled)
	require.NoError(t, p.Err(), "its context is over, and it lives")
	require.NoError(t, p.Leave(ctx))
	assert.Empty(t, ids(t, b))
	assert.Empty(t, members(t, lock.NewPool(s, ns)))
}

func TestAMemberOfPythonsIsOneOfThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore(t)
		b := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: time.Minute})
		pool, ctx := lock.NewPool(s, ns), t.Context()
		for id, ttl := range map[string]time.Duration{"4711": time.Minute, "4712": time.Hour, "4713": backend.NoExpiry} {
			require.NoError(t, pool.Locks().Update(ctx, id, "1", ttl))
			_, err := pool.Extend(ctx, []string{id})
			require.NoError(t, err)
		}
		<-time.After(20 * time.Second)
		living, err := b.Living(ctx)
		require.NoError(t, err)
		assert.Equal(t, []lock.Living{
			{ID: "4711", Holder: lock.Holder{Token: "1", TTL: 40 * time.Second}, Age: 20 * time.Second},
			{ID: "4712", Holder: lock.Holder{Token: "1", TTL: time.Hour - 20*time.Second}},
			{ID: "4713", Holder: lock.Holder{Token: "1", TTL: backend.NoExpiry}},
		}, living)
	})
}

func TestWhatIsInvalidOfAHeartbeatIsNotSent(t *testing.T) {
	t.Parallel()
	s := newPlainStore(t)
	ctx := t.Context()
	assert.Zero(t, s.counting(func() {
		good := lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{})
		for _, id := range badNames[1:] {
			_, err := good.Join(ctx, id)
			require.ErrorIs(t, err, backend.ErrInvalid)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err := good.Join(over, "id")
		require.ErrorIs(t, err, context.Canceled)
		wrong := []*lock.Heartbeat{
			lock.NewHeartbeat(nil, ns, lock.HeartbeatConfig{}),
			lock.NewHeartbeat(s, backend.Namespace{}, lock.HeartbeatConfig{}),
			lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{Info: "a\nb"}),
			lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{Info: strings.Repeat("x", lock.MaxInfo+1)}),
		}
		for _, ttl := range append(badTTLs[1:], backend.NoExpiry) {
			wrong = append(wrong, lock.NewHeartbeat(s, ns, lock.HeartbeatConfig{TTL: ttl}))
		}
		for _, b := range wrong {
			_, err := b.Join(ctx, "id")
			require.ErrorIs(t, err, backend.ErrInvalid)
			_, err = b.Living(ctx)
			require.ErrorIs(t, err, backend.ErrInvalid)
			_, err = b.Prune(ctx)
			require.ErrorIs(t, err, backend.ErrInvalid)
			n := 0
			for c := range b.Watch(ctx) {
				require.ErrorIs(t, c.Err, backend.ErrInvalid)
				n++
			}
			assert.Equal(t, 1, n)
		}
	}))
}
