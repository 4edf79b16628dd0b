package backend

import "strings"

// Namespace says which keys belong to one pool, one set of locks or one queue. All names in the store are built
// here, in one place, and start with [Namespace.Base].
//
// The layout is that of the Python library redis-allocator 0.7, whose processes can work on the same keys.
type Namespace struct {
	// Prefix and Suffix are joined by a bar: "crawler|proxies". Python's default suffixes are "allocator"
	// for pools and "lock" for locks.
	Prefix, Suffix string

	// HashTag puts the base in braces, which lays every key of the namespace into the same slot of a Redis
	// Cluster. A cluster needs it; Python processes do not know it.
	HashTag bool
}

// Markers inside the hash of a pool, as Python writes them.
const (
	// Allocated stands in both links of a member that is not free.
	Allocated = "#ALLOCATED"
	// LinkSeparator stands between the links and the expiry of a member: "prev||next||expiry".
	LinkSeparator = "||"
)

// Validate reports an [InvalidError] if the prefix or the suffix is empty, too long, no UTF-8 or contains NUL, or
// a brace where HashTag is set.
func (n Namespace) Validate() error {
	if err := checkName("prefix", n.Prefix); err != nil {
		return err
	}
	if err := checkName("suffix", n.Suffix); err != nil {
		return err
	}
	if n.HashTag && strings.ContainsAny(n.Prefix+n.Suffix, "{}") {
		return invalid("namespace", n.Prefix+"|"+n.Suffix, "must not contain braces together with HashTag")
	}
	return nil
}

// Base is what every key of the namespace starts with.
func (n Namespace) Base() string {
	if n.HashTag {
		return "{" + n.Prefix + "|" + n.Suffix + "}"
	}
	return n.Prefix + "|" + n.Suffix
}

// String is [Namespace.Base], for logs.
func (n Namespace) String() string { return n.Base() }

// The keys that Python knows.

// LockPrefix is what a lock's name is appended to: "<base>:".
func (n Namespace) LockPrefix() string { return n.Base() + ":" }

// Lock is the key of a lock, and of the lease on a pool's member.
func (n Namespace) Lock(name string) string { return n.Base() + ":" + name }

// BindingPrefix is what the name of a binding is appended to: "<base>-cache:bind:".
func (n Namespace) BindingPrefix() string { return n.Base() + "-cache:bind:" }

// Binding is the key of a soft binding.
func (n Namespace) Binding(name string) string { return n.Base() + "-cache:bind:" + name }

// Pool is the hash of a pool's members, or the set of a lock pool's.
func (n Namespace) Pool() string { return n.Base() + "|pool" }

// PoolHead is the key of the first free member's name.
func (n Namespace) PoolHead() string { return n.Base() + "|pool|head" }

// PoolTail is the key of the last free member's name.
func (n Namespace) PoolTail() string { return n.Base() + "|pool|tail" }

// PoolCursor is the key of the collector's position.
func (n Namespace) PoolCursor() string { return n.Base() + "|pool|gc_cursor" }

// RefreshLock is the name (not the key) of the lock whose holder refreshes the pool in this interval.
func (n Namespace) RefreshLock() string { return n.Base() + "|pool|policy_update_lock" }

// TaskQueue is the list of the ids of a queue's waiting tasks, those of ClassNormal.
func (n Namespace) TaskQueue(queue string) string { return n.Base() + "|task-queue|" + queue }

// TaskResultPrefix is what a task's id is appended to: "<base>|task-result:".
func (n Namespace) TaskResultPrefix() string { return n.Base() + "|task-result:" }

// TaskResult is the key of the final state of a task, as JSON.
func (n Namespace) TaskResult(id string) string { return n.TaskResultPrefix() + id }

// TaskListen is the key that there is while a listener of the queue lives.
func (n Namespace) TaskListen(queue string) string { return n.Base() + "|task-listen|" + queue }

// The keys of our own. They speed things up and order those who wait; a process that does not know them loses
// nothing but speed and its place in line.

// Leases is the sorted set of leased members by deadline.
func (n Namespace) Leases() string { return n.Base() + "|leases" }

// Fence is the key of the last fencing number.
func (n Namespace) Fence() string { return n.Base() + "|fence" }

// Line is the sorted set of those who wait for a member, in their order.
func (n Namespace) Line() string { return n.Base() + "|line" }

// LineRequests is the hash of what each of them asked for.
func (n Namespace) LineRequests() string { return n.Base() + "|line|requests" }

// LineProcesses is the sorted set of the processes that wait, by the time until which they count as alive.
func (n Namespace) LineProcesses() string { return n.Base() + "|line|processes" }

// LineSequence is the key of the last arrival's number.
func (n Namespace) LineSequence() string { return n.Base() + "|line|sequence" }

// LockLine is the sorted set of those who wait for a name, in their order.
func (n Namespace) LockLine(name string) string { return n.LockLinePrefix() + name }

// LockLinePrefix is what a name is appended to: "<base>|locks|line:".
func (n Namespace) LockLinePrefix() string { return n.Base() + "|locks|line:" }

// LockHolders is the sorted set of those who share a name, by the ends of their leases.
func (n Namespace) LockHolders(name string) string { return n.LockHoldersPrefix() + name }

// LockHoldersPrefix is what a name is appended to: "<base>|locks|holders:".
func (n Namespace) LockHoldersPrefix() string { return n.Base() + "|locks|holders:" }

// LockUnitsPrefix is what a name is appended to, for the hash of how many units each of those has:
// "<base>|locks|units:".
func (n Namespace) LockUnitsPrefix() string { return n.Base() + "|locks|units:" }

// LockEntriesPrefix is what a name is appended to, for how often its owner has to give it back, if that is more than
// once: "<base>|locks|entries:".
func (n Namespace) LockEntriesPrefix() string { return n.Base() + "|locks|entries:" }

// LockLimits is the hash of the limits that were set, by name.
func (n Namespace) LockLimits() string { return n.Base() + "|locks|limits" }

// LockRequests is the hash of what those asked for who wait for names.
func (n Namespace) LockRequests() string { return n.Base() + "|locks|requests" }

// LockProcesses is the sorted set of the processes that wait for names, by the time until which they count as alive.
func (n Namespace) LockProcesses() string { return n.Base() + "|locks|processes" }

// LockSequence is the key of the number of the last arrival in any of the lines for names.
func (n Namespace) LockSequence() string { return n.Base() + "|locks|sequence" }

// TaskPrefix is what a task's id is appended to: "<base>|tasks|task:".
func (n Namespace) TaskPrefix() string { return n.Base() + "|tasks|task:" }

// Task is the hash of a task that has not ended, or is dead.
func (n Namespace) Task(id string) string { return n.TaskPrefix() + id }

// TaskLane is the list of the ids of a queue's waiting tasks of one class.
func (n Namespace) TaskLane(queue string, class TaskClass) string {
	switch class {
	case ClassHigh:
		return n.Base() + "|tasks|high:" + queue
	case ClassLow:
		return n.Base() + "|tasks|low:" + queue
	default:
		return n.TaskQueue(queue)
	}
}

// TaskSchedule is the sorted set of a queue's scheduled tasks, by when they are due.
func (n Namespace) TaskSchedule(queue string) string { return n.Base() + "|tasks|scheduled:" + queue }

// TaskLeases is the sorted set of a queue's running tasks, by the ends of their leases.
func (n Namespace) TaskLeases(queue string) string { return n.Base() + "|tasks|running:" + queue }

// TaskGraveyard is the sorted set of a queue's dead tasks, by when they are forgotten.
func (n Namespace) TaskGraveyard(queue string) string { return n.Base() + "|tasks|dead:" + queue }

// TaskListeners is the sorted set of a queue's listeners, by the time until which they count as alive.
func (n Namespace) TaskListeners(queue string) string { return n.Base() + "|tasks|listeners:" + queue }

// TaskIdle is the sorted set of those that are to be woken when there is a task, in the order in which they became idle.
func (n Namespace) TaskIdle(queue string) string { return n.Base() + "|tasks|idle:" + queue }

// TaskTotals is the hash of how many tasks of a queue have ended, by state.
func (n Namespace) TaskTotals(queue string) string { return n.Base() + "|tasks|totals:" + queue }

// TaskGhosts is the hash of how often ids stand in a queue's lanes whose tasks do not wait any more; all of them under "".
func (n Namespace) TaskGhosts(queue string) string { return n.Base() + "|tasks|ghosts:" + queue }

// TaskIdlers is the hash of the queues of those idle listeners that listen to several.
func (n Namespace) TaskIdlers() string { return n.Base() + "|tasks|idlers" }

// TaskPromises is the sorted set of the listeners that have been told what is due next, by when they will see to it.
func (n Namespace) TaskPromises(queue string) string { return n.Base() + "|tasks|promises:" + queue }

// TasksPaused is the set of the queues that are paused.
func (n Namespace) TasksPaused() string { return n.Base() + "|tasks|paused" }

// WakeChannel is the channel on which a process is told what was handed to it.
func (n Namespace) WakeChannel(process string) string { return n.Base() + "|wake|" + process }
