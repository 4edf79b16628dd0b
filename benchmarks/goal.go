package benchmarks

import (
	"context"
	"slices"
)

// A goal is one figure with the bound that it should keep.
type goal struct {
	name  string
	bound bound
	about string // for the page: what is measured, and against what
	short string // for the page, if it is short: why, as far as that is known
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
	rounds      []float64 // what the bound is for, in each round: mostly the ratio of the two
}

// once is a figure of one round, without anything to compare it with.
func once(v float64, unit string) figure {
	return figure{ours: quantity{v, unit}, rounds: []float64{v}}
}

// value is what has to keep the bound.
func (f figure) value() float64 { return median(f.rounds) }

// A result is what came of a goal.
type result struct {
	goal
	figure
	err error // it could not be measured
}

// met tells whether the goal is.
func (r *result) met() bool { return r.err == nil && r.bound.kept(r.value()) }

// close tells whether some rounds say otherwise than the median.
func (r *result) close() bool {
	return slices.ContainsFunc(r.rounds, func(v float64) bool { return r.bound.kept(v) != r.met() })
}

// An experiment measures what some goals, mostly one, are about.
type experiment struct {
	goals  []goal
	server bool // it needs one

	// run gives a figure for each of the goals, in their order.
	run func(ctx context.Context, b *bench) ([]figure, error)
}

// A group is what the page shows together.
type group struct {
	title, about string
	experiments  []experiment
}

// groups are all experiments, in the order in which they run.
func groups() []group { return []group{poolGoals(), lockGoals(), taskGoals(), memoryGoals()} }

// one is an experiment for one goal, on a server.
func one(g goal, f func(ctx context.Context, b *bench) (figure, error)) experiment {
	return experiment{[]goal{g}, true, func(ctx context.Context, b *bench) ([]figure, error) {
		fig, err := f(ctx, b)
		return []figure{fig}, err
	}}
}

// local is one without a server.
func local(g goal, f func(ctx context.Context, b *bench) (figure, error)) experiment {
	e := one(g, f)
	e.server = false
	return e
}
