package stress

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a run, or a watch, has come to.
type Report struct {
	Seed      uint64
	Processes int
	TTL       time.Duration
	Prefix    string // of all keys

	Worked  time.Duration // how long work was begun
	WoundUp time.Duration // from then until everything was done that was begun
	Freed   time.Duration // from then until all was free

	Kills, Stops, Restarts int
	Poisoned               int // workers that their tasks have killed

	Looks, Missed int // looks of the watcher, and those that the server did not answer

	Did   map[string]int64
	Waits map[string]*Times // for "pool", "lock", and "task": from its submission to its end

	// Recovery is how long dead processes kept what they had, of those that had something.
	Recovery Times

	Tasks      map[string]int64 // ended, by state
	TaskDeaths int
	TaskRuns   int // of one task, at most

	Members *Members // of the pool of a watch, as they were seen last

	Violations []Violation // the first of them
	Violated   int         // how many there were
}

// Held reports whether everything held that must.
func (r *Report) Held() bool { return r.Violated == 0 }

// fill adds what the others know.
func (r *run) fill() {
	rep := r.report
	rep.Looks, rep.Missed = r.watch.looks, r.watch.missed
	rep.Did, rep.Waits = r.crew.tally.did, r.crew.tally.waits
	rep.Tasks = make(map[string]int64)
	for state, n := range r.watch.books.ended {
		rep.Tasks[state.String()] = n
	}
	rep.TaskDeaths, rep.TaskRuns = r.watch.books.deaths, r.watch.books.runs
	rep.Violations, rep.Violated = r.all()
}

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	short := func(d time.Duration) time.Duration {
		if d < 10*time.Millisecond {
			return d.Round(10 * time.Microsecond)
		}
		return d.Round(time.Millisecond)
	}
	times := func(t *Times) string {
		return fmt.Sprintf("p50 %v, p99 %v, at most %v (%d)", short(t.Quantile(0.5)), short(t.Quantile(0.99)), short(t.Max), t.N())
	}
	verdict := "everything held"
	if !r.Held() {
		verdict = fmt.Sprintf("VIOLATED (%d times)", r.Violated)
	}
	line("verdict", "%s", verdict)
	if r.Members != nil {
		line("looks", "%d in %v, %d without an answer", r.Looks, short(r.Worked), r.Missed)
		line("members", "%v, at the last look", r.Members)
	} else {
		line("seed", "%d, with %d processes and TTL %v", r.Seed, r.Processes, r.TTL)
		line("time", "%v of work, %v to end it, %v until all was free", short(r.Worked), short(r.WoundUp), short(r.Freed))
		line("faults", "%d processes killed, %d stopped, %d killed by their tasks; %d restarts of the server",
			r.Kills, r.Stops, r.Poisoned, r.Restarts)
		line("looks", "%d, %d without an answer", r.Looks, r.Missed)
		for _, group := range grouped(r.Did) {
			line(group[0], "%s", group[1])
		}
		line("tasks", "%s; %d deaths, one task begun %d times at most", counts(r.Tasks), r.TaskDeaths, r.TaskRuns)
		for _, what := range slices.Sorted(maps.Keys(r.Waits)) {
			line("waits", "%s: %s", what, times(r.Waits[what]))
		}
		line("recovery", "of what the dead had: %s", times(&r.Recovery))
	}
	for i := range r.Violations {
		line("violation", "at %v", r.Violations[i])
	}
	if !r.Held() && r.Members == nil {
		line("left", "the keys of the run, for a look: %s*", r.Prefix)
	}
	return b.String()
}

// counts lists numbers by what they are of.
func counts(of map[string]int64) string {
	var list []string
	for _, what := range slices.Sorted(maps.Keys(of)) {
		list = append(list, fmt.Sprintf("%d %s", of[what], what))
	}
	return strings.Join(list, ", ")
}

// grouped gives, for each kind of hands, what they have done.
func grouped(did map[string]int64) (groups [][2]string) {
	by := make(map[string]map[string]int64)
	for what, n := range did {
		kind, deed, _ := strings.Cut(what, ": ")
		if by[kind] == nil {
			by[kind] = make(map[string]int64)
		}
		by[kind][deed] = n
	}
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		groups = append(groups, [2]string{"did", kind + ": " + counts(by[kind])})
	}
	return groups
}
