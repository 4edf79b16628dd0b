package benchmarks

import (
	"context"
	"errors"
	"iter"
	"regexp"
	"strings"
	"testing"
	"time"
)

// goals are all that there are.
func goals() iter.Seq[goal] {
	return func(yield func(goal) bool) {
		for _, group := range groups() {
			for _, e := range group.experiments {
				for _, g := range e.goals {
					if !yield(g) {
						return
					}
				}
			}
		}
	}
}

// tiny measures everything at a size at which the figures mean nothing.
func tiny() Options {
	return Options{
		Rounds: 1, Duration: 5 * time.Millisecond,
		Sizes: Sizes{
			Pool: 600, Small: 10, Large: 3000, Leases: 200, LeaseTTL: 3 * time.Second, Memory: 128,
			Goroutines: 2,
			Handoffs:   32, Hold: time.Millisecond, Overlap: 500 * time.Millisecond,
			Backlog: 300, Look: 20 * time.Millisecond,
		},
	}
}

func TestEveryGoalIsMeasured(t *testing.T) {
	var out strings.Builder
	if _, err := Run(t.Context(), &out, tiny()); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &out)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")[1:]
	for i, line := range lines {
		lines[i] = again(t, line)
	}
	for g := range goals() {
		if len(lines) == 0 {
			t.Fatalf("no line for %s", g.name)
		}
		if !strings.HasPrefix(lines[0], g.name+" ") {
			t.Errorf("instead of %s came %q", g.name, lines[0])
		}
		if strings.Contains(lines[0], "short: ") {
			t.Errorf("not measured: %s", lines[0])
		}
		lines = lines[1:]
	}
	if len(lines) > 0 {
		t.Errorf("more than the goals: %q", lines)
	}
}

// again measures once more what could not be measured, with all the longer TTLs: a machine may be so busy that leases are
// lost.
func again(t *testing.T, line string) string {
	t.Helper()
	name, _, _ := strings.Cut(line, " ")
	opts := tiny()
	opts.Only = regexp.MustCompile("^" + regexp.QuoteMeta(name) + "$")
	for range 3 {
		if !strings.Contains(line, "short: ") {
			break
		}
		opts.Sizes.LeaseTTL *= 3
		opts.Sizes.Overlap *= 3
		var out strings.Builder
		if _, err := Run(t.Context(), &out, opts); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, so once more: %s", line, &out)
		_, line, _ = strings.Cut(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	return line
}

func TestOnlyTheChosenGoalsAreMeasured(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1") // these need no server
	opts := tiny()
	opts.Only = regexp.MustCompile("^memory-1$|allocs")
	var out strings.Builder
	if _, err := Run(t.Context(), &out, opts); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 3 || strings.Contains(out.String(), "short: ") {
		t.Errorf("got\n%s", &out)
	}
}

func TestAGoalThatCannotBeMeasuredIsShort(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1")
	opts := tiny()
	opts.Only = regexp.MustCompile("^bulk-rate$")
	var out strings.Builder
	if _, err := Run(t.Context(), &out, opts); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nbulk-rate ") || !strings.Contains(out.String(), " short: ") {
		t.Errorf("got\n%s", &out)
	}
	if strings.Contains(out.String(), "bulk-wait") {
		t.Errorf("nobody asked for bulk-wait:\n%s", &out)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	opts := tiny()
	opts.Only = regexp.MustCompile("^memory-")
	if _, err := Run(ctx, new(strings.Builder), opts); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
