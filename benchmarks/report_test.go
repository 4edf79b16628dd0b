package benchmarks

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuantitiesAreReadable(t *testing.T) {
	for _, c := range []struct {
		q    quantity
		want string
	}{
		{quantity{0, ""}, "0"},
		{quantity{2, "ms"}, "2 ms"},
		{quantity{0.75, ""}, "0.75"},
		{quantity{0.8, ""}, "0.80"},
		{quantity{0.85499, ""}, "0.85"},
		{quantity{-0.1234, "ms"}, "-0.12 ms"},
		{quantity{0.01, ""}, "0.01"},
		{quantity{-0.00041234, ""}, "-0.00041"},
		{quantity{0.0996, ""}, "0.1"},
		{quantity{12.345, "µs"}, "12.3 µs"},
		{quantity{10, ""}, "10"},
		{quantity{123.4, "ns"}, "123 ns"},
		{quantity{1024, ""}, "1,024"},
		{quantity{12345678.9, "pairs/s"}, "12,345,679 pairs/s"},
		{quantity{-1234, ""}, "-1,234"},
		{quantity{-123, ""}, "-123"},
		{quantity{math.NaN(), "pairs/s"}, "- pairs/s"},
		{quantity{math.Inf(1), ""}, "-"},
	} {
		if got := c.q.String(); got != c.want {
			t.Errorf("%v is written %q, want %q", c.q.value, got, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		b    bound
		v    float64
		kept bool
		text string
	}{
		{atLeast(0.75), 0.75, true, "≥ 0.75"},
		{atLeast(0.75), 0.74, false, "≥ 0.75"},
		{atMost(2, "ms"), 2, true, "≤ 2 ms"},
		{atMost(2, "ms"), 2.01, false, "≤ 2 ms"},
		{atMost(2, "ms"), math.NaN(), false, "≤ 2 ms"},
		{atLeast(2), math.NaN(), false, "≥ 2"},
	} {
		if c.b.kept(c.v) != c.kept || c.b.String() != c.text {
			t.Errorf("%v of %v: kept %v", c.v, c.b, c.b.kept(c.v))
		}
	}
}

func TestLinesAreAligned(t *testing.T) {
	var out strings.Builder
	writeHeader(&out)
	g := goal{name: "bulk-wait", bound: atMost(2, "ms")}
	writeResult(&out, &result{goal: g, figure: figure{quantity{1.5, "ms"}, quantity{0.25, "ms"}, []float64{1.25, 1, 1.5}}})
	writeResult(&out, &result{goal: goal{name: "leases-goroutines", bound: atMost(10, "")}, figure: once(12, "")})
	writeResult(&out, &result{goal: g, err: errors.New("no\n  members")})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), &out)
	}
	verdict := column(lines[1], "ok")
	for i, text := range []string{"", "ok", "short", "short: no members"} {
		if !strings.HasSuffix(lines[i], text) || text != "" && column(lines[i], text) != verdict {
			t.Errorf("line %d does not end with %q in column %d:\n%s", i, text, verdict, &out)
		}
	}
	if column(lines[0], "goal") != column(lines[1], "≤") || column(lines[1], "≤") != column(lines[2], "≤") {
		t.Errorf("columns differ:\n%s", &out)
	}
	for _, part := range []string{"bulk-wait ", " 1.50 ms ", " 0.25 ms ", " 1.25 ms ", " 1–1.50 "} {
		if !strings.Contains(lines[1], part) {
			t.Errorf("no %q in %q", part, lines[1])
		}
	}
}

// column tells after how many characters text begins.
func column(line, text string) int {
	before, _, _ := strings.Cut(line, text)
	return utf8.RuneCountInString(before)
}

func TestTheTableNamesEachGoalOnce(t *testing.T) {
	seen := make(map[string]bool)
	for g := range goals() {
		if g.name == "" || seen[g.name] || utf8.RuneCountInString(g.name) > maxName {
			t.Errorf("%q: twice, or no name for a table", g.name)
		}
		if g.about == "" {
			t.Errorf("the page does not say what %s is", g.name)
		}
		seen[g.name] = true
	}
	for _, name := range []string{
		"pair-1", "pair-8", "pair-64", "pair-512", "spop-512", "policy-1", "size", "bulk-wait", "bulk-rate",
		"leases-goroutines", "leases-bytes", "leases-calls", "handoff", "memory-1", "memory-64", "allocs",
		"lock-1", "lock-64", "lock-512", "lock-bsm-64", "lock-redsync-64", "lock-rueidislock-64", "lock-handoff-p50",
		"lock-handoff-p99", "lock-handoff-tries", "lock-handoff-share", "contended", "redlock", "held-goroutines",
		"held-bytes", "held-calls", "overlap-rueidislock",
	} {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
}
