package benchmarks

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestInterleaveRunsBothSidesInTurns(t *testing.T) {
	var order strings.Builder
	calls := 0.0
	log := func(name string, factor float64) side {
		return func() (float64, error) {
			order.WriteString(name)
			calls++
			return factor * calls, nil
		}
	}
	d, err := interleave(2, log("a", 10), log("b", 1))
	if err != nil {
		t.Fatal(err)
	}
	if order.String() != "ababab" {
		t.Errorf("order is %s", &order)
	}
	if !slices.Equal(d.ours, []float64{30, 50}) || !slices.Equal(d.other, []float64{4, 6}) {
		t.Errorf("the first round counts: %v", d)
	}
}

func TestInterleaveEndsWithTheFirstError(t *testing.T) {
	failed := errors.New("failed")
	good := func() (float64, error) { return 1, nil }
	bad := func() (float64, error) { return 0, failed }
	for _, sides := range [][2]side{{good, bad}, {bad, good}} {
		if _, err := interleave(3, sides[0], sides[1]); !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRatioIsTheMedianOfTheRounds(t *testing.T) {
	d := duel{ours: []float64{10, 90, 30}, other: []float64{10, 100, 60}}
	f := d.ratio("x")
	if f.ours != (quantity{30, "x"}) || f.other != (quantity{60, "x"}) || f.value() != 0.9 {
		t.Errorf("got %v, %v", f, f.value())
	}
	if !slices.Equal(f.rounds, []float64{1, 0.9, 0.5}) {
		t.Errorf("rounds are %v", f.rounds)
	}
	if got := d.differences(); !slices.Equal(got, []float64{0, -10, -30}) {
		t.Errorf("differences are %v", got)
	}
}

func TestEverybodyHasTheirTurn(t *testing.T) {
	var order strings.Builder
	sides := make([]side, 3)
	for i := range sides {
		sides[i] = func() (float64, error) {
			order.WriteByte("abc"[i])
			return float64(10*i + order.Len()), nil
		}
	}
	all, err := inTurns(2, sides...)
	if err != nil || order.String() != "abcabcabc" {
		t.Errorf("order is %s, %v", &order, err)
	}
	if want := [][]float64{{4, 7}, {15, 18}, {26, 29}}; !slices.EqualFunc(all, want, slices.Equal) {
		t.Errorf("got %v, want %v", all, want)
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		values  []float64
		q, want float64
	}{
		{nil, 0.5, 0},
		{[]float64{7}, 0.99, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{hundred, 0.5, 50.5},
		{hundred, 0.99, 100},
		{hundred, 0, 1},
		{hundred, 1, 100},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %v of %d values is %v, want %v", c.q, len(c.values), got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("the values were sorted in place")
	}
}

func TestRateCountsAllWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		perSecond, err := rate(t.Context(), 4, 950*time.Millisecond, func(context.Context, int) error {
			n.Add(1)
			<-time.After(100 * time.Millisecond)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n.Load() != 40 || perSecond != 40 {
			t.Errorf("4 workers did %d things of 100 ms, %v in a second", n.Load(), perSecond)
		}
	})
}

func TestRateEndsWithAnError(t *testing.T) {
	failed := errors.New("failed")
	_, err := rate(t.Context(), 2, time.Hour, func(_ context.Context, worker int) error {
		if worker == 1 {
			return failed
		}
		return nil
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

func TestLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, err := latencies(t.Context(), 2, after(time.Second-time.Millisecond), func(_ context.Context, worker int) error {
			<-time.After(time.Duration(worker+1) * 150 * time.Millisecond)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(took) != 7+4 || median(took) != 150 || quantile(took, 1) != 300 {
			t.Errorf("got %v", took)
		}
	})
}

func TestEach(t *testing.T) {
	seen := make([]atomic.Int32, 1000)
	if err := each(len(seen), func(i int) error { seen[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("%d was called %d times", i, n)
		}
	}
	failed := errors.New("failed")
	if err := each(1000, func(i int) error {
		if i == 500 {
			return failed
		}
		return nil
	}); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}
