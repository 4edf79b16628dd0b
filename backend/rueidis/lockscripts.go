package rueidis

import (
	"strings"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
)

// The scripts on locks.
var (
	lockExchangeScript = rueidis.NewLuaScript(luascript.LockExchange)
	lockUndoScript     = rueidis.NewLuaScript(luascript.LockUndo)
	lockWatchScript    = rueidis.NewLuaScript(luascript.LockWatch)
	lockLeaveScript    = rueidis.NewLuaScript(luascript.LockLeave)
	lockForceScript    = rueidis.NewLuaScript(luascript.LockForce)
	lockLimitScript    = rueidis.NewLuaScript(luascript.LockLimit)
	lockHoldersScript  = rueidis.NewLuaScript(luascript.LockHolders)
)

// lockKeys are the names of a namespace as the scripts on locks take them.
type lockKeys struct {
	keys []string // KEYS of those that have none of their own
	none []string // see moving.go
	head string   // the first of their ARGV, see locks.lua

	fence, requests, processes, sequence string
	lock, line, holders, units, entries  string // prefixes
}

func newLockKeys(ns backend.Namespace, none ...string) lockKeys {
	const end = "\x00"
	return lockKeys{
		keys: with([]string{ns.Fence()}, none...), none: none,
		head: strings.Join([]string{
			ns.Fence(), ns.LockRequests(), ns.LockProcesses(), ns.LockSequence(), ns.LockLimits(), ns.LockPrefix(),
			ns.LockLinePrefix(), ns.LockHoldersPrefix(), ns.LockUnitsPrefix(), ns.LockEntriesPrefix(), ns.WakeChannel(""),
		}, end) + end,
		fence: ns.Fence(), requests: ns.LockRequests(), processes: ns.LockProcesses(), sequence: ns.LockSequence(),
		lock: ns.LockPrefix(), line: ns.LockLinePrefix(), holders: ns.LockHoldersPrefix(),
		units: ns.LockUnitsPrefix(), entries: ns.LockEntriesPrefix(),
	}
}

// alone gives the KEYS of lockexchange.lua for a lone call.
func (k *lockKeys) alone(name string, more ...string) []string {
	keys := append([]string{k.lock + name, k.line + name, k.entries + name}, more...)
	return append(keys, k.none...)
}
