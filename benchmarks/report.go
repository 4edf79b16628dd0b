package benchmarks

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// A quantity is a number with its unit, which may be empty.
type quantity struct {
	value float64
	unit  string
}

// String has three significant digits, or all digits before the point, in groups.
func (q quantity) String() string {
	s := number(q.value)
	if q.unit != "" {
		s += " " + q.unit
	}
	return s
}

func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	decimals := 2
	for limit := 10.0; decimals > 0 && math.Abs(v) >= limit; limit *= 10 {
		decimals--
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if decimals == 0 {
		return grouped(s)
	}
	if whole := strings.TrimRight(strings.TrimRight(s, "0"), "."); v == math.Trunc(v) {
		return whole
	}
	return s
}

// grouped puts a comma between thousands.
func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// maxName is the longest name of a goal.
const maxName = 20

var rowFormat = "%-" + strconv.Itoa(maxName) + "s %18s %18s %10s  %-10s %s\n"

func writeHeader(w io.Writer) {
	fmt.Fprintf(w, rowFormat, "name", "ours", "other", "ratio", "goal", "")
}

// writeFigure prints the line of one goal.
func writeFigure(w io.Writer, g goal, f figure) {
	verdict := "short"
	if g.bound.kept(f.value) {
		verdict = "ok"
	}
	other := ""
	if f.other != (quantity{}) {
		other = f.other.String()
	}
	fmt.Fprintf(w, rowFormat, g.name, f.ours, other, quantity{f.value, g.bound.unit}, g.bound, verdict)
}

// writeFailure prints the line of a goal that could not be measured. It is one line, whatever the error.
func writeFailure(w io.Writer, g goal, err error) {
	why := strings.Join(strings.Fields(err.Error()), " ")
	fmt.Fprintf(w, rowFormat, g.name, "-", "-", "-", g.bound, "short: "+why)
}
