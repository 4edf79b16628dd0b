package rueidis

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestCluster: on a Redis Cluster everything of a namespace with a hash tag works, and one without is refused.
func TestCluster(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.StartCluster(t, 1, 0).URL())
	r.ns.HashTag = true
	for name, opts := range map[string][]Option{"plain": nil, "tracking": {Tracking()}} {
		t.Run(name, func(t *testing.T) {
			r := &room{TB: t, url: r.url, ns: r.ns, raw: r.raw}
			r.ns.Suffix = name
			b := r.process(r.url, opts...)
			require.True(t, b.cluster)
			r.extend(b, members(3)...)
			held := r.take(b, "first", 3, time.Hour)
			first, second := r.waitFor(b, "1"), r.waitFor(b, "2")
			r.giveBack(b, held[0])
			h, after := r.granted(first)
			assert.Less(t, after, soon)
			require.True(t, r.renew(b, h.Grants...))
			r.do("DEL", r.ns.Lock(held[1].Member)) // found by looking
			h2, _ := r.granted(second)
			require.True(t, r.renew(b, h2.Grants...))
			for range 3 {
				assert.Equal(t, "1", r.get(b, h.Grants[0].Member)[0].Value)
			}
			r.giveBack(b, h.Grants[0], h2.Grants[0], held[2])
			r.clean(b)

			other := r.ns
			other.HashTag = false
			_, err := b.Take(t.Context(), backend.TakeRequest{Namespace: other, Token: "t", TTL: time.Hour})
			require.ErrorIs(t, err, backend.ErrUnsupported)
		})
	}
}

// TestCallsWaitForTheirSlot: a call whose slot is moving is carried out when it has moved, also by a backend that has known
// another node until then, and nobody is told that anything was in the way.
func TestCallsWaitForTheirSlot(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	r := newLockRoom(t, cluster.URL())
	r.ns.HashTag = true
	b := r.process(cluster.URL())
	r.lock(b, r.asks("holder", item("name"), item("other")))
	held := heldBy(r.lock(b, r.asks("holder", item("single"))))
	watcher := watchRoom{r.room}
	calls := map[string]func() error{
		"one name": func() error {
			_, err := b.Lock(t.Context(), r.asks("one", item("a")))
			return err
		},
		"several names": func() error {
			got, err := b.Lock(t.Context(), r.asks("several", item("b"), item("name")))
			assert.Empty(t, got.Grants)
			return err
		},
		"several callers": func() error {
			var g errgroup.Group
			for i := range 20 {
				g.Go(func() error {
					_, err := b.Enter(t.Context(), backend.EnterRequest{Lock: r.asks(strconv.Itoa(i), item("name"))})
					return err
				})
			}
			return g.Wait()
		},
		"replicas": func() error {
			req := r.asks("durable", item("d"))
			req.Durability = backend.Durability{Replicas: 1, Timeout: time.Millisecond}
			_, err := b.Lock(t.Context(), req)
			if errors.Is(err, backend.ErrReplicas) { // of which there are none
				return nil
			}
			return err
		},
		"unlock": func() error {
			_, err := b.Unlock(t.Context(), backend.UnlockRequest{Namespace: r.ns, Items: held})
			return err
		},
		"task": func() error {
			watcher.submits(b, named("task"))
			return nil
		},
	}
	fence := r.ns.Fence()
	for name, call := range calls {
		to := cluster.Other(fence)
		cluster.BeginMove(fence, to)
		cluster.MoveKeys(fence, to, 0, fence)
		done := make(chan error, 1)
		go func() { done <- call() }()
		for cluster.MoveKeys(fence, to, 1) > 0 {
		}
		select {
		case err := <-done:
			t.Errorf("%s does not wait: %v", name, err)
			continue
		case <-time.After(20 * time.Millisecond):
		}
		cluster.EndMove(fence, to)
		select {
		case err := <-done:
			require.NoError(t, err, name)
		case <-time.After(patience):
			t.Fatalf("%s waits still", name)
		}
	}
}
