package rueidis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

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
