package benchmarks

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A quantity is a number with its unit, which may be empty.
type quantity struct {
	value float64
	unit  string
}

// String has three significant digits, two if it is small, or all digits before the point, in groups.
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
	if small := math.Abs(v); small > 0 && small < 0.1 {
		s := strconv.FormatFloat(v, 'f', 1-int(math.Floor(math.Log10(small))), 64)
		return strings.TrimRight(s, "0")
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

// span writes the smallest and the largest of some values.
func span(v []float64) string {
	if len(v) < 2 {
		return ""
	}
	return number(slices.Min(v)) + "–" + number(slices.Max(v))
}

// maxName is the longest name of a goal.
const maxName = 20

var rowFormat = "%-" + strconv.Itoa(maxName) + "s %18s %18s %10s %13s  %-10s %s\n"

func writeHeader(w io.Writer) {
	fmt.Fprintf(w, rowFormat, "name", "ours", "other", "ratio", "of rounds", "goal", "")
}

// writeResult prints the line of one goal. It is one line, whatever the error.
func writeResult(w io.Writer, r *result) {
	if r.err != nil {
		fmt.Fprintf(w, rowFormat, r.name, "-", "-", "-", "", r.bound, "short: "+oneLine(r.err))
		return
	}
	verdict := "short"
	if r.met() {
		verdict = "ok"
	}
	fmt.Fprintf(w, rowFormat, r.name, r.ours, r.against(), quantity{r.value(), r.bound.unit}, span(r.rounds), r.bound, verdict)
}

// against is what ours is compared with, if it is with anything.
func (f figure) against() string {
	if f.other == (quantity{}) {
		return ""
	}
	return f.other.String()
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
