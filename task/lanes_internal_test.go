package task

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

// lane is short for one.
func lane(queue int, class backend.TaskClass, most int) backend.FetchLane {
	return backend.FetchLane{Queue: queue, Class: class, Max: most}
}

const (
	high   = backend.ClassHigh
	normal = backend.ClassNormal
	low    = backend.ClassLow
)

func TestLanes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		strict bool
		queues []ServeConfig
		free   int
		rooms  []int
		want   []backend.FetchLane
	}{
		"one place": {
			queues: []ServeConfig{{Weight: 1}}, free: 1, rooms: []int{1},
			want: []backend.FetchLane{lane(0, high, 1), lane(0, normal, 1), lane(0, low, 1)},
		},
		"shares of classes": {
			queues: []ServeConfig{{Weight: 1}}, free: 10, rooms: []int{10},
			want: []backend.FetchLane{
				lane(0, high, 6), lane(0, normal, 3), lane(0, low, 1),
				lane(0, high, 10), lane(0, normal, 10), lane(0, low, 10),
			},
		},
		"strict classes": {
			queues: []ServeConfig{{Weight: 1, StrictClasses: true}}, free: 10, rooms: []int{10},
			want: []backend.FetchLane{lane(0, high, 10), lane(0, normal, 10), lane(0, normal, 10), lane(0, low, 10)},
		},
		"shares of queues": {
			queues: []ServeConfig{{Weight: 1}, {Weight: 2}}, free: 3, rooms: []int{3, 3},
			want: []backend.FetchLane{
				lane(1, high, 2), lane(0, high, 1),
				lane(1, high, 3), lane(1, normal, 3), lane(1, low, 3),
				lane(0, high, 3), lane(0, normal, 3), lane(0, low, 3),
			},
		},
		"no room in one": {
			queues: []ServeConfig{{Weight: 1}, {Weight: 2}}, free: 2, rooms: []int{2, 0},
			want: []backend.FetchLane{
				lane(0, high, 2), lane(0, normal, 2), lane(0, low, 2),
			},
		},
		"strict queues": {
			strict: true, queues: []ServeConfig{{Weight: 1}, {Weight: 1, StrictClasses: true}}, free: 1, rooms: []int{1, 1},
			want: []backend.FetchLane{
				lane(0, high, 1), lane(0, normal, 1), lane(0, low, 1),
				lane(1, high, 1), lane(1, normal, 1), lane(1, normal, 1), lane(1, low, 1),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, newPlanner(c.strict, c.queues).lanes(c.free, c.rooms))
		})
	}
}

// backlog is what waits, by queue and rank.
type backlog [][classes]int

func (b backlog) all() (n int) {
	for i := range b {
		n += b.of(i)
	}
	return n
}

func (b backlog) of(i int) int { return b[i][0] + b[i][1] + b[i][2] }

// fetch does what a backend would, and gives what was taken.
func (b backlog) fetch(p *planner, free int, rooms []int) backlog {
	got, left := make(backlog, len(b)), append([]int(nil), rooms...)
	for _, l := range p.lanes(free, rooms) {
		rank := rankOf[l.Class]
		n := min(l.Max, free, left[l.Queue], b[l.Queue][rank])
		free -= n
		left[l.Queue] -= n
		b[l.Queue][rank] -= n
		got[l.Queue][rank] += n
		for range n {
			p.took(l.Queue, l.Class)
		}
	}
	room := false
	for i := range b {
		room = room || free > 0 && left[i] > 0
	}
	p.settle(room, false) // there is nothing more where there is room: see TestLanesLeaveNothing
	return got
}

// No place stays free while there is a task for it, no lane is asked for too much, and there are not too many.
func TestLanesLeaveNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 3, 10, maxServed}).Draw(t, "queues")
		queues := make([]ServeConfig, n)
		for i := range queues {
			queues[i] = ServeConfig{Weight: rapid.IntRange(1, 1000).Draw(t, "weight"), StrictClasses: rapid.Bool().Draw(t, "strict")}
		}
		p := newPlanner(rapid.Bool().Draw(t, "strict server"), queues)
		for range 4 {
			free := rapid.IntRange(1, 40).Draw(t, "free")
			rooms, b, most := make([]int, n), make(backlog, n), 0
			for i := range b {
				rooms[i] = rapid.IntRange(0, free).Draw(t, "room")
				for rank := range b[i] {
					b[i][rank] = rapid.SampledFrom([]int{0, 1, 50}).Draw(t, "waiting")
				}
				most += min(b.of(i), rooms[i])
			}
			lanes := p.lanes(free, rooms)
			require.LessOrEqual(t, len(lanes), backend.MaxLanes)
			for _, l := range lanes {
				require.Positive(t, l.Max)
				require.LessOrEqual(t, l.Max, rooms[l.Queue])
			}
			require.Equal(t, min(free, most), b.fetch(p, free, rooms).all())
		}
	})
}

// Whoever has tasks gets his share, however many are fetched at once.
func TestSharesConverge(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string]func() int{
		"one by one":  func() int { return 1 },
		"by sixteens": func() int { return 16 },
		"by any":      func() int { return 1 + rand.IntN(20) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The queue of weight 100 has nothing to do until the end, nor has the first class of the second queue.
			p := newPlanner(false, []ServeConfig{{Weight: 1}, {Weight: 3}, {Weight: 100}})
			b := make(backlog, 3)
			total := make(backlog, 3)
			all := 0
			for all < 20000 {
				b[0], b[1] = [classes]int{100, 100, 100}, [classes]int{0, 100, 100}
				n := batch()
				got := b.fetch(p, n, []int{n, n, n})
				for i := range got {
					for rank := range got[i] {
						total[i][rank] += got[i][rank]
					}
				}
				all += n
			}
			assert.InEpsilon(t, 3, float64(total.of(1))/float64(total.of(0)), .02)
			assert.InEpsilon(t, 6, float64(total[0][0])/float64(total[0][2]), .05)
			assert.InEpsilon(t, 3, float64(total[0][1])/float64(total[0][2]), .05)
			assert.InEpsilon(t, 3, float64(total[1][1])/float64(total[1][2]), .05)

			// What was idle has not saved up anything.
			b = backlog{{99999, 99999, 99999}, {99999, 99999, 99999}, {99999, 99999, 99999}}
			n := 100 * 104
			got := b.fetch(p, n, []int{n, n, n})
			assert.InDelta(t, 100, got.of(0), 25) // some batches more or less
			assert.InDelta(t, 300, got.of(1), 75)
		})
	}
}

// A queue that has no more room, while others are idle, has its shares all the same.
func TestSharesWithLittleRoom(t *testing.T) {
	t.Parallel()
	p := newPlanner(false, []ServeConfig{{Weight: 1}, {Weight: 1}})
	var total [classes]int
	for range 1000 {
		got := backlog{{9, 9, 9}, {}}.fetch(p, 16, []int{1, 16})
		for rank := range total {
			total[rank] += got[0][rank]
		}
	}
	assert.Equal(t, [classes]int{600, 300, 100}, total)
}

// One that is strict takes nothing of a class while there is something of a higher one.
func TestStrictness(t *testing.T) {
	t.Parallel()
	for range 1000 {
		p := newPlanner(false, []ServeConfig{{Weight: 1 + rand.IntN(5), StrictClasses: true}, {Weight: 2}})
		strict := newPlanner(true, []ServeConfig{{Weight: 1}, {Weight: 2}})
		for range 3 {
			n := 1 + rand.IntN(20)
			b := backlog{{rand.IntN(9), rand.IntN(9), rand.IntN(9)}, {rand.IntN(20), 0, 0}}
			got := b.fetch(p, n, []int{n, n})
			assert.False(t, got[0][1] > 0 && b[0][0] > 0, "%v left, %v taken", b, got)
			assert.False(t, got[0][2] > 0 && b[0][0]+b[0][1] > 0, "%v left, %v taken", b, got)

			b = backlog{{rand.IntN(9), rand.IntN(9), rand.IntN(9)}, {rand.IntN(20), 0, 0}}
			got = b.fetch(strict, n, []int{n, n})
			assert.False(t, got.of(1) > 0 && b.of(0) > 0, "%v left, %v taken", b, got)
		}
	}
}

// A queue that gets most of what there is does not keep the others from their share for ever.
func TestNothingStarves(t *testing.T) {
	t.Parallel()
	p := newPlanner(false, []ServeConfig{{Weight: 1000}, {Weight: 1}, {Weight: 1, StrictClasses: true}})
	first := backlog{}
	for n := 1; len(first) < 2; n++ {
		require.Less(t, n, 5000)
		b := backlog{{1 << 20, 1 << 20, 1 << 20}, {0, 0, 1}, {0, 0, 1}}
		if got := b.fetch(p, 1, []int{1, 1, 1}); got.of(0) == 0 {
			first = append(first, got...)
		}
	}
}

// Whatever the shares are, a call looks at every class of every queue that has room: no place stays free while there is a
// task.
func TestEveryCallLooksEverywhere(t *testing.T) {
	for name, cfgs := range map[string][]ServeConfig{
		"shares":         {{Weight: 1}, {Weight: 5}},
		"strict classes": {{Weight: 1, StrictClasses: true}, {Weight: 1, StrictClasses: true}, {Weight: 9}},
	} {
		for _, strict := range []bool{false, true} {
			p := newPlanner(strict, cfgs)
			for round := range 50 {
				free, rooms := 1+round%7, make([]int, len(cfgs))
				for i := range rooms {
					rooms[i] = (round + 2*i) % 4
				}
				seen := map[backend.FetchLane]bool{}
				for _, lane := range p.lanes(free, rooms) {
					require.Positive(t, lane.Max, "%s %d", name, round)
					lane.Max = 0
					seen[lane] = true
				}
				for i, room := range rooms {
					for _, class := range byRank {
						require.Equal(t, room > 0, seen[backend.FetchLane{Queue: i, Class: class}], "%s %d: %d", name, round, i)
					}
				}
				for i, room := range rooms {
					if room > 0 {
						p.took(i, byRank[round%classes])
					}
				}
				p.settle(false, round%3 == 0)
			}
		}
	}
}

// However many queues are full, a call has no more lanes than it may and looks at every class of the others.
func TestFullQueuesTakeNoLanes(t *testing.T) {
	queues, rooms := make([]ServeConfig, maxServed), make([]int, maxServed)
	for i := range queues {
		queues[i].Weight = 1
		if i >= maxServed/2 {
			rooms[i] = 10
		}
	}
	for _, strict := range []bool{false, true} {
		lanes := newPlanner(strict, queues).lanes(10, rooms)
		require.LessOrEqual(t, len(lanes), backend.MaxLanes)
		seen := map[[2]int]bool{}
		for _, lane := range lanes {
			require.Positive(t, rooms[lane.Queue])
			seen[[2]int{lane.Queue, int(lane.Class)}] = true
		}
		require.Len(t, seen, (maxServed-maxServed/2)*classes)
	}
}

// When there was enough for everybody nobody has had more than others, whatever he took.
func TestPlentyMakesAllEven(t *testing.T) {
	p := newPlanner(false, []ServeConfig{{Weight: 1}, {Weight: 3}})
	p.lanes(2, []int{2, 2})
	p.took(0, backend.ClassNormal)
	p.took(0, backend.ClassHigh)
	p.settle(false, true)
	require.NotZero(t, p.queues.passes[0]-p.queues.passes[1])
	p.lanes(4, []int{4, 4})
	p.took(1, backend.ClassLow)
	p.settle(true, false)
	require.Equal(t, []int64{0, 0}, p.queues.passes)
	require.Equal(t, []int{0, 0}, p.taken)
	for i := range p.lines {
		require.Equal(t, make([]int64, classes), p.lines[i].classes.passes)
		require.Zero(t, p.lines[i].taken)
	}
}

// What was taken counts when all places are, although each queue has room left: others may have gone without.
func TestWhatWasTakenCounts(t *testing.T) {
	p := newPlanner(false, []ServeConfig{{Weight: 1}, {Weight: 1}})
	p.lanes(2, []int{2, 2})
	p.took(0, backend.ClassHigh)
	p.took(1, backend.ClassHigh)
	p.settle(false, false)
	require.NotZero(t, p.lines[0].classes.passes[0])

	s := newShared(1, 1)
	s.settle([]int{1, 0}, func(int) bool { return true })
	require.Equal(t, []int64{0, 0}, s.passes, "nobody is kept waiting")
	s.settle([]int{2, 1}, func(int) bool { return false })
	require.Equal(t, []int64{strideUnit, 0}, s.passes, "what all have had does not matter")
}

// The lanes that were given last are given again only if nobody had had more than others then.
func TestLanesOfThoseWhoAreEven(t *testing.T) {
	queues := []ServeConfig{{Weight: 1}, {Weight: 1}}
	p := newPlanner(false, queues)
	even := slices.Clone(p.lanes(2, []int{2, 2}))
	require.Equal(t, even, p.lanes(2, []int{2, 2}))
	for _, c := range []struct {
		free  int
		rooms []int
	}{{3, []int{2, 2}}, {3, []int{1, 2}}, {2, []int{2, 2}}} {
		require.Equal(t, newPlanner(false, queues).lanes(c.free, c.rooms), p.lanes(c.free, c.rooms))
	}
	p.took(0, backend.ClassHigh)
	p.took(0, backend.ClassHigh)
	p.settle(false, true)
	require.NotEqual(t, even, p.lanes(2, []int{2, 2}))
	p.settle(true, false)
	require.Equal(t, even, p.lanes(2, []int{2, 2}))
}

// Who had nothing once has his share as soon as he has something.
func TestADrainedQueueComesBack(t *testing.T) {
	p := newPlanner(false, []ServeConfig{{Weight: 1}, {Weight: 1}})
	backlog{{0, 9, 0}, {}}.fetch(p, 1, []int{1, 1})
	b, of := backlog{{0, 20, 0}, {0, 20, 0}}, 0
	for range 10 {
		of += b.fetch(p, 1, []int{1, 1}).of(1)
	}
	require.Equal(t, 5, of)
}

// A class that had less than it was asked for, in all lanes together, has no claim to more.
func TestAClassIsDrainedInAllItsLanes(t *testing.T) {
	p := newPlanner(false, []ServeConfig{{Weight: 1}, {Weight: 1}})
	b := backlog{{2, 0, 0}, {1, 9, 0}} // the first has two of its share and no more, so that the second gets three
	got := b.fetch(p, 4, []int{4, 4})
	require.Equal(t, backlog{{2, 0, 0}, {1, 1, 0}}, got)
	require.Equal(t, make([]int64, classes), p.lines[0].classes.passes)
}
