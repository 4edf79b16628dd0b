package benchmarks

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A side is one of two things that are compared: it runs once and gives what it measured.
type side func() (float64, error)

// A duel is what two sides measured, round by round.
type duel struct{ ours, other []float64 }

func (d *duel) add(ours, other float64) {
	d.ours, d.other = append(d.ours, ours), append(d.other, other)
}

// interleave runs both sides in turns, ours first, after a round that does not count.
func interleave(rounds int, ours, other side) (duel, error) {
	all, err := inTurns(rounds, ours, other)
	return duel{all[0], all[1]}, err
}

// inTurns runs all sides in turns, after a round that does not count, and gives what each has measured in each round.
func inTurns(rounds int, sides ...side) ([][]float64, error) {
	all := make([][]float64, len(sides))
	for round := range rounds + 1 {
		for i, s := range sides {
			runtime.GC() // nobody pays for what the others left
			v, err := s()
			if err != nil {
				return all, err
			}
			if round > 0 {
				all[i] = append(all[i], v)
			}
		}
	}
	return all, nil
}

// ratios gives ours over other for each round.
func (d duel) ratios() []float64 {
	r := make([]float64, len(d.ours))
	for i := range r {
		r[i] = d.ours[i] / d.other[i]
	}
	return r
}

// differences gives ours less other for each round.
func (d duel) differences() []float64 {
	r := make([]float64, len(d.ours))
	for i := range r {
		r[i] = d.ours[i] - d.other[i]
	}
	return r
}

// ratio is the figure of a comparison: the median of what each side measured, and the ratios.
func (d duel) ratio(unit string) figure {
	return figure{
		ours:   quantity{median(d.ours), unit},
		other:  quantity{median(d.other), unit},
		rounds: d.ratios(),
	}
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile gives the value below which the part q of all values lies.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if q == 0.5 && len(v)%2 == 0 {
		return (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// An op is done again and again by one of several workers, which are counted from 0.
type op func(ctx context.Context, worker int) error

// A preparation gives what so many workers are to do.
type preparation func(b *bench, ctx context.Context, workers int) (op, error)

// rate gives how many times a second the workers do f, each one after the other. The error is that of one of them.
func rate(ctx context.Context, workers int, d time.Duration, f op) (float64, error) {
	var stop atomic.Bool
	counts, errs := make([]int, workers), make([]error, workers)
	var wg sync.WaitGroup
	start := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for w := range workers {
		wg.Go(func() {
			n := 0
			for first := true; first || !stop.Load(); first = false {
				if errs[w] = f(ctx, w); errs[w] != nil {
					stop.Store(true)
					break
				}
				n++
			}
			counts[w] = n
		})
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	n := 0
	for _, c := range counts {
		n += c
	}
	return float64(n) / seconds, cmp.Or(errs...)
}

// latencies gives how long each f took, in milliseconds, of workers that do f until stop is closed.
func latencies(ctx context.Context, workers int, stop <-chan struct{}, f op) ([]float64, error) {
	took, errs := make([][]float64, workers), make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for errs[w] == nil {
				start := time.Now()
				errs[w] = f(ctx, w)
				took[w] = append(took[w], milliseconds(time.Since(start)))
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(took...), cmp.Or(errs...)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// after gives a channel that is closed in d.
func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}
