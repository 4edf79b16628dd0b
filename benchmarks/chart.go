package benchmarks

import (
	"context"
	"slices"
)

// A chart is a picture of lines.
type chart struct {
	name  string // of its file
	title string
	about string // what stands below it on the page
	x, y  axis
	lines []line
	svg   []byte
	err   error // why there is none
}

type line struct {
	name   string
	look   look
	points []point
}

// A point is what was measured at x: the median of the rounds, the smallest and the largest. Points of a distribution have
// just one.
type point struct{ x, y, low, high float64 }

// A survey measures the lines of a chart.
type survey struct {
	chart
	run func(ctx context.Context, b *bench) ([]line, error)
}

// A contestant is measured at several places, which gives a line.
type contestant struct {
	name    string
	look    look
	prepare preparation
}

// charts gives those that are to be measured.
func (o *Options) charts() []survey {
	if !o.Page {
		return nil
	}
	return slices.DeleteFunc(surveys(), func(s survey) bool { return o.Only != nil && !o.Only.MatchString(s.name) })
}

// plot measures one.
func (o *Options) plot(ctx context.Context, s survey, url string) chart {
	b := bench{Options: *o, url: url}
	s.lines, s.err = s.run(ctx, &b)
	b.close()
	if s.err == nil {
		s.svg, s.err = s.draw()
	}
	return s.chart
}

// shortRounds is by how much shorter the rounds of a chart are than those of a goal, because there are many.
const shortRounds = 5

// rates has all contestants do what they do, in turns, at each of the places, and gives how often a second they did.
// At x there are as many workers as the function says, in a bench that it may change.
func (b *bench) rates(ctx context.Context, places []int, all []contestant, workers func(b *bench, x int) int) ([]line, error) {
	lines := make([]line, len(all))
	for i, c := range all {
		lines[i].name, lines[i].look = c.name, c.look
	}
	for _, x := range places {
		here := bench{Options: b.Options, url: b.url} // closed after each place, with all that it needed
		perSecond, err := here.ratesAt(ctx, all, workers(&here, x))
		here.close()
		if err != nil {
			return nil, err
		}
		for i, rounds := range perSecond {
			lines[i].points = append(lines[i].points, point{float64(x), median(rounds), slices.Min(rounds), slices.Max(rounds)})
		}
	}
	return lines, nil
}

// ratesAt is rates at one place.
func (b *bench) ratesAt(ctx context.Context, all []contestant, workers int) ([][]float64, error) {
	sides := make([]side, len(all))
	for i, c := range all {
		do, err := c.prepare(b, ctx, workers)
		if err != nil {
			return nil, err
		}
		sides[i] = func() (float64, error) { return rate(ctx, workers, b.Duration/shortRounds, do) }
	}
	return inTurns(b.Rounds, sides...)
}

// distribution gives the share of values below each of them.
func distribution(name string, look look, values []float64) line {
	l := line{name: name, look: look}
	for i, v := range slices.Sorted(slices.Values(values)) {
		y := float64(i+1) / float64(len(values))
		l.points = append(l.points, point{v, y, y, y})
	}
	return l
}

// doublings gives 1, 2, 4 and so on up to most.
func doublings(most int) (list []int) {
	for n := 1; n <= most; n *= 2 {
		list = append(list, n)
	}
	return list
}

// decades gives from, ten times that and so on up to most.
func decades(from, most int) (list []int) {
	for n := from; n <= most; n *= 10 {
		list = append(list, n)
	}
	return list
}
