package rueidis

import (
	"context"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
)

// The scripts on tasks.
var (
	taskWatchScript = rueidis.NewLuaScript(luascript.TaskWatch)
	taskEditScript  = rueidis.NewLuaScript(luascript.TaskEdit)
	taskLookScript  = rueidis.NewLuaScript(luascript.TaskLook)
	taskListScript  = rueidis.NewLuaScript(luascript.TaskList)
	taskStatsScript = rueidis.NewLuaScript(luascript.TaskStats)
)

// taskKeys are the names of a namespace as the scripts on tasks take them.
type taskKeys struct {
	keys []string // KEYS
	head string   // the first of their ARGV, see tasks.lua
}

func newTaskKeys(ns backend.Namespace, cluster bool, none []string) taskKeys {
	const end = "\x00"
	return taskKeys{
		keys: with([]string{ns.Fence()}, none...),
		head: strings.Join([]string{
			ns.Fence(), ns.TaskPrefix(), ns.TaskResultPrefix(), ns.TaskLane("", 0), ns.TaskLane("", 1), ns.TaskLane("", 2),
			ns.TaskSchedule(""), ns.TaskLeases(""), ns.TaskGraveyard(""), ns.TaskListeners(""), ns.TaskIdle(""), ns.TaskTotals(""),
			ns.TaskGhosts(""), ns.TaskPromises(""), ns.TasksPaused(), ns.TaskIdlers(), ns.TaskListen(""), ns.WakeChannel(""), flag(!cluster),
		}, end) + end,
	}
}

// onTasks calls a script on tasks with its own arguments. The error is complete. ctx is the caller's; the call is bounded
// besides.
func (sp *space) onTasks(ctx context.Context, op string, script *rueidis.Lua, args ...string) (rueidis.RedisMessage, error) {
	return sp.b.exec(ctx, op, sp.ns, script, sp.taskKeys.keys, append([]string{sp.taskKeys.head}, args...))
}
