// Package luascript holds every Lua script of the library, one a file. The header of each says what it takes, what
// it answers and what it costs. Nothing is ever formatted into a script: all that callers pass goes through KEYS
// and ARGV.
package luascript

import (
	_ "embed"
)

var (
	//go:embed links.lua
	links string
	//go:embed prelude.lua
	prelude string
	//go:embed conditions.lua
	conditions string

	//go:embed one.lua
	one string
	//go:embed fast.lua
	fast string
	//go:embed handover.lua
	handover string
	//go:embed exchange.lua
	exchange string
	//go:embed extend.lua
	extend string
	//go:embed shrink.lua
	shrink string
	//go:embed assign.lua
	assign string
	//go:embed release.lua
	release string
	//go:embed collect.lua
	collect string
	//go:embed watch.lua
	watch string
	//go:embed leave.lua
	leave string
	//go:embed reclaim.lua
	reclaim string
	//go:embed inspect.lua
	inspect string
	//go:embed locks.lua
	locks string
	//go:embed lockone.lua
	lockOne string
	//go:embed lockturn.lua
	lockTurn string
	//go:embed lockfast.lua
	lockFast string
	//go:embed lockexchange.lua
	lockExchange string
	//go:embed lockundo.lua
	lockUndo string
	//go:embed lockforce.lua
	lockForce string
	//go:embed locklimit.lua
	lockLimit string
	//go:embed lockwatch.lua
	lockWatch string
	//go:embed lockleave.lua
	lockLeave string
	//go:embed set.lua
	set string
	//go:embed delete.lua
	del string
)

// Scripts on pools and lines. Their KEYS and the first three of their ARGV are those that prelude.lua names.
var (
	Exchange = one + handover + fast + links + prelude + exchange
	Extend   = links + prelude + extend
	Shrink   = links + prelude + shrink
	Assign   = links + prelude + assign
	Release  = links + prelude + release
	Collect  = links + prelude + collect
	Watch    = links + prelude + watch
	Leave    = links + prelude + leave
	Reclaim  = links + prelude + reclaim
)

// Scripts on locks and their lines. Their KEYS and the first of their ARGV are those that locks.lua names.
var (
	LockExchange = lockOne + lockTurn + lockFast + locks + lockExchange
	LockUndo     = locks + lockUndo
	LockForce    = locks + lockForce
	LockLimit    = locks + lockLimit
	LockWatch    = locks + lockWatch
	LockLeave    = locks + lockLeave
)

// Scripts on values and sets, and those that only look. Their headers name their KEYS.
var (
	Set     = conditions + set
	Delete  = conditions + del
	Inspect = links + inspect
	//go:embed get.lua
	Get string
	//go:embed scan.lua
	Scan string
	//go:embed replace.lua
	Replace string
	//go:embed members.lua
	Members string
	//go:embed lockholders.lua
	LockHolders string
	//go:embed queue.lua
	Queue string
	//go:embed probe.lua
	Probe string
)
