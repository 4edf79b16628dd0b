package rueidis

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestHalfMoved calls all methods while a slot of a Cluster is on its way: the fence and some of the keys are at the other
// node already. Those that look at more than the keys that they were called for do nothing, and say so; the others work.
func TestHalfMoved(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0, redistest.Config("enable-debug-command local"))
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // which keys have moved
	r := newRoom(t, cluster.URL())
	b, quick := r.process(cluster.URL()), r.impatient(cluster.URL(), 50*time.Millisecond)

	// All that these look at are the keys that they are called for.
	declared := []string{"Get", "Set", "Delete", "Get bindings", "Add", "Remove", "Replace", "Replace by many"}
	ofPools := slices.DeleteFunc(methods(), func(m method) bool { return slices.Contains(ofLocks, m.name) })
	ofSets := slices.DeleteFunc(methods(), func(m method) bool { return !slices.Contains(ofLocks, m.name) })
	groups := []struct {
		suffix  string
		furnish func(*room)
		methods []method
	}{
		{"allocator", func(r *room) { r.furnish(b) }, ofPools},
		{"lock", func(r *room) { (&lockRoom{r}).furnishLocks(b) }, append(ofSets, lockMethods()...)},
		{"tasks", func(r *room) { watchRoom{r}.furnishTasks(b) }, taskMethods()},
	}
	worked := map[string]bool{}
	for _, g := range groups {
		for _, m := range g.methods {
			r := &room{TB: t, url: r.url, raw: r.raw, ns: backend.Namespace{Prefix: redistest.Prefix(t), Suffix: g.suffix, HashTag: true}}
			g.furnish(r)
			fence := r.ns.Fence()
			from, to := cluster.Owner(fence), cluster.Other(fence)
			cluster.BeginMove(fence, to)
			goes := []string{fence}
			all, _ := from.Do("CLUSTER", "GETKEYSINSLOT", fmt.Sprint(cluster.Slot(fence)), "1000").([]any)
			for _, key := range all {
				if name := key.(string); name != fence && random.IntN(2) == 0 {
					goes = append(goes, name)
				}
			}
			cluster.MoveKeys(fence, to, 0, goes...)
			digests := func() []any { return []any{from.Do("DEBUG", "DIGEST"), to.Do("DEBUG", "DIGEST")} }
			before := digests()
			err := m.do(t.Context(), quick, r.ns)
			if err == nil {
				worked[m.name] = true
			} else {
				assert.ErrorIs(t, err, backend.ErrUnavailable, m.name)
				if !slices.Contains(declared, m.name) { // these work, but may have come too late for us
					assert.Equal(t, before, digests(), m.name)
				}
			}
			from.Do("FLUSHALL") // what calls have left to be done later then changes nothing
			to.Do("FLUSHALL")
			cluster.EndMove(fence, to)
		}
	}
	for name := range worked {
		if !slices.Contains(declared, name) {
			t.Errorf("%s works on one half", name)
		}
	}
}

// TestWhileASlotMoves: who waits or watches says nothing while the slot is on its way, disturbs nobody, and goes on
// afterwards; whoever begins to watch meanwhile waits for it.
func TestWhileASlotMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	r := newLockRoom(t, cluster.URL())
	r.ns.HashTag = true
	var log bytes.Buffer
	b := r.process(cluster.URL(), Logger(slog.New(slog.NewTextHandler(&log, nil))))
	reconnected := reconnections(t, b)
	fence := r.ns.Fence()
	from, to := cluster.Owner(fence), cluster.Other(fence)
	elsewhere := r.ns
	for i := 0; cluster.Owner(elsewhere.Fence()) != to; i++ {
		elsewhere.Suffix = fmt.Sprint("elsewhere", i)
	}

	r.room.extend(b, "m")
	members, names := r.take(b, "holder", 1, time.Hour), r.lock(b, r.asks("holder", item("n"), item("o")))
	_, err := b.Submit(t.Context(), backend.SubmitRequest{
		Namespace: r.ns, Queue: "q", ID: "task", Timeout: time.Hour, Retention: time.Hour, MaxDeaths: 1, Watch: true,
	})
	require.NoError(t, err)
	forMember, forNames := r.waitFor(b, "waiter"), r.waitsFor(b, "waiter", item("n"), item("o"))

	cluster.BeginMove(fence, to)
	cluster.MoveKeys(fence, to, 0, fence, r.ns.Lock("n"))
	began := make(chan error, 1)
	go func() {
		_, err := b.Watch(t.Context(), backend.WatchRequest{Namespace: r.ns, ID: "task"})
		began <- err
	}()
	told := regexp.MustCompile(`errorstat_TRYAGAIN:count=(\d+)`)
	until(t, "calls are told to try again", func() bool {
		_, err := b.Get(t.Context(), backend.GetRequest{Namespace: elsewhere, Names: []string{"n"}})
		require.NoError(t, err)
		stats, _ := from.Do("INFO", "errorstats").(string)
		found := told.FindStringSubmatch(stats)
		if found == nil {
			return false
		}
		n, _ := strconv.Atoi(found[1])
		return n > 30
	})
	assert.Empty(t, began)
	for cluster.MoveKeys(fence, to, 10) > 0 {
	}
	cluster.EndMove(fence, to)

	require.NoError(t, <-began)
	r.giveBack(b, members...)
	h, _ := r.granted(forMember)
	r.giveBack(b, h.Grants...)
	r.unlock(b, names...)
	r.passes(b, forNames)
	require.NoError(t, b.Close())
	assert.Empty(t, log.String())
	assert.Zero(t, reconnected.Load())
}

// TestPartsOfASlotThatDoesNotArrive: those who share a round trip wait for their slot together, not one after the other.
func TestPartsOfASlotThatDoesNotArrive(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	const patience = time.Second
	r := newLockRoom(t, cluster.URL())
	r.ns.HashTag = true
	r.lock(r.process(r.url), r.asks("holder", item("n")))
	b := r.impatient(r.url, patience)
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	fence := r.ns.Fence()
	to := cluster.Other(fence)
	cluster.BeginMove(fence, to)
	cluster.MoveKeys(fence, to, 0, fence)
	var batch []*part
	for i := range maxEach {
		batch = append(batch, &part{lock: &lockOp{req: r.asks(fmt.Sprint(i), item("n")), wait: true, claim: time.Minute}})
	}
	require.True(t, sp.each(batch))
	quick(t, maxEach/2*patience, func() time.Duration {
		begin := time.Now()
		require.NoError(t, sp.lockExchange(nil, batch))
		return time.Since(begin)
	})
	for _, p := range batch {
		require.ErrorIs(t, b.fail(t.Context(), "enter", r.ns, p.err), backend.ErrUnavailable)
	}
}
