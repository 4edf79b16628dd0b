package stress

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Violation is something that must not be.
type Violation struct {
	At   time.Duration // since the beginning
	Rule string        // what it breaks: "pool", "line", "lock", "task", "worker", "dead", "key" or "end"
	What string        // what was seen, and the state around it
}

func (v Violation) String() string {
	return fmt.Sprintf("%v: %s: %s", v.At.Round(time.Millisecond), v.Rule, v.What)
}

// mostViolations is how many are kept; the others are only counted.
const mostViolations = 20

// findings collects violations, and shows each at once.
type findings struct {
	begin time.Time
	log   io.Writer

	mu   sync.Mutex
	list []Violation
	n    int
}

func newFindings(log io.Writer) *findings { return &findings{begin: time.Now(), log: log} }

// add notes a violation. The same one, seen again, is only counted.
func (f *findings) add(rule, format string, args ...any) {
	v := Violation{At: time.Since(f.begin), Rule: rule, What: fmt.Sprintf(format, args...)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if len(f.list) >= mostViolations ||
		slices.ContainsFunc(f.list, func(o Violation) bool { return o.Rule == v.Rule && o.What == v.What }) {
		return
	}
	f.list = append(f.list, v)
	fmt.Fprintln(f.log, "VIOLATION at", v)
}

// all gives those that were kept, and how many there were.
func (f *findings) all() ([]Violation, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list), f.n
}

// some gives the beginning of a list, for people.
func some[T any](list []T) string {
	const enough = 8
	if len(list) <= enough {
		return fmt.Sprint(list)
	}
	return fmt.Sprintf("%v and %d more", list[:enough], len(list)-enough)
}
