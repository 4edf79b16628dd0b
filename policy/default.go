package policy

import (
	"cmp"
	"time"
)

// Defaults are the settings of [Default]. Zero values are those of the Python library.
type Defaults[T any] struct {
	// CollectCount is how many members the collector looks at in each allocation. Default 5; negative: none.
	CollectCount int

	// Updater fills the pool. Default nil: nobody does, but who calls Extend and Assign.
	Updater *Updater

	// Interval is the time between two refreshes. Default 300 s.
	Interval time.Duration

	// MemberTTL is how long a member stays in the pool unless a source names it again. Default: for ever.
	MemberTTL time.Duration

	// AutoClose closes the object that was allocated before under the same unique id; see there about shared pools.
	AutoClose bool
}

// Default is what the Python library does in each allocation: look whether a refresh is due, collect a little, take a
// member, and, if asked to, close what was left open. It is a [Chain] of [Refresh], [AutoClose] and [Collect]; whoever
// wants something in between writes that chain, and whoever wants something around it calls the part with it:
//
//	policy.CheckBeforeUse[*Proxy](policy.HealthConfig{})(policy.Default(policy.Defaults[*Proxy]{Updater: u}))
func Default[T any](d Defaults[T]) Policy[T] {
	var parts []Middleware[T]
	if d.Updater != nil {
		parts = append(parts, Refresh[T](d.Updater, RefreshConfig{Interval: d.Interval, MemberTTL: d.MemberTTL}))
	}
	if d.AutoClose {
		parts = append(parts, AutoClose[T]())
	}
	if n := cmp.Or(d.CollectCount, DefaultCollect); n > 0 {
		parts = append(parts, Collect[T](n))
	}
	return Chain(parts...)
}
