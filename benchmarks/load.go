package benchmarks

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A load is what else the machine has to do. Shares are those of the time of all its processors.
type load struct {
	known   bool    // it is not, on systems without /proc
	average string  // of the system before the run, as it tells it
	before  float64 // how busy it was right before
	others  float64 // what others used during the run
	stolen  float64 // what the hypervisor took during the run
}

const (
	quietFor  = 2 * time.Second // for how long is looked, before, how busy the machine is
	tolerable = 0.1             // more than that before, or by others, is worth a warning
	dear      = 0.02            // so is more stolen time
)

// usage is what processors have done, in seconds.
type usage struct{ busy, idle, stolen, ours float64 }

// begin looks how busy the machine is while nothing is measured.
func (l *load) begin(ctx context.Context) (usage, error) {
	l.average = strings.Join(firstFields(content("/proc/loadavg"), 3), " ")
	first, known := used()
	l.known = known
	if !known {
		return first, nil
	}
	select {
	case <-time.After(quietFor):
	case <-ctx.Done():
		return first, ctx.Err()
	}
	second, _ := used()
	d := second.minus(first)
	l.before = (d.busy - d.ours) / d.total()
	return second, nil
}

// end looks what was used by others since before.
func (l *load) end(before usage) {
	if !l.known {
		return
	}
	now, _ := used()
	d := now.minus(before)
	l.others, l.stolen = max(0, d.busy-d.ours)/d.total(), d.stolen/d.total()
}

// heavy tells what is wrong with it, or nothing.
func (l *load) heavy() []string {
	var list []string
	for _, c := range []struct {
		share, limit float64
		what         string
	}{
		{l.before, tolerable, "were in use before it began"},
		{l.others, tolerable, "were used by others meanwhile"},
		{l.stolen, dear, "were taken by the hypervisor meanwhile"},
	} {
		if c.share > c.limit {
			list = append(list, fmt.Sprintf("%.0f %% of the processors %s", 100*c.share, c.what))
		}
	}
	return list
}

// String tells all of it.
func (l *load) String() string {
	if !l.known {
		return "not known on this system"
	}
	return fmt.Sprintf("%.0f %% of the processors in use before (load average %s), %.0f %% by others during the run, %.1f %% stolen",
		100*l.before, l.average, 100*l.others, 100*l.stolen)
}

// used gives what the processors have done up to now, and how much of that was for this process and those of its children
// that have ended.
func used() (usage, bool) {
	const ticks = 100 // in a second, on all systems that Go knows
	var user, nice, system, idle, wait, irq, soft, steal float64
	n, _ := fmt.Sscanf(content("/proc/stat"), "cpu %g %g %g %g %g %g %g %g",
		&user, &nice, &system, &idle, &wait, &irq, &soft, &steal)
	u := usage{busy: (user + nice + system) / ticks, idle: (idle + wait + irq + soft) / ticks, stolen: steal / ticks}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if syscall.Getrusage(who, &r) == nil {
			u.ours += time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
		}
	}
	return u, n == 8 && runtime.GOOS == "linux"
}

func (u usage) minus(v usage) usage {
	return usage{u.busy - v.busy, u.idle - v.idle, u.stolen - v.stolen, u.ours - v.ours}
}

func (u usage) total() float64 { return u.busy + u.idle + u.stolen }

func firstFields(s string, n int) []string {
	f := strings.Fields(s)
	return f[:min(n, len(f))]
}
