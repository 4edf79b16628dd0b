package benchmarks

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden page anew")

// madeUp is a report with something of everything.
func madeUp() *Report {
	ratio := func(ours, other float64, unit string, rounds ...float64) figure {
		return figure{quantity{ours, unit}, quantity{other, unit}, rounds}
	}
	return &Report{
		groups: []groupResult{
			{group: group{title: "Pools", about: "A pair is two calls."}, results: []result{
				{goal{"pair-1", atLeast(0.75), "pairs, over nothing", ""}, ratio(8000, 10000, "pairs/s", 0.8, 0.81, 0.79), nil},
				{goal{"pair-8", atLeast(0.75), "pairs, over nothing", ""}, ratio(8000, 10000, "pairs/s", 0.8, 0.81, 0.7), nil},
				{goal{"bulk-wait", atMost(2, "ms"), "how long others wait", "It was known."}, ratio(3, 1, "ms", 2.1, 2.5, 1.9), nil},
				{goal{"leases-bytes", atMost(1024, ""), "bytes for a lease", "It was known."}, once(2000, "bytes"), nil},
			}},
			{group: group{title: "Locks", about: "A pair is two calls, too."}, results: []result{
				{goal{"lock-1", atLeast(0.9), "pairs, over others", ""}, ratio(1, 2, "pairs/s", 0.5, 0.4, 0.6), nil},
				{goal{"redlock", atMost(2.5, ""), "pairs on three servers", ""}, figure{}, errors.New("no\nserver")},
			}},
			{group: group{title: "Nothing was chosen here"}},
		},
		charts: []chart{
			{name: "pool", title: "Pools", about: "Pairs over goroutines."},
			{name: "lock", title: "Locks", err: errors.New("no\nserver")},
		},
		machine: machine{
			cpu: "A processor", kernel: "linux 6", goVersion: "go1.26 amd64", cores: 4, procs: 2,
			server: "Redis 7.0.15", config: []string{`save ""`, "appendonly no"}, commit: "0123456789ab",
			modules: []module{{"github.com/redis/rueidis", "v1.0.79"}},
		},
		load: load{known: true, average: "0.10 0.20 0.30", before: 0.5, others: 0.02, stolen: 0.001},
		opts: Options{Rounds: 3, Duration: time.Second},
		at:   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), took: 65 * time.Second,
	}
}

func TestThePageSaysWhatWasMeasured(t *testing.T) {
	const golden = "testdata/page.md"
	var page strings.Builder
	madeUp().page(&page, "docs/benchmarks")
	if *update {
		if err := os.WriteFile(golden, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if page.String() != string(want) {
		t.Errorf("got\n%s\nwant %s (go test -run %s -update)", &page, golden, t.Name())
	}
}

func TestAQuietMachineIsNotWorthAWarning(t *testing.T) {
	r := madeUp()
	r.load = load{known: true, average: "0 0 0", before: 0.05, others: 0.03}
	var page strings.Builder
	r.page(&page, "docs/benchmarks")
	if strings.Contains(page.String(), "busy") {
		t.Errorf("got\n%s", &page)
	}
}

// TestPageAndPlotsAreWritten measures next to nothing, but all plots.
func TestPageAndPlotsAreWritten(t *testing.T) {
	opts := tiny()
	opts.Page = true
	names := []string{"allocs"}
	for _, s := range surveys() {
		names = append(names, s.name)
	}
	opts.Only = regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")
	report, err := Run(t.Context(), io.Discard, opts)
	for range 3 { // a machine may be so busy that locks are lost
		if err == nil && !slices.ContainsFunc(report.charts, func(c chart) bool { return c.err != nil }) {
			break
		}
		report, err = Run(t.Context(), io.Discard, opts)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "BENCHMARKS.md")
	if err := report.WritePage(file, "some/pictures"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.charts) != len(surveys()) {
		t.Errorf("there are %d charts", len(report.charts))
	}
	for _, c := range report.charts {
		if c.err != nil {
			t.Errorf("%s: %v", c.name, c.err)
			continue
		}
		picture := "some/pictures/" + c.name + ".svg"
		if !strings.Contains(string(page), "]("+picture+")") {
			t.Errorf("the page does not show %s:\n%s", picture, page)
		}
		svg, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(picture)))
		if err != nil {
			t.Fatal(err)
		}
		checkPicture(t, &c, string(svg))
	}
	for _, part := range []string{"**allocs**", "| Go | go", "| server | Redis ", "| load | "} {
		if !strings.Contains(string(page), part) {
			t.Errorf("no %q on the page:\n%s", part, page)
		}
	}
}

// checkPicture looks for all that has to be readable.
func checkPicture(t *testing.T, c *chart, svg string) {
	t.Helper()
	texts := make(map[string]bool)
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if text, ok := token.(xml.CharData); ok {
			texts[string(text)] = true
		}
	}
	wanted := []string{c.title, c.x.label, c.y.label}
	for _, l := range c.lines {
		wanted = append(wanted, l.name)
		if len(l.points) == 0 {
			t.Errorf("%s: the line %q has no points", c.name, l.name)
		}
	}
	for _, text := range wanted {
		if !texts[text] {
			t.Errorf("%s does not say %q:\n%s", c.name, text, svg)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		axis        axis
		least, most float64
		want        string
	}{
		{axis{base: 2}, 0.9, 9, "1 2 4 8"},
		{axis{base: 10}, 0.4, 21, "0.5 1 2 5 10 20"},
		{axis{base: 10}, 8, 1.2e6, "10 100 1,000 10,000 100,000 1,000,000"},
		{axis{}, 0, 1, "0 0.2 0.4 0.6 0.8 1"},
	} {
		var labels []string
		for _, tick := range c.axis.ticks(c.least, c.most) {
			if tick.Label != "" {
				labels = append(labels, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("from %v to %v there are %s, want %s", c.least, c.most, got, c.want)
		}
	}
}

func TestDistribution(t *testing.T) {
	l := distribution("x", ourLine, []float64{3, 1, 2, 2})
	want := []point{{1, 0.25, 0.25, 0.25}, {2, 0.5, 0.5, 0.5}, {2, 0.75, 0.75, 0.75}, {3, 1, 1, 1}}
	if len(l.points) != len(want) {
		t.Fatalf("got %v", l.points)
	}
	for i := range want {
		if l.points[i] != want[i] {
			t.Errorf("got %v, want %v", l.points, want)
		}
	}
}
