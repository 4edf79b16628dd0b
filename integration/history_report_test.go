package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// tally is what was checked of one kind under one fault.
type tally struct {
	scene, kind                         string
	histories, acquisitions, operations int
	refused, died, unknown              int // by the store; holders; requests without an answer
}

func (c *tally) count(s *story, operations int) {
	c.histories++
	c.operations += operations
	c.acquisitions += len(s.acquisitions) + len(s.requests)
	for _, r := range s.requests {
		if r.turned == nil {
			c.unknown++
		}
	}
	for _, a := range s.acquisitions {
		for _, l := range a.leases {
			if l.leaving == 0 {
				c.died++
			}
			for _, a := range l.accesses {
				if slices.Contains(a.Values, nil) {
					c.refused++
				}
			}
		}
	}
}

// report prints what was checked.
func report(t *testing.T, tallies []*tally) {
	t.Helper()
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "fault\tkind\thistories\tacquisitions\toperations\trefused as too late\tholders died\tanswers lost\t\n")
	all := tally{scene: "all"}
	for _, c := range tallies {
		c.row(w)
		all.histories += c.histories
		all.acquisitions += c.acquisitions
		all.operations += c.operations
		all.refused += c.refused
		all.died += c.died
		all.unknown += c.unknown
	}
	all.row(w)
	_ = w.Flush() // to memory
	t.Logf("checked:\n%s", &text)
}

func (c *tally) row(w *tabwriter.Writer) {
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
		c.scene, c.kind, c.histories, c.acquisitions, c.operations, c.refused, c.died, c.unknown)
}
