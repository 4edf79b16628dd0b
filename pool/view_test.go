package pool_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// watching is a policy that keeps its view of the pool.
type watching struct {
	policy.Policy[*thing]
	pool policy.Pool[*thing]
}

func (w *watching) Initialize(_ context.Context, p policy.Pool[*thing]) error {
	w.pool = p
	return nil
}

// What a policy asks of the pool is answered as it would be to anybody, with the same errors.
func TestWhatAPolicySeesOfThePool(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		s := newStore(t)
		w := &watching{Policy: policy.Direct[*thing]()}
		p := open(t, s, pool.Config[*thing]{Shared: shared, Policy: w}, "a")
		ctx, v := t.Context(), w.pool
		require.Equal(t, shared, v.Shared())
		require.Equal(t, ns, v.Namespace())
		require.NoError(t, v.Extend(ctx, []string{"b"}, time.Hour))
		require.NoError(t, v.Assign(ctx, []string{"b", "c"}, time.Hour))
		var all []string
		for key, err := range v.Keys(ctx) {
			require.NoError(t, err)
			all = append(all, key)
		}
		require.ElementsMatch(t, []string{"b", "c"}, all)
		for _, want := range []bool{true, false} {
			locked, err := v.TryLock(ctx, "name", time.Hour)
			require.NoError(t, err)
			require.Equal(t, want, locked)
		}
		_, err := v.Allocate(ctx, policy.Request[*thing]{HasObject: true, Count: 1, TTL: time.Hour})
		require.ErrorIs(t, err, pool.ErrNilObject)

		s.on(func(context.Context, string) error { return backend.ErrPermission })
		require.ErrorIs(t, v.Extend(ctx, []string{"d"}, time.Hour), backend.ErrPermission)
		locked, err := v.TryLock(ctx, "other", time.Hour)
		require.ErrorIs(t, err, backend.ErrPermission)
		require.False(t, locked)
		s.on(nil)

		require.NoError(t, p.Close())
		locked, err = v.TryLock(ctx, "other", time.Hour)
		require.ErrorIs(t, err, backend.ErrClosed)
		require.False(t, locked)
		require.ErrorIs(t, v.Extend(ctx, []string{"d"}, time.Hour), backend.ErrClosed)
	}
}

// The old member of a lease that is refreshed may not come back at once; the lease has the new one all the same.
func TestARefreshWhoseOldMemberIsNotGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logs
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Logger: slog.New(slog.NewTextHandler(&log, nil))}, "a", "b")
		l := malloc(t, p)
		s.fail("return", backend.ErrPermission)
		require.NoError(t, l.Refresh(t.Context()))
		require.Equal(t, "b", l.Key())
		require.Contains(t, log.take(), "not given back")

		s.on(nil)
		_, err := p.FreeKeys(t.Context(), []string{"a", "b"})
		require.NoError(t, err)
		<-l.Context().Done()
		log.take()
		require.NoError(t, l.Refresh(t.Context()))
		require.NotContains(t, log.take(), "not given back", "it was lost, as is known")
	})
}

// In shared mode the name has to be unbound before another member can be had for it.
func TestASharedRefreshThatCannotUnbind(t *testing.T) {
	t.Parallel()
	for failing := range 2 {
		s := newStore(t)
		p := open(t, s, pool.Config[*thing]{Shared: true}, "a")
		l := malloc(t, p, pool.Name("n"))
		deleted := 0
		s.on(func(_ context.Context, op string) error {
			if op != "delete" {
				return nil
			}
			deleted++
			if deleted > failing {
				return backend.ErrPermission
			}
			return nil
		})
		require.ErrorIs(t, l.Refresh(t.Context()), backend.ErrPermission)
		require.Equal(t, "a", l.Key())
		require.True(t, l.Valid())
		require.Equal(t, failing+1, deleted)
	}
}

// damaged is a store in which somebody has broken the free list.
type damaged struct {
	*store
	seen backend.InspectReply
}

func (d *damaged) Inspect(context.Context, backend.InspectRequest) (backend.InspectReply, error) {
	return d.seen, nil
}

// A pool that is damaged is shown as far as it can be walked, the rest by key, and what is wrong is said.
func TestASnapshotOfADamagedPool(t *testing.T) {
	t.Parallel()
	taken := func(name string) backend.MemberState {
		return backend.MemberState{Name: name, Prev: backend.Allocated, Next: backend.Allocated}
	}
	for name, next := range map[string]string{"nowhere": "gone", "to what is taken": "y"} {
		d := &damaged{newStore(t), backend.InspectReply{
			Head: "b", Tail: "b", Total: 4,
			Members: []backend.MemberState{taken("z"), taken("y"), {Name: "b", Next: next}, {Name: "a"}},
		}}
		p, err := pool.New(d, pool.Config[*thing]{Namespace: ns})
		require.NoError(t, err)
		s, err := p.Snapshot(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, s.Violations)
		var all []string
		for _, m := range s.Members {
			all = append(all, m.Key)
		}
		require.Equal(t, []string{"b", "a", "y", "z"}, all, name)
		require.NoError(t, p.Close())
	}
}
