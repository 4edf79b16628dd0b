// Package luascript holds every Lua script of the library, one a file. The header of each says what it takes, what
// it answers and what it costs. Nothing is ever formatted into a script: all that callers pass goes through KEYS
// and ARGV.
package luascript

import (
	_ "embed"
)

var (
	//go:embed constants.lua
	constants string
	//go:embed step.lua
	step string
	//go:embed lines.lua
	lines string
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
	//go:embed stale.lua
	stale string
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
	//go:embed queue.lua
	queue string
	//go:embed lockholders.lua
	lockHolders string
	//go:embed tasks.lua
	tasks string
	//go:embed taskfast.lua
	taskFast string
	//go:embed taskexchange.lua
	taskExchange string
	//go:embed taskundo.lua
	taskUndo string
	//go:embed taskanswers.lua
	taskAnswers string
	//go:embed taskwatch.lua
	taskWatch string
	//go:embed taskedit.lua
	taskEdit string
	//go:embed tasklook.lua
	taskLook string
	//go:embed tasklist.lua
	taskList string
	//go:embed taskstats.lua
	taskStats string
	//go:embed set.lua
	set string
	//go:embed delete.lua
	del string
)

// What the scripts on pools and their line share, those on names and their lines, and those on tasks.
var (
	onPools = step + lines + links + prelude
	onNames = step + lines + locks
	onTasks = step + tasks
)

// Scripts on pools and their line. Their KEYS and the first three of their ARGV are those that prelude.lua names.
var (
	Exchange = constants + one + handover + fast + onPools + exchange
	Extend   = constants + onPools + extend
	Shrink   = constants + onPools + shrink
	Assign   = constants + onPools + assign
	Release  = constants + onPools + release
	Collect  = constants + onPools + collect
	Watch    = constants + onPools + stale + watch
	Leave    = constants + onPools + leave
	Reclaim  = constants + onPools + reclaim
)

// Scripts on names and their lines. Their KEYS and the first of their ARGV are those that locks.lua names.
var (
	LockExchange = constants + lockOne + lockTurn + lockFast + onNames + lockExchange
	LockUndo     = constants + onNames + lockUndo
	LockForce    = constants + onNames + lockForce
	LockLimit    = constants + onNames + lockLimit
	LockWatch    = constants + onNames + stale + lockWatch
	LockLeave    = constants + onNames + lockLeave
)

// Scripts on tasks. Their KEYS and the first of their ARGV are those that tasks.lua names.
var (
	TaskExchange = taskFast + onTasks + taskExchange
	TaskUndo     = onTasks + taskUndo
	TaskWatch    = onTasks + taskAnswers + taskWatch
	TaskEdit     = onTasks + taskEdit
	TaskLook     = onTasks + taskAnswers + taskLook
	TaskList     = onTasks + taskAnswers + taskList
	TaskStats    = onTasks + taskStats
)

// Scripts on values and sets, and those that only look. Their headers name their KEYS.
var (
	Set         = conditions + set
	Delete      = conditions + del
	Inspect     = links + inspect
	Queue       = constants + queue
	LockHolders = constants + lockHolders
	//go:embed get.lua
	Get string
	//go:embed scan.lua
	Scan string
	//go:embed replace.lua
	Replace string
	//go:embed members.lua
	Members string
	//go:embed probe.lua
	Probe string
)
