package integration

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// seed gives the one of INTEGRATION_SEED, or another one each time.
func seed(t *testing.T) uint64 {
	n := rand.Uint64()
	if text := os.Getenv("INTEGRATION_SEED"); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("INTEGRATION_SEED=%d", n)
	return n
}

// scene is what is done to the actors and to what they use.
type scene struct {
	name     string
	scenery  scenery
	promised bool // the server loses nothing that it has confirmed, so that nobody has what somebody else has
	faults   []fault
}

// withOneServer are scenes with a server of their own each.
func withOneServer(*testing.T) []scene {
	durable := oneServer(redistest.AppendOnly())
	return []scene{
		{"killed", durable, true, []fault{killOne}},
		{"cut off", durable, true, []fault{cutOne, cutOne, cutOne, cutOne, killOne}},
		{"poisoned", behindToxics, true, []fault{poisonOne, poisonOne, poisonOne, poisonOne, killOne}},
		{"restarted", durable, true, []fault{restart, killOne, cutOne}},
		{"stopped", durable, true, []fault{stopOne, stopOne, stopOne, stopOne, killOne, cutOne}},
		{"restarted without data", oneServer(), false, []fault{restart, stopOne, killOne, cutOne}},
	}
}

// withSentinels: a replica gets what its primary has confirmed only afterwards. So whoever takes its place may grant
// again what was granted already.
func withSentinels(*testing.T) []scene {
	return []scene{{"failed over", watchedServers, false, []fault{failOver, killOne}}}
}

// withCluster are scenes that have one Cluster. A failover by hand loses nothing.
func withCluster(t *testing.T) []scene {
	cluster := redistest.StartCluster(t, 3, 1)
	return []scene{
		{"slots moved", in(cluster), true, []fault{moveSlot, moveSlot, moveSlot, moveSlot, switchNode, killOne}},
		{"node failed over", in(cluster), false, []fault{failOverNode, moveSlot, killOne}},
	}
}

// TestHistories has processes acquire things of all [kinds], and use them, give them back, or let them run out, while they
// are killed and stopped, their connections are cut, and servers are restarted or replaced. As long as the server loses
// nothing, what they have done could have been done within one process, one thing at a time. In any case the fencing
// numbers grow, and what a store accepts that refuses older ones is as if one after the other had used it.
func TestHistories(t *testing.T) {
	t.Parallel()
	busily(t)
	seed := seed(t)
	var mu sync.Mutex
	var tallies []*tally
	t.Cleanup(func() { report(t, tallies) })
	for i, with := range []struct {
		name   string
		scenes func(*testing.T) []scene
		each   time.Duration
	}{
		{"one server", withOneServer, 2 * time.Second},
		{"Sentinels", withSentinels, 5 * time.Second},
		{"Cluster", withCluster, 4 * time.Second},
	} {
		t.Run(with.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			scenes := with.scenes(t)
			n := time.Duration(len(scenes))
			d := scaled(t, n*with.each) / n
			for j, s := range scenes {
				t.Run(s.name, func(t *testing.T) {
					r := rand.New(rand.NewPCG(seed, uint64(i<<8+j))) //nolint:gosec // to be repeated
					checked := s.play(t, r, d)
					mu.Lock()
					defer mu.Unlock()
					tallies = append(tallies, checked...)
				})
			}
		})
	}
}

func (s *scene) play(t *testing.T, r *rand.Rand, d time.Duration) []*tally {
	t.Helper()
	th := newTheatre(t, s.name, r, s.scenery)
	th.play(d, s.faults)
	for _, e := range th.problems {
		if s.promised || !e.Excused {
			assert.Fail(t, e.Problem, e.ID)
		}
	}
	return th.check(s.promised)
}
