package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/pool"
)

// view is how things are at one moment.
type view struct {
	fetched, pages int
	waiting        int // workers in line for a proxy
	rows           []row
}

// row is one proxy.
type row struct {
	proxy  string
	state  pool.State
	holder string        // the worker that has it
	left   time.Duration // until the lease or the quarantine ends, if it is not renewed
	served int           // pages that came through it
}

// colors are for the terminal. States without one do not last.
var colors = map[pool.State]string{
	pool.Free:        "\x1b[32m",
	pool.Leased:      "\x1b[36m",
	pool.Quarantined: "\x1b[31m",
}

// maxRows keeps the table shorter than most terminals are high.
const maxRows = 16

// table draws the view for a terminal, 80 columns wide at most.
func (v *view) table(elapsed time.Duration) string {
	const width = 30
	done := width * v.fetched / max(v.pages, 1)
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %s%s  %d of %d pages, %.1fs\n\n",
		strings.Repeat("█", done), strings.Repeat("░", width-done), v.fetched, v.pages, elapsed.Seconds())
	fmt.Fprintf(&b, "  \x1b[1m%-24s %-11s %-19s %7s %6s\x1b[0m\n", "proxy", "state", "by", "ends in", "pages")
	for i, r := range v.rows {
		if i == maxRows {
			fmt.Fprintf(&b, "  and %d more\n", len(v.rows)-maxRows)
			break
		}
		ends := ""
		if r.left > 0 {
			ends = fmt.Sprintf("%.1fs", r.left.Seconds())
		}
		fmt.Fprintf(&b, "  %-24.24s %s%-11s\x1b[0m %-19.19s %7s %6d\n",
			r.proxy, colors[r.state], r.state, r.holder, ends, r.served)
	}
	fmt.Fprintf(&b, "\n  %d in line for a proxy\n", v.waiting)
	return b.String()
}

// line is the view in one line.
func (v *view) line() string {
	n := map[pool.State]int{}
	for _, r := range v.rows {
		n[r.state]++
	}
	return fmt.Sprintf("%d of %d pages; proxies: %d free, %d leased, %d quarantined; %d in line",
		v.fetched, v.pages, n[pool.Free], n[pool.Leased], n[pool.Quarantined], v.waiting)
}
