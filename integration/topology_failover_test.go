package integration

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// copied waits until all replicas have what a primary has now.
func copied(tb testing.TB, primary *redistest.Server, replicas ...*redistest.Server) {
	tb.Helper()
	offset := func(s *redistest.Server) int64 {
		role, _ := s.Do("ROLE").([]any)
		if role[0] == "master" {
			return role[1].(int64)
		}
		return role[4].(int64)
	}
	want := offset(primary)
	for _, s := range replicas {
		eventually(tb, patience, "the replicas have caught up", func() bool { return offset(s) >= want })
	}
}

// TestTopologySentinels breaks the primary behind Sentinels while leases, a lock with a line and tasks are there, and
// while work of all kinds goes on: everything goes on at the next primary, without a restart of a client. What had been
// copied is there, in its order. What had not is lost, and who held it is told; fences grow in any case.
func TestTopologySentinels(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*redistest.Server){
		"killed": (*redistest.Server).Kill, "paused": (*redistest.Server).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := redistest.StartSentinels(t, 2, 3)
			slow := rueidis.CallTimeout(2 * rueidis.DefaultCallTimeout) // as long as one that is silent is not given up
			be, other := open(t, servers.URL(), slow), open(t, servers.URL(), slow)
			tr := startTraffic(t, newNamespace(t), be, other)
			tr.goesOn("before")
			kept := startKept(t, newNamespace(t), be, other)
			primary := servers.Primary()
			for _, s := range servers.Servers() {
				if s != primary {
					copied(t, primary, s)
				}
			}
			tr.roughly("failover", func() { servers.FailOver(breakIt) })
			kept.check()
			if name == "paused" {
				tr.rough.Store(true) // it may answer as a primary for a moment
				primary.Resume()
				tr.settle()
				tr.rough.Store(false)
				tr.goesOn("with the old primary as a replica")
			}
			tr.end(other)
		})
	}
}

// kept are leases, a lock with a line, and tasks, which are there before a failover and have to be there after it.
type kept struct {
	tb        testing.TB
	ns        backend.Namespace
	be, other backend.Backend
	leases    []*Lease
	lock      *lock.Held
	line      sync.WaitGroup
	tasks     []*task.Handle[product]
	hand      *hand
	since     time.Time // when all of them were there

	mu    sync.Mutex
	fence int64
	order []int
	began map[string]int // attempts, by id
}

const (
	keptLeases  = 20
	keptWaiters = 10
	keptTasks   = 10

	// keptTTL is longer than any failover takes, on however slow a machine, with what goes before and comes after it.
	keptTTL = 5 * patience

	// keptPlaces is for how long waiters keep their places in any case. Processes that could say nothing for five seconds, a
	// beat after their last word, are passed over.
	keptPlaces = 3 * time.Second
)

func startKept(tb testing.TB, ns backend.Namespace, be, other backend.Backend) *kept {
	tb.Helper()
	ctx := context.Background()
	k := &kept{tb: tb, ns: ns, be: be, other: other, began: make(map[string]int)}
	keys := newPool(tb, be, pool.Config[pool.None]{Namespace: ns, TTL: keptTTL})
	require.NoError(tb, keys.Extend(ctx, members(keptLeases)))
	var err error
	k.leases, err = keys.MallocN(ctx, keptLeases)
	require.NoError(tb, err)

	cfg := lock.Config{TTL: keptTTL, ClaimTTL: keptTTL}
	k.lock = holding(tb, lock.NewMutex(be, ns, "name", cfg))
	k.fence = k.lock.Fence()
	for i := range keptWaiters {
		from := []backend.Backend{be, other}[i%2]
		k.line.Go(func() {
			h, err := lock.NewMutex(from, ns, "name", cfg).Lock(ctx)
			if !assert.NoError(tb, err) {
				return
			}
			k.mu.Lock()
			k.order = append(k.order, i)
			assert.Greater(tb, h.Fence(), k.fence)
			k.fence = h.Fence()
			k.mu.Unlock()
			if err := h.Unlock(ctx); err != nil {
				assert.ErrorIs(tb, err, backend.ErrUnavailable)
			}
		})
		expectInLine(tb, other, ns, "name", i+1)
	}

	k.hand = &hand{in: make(chan string), tell: func(a any) {
		if a := a.(attempt); a.What == begins {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.began[a.ID]++
		}
	}}
	q := newJobs(be, ns, task.ServerConfig{Concurrency: keptTasks / 2, LeaseTTL: keptTTL})
	listenUntil(tb, q, k.hand.do)
	asks := newJobs(other, ns, task.ServerConfig{})
	for i := range keptTasks {
		h, err := asks.Submit(ctx, job{N: i, Plan: []deed{holds}})
		require.NoError(tb, err)
		k.tasks = append(k.tasks, h)
	}
	eventually(tb, patience, "half of the tasks run", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.began) == keptTasks/2
	})
	k.since = time.Now()
	return k
}

// check uses up what was kept.
func (k *kept) check() {
	k.tb.Helper()
	ctx := context.Background()
	until, stop := context.WithTimeout(ctx, patience)
	defer stop()
	begun := time.Now()
	for _, be := range []backend.Backend{k.be, k.other} {
		_, err := insist(until, func() (backend.InspectReply, error) {
			return be.Inspect(until, backend.InspectRequest{Namespace: k.ns, CountOnly: true})
		})
		require.NoError(k.tb, err)
	}
	k.tb.Logf("calls are answered %v after the failover", time.Since(begun).Round(time.Millisecond))
	for _, l := range k.leases {
		require.True(k.tb, l.Valid(), "%v", context.Cause(l.Context()))
		_, err := insist(until, func() (struct{}, error) { return struct{}{}, l.Update(ctx, keptTTL) })
		require.NoError(k.tb, err)
		if err := l.Release(ctx); err != nil { // then it is done in the background
			require.ErrorIs(k.tb, err, backend.ErrUnavailable)
		}
	}
	expectIdle(k.tb, k.other, k.ns, patience)

	require.True(k.tb, k.lock.Valid(), "%v", context.Cause(k.lock.Context()))
	if err := k.lock.Unlock(ctx); err != nil { // so is this
		require.ErrorIs(k.tb, err, backend.ErrUnavailable)
	}
	served := begin(func() (struct{}, error) { k.line.Wait(); return struct{}{}, nil })
	await(k.tb, served)
	assert.Len(k.tb, k.order, keptWaiters)
	if took := time.Since(k.since); took < keptPlaces {
		assert.IsIncreasing(k.tb, k.order)
	} else {
		k.tb.Logf("after %v the order of the line was %v", took.Round(time.Millisecond), k.order)
	}

	close(k.hand.in)
	for i, h := range k.tasks {
		got := await(k.tb, begin(func() (product, error) { return h.Wait(ctx) }))
		require.NoError(k.tb, got.err)
		assert.Equal(k.tb, i, got.got.N)
		k.mu.Lock()
		assert.Equal(k.tb, 1, k.began[h.ID()])
		k.mu.Unlock()
	}
}

// TestTopologyCluster moves the slot of a namespace from node to node while work of all kinds goes on in it: nobody is told
// anything of that. Then a replica takes the place of its node, by hand, and at last because the node was killed, as in
// [TestTopologySentinels].
func TestTopologyCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 1)
	slow := rueidis.CallTimeout(patience) // for a slow machine takes its time to move a slot
	be, other := open(t, cluster.URL(), slow), open(t, cluster.URL(), slow)
	ns := newNamespace(t)
	ns.HashTag = true
	key := ns.Fence()
	tr := startTraffic(t, ns, be, other)
	tr.goesOn("before")
	for i := range 4 {
		begin := time.Now()
		cluster.Move(key, cluster.Other(key))
		took := time.Since(begin)
		t.Logf("move %d took %v, and all goes on %v later", i, took.Round(time.Millisecond), tr.goesOn("a move").Round(time.Millisecond))
	}

	kns := newNamespace(t)
	kns.HashTag = true
	kept := startKept(t, kns, be, other)
	cluster.Move(kns.Fence(), cluster.Other(kns.Fence()))
	node := cluster.Owner(kns.Fence())
	copied(t, node, cluster.Replica(node))
	tr.roughly("failover", func() {
		next := cluster.FailOver(kns.Fence(), (*redistest.Server).Kill)
		t.Logf("%s takes the place of %s, slot %d is at %s", next.Addr(), node.Addr(), cluster.Slot(key), cluster.Owner(key).Addr())
		kept.check()
	})

	node.Restart() // as a replica
	tr.roughly("failover by hand", func() { cluster.Switch(cluster.Replica(cluster.Owner(key))) })
	tr.end(other)
}
