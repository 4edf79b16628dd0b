package lock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// replicated is a store that has so many replicas. It does what the contract says of them, since the memory backend
// has none.
type replicated struct {
	*store
	replicas int
	timeouts []time.Duration // that were asked for
}

func (r *replicated) check(d *backend.Durability) error {
	want := d.Replicas
	if want == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timeouts = append(r.timeouts, d.Timeout)
	*d = backend.Durability{}
	if want > r.replicas {
		return &backend.ReplicasError{Want: want, Got: r.replicas}
	}
	return nil
}

func (r *replicated) Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error) {
	short := r.check(&req.Durability)
	reply, err := r.store.Lock(ctx, req)
	if err != nil || short == nil || len(reply.Grants) == 0 {
		return reply, err
	}
	undo := backend.UnlockRequest{Namespace: req.Namespace}
	for _, g := range reply.Grants {
		undo.Items = append(undo.Items, backend.Held{Member: g.Member, Token: g.Token})
	}
	_, err = r.Backend.Unlock(ctx, undo)
	if err != nil {
		return backend.LockReply{}, err
	}
	return backend.LockReply{}, short
}

func (r *replicated) RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	short := r.check(&req.Durability)
	reply, err := r.store.RenewLocks(ctx, req)
	if err == nil {
		err = short
	}
	return reply, err
}

func TestAnAcquisitionCountsWhenReplicasHaveIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &replicated{store: newStore(t), replicas: 2}
		m := lock.NewMutex(s, ns, "name", lock.Config{Replicas: 2, ReplicaTimeout: 30 * time.Millisecond})
		var held *lock.Held
		require.Equal(t, 1, s.counting(func() { held = hold(t, m) }))
		got := make(chan *lock.Held)
		go func() {
			h, _ := m.Lock(t.Context())
			got <- h
		}()
		synctest.Wait()
		var next *lock.Held
		require.Equal(t, 2, s.counting(func() {
			unlock(t, held)
			next = <-got
			synctest.Wait()
		}), "to unlock, and to renew for the replicas")
		require.Equal(t, lock.DefaultTTL, s.state(t, "name").TTL)
		require.Equal(t, []time.Duration{30 * time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond}, s.timeouts)
		<-time.After(time.Hour)
		require.True(t, next.Valid())
		require.Len(t, s.timeouts, 3, "renewals do not wait for replicas")
		unlock(t, next)
	})
}

func TestAnAcquisitionThatTooFewReplicasHaveIsUndone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &replicated{store: newStore(t), replicas: 1}
		var seen events
		m := lock.NewMutex(s, ns, "name", lock.Config{Replicas: 2, Observer: &seen})
		short := func(err error) {
			require.ErrorIs(t, err, backend.ErrReplicas)
			var counted *backend.ReplicasError
			require.ErrorAs(t, err, &counted)
			require.Equal(t, backend.ReplicasError{Want: 2, Got: 1}, *counted)
		}
		_, err := m.TryLock(t.Context())
		short(err)
		_, err = m.Lock(t.Context())
		short(err)
		require.False(t, s.state(t, "name").Locked)

		held := hold(t, lock.NewMutex(s, ns, "name", lock.Config{}))
		done := make(chan error)
		go func() {
			_, err := m.Lock(t.Context())
			done <- err
		}()
		synctest.Wait()
		unlock(t, held)
		short(<-done)
		require.False(t, s.state(t, "name").Locked)
		require.Zero(t, s.state(t, "name").Waiting)
		require.Equal(t, lock.DefaultReplicaTimeout, s.timeouts[0])
		require.Empty(t, seen.all, "nothing was granted, released or lost")
		<-time.After(time.Hour)
		require.False(t, s.state(t, "name").Locked)
	})
}

func TestAHandOverThatPassedOnBeforeReplicasHadItIsWaitedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &replicated{store: newStore(t), replicas: 1}
		m := lock.NewMutex(s, ns, "name", lock.Config{Replicas: 1, ReplicaTimeout: time.Minute})
		held := hold(t, m)
		slow := true
		s.on(func(_ context.Context, op string) error {
			if op == "renew" && slow {
				slow = false
				<-time.After(backend.DefaultClaimTTL + time.Second)
			}
			return nil
		})
		got := make(chan *lock.Held)
		go func() {
			h, err := m.Lock(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- h
		}()
		synctest.Wait()
		unlock(t, held)
		begin := time.Now()
		next := <-got
		require.Greater(t, time.Since(begin), backend.DefaultClaimTTL)
		require.True(t, next.Valid())
		require.Equal(t, next.Token(), s.state(t, "name").Owner)
		require.Equal(t, lock.DefaultTTL, s.state(t, "name").TTL)
		unlock(t, next)
	})
}

func TestWhatIsTakenAwayBeforeReplicasHaveItIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &replicated{store: newStore(t), replicas: 1}
		m := lock.NewMutex(s, ns, "name", lock.Config{Replicas: 1})
		held := hold(t, m)
		s.on(func(_ context.Context, op string) error {
			switch op {
			case "enter": // so that it is granted at once
				_, err := s.Backend.Unlock(context.Background(), backend.UnlockRequest{
					Namespace: ns, Items: []backend.Held{{Member: "name", Token: held.Token()}},
				})
				return err
			case "renew":
				s.free(t, "name")
			}
			return nil
		})
		_, err := m.Lock(t.Context())
		require.ErrorIs(t, err, lock.ErrLost)
		require.False(t, s.state(t, "name").Locked)
		s.on(nil)
		require.ErrorIs(t, held.Unlock(t.Context()), lock.ErrNotHeld)
	})
}
