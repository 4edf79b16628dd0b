package benchmarks

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// WritePage writes the page, and its pictures into a directory of its own that is named by a path relative to that of the
// page. What could not be measured is said there.
func (r *Report) WritePage(file, pictures string) error {
	dir := filepath.Join(filepath.Dir(file), filepath.FromSlash(pictures))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range r.charts {
		c := &r.charts[i]
		if c.err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, c.name+".svg"), c.svg, 0o644); err != nil {
			return err
		}
	}
	var page strings.Builder
	r.page(&page, pictures)
	return os.WriteFile(file, []byte(page.String()), 0o644)
}

// page writes all but the pictures.
func (r *Report) page(w io.Writer, pictures string) {
	fmt.Fprint(w, `# Benchmarks

How fast this library is: against the least that the same can cost on Redis, and against other libraries. Written by `+"`make goals`"+`.

`)
	r.verdict(w)
	for _, g := range r.groups {
		if len(g.results) > 0 {
			g.table(w)
		}
	}
	r.pictures(w, pictures)
	r.method(w)
	r.origin(w)
}

// verdict is what most readers want to know.
func (r *Report) verdict(w io.Writer) {
	var all, short, failed []*result
	for _, g := range r.groups {
		for i := range g.results {
			one := &g.results[i]
			all = append(all, one)
			switch {
			case one.err != nil:
				failed = append(failed, one)
			case !one.met():
				short = append(short, one)
			}
		}
	}
	fmt.Fprintf(w, "**%d of %d goals are met.**", len(all)-len(short)-len(failed), len(all))
	if len(short) > 0 {
		fmt.Fprintf(w, " Short: %s.", names(short))
	}
	if len(failed) > 0 {
		fmt.Fprintf(w, " Not measured: %s.", names(failed))
	}
	fmt.Fprint(w, "\n\n")
	if heavy := r.load.heavy(); len(heavy) > 0 {
		fmt.Fprintf(w, "> **The machine was busy, so do not trust these figures:** %s.\n\n", strings.Join(heavy, ", "))
	}
	anyShort := len(short) > 0
	for len(short) > 0 {
		n := 1 // as many as have the same reason
		for n < len(short) && short[n].short == short[0].short {
			n++
		}
		for i, one := range short[:n] {
			before := "; "
			if i == 0 {
				before = "- "
			}
			fmt.Fprintf(w, "%s`%s` is %s, the goal %s", before, one.name, quantity{one.value(), one.bound.unit}, one.bound)
		}
		fmt.Fprintf(w, ". %s\n", cmp.Or(short[0].short, "No reason is known. Does another run say the same?"))
		short = short[n:]
	}
	for _, one := range failed {
		fmt.Fprintf(w, "- `%s` could not be measured: %s\n", one.name, oneLine(one.err))
	}
	if anyShort || len(failed) > 0 {
		fmt.Fprintln(w)
	}
}

func names(list []*result) string {
	quoted := make([]string, len(list))
	for i, r := range list {
		quoted[i] = "`" + r.name + "`"
	}
	return strings.Join(quoted, ", ")
}

// table writes what is measured, why that is fair, and the figures.
func (g *groupResult) table(w io.Writer) {
	fmt.Fprintf(w, "## %s\n\n%s\n\n", g.title, g.about)
	fmt.Fprint(w, "| | ours | other | ratio (rounds) | goal | |\n| --- | ---: | ---: | ---: | ---: | --- |\n")
	for i := range g.results {
		r := &g.results[i]
		what := fmt.Sprintf("**%s**<br>%s", r.name, r.about)
		if r.err != nil {
			fmt.Fprintf(w, "| %s | | | | %s | not measured |\n", what, solid(r.bound.String()))
			continue
		}
		value := quantity{r.value(), r.bound.unit}.String()
		if s := span(r.rounds); s != "" {
			value += " (" + s + ")"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", what,
			solid(r.ours.String()), solid(r.against()), solid(value), solid(r.bound.String()), r.judgement())
	}
	fmt.Fprintln(w)
}

// judgement is short; that some rounds say otherwise is worth a word.
func (r *result) judgement() string {
	switch {
	case r.met() && r.close():
		return "ok, just"
	case r.met():
		return "ok"
	case r.close():
		return "just short"
	}
	return "**short**"
}

// solid keeps a cell of a table in one line.
func solid(s string) string { return strings.ReplaceAll(s, " ", "&nbsp;") }

// pictures shows the charts.
func (r *Report) pictures(w io.Writer, dir string) {
	if len(r.charts) == 0 {
		return
	}
	fmt.Fprint(w, "## Plots\n\nA point is the median of the rounds, and its bar goes from the smallest to the largest.\n\n")
	for i := range r.charts {
		c := &r.charts[i]
		if c.err != nil {
			fmt.Fprintf(w, "The plot `%s` could not be made: %s\n\n", c.name, oneLine(c.err))
			continue
		}
		fmt.Fprintf(w, "![%s](%s)\n\n%s\n\n", c.title, path.Join(dir, c.name+".svg"), c.about)
	}
}

// method says what the figures mean.
func (r *Report) method(w io.Writer) {
	fmt.Fprintf(w, `## How it is measured

- Both sides of a comparison run on the same machine and the same server, in turns: ours, other, ours, other, %d rounds after
  one that does not count, each side for %v if it can go on for ever. The figures of the sides are medians of the rounds, and
  so is the ratio, each round's by itself; after it stand the smallest and the largest. *Just* means that some rounds say otherwise.
- A ratio carries over to other machines, figures per second do not. The server, and whoever measures, share the processors.
- The other libraries are used as their documentation says, with as many connections as they can use. What they do less is said.
- The goals were set before anything was built. A goal that is short stays on this page, with the reason.

`, r.opts.Rounds, r.opts.Duration)
}

// origin says where the figures come from, and how to get others.
func (r *Report) origin(w io.Writer) {
	m := &r.machine
	fmt.Fprint(w, "## Where these come from\n\n| | |\n| --- | --- |\n")
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "| %s | %s |\n", name, value)
		}
	}
	row("measured", fmt.Sprintf("%s, in %v", r.at.UTC().Format("2006-01-02 15:04 MST"), r.took.Round(time.Second)))
	row("library", m.commit)
	row("processor", strings.TrimPrefix(m.cpu+", "+m.processors(), ", "))
	row("system", m.kernel)
	row("Go", m.goVersion)
	row("server", strings.TrimSuffix(m.server+": `"+strings.Join(m.config, "`, `")+"`", ": ``"))
	row("load", r.load.String())
	for _, one := range m.modules {
		row(strings.TrimPrefix(one.path, "github.com/"), one.version)
	}
	fmt.Fprint(w, `
Repeat it on a quiet machine with `+"`make goals`"+`, which starts a server of its own if `+"`REDIS_URL`"+` names none, and writes this page.
One goal alone: `+"`go run ./benchmarks/cmd/goals -only '^pair-64$'`"+`. The same operations as Go benchmarks, for profiles:
`+"`go test -run '^$' -bench Pair -cpuprofile cpu.out ./benchmarks`"+`.
`)
}
