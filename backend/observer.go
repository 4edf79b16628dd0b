package backend

import "time"

// Observer is told what happens to leases, pools and tasks, in the process where it happens. Observe is called
// synchronously, also from renewal and hand-over: it must be quick, must not block and must not call back. A panic is logged,
// and changes nothing else. Adapters for metrics and traces implement it.
type Observer interface {
	Observe(Event)
}

// ObserverFunc makes an Observer of a function.
type ObserverFunc func(Event)

// Observe calls f.
func (f ObserverFunc) Observe(e Event) { f(e) }

// EventKind says what happened.
type EventKind uint8

// What happens. The comment says what Event.Duration and Event.Count mean, where they mean something.
const (
	EventGranted       EventKind = iota + 1 // a lease was granted; Duration: waited
	EventExhausted                          // a request was refused: no free members, or a lock is held
	EventReleased                           // a lease was given back by its holder; Duration: held
	EventLost                               // a lease was lost, Err says why; Duration: held
	EventQuarantined                        // a member was kept back; Duration: for how long
	EventCollected                          // a collection freed or dropped members; Count: how many
	EventRefreshed                          // an updater filled the pool; Count: members named
	EventRefreshFailed                      // an updater failed, Err says why
	EventUnhealthy                          // a health check failed, Err says why
	EventCancelled                          // a wait was given up; Duration: waited
	EventSubmitted                          // a task was submitted; Member: its id
	EventStarted                            // an attempt at a task has begun; Duration: since it was submitted, Count: attempt
	EventDone                               // a task is done; Duration: of the attempt
	EventRetried                            // an attempt has failed and there will be another, Err says why; Duration: of the attempt
	EventFailed                             // a task has failed or is dead, Err says why; Duration: of the attempt
)

var eventNames = [...]string{
	EventGranted: "granted", EventExhausted: "exhausted", EventReleased: "released", EventLost: "lost",
	EventQuarantined: "quarantined", EventCollected: "collected", EventRefreshed: "refreshed",
	EventRefreshFailed: "refresh failed", EventUnhealthy: "unhealthy", EventCancelled: "cancelled",
	EventSubmitted: "submitted", EventStarted: "started", EventDone: "done", EventRetried: "retried", EventFailed: "failed",
}

// String names the kind in lower case, for logs and labels.
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return "unknown"
}

// Event is one thing that happened.
type Event struct {
	Kind      EventKind
	Namespace Namespace
	Member    string
	Token     string
	Fence     int64
	Duration  time.Duration
	Count     int
	Err       error
}
