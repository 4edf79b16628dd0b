package stress

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// What a fault does.
const (
	Kill    = "kill"    // a worker, with SIGKILL; another one takes its place
	Stop    = "stop"    // a worker, with SIGSTOP, for some time
	Restart = "restart" // the server, which is killed and keeps its data
)

// Fault is something that happens to a worker or to the server.
type Fault struct {
	After time.Duration // the one before
	Do    string        // Kill, Stop or Restart
	Slot  int           // of the worker
	For   time.Duration // how long it is stopped
}

func (f Fault) String() string {
	return fmt.Sprintf("%v later: %s %d for %v", f.After, f.Do, f.Slot, f.For)
}

// Plan gives the faults of a run, without end. The same configuration has the same ones.
func Plan(cfg Config) iter.Seq[Fault] {
	cfg = cfg.withDefaults()
	return func(yield func(Fault) bool) {
		r := rand.New(rand.NewPCG(cfg.Seed, 1<<63)) //nolint:gosec // to be repeated
		between := func(lo, hi time.Duration) time.Duration { return lo + time.Duration(r.Int64N(int64(hi-lo)+1)) }
		var restart time.Duration // until then
		for {
			f := Fault{
				After: between(cfg.Pause/4, cfg.Pause*7/4), Do: Kill, Slot: r.IntN(cfg.Processes),
				For: between(cfg.TTL/4, 2*cfg.TTL),
			}
			if r.IntN(3) == 0 {
				f.Do = Stop
			}
			if restart += f.After; cfg.Restart != nil && restart >= cfg.RestartPause {
				f.Do, restart = Restart, 0
			}
			if f.Do != Stop {
				f.For = 0
			}
			restart += f.For
			if !yield(f) {
				return
			}
		}
	}
}
