package benchmarks

import (
	"context"
	"fmt"
)

// A goal is one figure with the bound that it should keep.
type goal struct {
	name  string
	bound bound
}

// A bound says how small or how large a figure may be.
type bound struct {
	most  bool // the figure may be at most value; otherwise at least
	value float64
	unit  string // of the figure, empty for a ratio
}

func atLeast(v float64) bound             { return bound{value: v} }
func atMost(v float64, unit string) bound { return bound{most: true, value: v, unit: unit} }

func (b bound) kept(v float64) bool {
	if b.most {
		return v <= b.value
	}
	return v >= b.value
}

func (b bound) String() string {
	sign := "≥"
	if b.most {
		sign = "≤"
	}
	return sign + " " + quantity{b.value, b.unit}.String()
}

// A figure is what was measured for a goal.
type figure struct {
	ours, other quantity
	value       float64 // what the bound is for: mostly the ratio of the two
}

// An experiment measures what some goals, mostly one, are about.
type experiment struct {
	goals  []goal
	server bool // it needs one

	// run gives a figure for each of the goals, in their order.
	run func(ctx context.Context, b *bench) ([]figure, error)
}

// experiments are all of them, in the order in which they run.
func experiments() []experiment {
	all := []experiment{
		pairExperiment(1, 0.75),
		pairExperiment(8, 0.5),
		pairExperiment(64, 0.85),
		pairExperiment(512, 1.05),
		one("spop-512", atLeast(0.85), spop),
		one("policy-1", atLeast(0.9), withPolicy),
		one("size", atMost(1.3, ""), size),
		{[]goal{{"bulk-wait", atMost(2, "ms")}, {"bulk-rate", atLeast(0.3)}}, true, bulk},
		{
			[]goal{
				{"leases-goroutines", atMost(10, "")},
				{"leases-bytes", atMost(1024, "")},
				{"leases-calls", atMost(2, "")},
			}, true, leases,
		},
		one("handoff", atMost(3.5, ""), handoff),
	}
	all = append(all, lockExperiments()...)
	all = append(all, taskExperiments()...)
	for _, n := range []int{1, 64} {
		all = append(all, local(fmt.Sprintf("memory-%d", n), atMost(3, ""), inProcess(n)))
	}
	return append(all,
		local("memory-query", atMost(12, ""), memoryQuery),
		local("allocs", atMost(8, ""), allocs),
	)
}

// lockExperiments are those about locks.
func lockExperiments() []experiment {
	return []experiment{
		one("lock-1", atLeast(0.9), lockPairs(1, (*bench).rawLockPairs)),
		one("lock-64", atLeast(0.9), lockPairs(64, (*bench).rawLockPairs)),
		one("lock-512", atLeast(0.8), lockPairs(512, (*bench).rawLockPairs)),
		one("lock-bsm-64", atLeast(3), lockPairs(64, (*bench).bsmLockPairs)),
		one("lock-redsync-64", atLeast(3), lockPairs(64, (*bench).redsyncLockPairs)),
		one("lock-rueidislock-64", atLeast(1.5), lockPairs(64, (*bench).rueidislockPairs)),
		{
			[]goal{
				{"lock-handoff-p50", atMost(0.35, "")},
				{"lock-handoff-p99", atMost(0.6, "")},
				{"lock-handoff-tries", atMost(1.05, "")},
				{"lock-handoff-share", atLeast(0.9)},
			}, true, lockHandoff,
		},
		one("contended", atLeast(2), contended),
		one("redlock", atMost(2.5, ""), redlock),
		{
			[]goal{
				{"held-goroutines", atMost(10, "")},
				{"held-bytes", atMost(1024, "")},
				{"held-calls", atMost(2, "")},
			}, true, heldLocks,
		},
		one("overlap-rueidislock", atMost(0, "s"), overlap),
	}
}

// taskExperiments are those about tasks on a server.
func taskExperiments() []experiment {
	return []experiment{
		one("query-idle", atMost(6, ""), queryIdle),
		one("query-64", atLeast(0.8), queries(64)),
		one("query-512", atLeast(1), queries(512)),
		one("submit-64", atLeast(1.5), submits(64)),
		one("process-64", atLeast(4), process(64)),
		one("start-idle", atMost(0.01, ""), startIdle),
		one("depth", atLeast(0.9), depth),
	}
}

func pairExperiment(goroutines int, least float64) experiment {
	return one(fmt.Sprintf("pair-%d", goroutines), atLeast(least), pairs(goroutines))
}

// one is an experiment for one goal, on a server.
func one(name string, b bound, f func(ctx context.Context, b *bench) (figure, error)) experiment {
	return experiment{[]goal{{name, b}}, true, func(ctx context.Context, b *bench) ([]figure, error) {
		fig, err := f(ctx, b)
		return []figure{fig}, err
	}}
}

// local is one without a server.
func local(name string, b bound, f func(ctx context.Context, b *bench) (figure, error)) experiment {
	e := one(name, b, f)
	e.server = false
	return e
}
